"""A pytree taken apart by a mask, and put together again."""

from typing import Any

import jax

from gradkit import _checks as check
from gradkit._explain import explained
from gradkit.masks import resolve
from gradkit.typing import Mask, PyTree


def split(tree: PyTree, mask: Mask) -> tuple[PyTree, PyTree]:
    """Split a pytree by a mask into two, to differentiate with respect to a part of the parameters.

    Args:
      tree: a tree of arrays.
      mask: a predicate, a tree of bools, or a function of the tree that returns one.

    Returns:
      the tree with None in place of the leaves that the mask does not select, and the tree with
      None in place of those that it does. ``merge`` puts them together.

    Raises:
      TypeError: not a mask.
      ValueError: a mask that does not fit the tree, a ``by_path`` that matches no leaf.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> params = {"body": jnp.ones(2), "head": jnp.ones(2)}
      >>> trained, frozen = gk.tree.split(params, gk.by_path("head"))
      >>> trained["body"] is None and frozen["head"] is None
      True
      >>> loss = lambda trained: jnp.sum(gk.tree.merge(trained, frozen)["head"] ** 2)
      >>> assert jax.grad(loss)(trained)["head"].tolist() == [2.0, 2.0]
    """
    with check.inside("split"):
        mask = resolve(mask, tree)
    return (
        jax.tree.map(lambda chosen, x: x if chosen else None, mask, tree),
        jax.tree.map(lambda chosen, x: None if chosen else x, mask, tree),
    )


@explained(trees="tree other")
def merge(tree: PyTree, other: PyTree) -> PyTree:
    """Merge two pytrees that ``split`` returned into one.

    Args:
      tree: a tree with None in place of some leaves.
      other: a tree of the same structure, with None in place of the others.

    Returns:
      the tree with the leaves of both; None where both have None.

    Raises:
      ValueError: a leaf that both trees have, trees of different structures.

    Example:
      >>> import gradkit as gk
      >>> assert gk.tree.merge({"a": 1.0, "b": None}, {"a": None, "b": 2.0}) == {"a": 1.0, "b": 2.0}
    """

    def leaf(path: Any, x: Any, y: Any) -> Any:
        if x is not None and y is not None:
            problem = "both trees have this leaf"
            check.refuse(problem, fix="Pass the two trees of split", path=check.keystr(path))
        return y if x is None else x

    return jax.tree_util.tree_map_with_path(leaf, tree, other, is_leaf=lambda x: x is None)
