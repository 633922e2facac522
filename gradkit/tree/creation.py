"""New pytrees in the shapes of others."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.typing import Key, PyTree


@explained(trees="tree", dtypes="dtype")
def zeros_like(tree: PyTree, dtype: Any = None) -> PyTree:
    """Return a pytree of zeros with the shapes, dtypes and sharding of another.

    Args:
      tree: a tree of arrays.
      dtype: dtype of the zeros; None keeps that of each leaf.

    Returns:
      a tree of the same structure.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.zeros_like({"w": jnp.ones(2)})["w"].tolist() == [0.0, 0.0]
    """
    return jax.tree.map(lambda x: jnp.zeros_like(x, dtype=dtype), tree)


@explained(trees="tree", dtypes="dtype")
def ones_like(tree: PyTree, dtype: Any = None) -> PyTree:
    """Return a pytree of ones with the shapes, dtypes and sharding of another.

    Args:
      tree: a tree of arrays.
      dtype: dtype of the ones; None keeps that of each leaf.

    Returns:
      a tree of the same structure.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.ones_like({"w": jnp.zeros(2)})["w"].tolist() == [1.0, 1.0]
    """
    return jax.tree.map(lambda x: jnp.ones_like(x, dtype=dtype), tree)


@explained(trees="tree", dtypes="dtype", numbers="fill_value")
def full_like(tree: PyTree, fill_value: ArrayLike, dtype: Any = None) -> PyTree:
    """Return a pytree filled with one value, with the shapes, dtypes and sharding of another.

    Args:
      tree: a tree of arrays.
      fill_value: the value.
      dtype: dtype of the result; None keeps that of each leaf.

    Returns:
      a tree of the same structure.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.full_like({"w": jnp.zeros(2)}, 3.0)["w"].tolist() == [3.0, 3.0]
    """
    return jax.tree.map(lambda x: jnp.full_like(x, fill_value, dtype=dtype), tree)


@explained(trees="tree")
def batch_shape(tree: PyTree, shape: tuple[int, ...] = ()) -> PyTree:
    """Add leading axes to every leaf of a pytree, by broadcasting.

    Args:
      tree: a tree of arrays.
      shape: the sizes of the new axes.

    Returns:
      a tree of the same structure.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.batch_shape({"w": jnp.ones(3)}, (2,))["w"].shape == (2, 3)
    """
    if not isinstance(shape, (tuple, list)) or not all(_is_size(size) for size in shape):
        problem = f"shape={check.shown(shape)} is not a shape"
        check.refuse(problem, expected="a tuple of integers >= 0", error=TypeError)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (*shape, *jnp.shape(x))), tree)


@explained(trees="target_tree")
def split_key_like(rng_key: Key, target_tree: PyTree) -> PyTree:
    """Split a random key into one key for each leaf of a pytree.

    Args:
      rng_key: a seed or a random key.
      target_tree: the tree whose structure to use.

    Returns:
      a tree of keys.

    Example:
      >>> import gradkit as gk, jax
      >>> keys = gk.tree.split_key_like(jax.random.key(0), {"w": 1.0, "b": 2.0})
      >>> assert keys["w"] != keys["b"]
    """
    treedef: Any = jax.tree.structure(target_tree)
    return treedef.unflatten(
        list(jax.random.split(numerics.as_key(rng_key), max(treedef.num_leaves, 1)))[
            : treedef.num_leaves
        ]
    )


@explained(trees="target_tree", dtypes="dtype", functions={"sampler": 3})
def random_like(
    rng_key: Key,
    target_tree: PyTree,
    sampler: Callable[..., Any] = jax.random.normal,
    dtype: Any = None,
) -> PyTree:
    """Return a pytree of random numbers with the shapes and dtypes of another.

    Args:
      rng_key: a seed or a random key.
      target_tree: a tree of arrays.
      sampler: ``sampler(key, shape, dtype)``; one that takes ``out_sharding`` is given that of the
        leaf.
      dtype: dtype of the numbers; None keeps that of each leaf.

    Returns:
      a tree of the same structure.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> noise = gk.tree.random_like(0, {"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)})
      >>> assert noise["w"].shape == (2, 3) and not (noise["w"][0] == noise["b"]).any()
    """
    check.arity(3, "(key, shape, dtype)", sampler=sampler)
    takes_sharding = "out_sharding" in inspect.signature(sampler).parameters

    def leaf(x: Any, key: Any) -> Any:
        placed = (
            {"out_sharding": jax.typeof(x).sharding}
            if takes_sharding and isinstance(x, jax.Array)
            else {}
        )
        return sampler(
            key, np.shape(x), jax.dtypes.result_type(x) if dtype is None else dtype, **placed
        )

    return jax.tree.map(leaf, target_tree, split_key_like(rng_key, target_tree))


def _is_size(size: Any) -> bool:
    whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    return whole and size >= 0
