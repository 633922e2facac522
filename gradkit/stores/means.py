"""Stores that keep sums over a leaf: factored, by slices, by blocks."""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.stores.store import NAMES, Store, With


def factored(min_dim_size_to_factor: int = 128) -> Store:
    """Keep the means along the two largest axes (Adafactor); decode to their outer product.

    Encode: R_i = mean_j x_ij, C_j = mean_i x_ij. Decode: x_ij ≈ R_i C_j / mean R, the rank-one
    matrix of least I-divergence from x ≥ 0, which has the row and column means of x. A leaf
    without two axes of ``min_dim_size_to_factor`` elements is kept whole.

    Args:
      min_dim_size_to_factor: the least length of the second largest axis, ≥ 0.

    Returns:
      The store. An m × n matrix keeps m + n elements: ``{"rows", "columns"}``.

    Raises:
      ValueError: a negative length.
      TypeError: a length that is not a whole number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store = gk.stores.factored(2)
      >>> x = jnp.outer(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0, 5.0]))
      >>> kept = store.encode(x)
      >>> assert jnp.allclose(store.decode(kept, x), x) and kept["rows"].size == 2

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, section 3.
    """
    with check.inside("factored"):
        check.integer(0, min_dim_size_to_factor=min_dim_size_to_factor)
    return Store(
        With(_rows_and_columns, min_dim_size_to_factor),
        With(_outer_product, min_dim_size_to_factor),
    )


def factored_axes(
    shape: tuple[int, ...], min_dim_size_to_factor: int = 128
) -> tuple[int, int] | None:
    """The two largest axes, the smaller first; None where the second is shorter than the least."""
    if len(shape) < 2 or math.prod(shape) == 0:
        return None
    *_, small, large = (int(axis) for axis in np.argsort(shape, kind="stable"))
    return (small, large) if shape[small] >= min_dim_size_to_factor else None


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
    rows = stored["rows"]
    return numerics.divide(rows, jnp.mean(rows, axes[0], keepdims=True)) * stored["columns"]


def sm3_cover() -> Store:
    """Keep an upper bound for every slice of the leaf along every axis (SM3); for magnitudes.

    Encode: μ_r = max of x over the slice r. Decode: x_i ≈ the smallest μ_r of the slices that
    contain i, never below x. Scalars and vectors are kept whole.

    Returns:
      The store. An m × n matrix keeps m + n elements: ``{"axis_0", "axis_1"}``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.stores.sm3_cover(), jnp.array([[1.0, 5.0], [2.0, 3.0]])
      >>> assert store.decode(store.encode(x), x).tolist() == [[2.0, 5.0], [2.0, 3.0]]

    Reference: Anil et al. 2019, https://arxiv.org/abs/1901.11150.
    """
    return Store(_slice_maxima, _least_maximum)


def _slice_maxima(leaf: Any) -> Any:
    """The largest element of every slice."""
    if leaf.ndim < 2:
        return leaf
    axes = range(leaf.ndim)
    return {
        f"axis_{axis}": jnp.max(
            leaf, tuple(other for other in axes if other != axis), keepdims=True, initial=0.0
        )
        for axis in axes
    }


def _least_maximum(stored: Any, like: Any) -> Any:
    """The smallest bound of the slices that contain an element."""
    if like.ndim < 2:
        return stored
    return functools.reduce(jnp.minimum, (stored[f"axis_{axis}"] for axis in range(like.ndim)))


def blockwise_mean(axis: int | tuple[int, ...] | None = None) -> Store:
    """Keep the mean of each block of elements (Adam-mini).

    Encode: the mean over ``axis``, the axes that make up a block. Decode: that mean for every
    element of the block. A leaf that lacks one of the axes, and any leaf with ``axis=None``, is
    one block.

    Args:
      axis: one axis or several, counted from the end where negative; None for the whole leaf.

    Returns:
      The store. A leaf keeps one element for each block, its axes kept at length 1.

    Raises:
      TypeError: axes that are not whole numbers.
      ValueError: an axis that is given twice.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.stores.blockwise_mean(axis=0), jnp.array([[1.0, 2.0], [3.0, 6.0]])
      >>> assert store.decode(store.encode(x), x).tolist() == [[2.0, 4.0], [2.0, 4.0]]

    Reference: Zhang et al. 2024, https://arxiv.org/abs/2406.16793.
    """
    with check.inside("blockwise_mean"):
        axes = numerics.as_axes(axis)
    return Store(With(_block_means, axes), numerics.broadcast_like)


def _block_means(axes: tuple[int, ...] | None, leaf: Any) -> Any:
    rank = leaf.ndim
    if axes is None or not all(-rank <= axis < rank for axis in axes):
        axes = tuple(range(rank))
    size = math.prod(leaf.shape[axis] for axis in axes)
    return jnp.sum(leaf, axes, keepdims=True) / max(size, 1)


NAMES |= {
    _rows_and_columns: "factored",
    _slice_maxima: "sm3_cover",
    _block_means: "blockwise_mean",
}
MEANS = frozenset({_rows_and_columns, _slice_maxima, _block_means})
