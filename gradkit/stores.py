"""Stores: how an average keeps its state, as a pair of functions on one leaf.

| store | keeps |
|---|---|
| None | the leaf, float32 or wider |
| a dtype, or ``store_in(dtype)`` | the leaf, rounded to nearest |
| ``factored()`` | the means along the two largest axes (Adafactor) |
| ``sm3_cover()`` | a bound for every slice along every axis (SM3) |
| ``blockwise_mean(axis)`` | one mean for each block of elements (Adam-mini) |
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._arguments import CONVERTERS
from gradkit._stored import label as _label
from gradkit.typing import Params, PyTree, StoreLike

_DTYPES = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")


class Store(NamedTuple):
    """A pair of pure functions on one leaf, such that ``decode(encode(x), x)`` is close to ``x``.

    ``encode(leaf)`` returns what is kept: any tree of arrays. ``decode(stored, like)`` returns a
    leaf of the shape and dtype of ``like``. Give functions that are equal when they do the same
    (functions of a module, not lambdas), so that equal transforms share their compilations and
    pickle.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> def halve(leaf):
      ...     return leaf / 2
      >>> def double(stored, like):
      ...     return 2 * stored
      >>> tx = gk.ema(0.5, debias=False, accumulator_dtype=gk.stores.Store(halve, double))
      >>> updates, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert updates[0] == 0.5 and state.inner["ema"]["average"][0] == 0.25
    """

    encode: Callable[[Any], PyTree]
    decode: Callable[[PyTree, Any], Any]

    def __repr__(self) -> str:
        name = _NAMES.get(getattr(self.encode, "func", self.encode))
        if name is None:
            return f"Store({self.encode!r}, {self.decode!r})"
        return f"{name}({', '.join(map(repr, getattr(self.encode, 'args', ())))})"


class _With(functools.partial[Any]):
    """A function with its first argument; two of the same are equal, also when one was pickled."""

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _With) and (self.func, self.args) == (other.func, other.args)

    def __hash__(self) -> int:
        return hash((self.func, self.args))


def _itself(leaf: Any) -> Any:
    return leaf


def _stored(stored: Any, like: Any) -> Any:
    return stored


IDENTITY = Store(_itself, _stored)


def store_in(dtype: Any) -> Store:
    """Keep state in a floating or complex dtype, rounded to nearest.

    A real leaf is kept in the real dtype and a complex leaf in the complex dtype of that width, a
    complex one at least in complex64: ``"bfloat16"`` keeps complex leaves in complex64,
    ``"complex64"`` keeps real leaves in float32.

    Args:
      dtype: a floating or complex dtype, or its name.

    Returns:
      The store.

    Raises:
      TypeError: not a dtype, or an integer dtype.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store = gk.stores.store_in("bfloat16")
      >>> x = jnp.float32(1 + 2**-9)
      >>> assert store.encode(x).dtype == jnp.bfloat16 and store.decode(store.encode(x), x) == 1.0
    """
    with check.inside("store_in"):
        return _store_in(dtype, "dtype", "a floating or complex dtype such as 'bfloat16'")


def as_store(value: StoreLike, argument: str = "") -> Store:
    """Convert an argument that says how state is kept: None is the wide dtype of the leaf.

    Args:
      value: a dtype, a `Store`, or None.
      argument: the name of the argument, for messages.

    Returns:
      The store.

    Raises:
      TypeError: anything else.
    """
    if value is None:
        return IDENTITY
    if isinstance(value, Store):
        return value
    return _store_in(value, argument, "a floating or complex dtype, a Store, or None")


def _store_in(dtype: Any, argument: str, expected: str) -> Store:
    shown = f"{argument}=" if argument else ""
    problem = f"{shown}{getattr(dtype, '__name__', None) or repr(dtype)} is not a dtype"
    try:
        if isinstance(dtype, (np.ndarray, np.generic, jax.Array)) or dtype is None:
            raise TypeError  # NumPy would read the array's dtype, and None as float64
        kind = jnp.dtype(dtype)
    except (TypeError, ValueError):
        fix = check.nearest(dtype, _DTYPES) if isinstance(dtype, str) else ""
        if inspect.isfunction(dtype):
            fix = f"Call it: {dtype.__name__}(...)"
        check.refuse(problem, expected=expected, fix=fix, error=TypeError)
    if not jnp.issubdtype(kind, jnp.inexact):
        problem = f"{shown}{kind.name!r} is not a floating dtype"
        check.refuse(problem, expected=expected, error=TypeError)
    return Store(_With(_narrow, kind.name), _like)


def _narrow(name: str, leaf: Any) -> Any:
    kind = jnp.dtype(name)
    if jnp.iscomplexobj(leaf):
        return numerics.cast(leaf, numerics.wider(kind, jnp.complex64))
    return numerics.cast(leaf, numerics.real(kind))


def _like(stored: Any, like: Any) -> Any:
    return numerics.cast(stored, like.dtype)


def scope_of(store: Store) -> str:
    """The scope (see `Rule`) of an average that keeps its state through a store."""
    keeps_elements = store == IDENTITY or getattr(store.encode, "func", None) is _narrow
    return "element" if keeps_elements else "leaf"


def encoded(store: Store, params: Params, fill: Any = 0.0, real: bool = False) -> PyTree:
    """Encode ``fill`` for every leaf: the first state of an average.

    Args:
      store: how it is kept.
      params: the tree whose shapes it has.
      fill: the first value, a number.
      real: take real dtypes for complex params, for averages of magnitudes.

    Returns:
      A tree like ``params`` of what ``store`` keeps.
    """

    def first(leaf: Any) -> Any:
        leaf = leaf.real if real else leaf
        return _label(store.encode(leaf), store, leaf)

    return tree.map(first, tree.zeros_like(params, fill))


# ---- stores that compress ------------------------------------------------------------


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
        _With(_rows_and_columns, min_dim_size_to_factor),
        _With(_outer_product, min_dim_size_to_factor),
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
    return Store(_With(_block_means, axes), numerics.broadcast_like)


def _block_means(axes: tuple[int, ...] | None, leaf: Any) -> Any:
    rank = leaf.ndim
    if axes is None or not all(-rank <= axis < rank for axis in axes):
        axes = tuple(range(rank))
    size = math.prod(leaf.shape[axis] for axis in axes)
    return jnp.sum(leaf, axes, keepdims=True) / max(size, 1)


_NAMES: dict[Any, str] = {
    _narrow: "store_in",
    _rows_and_columns: "factored",
    _slice_maxima: "sm3_cover",
    _block_means: "blockwise_mean",
}


def _as_store_like(name: str, value: Any) -> Any:
    """A store as an argument, as it was written: it prints and compares so."""
    as_store(value, name)
    return value


CONVERTERS[StoreLike] = _as_store_like
