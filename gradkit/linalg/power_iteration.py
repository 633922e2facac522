"""Power iteration: the dominant eigenvalue of a linear map."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit.typing import Key, PyTree


def power_iteration(
    matrix: jax.Array | Callable[[PyTree], PyTree],
    *,
    v0: PyTree = None,
    num_iters: int = 100,
    error_tolerance: float = 1e-6,
    precision: Any = lax.Precision.HIGHEST,
    key: Key | None = None,
) -> tuple[jax.Array, PyTree]:
    """Power iteration: compute the dominant eigenvalue of a matrix and its eigenvector.

    **Value** v ← A v / ‖A v‖, λ = vᴴ A v, until ‖A v − λ v‖ < tolerance · |λ|.

    Args:
      matrix: a square matrix, or a function v ↦ A v of a tree, such as a Hessian-vector product.
      v0: the first vector (for a function: a tree like its argument); by default uniform in
        [−1, 1].
      num_iters: the largest number of iterations, ≥ 1.
      error_tolerance: ≥ 0, relative to |λ|.
      precision: the precision of the product with a matrix.
      key: a seed or a random key for ``v0``; by default the key of seed 0.

    Returns:
      The eigenvalue of largest magnitude and its eigenvector, of norm 1. Of a zero map, 0 and
      ``v0`` normalized.

    Raises:
      ValueError: a matrix that is not square; no ``v0`` for a function; fewer than one iteration.
      TypeError: a matrix that is neither an array nor a function.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> value, vector = gk.power_iteration(jnp.array([[2.0, 0.0], [0.0, -3.0]]))
      >>> assert jnp.allclose(value, -3.0) and jnp.allclose(jnp.abs(vector), jnp.array([0.0, 1.0]),
      ...                                                   atol=1e-4)

    **Differs from optax**: a zero map gives 0, not NaN; the eigenvalue has the dtype of the
    vector, at least float32.
    """
    with check.inside("power_iteration"):
        check.integer(1, num_iters=num_iters)
        check.non_negative(error_tolerance=error_tolerance)
        if isinstance(matrix, np.ndarray):
            matrix = jnp.asarray(matrix)
        product = _product(matrix, precision)
        if v0 is None:
            v0 = _random_vector(matrix, key)
        check.inexact(v0, "v0")
        if not callable(matrix) and jnp.shape(v0) != matrix.shape[-1:]:
            expected = f"a vector of {matrix.shape[-1]} entries, one for each column of matrix"
            check.refuse(f"v0 is {check.kind_of(v0)}", expected=expected)
        return _iterate(product, tree.widen(v0), num_iters, error_tolerance)


def _product(matrix: Any, precision: Any) -> Callable[[Any], Any]:
    if callable(matrix):
        return lambda v: tree.widen(matrix(v))
    if not hasattr(matrix, "ndim") or not check.is_inexact(matrix):
        problem = f"matrix={check.shown(matrix)} is neither a matrix nor a function"
        expected = "a square matrix of floating numbers, or a function v -> A v"
        check.refuse(problem, expected=expected, error=TypeError)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        fix = "For a stack of matrices, vmap the call" if matrix.ndim > 2 else ""
        check.refuse(f"matrix is {check.shape_dtype(matrix)}", expected="a square matrix", fix=fix)
    wide = matrix.astype(numerics.wide(matrix.dtype))
    return lambda v: jnp.matmul(wide, v, precision=precision)


def _random_vector(matrix: Any, key: Any) -> Any:
    if callable(matrix):
        check.refuse("v0=None", expected="a first vector where matrix is a function")
    random = numerics.as_key(0 if key is None else key)
    kind = numerics.wide(matrix.dtype)
    draw = jax.random.uniform(random, matrix.shape[-1:], numerics.real(kind), -1.0, 1.0)
    return draw.astype(kind)


def _iterate(product: Callable[[Any], Any], v0: Any, most: Any, tolerance: Any) -> Any:
    def unit(v: Any, otherwise: Any) -> Any:
        norm = tree.norm(v)

        def leaf(x: Any, old: Any) -> Any:
            return jnp.where(norm == 0, old, numerics.divide(x, norm.astype(x.dtype)))

        return jax.tree.map(leaf, v, otherwise)

    def rayleigh(v: Any, image: Any) -> Any:
        products = jax.tree.map(lambda x, y: jnp.sum(x.conj() * y), v, image)
        return sum(jax.tree.leaves(products))

    def error(v: Any, image: Any, value: Any) -> Any:
        return tree.norm(jax.tree.map(lambda x, y: y - value.astype(y.dtype) * x, v, image))

    def unfinished(carry: Any) -> Any:
        v, image, count = carry
        value = rayleigh(v, image)
        bound = jnp.asarray(tolerance).astype(jnp.abs(value).dtype) * jnp.abs(value)
        # Of a zero map the error is zero too; NaN ends the loop.
        return (count < most) & ((count == 0) | (error(v, image, value) > bound))

    def iterate(carry: Any) -> Any:
        v, image, count = carry
        v = unit(image, v)
        return v, product(v), count + 1

    v = unit(v0, v0)
    image = product(v)
    if tree.signature(image) != tree.signature(v):
        shapes = [jax.tree.map(check.shape_dtype, one) for one in (image, v)]
        problem = f"matrix(v0) is {shapes[0]}"
        check.refuse(problem, expected=f"a tree like v0, which is {shapes[1]}")
    v, image, _ = lax.while_loop(unfinished, iterate, (v, image, jnp.zeros((), jnp.int32)))
    return rayleigh(v, image), unit(image, v)
