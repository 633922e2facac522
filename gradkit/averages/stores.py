"""How an average is stored: the third axis beside φ and ψ.

An average computes in wide numbers. Between two steps its memory is held by a *store*, a pair ``encode(leaf) -> stored`` and
``decode(stored, like) -> leaf``: another dtype, int8 blocks with their scales, factored rows and columns. ``stored`` may be any pytree;
``like`` has the shape and the wide dtype of the leaf.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree


class Store(NamedTuple):
    """A pair of pure functions on one leaf; ``decode(encode(x), x)`` is close to ``x``."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any, Any], Any]


IDENTITY = Store(lambda leaf: leaf, lambda stored, like: stored)


def store_in(dtype: Any) -> Store:
    """Memory in a floating ``dtype``, rounded to nearest; a complex leaf in the complex dtype of that width, at least complex64.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store = gk.store_in("bfloat16")
      >>> x = jnp.float32(1 + 2**-9)
      >>> assert store.encode(x).dtype == jnp.bfloat16 and store.decode(store.encode(x), x) == 1.0
    """
    kind = jnp.dtype(dtype)
    if not jnp.issubdtype(kind, jnp.floating):
        check.fail("needs a floating dtype or a Store", kind.name, path="accumulator_dtype", error=TypeError)

    def encode(leaf: Any) -> Any:
        return numerics.cast(leaf, numerics.wider(kind, jnp.complex64) if jnp.iscomplexobj(leaf) else kind)

    return Store(encode, lambda stored, like: numerics.cast(stored, like.dtype))


def as_store(dtype: Any) -> Store:
    """The store that an ``accumulator_dtype`` argument means: None keeps the wide dtype of the leaf."""
    if dtype is None:
        return IDENTITY
    return dtype if isinstance(dtype, Store) else store_in(dtype)


def encoded(store: Store, params: Any, fill: Any = 0.0, real: bool = False) -> Any:
    """The memory of an average of ``fill``, shaped like params (real where the average is of a magnitude)."""
    zeros = tree.zeros_like(params, fill)
    return tree.map(lambda leaf: store.encode(leaf.real if real else leaf), zeros)
