"""Stochastic pooling: the value of a window is drawn at random, instead of its maximum or mean."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.arguments import as_array, as_key, check_flag, describe
from gradkit.nn.functional.random import draw_like, uniform
from gradkit.typing import Key

Padding = str | Sequence[tuple[int, int]]


def stochastic_pool(
    x: jax.Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Padding = "VALID",
    *,
    key: Key | None = None,
    deterministic: bool = False,
) -> jax.Array:
    """Apply stochastic pooling: draw one activation from each window, in proportion to its size.

    **Value** in training y = a_i with probability a_i / Σ a, a = max(x, 0) over the window; at
    inference the mean y = Σ a_i² / Σ a. A window without a positive value gives 0, one with inf
    gives inf and one with NaN gives NaN.

    Args:
      x: the output of a ReLU, floating, of shape [batch, positions..., channels].
      window_shape: the size of the window along each axis of positions, >= 1.
      strides: the distance between windows along each axis, >= 1; by default 1, as in Flax's pools.
      padding: "VALID", "SAME", or a pair (before, after) >= 0 per axis of positions. Padding is
        never drawn.
      key: a random key or a seed; not needed when deterministic.
      deterministic: True at inference.

    Returns:
      y, of shape [batch, windows..., channels] and the dtype of ``x``.

    Raises:
      ValueError: a window, strides or padding that do not fit the axes of positions.
      TypeError: a missing key, an input of integers, a flag that is not a bool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jnp.array([1.0, 3.0]).reshape(1, 2, 1)
      >>> assert F.stochastic_pool(x, (2,), deterministic=True).item() == 2.5  # (1 + 9) / 4
      >>> assert F.stochastic_pool(x, (2,), key=jax.random.key(0)).item() in (1.0, 3.0)

    Reference: Zeiler and Fergus 2013, https://arxiv.org/abs/1301.3557.
    """
    with check.inside("stochastic_pool"):
        x = as_array(x, floating=True)
        check_flag(deterministic, "deterministic")
        window = as_sizes(window_shape, "window_shape")
        steps = (1,) * len(window) if strides is None else as_sizes(strides, "strides")
        sizes = x.shape[1:-1]
        if x.ndim < 3 or not len(window) == len(steps) == len(sizes):
            problem = (
                f"window_shape={window} and strides={steps} do not fit x of shape {list(x.shape)}"
            )
            expected = (
                "one size and one stride per axis of positions of [batch, positions..., channels]"
            )
            check.refuse(problem, expected=expected)
        pads = as_padding(padding, sizes, window, steps)
        for size, (before, after), width in zip(sizes, pads, window, strict=True):
            if size + before + after < width:
                problem = f"window_shape={window} is larger than the padded positions {list(sizes)}"
                check.refuse(problem, expected="a smaller window, or more padding")
        if key is not None or not deterministic:
            key = as_key(key, "the draw")
    return _pool(x, window, steps, pads, key, deterministic)


def as_sizes(sizes: Any, name: str) -> tuple[int, ...]:
    """A tuple of integers >= 1."""
    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        expected = "a sequence of integers >= 1"
        check.refuse(
            f"{name}={describe(sizes)} is not a sequence", expected=expected, error=TypeError
        )
    for size in sizes:
        check.integer(1, **{name: size})
    return tuple(int(size) for size in sizes)


def as_padding(
    padding: Any, sizes: tuple[int, ...], window: tuple[int, ...], strides: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Pairs (before, after) of each axis of positions."""
    if isinstance(padding, str):
        check.one_of(("VALID", "SAME"), padding=padding)
        return [(int(a), int(b)) for a, b in lax.padtype_to_pads(sizes, window, strides, padding)]
    try:
        pads = [(before, after) for before, after in padding]
    except (TypeError, ValueError):
        pads = []
    if len(pads) != len(sizes) or any(
        not isinstance(size, int) or isinstance(size, bool) or size < 0
        for pad in pads
        for size in pad
    ):
        problem = f"padding={describe(padding)} does not fit {len(sizes)} axes of positions"
        check.refuse(problem, expected="'VALID', 'SAME', or a pair (before, after) >= 0 per axis")
    return pads


def _pool(
    x: jax.Array,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    pads: list[tuple[int, int]],
    key: Any,
    deterministic: bool,
) -> jax.Array:
    work = numerics.wide(x.dtype)
    relu = jnp.maximum(x, jnp.zeros_like(x)).astype(work)
    positive = jnp.pad(relu, [(0, 0), *pads, (0, 0)])
    axes = zip(positive.shape[1:-1], window, strides, strict=True)
    counts = [(size - width) // stride + 1 for size, width, stride in axes]

    def at_offset(offset: tuple[int, ...]) -> jax.Array:  # of every window, the value at this place
        places = zip(offset, counts, strides, strict=True)
        stops = [start + (count - 1) * stride + 1 for start, count, stride in places]
        limits = (x.shape[0], *stops, x.shape[-1])
        return lax.slice(positive, (0, *offset, 0), limits, (1, *strides, 1))

    places = jnp.stack([at_offset(offset) for offset in product(*map(range, window))])
    largest = lax.stop_gradient(jnp.max(places, axis=0))  # NaN before inf before finite
    finite = jnp.isfinite(largest)
    # Shares of the largest value neither overflow nor underflow. The unit cancels from the mean and
    # from its derivatives. It is at most max / 8, because XLA may multiply by 1 / unit.
    top = jnp.finfo(work).max / 8
    unit = jnp.where(finite, jnp.minimum(largest, top), jnp.ones_like(largest))
    places = jnp.where(finite[None], places, jnp.zeros_like(places))
    shares = numerics.divide(places, unit[None])
    if deterministic:
        mean = unit * numerics.divide(jnp.sum(shares * shares, axis=0), jnp.sum(shares, axis=0))
        return jnp.where(finite, mean, largest).astype(x.dtype)
    below = jnp.cumsum(lax.stop_gradient(shares), axis=0)
    before = jnp.concatenate([jnp.zeros_like(below[:1]), below[:-1]])
    draw = lambda key: uniform(key, largest.shape)
    numbers = draw_like(largest, largest.shape, draw, key).astype(work)
    place = (numbers * (1 - 2**-23) * below[-1])[None]  # below the total, however it is rounded
    chosen = (before <= place) & (place < below)  # one place, never one of probability zero
    value = jnp.sum(jnp.where(chosen, places, jnp.zeros_like(places)), axis=0)
    return jnp.where(finite, value, largest).astype(x.dtype)
