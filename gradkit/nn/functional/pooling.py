"""Stochastic pooling: a window's value is drawn, not maximized or averaged."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.dropout import check_flag, check_input, drawn, one_key, uniform


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
    value gives 0, one with inf gives inf and one with NaN gives NaN.

    Args:
      x: [batch, positions..., channels], as it leaves a ReLU.
      window_shape: the window over the positions.
      strides: its steps; by default 1 everywhere, as Flax's pools have it.
      padding: "VALID", "SAME" or pairs per position axis. What is padded is never drawn.
      key: a random key or a seed; not needed when deterministic.
      deterministic: inference.

    Raises:
      ValueError: a window of other dimensions than the positions.
      TypeError: no key, an input of integers.

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
        check_input(x)
        check_flag(deterministic)
        sizes = x.shape[1:-1]
        strides = (1,) * len(window_shape) if strides is None else tuple(strides)
        if x.ndim < 3 or len(window_shape) != len(sizes) or len(strides) != len(sizes):
            needed = f"needs a window and strides for the {max(x.ndim - 2, 0)} position axes of [batch, positions..., channels]"
            check.fail(
                needed,
                f"window_shape={tuple(window_shape)}, strides={strides} for {check.shape_dtype(x)}",
                path="window_shape",
            )
        if not deterministic:
            key = one_key(key, "draws")
        if isinstance(padding, str):
            check.one_of(("VALID", "SAME"), padding=padding)
    pads = (
        lax.padtype_to_pads(sizes, window_shape, strides, padding)
        if isinstance(padding, str)
        else [tuple(pair) for pair in padding]
    )
    work = numerics.wide(x.dtype)
    positive = jnp.pad(jnp.maximum(x, jnp.zeros_like(x)).astype(work), [(0, 0), *pads, (0, 0)])
    counts = [
        (size - window) // stride + 1
        for size, window, stride in zip(positive.shape[1:-1], window_shape, strides, strict=True)
    ]

    def taken(offset: tuple[int, ...]) -> Any:  # of every window, the value at this place
        stops = [
            start + (count - 1) * stride + 1
            for start, count, stride in zip(offset, counts, strides, strict=True)
        ]
        return lax.slice(
            positive, (0, *offset, 0), (x.shape[0], *stops, x.shape[-1]), (1, *strides, 1)
        )

    places = jnp.stack([taken(offset) for offset in product(*map(range, window_shape))])
    top = lax.stop_gradient(
        jnp.max(places, axis=0)
    )  # NaN if one is, else inf if one is: then the result
    finite = jnp.isfinite(top)
    # Shares of the largest neither overflow nor vanish; whatever that is, it cancels from the mean, also from its derivatives.
    unit = jnp.where(
        finite, jnp.minimum(top, jnp.finfo(work).max / 8), jnp.ones_like(top)
    )  # / 8, for XLA may multiply by 1 / unit
    shares = numerics.divide(jnp.where(finite[None], places, jnp.zeros_like(places)), unit[None])
    if deterministic:
        mean = unit * numerics.divide(jnp.sum(shares * shares, axis=0), jnp.sum(shares, axis=0))
        return jnp.where(finite, mean, top).astype(x.dtype)
    below = jnp.cumsum(lax.stop_gradient(shares), axis=0)
    before = jnp.concatenate([jnp.zeros_like(below[:1]), below[:-1]])
    numbers = drawn(lambda key: uniform(key, top.shape), top, top.shape, key).astype(work)
    place = (numbers * (1 - 2**-23) * below[-1])[None]  # below the whole mass, rounded as it may be
    chosen = (before <= place) & (place < below)  # one place, never one of mass zero
    value = jnp.sum(jnp.where(chosen, places, jnp.zeros_like(places)), axis=0)
    return jnp.where(finite, value, top).astype(x.dtype)
