"""Arithmetic on pytrees, element by element."""

import operator
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _numerics as numerics
from gradkit import _tree
from gradkit._explain import explained
from gradkit.typing import PyTree, Scalar


@explained(trees="tree_x tree_y other_trees")
def add(tree_x: PyTree, tree_y: PyTree, *other_trees: PyTree) -> PyTree:
    """Add two or more pytrees, leaf by leaf.

    Args:
      tree_x: a tree.
      tree_y: a tree of the same structure.
      other_trees: more of them.

    Returns:
      the tree of sums.

    Example:
      >>> import gradkit as gk
      >>> assert gk.tree.add({"w": 1.0}, {"w": 2.0}, {"w": 4.0}) == {"w": 7.0}
    """
    return jax.tree.map(lambda x, *rest: sum(rest, start=x), tree_x, tree_y, *other_trees)


@explained(trees="tree_x tree_y")
def sub(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Subtract one pytree from another, leaf by leaf.

    Args:
      tree_x: a tree.
      tree_y: a tree of the same structure.

    Returns:
      the tree of differences.

    Example:
      >>> import gradkit as gk
      >>> assert gk.tree.sub({"w": 3.0}, {"w": 2.0}) == {"w": 1.0}
    """
    return jax.tree.map(operator.sub, tree_x, tree_y)


@explained(trees="tree_x tree_y")
def mul(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Multiply two pytrees, leaf by leaf.

    Args:
      tree_x: a tree.
      tree_y: a tree of the same structure.

    Returns:
      the tree of products.

    Example:
      >>> import gradkit as gk
      >>> assert gk.tree.mul({"w": 3.0}, {"w": 2.0}) == {"w": 6.0}
    """
    return jax.tree.map(operator.mul, tree_x, tree_y)


@explained(trees="tree_x tree_y")
def div(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Divide one pytree by another, leaf by leaf.

    Args:
      tree_x: a tree.
      tree_y: a tree of the same structure.

    Returns:
      the tree of quotients; division by zero is JAX's.

    Example:
      >>> import gradkit as gk
      >>> assert gk.tree.div({"w": 3.0}, {"w": 2.0}) == {"w": 1.5}
    """
    return jax.tree.map(operator.truediv, tree_x, tree_y)


@explained(trees="tree", numbers="scalar")
def scale(scalar: Scalar, tree: PyTree) -> PyTree:
    """Multiply every leaf of a pytree by a scalar, in the dtype of the leaf.

    Args:
      scalar: a number or an array of rank zero.
      tree: a tree.

    Returns:
      the tree of products.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.scale(jnp.float32(2.0), {"w": jnp.bfloat16(3.0)})["w"] == 6.0

    **Differs from optax**: a scalar array does not widen the leaves.
    """
    return jax.tree.map(lambda x: factor(scalar, x) * x, tree)


@explained(trees="tree_x tree_y", numbers="scalar")
def add_scale(tree_x: PyTree, scalar: Scalar, tree_y: PyTree) -> PyTree:
    """Compute ``tree_x + scalar * tree_y``, rounded once to the dtype of ``tree_x``.

    Args:
      tree_x: a tree.
      scalar: a number or an array of rank zero.
      tree_y: a tree of the same structure.

    Returns:
      a tree like ``tree_x``; None where ``tree_x`` is None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.add_scale({"w": jnp.ones(1)}, -0.5, {"w": jnp.ones(1)})["w"][0] == 0.5

    **Differs from optax**: the sum of half-precision leaves is computed in float32, and the result
    keeps the dtype of ``tree_x``.
    """

    def leaf(x: Any, y: Any) -> Any:
        if x is None:
            return None
        dtype = numerics.wide(numerics.wider(jax.dtypes.result_type(x), jax.dtypes.result_type(y)))
        y = numerics.cast(y, dtype)
        return numerics.cast(
            numerics.cast(x, dtype) + factor(scalar, y) * y, jax.dtypes.result_type(x)
        )

    return jax.tree.map(leaf, tree_x, tree_y, is_leaf=lambda x: x is None)


@explained(trees="tree", numbers="min_value max_value")
def clip(tree: PyTree, min_value: Scalar | None = None, max_value: Scalar | None = None) -> PyTree:
    """Clip every element of a pytree to an interval.

    Args:
      tree: a tree of real arrays.
      min_value: the lower bound, or None.
      max_value: the upper bound, or None.

    Returns:
      the clipped tree, in the dtypes of ``tree``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.clip(jnp.array([-2.0, 0.5, 2.0]), -1.0, 1.0).tolist() == [-1.0, 0.5, 1.0]
    """

    def bound(value: Any, x: Any) -> Any:
        return None if value is None else _tree.factor_like(value, x)

    return jax.tree.map(
        lambda x: jnp.clip(x, bound(min_value, jnp.asarray(x)), bound(max_value, jnp.asarray(x))),
        tree,
    )


@explained(trees="tree_x tree_y")
def where(condition: Any, tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Choose between two pytrees by one condition, which may be traced.

    Args:
      condition: a bool, or an array that broadcasts against every leaf.
      tree_x: the tree for true.
      tree_y: the tree for false, of the same structure.

    Returns:
      a tree of the same structure.

    Example:
      >>> import gradkit as gk
      >>> assert gk.tree.where(True, {"w": 1.0}, {"w": 2.0})["w"] == 1.0
    """
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), tree_x, tree_y)


@explained(trees="tree")
def conj(tree: PyTree) -> PyTree:
    """Return the complex conjugate of every leaf of a pytree.

    Args:
      tree: a tree.

    Returns:
      a tree of the same structure.

    Example:
      >>> import gradkit as gk
      >>> assert gk.tree.conj({"w": 1.0 + 2.0j})["w"] == 1.0 - 2.0j
    """
    return jax.tree.map(jnp.conj, tree)


@explained(trees="tree")
def real(tree: PyTree) -> PyTree:
    """Return the real part of every leaf of a pytree.

    Args:
      tree: a tree.

    Returns:
      a tree of the same structure.

    Example:
      >>> import gradkit as gk
      >>> assert gk.tree.real({"w": 1.0 + 2.0j})["w"] == 1.0
    """
    return jax.tree.map(jnp.real, tree)


def factor(scalar: Any, x: Any) -> Any:
    """A scalar that multiplies ``x`` in its dtype; a complex one keeps its imaginary part."""
    return (
        scalar
        if jnp.iscomplexobj(scalar) and not jnp.iscomplexobj(x)
        else _tree.factor_like(scalar, jnp.asarray(x))
    )
