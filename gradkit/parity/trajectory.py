"""One side of a comparison: an optimizer along its trajectory."""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit._updates import apply_updates
from gradkit.parity.feed import Feed

# XLA's CPU compiler without its most expensive stages: a tenth of the compile time. The operations
# and their order stay the same. Fused multiply-adds are left out: they favour either side by luck.
QUICK: dict[str, str | bool] = {
    "xla_backend_optimization_level": "0",
    "xla_cpu_use_fusion_emitters": "False",
    "xla_cpu_parallel_codegen_split_count": "1",
}


# The dotted path of a leaf ("updates.layer.w") -> its values, steps first, float64 or complex128.
Trajectory = dict[str, np.ndarray]


def reference_trajectory(tx: Any, params: Any, feed: Feed, steps: int, wide: bool) -> Trajectory:
    # Other libraries promote as JAX does by default, whatever the user has set.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return trajectory_of(tx, params, feed, steps, wide)


def trajectory_of(tx: Any, params: Any, feed: Feed, steps: int, wide: bool) -> Trajectory:
    with jax.enable_x64(wide):
        if hasattr(tx, "trajectory"):
            found = tx.trajectory(params, feed.gradients, feed.loss, steps)
        else:
            found = _scan(tx, jax.tree.map(jnp.asarray, params), feed, steps)
    return {
        f"{what}.{check.keystr(path)}" if path else what: _float64(leaf)
        for what, tree in found.items()
        if what == "params" or feed.loss is None
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _scan(tx: Any, params: Any, feed: Feed, steps: int) -> Any:
    """Updates, and parameters after them, of every step, stacked."""
    loss = feed.loss

    def body(carry: Any, now: Any) -> Any:
        params, state = carry
        gradients, extras = now
        if loss is not None:
            value, gradients = jax.value_and_grad(loss)(params)
            extras = {"value": value, "grad": gradients, "value_fn": loss, **extras}
        updates, state = tx.update(gradients, state, params, **_taken(tx.update, extras))
        params = apply_updates(params, updates)
        return (params, state), {"updates": updates, "params": params}

    @jax.jit
    def run(params: Any, feed: Any) -> Any:
        return lax.scan(body, (params, tx.init(params)), feed, length=steps)[1]

    lowered = run.lower(params, now := jax.tree.map(jnp.asarray, (feed.gradients, feed.extras)))
    if jax.default_backend() == "cpu":
        with contextlib.suppress(
            jax.errors.JaxRuntimeError
        ):  # a jaxlib that has dropped one of these options
            return lowered.compile(compiler_options=QUICK)(params, now)
    return lowered.compile()(params, now)


def _taken(update: Callable[..., Any], extras: dict[str, Any]) -> dict[str, Any]:
    """Those extras that ``update`` takes."""
    parameters = inspect.signature(update).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return extras
    return {name: value for name, value in extras.items() if name in parameters}


def _float64(leaf: Any) -> np.ndarray:
    leaf = np.asarray(leaf)
    return leaf.astype(np.complex128 if np.iscomplexobj(leaf) else np.float64)
