"""A configuration as arrays and structure, so that configurations of one structure are a batch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradkit._call import Call
from gradkit.typing import PyTree


class Form(NamedTuple):
    """The structure of a configuration: what is compiled in. It hashes, and shares compilations.

    Attributes:
      tree: the structure of the tree, transforms being leaves of it.
      parts: for each leaf of the tree, the structure of its numbers, or the leaf itself with its
        type where it is no number: an int, a string, a function.
    """

    tree: Any
    parts: tuple[tuple[str, Any, Any], ...]

    def config(self, leaves: Sequence[Any], *, structure: bool = True) -> PyTree:
        """The configuration of these numbers; without its structure None where there is none."""
        at, built = 0, []
        for kind, _, part in self.parts:
            if kind == "static":
                built.append(part if structure else None)
                continue
            end = at + part.num_leaves
            built.append(jax.tree.unflatten(part, leaves[at:end]))
            at = end
        return jax.tree.unflatten(self.tree, built)


def split(config: PyTree) -> tuple[Form, list[Any]]:
    """The structure of a configuration and its numbers: floats, arrays, those of transforms."""
    found, tree = jax.tree.flatten(config, is_leaf=lambda leaf: isinstance(leaf, Call))
    parts: list[tuple[str, Any, Any]] = []
    leaves: list[Any] = []
    for part in found:
        if isinstance(part, (Call, float, np.ndarray, jax.Array)):
            own, structure = jax.tree.flatten(part)
            leaves += own
            parts.append(("data", None, structure))
        else:
            parts.append(("static", type(part), part))
    return Form(tree, tuple(parts)), leaves


class Batch(NamedTuple):
    """Configurations of one structure, as arrays with an axis of trials in front.

    Attributes:
      form: the structure.
      indices: the numbers of the trials in the table.
      leaves: the numbers; those that all trials share without the axis.
      axes: for each, 0 or None: the ``in_axes`` of ``vmap``.
    """

    form: Form
    indices: np.ndarray
    leaves: list[Any]
    axes: tuple[int | None, ...]

    def take(self, rows: Any) -> list[Any]:
        """The numbers of some trials, by their rows."""
        return [
            leaf if axis is None else jnp.asarray(leaf)[rows]
            for leaf, axis in zip(self.leaves, self.axes, strict=True)
        ]


def join(batches: Sequence[Batch]) -> Batch:
    """Batches of one structure as one: what differs between them gets the axis of trials."""
    if len(batches) == 1:
        return batches[0]
    leaves: list[Any] = []
    axes: list[int | None] = []
    for column in range(len(batches[0].leaves)):
        values = [batch.leaves[column] for batch in batches]
        shared = all(batch.axes[column] is None for batch in batches)
        first = np.asarray(values[0])
        if shared and all(np.array_equal(first, np.asarray(value)) for value in values):
            leaves.append(values[0])
            axes.append(None)
            continue
        dtype = jnp.result_type(*(jnp.asarray(value) for value in values))
        rows = [_rows(batch, column, dtype) for batch in batches]
        leaves.append(jnp.concatenate(rows))
        axes.append(0)
    indices = np.concatenate([batch.indices for batch in batches])
    order = np.argsort(indices)
    ordered = [leaf if a is None else leaf[order] for leaf, a in zip(leaves, axes, strict=True)]
    return Batch(batches[0].form, indices[order], ordered, tuple(axes))


def _rows(batch: Batch, column: int, dtype: Any) -> jax.Array:
    leaf = jnp.asarray(batch.leaves[column], dtype)
    if batch.axes[column] == 0:
        return leaf
    return jnp.broadcast_to(leaf, (len(batch.indices), *leaf.shape))
