"""Which leaves of a tree are in which stack, for ``stacked``."""

from collections import Counter
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from gradkit import _numerics as numerics
from gradkit import _xla as xla
from gradkit._rule import Rule
from gradkit.typing import PyTree


class Layout:
    """Which leaf of a tree is in which row of which stack.

    A stack holds the leaves of one shape and one wide dtype for which the rules inside read the
    same (their masks, their dimension numbers). They are in the order of the tree; those that are
    transposed come last. A leaf that is alone is as it is, without an axis for the rows.

    Attributes:
      leaves: the tree of parameters.
      rows: for each stack, by name, the numbers of its leaves.
    """

    are_stacks = True

    def __init__(self, leaves: PyTree, read: list[list[Any]], transpose: bool, max_size: Any):
        self.leaves = leaves
        self.treedef: Any = jax.tree.structure(leaves)
        flat = jax.tree.leaves(leaves)
        self.turned = {i for i, leaf in enumerate(flat) if transpose and _is_tall(leaf)}
        found: dict[Any, list[int]] = {}
        for i, leaf in enumerate(flat):
            shape = leaf.shape[::-1] if i in self.turned else np.shape(leaf)
            alone = i if max_size is not None and np.size(leaf) > max_size else None
            dtype = numerics.wide(jax.dtypes.result_type(leaf))
            reads = tuple(values[i] for values in read)
            found.setdefault((shape, dtype, reads, alone), []).append(i)
        names = [_name(shape, dtype) for shape, dtype, *_ in found]
        taken: Counter[str] = Counter()
        self.rows: dict[str, list[int]] = {}
        for name, rows in zip(names, found.values(), strict=True):
            last = sorted(rows, key=lambda i: i in self.turned)
            self.rows[f"{name}_{taken[name]}" if taken[name] else name] = last
            taken[name] += 1

    def of(self, values: PyTree) -> Any:
        """One value for each stack from one for each leaf."""
        flat = jax.tree.leaves(values)
        return {name: flat[rows[0]] for name, rows in self.rows.items()}

    def pieces(self, name: str, rule: Rule) -> list[tuple[str, slice, bool]]:
        """The parts of a stack that a rule may compute together, and whether to turn them.

        A rule that does not treat a matrix and its transpose alike is given those that the stack
        holds transposed as they are in the tree.
        """
        count = sum(i not in self.turned for i in self.rows[name])
        if _is_transposable(rule) or count == len(self.rows[name]):
            return [(name, slice(None), False)]
        if not count:
            return [(f"{name}_T", slice(None), True)]
        return [(name, slice(0, count), False), (f"{name}_T", slice(count, None), True)]

    def alone(self, name: str) -> bool:
        """Whether a stack holds a single leaf."""
        return len(self.rows[name]) == 1

    def only(self, name: str) -> "Layout":
        """The layout inside a map over the rows of one stack: the tree is one leaf."""
        return _Row(self, name)

    def stack(self, values: PyTree, opaque: Any) -> dict[str, Any]:
        """A tree as stacks, each a row for each leaf."""
        flat = jax.tree.leaves(values)
        turned = {name: [self._turn(i, flat[i]) for i in rows] for name, rows in self.rows.items()}
        return {
            name: leaves[0] if self.alone(name) else xla.stack(_alike(leaves), opaque)
            for name, leaves in turned.items()
        }

    def unstack(self, stacks: dict[str, Any], opaque: Any) -> PyTree:
        """Stacks as the tree again."""
        flat = jax.tree.leaves(self.leaves)
        for name, rows in self.rows.items():
            held = [stacks[name]] if self.alone(name) else xla.unstack(stacks[name], opaque)
            for i, row in zip(rows, held, strict=True):
                flat[i] = _placed(self._turn(i, row), _typed(flat[i]))
        return self.treedef.unflatten(flat)

    def like(self, value: Any) -> bool:
        """Whether an extra argument is a tree of arrays like the parameters."""
        leaves, treedef = jax.tree.leaves(value), jax.tree.structure(value)
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(self.leaves)]
        return (
            bool(treedef == self.treedef) and [getattr(x, "shape", None) for x in leaves] == shapes
        )

    def _turn(self, i: int, leaf: Any) -> Any:
        if i not in self.turned:
            return leaf
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape[::-1], leaf.dtype)
        return leaf.T


class _Row(Layout):
    """The layout of a single row: masks have one value."""

    are_stacks = False

    def __init__(self, whole: Layout, name: str):
        self.leaves, self.name, self.whole = whole.leaves, name, whole

    def of(self, values: PyTree) -> Any:
        return self.pick(jax.tree.leaves(values))

    def pick(self, values: list[Any]) -> Any:
        """The value of this row from one for each leaf."""
        return values[self.whole.rows[self.name][0]]


def _is_transposable(rule: Rule) -> bool:
    members = [member for part in rule.parts for member in part.transform.members]
    own = rule.scope != "leaf" or rule.transposable
    return own and all(_is_transposable(member.rule) for member in members)


def _is_tall(leaf: Any) -> bool:
    return np.ndim(leaf) == 2 and leaf.shape[0] > leaf.shape[1]


def _typed(leaf: Any) -> Any:
    """The sharding of a leaf where it is a part of its type; else None."""
    if not isinstance(leaf, jax.Array):
        return None
    sharding = jax.typeof(leaf).sharding
    return sharding if AxisType.Explicit in sharding.mesh.axis_types else None


def _placed(leaf: Any, sharding: Any) -> Any:
    if sharding is None or _typed(leaf) == sharding:
        return leaf
    return jax.sharding.reshard(leaf, sharding)


def _alike(leaves: list[Any]) -> list[Any]:
    """Leaves of one dtype and one sharding."""
    kinds = {jax.dtypes.result_type(leaf) for leaf in leaves}
    if len(kinds) > 1:
        leaves = [numerics.cast(leaf, numerics.wider(*kinds)) for leaf in leaves]
    if len({_typed(leaf) for leaf in leaves}) == 1:
        return leaves
    return [jax.sharding.reshard(leaf, PartitionSpec()) for leaf in leaves]


def _name(shape: tuple[int, ...], dtype: Any) -> str:
    return "_".join(filter(None, (dtype.name, "x".join(map(str, shape)))))
