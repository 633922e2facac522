"""Averages of gradients, by hand: one step of each, as functions of pytrees."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _numerics as numerics
from gradkit import _tree
from gradkit._explain import explained
from gradkit.tree.arithmetic import factor
from gradkit.typing import PyTree, Scalar


@explained(trees="updates moments", numbers="decay order")
def update_moment(updates: PyTree, moments: PyTree, decay: Scalar, order: int) -> PyTree:
    """Update an exponential moving average of the powers of a gradient.

    **Update rule** M ← (1 − β) g^order + β M.

    Args:
      updates: gradients.
      moments: the averages so far.
      decay: β in [0, 1).
      order: the power.

    Returns:
      the new averages, in the dtypes of ``moments``; None where the gradient is None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.update_moment(jnp.array(2.0), jnp.array(1.0), 0.5, 2) == 2.5

    **Differs from optax**: computed in float32 or wider; the result keeps the dtype of ``moments``.
    """
    return _average(lambda g: g**order, updates, moments, decay)


@explained(trees="updates moments", numbers="decay order")
def update_moment_per_elem_norm(
    updates: PyTree, moments: PyTree, decay: Scalar, order: int
) -> PyTree:
    """Update an exponential moving average of the powers of the magnitude of a gradient.

    **Update rule** M ← (1 − β) |g|^order + β M.

    Args:
      updates: gradients, real or complex.
      moments: the averages so far, real.
      decay: β in [0, 1).
      order: the power.

    Returns:
      the new averages, in the dtypes of ``moments``; None where the gradient is None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> g, m = jnp.array(3.0 + 4.0j), jnp.array(1.0)
      >>> assert gk.tree.update_moment_per_elem_norm(g, m, 0.5, 2) == 13.0

    **Differs from optax**: computed in float32 or wider; the result keeps the dtype of ``moments``.
    """

    def power(g: Any) -> Any:
        if not jnp.iscomplexobj(g):
            return g**order
        square = numerics.abs_sq(g)
        return square ** (order // 2) if order % 2 == 0 else square ** (order / 2)

    return _average(power, updates, moments, decay)


@explained(trees="updates moments", numbers="decay eps")
def update_infinity_moment(updates: PyTree, moments: PyTree, decay: Scalar, eps: float) -> PyTree:
    """Update the decayed maximum of the magnitude of a gradient.

    **Update rule** M ← max(|g| + ε, β M).

    Args:
      updates: gradients.
      moments: the maxima so far.
      decay: β in [0, 1).
      eps: ε ≥ 0.

    Returns:
      the new maxima, in the dtypes of ``moments``; None where the gradient is None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.update_infinity_moment(jnp.array(-1.0), jnp.array(4.0), 0.5, 0.0) == 2.0
    """

    def leaf(g: Any, m: Any) -> Any:
        if g is None:
            return None
        size, old = jnp.abs(_tree.widen(g)), _tree.widen(m)
        return numerics.cast(
            jnp.maximum(size + factor(eps, size), factor(decay, old) * old),
            jax.dtypes.result_type(m),
        )

    return jax.tree.map(leaf, updates, moments, is_leaf=lambda x: x is None)


@explained(trees="moment", numbers="decay count")
def bias_correction(moment: PyTree, decay: Scalar, count: Any) -> PyTree:
    """Divide an exponential moving average by the weight of what it has seen.

    **Value** M / (1 − β^count).

    Args:
      moment: the averages.
      decay: β in [0, 1).
      count: the number of updates, at least 1.

    Returns:
      a tree like ``moment``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.bias_correction({"m": jnp.array(0.75)}, 0.5, 2)["m"] == 1.0

    **Differs from optax**: 1 − β^count is computed without cancellation, so β near 1 keeps its
    digits.
    """
    seen = -jnp.expm1(jnp.asarray(count, jnp.result_type(float)) * numerics.log(decay))
    return jax.tree.map(
        lambda m: m / numerics.cast(seen, numerics.real(jax.dtypes.result_type(m))), moment
    )


def _average(power: Callable[[Any], Any], updates: Any, moments: Any, decay: Any) -> Any:
    def leaf(g: Any, m: Any) -> Any:
        if g is None:
            return None
        new = power(_tree.widen(g))
        old = numerics.cast(m, numerics.wider(numerics.wide(jax.dtypes.result_type(m)), new.dtype))
        new = lax.convert_element_type(new, old.dtype)
        return numerics.cast(
            factor(1 - decay, new) * new + factor(decay, old) * old, jax.dtypes.result_type(m)
        )

    return jax.tree.map(leaf, updates, moments, is_leaf=lambda x: x is None)
