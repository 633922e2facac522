"""Arithmetic on trees of arrays."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _shards as shards
from gradkit import _xla as xla

# Below this many leaves a nested jit costs more to read in the jaxpr than it saves in tracing.
_MANY = 32


def map(function: Callable[..., Any], tree: Any, *rest: Any, outputs: int = 1) -> Any:
    """``jax.tree.map``; with ``outputs=n`` the function returns n values and the result is n trees.

    ``rest`` may have subtrees where ``tree`` has leaves. In a jit trace with many leaves the
    function is traced and lowered once per distinct shape (a nested jit, which XLA inlines) instead
    of once per leaf: most of the compile time of a model with a thousand leaves.
    """
    treedef: Any
    leaves, treedef = jax.tree.flatten(tree)
    columns = [leaves, *(treedef.flatten_up_to(other) for other in rest)]
    function = traced_once(function, leaves)
    results = [function(*row) for row in zip(*columns, strict=True)]
    if outputs == 1:
        return treedef.unflatten(results)
    return tuple(treedef.unflatten([result[i] for result in results]) for i in range(outputs))


def traced_once(
    function: Callable[..., Any], leaves: list[Any], static: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """The function of a leaf, traced once for each distinct shape where many leaves share them.

    ``static`` are the positions of arguments that are no arrays.
    """
    many = len(leaves) >= _MANY and len(leaves) >= 2 * len({jax.typeof(x) for x in leaves})
    if many and isinstance(leaves[0], jax.core.Tracer) and _in_jit():
        return jax.jit(function, inline=False, static_argnums=static)
    return function


def _in_jit() -> bool:
    """Whether operations are recorded in a jaxpr now.

    A leaf is a tracer under an eager ``vmap`` or ``grad`` too, where a nested jit of a new function
    would compile at every call. But there, a constant is a concrete array.
    """
    return isinstance(jnp.zeros(()), jax.core.Tracer)


def zeros_like(params: Any, fill: Any = 0.0, dtype: Any = None) -> Any:
    """A tree of ``fill`` with the shapes and sharding of params.

    The dtype is ``dtype``, or by default the wide dtype of each leaf.
    """

    def leaf(p: Any) -> Any:
        kind = numerics.wide(jax.dtypes.result_type(p)) if dtype is None else dtype
        return (
            lax.full_like(p, fill, dtype=kind)
            if isinstance(p, jax.Array)
            else jnp.full(jnp.shape(p), fill, kind)
        )

    return jax.tree.map(leaf, params)


def unshared(tree: Any, other: Any) -> Any:
    """The tree with a buffer of its own for each leaf, shared with no leaf of ``other`` either.

    A step that donates both could not use a buffer twice.
    """
    taken = {id(leaf) for leaf in jax.tree.leaves(other)}
    own = [id(leaf) for leaf in jax.tree.leaves(tree)]
    if len(set(own)) == len(own) and taken.isdisjoint(own):
        return tree  # as it is: mapping it would sort its dicts

    def leaf(x: Any) -> Any:
        if isinstance(x, jax.core.Tracer) or not isinstance(x, jax.Array):
            return x
        if id(x) in taken:
            x = jnp.copy(x)
        taken.add(id(x))
        return x

    return jax.tree.map(leaf, tree)


def copy_like(params: Any) -> Any:
    """Zeros with the shapes, dtypes and sharding of params."""

    def leaf(p: Any) -> Any:
        if isinstance(p, jax.Array):
            return lax.full_like(p, 0)
        return jnp.zeros(jnp.shape(p), jax.dtypes.result_type(p))

    return jax.tree.map(leaf, params)


def magnitudes_like(params: Any, fill: Any = 0.0) -> Any:
    """For averages of magnitudes: like ``zeros_like``, but real where params are complex."""
    return jax.tree.map(lambda x: x.real if jnp.iscomplexobj(x) else x, zeros_like(params, fill))


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
    """A scalar in the dtype of ``x``, which it then does not promote; a Python number as it is."""
    return factor if isinstance(factor, (int, float)) else numerics.cast(factor, x.dtype)


@jax.custom_jvp
def _with_derivative_of(x: Any, rounded: Any) -> Any:
    """``rounded``, whose derivative is that of its expectation ``x``."""
    return rounded


@_with_derivative_of.defjvp
def _its_derivative(primals: Any, tangents: Any) -> Any:
    return primals[1], tangents[0].astype(primals[1].dtype)


def round_stochastically(sums: Any, like: Any, key: Any) -> Any:
    """A wide tree rounded to the dtypes of ``like``, each element up or down at random.

    The probability of a neighbour is its nearness, so the expectation is the element itself.
    """
    leaves, treedef = jax.tree.flatten(sums)
    kinds = [jax.dtypes.result_type(leaf) for leaf in jax.tree.leaves(like)]
    keys = jax.random.split(key, max(len(leaves), 1))

    def leaf(x: Any, kind: Any, key: Any) -> Any:
        if kind == x.dtype or jnp.iscomplexobj(x):
            return numerics.cast(x, kind)
        near = lax.stop_gradient(x).astype(kind)
        back = near.astype(x.dtype)
        toward = jnp.where(x > back, jnp.inf, -jnp.inf).astype(kind)
        far = jnp.nextafter(near, toward)
        gap = far.astype(x.dtype) - back
        chance = jnp.where(x == back, 0.0, (x - back) / jnp.where(gap == 0, 1.0, gap))
        drawn = jnp.where(jax.random.uniform(key, x.shape, x.dtype) < chance, far, near)
        return _with_derivative_of(x, drawn)

    return jax.tree.unflatten(treedef, [leaf(*row) for row in zip(leaves, kinds, keys)])


def norm(tree: Any) -> Any:
    """The joint 2-norm √Σ|x|², float32 or wider; 0 for an empty tree; a finite derivative at 0."""
    dtype = numerics.scalar_dtype(tree)
    squares = [
        jnp.sum(numerics.abs_sq(x)).astype(dtype)
        for x in jax.tree.leaves(xla.separate(widen(tree)))
    ]
    if not squares:
        return jnp.zeros((), dtype)
    norms = numerics.sqrt(jnp.stack(shards.totals(squares)))
    return numerics.sqrt(xla.sq_norm(norms))


def dot(a: Any, b: Any) -> Any:
    """Σ a b over two trees of real leaves."""
    return total(map(lambda x, y: jnp.sum(x * y), a, b), a)


def inner(a: Any, b: Any) -> Any:
    """Re Σ ā b over two trees: the inner product of the real and imaginary parts."""

    def leaf(x: Any, y: Any) -> Any:
        if jnp.iscomplexobj(x):
            return jnp.sum(x.real * y.real + x.imag * y.imag)
        return jnp.sum(x * y)

    return total(map(leaf, a, b), a)


def sq_norm(tree: Any) -> Any:
    """Σ|x|² over a tree."""
    return total(map(lambda x: jnp.sum(numerics.abs_sq(x)), tree), tree)


def total(scalars: Any, like: Any) -> Any:
    """The sum of a tree of scalars, in the scalar dtype of ``like``."""
    dtype = numerics.scalar_dtype(like)
    parts = shards.totals([numerics.cast(x, dtype) for x in jax.tree.leaves(scalars)])
    return jnp.sum(jnp.stack(parts)) if parts else jnp.zeros((), dtype)


def scalar(value: Any, like: Any) -> Any:
    """A scalar in the scalar dtype of a tree; a copy, as a state that holds it may be donated."""
    return jnp.array(value, numerics.scalar_dtype(like), copy=True)


def debias(decay: Any, step: Any, like: Any) -> Any:
    """1 − β^t with t = step + 1."""
    t = scalar(step, like) + 1
    return -jnp.expm1(t * factor_like(numerics.log(decay), t))


def origin(params: Any) -> Any:
    """A copy of the parameters, as the state may be donated; zeros for ShapeDtypeStruct."""

    def leaf(p: Any) -> Any:
        dtype = numerics.wide(jax.dtypes.result_type(p))
        return (
            jnp.zeros(p.shape, dtype)
            if isinstance(p, jax.ShapeDtypeStruct)
            else jnp.array(p, dtype, copy=True)
        )

    return jax.tree.map(leaf, params)


def origin_at(stored: Any, params: Any, step: Any) -> Any:
    """The initial parameters: at step 0 ``params``, later the stored copy.

    They are taken at the first step because parameters are often loaded after ``init``. The
    stored copy is updated in place: later steps do not write it.
    """
    check.params(params)

    def take(stored: Any, params: Any) -> Any:
        # A copy: the state may be donated together with the parameters.
        return map(lambda k, p: jnp.array(p, k.dtype, copy=True), stored, params)

    return xla.run_if(step == 0, take, stored, params)


def count(tree: Any) -> int:
    """The number of elements of the tree."""
    return sum(shards.size(leaf) for leaf in jax.tree.leaves(tree))


# ---- leaves that are not there -----------------------------------------------------------------


def arrays_only(tree: Any) -> Any:
    """The tree with None in place of functions, flags and other leaves that are no arrays."""
    treedef: Any
    leaves, treedef = jax.tree.flatten(tree)
    kept = [leaf if is_array(leaf) else None for leaf in leaves]
    return tree if all(leaf is not None for leaf in kept) else treedef.unflatten(kept)


def is_array(leaf: Any) -> bool:
    """An array, its shape, or a Python float or complex number."""
    return isinstance(leaf, (float, complex)) or (hasattr(leaf, "shape") and hasattr(leaf, "dtype"))


def only_where(tree: Any, like: Any) -> Any:
    """The tree with None where ``like`` has None."""
    if _same_structure(tree, like):
        return tree
    try:
        return jax.tree.map(lambda one, x: None if one is None else x, like, tree, is_leaf=_is_none)
    except (ValueError, TypeError):
        return tree  # other trees: the check that compares them names the leaf


def fill(tree: Any, params: Any) -> Any:
    """The tree with the leaves of ``params`` where it has None."""
    if _same_structure(tree, params):
        return tree
    return jax.tree.map(lambda new, p: p if new is None else new, tree, params, is_leaf=_is_none)


def _same_structure(a: Any, b: Any) -> bool:
    one: Any = jax.tree.structure(a)
    return bool(one == jax.tree.structure(b))


def _is_none(x: Any) -> bool:
    return x is None


def signature(tree: Any) -> Any:
    """The structure, shapes and dtypes of a tree, to be hashed."""
    leaves: Any
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, tuple((jnp.shape(x), jax.dtypes.result_type(x)) for x in leaves)


# ---- adding updates ----------------------------------------------------------------------------


def add_wide(update: Any, param: Any) -> Any:
    """``param + update`` in at least float32."""
    dtype = numerics.wider(
        numerics.wide(jax.dtypes.result_type(param)), jax.dtypes.result_type(update)
    )
    return numerics.cast(param, dtype) + numerics.cast(update, dtype)


def add_rounded(params: Any, updates: Any) -> Any:
    """``params + updates``, rounded once to the dtypes of the parameters."""
    return map(
        lambda u, p: numerics.cast(add_wide(u, p), jax.dtypes.result_type(p)), updates, params
    )
