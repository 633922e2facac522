"""The strict settings of every test: dtypes and ranks are promoted explicitly."""

import contextlib
import functools
import gc
import importlib.metadata
import os
from pathlib import Path

# Thousands of small programs run once each: compiling them is the cost, not running them.
# Where speed is measured nothing is asserted.
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# Without the fusion emitters XLA for CPU compiles in half the time, and without the cutting of each
# program into up to 32 modules, to be compiled in parallel, in half of that. An XLA that does not
# know a flag ends the process: these are passed only to versions that are known to have them.
if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) <= (0, 10):
    FLAGS += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ.setdefault("XLA_FLAGS", FLAGS)

# Compiled programs are kept on disk: the workers of one run share them, and a second run compiles
# only what has changed. JAX keys an entry by the program, the options of its compilation,
# XLA_FLAGS and the versions. In the environment, so that the scripts that tests start have it too.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Programs without source lines: a fifth of lowering, and they need not be parsed again and stripped
# of the lines to be keyed.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
os.environ.setdefault("JAX_COMPILATION_CACHE_INCLUDE_METADATA_IN_KEY", "true")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Loading MLIR's dialects is half of the lowering of a small program, a tenth of the suite's time:
# all programs share one context. What JAX does not offer may go; then the suite is slower.
with contextlib.suppress(ImportError, AttributeError):
    from jax._src.interpreters import mlir

    mlir.make_ir_context = functools.cache(mlir.make_ir_context)

# The caches of JAX and of the compiled programs only grow: the collector need not walk them after
# every few hundred objects. Another tenth.
gc.freeze()
gc.set_threshold(100_000, 50, 100)


def pytest_xdist_auto_num_workers(config):
    """All cores for the whole suite; one process for what is named, where workers cost more."""
    named = config.option.keyword or config.args_source is pytest.Config.ArgsSource.ARGS
    return 0 if named else None
