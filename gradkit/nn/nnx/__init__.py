"""Normalization and dropout layers for Flax NNX, re-exported by ``gradkit.nn``."""
