"""Reductions of a pytree to one number, added in float32 or wider."""

import builtins
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _shards as shards
from gradkit import _tree
from gradkit._explain import explained
from gradkit.typing import PyTree


@explained(trees="tree")
def norm(tree: PyTree, ord: int | float | str | None = None, squared: bool = False) -> jax.Array:
    """Compute the norm of a pytree taken as one vector: the global norm of gradients.

    **Value** √Σ|x|² for ``ord=None`` or 2, Σ|x| for 1, max|x| for ``inf``; its square with
    ``squared``.

    Args:
      tree: a tree of real or complex arrays.
      ord: None, 1, 2, ``jnp.inf``, ``"inf"`` or ``"infinity"``.
      squared: return the square.

    Returns:
      a scalar, float32 or wider; 0 for an empty tree.

    Raises:
      ValueError: another order.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> assert gk.tree.norm([jnp.array([3.0]), jnp.array([4.0])]) == 5.0
      >>> assert gk.tree.norm([jnp.ones((), jnp.bfloat16)] * 1024) == 32.0  # not 16
      >>> assert jax.grad(gk.tree.norm)(jnp.zeros(2)).tolist() == [0.0, 0.0]

    **Differs from optax**: half-precision leaves are squared and added in float32; the derivative
    at zero is zero, not NaN; ``max`` of an empty tree counts as 0.
    """
    check.boolean(squared=squared)
    if ord is None or ord == 2:
        if squared:
            return sum(jax.tree.map(numerics.abs_sq, _tree.widen(tree)))
        return _tree.norm(tree)
    if ord == 1:
        result = sum(jax.tree.map(jnp.abs, _tree.widen(tree)))
    elif ord in (jnp.inf, "inf", "infinity"):
        result = jnp.maximum(max(jax.tree.map(jnp.abs, _tree.widen(tree))), 0.0)
    else:
        check.refuse(f"ord={ord!r} is not supported", expected="None, 1, 2 or inf")
    return result * result if squared else result


@explained(trees="tree_x tree_y")
def vdot(tree_x: PyTree, tree_y: PyTree) -> jax.Array:
    """Compute the inner product Σ conj(x) · y of two pytrees.

    Args:
      tree_x: a tree.
      tree_y: a tree of the same structure and shapes.

    Returns:
      a scalar, float32 or wider for floating leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.vdot({"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, 4.0])}) == 11.0
    """

    def leaf(x: Any, y: Any) -> Any:
        if np.shape(x) != np.shape(y):
            check.refuse(
                f"a leaf {check.shape_dtype(y)} does not match {check.shape_dtype(x)}",
                expected="equal shapes in tree_x and tree_y",
            )
        return jnp.conj(x) * y

    return sum(jax.tree.map(leaf, _tree.widen(tree_x), _tree.widen(tree_y)))


@explained(trees="tree")
def sum(tree: PyTree, associative_reduction: bool = False) -> jax.Array:
    """Add all elements of a pytree.

    Args:
      tree: a tree.
      associative_reduction: add the leaves pairwise instead of one after the other.

    Returns:
      a scalar, float32 or wider for floating leaves; 0 for an empty tree.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.sum({"w": jnp.ones(3), "b": jnp.ones(1)}) == 4.0

    **Differs from optax**: half-precision leaves are added in float32.
    """
    sums = shards.totals([jnp.sum(leaf) for leaf in jax.tree.leaves(_tree.widen(tree))])
    if not sums:
        return jnp.zeros(())
    dtype = numerics.wider(*sums)
    sums = [numerics.cast(one, dtype) for one in sums]
    while associative_reduction and len(sums) > 1:
        pairs = [a + b for a, b in zip(sums[::2], sums[1::2], strict=False)]
        sums = pairs + sums[len(pairs) * 2 :]
    return builtins.sum(sums[1:], start=sums[0])


@explained(trees="tree")
def max(tree: PyTree) -> jax.Array:
    """Return the largest element of a pytree.

    Args:
      tree: a tree of real arrays; arrays of size zero are passed over.

    Returns:
      a scalar; −∞ for an empty tree.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.max({"w": jnp.array([1.0, 3.0]), "b": jnp.zeros(0)}) == 3.0
    """
    return _extreme(tree, lambda x: shards.largest(jnp.max(x)), jnp.maximum, -jnp.inf)


@explained(trees="tree")
def min(tree: PyTree) -> jax.Array:
    """Return the smallest element of a pytree.

    Args:
      tree: a tree of real arrays; arrays of size zero are passed over.

    Returns:
      a scalar; ∞ for an empty tree.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.min({"w": jnp.array([1.0, 3.0]), "b": jnp.zeros(0)}) == 1.0
    """
    return _extreme(tree, lambda x: shards.smallest(jnp.min(x)), jnp.minimum, jnp.inf)


@explained(trees="tree")
def size(tree: PyTree) -> int:
    """Count the elements of a pytree: the number of parameters of a model.

    Args:
      tree: a tree of arrays, or of their ``ShapeDtypeStruct``.

    Returns:
      a Python integer.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.size({"w": jnp.zeros((2, 3)), "b": 1.0}) == 7
    """
    return builtins.sum(int(np.prod(np.shape(leaf))) for leaf in jax.tree.leaves(tree))


@explained(trees="a b", numbers="rtol atol")
def allclose(
    a: PyTree, b: PyTree, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> jax.Array:
    """Return whether two pytrees agree within tolerances.

    Args:
      a: a tree.
      b: a tree of the same structure.
      rtol: relative tolerance, of the elements of ``b``.
      atol: absolute tolerance.
      equal_nan: count two NaN as equal.

    Returns:
      one bool, as an array.

    Example:
      >>> import gradkit as gk
      >>> assert gk.tree.allclose({"w": 1.0}, {"w": 1.0 + 1e-7})
      >>> assert not gk.tree.allclose({"w": 1.0}, {"w": 1.1})
    """
    check.non_negative(rtol=rtol, atol=atol)
    close = jax.tree.map(lambda x, y: jnp.allclose(x, y, rtol, atol, equal_nan), a, b)
    return jnp.all(jnp.stack([jnp.asarray(True), *jax.tree.leaves(close)]))


def _extreme(
    tree: Any, of_leaf: Callable[..., Any], of_two: Callable[..., Any], start: float
) -> Any:
    found = [of_leaf(leaf) for leaf in jax.tree.leaves(tree) if np.size(leaf)]
    if not found:
        return jnp.asarray(start)
    dtype = numerics.wider(*found)
    result = numerics.cast(found[0], dtype)
    for one in found[1:]:
        result = of_two(result, numerics.cast(one, dtype))
    return result
