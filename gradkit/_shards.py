"""Sums over the shards of arrays, inside ``shard_map``.

`sharded` names the mapped axes while it traces a transform. A sum is then added up over those axes
on which the array varies: JAX records them in the types of arrays. Everywhere else these functions
return what they are given.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_axes: ContextVar[tuple[str, ...]] = ContextVar("axes", default=())


@contextmanager
def over(axes: tuple[str, ...]) -> Iterator[None]:
    """Add up shards over these axes, inside the block."""
    token = _axes.set(axes)
    try:
        yield
    finally:
        _axes.reset(token)


def active() -> bool:
    """Whether arrays may be shards."""
    return bool(_axes.get())


def varying(x: Any) -> frozenset[str]:
    """The mapped axes along which an array differs."""
    kind: Any = jax.typeof(x)
    kind = getattr(kind, "manual_axis_type", None)
    return frozenset() if kind is None else frozenset(kind.varying)


def total(x: Any) -> Any:
    """A sum over the elements of a shard, as that over the elements of the array."""
    return _reduced([x], lax.psum)[0] if _axes.get() else x


def totals(values: Sequence[Any]) -> list[Any]:
    """`total` of several sums, with one collective for those that vary over the same axes."""
    return _reduced(values, lax.psum) if _axes.get() else list(values)


def largest(x: Any) -> Any:
    """The largest element of a shard, as that of the array."""
    return _reduced([x], lax.pmax)[0] if _axes.get() else x


def smallest(x: Any) -> Any:
    """The smallest element of a shard, as that of the array."""
    return _reduced([x], lax.pmin)[0] if _axes.get() else x


def anywhere(x: Any) -> Any:
    """Whether a bool is true for any shard."""
    return total(x.astype(jnp.int32)) > 0 if _axes.get() else x


def size(x: Any) -> Any:
    """The number of elements of the array of which this is a shard."""
    axes = _axes.get()
    if not axes:
        return x.size
    varies = varying(x)
    return x.size * prod(lax.axis_size(axis) for axis in axes if axis in varies)


def _reduced(values: Sequence[Any], reduce: Callable[..., Any]) -> list[Any]:
    result, groups = list(values), dict[tuple[str, ...], list[int]]()
    for i, value in enumerate(values):
        varies = varying(value)
        groups.setdefault(tuple(axis for axis in _axes.get() if axis in varies), []).append(i)
    for axes, rows in groups.items():
        if axes:
            added = reduce([values[i] for i in rows], axes)
            for i, value in zip(rows, added, strict=True):
                result[i] = value
    return result
