"""Decay."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._schedule import rate_at, schedule
from gradkit.schedules import _steps as steps


def _decay_rate_pow(i: Any, exponent: Any = 0.8) -> Any:
    """1 − t^(−c), t = i + 1, without the cancellation at large t."""
    t = jnp.asarray(i + 1, float)
    return -jnp.expm1(-tree.factor_like(exponent, t) * jnp.log(t))


@schedule
def adafactor_decay_schedule(
    decay_rate: Any = 0.8,
    step_offset: int = 0,
    decay_rate_fn: Callable[[Any, Any], Any] = _decay_rate_pow,
) -> Callable[[Any], Any]:
    """Adafactor's schedule of its decay.

    **Rule** β = 1 − t^(−c), t = step + 1; from the step ``step_offset`` on t counts from 1 again, and the average forgets what was before.

    Args:
      decay_rate: c ≥ 0, a number or a schedule.
      step_offset: the step at which t starts over, for fine-tuning under a clock that goes on.
      decay_rate_fn: another rule, of (steps since the start, c).

    Example:
      >>> import gradkit as gk
      >>> beta = gk.adafactor_decay_schedule(0.5, step_offset=10)
      >>> assert [float(beta(step)) for step in (0, 3, 10, 13)] == [0.0, 0.5, 0.0, 0.5]

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, section 7.2.
    """
    check.non_negative(decay_rate=decay_rate)
    check.integer(0, step_offset=step_offset)

    def value(step: Any) -> Any:
        since = jnp.where(step >= step_offset, step - step_offset, step)
        return decay_rate_fn(since, rate_at(decay_rate, step))

    return value


@schedule
def linear_schedule(
    init_value: Any, end_value: Any, transition_steps: int, transition_begin: int = 0
) -> Callable[[Any], Any]:
    """A straight line from one value to another.

    **Rule** α_t = I + (E − I) t/T for t ≤ T, then E.

    Args:
      init_value: I, a finite number.
      end_value: E, a finite number.
      transition_steps: T ≥ 1, the steps from I to E.
      transition_begin: steps ≥ 0 at I before the line begins.

    Raises:
      ValueError: a length below 1 or a beginning below 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.linear_schedule(1.0, 0.0, 10, transition_begin=5)
      >>> assert [float(rate(t)) for t in (0, 5, 10, 15, 99)] == [1.0, 1.0, 0.5, 0.0, 0.0]

    **Differs** from optax: a length below 1 is refused, where optax keeps the initial value for ever; no digit is lost when one end is much smaller.
    """
    steps.numbers(init_value=init_value, end_value=end_value)
    check.integer(1, transition_steps=transition_steps)
    check.integer(0, transition_begin=transition_begin)

    def value(step: Any) -> Any:
        elapsed = steps.since(steps.as_step(step), transition_begin, transition_steps)
        return steps.blend(init_value, end_value, *steps.parts(elapsed, transition_steps))

    return value


@schedule
def polynomial_schedule(
    init_value: Any, end_value: Any, power: Any, transition_steps: int, transition_begin: int = 0
) -> Callable[[Any], Any]:
    """From one value to another along a power of what is left.

    **Rule** α_t = E + (I − E) (1 − t/T)^p for t ≤ T, then E.

    Args:
      init_value: I, a finite number.
      end_value: E, a finite number.
      power: p > 0; 1 is a line.
      transition_steps: T ≥ 1, the steps from I to E.
      transition_begin: steps ≥ 0 at I before it begins.

    Raises:
      ValueError: a length below 1, a beginning below 0, a power not above 0.

    Example:
      >>> import gradkit as gk
      >>> assert float(gk.polynomial_schedule(1.0, 0.0, 2, 10)(5)) == 0.25

    **Differs** from optax: a length below 1 is refused, where optax keeps the initial value for ever.
    """
    steps.numbers(init_value=init_value, end_value=end_value, power=power)
    check.positive(power=power)
    check.integer(1, transition_steps=transition_steps)
    check.integer(0, transition_begin=transition_begin)

    def value(step: Any) -> Any:
        elapsed = steps.since(steps.as_step(step), transition_begin, transition_steps)
        return steps.blend(init_value, end_value, *steps.parts(elapsed, transition_steps), power)

    return value


@schedule
def cosine_decay_schedule(
    init_value: Any, decay_steps: int, alpha: Any = 0.0, exponent: Any = 1.0
) -> Callable[[Any], Any]:
    """Half a cosine from a value down to a fraction of it.

    **Rule** α_t = I [a + (1 − a) w^p], w = (1 + cos(π t/T)) / 2, for t ≤ T, then a I. The lectures' form is a = 0, p = 1.

    Args:
      init_value: I, a finite number.
      decay_steps: T ≥ 1.
      alpha: a, the last value as a fraction of I.
      exponent: p > 0.

    Raises:
      ValueError: a length below 1, an exponent not above 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.cosine_decay_schedule(1.0, 10, alpha=0.1)
      >>> assert rate(0) == 1.0 and abs(float(rate(5)) - 0.55) < 1e-6 and abs(float(rate(10)) - 0.1) < 1e-7

    **Differs** from optax: computed as sin² of what is left, so the last steps keep their digits in float32.

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """
    steps.numbers(init_value=init_value, alpha=alpha, exponent=exponent)
    check.positive(exponent=exponent)
    check.integer(1, decay_steps=decay_steps)

    def value(step: Any) -> Any:
        left, done = steps.cosine(
            *steps.parts(steps.since(steps.as_step(step), 0, decay_steps), decay_steps)
        )
        return steps.number(init_value) * steps.blend(1.0, alpha, left, done, exponent)

    return value


def _decayed(
    step: Any,
    init_value: Any,
    end_value: Any,
    falls: Any,
    factor: Any,
    shape: tuple[Any, Any, bool],
) -> Any:
    """``init_value * factor(count, length)``, bounded by ``end_value`` from below where the decay falls, else from above."""
    transition_steps, transition_begin, staircase = shape
    elapsed = steps.since(steps.as_step(step), transition_begin)
    result = steps.number(init_value) * (
        factor(steps.cycle(elapsed, transition_steps)[0], 1)
        if staircase
        else factor(elapsed, transition_steps)
    )
    if end_value is None:
        return result
    end = steps.number(end_value)
    return jnp.where(falls, jnp.maximum(result, end), jnp.minimum(result, end))


def _check_decay(
    init_value: Any, end_value: Any, transition_steps: Any, transition_begin: Any
) -> None:
    steps.numbers(init_value=init_value, **({} if end_value is None else {"end_value": end_value}))
    check.integer(1, transition_steps=transition_steps)
    check.integer(0, transition_begin=transition_begin)


@schedule
def exponential_decay(
    init_value: Any,
    transition_steps: int,
    decay_rate: Any,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Callable[[Any], Any]:
    """A constant factor per length.

    **Rule** α_t = I r^(t/T), or I r^⌊t/T⌋ with ``staircase``; not below E (not above E when r ≥ 1). The lectures' α₀ β^t is T = 1.

    Args:
      init_value: I, a finite number.
      transition_steps: T ≥ 1, the steps in which the value changes by the factor r.
      decay_rate: r > 0; it grows when r > 1.
      transition_begin: steps ≥ 0 at I before it begins.
      staircase: whether it falls in stairs of T steps.
      end_value: E, the bound where it stops, or None.

    Raises:
      ValueError: a length below 1, a beginning below 0, a rate not above 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.exponential_decay(1.0, 10, 0.25, staircase=True, end_value=0.1)
      >>> assert [round(float(rate(t)), 4) for t in (9, 10, 30)] == [1.0, 0.25, 0.1]

    **Differs** from optax: a length below 1 and a rate of 0 are refused, where optax keeps the initial value for ever; long decays keep their digits.
    """
    _check_decay(init_value, end_value, transition_steps, transition_begin)
    steps.numbers(decay_rate=decay_rate)
    check.positive(decay_rate=decay_rate)

    def value(step: Any) -> Any:
        def factor(count: Any, length: Any) -> Any:
            return steps.exponential(numerics.log(steps.number(decay_rate)), count, length)

        return _decayed(
            step,
            init_value,
            end_value,
            decay_rate < 1,
            factor,
            (transition_steps, transition_begin, staircase),
        )

    return value


@schedule
def natural_exponential_decay(
    init_value: Any,
    transition_steps: int,
    decay_rate: Any,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Callable[[Any], Any]:
    """Exponential decay given by its rate instead of its factor.

    **Rule** α_t = I exp(−r t/T), or I exp(−r ⌊t/T⌋) with ``staircase``; not below E. The lectures' α₀ e^(−βt) is T = 1.

    Args:
      init_value: I, a finite number.
      transition_steps: T ≥ 1, the steps in which the value falls by the factor e^(−r).
      decay_rate: r ≥ 0.
      transition_begin: steps ≥ 0 at I before it begins.
      staircase: whether it falls in stairs of T steps.
      end_value: E, the bound where it stops, or None.

    Raises:
      ValueError: a length below 1, a beginning or a rate below 0.

    Example:
      >>> import gradkit as gk, math
      >>> assert abs(float(gk.natural_exponential_decay(0.1, 1, 0.04)(25)) - 0.1 / math.e) < 1e-8
    """
    _check_decay(init_value, end_value, transition_steps, transition_begin)
    steps.numbers(decay_rate=decay_rate)
    check.non_negative(decay_rate=decay_rate)

    def value(step: Any) -> Any:
        def factor(count: Any, length: Any) -> Any:
            return steps.exponential(-decay_rate, count, length)

        return _decayed(
            step,
            init_value,
            end_value,
            True,
            factor,
            (transition_steps, transition_begin, staircase),
        )

    return value


@schedule
def inverse_time_decay(
    init_value: Any,
    transition_steps: int,
    decay_rate: Any,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Callable[[Any], Any]:
    """One over a line.

    **Rule** α_t = I / (1 + r t/T), or I / (1 + r ⌊t/T⌋) with ``staircase``; not below E. The lectures' α₀ / (1 + βt) is T = 1;
    their α₀ / (1 + decayRate · epoch) is ``per_epoch`` of it, or ``staircase`` with T steps an epoch.

    Args:
      init_value: I, a finite number.
      transition_steps: T ≥ 1, the steps that count as one.
      decay_rate: r ≥ 0.
      transition_begin: steps ≥ 0 at I before it begins.
      staircase: whether it falls in stairs of T steps.
      end_value: E, the bound where it stops, or None.

    Raises:
      ValueError: a length below 1, a beginning or a rate below 0.

    Example:
      >>> import gradkit as gk
      >>> assert float(gk.inverse_time_decay(1.0, 100, 0.5, staircase=True)(699)) == 0.25
    """
    _check_decay(init_value, end_value, transition_steps, transition_begin)
    steps.numbers(decay_rate=decay_rate)
    check.non_negative(decay_rate=decay_rate)

    def value(step: Any) -> Any:
        def factor(count: Any, length: Any) -> Any:
            return 1 / (1 + steps.number(decay_rate) * steps.ratio(count, length))

        return _decayed(
            step,
            init_value,
            end_value,
            True,
            factor,
            (transition_steps, transition_begin, staircase),
        )

    return value


@schedule
def inverse_sqrt_schedule(peak_value: Any, warmup_steps: int = 0) -> Callable[[Any], Any]:
    """One over the square root of the step, after an optional linear warmup.

    **Rule** α_t = P min(t/W, √(W/t)), where t = step + 1 counts from 1. Without warmup (W = 0 or 1) this is P/√t: the lectures' k α₀ / √t with
    P = k α₀, and their k α₀ / √epoch is ``per_epoch`` of it. The transformer's d^(−1/2) min(t^(−1/2), t W^(−3/2)) is P = (d W)^(−1/2).

    Args:
      peak_value: P, the largest value, at t = max(W, 1).
      warmup_steps: W ≥ 0, the steps up to the peak.

    Raises:
      ValueError: a warmup below 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> rate = gk.inverse_sqrt_schedule(1.0, warmup_steps=4)
      >>> assert [float(rate(t)) for t in (0, 3, 15)] == [0.25, 1.0, 0.5]
      >>> assert gk.inverse_sqrt_schedule(1.0)(24) == 1 / jnp.sqrt(25.0)

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 5.3.
    """
    steps.numbers(peak_value=peak_value)
    check.integer(0, warmup_steps=warmup_steps)

    def value(step: Any) -> Any:
        t = steps.as_step(step).astype(steps.default_float()) + 1
        length = (
            1.0
            if steps.is_zero(warmup_steps)
            else jnp.maximum(steps.number(warmup_steps) * 1.0, 1.0)
        )
        return steps.number(peak_value) * jnp.minimum(t / length, jnp.sqrt(length / t))

    return value
