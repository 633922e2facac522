"""What the accumulators share: merging by ``+``, over devices, and along a stacked axis."""

import dataclasses
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import dataclass_transform

from gradkit import _checks as check

A = TypeVar("A", bound="Accumulator")
T = TypeVar("T", bound=type)


@dataclass_transform(frozen_default=True)
def accumulator(*static: str) -> Any:
    """Make a class a frozen dataclass and a pytree; the fields named are its structure."""

    def decorate(cls: T) -> T:
        made: Any = dataclasses.dataclass(frozen=True, eq=False)(cls)
        names = [field.name for field in dataclasses.fields(made)]
        data = [name for name in names if name not in static]
        return jax.tree_util.register_dataclass(made, data, list(static))

    return decorate


class Accumulator:
    """Sums over samples that have been seen: a pytree whose leaves add."""

    _rank: ClassVar[int]

    def _single(self) -> None:
        """Refuse accumulators along a stacked axis, whose leaves have one more."""
        leaf = jax.tree.leaves(self)[0]
        if jnp.ndim(leaf) != self._rank:
            problem = f"these are several accumulators: a leaf is {check.shape_dtype(leaf)}"
            fix = "Merge them with collapse(), or read each under jax.vmap"
            with check.inside(type(self).__name__):
                check.refuse(problem, expected="one accumulator", fix=fix)

    def __add__(self: A, other: A) -> A:
        """Merge two accumulators of the same shapes."""
        return self.merge(other)

    def __radd__(self: A, other: Any) -> A:
        """Let ``sum`` begin with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def merge(self: A, other: A) -> A:
        """Return what the samples of both would have given; ``a + b`` is the same.

        Args:
          other: an accumulator of the same kind and shapes.

        Returns:
          a new accumulator.

        Raises:
          ValueError: other shapes. TypeError: another kind.
        """
        with check.inside(f"{type(self).__name__}.merge"):
            _same(self, other)
        return jax.tree.map(jnp.add, self, other)

    def psum(self: A, axis_name: Any) -> A:
        """Merge the accumulators of all devices along an axis of a mesh, inside ``shard_map``.

        Args:
          axis_name: the name of a mapped axis, or several.

        Returns:
          the accumulator of all samples, on every device.
        """
        return jax.tree.map(lambda x: lax.psum(x, axis_name), self)

    def collapse(self: A) -> A:
        """Merge accumulators stacked along a first axis, by vmap, scan or an all-gather.

        Returns:
          an accumulator without that axis.
        """
        return jax.tree.map(lambda x: jnp.sum(x, axis=0), self)


def _same(ours: Any, theirs: Any) -> None:
    if type(theirs) is not type(ours):
        problem = f"other={check.shown(theirs)} is not a {type(ours).__name__}"
        check.refuse(problem, error=TypeError)
    structure: Any = jax.tree.structure(ours)
    if structure != jax.tree.structure(theirs):
        problem = f"other={_options(theirs)} differs from {_options(ours)}"
        check.refuse(problem, expected="accumulators of the same init")
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        if jnp.shape(a) != jnp.shape(b) or jnp.result_type(a) != jnp.result_type(b):
            problem = f"other has {check.shape_dtype(b)} in place of {check.shape_dtype(a)}"
            check.refuse(problem, expected="accumulators of the same init")


def _options(value: Any) -> str:
    names = [field.name for field in dataclasses.fields(value)]
    shown = {name: getattr(value, name) for name in names}
    fields = [f"{name}={x}" for name, x in shown.items() if isinstance(x, (int, float, str))]
    return f"{type(value).__name__}({', '.join(fields)})"


def add(total: jax.Array, weight: jax.Array) -> jax.Array:
    """The sum of a batch in the dtype of the accumulator; weights do not fit integers."""
    integer = jnp.issubdtype(total.dtype, jnp.integer)
    if integer and not jnp.issubdtype(weight.dtype, jnp.integer):
        fix = "Begin with init(..., weighted=True)"
        check.refuse("sample_weight for an accumulator that counts", fix=fix)
    return total + weight.astype(total.dtype)


def zeros(shape: Any, weighted: Any) -> jax.Array:
    """Integer counts, or sums of weights."""
    check.boolean(weighted=weighted)
    return jnp.zeros(shape, float if weighted else int)
