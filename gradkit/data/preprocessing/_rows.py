"""A record of the samples that a fit has seen: the smallest hashes of their values."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

MOST = 1024
_NONE = 0xFFFFFFFF


def empty(count: int = MOST) -> jax.Array:
    """The record of no sample."""
    return jnp.full((count, 2), _NONE, jnp.uint32)


def smallest(hashes: Any) -> Any:
    """The smallest hashes of several, at most ``MOST``."""
    if len(hashes) <= MOST:
        return hashes
    first, second = lax.sort((hashes[:, 0], hashes[:, 1]), num_keys=2)
    return jnp.stack([first[:MOST], second[:MOST]], axis=1)


def of(x: Any, used: Any) -> Any:
    """The record of samples ``x`` (n, ...) of which ``used`` (n,) count."""
    return smallest(jnp.where(used[:, None], hashes(x), jnp.uint32(_NONE)))


def same(x: Any, axis_name: Any) -> Any:
    """An array that is the same on all devices of an axis, so that ``shard_map`` knows it."""
    return lax.pmax(x, axis_name)


def hashes(x: Any) -> Any:
    """Two hashes of 32 bits for each sample, of the values: dtypes do not matter.

    Of float64 the digits beyond float32 count too. Each element is mixed with its position, and the
    sum is mixed again, so that values with few digits, such as pixels, spread over all bits.
    """
    x = x.reshape(len(x), -1)
    high = x.astype(jnp.float32)
    position = jnp.arange(x.shape[1], dtype=jnp.uint32)[None]
    found = []
    for salt in (0x9E3779B1, 0x85EBCA77):
        place = _mix(position * jnp.uint32(salt) + jnp.uint32(1))
        mixed = _mix(_bits(high) ^ place)
        if x.dtype == jnp.float64:
            low = _bits((x - high.astype(x.dtype)).astype(jnp.float32))
            mixed = mixed + jnp.where(low == 0, low, _mix(low + place))
        found.append(_mix(jnp.sum(mixed, axis=1, dtype=jnp.uint32) ^ jnp.uint32(salt)))
    # The largest pair stands for no sample.
    return jnp.stack([found[0], jnp.minimum(found[1], jnp.uint32(_NONE - 1))], axis=1)


def _bits(x: Any) -> Any:
    return lax.bitcast_convert_type(jnp.where(x == 0, jnp.zeros_like(x), x), jnp.uint32)


def _mix(h: Any) -> Any:
    """The finalizer of MurmurHash3."""
    h = (h ^ (h >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> jnp.uint32(16))
