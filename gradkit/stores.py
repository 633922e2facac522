"""Stores."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

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
        check.fail(
            "needs a floating dtype or a Store",
            kind.name,
            path="accumulator_dtype",
            error=TypeError,
        )

    def encode(leaf: Any) -> Any:
        return numerics.cast(
            leaf, numerics.wider(kind, jnp.complex64) if jnp.iscomplexobj(leaf) else kind
        )

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


class _With(functools.partial[Any]):
    """A function with its first argument. Two of the same are equal, also when one was pickled: a store is part of what a transform is."""

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _With) and (self.func, self.args) == (other.func, other.args)

    def __hash__(self) -> int:
        return hash((self.func, self.args))


def factored_axes(
    shape: tuple[int, ...], min_dim_size_to_factor: int = 128
) -> tuple[int, int] | None:
    """The two largest axes of a shape, the smaller first; None where the second largest is shorter than the least size.

    Example:
      >>> import gradkit as gk
      >>> gk.factored_axes((3, 300, 200)), gk.factored_axes((300, 100)), gk.factored_axes((300,))
      ((2, 1), None, None)
    """
    if len(shape) < 2 or math.prod(shape) == 0:
        return None
    *_, small, large = (int(axis) for axis in np.argsort(shape, kind="stable"))
    return (small, large) if shape[small] >= min_dim_size_to_factor else None


def factored(min_dim_size_to_factor: int = 128) -> Store:
    """Adafactor's store: the means along the two largest axes, whose outer product stands for the leaf.

    **Rule** encode: R_i = mean_j x_ij, C_j = mean_i x_ij; decode: x_ij ≈ R_i C_j / mean R, the rank-one matrix of least I-divergence from x ≥ 0, which
    has the row and column means of x. A leaf without two axes of ``min_dim_size_to_factor`` is kept whole.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store = gk.factored(2)
      >>> x = jnp.outer(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0, 5.0]))
      >>> assert jnp.allclose(store.decode(store.encode(x), x), x) and store.encode(x)["rows"].size == 2

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, section 3.
    """
    check.integer(0, min_dim_size_to_factor=min_dim_size_to_factor)
    return Store(
        _With(_rows_and_columns, min_dim_size_to_factor),
        _With(_outer_product, min_dim_size_to_factor),
    )


def _rows_and_columns(least: int, leaf: Any) -> Any:
    axes = factored_axes(leaf.shape, least)
    if axes is None:
        return leaf
    small, large = axes
    return {
        "rows": jnp.mean(leaf, large, keepdims=True),
        "columns": jnp.mean(leaf, small, keepdims=True),
    }


def _outer_product(least: int, stored: Any, like: Any) -> Any:
    axes = factored_axes(like.shape, least)
    if axes is None:
        return stored
    # The quotient first: the product of two small means would underflow.
    return (
        numerics.divide(stored["rows"], jnp.mean(stored["rows"], axes[0], keepdims=True))
        * stored["columns"]
    )


def sm3_cover() -> Store:
    """SM3's store: a bound for every slice of the leaf along every axis.

    **Rule** encode: μ_r = max of x over the slice r; decode: x_i ≈ the smallest μ_r of the slices that hold i, never below x. For magnitudes.
    Scalars and vectors are kept whole.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.sm3_cover(), jnp.array([[1.0, 5.0], [2.0, 3.0]])
      >>> assert store.decode(store.encode(x), x).tolist() == [[2.0, 5.0], [2.0, 3.0]]

    Reference: Anil et al. 2019, https://arxiv.org/abs/1901.11150.
    """
    return Store(_largest, _smallest)


def _largest(leaf: Any) -> Any:
    """The largest number of every slice."""
    if leaf.ndim < 2:
        return leaf
    others = [
        tuple(other for other in range(leaf.ndim) if other != axis) for axis in range(leaf.ndim)
    ]
    return {
        f"axis_{axis}": jnp.max(leaf, other, keepdims=True, initial=0.0)
        for axis, other in enumerate(others)
    }


def _smallest(stored: Any, like: Any) -> Any:
    """The smallest bound over a number."""
    if like.ndim < 2:
        return stored
    return functools.reduce(jnp.minimum, (stored[f"axis_{axis}"] for axis in range(like.ndim)))


def blockwise_mean(axis: int | tuple[int, ...] | None = None) -> Store:
    """One number per block: its mean.

    **Rule** encode: the mean over ``axis``, the axes that make up a block; decode: that mean for every number of the block. A leaf that
    lacks one of the axes, and any leaf with ``axis=None``, is one block.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.blockwise_mean(axis=0), jnp.array([[1.0, 2.0], [3.0, 6.0]])
      >>> assert store.decode(store.encode(x), x).tolist() == [[2.0, 4.0], [2.0, 4.0]]

    Reference: Zhang et al. 2024, https://arxiv.org/abs/2406.16793.
    """
    axes = None if axis is None else (axis,) if isinstance(axis, int) else axis
    return Store(_With(_mean, axes), _spread)


def _mean(axes: tuple[int, ...] | None, leaf: Any) -> Any:
    over = axes if axes is not None and all(-leaf.ndim <= a < leaf.ndim for a in axes) else None
    return jnp.sum(leaf, over, keepdims=True) / max(
        leaf.size // max(math.prod(_kept(leaf.shape, over)), 1), 1
    )


def _spread(stored: Any, like: Any) -> Any:
    return jnp.broadcast_to(stored, like.shape)


def _kept(shape: tuple[int, ...], over: tuple[int, ...] | None) -> list[int]:
    """The sizes of the axes that a reduction leaves."""
    return (
        []
        if over is None
        else [
            n for axis, n in enumerate(shape) if axis not in over and axis - len(shape) not in over
        ]
    )
