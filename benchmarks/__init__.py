"""The same work beside optax and torch, in one process: ``python -m benchmarks.step``."""
