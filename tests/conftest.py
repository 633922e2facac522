"""The strict settings of every test: explicit promotion of dtypes and ranks; a warning is an error (pyproject.toml)."""

import os
from pathlib import Path

# Thousands of small programs run once each: compiling them is the cost, not running them.
# Where speed is measured nothing is asserted.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compiled programs are kept on disk: the workers of one run share them, and a second run
# compiles only what has changed. JAX keys an entry by the program, the options of its
# compilation, XLA_FLAGS and the versions of jax and XLA.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update(
        "jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".pytest_cache" / "jax")
    )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
