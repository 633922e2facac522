"""What gradkit knows of Flax without importing it: the variables of NNX inside a tree.

``nnx.Optimizer`` and ``nnx.state`` hold every array in a ``Variable``, a pytree node of one leaf.
"""

from typing import Any

import jax

PathKey = Any  # an entry of a path of jax.tree_util


def is_variable(x: Any) -> bool:
    """Whether ``x`` is an NNX ``Variable``."""
    return hasattr(x, "get_value")


def unwrap(tree: Any) -> Any:
    """The tree with arrays in place of NNX variables; another tree is returned unchanged."""
    get = lambda x: x.get_value() if is_variable(x) else x
    return jax.tree.map(get, tree, is_leaf=is_variable)


def without_value(path: tuple[PathKey, ...]) -> tuple[PathKey, ...]:
    """The path of a leaf without the trailing ``.value`` of an NNX variable.

    The variable is a node whose only leaf is its value, so the last entry is not part of the name.
    A path of one entry is the attribute of a plain node and is kept.
    """
    if len(path) > 1 and path[-1] == jax.tree_util.GetAttrKey("value"):
        return path[:-1]
    return path
