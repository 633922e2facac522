"""The same work side by side with optax and torch, in one process: ``python -m benchmarks.step``."""
