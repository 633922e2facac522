"""Least squares with variables that are not negative."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.typing import Scalar


def nnls(
    A: jax.Array | np.ndarray,  # noqa: N803  optax's names
    b: jax.Array | np.ndarray,
    iters: int,
    unroll: int | bool = 1,
    L: Scalar | None = None,  # noqa: N803
) -> jax.Array:
    """Solve non-negative least squares: minimize ‖A x − b‖ subject to x ≥ 0.

    **Update rule** x ← max(y − (Aᵀ A y − Aᵀ b) / L, 0), y = x + s (x − x_before): projected
    gradient with Nesterov's extrapolation, s = (c_t − 1) / c_{t+1},
    c_{t+1} = (1 + √(1 + 4 c_t²)) / 2, c_1 = 1, from x = y = 0.

    The error in ‖A x − b‖² is at most 2 L ‖x*‖² / (t + 1)² after t iterations. An iteration costs
    one product with Aᵀ A.

    Args:
      A: a matrix of shape (m, n), real.
      b: a vector of shape (m,), or a matrix (m, k) of k such problems.
      iters: the number of iterations, ≥ 1.
      unroll: how many iterations are one iteration of the compiled loop, as in ``jax.lax.scan``.
      L: a bound of the largest eigenvalue of Aᵀ A, > 0; by default the smaller one of its Frobenius
        norm and its 1-norm.

    Returns:
      x, of shape (n,) or (n, k), at least float32.

    Raises:
      ValueError: shapes that do not match, ``iters`` < 1, L ≤ 0.
      TypeError: complex numbers, or arguments that are not arrays.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> x = gk.nnls(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([5.0, 6.0]), 1000)
      >>> assert jnp.allclose(x, jnp.array([0.0, 1.7]))  # without the bound x[0] = −4

    **Differs from optax**, whose first iteration has no effect; products have the highest
    precision.

    Reference: Polyak 2015, https://doi.org/10.1090/conm/636; Beck and Teboulle 2009,
    https://doi.org/10.1137/080716542.
    """
    with check.inside("nnls"):
        matrix, b = _real_array("A", A), _real_array("b", b)
        if matrix.ndim != 2:
            check.refuse(f"A={check.shape_dtype(A)} is not a matrix", expected="shape (m, n)")
        rows = len(matrix)
        if b.ndim not in (1, 2) or len(b) != rows:
            problem = f"b={check.shape_dtype(b)} does not match A={check.shape_dtype(A)}"
            check.refuse(problem, expected=f"shape ({rows},) or ({rows}, k)")
        check.integer(1, iters=iters)
        if L is not None:
            check.positive(L=L)
    dtype = numerics.wide(numerics.wider(matrix.dtype, b.dtype))
    matrix, b = matrix.astype(dtype), b.astype(dtype)
    gram = jnp.matmul(matrix.T, matrix, precision="highest")
    target = jnp.matmul(matrix.T, b, precision="highest")
    bound = _largest_eigenvalue(gram) if L is None else jnp.asarray(L, dtype)
    bound = jnp.where(bound == 0, 1, bound)

    def iterate(carry: Any, _: None) -> Any:
        x, y, c = carry
        after = (1 + jnp.sqrt(1 + 4 * c**2)) / 2
        slope = jnp.matmul(gram, y, precision="highest") - target
        new = jnp.maximum(y - slope / bound, 0)
        return (new, new + (c - 1) / after * (new - x), after), None

    start = jnp.zeros_like(target)
    first = (start, start, jnp.ones((), dtype))
    return lax.scan(iterate, first, length=int(iters), unroll=unroll)[0][0]


def _largest_eigenvalue(matrix: jax.Array) -> jax.Array:
    """An upper bound of the largest eigenvalue of a symmetric matrix, from two of its norms."""
    columns = jnp.max(jnp.sum(jnp.abs(matrix), axis=0), initial=0.0)
    return jnp.minimum(jnp.sqrt(jnp.sum(matrix**2)), columns)


def _real_array(name: str, value: Any) -> jax.Array:
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        problem = f"{name}={check.shown(value)} is not an array"
        check.refuse(problem, expected="an array of real numbers", error=TypeError)
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        problem = f"{name} is {check.shape_dtype(array)}"
        check.refuse(problem, expected="real numbers", error=TypeError)
    return array.astype(float) if jnp.issubdtype(array.dtype, jnp.integer) else array
