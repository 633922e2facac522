"""Which axes of an array are the rows and the columns of a matrix."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
from typing_extensions import TypeAliasType

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import masks
from gradkit._arguments import CONVERTERS
from gradkit.masks.predicates import takes
from gradkit.typing import Params, PyTree


class MuonDimensionNumbers(NamedTuple):
    """Name the axes of a weight that it sums over and those of its output; the others are a stack.

    A dense kernel of shape (in, out) has the default, a convolution's kernel of shape (height,
    width, in, out) has ``MuonDimensionNumbers((0, 1, 2), 3)``, and a stack of kernels (layer, in,
    out) has ``MuonDimensionNumbers(1, 2)``.

    Attributes:
      reduction_axis: one axis or several, which are flattened in this order: the rows.
      output_axis: one axis or several: the columns.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_muon(weight_dimension_numbers=gk.MuonDimensionNumbers((0, 1, 2), 3))
      >>> kernel = jnp.ones((3, 3, 2, 4))
      >>> assert tx.update(kernel, tx.init(kernel))[0].shape == kernel.shape
    """

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


DimensionNumbers = TypeAliasType(
    "DimensionNumbers",
    "MuonDimensionNumbers | masks.Predicate | PyTree | Callable[[Params], PyTree]",
)
"""Which leaves are matrices: numbers for all, a tree of them (or a prefix), a predicate, or a
function of the parameters that returns such a tree. In a tree, None is no matrix, and True is a
matrix of two axes."""


class Matrices(NamedTuple):
    """An array as a stack of matrices."""

    shape: tuple[int, ...]
    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def size(self, axes: tuple[int, ...]) -> int:
        """The number of indices of some axes."""
        return math.prod(self.shape[axis] for axis in axes)

    @property
    def fan_in(self) -> int:
        """The number of rows."""
        return self.size(self.rows)

    @property
    def fan_out(self) -> int:
        """The number of columns."""
        return self.size(self.columns)

    def see(self, x: Any) -> Any:
        """The stack of matrices, its batch axes first; no matrix is spread over devices."""
        x = numerics.gather(x, self.batch)
        order = self.batch + self.rows + self.columns
        leading = tuple(self.shape[axis] for axis in self.batch)
        x = x if order == tuple(range(x.ndim)) else x.transpose(order)
        return x.reshape(*leading, self.fan_in, self.fan_out)

    def back(self, x: Any, like: Any) -> Any:
        """The array of such a stack, in the sharding of the original one."""
        order = self.batch + self.rows + self.columns
        x = x.reshape([self.shape[axis] for axis in order])
        if order != tuple(range(x.ndim)):
            x = x.transpose(sorted(range(x.ndim), key=lambda i: order[i]))
        return numerics.shard_like(x, like)


def matrices(given: Any, tree: PyTree, whole: PyTree = None) -> list[Matrices]:
    """How each leaf of a tree is a stack of matrices, in the order of its leaves.

    Args:
      given: the dimension numbers; None where every leaf is a matrix.
      tree: the updates, with None in place of the leaves that a wrapper has masked.
      whole: the tree that functions are given, and in which every ``by_path`` must match.

    Raises:
      ValueError: a leaf that is no matrix, axes that it does not have.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    numbers = [True] * len(leaves) if given is None else spread(given, tree, whole)
    pairs = [(one, check.keystr(path), leaf) for one, (path, leaf) in zip(numbers, leaves)]
    if wrong := [(path, leaf) for one, path, leaf in pairs if not _may_be_matrix(one, leaf)]:
        _refuse_leaves(wrong)
    return [_matrices(one, leaf.shape, path) for one, path, leaf in pairs]


def _may_be_matrix(one: Any, leaf: Any) -> bool:
    """Whether a leaf has the axes of a matrix, or numbers that say which they are."""
    if one is None or isinstance(one, bool):
        return bool(one) and len(leaf.shape) == 2
    return len(leaf.shape) >= 2


def _refuse_leaves(wrong: list[tuple[str, Any]]) -> NoReturn:
    """Say which leaves are no matrices, and where they belong."""
    shown = [f"{path or 'the leaf'} ({check.shape_dtype(leaf)})" for path, leaf in wrong[:5]]
    more = [f"{len(wrong) - 5} more"] if len(wrong) > 5 else []
    *first, last = shown + more
    problem = f"{', '.join(first)} and {last} are no matrices" if first else f"{last} is no matrix"
    fixes = []
    if any(len(leaf.shape) < 2 for _, leaf in wrong):
        fixes.append(
            "Train vectors and scalars with Adam: muon does so by itself, and where(by_rank(2, 2), "
            "this transform, scale_by_adam()) does it in a chain"
        )
    if any(len(leaf.shape) > 2 for _, leaf in wrong):
        fixes.append(
            "Say which axes are rows and columns, as in weight_dimension_numbers="
            "MuonDimensionNumbers((0, 1, 2), 3) for the kernel of a convolution (height, width, "
            "in, out)"
        )
    if not fixes:
        fixes.append("Leave them out with masked or where, or give them dimension numbers")
    check.refuse(problem, expected="leaves of two axes", fix=". ".join(fixes))


def spread(given: Any, tree: PyTree, whole: PyTree = None) -> list[Any]:
    """The dimension numbers of each leaf (True, False or None in some), in the order of leaves."""
    whole = tree if whole is None else whole
    if isinstance(given, masks.Predicate):
        return jax.tree.leaves(masks.resolve(given, tree, whole=whole))
    if is_function(given):
        given = given(whole)
    found: list[Any] = []

    def below(one: Any, subtree: Any) -> None:
        found.extend([one] * len(jax.tree.leaves(subtree)))

    try:
        jax.tree.map(below, given, tree, is_leaf=is_numbers)
    except (ValueError, TypeError):
        problem = f"the dimension numbers are {check.shown(given)}"
        check.refuse(problem, expected="a tree like the parameters, or a prefix of it")
    for one in found:
        _check_numbers(one)
    return found


def is_function(given: Any) -> bool:
    """Whether dimension numbers are given as a function of the parameters."""
    return callable(given) and jax.tree_util.all_leaves([given])


def is_numbers(given: Any) -> bool:
    """Whether this is the entry of one leaf, or of a subtree, also that of optax's class."""
    return given is None or hasattr(given, "reduction_axis")


def _matrices(numbers: Any, shape: tuple[int, ...], path: str) -> Matrices:
    if isinstance(numbers, bool):
        numbers = MuonDimensionNumbers()
    rows, columns = (_axes(one, shape, numbers, path) for one in numbers)
    if set(rows) & set(columns):
        problem = f"{_shown(numbers)} has an axis twice"
        check.refuse(problem, expected="different axes", path=path)
    batch = tuple(axis for axis in range(len(shape)) if axis not in rows + columns)
    return Matrices(shape, batch, rows, columns)


def _axes(axes: Any, shape: tuple[int, ...], numbers: Any, path: str) -> tuple[int, ...]:
    axes = tuple(axes) if isinstance(axes, (tuple, list)) else (axes,)
    rank = len(shape)
    if not axes or not all(-rank <= axis < rank for axis in axes):
        problem = f"{_shown(numbers)} is out of range for the shape {list(shape)}"
        check.refuse(problem, expected=f"axes from {-rank} to {rank - 1}", path=path)
    found = tuple(axis % rank for axis in axes)
    if len(set(found)) < len(found):
        problem = f"{_shown(numbers)} has an axis twice"
        check.refuse(problem, expected="different axes", path=path)
    return found


def _shown(numbers: Any) -> str:
    return f"MuonDimensionNumbers({numbers.reduction_axis!r}, {numbers.output_axis!r})"


_EXPECTED = (
    "MuonDimensionNumbers, a tree of them with None for what is no matrix, a predicate, or a "
    "function of the parameters that returns such a tree"
)


def _check_numbers(one: Any, name: str = "the dimension numbers", value: Any = None) -> None:
    if one is None or isinstance(one, bool):
        return
    good = is_numbers(one) and all(
        type(axis) is int
        for axes in one
        for axis in (axes if isinstance(axes, (tuple, list)) else (axes,))
    )
    if not good:
        problem = f"{name} contains {check.shown(one)}"
        if value is one:
            problem = f"{name}={one!r} is not a set of dimension numbers"
        check.refuse(problem, expected=_EXPECTED, argument=(name, value), error=TypeError)


def _as_dimension_numbers(name: str, value: Any) -> Any:
    masks.called(value, name)
    if isinstance(value, masks.Predicate):
        return value
    if is_function(value):
        if not takes(value, 1):
            problem = f"{name}={check.shown(value)} is not a function of one argument"
            check.refuse(problem, expected=_EXPECTED, argument=(name, value), error=TypeError)
        return value
    for one in jax.tree.leaves(value, is_leaf=is_numbers):
        _check_numbers(one, name, value)
    return value


CONVERTERS[DimensionNumbers] = _as_dimension_numbers
