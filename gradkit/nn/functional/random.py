"""Random masks: uniform numbers, Bernoulli masks, and draws that keep the sharding of the input."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit.nn.functional.arguments import as_key, check_number, describe
from gradkit.typing import Key


def sharding_like(x: jax.Array, shape: tuple[int, ...]) -> NamedSharding | None:
    """The sharding of an array of ``shape`` beside ``x``; None without explicit axes of a mesh.

    It is that of ``x`` along axes of the same size; the other axes are not sharded.
    """
    sharding = jax.typeof(x).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return None
    sizes = zip(sharding.spec, shape, x.shape, strict=True)
    spec = [axis if size == full else None for axis, size, full in sizes]
    return NamedSharding(sharding.mesh, PartitionSpec(*spec))


def draw_like(
    x: jax.Array, shape: tuple[int, ...], draw: Callable[..., jax.Array], *args: Any
) -> jax.Array:
    """``draw(*args)`` of ``shape``, sharded like ``x``, with the numbers of a single device.

    Within the draw XLA chooses the sharding, so the numbers do not depend on it.
    """
    sharding = sharding_like(x, shape)
    if sharding is None:
        return draw(*args)
    mesh = sharding.mesh
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    explicit = tuple(name for name, kind in kinds if kind == AxisType.Explicit)
    return jax.sharding.auto_axes(draw, axes=explicit, out_sharding=sharding)(*args)


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draw uniform float32 numbers in [0, 1), two from every 32 random bits.

    The first number of a pair reads the word from its left half, the second from its right half.
    Each is uniform to 24 bits, so no rate is rounded; the two depend on each other only where the
    16 leading bits are equal, once in 65536 pairs. If the last axis has an odd size, every number
    has a word of its own.
    """
    if not shape or shape[-1] % 2:
        words = jax.random.bits(key, shape, jnp.uint32)
    else:
        half = jax.random.bits(key, (*shape[:-1], shape[-1] // 2), jnp.uint32)
        words = jnp.stack([half, (half << 16) | (half >> 16)], axis=-1).reshape(shape)
    return (words >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def keep_mask(key: Key, rate: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """Draw a Bernoulli mask that is True with probability 1 − rate.

    **Value** m ~ Bernoulli(1 − p); all True for p = 0, all False for p = 1.

    Args:
      key: a random key or a seed.
      rate: p in [0, 1]: a number or an array that broadcasts to ``shape``; may be traced.
      shape: the shape of the mask.

    Returns:
      Booleans of ``shape``.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: a key that is not a random key, a shape that is not a tuple of integers.

    Example:
      >>> import jax
      >>> from gradkit.nn import functional as F
      >>> assert abs(float(F.keep_mask(jax.random.key(0), 0.25, (10000,)).mean()) - 0.75) < 0.02
    """
    with check.inside("keep_mask"):
        check_number(rate, "rate", check.probability)
        key = as_key(key)
        if not isinstance(shape, (tuple, list)) or not all(
            isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape
        ):
            problem = f"shape={describe(shape)} is not a shape"
            check.refuse(problem, expected="a tuple of integers >= 0", error=TypeError)
    return bernoulli(key, rate, tuple(shape))


def bernoulli(key: jax.Array, rate: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """`keep_mask` of checked arguments."""
    return uniform(key, shape) >= jnp.asarray(rate, jnp.float32)
