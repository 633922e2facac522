"""The integers of a schedule: counts, boundaries and cycles are exact, only bounded fractions become floats.

A float32 holds whole numbers up to 2**24 and an int32 counts to 2**31 - 1, so differences, floor divisions and remainders are taken in
integers, and a length too long for the step's dtype (never reached there) stays a Python number. Of a fraction both parts are made, what
is done and what is left, each from its own integer: 1 - d/T loses its digits near the end of a decay, (T - d)/T does not.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import rate_at

Array = Any


def numbers(**values: Any) -> None:
    """Finite numbers, not schedules: those join, add and multiply."""
    for name, value in values.items():
        if callable(value):
            mend = "Schedules join, add and multiply: join_schedules, a + b, a * b"
            check.fail("needs a number", repr(value), mend, path=name, error=TypeError)
    check.finite(**values)


def sorted_boundaries(boundaries_and_scales: Any) -> tuple[list[Any], list[Any]]:
    """Boundaries and scales in the order of the boundaries, judged."""
    if boundaries_and_scales is not None and not isinstance(boundaries_and_scales, dict):
        mend = "Such as {1000: 0.1, 2000: 0.1}"
        check.fail(
            "needs a dict of boundary: scale",
            repr(boundaries_and_scales),
            mend,
            path="boundaries_and_scales",
            error=TypeError,
        )
    pairs = sorted((boundaries_and_scales or {}).items())
    for boundary, scale in pairs:
        check.integer(0, "A boundary is a step", boundaries_and_scales=boundary)
        numbers(**{f"boundaries_and_scales[{boundary}]": scale})
        check.non_negative(**{f"boundaries_and_scales[{boundary}]": scale})
    return [boundary for boundary, _ in pairs], [scale for _, scale in pairs]


def default_float() -> Any:
    """float32, or float64 when x64 is on: the dtype of every schedule's value."""
    return jnp.result_type(float)


def number(x: Any) -> Any:
    """A hyperparameter in the dtype of the value; a Python number stays one and keeps its digits."""
    return x if isinstance(x, (int, float)) else jnp.asarray(x).astype(default_float())


def as_step(step: Any) -> Array:
    """The step as an int32 (int64) or default float array, not below 0; an integer too large is clamped, never wrapped."""
    kind = jnp.result_type(int)
    if isinstance(step, int):
        return jnp.asarray(min(max(step, 0), int(jnp.iinfo(kind).max)), kind)
    if isinstance(step, (list, tuple)) or not numerics.is_number(step):
        needed = "needs a step: an integer, a number or an array of them"
        check.fail(needed, f"{type(step).__name__} {step!r}", path="step", error=TypeError)
    if not isinstance(step, jax.Array):
        step = np.asarray(step)
        if step.dtype.kind in "iu":  # clamped before JAX may truncate 64 bits to 32
            step = np.clip(
                step, 0, min(int(jnp.iinfo(kind).max), int(np.iinfo(step.dtype).max))
            ).astype(kind)
    step = jnp.asarray(step)
    if jnp.issubdtype(step.dtype, jnp.floating):
        step = step.astype(default_float())
    elif jnp.issubdtype(step.dtype, jnp.integer):
        if step.dtype != jnp.int32:
            top = min(int(jnp.iinfo(kind).max), int(jnp.iinfo(step.dtype).max))
            step = jnp.minimum(step, np.array(top, step.dtype)).astype(kind)
    else:
        check.fail(
            "needs a step: an integer, a number or an array of them",
            check.shape_dtype(step),
            path="step",
            error=TypeError,
        )
    return jnp.maximum(step, 0)


def at(rate: Any, step: Array) -> Array:
    """A number's or a schedule's value at the step, in the default float dtype and in the step's shape."""
    value = jnp.asarray(rate_at(rate, step)).astype(default_float())
    return jnp.broadcast_to(value, jnp.shape(step)) if value.ndim == 0 else value


# ---- counts ---------------------------------------------------------------------------------------------------------


def is_zero(count: Any) -> bool:
    """Whether a count is known, and 0."""
    return isinstance(count, (int, float)) and count == 0


def beyond(count: Any, step: Array) -> bool:
    """Whether a count is known to be larger than any step of this dtype."""
    return (
        isinstance(count, (int, float))
        and jnp.issubdtype(step.dtype, jnp.integer)
        and count > jnp.iinfo(step.dtype).max
    )


def like(count: Any, step: Array) -> Any:
    """A count in the dtype of the step, clamped to it."""
    if beyond(count, step):
        return np.array(jnp.iinfo(step.dtype).max, step.dtype)
    return (
        np.array(count, step.dtype)
        if isinstance(count, (int, float))
        else jnp.asarray(count).astype(step.dtype)
    )


def since(step: Array, begin: Any, limit: Any = None) -> Array:
    """How many steps lie behind ``begin``: 0 before it, at most ``limit``."""
    if beyond(begin, step):
        return jnp.zeros_like(step)
    elapsed = jnp.maximum(step - like(begin, step), 0)
    return elapsed if limit is None else jnp.minimum(elapsed, like(limit, step))


def cycle(step: Array, period: Any) -> tuple[Array, Array]:
    """Which period of this length the step is in, from 0, and the step within it."""
    if beyond(period, step):
        return jnp.zeros_like(step), step
    period = like(period, step)
    index = jnp.floor_divide(step, period)
    return index, step - index * period


# ---- fractions ------------------------------------------------------------------------------------------------------


def ratio(count: Array, length: Any) -> Array:
    """``count / length`` as a float."""
    by = float(length) if isinstance(length, (int, float)) else jnp.maximum(number(length), 1)
    return count.astype(default_float()) / by


def parts(elapsed: Array, length: Any) -> tuple[Array, Array]:
    """``(length - elapsed) / length`` and ``elapsed / length``: what is left and what is done, for 0 <= elapsed <= length."""
    if beyond(length, elapsed):
        done = ratio(elapsed, length)
        return 1 - done, done
    return ratio(like(length, elapsed) - elapsed, length), ratio(elapsed, length)


def segment(
    step: Array, starts: Sequence[Any], lengths: Sequence[Any]
) -> tuple[Array, Array, Array]:
    """In which segment a step lies, and what is left and done of it.

    ``starts`` rises from 0; of segments that start together the last counts. Behind its length a segment is done.
    """
    seen = [i for i, start in enumerate(starts) if not beyond(start, step)]
    table = jnp.stack([jnp.asarray(like(starts[i], step)) for i in seen])
    index = (
        jnp.sum(
            step[..., None] >= jnp.expand_dims(table, tuple(range(step.ndim))),
            axis=-1,
            dtype=jnp.int32,
        )
        - 1
    )
    whole = jnp.stack([jnp.asarray(like(lengths[i], step)) for i in seen])[index]
    exact = jnp.stack(
        [jnp.asarray(jnp.maximum(number(lengths[i]) * 1.0, 1.0), default_float()) for i in seen]
    )[index]
    elapsed = jnp.minimum(step - table[index], whole)
    rest = (whole - elapsed).astype(default_float())
    done = ratio(elapsed, 1)
    if beyond(lengths[seen[-1]], step):  # only the last one seen can be longer than the clock
        rest = jnp.where(index == len(seen) - 1, exact - done, rest)
    return index, rest / exact, done / exact


# ---- curves ---------------------------------------------------------------------------------------------------------


def blend(start: Any, end: Any, left: Array, done: Array, power: Any = 1) -> Array:
    """``start * left**power + end * (1 - left**power)``, where left + done = 1; no digit is lost at either end."""
    if isinstance(power, (int, float)) and power == 1:
        return number(start) * left + number(end) * done
    power = number(power) * 1.0
    weight = jnp.power(left, power)
    open_ = done < 1
    other = jnp.where(
        open_, -jnp.expm1(power * jnp.log1p(-jnp.where(open_, done, 0.0))), 1 - weight
    )
    return number(start) * weight + number(end) * other


def cosine(left: Array, done: Array) -> tuple[Array, Array]:
    """``(1 + cos(π done)) / 2`` and its complement, as sin² of the two parts: cos loses its digits near -1."""
    return jnp.sin(left * (math.pi / 2)) ** 2, jnp.sin(done * (math.pi / 2)) ** 2


def exponential(rate: Any, count: Array, length: Any = 1) -> Array:
    """``exp(rate * count / length)``, also for long counts.

    An exponent x rounded to float32 costs |x| ulp of the result. Here the product is taken exactly in three parts (8 bits of the slope
    times 15 and 16 bits of the count, and the rest of the slope), summed, and what the sum rounds off is put back as a factor 1 + e.
    """
    known = isinstance(rate, (int, float)) and isinstance(length, (int, float))
    slope = rate / length if known else number(rate) / number(length)
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
