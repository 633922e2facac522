"""Counts, means, variances and covariances of parts of a data set, and how they merge.

A total is kept as two numbers, the rounded one and the rest, so that float32 streams of any length
and of any mean give what float64 gives. Parts merge as in Chan, Golub and LeVeque (1983):

    δ = mean_b − mean_a,   mean = mean_a + δ n_b / n,   S = S_a + S_b + δ² n_a n_b / n,

with n = n_a + n_b samples, and the sums of squares S about the means.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _numerics as numerics
from gradkit.linalg import axes as matrices
from gradkit.metrics._accumulator import accumulator

S = TypeVar("S", bound="Moments | Covariance")
_BLOCK = 256
_ROWS = 2048


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """The rounded sum and its rounding error (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def plus(pair: tuple[Any, Any], *terms: Any) -> tuple[Any, Any]:
    """A pair and numbers, as a pair."""
    high, low = pair
    for term in terms:
        high, error = two_sum(high, term)
        low = low + error
    return two_sum(high, low)


def total(x: Any, axes: tuple[int, ...] = (0,)) -> Any:
    """The sum along axes, which are kept with length 1; by blocks along the first one.

    XLA for CPU adds the rows one by one, whose error grows with their number.
    """
    others = tuple(axis for axis in axes if axis)
    x = jnp.sum(x, axis=others, keepdims=True) if others else x
    while x.shape[0] > _BLOCK:
        x = jnp.pad(x, [(0, -x.shape[0] % _BLOCK), *[(0, 0)] * (x.ndim - 1)])
        x = jnp.sum(x.reshape(-1, _BLOCK, *x.shape[1:]), axis=1)
    return jnp.sum(x, axis=0, keepdims=True)


@accumulator()
class Extremes:
    """The smallest and the largest values."""

    weight: tuple[jax.Array, jax.Array]
    low: jax.Array
    high: jax.Array

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: Any) -> "Extremes":
        zero, inf = jnp.zeros(shape, dtype), jnp.full(shape, jnp.inf, dtype)
        return cls((zero, zero), inf, -inf)

    @classmethod
    def of(cls, x: Any, weight: Any, axes: tuple[int, ...]) -> "Extremes":
        used = weight > 0
        # Of NaN the result is NaN: a fit inside jit cannot refuse it.
        low = jnp.min(x, axis=axes, keepdims=True, where=used, initial=jnp.inf)
        high = jnp.max(x, axis=axes, keepdims=True, where=used, initial=-jnp.inf)
        count = total(weight, axes)
        return cls((count, jnp.zeros_like(count)), low, high)

    def merge(self, other: "Extremes") -> "Extremes":
        weight = plus(self.weight, *other.weight)
        low, high = jnp.minimum(self.low, other.low), jnp.maximum(self.high, other.high)
        return Extremes(weight, low, high)

    def combine(self, reduce: "Reduce") -> "Extremes":
        weight = two_sum(*map(reduce.sum, self.weight))
        return Extremes(weight, reduce.min(self.low), reduce.max(self.high))


class Reduce:
    """Sums, minima and maxima over devices, or along a stacked axis."""

    def __init__(self, axis_name: Any = None) -> None:
        self.axis_name = axis_name

    def sum(self, x: Any) -> Any:
        return total(x)[0] if self.axis_name is None else lax.psum(x, self.axis_name)

    def min(self, x: Any) -> Any:
        return jnp.min(x, axis=0) if self.axis_name is None else lax.pmin(x, self.axis_name)

    def max(self, x: Any) -> Any:
        return jnp.max(x, axis=0) if self.axis_name is None else lax.pmax(x, self.axis_name)

    def each(self, x: Any) -> Any:
        """A result of ``sum`` beside the parts."""
        return x[None] if self.axis_name is None else x


def _square(delta: Any) -> Any:
    return delta * delta


def _outer(delta: Any) -> Any:
    return delta[..., :, None] * delta[..., None, :]


def _spread(weight: Any, rank: int) -> Any:
    return weight[(..., *[None] * rank)]


@accumulator()
class Moments:
    """The weight, the mean and the sum of squares about the mean."""

    weight: tuple[jax.Array, jax.Array]
    mean: tuple[jax.Array, jax.Array]
    squares: tuple[jax.Array, jax.Array]

    power = staticmethod(_square)
    ranks = (0, 0)

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: Any) -> "Moments":
        pair = (jnp.zeros(shape, dtype),) * 2
        return cls(pair, pair, pair)

    @classmethod
    def of(cls, x: Any, weight: Any, axes: tuple[int, ...]) -> "Moments":
        count = total(weight, axes)
        mean, rest = _centered(x, weight, count, axes)
        squares = total(weight * rest * rest, axes)
        zero = jnp.zeros_like(count)
        return cls((count, zero), mean, (squares, zero))

    def merge(self, other: "Moments") -> "Moments":
        return _merge(self, other)

    def combine(self, reduce: Reduce) -> "Moments":
        return _combine(self, reduce)


@accumulator()
class Covariance:
    """The weight, the mean vector and the matrix of products about the mean."""

    weight: tuple[jax.Array, jax.Array]
    mean: tuple[jax.Array, jax.Array]
    squares: tuple[jax.Array, jax.Array]

    power = staticmethod(_outer)
    ranks = (1, 2)

    @classmethod
    def zeros(cls, size: int, dtype: Any) -> "Covariance":
        weight, mean = jnp.zeros((), dtype), jnp.zeros(size, dtype)
        return cls((weight,) * 2, (mean,) * 2, (jnp.zeros((size, size), dtype),) * 2)

    @classmethod
    def of(cls, x: Any, weight: Any) -> "Covariance":
        """Of rows ``x`` (n, d) with weights (n, 1)."""
        count = total(weight)
        mean, rest = _centered(x, weight, count, (0,))
        squares = _products(weight * rest, rest)
        zeros = jnp.zeros((), x.dtype), jnp.zeros_like(squares)
        mean = (mean[0][0], mean[1][0])
        return cls((count[0, 0], zeros[0]), mean, (squares, zeros[1]))

    def merge(self, other: "Covariance") -> "Covariance":
        return _merge(self, other)

    def combine(self, reduce: Reduce) -> "Covariance":
        return _combine(self, reduce)


def _products(a: Any, b: Any) -> Any:
    """Aᵀ B of rows, by blocks; where shardings are part of the types, the same on all devices."""
    sharding, out = jax.typeof(b).sharding, None
    if jax.sharding.AxisType.Explicit in sharding.mesh.axis_types:
        out = sharding.update(spec=jax.sharding.PartitionSpec(None, None))
    rows = (((0,), (0,)), ((), ()))

    def product(a: Any, b: Any) -> Any:
        return lax.dot_general(a, b, rows, precision=matrices.PRECISION, out_sharding=out)

    if len(a) <= _ROWS or out is not None:
        return product(a, b)
    a, b = (jnp.pad(x, ((0, -len(x) % _ROWS), (0, 0))) for x in (a, b))
    a, b = (x.reshape(-1, _ROWS, x.shape[1]) for x in (a, b))
    first = product(a[0], b[0])
    pair = first, jnp.zeros_like(first)
    return lax.scan(lambda pair, x: (plus(pair, product(*x)), None), pair, (a[1:], b[1:]))[0][0]


def _centered(x: Any, weight: Any, count: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """The mean as a pair, and the differences from it; zero where the weight is."""
    # Differences from a value of the data lose nothing where the mean is large. XLA may compute a
    # mean twice, with different rounding errors, but not a minimum.
    used = jnp.broadcast_to(weight > 0, x.shape)
    least = jnp.min(x, axis=axes, keepdims=True, where=used, initial=jnp.inf)
    high = jnp.where(count == 0, jnp.zeros_like(least), least)
    rest = jnp.where(used, x - high, 0)
    low = numerics.divide(total(rest * weight, axes), count)
    return two_sum(high, low), jnp.where(used, rest - low, 0)


def _merge(a: S, b: S) -> S:
    """Of two parts."""
    rank, square_rank = a.ranks
    weight = plus(a.weight, *b.weight)
    share = numerics.divide(b.weight[0], weight[0])
    high, error = two_sum(b.mean[0], -a.mean[0])
    low = error + (b.mean[1] - a.mean[1])
    fraction = _spread(share, rank)
    mean = plus(a.mean, high * fraction, low * fraction)
    between = a.power(high + low) * _spread(a.weight[0] * share, square_rank)
    return type(a)(weight, mean, plus(a.squares, *b.squares, between))


def _combine(parts: S, reduce: Reduce) -> S:
    """Of many parts, on devices or along a stacked axis."""
    rank, square_rank = parts.ranks
    weight = two_sum(*map(reduce.sum, parts.weight))
    share = numerics.divide(parts.weight[0], reduce.each(weight[0]))
    fraction = _spread(share, rank)
    least = reduce.min(jnp.where(_spread(parts.weight[0], rank) > 0, parts.mean[0], jnp.inf))
    high = jnp.where(_spread(weight[0], rank) > 0, least, jnp.zeros_like(least))
    rest = (parts.mean[0] - reduce.each(high)) + parts.mean[1]
    low = reduce.sum(fraction * rest)
    between = parts.power(rest - reduce.each(low)) * _spread(parts.weight[0], square_rank)
    squares = reduce.sum(parts.squares[0] + between)
    return type(parts)(weight, two_sum(high, low), plus((squares, reduce.sum(parts.squares[1]))))


Statistics = Extremes | Moments | Covariance
