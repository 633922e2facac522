"""Data: mini-batches and splits as indices, preprocessing, and augmentation."""
