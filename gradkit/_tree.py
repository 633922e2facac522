"""All tree arithmetic."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics

# Below this many leaves a nested jit costs more to read in the jaxpr than it saves in tracing.
_MANY = 32


def map(function: Callable[..., Any], tree: Any, *rest: Any, outputs: int = 1) -> Any:
    """``jax.tree.map``; with ``outputs=n`` the function returns n values and the result is n trees.

    ``rest`` may have subtrees where ``tree`` has leaves. In a trace with many leaves the function is traced once per distinct
    shape (a nested jit, which XLA inlines) instead of once per leaf: most of the compile time of a model with a thousand leaves.
    """
    treedef: Any
    leaves, treedef = jax.tree.flatten(tree)
    columns = [leaves, *(treedef.flatten_up_to(other) for other in rest)]
    # The name, not the class, which is private: a rename would cost compile time only. Under an eager vmap or grad a jit would compile anew at every call.
    if len(leaves) >= _MANY and type(leaves[0]).__name__ == "DynamicJaxprTracer":
        function = jax.jit(function, inline=False)
    results = [function(*row) for row in zip(*columns, strict=True)]
    if outputs == 1:
        return treedef.unflatten(results)
    return tuple(treedef.unflatten([result[i] for result in results]) for i in range(outputs))


def zeros_like(params: Any, fill: Any = 0.0, dtype: Any = None) -> Any:
    """A tree of ``fill`` with the shapes (and sharding) of params, in the wide dtype of each leaf unless told otherwise."""

    def leaf(p: Any) -> Any:
        kind = numerics.wide(jax.dtypes.result_type(p)) if dtype is None else dtype
        return (
            lax.full_like(p, fill, dtype=kind)
            if isinstance(p, jax.Array)
            else jnp.full(jnp.shape(p), fill, kind)
        )

    return jax.tree.map(leaf, params)


def magnitudes_like(params: Any) -> Any:
    """Zeros for averages of magnitudes: like ``zeros_like``, but real where params are complex."""
    return jax.tree.map(lambda x: x.real if jnp.iscomplexobj(x) else x, zeros_like(params))


def bare(tree: Any) -> Any:
    """The tree with the arrays themselves where Flax NNX holds them in variables, as in ``nnx.Optimizer.opt_state``; any other as it is."""

    def holds(x: Any) -> bool:
        return hasattr(x, "get_value")

    return jax.tree.map(lambda x: x.get_value() if holds(x) else x, tree, is_leaf=holds)


def widen(tree: Any) -> Any:
    """Every leaf in at least float32."""

    def leaf(x: Any) -> Any:
        dtype = numerics.wide(jax.dtypes.result_type(x))
        if isinstance(x, jax.ShapeDtypeStruct):
            return (
                x if x.dtype == dtype else jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding)
            )
        return numerics.cast(x, dtype)

    return jax.tree.map(leaf, tree)


def scale(tree: Any, factor: Any) -> Any:
    """``factor * tree`` in the dtype of the tree."""
    return map(lambda x: x * factor_like(factor, x), tree)


def factor_like(factor: Any, x: Any) -> Any:
    """A scalar cast so that it multiplies ``x`` without promoting it; a Python number needs no cast."""
    return factor if isinstance(factor, (int, float)) else jnp.asarray(factor).astype(x.dtype)


def round_stochastically(sums: Any, like: Any, key: Any) -> Any:
    """Each number of a wide tree rounded to the dtype of ``like``, up or down at random, without bias: the nearer, the likelier."""
    leaves, treedef = jax.tree.flatten(sums)
    kinds = [jax.dtypes.result_type(leaf) for leaf in jax.tree.leaves(like)]
    keys = jax.random.split(key, max(len(leaves), 1))

    def leaf(x: Any, kind: Any, key: Any) -> Any:
        if kind == x.dtype or jnp.iscomplexobj(x):
            return numerics.cast(x, kind)
        near = x.astype(kind)
        back = near.astype(x.dtype)
        toward = jnp.where(x > back, jnp.inf, -jnp.inf).astype(kind)
        far = jnp.nextafter(near, toward)
        gap = far.astype(x.dtype) - back
        chance = jnp.where(x == back, 0.0, (x - back) / jnp.where(gap == 0, 1.0, gap))
        return jnp.where(jax.random.uniform(key, x.shape, x.dtype) < chance, far, near)

    return jax.tree.unflatten(treedef, [leaf(*row) for row in zip(leaves, kinds, keys)])


def norm(tree: Any) -> Any:
    """The joint 2-norm √Σ|x|², float32 or wider; zero for an empty tree, with a finite derivative at zero."""
    dtype = numerics.scalar_dtype(tree)
    # Behind the barrier XLA cannot share x² with a second moment elsewhere, and so does not write it to memory.
    squares = [
        jnp.sum(numerics.abs_sq(x)).astype(dtype)
        for x in jax.tree.leaves(lax.optimization_barrier(widen(tree)))
    ]
    if not squares:
        return jnp.zeros((), dtype)
    # The norm of the leaves' norms, as a dot product: XLA copies a sum into every fusion that uses it (with n leaves n² reductions, and
    # minutes of compiling at a thousand), but computes a dot once.
    norms = numerics.sqrt(jnp.stack(squares))
    return numerics.sqrt(jnp.dot(norms, norms, precision="highest"))


def dot(a: Any, b: Any) -> Any:
    """Σ a b over two trees of real leaves."""
    return total(map(lambda x, y: jnp.sum(x * y), a, b), a)


def sq_norm(tree: Any) -> Any:
    """Σ|x|² over a tree."""
    return total(map(lambda x: jnp.sum(numerics.abs_sq(x)), tree), tree)


def total(scalars: Any, like: Any) -> Any:
    """The sum of a tree of scalars, in the scalar dtype of ``like``."""
    dtype = numerics.scalar_dtype(like)
    parts = [numerics.cast(x, dtype) for x in jax.tree.leaves(scalars)]
    return jnp.sum(jnp.stack(parts)) if parts else jnp.zeros((), dtype)


def scalar(value: Any, like: Any) -> Any:
    """A scalar in the scalar dtype of a tree. A copy, because a state that holds it may be donated."""
    return jnp.array(value, numerics.scalar_dtype(like), copy=True)


def debias(decay: Any, step: Any, like: Any) -> Any:
    """1 − β^t with t = step + 1."""
    t = scalar(step, like) + 1
    return -jnp.expm1(t * factor_like(numerics.log(decay), t))


def origin(params: Any) -> Any:
    """A copy of the parameters at init, which may be donated with the state; zeros for ShapeDtypeStruct."""

    def leaf(p: Any) -> Any:
        dtype = numerics.wide(jax.dtypes.result_type(p))
        return (
            jnp.zeros(p.shape, dtype)
            if isinstance(p, jax.ShapeDtypeStruct)
            else jnp.array(p, dtype, copy=True)
        )

    return jax.tree.map(leaf, params)


def origin_at(stored: Any, params: Any, step: Any) -> Any:
    """The initial parameters: those of step 0, which may have been loaded after ``init``, else the stored ones.

    In place: later steps read the stored copy and do not write it.
    """
    check.params(params)

    def take(stored: Any, params: Any) -> Any:
        # A copy: the state may be donated together with the parameters.
        return map(lambda k, p: jnp.array(p, k.dtype, copy=True), stored, params)

    return numerics.run_if(step == 0, take, stored, params)


def count(tree: Any) -> int:
    """How many numbers the tree holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
