"""Trees as vectors, and trees of bounds and normals that fit them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree


def floats(tree: Any) -> Any:
    """The leaves as arrays in float32 or wider; integers are refused."""
    check.tree_of_arrays(tree, "tree")
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not check.is_inexact(leaf):
            problem = f"this leaf is {check.kind_of(leaf)}"
            check.refuse(
                problem, expected="a floating dtype", path=check.keystr(path), error=TypeError
            )
    return _tree.widen(tree)


def reals(tree: Any) -> Any:
    check.real_leaves(tree)
    return floats(tree)


def narrow(wide: Any, tree: Any) -> Any:
    """The wide result in the dtypes of the leaves of ``tree``."""
    return jax.tree.map(lambda w, x: numerics.cast(w, jax.dtypes.result_type(x)), wide, tree)


def real_like(number: Any, x: Any) -> Any:
    """One real number in the precision of ``x``."""
    if np.ndim(number):
        problem = f"scale is {check.shape_dtype(number)}"
        check.refuse(problem, expected="one number", fix="Map over several with jax.vmap")
    return jnp.asarray(number, numerics.real(x.dtype))


def magnitude(x: Any) -> Any:
    """|x|, whose derivative at zero is finite also for complex x."""
    return numerics.sqrt(numerics.abs_sq(x)) if jnp.iscomplexobj(x) else jnp.abs(x)


def phase(x: Any, size: Any) -> Any:
    """The phase x / |x|; 1 for x = 0."""
    if not jnp.iscomplexobj(x):
        return jnp.where(x < 0, -1, 1).astype(x.dtype)
    return jnp.where(size == 0, 1, numerics.divide(x, size.astype(x.dtype)))


def as_vector(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The leaves as one vector in their common dtype, and the way back."""
    leaves, structure = jax.tree.flatten(tree)
    dtype = numerics.wider(jnp.float32, *(leaf.dtype for leaf in leaves))
    flat = [jnp.ravel(leaf).astype(dtype) for leaf in leaves]
    vector = jnp.concatenate(flat) if flat else jnp.zeros(0, dtype)
    ends = np.cumsum([leaf.size for leaf in leaves])

    def back(vector: Any) -> Any:
        pieces = [vector[end - leaf.size : end] for leaf, end in zip(leaves, ends, strict=True)]
        shaped = [
            numerics.cast(piece if jnp.iscomplexobj(leaf) else jnp.real(piece), leaf.dtype).reshape(
                leaf.shape
            )
            for piece, leaf in zip(pieces, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, shaped)

    return vector, back


def normalized(tree: Any) -> tuple[Any, Any, Any]:
    """The largest magnitude m, the tree divided by its norm, and the norm divided by m.

    The squares of x / m neither overflow nor vanish. Of a tree of zeros all three are zero but for
    the last, which is 1.
    """
    dtype = numerics.scalar_dtype(tree)
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size]
    sizes = [jnp.max(jnp.abs(lax.stop_gradient(leaf))).astype(dtype) for leaf in leaves]
    size = jnp.max(jnp.stack(sizes)) if sizes else jnp.zeros((), dtype)
    safe = jnp.where(size == 0, 1, size)
    scaled = jax.tree.map(lambda x: x / _tree.factor_like(safe, x), tree)
    norm = jnp.where(size == 0, 1, numerics.sqrt(_tree.sq_norm(scaled)))
    return size, jax.tree.map(lambda x: x / _tree.factor_like(norm, x), scaled), norm


def inner(a: Any, x: Any) -> Any:
    """⟨a, x⟩ = Σ a* x over two trees."""
    dtype = numerics.wider(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves((a, x))))
    products = jax.tree.map(lambda u, v: jnp.sum(jnp.conj(u) * v).astype(dtype), a, x)
    return sum(jax.tree.leaves(products), start=jnp.zeros((), dtype))


# ---- trees of bounds and normals ----------------------------------------------------------------


def paths(tree: Any) -> list[str]:
    return [check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def spread(name: str, given: Any, tree: Any) -> list[Any]:
    """A number or a prefix of the tree, as a list with an entry for each leaf."""
    if given is None:
        check.refuse(f"{name} is None", expected="a number or a tree of bounds", error=TypeError)
    found: list[Any] = []

    def add(one: Any, below: Any) -> None:
        for path, leaf in jax.tree_util.tree_leaves_with_path(below):
            if np.shape(one) != leaf.shape and not _broadcasts(np.shape(one), leaf.shape):
                problem = f"{name} is {check.shape_dtype(one)} for {check.shape_dtype(leaf)}"
                expected = "a shape that broadcasts to that of the leaf"
                check.refuse(problem, expected=expected, path=check.keystr(path))
            found.append(one)

    try:
        jax.tree.map(add, given, tree)
    except (ValueError, TypeError) as error:
        if check.is_ours(error):
            raise
        expected = f"one number, {jax.tree.structure(tree)} or a prefix of it"
        check.refuse(f"{name} is the tree {jax.tree.structure(given)}", expected=expected)
    return found


def like_tree(name: str, given: Any, tree: Any) -> Any:
    """A tree of the structure and the shapes of another, in its dtypes."""
    leaves, structure = jax.tree.flatten(tree)
    entries = spread(name, given, tree)
    for path, one, leaf in zip(paths(tree), entries, leaves, strict=True):
        if np.shape(one) != leaf.shape:
            problem = f"{name} is {check.shape_dtype(one)} for {check.shape_dtype(leaf)}"
            check.refuse(problem, expected="the same shape", path=path)
    return jax.tree.unflatten(
        structure, [like(one, leaf) for one, leaf in zip(entries, leaves, strict=True)]
    )


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(
        n in (1, m) for n, m in zip(reversed(shape), reversed(to), strict=False)
    )


def like(bound: Any, x: Any) -> Any:
    """A bound in the dtype and the shape of a leaf."""
    if jnp.iscomplexobj(bound) and not jnp.iscomplexobj(x):
        problem = f"{check.shape_dtype(bound)} is complex for {check.shape_dtype(x)}"
        check.refuse(problem, expected="real numbers", error=TypeError)
    return numerics.broadcast_like(jnp.asarray(bound, x.dtype), x)
