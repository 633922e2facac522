"""Orthogonalization: the polar factor of a matrix, by products of matrices alone.

    X ← X / ‖X‖        A = X Xᴴ        X ← (a I + b A + c A²) X, for each triple (a, b, c)

Each iteration maps every singular value σ to a σ + b σ³ + c σ⁵ and leaves the singular vectors as
they are. The iteration runs on the shorter side of the matrix: with Xᴴ X from the right where the
matrix is tall.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _xla as xla

Triple = tuple[Any, Any, Any]

_DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
_POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
# Rounding may leave singular values slightly above 1, where the polynomials grow.
_SAFETY = 1.01

COEFFICIENTS: dict[str, tuple[Triple, ...]] = {
    "standard": ((3.4445, -4.7750, 2.0315),),
    "dion": _DION,
    "polar_express": (
        *((a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5) for a, b, c in _POLAR_EXPRESS),
        (1.875, -1.25, 0.375),
    ),
    "aol": _DION[1:],
}
"""The triples (a, b, c) of each named set; more iterations repeat the last triple."""

NORMALIZATIONS = ("frobenius", "spectral", "aol", "schatten")
METHODS = ("newton_schulz", "gram", "svd")


def orthogonalize(
    x: jax.Array,
    *,
    steps: int | None = None,
    coefficients: str | Sequence[Any] | jax.Array = "standard",
    normalization: str = "frobenius",
    method: str = "newton_schulz",
    eps: float = 1e-8,
    dtype: DTypeLike | None = None,
    precision: Any = None,
    restarts: Sequence[int] | None = None,
) -> jax.Array:
    """Orthogonalize a matrix: replace its singular values by (about) 1, by Newton–Schulz.

    **Value** X = U Σ Vᴴ ↦ about U Vᴴ: X ← X / ‖X‖, then X ← (a I + b A + c A²) X with A = X Xᴴ for
    each triple (a, b, c). Singular values of zero stay zero.

    Args:
      x: a matrix, or a stack of matrices along leading axes; real or complex, wide or tall.
      steps: the number of iterations, ≥ 1. None: as many as a given sequence has triples, else 5
        (4 for "aol").
      coefficients: a triple (a, b, c), a sequence of triples, or a name: "standard" (Jordan 2024;
        singular values from 0.005 on end in [0.68, 1.21]), "dion", "polar_express" or "aol" ("dion"
        without its first triple, for that normalization). Of a sequence, the first ``steps`` are
        used, and the last is repeated where it is shorter.
      normalization: "frobenius" (‖X‖ of all entries), "spectral" (the largest singular value),
        "schatten" (the 4-norm of the singular values, which the first product yields) or "aol"
        (each row by the root of its sum in |X Xᴴ|; the result is the factor of the rescaled
        matrix).
      method: "newton_schulz"; "gram", which iterates on the Gram matrix of the shorter side and
        multiplies X once at the end, with the same result but for rounding (a matrix for which
        that takes more operations is iterated directly); or "svd", the exact factor.
      eps: ε ≥ 0, added to the norm of "frobenius" and "spectral": a matrix with ‖X‖ ≪ ε stays
        small.
      dtype: the dtype of the factors of each product, such as "bfloat16"; sums, and everything
        else, are at least float32. None for that of x, at least float32.
      precision: the precision of the products, as in ``jax.numpy.matmul``.
      restarts: for "gram", the iterations (counted from 0) before which X is multiplied and its
        Gram matrix computed again. None: as often as the precision of the products needs.

    Returns:
      An array of the shape and dtype of x.

    Raises:
      ValueError: an array of rank below 2, an unknown name, fewer than one step, coefficients of
        another shape.
      TypeError: an array of integers.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> x = jax.random.normal(jax.random.key(0), (3, 5))
      >>> q = gk.linalg.orthogonalize(x, steps=8, coefficients="polar_express")
      >>> assert jnp.allclose(q @ q.T, jnp.eye(3), atol=1e-3)

    **Differs from optax**: the result does not depend on the scale of x (but through ε), also with
    "aol" and "schatten" and where the squares of the entries overflow; "schatten" takes complex
    matrices.

    Reference: Jordan 2024, https://kellerjordan.github.io/posts/muon/; Amsel et al. 2025 (Polar
    Express), https://arxiv.org/abs/2505.16932; Boissin et al. 2025 (AOL),
    https://arxiv.org/abs/2512.04632; Grishina et al. 2025 (Schatten),
    https://arxiv.org/abs/2506.10935; Zhang et al. 2026 (Gram Newton–Schulz),
    https://dao-ailab.github.io/blog/2026/gram-newton-schulz/.
    """
    with check.inside("orthogonalize"):
        x = as_matrix(x)
        how = plan(steps, coefficients, normalization, method, eps, dtype, precision, restarts)
        whole = numerics.gather(x, tuple(range(x.ndim - 2)))
        return numerics.shard_like(run(whole, how), x)


class Plan(NamedTuple):
    """How to orthogonalize, with every argument checked."""

    table: tuple[Triple, ...]
    normalization: str
    method: str
    eps: Any
    dtype: Any
    precision: Any
    restarts: tuple[int, ...] | None


def plan(
    steps: Any = None,
    coefficients: Any = "standard",
    normalization: str = "frobenius",
    method: str = "newton_schulz",
    eps: Any = 1e-8,
    dtype: Any = None,
    precision: Any = None,
    restarts: Any = None,
) -> Plan:
    """The arguments of ``orthogonalize``, checked once for many matrices."""
    check.one_of(NORMALIZATIONS, normalization=normalization)
    check.one_of(METHODS, method=method)
    check.non_negative(eps=eps)
    table = triples(coefficients, steps)
    if dtype is not None:
        dtype = check.floating_dtype(dtype=dtype)
    if restarts is not None:
        given = restarts if isinstance(restarts, (tuple, list)) else (restarts,)
        if any(type(r) is not int or not 0 < r < len(table) for r in given):
            problem = f"restarts={check.shown(restarts)} is out of range"
            expected = f"a sequence of integers from 1 to {len(table) - 1}"
            check.refuse(problem, expected=expected)
        restarts = tuple(given)
    return Plan(table, normalization, method, eps, dtype, precision, restarts)


def triples(
    coefficients: Any, steps: Any, name: str = "coefficients", steps_name: str = "steps"
) -> tuple[Triple, ...]:
    """The triple of each iteration; the names are those of the arguments, for messages."""
    if steps is not None:
        check.integer(1, **{steps_name: steps})
    if isinstance(coefficients, str):
        if coefficients not in COEFFICIENTS:
            problem = f"{name}={coefficients!r} is not a known set"
            known = ", ".join(map(repr, COEFFICIENTS))
            expected = f"one of {known}, a triple, or a sequence of triples"
            check.refuse(problem, expected=expected, argument=(name, coefficients))
        rows: Any = COEFFICIENTS[coefficients]
        default = 5 if len(rows) == 1 else min(5, len(rows))
    else:
        rows = _rows(coefficients, name)
        one = len(rows) == 1 and np.ndim(coefficients[0]) == 0
        default = 5 if one else len(rows)
    count = default if steps is None else int(steps)
    return tuple(rows[min(i, len(rows) - 1)] for i in range(count))


def _rows(coefficients: Any, name: str) -> tuple[Triple, ...]:
    """A triple or a sequence of triples as a tuple of triples; the numbers may be traced."""
    expected = "(a, b, c), a sequence of such triples, or a name"
    problem = f"{name}={check.shown(coefficients)} is neither a triple nor a sequence of triples"
    given = (name, coefficients)
    if isinstance(coefficients, (jax.Array, np.ndarray)):
        if coefficients.ndim not in (1, 2) or coefficients.shape[-1] != 3 or not coefficients.size:
            check.refuse(problem, expected=expected, argument=given)
        table: Any = coefficients.reshape(-1, 3)
        if not isinstance(table, jax.core.Tracer):
            table = np.asarray(table).tolist()
        return tuple((row[0], row[1], row[2]) for row in table)
    if not isinstance(coefficients, (tuple, list)) or not coefficients:
        check.refuse(problem, expected=expected, argument=given, error=TypeError)
    if all(getattr(row, "ndim", 0) == 1 for row in coefficients):
        coefficients = [tuple(row) for row in coefficients]
    nested = isinstance(coefficients[0], (tuple, list))
    rows = tuple(coefficients) if nested else (tuple(coefficients),)
    for row in rows:
        if not isinstance(row, (tuple, list)) or len(row) != 3:
            check.refuse(problem, expected=expected, argument=given)
        check.finite(**dict(zip("abc", row, strict=True)))
    return tuple((row[0], row[1], row[2]) for row in rows)


def as_matrix(x: Any) -> Any:
    """An array of rank two or more, of floating or complex numbers."""
    if not hasattr(x, "ndim") or not check.is_inexact(x):
        problem = f"x={check.shown(x)} is not an array of floating numbers"
        check.refuse(problem, expected="a matrix, or a stack of matrices", error=TypeError)
    if x.ndim < 2:
        problem = f"x is {check.shape_dtype(x)}"
        check.refuse(problem, expected="a matrix, or a stack of matrices along leading axes")
    return jnp.asarray(x)


# ---- the iteration -----------------------------------------------------------------------------


def run(x: Any, how: Plan) -> Any:
    """``orthogonalize`` of arrays and a plan that are checked."""
    if not x.size:
        return x
    kind = numerics.wide(x.dtype)
    method = _svd if how.method == "svd" else _newton_schulz
    return xla.each_matrix(lambda one: method(one, how), x.astype(kind)).astype(x.dtype)


def _svd(x: Any, how: Plan) -> Any:
    """U Vᴴ, without the directions in which x is zero but for rounding."""
    u, s, vh = jnp.linalg.svd(_unit_peak(x)[0], full_matrices=False)
    smallest = s[..., :1] * (max(x.shape[-2:]) * jnp.finfo(s.dtype).eps)
    return jnp.matmul(u * (s > smallest)[..., None, :].astype(x.dtype), vh, precision="highest")


def _unit_peak(x: Any) -> tuple[Any, Any]:
    """Each matrix divided by a power of two near its largest entry, and that power.

    Squares then cannot overflow, and the division is exact.
    """
    peak = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True))
    _, exponent = jnp.frexp(peak)
    power = jnp.ldexp(jnp.ones_like(peak), exponent - 1)
    power = jnp.where(peak == 0, jnp.ones_like(peak), power)
    return x / power.astype(x.dtype), power


class _Side(NamedTuple):
    """Products on the shorter side of a matrix, the left one where it is wide."""

    wide: bool
    kind: Any
    precision: Any

    def dot(self, a: Any, b: Any) -> Any:
        wide = a.dtype
        if self.kind is not None:
            a, b = a.astype(self.kind), b.astype(self.kind)
        return jnp.matmul(a, b, precision=self.precision, preferred_element_type=wide)

    def gram(self, x: Any) -> Any:
        conjugate = x.mT.conj()
        return self.dot(x, conjugate) if self.wide else self.dot(conjugate, x)

    def times(self, p: Any, x: Any) -> Any:
        return self.dot(p, x) if self.wide else self.dot(x, p)

    def polynomial(self, gram: Any, triple: Triple) -> Any:
        """The matrix a I + b A + c A²."""
        a, b, c = (_like(number, gram) for number in triple)
        eye = jnp.broadcast_to(jnp.eye(gram.shape[-1], dtype=gram.dtype), gram.shape)
        return a * eye + b * gram + c * self.dot(gram, gram)


def _like(number: Any, x: Any) -> Any:
    return number if isinstance(number, (int, float)) else jnp.asarray(number).astype(x.dtype)


def _newton_schulz(x: Any, how: Plan) -> Any:
    rows, columns = x.shape[-2:]
    kind = None if how.dtype is None or _covers(how.dtype, x.dtype) else _kind(how.dtype, x.dtype)
    side = _Side(rows <= columns, kind, how.precision)
    x, gram = _normalized(x, how, side)
    restarts = _restarts(how, x)
    if how.method == "gram" and _gram_pays(len(how.table), restarts, rows, columns):
        return _on_gram(x, gram, how.table, restarts, side)
    for triple in how.table:
        gram = side.gram(x) if gram is None else gram
        x, gram = side.times(side.polynomial(gram, triple), x), None
    return x


def _covers(dtype: Any, own: Any) -> bool:
    return bool(jnp.finfo(dtype).bits >= jnp.finfo(own).bits)


def _kind(dtype: Any, own: Any) -> Any:
    """The dtype of factors: there is no complex one below complex64."""
    if jnp.issubdtype(own, jnp.complexfloating):
        return jnp.complex64
    return jnp.finfo(dtype).dtype


def _normalized(x: Any, how: Plan, side: _Side) -> tuple[Any, Any]:
    """The matrix with singular values of at most 1, and its Gram matrix where that is known."""
    x, power = _unit_peak(x)
    if how.normalization in ("frobenius", "spectral"):
        if how.normalization == "frobenius":
            norm = numerics.sqrt(jnp.sum(numerics.abs_sq(x), axis=(-2, -1), keepdims=True))
        else:
            norm = largest(side._replace(kind=None).gram(x))
        norm = norm + (_like(how.eps, norm) / power if not _is_zero(how.eps) else 0.0)
        return numerics.divide(x, norm.astype(x.dtype)), None
    gram = side.gram(x)
    if how.normalization == "schatten":
        fourth = jnp.sum(numerics.abs_sq(gram), axis=(-2, -1), keepdims=True)
        squared = numerics.sqrt(fourth)  # the square of the 4-norm
        root = numerics.sqrt(squared).astype(x.dtype)
        return numerics.divide(x, root), numerics.divide(gram, squared.astype(x.dtype))
    sums = numerics.sqrt(jnp.sum(jnp.abs(gram), axis=-1, keepdims=True)).astype(x.dtype)
    scaled = numerics.divide(x, sums if side.wide else sums.mT)
    return scaled, numerics.divide(numerics.divide(gram, sums), sums.mT)


def _is_zero(eps: Any) -> bool:
    return isinstance(eps, (int, float)) and eps == 0


def largest(gram: Any) -> Any:
    """The root of the largest eigenvalue of a Gram matrix: the spectral norm of its matrix."""
    top = jnp.linalg.eigvalsh(gram)[..., -1:, None]
    return numerics.sqrt(jnp.maximum(top, 0.0))


# ---- on the Gram matrix ------------------------------------------------------------------------


def _on_gram(
    x: Any, gram: Any, table: Sequence[Triple], restarts: tuple[int, ...], side: _Side
) -> Any:
    """The iteration on R = X Xᴴ, which collects its factor Q: the result is Q X."""
    factor = None
    for i, triple in enumerate(table):
        if i in restarts:
            x, gram, factor = side.times(factor, x), None, None
        gram = side.gram(x) if gram is None else gram
        step = side.polynomial(gram, triple)
        factor = step if factor is None else side.dot(factor, step)
        if i + 1 < len(table) and i + 1 not in restarts:
            gram = side.dot(side.dot(gram, step), step)
    return side.times(factor, x)


def _restarts(how: Plan, x: Any) -> tuple[int, ...]:
    """Where to compute the Gram matrix anew.

    Its rounding errors grow like the square of a, by about 16, with each iteration; an eigenvalue
    that is no longer small and negative would make the iteration diverge.
    """
    if how.restarts is not None:
        return how.restarts
    kinds = [x.dtype] if how.dtype is None else [x.dtype, how.dtype]
    eps = max(float(jnp.finfo(kind).eps) for kind in kinds)
    exact = (jax.lax.Precision.HIGHEST, "highest", "float32")
    if not xla.on_cpu() and how.precision not in exact:
        eps = max(eps, 2.0**-8)  # the products round their factors to bfloat16 or TF32
    length, growth = 2, 16.0
    while eps * growth * 16 <= 0.25:
        length, growth = length + 1, growth * 16
    return tuple(range(length, len(how.table), length))


def _gram_pays(steps: int, restarts: tuple[int, ...], rows: int, columns: int) -> bool:
    """Whether the iteration on the Gram matrix takes fewer products of the shorter side cubed."""
    ratio = max(rows, columns) / min(rows, columns)
    segments = len(restarts) + 1
    return segments * 2 * ratio + 4 * steps - 3 * segments < steps * (2 * ratio + 1)
