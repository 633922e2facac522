"""Random bits as a hash of a key and of the place of an element: no key to carry, and cheap."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit._kept import mixed

ROUNDINGS = ("stochastic", "nearest")


def bits(key: Any, shape: tuple[int, ...], count: int) -> Any:
    """``count`` random bits for each element, as uint32; without a key one half of their range."""
    if key is None:
        return np.uint32(1 << (count - 1))
    places = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    found = mixed(places * np.uint32(0x9E3779B1) + jnp.asarray(key, jnp.uint32))
    return found >> np.uint32(32 - count)


def keyed(rounding: str) -> bool:
    """Whether a rounding is random."""
    check.one_of(ROUNDINGS, rounding=rounding)
    return rounding == "stochastic"
