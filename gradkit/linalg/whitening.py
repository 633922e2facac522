"""Kronecker factors that whiten a tensor: the updates of PSGD, and what they are made of.

A factor is a matrix Q, or a vector that stands for a diagonal one. One factor for each axis of a
tensor X makes the preconditioner P = Q₁ᵀQ₁ ⊗ ... ⊗ Q_kᵀQ_k.
"""

import functools
from typing import Any

import jax.numpy as jnp
from jax import lax

from gradkit import _numerics as numerics
from gradkit import _xla as xla
from gradkit.linalg import axes


def triangular(factors: Any, x: Any, noise: Any, bounds: Any, rate: Any) -> tuple[Any, Any]:
    """Update triangular factors: dQ = E Q with E triangular."""
    one, two = x, noise
    for axis, q in enumerate(factors):
        one, two = times(one, q, axis), _solved(two, q, axis)
    new = []
    for axis, q in enumerate(factors):
        first, second = _gram(one, axis, q), _gram(two, axis, q)
        norm = _norm(first + second)
        change = rate * (first - second) / jnp.where(norm == 0, 1.0, norm)
        new.append(q - (change * q if q.ndim == 1 else _dot(jnp.triu(change), q)))
    return new, bounds


def procrustes(factors: Any, x: Any, noise: Any, bounds: Any, rate: Any) -> tuple[Any, Any]:
    """Update by products only: dQ = Q^½ E Q^(3/2), and a rotation towards a symmetric Q."""
    for axis, q in enumerate(factors):
        x = times(times(x, q, axis), q.T, axis)
    new, limits = [], []
    for axis, (q, bound) in enumerate(zip(factors, bounds, strict=True)):
        first, second = _gram(x, axis, q), x.size / q.shape[0]
        now = _norm(first) + second
        limit = jnp.maximum(0.9 * bound + 0.1 * now, now)
        step = rate / limit
        if q.ndim == 1:
            new.append(q - step * (first - second) * q)
        else:
            new.append(_rotated(q - step * (_dot(first, q) - second * q)))
        limits.append(limit)
    return new, tuple(limits)


def _rotated(q: Any) -> Any:
    """exp(a R) Q to second order, R = Qᵀ − Q normalized, a the step towards a symmetric matrix."""
    generator = q.T - q
    norm = _norm(generator)
    generator = generator / jnp.where(norm == 0, 1.0, norm)
    one = _dot(generator, q)
    two = _dot(generator, one)
    slope, curvature = jnp.trace(one), jnp.trace(two)
    best = jnp.minimum(-slope / jnp.where(curvature < 0, curvature, -1.0), 0.125)
    step = jnp.where(curvature < 0, best, 0.125)
    return q + step * (one + 0.5 * step * two)


def balanced(factors: Any) -> Any:
    """The factors with the same largest element; their product stays."""
    sizes = jnp.stack([jnp.max(jnp.abs(q)) for q in factors])
    common = jnp.exp(jnp.mean(jnp.log(sizes)))
    return [q * (common / size) for q, size in zip(factors, sizes, strict=True)]


def _norm(matrix: Any) -> Any:
    """A lower bound of the spectral norm, at least 1/√2 of it; of a diagonal the norm."""
    size = jnp.max(jnp.abs(matrix))
    if matrix.ndim == 1:
        return size
    scaled = matrix / jnp.where(size == 0, 1.0, size)
    column = jnp.take(scaled, jnp.argmax(jnp.sum(scaled**2, axis=0)), axis=1)
    row = _dot(column, scaled)
    length = numerics.norm(row)
    return size * numerics.norm(_dot(scaled, row / jnp.where(length == 0, 1.0, length)))


_dot = functools.partial(jnp.matmul, precision=axes.PRECISION)


def _along(axis: int, rank: int) -> tuple[int, ...]:
    """The shape in which a vector multiplies an axis."""
    return tuple(-1 if i == axis else 1 for i in range(rank))


def times(x: Any, q: Any, axis: int) -> Any:
    """Q X_(i), folded."""
    if q.ndim == 1:
        return x * q.reshape(_along(axis, x.ndim))
    return axes.along(x[None], q[None], axis)[0]


def _solved(x: Any, q: Any, axis: int) -> Any:
    """Q^(−T) X_(i), folded."""
    if q.ndim == 1:
        return x / q.reshape(_along(axis, x.ndim))
    moved = jnp.moveaxis(x, axis, 0)
    flat = moved.reshape(moved.shape[0], -1)
    return jnp.moveaxis(xla.one_by_one(_solve)(q, flat).reshape(moved.shape), 0, axis)


def _solve(q: Any, x: Any) -> Any:
    return lax.linalg.triangular_solve(q, x, left_side=True, lower=False, transpose_a=True)


def _gram(x: Any, axis: int, q: Any) -> Any:
    """X_(i) X_(i)ᵀ, or its diagonal where the factor is diagonal."""
    if q.ndim == 1:
        return jnp.sum(x * x, axis=tuple(i for i in range(x.ndim) if i != axis))
    return axes.gram(x[None], axis)[0]
