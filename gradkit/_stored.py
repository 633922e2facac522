"""Labels in a state: which store keeps which leaf.

A state is a tree of arrays, in which what a store keeps of a leaf may be several. To convert a
state to another store, `restore_into` initializes it with labels.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax


class Stored:
    """What a store keeps of one leaf, with the store, and the shape and dtype of the leaf.

    A node of a tree whose children are what is kept.
    """

    def __init__(self, kept: Any, store: Any, shape: tuple[int, ...], dtype: Any):
        self.kept, self.store, self.shape, self.dtype = kept, store, shape, dtype

    def plain(self) -> Any:
        """What is kept, without labels within it."""
        labelled = lambda x: isinstance(x, Stored)
        return jax.tree.map(lambda x: x.plain() if labelled(x) else x, self.kept, is_leaf=labelled)


def _flatten(stored: Stored) -> Any:
    # Without a key of its own, so that paths are those of a state without labels.
    return (stored.kept,), (stored.store, stored.shape, stored.dtype)


jax.tree_util.register_pytree_node(Stored, _flatten, lambda label, kept: Stored(*kept, *label))

_labelling: ContextVar[bool] = ContextVar("gradkit_labelling", default=False)


@contextlib.contextmanager
def labelling() -> Iterator[None]:
    """Let ``init`` return labels."""
    token = _labelling.set(True)
    try:
        yield
    finally:
        _labelling.reset(token)


def label(kept: Any, store: Any, leaf: Any) -> Any:
    """What a store keeps of a leaf; while labels are wanted, with one."""
    return Stored(kept, store, leaf.shape, leaf.dtype) if _labelling.get() else kept
