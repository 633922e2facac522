"""The mean of losses, with masks and weights."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.losses import _arrays as arrays


@explained()
def mean(
    losses: ArrayLike,
    *,
    axis: int | tuple[int, ...] | None = None,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Average losses over the examples that count, by their weights; 0 where none does.

    **Value** Σ w l / Σ w over the elements in ``where``.

    Give the same ``where`` to the loss itself where its arguments may be NaN.

    Args:
      losses: floats of any shape.
      axis: the axis or axes to average over; None for all.
      where: booleans like ``losses``: the elements that count.
      weights: w ≥ 0 like ``losses``; None for 1.

    Returns:
      averages of the shape of ``losses`` without ``axis``, at least float32.

    Raises:
      TypeError: losses that are not floating.
      ValueError: shapes that do not match, or an axis out of range.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> l, w = jnp.array([1.0, 4.0, jnp.nan]), jnp.array([2.0, 1.0, 1.0])
      >>> assert gk.losses.mean(l, where=jnp.array([True, True, False]), weights=w) == 2.0

    **Differs from jnp.mean**: no NaN where nothing counts; half-precision losses are added in
    float32.
    """
    x = arrays.floating("losses", losses)
    x = x.astype(numerics.wide(x.dtype))
    along = arrays.axes(axis, x.ndim)
    kept = arrays.mask(where, x.shape, "losses")
    w = jnp.ones_like(x)
    if weights is not None:
        w = arrays.fit(
            "weights", arrays.real("weights", weights).astype(x.dtype), x.shape, "losses"
        )
    x, w = arrays.keep(kept, x, w)
    return numerics.divide(jnp.sum(w * x, axis=along), jnp.sum(w, axis=along))
