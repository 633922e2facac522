"""Exact step arithmetic: counts stay integers, and only bounded fractions become floats.

A float32 holds integers exactly up to 2**24, an int32 counts to 2**31 - 1. Differences, floor
divisions and remainders of steps are therefore taken in integers. A length above the largest step
of the dtype is never reached and stays a Python number. `fractions` returns both the remaining and
the completed fraction, each from its own integer: 1 - d/T loses its digits near the end of a decay,
(T - d)/T does not.

A *count* is a number of steps: a Python int, a float such as 312.5, or an array of rank zero. Where
a count is a float, the arithmetic is done in floats. A transition of 0 steps never begins: its
completed fraction is 0. No function here divides by zero.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = Any


def default_float() -> Any:
    """Return float32, or float64 when x64 is enabled: the dtype of every schedule's value."""
    return jnp.result_type(float)


def as_float(x: Any) -> Any:
    """Return an array in the default float dtype; a Python number keeps its digits."""
    return x if isinstance(x, (int, float)) else jnp.asarray(x).astype(default_float())


def as_step(step: Any) -> Array:
    """Return a step as an array of int32 (int64) or of the default float dtype.

    Integers too large for the dtype are clamped, never wrapped; values below 0 become 0.
    """
    dtype = jnp.result_type(int)
    if isinstance(step, int):
        return jnp.asarray(min(max(step, 0), int(jnp.iinfo(dtype).max)), dtype)
    if not isinstance(step, jax.Array):
        step = np.asarray(step)
        if step.dtype.kind in "iu":  # clamped before JAX may truncate 64 bits to 32
            largest = min(int(jnp.iinfo(dtype).max), int(np.iinfo(step.dtype).max))
            step = np.clip(step, 0, largest).astype(dtype)
    step = jnp.asarray(step)
    if jnp.issubdtype(step.dtype, jnp.floating):
        step = step.astype(default_float())
    elif step.dtype != jnp.int32:
        step = _clamped(step, dtype)
    return jnp.maximum(step, 0)


# ---- counts -------------------------------------------------------------------------------------


def is_known(count: Any) -> TypeGuard[float]:
    """Return whether a count is a Python number."""
    return isinstance(count, (int, float))


def is_zero(count: Any) -> bool:
    """Return whether a count is known to be 0."""
    return is_known(count) and count == 0


def is_unreachable(count: Any, step: Array) -> bool:
    """Return whether a count is known to be larger than every step of this dtype."""
    count = _exact(count)
    return (
        isinstance(count, int)
        and jnp.issubdtype(step.dtype, jnp.integer)
        and count > jnp.iinfo(step.dtype).max
    )


def add(a: Any, b: Any) -> Any:
    """Return the sum of two counts."""
    if is_known(a) and is_known(b):
        return a + b
    a, b = _paired(a, b)
    return a + b


def subtract(a: Any, b: Any) -> Any:
    """Return the difference of two counts, at least 0."""
    if is_known(a) and is_known(b):
        return max(a - b, 0)
    a, b = _paired(a, b)
    return jnp.maximum(a - b, 0)


def elapsed(step: Array, begin: Any, limit: Any = None) -> Array:
    """Return the number of steps since ``begin``: 0 before it, at most ``limit``."""
    if is_unreachable(begin, step):
        return jnp.zeros_like(step)
    step, begin = _matched(step, begin)
    passed = jnp.maximum(step - begin, 0)
    return passed if limit is None else jnp.minimum(*_matched(passed, limit))


def is_before(step: Array, boundary: Any) -> Array:
    """Return whether a step lies before a boundary."""
    if is_unreachable(boundary, step):
        return jnp.ones_like(step, bool)
    step, boundary = _matched(step, boundary)
    return step < boundary


def distance(step: Array, count: Any) -> Array:
    """Return the number of steps between a step and a count that is reachable."""
    step, count = _matched(step, count)
    return jnp.abs(step - count)


def cycle_and_offset(step: Array, period: Any) -> tuple[Array, Array]:
    """Return the index of the period that holds the step, from 0, and the step within it."""
    if is_unreachable(period, step):
        return jnp.zeros_like(step), step
    step, period = _matched(step, period)
    period = jnp.where(period > 0, period, np.ones((), period.dtype))
    index = jnp.floor_divide(step, period)
    return index, jnp.clip(step - index * period, 0, period)


# ---- fractions ----------------------------------------------------------------------------------


def ratio(count: Array, length: Any) -> Array:
    """Return ``count / length`` as a float; a length of 0 counts as 1."""
    return count.astype(default_float()) / _positive(length)


def fractions(passed: Array, length: Any) -> tuple[Array, Array]:
    """Return ``(length - passed) / length`` and ``passed / length``, for 0 <= passed <= length."""
    if is_unreachable(length, passed):
        completed = ratio(passed, length)
        return 1 - completed, completed
    passed, whole = _matched(passed, length)
    remaining, completed = ratio(whole - passed, length), ratio(passed, length)
    if is_known(length) and length > 0:
        return remaining, completed
    return jnp.where(whole > 0, remaining, 1.0), jnp.where(whole > 0, completed, 0.0)


def locate(
    step: Array, starts: Sequence[Any], segment_lengths: Sequence[Any]
) -> tuple[Array, Array, Array]:
    """Return the index of the segment that holds the step, and its two fractions.

    ``starts`` increases from 0; of segments that start together the last one counts. Beyond its
    length a segment is complete.
    """
    if any(map(_is_fractional, (*starts, *segment_lengths))):
        step = step.astype(default_float())
    reached = [i for i, start in enumerate(starts) if not is_unreachable(start, step)]
    table = _stack([_matched(step, starts[i])[1] for i in reached])
    before = jnp.expand_dims(table, tuple(range(step.ndim)))
    index = jnp.sum(step[..., None] >= before, axis=-1, dtype=jnp.int32) - 1
    whole = _stack([_matched(step, segment_lengths[i])[1] for i in reached])[index]
    divisor = _float_table([_positive(segment_lengths[i]) for i in reached])[index]
    passed = jnp.minimum(step - table[index], whole)
    remaining, completed = ratio(whole - passed, 1), ratio(passed, 1)
    if is_unreachable(segment_lengths[reached[-1]], step):  # of those reached only the last can be
        remaining = jnp.where(index == len(reached) - 1, divisor - completed, remaining)
    return index, remaining / divisor, completed / divisor


# ---- curves -------------------------------------------------------------------------------------


def interpolate(start: Any, end: Any, remaining: Array, completed: Array, power: Any = 1) -> Array:
    """Return ``start * r**power + end * (1 - r**power)``, accurate at both ends.

    ``r`` is the remaining fraction, and ``remaining + completed = 1``.
    """
    if is_known(power) and power == 1:
        return as_float(start) * remaining + as_float(end) * completed
    power = as_float(power) * 1.0
    weight = jnp.power(remaining, power)
    open_ = completed < 1
    # 1 - r**p without cancellation.
    other = -jnp.expm1(power * jnp.log1p(-jnp.where(open_, completed, 0.0)))
    return as_float(start) * weight + as_float(end) * jnp.where(open_, other, 1 - weight)


def cosine_weights(remaining: Array, completed: Array) -> tuple[Array, Array]:
    """Return ``(1 + cos(π completed)) / 2`` and its complement.

    Both are computed as the sin² of a fraction: cos loses its digits near -1.
    """
    return jnp.sin(remaining * (math.pi / 2)) ** 2, jnp.sin(completed * (math.pi / 2)) ** 2


def interpolate_through(
    step: Array,
    lengths: Sequence[Any],
    begins: Sequence[Any],
    ends: Sequence[Any],
    kinds: Sequence[str],
    powers: Sequence[Any] = (),
) -> tuple[Array, Array]:
    """Return the index of the segment that holds the step, and the value of its curve.

    Segment i goes from ``begins[i]`` to ``ends[i]`` in ``lengths[i]`` steps, by a line or by half a
    cosine raised to ``powers[i]``. Beyond the last segment its end value stays.
    """
    starts = itertools.accumulate(lengths[:-1], add, initial=0)
    index, remaining, completed = locate(step, list(starts), lengths)
    if "cosine" in kinds:
        is_cosine = jnp.asarray([kind == "cosine" for kind in kinds])[index]
        weights = cosine_weights(remaining, completed)
        remaining, completed = (
            jnp.where(is_cosine, weight, fraction)
            for weight, fraction in zip(weights, (remaining, completed))
        )
    straight = all(is_known(power) and power == 1 for power in powers)
    power = 1 if straight else _float_table(powers)[index]
    return index, interpolate(
        _float_table(begins)[index], _float_table(ends)[index], remaining, completed, power
    )


def exponential(rate: Any, count: Array, length: Any = 1) -> Array:
    """Return ``exp(rate * count / length)``, accurate for large counts too.

    Rounding an exponent x to float32 costs |x| ulp of the result. Here the product is computed
    exactly in three parts (8 bits of the slope times 15 and 16 bits of the count, and the rest of
    the slope) and summed; the rounding error e of the sum returns as a factor 1 + e.
    """
    known = is_known(rate) and is_known(length)
    slope = rate / _positive(length) if known else as_float(rate) / _positive(length)
    dtype = default_float()
    if dtype != jnp.float32 or count.dtype != jnp.int32:
        return jnp.exp(slope * count.astype(dtype))
    head: Any
    if known:
        mantissa, exponent = math.frexp(slope)
        head = math.ldexp(round(mantissa * 256), exponent - 8)
    else:
        head = lax.reduce_precision(slope, exponent_bits=8, mantissa_bits=7)
    low = count & 0xFFFF
    a, b, c = (
        head * (count - low).astype(dtype),
        head * low.astype(dtype),
        (slope - head) * count.astype(dtype),
    )
    ab = a + b
    b_seen = ab - a
    lost = (a - (ab - b_seen)) + (b - b_seen)
    total = ab + c
    lost = lost + ((ab - total) + c)
    return jnp.exp(total) * (1 + lost)


# ---- dtypes of counts ---------------------------------------------------------------------------


def _exact(count: Any) -> Any:
    """Return a Python float that is an integer as an int."""
    return int(count) if isinstance(count, float) and count.is_integer() else count


def _is_fractional(count: Any) -> bool:
    """Return whether arithmetic with a count has to be done in floats."""
    count = _exact(count)
    return isinstance(count, float) or (
        not isinstance(count, int) and jnp.issubdtype(jnp.asarray(count).dtype, jnp.floating)
    )


def _clamped(x: Array, dtype: Any) -> Array:
    """Return an integer array in another integer dtype, clamped to its range."""
    largest = min(int(jnp.iinfo(dtype).max), int(jnp.iinfo(x.dtype).max))
    return jnp.minimum(x, np.array(largest, x.dtype)).astype(dtype)


def _stack(values: Sequence[Any]) -> Array:
    """Return scalars as an array; where all are known, as one constant."""
    if all(isinstance(value, np.ndarray) for value in values):
        return jnp.asarray(np.stack(values))
    return jnp.stack([jnp.asarray(value) for value in values])


def _float_table(values: Sequence[Any]) -> Array:
    """Return numbers as an array of the default float dtype."""
    dtype = default_float()
    return _stack([np.array(v, dtype) if is_known(v) else as_float(v) for v in values])


def _matched(step: Array, count: Any) -> tuple[Array, Array]:
    """Return a step and a count in one dtype: floats when one of them is a float."""
    count = _exact(count)
    if _is_fractional(count) or jnp.issubdtype(step.dtype, jnp.floating):
        dtype = default_float()
        if is_known(count):
            return step.astype(dtype), np.array(min(count, 2.0**100), dtype)
        return step.astype(dtype), jnp.maximum(as_float(count), 0)
    if is_known(count):
        return step, np.array(min(count, int(jnp.iinfo(step.dtype).max)), step.dtype)
    return step, jnp.maximum(_clamped(jnp.asarray(count), step.dtype), 0)


def _paired(a: Any, b: Any) -> tuple[Array, Array]:
    """Return two counts, of which one is an array, as arrays of one dtype."""
    dtype = default_float() if _is_fractional(a) or _is_fractional(b) else jnp.result_type(int)
    return _matched(jnp.zeros((), dtype), a)[1], _matched(jnp.zeros((), dtype), b)[1]


def _positive(length: Any) -> Any:
    """Return a length as a float divisor; 1 instead of 0."""
    if is_known(length):
        return float(length) if length > 0 else 1.0
    length = as_float(length)
    return jnp.where(length > 0, length, 1.0)
