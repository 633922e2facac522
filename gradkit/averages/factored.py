"""Stores that keep less than the leaf: rows and columns, covers, one number per block.

| | keeps of x | gives back | floats kept of an n × m matrix |
|---|---|---|---|
| ``factored()`` | row means R, column means C | R Cᵀ / mean R | n + m |
| ``cover()`` | the largest of each row, of each column | the smaller of the two | n + m |
| ``block_mean()`` | the mean of each block | that mean | the blocks |

An average may be kept in such a store (``ema(0.999, accumulator_dtype=store)``): then its past is compressed, and what comes is exact.
Or it may live in it (``through(ema(0.999), store)``): then what comes is compressed too, and the average is one of rows and columns.
"""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import transform
from gradkit.averages.stores import Store, encoded


class _With(functools.partial[Any]):
    """A function with its first argument. Two of the same are equal, also when one was pickled: a store is part of what a transform is."""

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _With) and (self.func, self.args) == (other.func, other.args)

    def __hash__(self) -> int:
        return hash((self.func, self.args))


def factored_axes(shape: tuple[int, ...], min_dim_size_to_factor: int = 128) -> tuple[int, int] | None:
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
    return Store(_With(_rows_and_columns, min_dim_size_to_factor), _With(_outer_product, min_dim_size_to_factor))


def _rows_and_columns(least: int, leaf: Any) -> Any:
    axes = factored_axes(leaf.shape, least)
    if axes is None:
        return leaf
    small, large = axes
    return {"rows": jnp.mean(leaf, large, keepdims=True), "columns": jnp.mean(leaf, small, keepdims=True)}


def _outer_product(least: int, stored: Any, like: Any) -> Any:
    axes = factored_axes(like.shape, least)
    if axes is None:
        return stored
    # The quotient first: the product of two small means would underflow.
    return numerics.divide(stored["rows"], jnp.mean(stored["rows"], axes[0], keepdims=True)) * stored["columns"]


def cover() -> Store:
    """SM3's store: a bound for every slice of the leaf along every axis.

    **Rule** encode: μ_r = max of x over the slice r; decode: x_i ≈ the smallest μ_r of the slices that hold i, never below x. For magnitudes.
    Scalars and vectors are kept whole.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.cover(), jnp.array([[1.0, 5.0], [2.0, 3.0]])
      >>> assert store.decode(store.encode(x), x).tolist() == [[2.0, 5.0], [2.0, 3.0]]

    Reference: Anil et al. 2019, https://arxiv.org/abs/1901.11150.
    """
    return Store(_largest, _smallest)


def _largest(leaf: Any) -> Any:
    """The largest number of every slice."""
    if leaf.ndim < 2:
        return leaf
    others = [tuple(other for other in range(leaf.ndim) if other != axis) for axis in range(leaf.ndim)]
    return {f"axis_{axis}": jnp.max(leaf, other, keepdims=True, initial=0.0) for axis, other in enumerate(others)}


def _smallest(stored: Any, like: Any) -> Any:
    """The smallest bound over a number."""
    if like.ndim < 2:
        return stored
    return functools.reduce(jnp.minimum, (stored[f"axis_{axis}"] for axis in range(like.ndim)))


def block_mean(axis: int | tuple[int, ...] | None = None) -> Store:
    """One number per block: its mean.

    **Rule** encode: the mean over ``axis``, the axes that make up a block; decode: that mean for every number of the block. A leaf that
    lacks one of the axes, and any leaf with ``axis=None``, is one block.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.block_mean(axis=0), jnp.array([[1.0, 2.0], [3.0, 6.0]])
      >>> assert store.decode(store.encode(x), x).tolist() == [[2.0, 4.0], [2.0, 4.0]]

    Reference: Zhang et al. 2024, https://arxiv.org/abs/2406.16793.
    """
    axes = None if axis is None else (axis,) if isinstance(axis, int) else axis
    return Store(_With(_mean, axes), _spread)


def _mean(axes: tuple[int, ...] | None, leaf: Any) -> Any:
    over = axes if axes is not None and all(-leaf.ndim <= a < leaf.ndim for a in axes) else None
    return jnp.sum(leaf, over, keepdims=True) / max(leaf.size // max(math.prod(_kept(leaf.shape, over)), 1), 1)


def _spread(stored: Any, like: Any) -> Any:
    return jnp.broadcast_to(stored, like.shape)


def _kept(shape: tuple[int, ...], over: tuple[int, ...] | None) -> list[int]:
    """The sizes of the axes that a reduction leaves."""
    return [] if over is None else [n for axis, n in enumerate(shape) if axis not in over and axis - len(shape) not in over]


@transform
def through(average: Any, store: Any, offset: Any = 0.0) -> Rule:
    """An average of what a store keeps: compress what comes, average that, give it back whole.

    **Rule** A_t = decode(inner(encode(x_t + ε))), ε = ``offset``. For a store of means that is the inner average of x, compressed, for averages
    and means commute.

    **Remembers** what ``average`` remembers, of the size of what the store keeps.

    Args:
      average: the inner average, a transform such as ``ema(0.999)``.
      store: a `Store` such as ``factored()``.
      offset: ε ≥ 0, added to everything that comes, to keep the means off zero.

    Raises:
      TypeError: ``store`` is no Store.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> adafactor = gk.precondition(gk.latest(), gk.through(gk.ema(0.5, debias=False), gk.factored(2)))
      >>> g = jnp.array([[1.0, 1.0], [1.0, 3.0]])
      >>> updates, state = adafactor.update(g, adafactor.init(g))
      >>> assert jnp.allclose(updates[0, 0], 1 / (0.5 * 1.0 * 1.0 / 3.0) ** 0.5)  # rows 1, 5; columns 1, 5; their mean 3

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, algorithm 4.
    """
    check.non_negative(offset=offset)
    if not isinstance(store, Store):
        check.fail("needs a Store", repr(store), "Such as factored(), cover(), block_mean()", path="store", error=TypeError)
    inner = average.rule

    def update(updates: Any, memory: Any, params: Any, **extras: Any) -> Any:
        kept = tree.map(lambda x: store.encode(x + tree.factor_like(offset, x)), updates)
        averages, memory = inner.update(kept, memory, params, **extras)
        return tree.map(lambda x, stored: store.decode(stored, x), updates, averages), memory

    return Rule(lambda params: inner.init(encoded(store, params)), update)
