"""The strict house: promotion is explicit, ranks too, and a warning is an error (pyproject.toml)."""

import os

# Thousands of small programs run once each: compiling them is the cost, not running them. Where speed is measured nothing is asserted.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
