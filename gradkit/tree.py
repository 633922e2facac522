"""Arithmetic on pytrees, and values of a state by name, as in ``optax.tree``.

| | |
|---|---|
| ``add sub mul div scale add_scale where clip`` | element by element |
| ``norm vdot sum max min size allclose`` | one number for the tree |
| ``zeros_like ones_like full_like random_like split_key_like batch_shape`` | new trees |
| ``cast cast_like dtype conj real unwrap_random_key_data`` | kinds of numbers |
| ``update_moment update_moment_per_elem_norm update_infinity_moment bias_correction`` | averages |
| ``get get_all_with_path set map_params`` | values of a state |

Reductions add in float32 or wider, whatever the dtype of the leaves. ``None`` is a tree without
leaves.
"""

import builtins
import inspect
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree
from gradkit._explain import explained
from gradkit._states import NamedTupleKey as NamedTupleKey
from gradkit._states import get as get
from gradkit._states import get_all_with_path as get_all_with_path
from gradkit._states import map_params as map_params
from gradkit._states import set as set
from gradkit.typing import Key, PyTree, Scalar

# ---- element by element -------------------------------------------------------------------------


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
    return jax.tree.map(lambda x, *rest: builtins.sum(rest, start=x), tree_x, tree_y, *other_trees)


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
    return jax.tree.map(lambda x: _factor(scalar, x) * x, tree)


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
            numerics.cast(x, dtype) + _factor(scalar, y) * y, jax.dtypes.result_type(x)
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


# ---- one number ---------------------------------------------------------------------------------


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
            return sum(jax.tree.map(numerics.abs_sq, _wide(tree)))
        return _tree.norm(tree)
    if ord == 1:
        result = sum(jax.tree.map(jnp.abs, _wide(tree)))
    elif ord in (jnp.inf, "inf", "infinity"):
        result = jnp.maximum(max(jax.tree.map(jnp.abs, _wide(tree))), 0.0)
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

    return sum(jax.tree.map(leaf, _wide(tree_x), _wide(tree_y)))


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
    sums = [jnp.sum(leaf) for leaf in jax.tree.leaves(_wide(tree))]
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
    return _extreme(tree, jnp.max, jnp.maximum, -jnp.inf)


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
    return _extreme(tree, jnp.min, jnp.minimum, jnp.inf)


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


# ---- new trees ----------------------------------------------------------------------------------


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
        list(jax.random.split(numerics.as_key(rng_key), builtins.max(treedef.num_leaves, 1)))[
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


# ---- kinds of numbers ---------------------------------------------------------------------------


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


# ---- averages -----------------------------------------------------------------------------------


@explained(trees="updates moments", numbers="decay order")
def update_moment(updates: PyTree, moments: PyTree, decay: Scalar, order: int) -> PyTree:
    """Update an exponential moving average of the powers of a gradient.

    **Update rule** M ← (1 − β) g^order + β M.

    Args:
      updates: gradients.
      moments: the averages so far.
      decay: β in [0, 1).
      order: the power.

    Returns:
      the new averages, in the dtypes of ``moments``; None where the gradient is None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.update_moment(jnp.array(2.0), jnp.array(1.0), 0.5, 2) == 2.5

    **Differs from optax**: computed in float32 or wider; the result keeps the dtype of ``moments``.
    """
    return _average(lambda g: g**order, updates, moments, decay)


@explained(trees="updates moments", numbers="decay order")
def update_moment_per_elem_norm(
    updates: PyTree, moments: PyTree, decay: Scalar, order: int
) -> PyTree:
    """Update an exponential moving average of the powers of the magnitude of a gradient.

    **Update rule** M ← (1 − β) |g|^order + β M.

    Args:
      updates: gradients, real or complex.
      moments: the averages so far, real.
      decay: β in [0, 1).
      order: the power.

    Returns:
      the new averages, in the dtypes of ``moments``; None where the gradient is None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> g, m = jnp.array(3.0 + 4.0j), jnp.array(1.0)
      >>> assert gk.tree.update_moment_per_elem_norm(g, m, 0.5, 2) == 13.0

    **Differs from optax**: computed in float32 or wider; the result keeps the dtype of ``moments``.
    """

    def power(g: Any) -> Any:
        if not jnp.iscomplexobj(g):
            return g**order
        square = numerics.abs_sq(g)
        return square ** (order // 2) if order % 2 == 0 else square ** (order / 2)

    return _average(power, updates, moments, decay)


@explained(trees="updates moments", numbers="decay eps")
def update_infinity_moment(updates: PyTree, moments: PyTree, decay: Scalar, eps: float) -> PyTree:
    """Update the decayed maximum of the magnitude of a gradient.

    **Update rule** M ← max(|g| + ε, β M).

    Args:
      updates: gradients.
      moments: the maxima so far.
      decay: β in [0, 1).
      eps: ε ≥ 0.

    Returns:
      the new maxima, in the dtypes of ``moments``; None where the gradient is None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.update_infinity_moment(jnp.array(-1.0), jnp.array(4.0), 0.5, 0.0) == 2.0
    """

    def leaf(g: Any, m: Any) -> Any:
        if g is None:
            return None
        size, old = jnp.abs(_tree.widen(g)), _tree.widen(m)
        return numerics.cast(
            jnp.maximum(size + _factor(eps, size), _factor(decay, old) * old),
            jax.dtypes.result_type(m),
        )

    return jax.tree.map(leaf, updates, moments, is_leaf=lambda x: x is None)


@explained(trees="moment", numbers="decay count")
def bias_correction(moment: PyTree, decay: Scalar, count: Any) -> PyTree:
    """Divide an exponential moving average by the weight of what it has seen.

    **Value** M / (1 − β^count).

    Args:
      moment: the averages.
      decay: β in [0, 1).
      count: the number of updates, at least 1.

    Returns:
      a tree like ``moment``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.tree.bias_correction({"m": jnp.array(0.75)}, 0.5, 2)["m"] == 1.0

    **Differs from optax**: 1 − β^count is computed without cancellation, so β near 1 keeps its
    digits.
    """
    seen = -jnp.expm1(jnp.asarray(count, jnp.result_type(float)) * numerics.log(decay))
    return jax.tree.map(
        lambda m: m / numerics.cast(seen, numerics.real(jax.dtypes.result_type(m))), moment
    )


# ---- helpers ------------------------------------------------------------------------------------


def _is_size(size: Any) -> bool:
    whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    return whole and size >= 0


def _factor(scalar: Any, x: Any) -> Any:
    """A scalar that multiplies ``x`` in its dtype; a complex one keeps its imaginary part."""
    return (
        scalar
        if jnp.iscomplexobj(scalar) and not jnp.iscomplexobj(x)
        else _tree.factor_like(scalar, jnp.asarray(x))
    )


def _wide(tree: Any) -> Any:
    return _tree.widen(tree)


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


def _average(power: Callable[[Any], Any], updates: Any, moments: Any, decay: Any) -> Any:
    def leaf(g: Any, m: Any) -> Any:
        if g is None:
            return None
        new = power(_tree.widen(g))
        old = numerics.cast(m, numerics.wider(numerics.wide(jax.dtypes.result_type(m)), new.dtype))
        new = lax.convert_element_type(new, old.dtype)
        return numerics.cast(
            _factor(1 - decay, new) * new + _factor(decay, old) * old, jax.dtypes.result_type(m)
        )

    return jax.tree.map(leaf, updates, moments, is_leaf=lambda x: x is None)
