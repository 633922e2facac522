"""Inverse roots A^(−1/p) of positive semidefinite matrices, as Shampoo needs them.

| method | computes | cost for n × n |
|---|---|---|
| ``"eigh"`` | Q f(Λ) Qᴴ from the eigenvalues Λ and the eigenvectors Q; any p > 0 | about 9 n³ |
| ``"newton"`` | coupled Newton iteration; p = 1, 2, 3, ... | (log₂ p + 2) · 2 n³ a step |

An eigendecomposition is exact and the better choice on CPU. Accelerators compute products much
faster, so that Newton's iteration, which takes 10 to 30 steps, may be faster there.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.linalg import axes
from gradkit.typing import Scalar


class _Options(NamedTuple):
    """What is known when the function is traced; ``root`` is p where it is a whole number."""

    method: str
    root: int | None
    num_iters: int
    tolerance: float
    precision: Any


def inverse_root(
    matrix: ArrayLike,
    p: Scalar,
    *,
    method: str = "eigh",
    eps: Scalar = 0.0,
    ridge: Scalar = 1e-6,
    num_iters: int = 100,
    tolerance: float = 1e-6,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> jax.Array:
    """Compute the inverse p-th root A^(−1/p) of a positive semidefinite matrix, or of a stack.

    **Value** (A + (ε + ρ λ) I)^(−1/p) with λ the largest eigenvalue of A. On the null space of a
    matrix that is still singular the result is zero, as for the pseudo-inverse; that of a zero
    matrix with ε = 0 is zero.

    The derivative is exact for both methods, also at equal eigenvalues.

    Args:
      matrix: A, shape (..., n, n), real symmetric or complex Hermitian. Negative eigenvalues, which
        come from rounding, count as zero.
      p: p > 0; a whole number for ``method="newton"``.
      method: ``"eigh"`` or ``"newton"``, see the table of the module.
      eps: ε ≥ 0, an absolute shift of the eigenvalues.
      ridge: ρ ≥ 0, a shift relative to the largest eigenvalue. Newton's iteration does not converge
        for singular matrices: it requires ε or ρ > 0.
      num_iters: Newton: the largest number of iterations.
      tolerance: Newton: stop when no element of A X^p − I is larger.
      precision: of the matrix products.

    Returns:
      An array like ``matrix``, in float32 or wider.

    Raises:
      ValueError: a matrix that is not square; p ≤ 0; a negative shift; Newton without a shift.
      TypeError: an integer matrix; Newton with a p that is not a whole number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> a = jnp.array([[5.0, 4.0], [4.0, 5.0]])  # eigenvalues 9 and 1
      >>> root = gk.linalg.inverse_root(a, 2, ridge=0.0)
      >>> assert jnp.allclose(root, jnp.array([[2.0, -1.0], [-1.0, 2.0]]) / 3, atol=1e-6)

    Reference: Higham 2008, Functions of Matrices, https://doi.org/10.1137/1.9780898717778,
    equation 7.18; Gupta et al. 2018, https://arxiv.org/abs/1802.09568.
    """
    with check.inside("inverse_root"):
        matrix = _square(matrix)
        check.positive(p=p)
        check.one_of(("eigh", "newton"), method=method)
        check.non_negative(eps=eps, ridge=ridge)
        check.integer(1, num_iters=num_iters)
        check.positive(tolerance=tolerance)
        root = None
        if method == "newton":
            check.integer(1, "Write method='eigh', which takes any p", p=p)
            root = _whole(p)
            if all(numerics.fails(x, _is_positive) for x in (eps, ridge)):
                check.refuse(
                    f"eps={check.shown(eps)} and ridge={check.shown(ridge)} are zero",
                    expected="one of them > 0 with method='newton'",
                    fix="Write method='eigh', which needs no shift",
                )
        options = _Options(method, root, int(num_iters), float(tolerance), precision)
        return _solve(options, matrix, p, eps, ridge)[0]


def _is_positive(value: Any) -> Any:
    return value > 0


def _whole(p: Any) -> int | None:
    """The number p, None where it is traced."""
    return None if isinstance(p, jax.core.Tracer) else int(p)


def _solve(options: _Options, matrix: Any, *numbers: Any) -> tuple[Any, Any]:
    kind = numerics.real(matrix.dtype)
    root, error = _inverse_root(options, matrix, *(jnp.asarray(x).astype(kind) for x in numbers))
    return root, error


def matrix_inverse_pth_root(
    matrix: ArrayLike,
    p: Scalar,
    num_iters: int = 100,
    ridge_epsilon: Scalar = 1e-6,
    error_tolerance: float = 1e-6,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> tuple[jax.Array, jax.Array]:
    """Compute the inverse p-th root of a positive semidefinite matrix by Newton's iteration.

    **Value** (A + ρ λ I)^(−1/p) with λ the largest eigenvalue of A: ``inverse_root`` with
    ``method="newton"``, by optax's name.

    Args:
      matrix: A, shape (..., n, n), real symmetric or complex Hermitian.
      p: a whole number ≥ 1.
      num_iters: the largest number of iterations.
      ridge_epsilon: ρ > 0, a shift relative to the largest eigenvalue.
      error_tolerance: stop when no element of A X^p − I is larger.
      precision: of the matrix products.

    Returns:
      The root X, an array like ``matrix`` in float32 or wider; and the error, the largest element
      of A X^p − I, one number for each matrix.

    Raises:
      ValueError: a matrix that is not square; p < 1; ρ ≤ 0.
      TypeError: an integer matrix; a p that is not a whole number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> root, error = gk.matrix_inverse_pth_root(jnp.diag(jnp.array([8.0, 27.0])), 3)
      >>> assert jnp.allclose(root, jnp.diag(jnp.array([1 / 2, 1 / 3])), atol=1e-5)
      >>> assert error < 1e-5

    **Differs from optax**: any p, where optax rounds it to 1, 2, 4 or 8; stacks of matrices and
    complex ones; float64 stays float64; the result for a zero matrix is zero.

    Reference: Higham 2008, https://doi.org/10.1137/1.9780898717778, equation 7.18.
    """
    with check.inside("matrix_inverse_pth_root"):
        check.positive(ridge_epsilon=ridge_epsilon, error_tolerance=error_tolerance)
        matrix = _square(matrix)
        check.integer(1, "inverse_root(matrix, p) takes any p", p=p)
        check.integer(1, num_iters=num_iters)
        options = _Options("newton", _whole(p), int(num_iters), float(error_tolerance), precision)
        return _solve(options, matrix, p, 0.0, ridge_epsilon)


def _square(matrix: Any) -> jax.Array:
    """The matrix in a wide dtype, after a check that it is square."""
    check.inexact(matrix, "matrix")
    if np.ndim(matrix) < 2 or np.shape(matrix)[-1] != np.shape(matrix)[-2]:
        problem = f"matrix={check.shape_dtype(matrix)} is not square"
        check.refuse(problem, expected="an array of shape (..., n, n)")
    array = jnp.asarray(matrix)
    return array.astype(numerics.wide(array.dtype))


# ---- the function of a matrix, with its derivative ---------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
@functools.partial(jax.jit, static_argnums=0)
def _inverse_root(options: _Options, matrix: Any, p: Any, eps: Any, ridge: Any) -> Any:
    """The root, and the error of Newton's iteration."""
    if options.method == "eigh":
        values, vectors = _eigh(matrix)
        powers = _power(values + eps + ridge * values[..., -1:], p)
        root = _product(_columns(vectors, powers), vectors, options.precision)
        return root, jnp.zeros(matrix.shape[:-2], p.dtype)
    single = functools.partial(_newton, options)
    flat = matrix.reshape((math.prod(matrix.shape[:-2]), *matrix.shape[-2:]))
    roots, errors = jax.vmap(single, (0, None, None, None))(flat, p, eps, ridge)
    return roots.reshape(matrix.shape), errors.reshape(matrix.shape[:-2])


@_inverse_root.defjvp
def _derivative(options: _Options, primals: Any, tangents: Any) -> Any:
    """The Fréchet derivative Q (Γ ∘ (Qᴴ dA Q)) Qᴴ, Γ the divided differences of λ^(−1/p)."""
    matrix, p, eps, ridge = primals
    d_matrix, d_p, d_eps, d_ridge = tangents
    values, vectors = _eigh(matrix)
    shifted = values + eps + ridge * values[..., -1:]
    powers = _power(shifted, p)
    one, two = shifted[..., :, None], shifted[..., None, :]
    difference, mean = one - two, (one + two) / 2
    near = jnp.abs(difference) <= jnp.finfo(mean.dtype).eps ** (1 / 3) * mean
    secant = (powers[..., :, None] - powers[..., None, :]) / jnp.where(near, 1.0, difference)
    slopes = jnp.where(near, _slope(mean, p), secant)
    dot = functools.partial(jnp.matmul, precision=options.precision)
    inside = dot(dot(_adjoint(vectors), d_matrix), vectors)
    inside = (inside + _adjoint(inside)) / 2
    along = jnp.real(jnp.diagonal(inside, axis1=-2, axis2=-1))
    d_shift = d_eps + d_ridge * values[..., -1:] + ridge * along[..., -1:]
    on_diagonal = _slope(shifted, p) * d_shift + powers * _log(shifted) / p**2 * d_p
    rotated = dot(vectors, slopes.astype(inside.dtype) * inside) + _columns(vectors, on_diagonal)
    d_result = _product(rotated, vectors, options.precision)
    result = _inverse_root(options, matrix, p, eps, ridge)
    return result, (d_result, jnp.zeros_like(result[1]))


def _eigh(matrix: Any) -> tuple[Any, Any]:
    """Eigenvalues in ascending order, none below zero, and eigenvectors; NaN of NaN."""
    values, vectors = axes.eigh(matrix)
    finite = jnp.all(jnp.isfinite(matrix), axis=(-2, -1))[..., None]
    return jnp.where(finite, jnp.maximum(values, 0.0), jnp.nan), vectors


def _power(values: Any, p: Any) -> Any:
    """λ^(−1/p), and zero of zero."""
    return jnp.where(values == 0, 0.0, jnp.exp(-_log(values) / p))


def _slope(values: Any, p: Any) -> Any:
    """The derivative of λ^(−1/p), and zero at zero."""
    return -numerics.divide(_power(values, p), p * values)


def _log(values: Any) -> Any:
    return jnp.log(jnp.where(values == 0, 1.0, values))


def _columns(vectors: Any, factors: Any) -> Any:
    """The columns, each times a factor."""
    return vectors * factors[..., None, :].astype(vectors.dtype)


def _adjoint(matrix: Any) -> Any:
    return jnp.conj(jnp.swapaxes(matrix, -1, -2))


def _product(one: Any, two: Any, precision: Any) -> Any:
    """One · twoᴴ."""
    return jnp.matmul(one, _adjoint(two), precision=precision)


# ---- Newton's iteration ------------------------------------------------------------------------


def _newton(options: _Options, matrix: Any, p: Any, eps: Any, ridge: Any) -> Any:
    """X ← X N and M ← N^p M with N = ((p + 1) I − M) / p, from M = c A and X = c^(1/p) I."""
    identity = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    dot = functools.partial(jnp.matmul, precision=options.precision)
    shifted = matrix + (eps + ridge * _largest(matrix, dot)).astype(matrix.dtype) * identity
    norm = numerics.norm(shifted)
    scale = (1 + p) / (2 * jnp.where(norm == 0, 1.0, norm))

    def error(product: Any) -> Any:
        return jnp.max(jnp.abs(product - identity), initial=0.0)

    def goes_on(state: Any) -> Any:
        i, _, _, _, distance, improves = state
        return (i < options.num_iters) & (distance > options.tolerance) & improves

    def step(state: Any) -> Any:
        i, product, root, _, distance, _ = state
        factor = ((p + 1).astype(product.dtype) * identity - product) / p.astype(product.dtype)
        after = dot(_whole_power(factor, options.root, p, dot), product)
        now = error(after)
        # The error may rise a little before it falls.
        return i + 1, after, dot(root, factor), root, now, now < 1.2 * distance

    start = scale.astype(matrix.dtype) * shifted
    root = jnp.exp(jnp.log(scale) / p).astype(matrix.dtype) * identity
    state = (jnp.int32(0), start, root, root, error(start), jnp.asarray(True))
    _, _, root, before, distance, improves = lax.while_loop(goes_on, step, state)
    root = jnp.where(norm == 0, 0.0, jnp.where(improves, root, before))
    return jnp.where(jnp.isfinite(norm), root, jnp.nan), distance


def _whole_power(matrix: Any, root: int | None, p: Any, dot: Any) -> Any:
    """The p-th power, by squaring; in a loop where p is traced."""
    if root is not None:
        power = None
        while root:
            if root % 2:
                power = matrix if power is None else dot(power, matrix)
            root //= 2
            matrix = dot(matrix, matrix) if root else matrix
        return power

    def step(state: Any) -> Any:
        left, power, square = state
        return left // 2, jnp.where(left % 2 == 1, dot(power, square), power), dot(square, square)

    identity = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    start = (jnp.round(p).astype(jnp.int32), identity, matrix)
    return lax.while_loop(lambda state: state[0] > 0, step, start)[1]


def _largest(matrix: Any, dot: Any) -> Any:
    """The largest eigenvalue, by at most 100 power iterations."""
    n, kind = matrix.shape[-1], numerics.real(matrix.dtype)
    first = jnp.asarray(np.random.default_rng(0).uniform(-1.0, 1.0, n), matrix.dtype)

    def step(state: Any) -> Any:
        i, vector, value, _ = state
        size = numerics.norm(vector)
        unit = vector / jnp.where(size == 0, 1.0, size).astype(vector.dtype)
        image = dot(matrix, unit)
        now = jnp.real(dot(jnp.conj(unit), image)).astype(kind)
        return i + 1, image, now, jnp.abs(now - value) > 1e-6 * now

    start = (jnp.int32(0), first, jnp.zeros((), kind), jnp.asarray(True))
    return lax.while_loop(lambda state: (state[0] < 100) & state[3], step, start)[2]
