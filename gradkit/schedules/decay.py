"""Schedules that decrease from the first step on."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._schedule import rate_at, schedule
from gradkit.schedules import _arguments as arguments
from gradkit.schedules import _steps as steps
from gradkit.typing import Rate, Scalar


@schedule
def linear_schedule(
    init_value: Scalar,
    end_value: Scalar,
    transition_steps: Scalar,
    transition_begin: Scalar = 0,
) -> Callable[[Any], Any]:
    """Interpolate linearly from one value to another.

    **Value** α_t = I + (E − I) t/T for t ≤ T, then E. With T = 0 it is I at every step.

    Args:
      init_value: I, a finite number.
      end_value: E, a finite number.
      transition_steps: T ≥ 0, the steps from I to E: an int, a float or an array.
      transition_begin: steps ≥ 0 at I before the line begins.

    Raises:
      ValueError: a length below 0, or a value that is not finite.
      TypeError: an argument that is not a number.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.linear_schedule(1.0, 0.0, 10, transition_begin=5)
      >>> assert [float(rate(t)) for t in (0, 5, 10, 15, 99)] == [1.0, 1.0, 0.5, 0.0, 0.0]
      >>> assert gk.linear_schedule(1.0, 0.0, 0)(99) == 1.0

    **Differs from optax**: no digit is lost when one end is much smaller than the other; a length
    or a beginning below 0 is refused, where optax takes 0 for it.
    """
    return _polynomial(init_value, end_value, 1, transition_steps, transition_begin)


@schedule
def polynomial_schedule(
    init_value: Scalar,
    end_value: Scalar,
    power: Scalar,
    transition_steps: Scalar,
    transition_begin: Scalar = 0,
) -> Callable[[Any], Any]:
    """Interpolate from one value to another by a power of the remaining fraction.

    **Value** α_t = E + (I − E) (1 − t/T)^p for t ≤ T, then E. With T = 0 it is I at every step.

    Args:
      init_value: I, a finite number.
      end_value: E, a finite number.
      power: p > 0; 1 is a line.
      transition_steps: T ≥ 0, the steps from I to E: an int, a float or an array.
      transition_begin: steps ≥ 0 at I before it begins.

    Raises:
      ValueError: a length below 0, a power not above 0, or a value that is not finite.
      TypeError: an argument that is not a number.

    Example:
      >>> import gradkit as gk
      >>> assert float(gk.polynomial_schedule(1.0, 0.0, 2, 10)(5)) == 0.25

    **Differs from optax**: a power of 0 or below is refused, where optax stays at I or diverges at
    the end; a length or a beginning below 0 is refused, where optax takes 0 for it.
    """
    arguments.numbers(power=power)
    check.positive(power=power)
    return _polynomial(init_value, end_value, power, transition_steps, transition_begin)


def _polynomial(
    init_value: Any, end_value: Any, power: Any, transition_steps: Any, transition_begin: Any
) -> Callable[[Any], Any]:
    arguments.numbers(init_value=init_value, end_value=end_value)
    arguments.lengths(0, transition_steps=transition_steps, transition_begin=transition_begin)

    def value(step: Any) -> Any:
        passed = steps.elapsed(step, transition_begin, transition_steps)
        weights = steps.fractions(passed, transition_steps)
        return steps.interpolate(init_value, end_value, *weights, power)

    return arguments.of_step(
        value,
        init_value=init_value,
        end_value=end_value,
        power=power,
        transition_steps=transition_steps,
        transition_begin=transition_begin,
    )


@schedule
def cosine_decay_schedule(
    init_value: Scalar,
    decay_steps: Scalar,
    alpha: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Callable[[Any], Any]:
    """Decay by half a cosine from a value to a fraction of it.

    **Value** α_t = I [a + (1 − a) w^p], w = (1 + cos(π t/T)) / 2, for t ≤ T, then a I.

    Args:
      init_value: I, a finite number.
      decay_steps: T > 0: an int, a float or an array.
      alpha: a, the last value as a fraction of I.
      exponent: p > 0.

    Raises:
      ValueError: a length or an exponent not above 0, or a value that is not finite.
      TypeError: an argument that is not a number.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.cosine_decay_schedule(1.0, 10, alpha=0.1)
      >>> assert [round(float(rate(t)), 6) for t in (0, 5, 10, 99)] == [1.0, 0.55, 0.1, 0.1]

    **Differs from optax**: computed as sin² of the remaining fraction, so the last steps keep their
    digits in float32; an exponent of 0 or below is refused, where optax stays at I or diverges.

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """
    arguments.numbers(init_value=init_value, alpha=alpha, exponent=exponent)
    check.positive(exponent=exponent)
    arguments.lengths(1, decay_steps=decay_steps)

    def value(step: Any) -> Any:
        passed = steps.elapsed(step, 0, decay_steps)
        weights = steps.cosine_weights(*steps.fractions(passed, decay_steps))
        return steps.as_float(init_value) * steps.interpolate(1.0, alpha, *weights, exponent)

    return arguments.of_step(
        value, init_value=init_value, decay_steps=decay_steps, alpha=alpha, exponent=exponent
    )


@schedule
def exponential_decay(
    init_value: Scalar,
    transition_steps: Scalar,
    decay_rate: Scalar,
    transition_begin: Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Callable[[Any], Any]:
    """Decay exponentially, by a constant factor per ``transition_steps``.

    **Value** α_t = I r^(t/T), or I r^⌊t/T⌋ with ``staircase``; not below E (not above E when
    r ≥ 1). With T = 0 it is I at every step.

    Args:
      init_value: I, a finite number.
      transition_steps: T ≥ 0, the steps in which the value changes by the factor r.
      decay_rate: r > 0; the value grows when r > 1.
      transition_begin: steps ≥ 0 at I before it begins.
      staircase: whether the value changes only every T steps.
      end_value: E, the bound at which it stops, or None. It bounds I too.

    Raises:
      ValueError: a length below 0, a rate not above 0, or a value that is not finite.
      TypeError: an argument that is not a number, a ``staircase`` that is not a bool.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.exponential_decay(1.0, 10, 0.25, staircase=True, end_value=0.1)
      >>> assert [round(float(rate(t)), 4) for t in (9, 10, 30)] == [1.0, 0.25, 0.1]

    **Differs from optax**: a rate of 0 is refused, where optax stays at I; a length or a beginning
    below 0 is refused, where optax takes 0 for it; long decays keep their digits.
    """
    check.positive(**arguments.number(decay_rate=decay_rate))

    def factor(count: Any, length: Any) -> Any:
        return steps.exponential(numerics.log(steps.as_float(decay_rate)), count, length)

    return _decay(
        factor,
        lambda: steps.as_float(decay_rate) < 1,
        staircase,
        init_value=init_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        end_value=end_value,
    )


@schedule
def natural_exponential_decay(
    init_value: Scalar,
    transition_steps: Scalar,
    decay_rate: Scalar,
    transition_begin: Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Callable[[Any], Any]:
    """Decay exponentially, given the rate instead of the factor.

    **Value** α_t = I exp(−r t/T), or I exp(−r ⌊t/T⌋) with ``staircase``; not below E. With T = 0
    it is I at every step.

    Args:
      init_value: I, a finite number.
      transition_steps: T ≥ 0, the steps in which the value falls by the factor e^(−r).
      decay_rate: r ≥ 0.
      transition_begin: steps ≥ 0 at I before it begins.
      staircase: whether the value changes only every T steps.
      end_value: E, the bound at which it stops, or None. It bounds I too.

    Raises:
      ValueError: a length or a rate below 0, or a value that is not finite.
      TypeError: an argument that is not a number, a ``staircase`` that is not a bool.

    Example:
      >>> import gradkit as gk, math
      >>> rate = gk.schedules.natural_exponential_decay(0.1, 1, 0.04)
      >>> assert abs(float(rate(25)) - 0.1 / math.e) < 1e-8
    """
    check.non_negative(**arguments.number(decay_rate=decay_rate))

    def factor(count: Any, length: Any) -> Any:
        return steps.exponential(-steps.as_float(decay_rate), count, length)

    return _decay(
        factor,
        lambda: True,
        staircase,
        init_value=init_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        end_value=end_value,
    )


@schedule
def inverse_time_decay(
    init_value: Scalar,
    transition_steps: Scalar,
    decay_rate: Scalar,
    transition_begin: Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Callable[[Any], Any]:
    """Inverse-time decay: I / (1 + r t/T).

    **Value** α_t = I / (1 + r t/T), or I / (1 + r ⌊t/T⌋) with ``staircase``; not below E. With
    T = 0 it is I at every step. A decay by the epoch, α₀ / (1 + r · epoch), is ``per_epoch`` of it
    with T = 1, or ``staircase`` with T steps an epoch.

    Args:
      init_value: I, a finite number.
      transition_steps: T ≥ 0, the steps that count as one.
      decay_rate: r ≥ 0.
      transition_begin: steps ≥ 0 at I before it begins.
      staircase: whether the value changes only every T steps.
      end_value: E, the bound at which it stops, or None. It bounds I too.

    Raises:
      ValueError: a length or a rate below 0, or a value that is not finite.
      TypeError: an argument that is not a number, a ``staircase`` that is not a bool.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.schedules.inverse_time_decay(1.0, 100, 0.5, staircase=True)
      >>> assert float(rate(699)) == 0.25 and float(rate(700)) < 0.25
    """
    check.non_negative(**arguments.number(decay_rate=decay_rate))

    def factor(count: Any, length: Any) -> Any:
        return 1 / (1 + steps.as_float(decay_rate) * steps.ratio(count, length))

    return _decay(
        factor,
        lambda: True,
        staircase,
        init_value=init_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        end_value=end_value,
    )


def _decay(
    factor: Callable[[Any, Any], Any], falls: Callable[[], Any], staircase: Any, /, **given: Any
) -> Callable[[Any], Any]:
    """Return ``init_value * factor(count, length)``, bounded by ``end_value``.

    The bound is a lower one where the decay falls, else an upper one.
    """
    init_value, end_value, length = (
        given[name] for name in ("init_value", "end_value", "transition_steps")
    )
    arguments.numbers(
        init_value=init_value, **({} if end_value is None else {"end_value": end_value})
    )
    arguments.lengths(0, transition_steps=length, transition_begin=given["transition_begin"])
    arguments.flags(staircase=staircase)

    def value(step: Any) -> Any:
        start = jnp.broadcast_to(jnp.asarray(init_value).astype(steps.default_float()), step.shape)
        if steps.is_zero(length):
            return start
        passed = steps.elapsed(step, given["transition_begin"])
        if staircase:
            result = start * factor(steps.cycle_and_offset(passed, length)[0], 1)
        else:
            result = start * factor(passed, length)
        if end_value is not None:
            end = steps.as_float(end_value)
            result = jnp.where(falls(), jnp.maximum(result, end), jnp.minimum(result, end))
        return result if steps.is_known(length) else jnp.where(length > 0, result, start)

    return arguments.of_step(value, **given)


@schedule
def inverse_sqrt_schedule(peak_value: Scalar, warmup_steps: Scalar = 0) -> Callable[[Any], Any]:
    """Decay by the inverse square root of the step, after an optional linear warmup.

    **Value** α_t = P min(t/W, √(W/t)), where t = step + 1 counts from 1. Without warmup (W = 0 or
    1) this is P/√t; P/√epoch is ``per_epoch`` of it. The transformer's
    d^(−1/2) min(t^(−1/2), t W^(−3/2)) is P = (d W)^(−1/2).

    Args:
      peak_value: P, the largest value, at t = max(W, 1).
      warmup_steps: W ≥ 0, the steps up to the peak; below 1 there is no warmup.

    Raises:
      ValueError: a warmup below 0, or a value that is not finite.
      TypeError: an argument that is not a number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> rate = gk.schedules.inverse_sqrt_schedule(1.0, warmup_steps=4)
      >>> assert [float(rate(t)) for t in (0, 3, 15)] == [0.25, 1.0, 0.5]
      >>> assert gk.schedules.inverse_sqrt_schedule(1.0)(24) == 1 / jnp.sqrt(25.0)

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 5.3.
    """
    arguments.numbers(peak_value=peak_value)
    arguments.lengths(0, warmup_steps=warmup_steps)

    def value(step: Any) -> Any:
        t = step.astype(steps.default_float()) + 1
        length = (
            max(float(warmup_steps), 1.0)
            if steps.is_known(warmup_steps)
            else jnp.maximum(steps.as_float(warmup_steps), 1.0)
        )
        return steps.as_float(peak_value) * jnp.minimum(t / length, jnp.sqrt(length / t))

    return arguments.of_step(value, peak_value=peak_value, warmup_steps=warmup_steps)


def _decay_rate_pow(i: Any, exponent: Any = 0.8) -> Any:
    """Return 1 − t^(−c), t = i + 1, without cancellation at large t."""
    t = jnp.asarray(i + 1, float)
    return -jnp.expm1(-tree.factor_like(exponent, t) * jnp.log(t))


@schedule
def adafactor_decay_schedule(
    decay_rate: Rate = 0.8,
    step_offset: Scalar = 0,
    decay_rate_fn: Callable[[jax.Array, Any], Any] = _decay_rate_pow,
) -> Callable[[Any], Any]:
    """Raise Adafactor's decay β₂ from 0 towards 1 as training goes on.

    **Value** β_t = 1 − t^(−c), where t = step + 1 counts from 1. From the step ``step_offset`` on,
    t counts from 1 again: the average then forgets all earlier gradients.

    Args:
      decay_rate: c ≥ 0, a number or a schedule.
      step_offset: the step ≥ 0 at which t restarts, for fine-tuning with a step count that goes on.
      decay_rate_fn: a function ``(steps since the start, c) -> β`` in place of 1 − t^(−c).

    Raises:
      ValueError: a rate or an offset below 0.
      TypeError: a rate that is not a number or a schedule, a function that is not callable.

    Example:
      >>> import gradkit as gk
      >>> beta = gk.schedules.adafactor_decay_schedule(0.5, step_offset=10)
      >>> assert [float(beta(step)) for step in (0, 3, 10, 13)] == [0.0, 0.5, 0.0, 0.5]

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, section 7.2.
    """
    arguments.rates(decay_rate=decay_rate)
    check.non_negative(**({} if callable(decay_rate) else {"decay_rate": decay_rate}))
    arguments.lengths(0, step_offset=step_offset)
    if not callable(decay_rate_fn) or check.uncalled(decay_rate_fn):
        check.refuse(
            f"decay_rate_fn={arguments.shown(decay_rate_fn)} is not a function",
            expected="a function of the number of steps and of decay_rate",
            error=TypeError,
        )

    def value(step: Any) -> Any:
        restarted = steps.elapsed(step, step_offset)
        since = jnp.where(
            steps.is_before(step, step_offset), step.astype(restarted.dtype), restarted
        )
        return decay_rate_fn(since, rate_at(decay_rate, step))

    scalar = {} if callable(decay_rate) else {"decay_rate": decay_rate}
    return arguments.of_step(value, step_offset=step_offset, **scalar)
