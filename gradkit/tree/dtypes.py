"""Dtypes of pytrees."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.typing import PyTree


@explained(trees="tree", dtypes="dtype")
def cast(tree: PyTree, dtype: Any) -> PyTree:
    """Cast every leaf of a pytree to a dtype.

    Args:
      tree: a tree of arrays.
      dtype: the dtype; None leaves the tree as it is.

    Returns:
      a tree of the same structure.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.cast({"w": jnp.ones(1)}, jnp.bfloat16)["w"].dtype == jnp.bfloat16
    """
    return (
        tree if dtype is None else jax.tree.map(lambda x: numerics.cast(x, jnp.dtype(dtype)), tree)
    )


@explained(trees="tree other_tree")
def cast_like(tree: PyTree, other_tree: PyTree) -> PyTree:
    """Cast every leaf of a pytree to the dtype of the matching leaf of another.

    Args:
      tree: a tree of arrays.
      other_tree: a tree of the same structure; a leaf without a dtype leaves its partner as it is.

    Returns:
      a tree like ``tree``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> like = {"w": jnp.ones(1, jnp.bfloat16)}
      >>> assert gk.tree.cast_like({"w": jnp.ones(1)}, like)["w"].dtype == jnp.bfloat16
    """
    return jax.tree.map(
        lambda x, like: numerics.cast(x, like.dtype) if hasattr(like, "dtype") else x,
        tree,
        other_tree,
    )


@explained(trees="tree")
def dtype(tree: PyTree, mixed_dtype_handler: str | None = None) -> Any:
    """Return the dtype of a pytree.

    Args:
      tree: a tree of arrays.
      mixed_dtype_handler: for leaves of several dtypes: None refuses them, ``"promote"`` gives
        their common dtype, ``"highest"`` and ``"lowest"`` the one among them to which all others
        promote, or which promotes to all others.

    Returns:
      the dtype; the default floating dtype for an empty tree.

    Raises:
      ValueError: several dtypes and no handler, or none of them is the highest or lowest.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> mixed = [jnp.ones(1, jnp.bfloat16), jnp.ones(1, jnp.float32)]
      >>> assert gk.tree.dtype(mixed, "lowest") == jnp.bfloat16
      >>> assert gk.tree.dtype(mixed, "promote") == jnp.float32
    """
    kinds = sorted(
        {jnp.dtype(jax.dtypes.result_type(leaf)) for leaf in jax.tree.leaves(tree)}, key=str
    )
    if mixed_dtype_handler not in (None, "promote", "highest", "lowest"):
        check.refuse(
            f"mixed_dtype_handler={mixed_dtype_handler!r} is unknown",
            expected="None, 'promote', 'highest' or 'lowest'",
        )
    if not kinds:
        return jnp.dtype(jnp.result_type(float))
    if len(kinds) == 1:
        return kinds[0]
    found = ", ".join(map(str, kinds))
    if mixed_dtype_handler is None:
        check.refuse(
            f"a tree of {found} has no single dtype", fix="Pass mixed_dtype_handler='promote'"
        )
    if mixed_dtype_handler == "promote":
        return numerics.wider(*kinds)
    for kind in kinds:
        if all(
            numerics.wider(kind, other) == (kind if mixed_dtype_handler == "highest" else other)
            for other in kinds
        ):
            return kind
    return check.refuse(
        f"none of {found} is the {mixed_dtype_handler}",
        fix="Pass mixed_dtype_handler='promote'",
    )


def unwrap_random_key_data(input_tree: PyTree) -> PyTree:
    """Replace typed random keys in a pytree by their data, for comparison and storage.

    Args:
      input_tree: a tree with random keys among its leaves.

    Returns:
      a tree of the same structure; leaves that are not keys stay.

    Example:
      >>> import gradkit as gk, jax
      >>> tree = gk.tree.unwrap_random_key_data({"key": jax.random.key(0)})
      >>> assert tree["key"].tolist() == [0, 0]
    """

    def leaf(x: Any) -> Any:
        return (
            jax.random.key_data(x)
            if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
            else x
        )

    return jax.tree.map(leaf, input_tree)
