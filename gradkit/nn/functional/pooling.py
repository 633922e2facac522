"""Stochastic pooling: a window's value is drawn, not maximized or averaged."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.dropout import uniform


def stochastic_pool(
    x: Any,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    *,
    key: Any = None,
    deterministic: bool = False,
) -> Any:
    """Draw one activation from each window, in proportion to its size.

    **Rule** training: y = a_i with probability a_i / Σ a, a = max(x, 0) over the window; inference: y = Σ a_i² / Σ a, its mean. A window without a positive
    value gives 0.

    Args:
      x: [batch, positions..., channels], as it leaves a ReLU.
      window_shape: the window over the positions.
      strides: its steps; by default 1 everywhere, as Flax's pools have it.
      padding: "VALID", "SAME" or pairs per position axis. What is padded is never drawn.
      key: a random key; not needed when deterministic.
      deterministic: inference.

    Raises:
      ValueError: a window of other dimensions than the positions.
      TypeError: no key.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jnp.array([1.0, 3.0]).reshape(1, 2, 1)
      >>> assert F.stochastic_pool(x, (2,), deterministic=True).item() == 2.5  # (1 + 9) / 4
      >>> assert F.stochastic_pool(x, (2,), key=jax.random.key(0)).item() in (1.0, 3.0)

    Reference: Zeiler and Fergus 2013, https://arxiv.org/abs/1301.3557.
    """
    with check.inside("stochastic_pool"):
        x = jnp.asarray(x)
        sizes = x.shape[1:-1]
        strides = (1,) * len(window_shape) if strides is None else tuple(strides)
        if x.ndim < 3 or len(window_shape) != len(sizes) or len(strides) != len(sizes):
            needed = f"needs a window and strides for the {max(x.ndim - 2, 0)} position axes of [batch, positions..., channels]"
            check.fail(needed, f"window_shape={tuple(window_shape)}, strides={strides} for {check.shape_dtype(x)}", path="window_shape")
        if key is None and not deterministic:
            check.fail("needs a key for its draws", "key=None", "Pass key=jax.random.key(seed), another one each step", path="key", error=TypeError)
        if isinstance(padding, str):
            check.one_of(("VALID", "SAME"), padding=padding)
    pads = lax.padtype_to_pads(sizes, window_shape, strides, padding) if isinstance(padding, str) else [tuple(pair) for pair in padding]
    work = numerics.wide(x.dtype)
    positive = jnp.pad(jnp.maximum(x, jnp.zeros_like(x)).astype(work), [(0, 0), *pads, (0, 0)])
    counts = [(size - window) // stride + 1 for size, window, stride in zip(positive.shape[1:-1], window_shape, strides, strict=True)]

    def taken(offset: tuple[int, ...]) -> Any:  # of every window, the value at this place
        stops = [start + (count - 1) * stride + 1 for start, count, stride in zip(offset, counts, strides, strict=True)]
        return lax.slice(positive, (0, *offset, 0), (x.shape[0], *stops, x.shape[-1]), (1, *strides, 1))

    places = jnp.stack([taken(offset) for offset in product(*map(range, window_shape))])
    mass = jnp.sum(places, axis=0)
    if deterministic:
        return numerics.divide(jnp.sum(places * places, axis=0), mass).astype(x.dtype)
    below = jnp.cumsum(lax.stop_gradient(places), axis=0)
    before = jnp.concatenate([jnp.zeros_like(below[:1]), below[:-1]])
    drawn = (uniform(key, mass.shape).astype(work) * (1 - 2**-23) * below[-1])[None]  # below the whole mass, rounded as it may be
    chosen = (before <= drawn) & (drawn < below)  # one place, never one of mass zero
    return jnp.sum(jnp.where(chosen, places, jnp.zeros_like(places)), axis=0).astype(x.dtype)
