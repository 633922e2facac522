"""Schedules that begin with a linear warmup."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit._schedule import schedule, value_at
from gradkit.schedules import _arguments as arguments
from gradkit.schedules import _steps as steps
from gradkit.schedules.constant import constant_schedule
from gradkit.schedules.decay import exponential_decay, linear_schedule
from gradkit.schedules.join import join_schedules
from gradkit.typing import Rate, Scalar


@schedule
def linear_warmup(schedule: Rate, warmup_steps: Scalar) -> Callable[[Any], Any]:
    """Put a gradual linear warmup in front of any schedule.

    **Value** α_t = (t/W) s(0) for t = 1 … W, where t = step + 1 counts from 1; then s from its own
    step 0: s(step − W). The first update already has the rate s(0)/W, the last one of the warmup
    s(0). In ``linear_warmup(1.0, W) * s`` the schedule s also advances during the warmup.

    Args:
      schedule: s, a schedule, a function of the step or a number.
      warmup_steps: W ≥ 0: an int, a float or an array; 0 is no warmup.

    Raises:
      ValueError: a warmup below 0.
      TypeError: ``schedule`` is not a schedule, a function of the step or a number.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.schedules.linear_warmup(gk.exponential_decay(0.8, 1, 0.5), 4)
      >>> assert [round(float(rate(t)), 4) for t in range(7)] == [0.2, 0.4, 0.6, 0.8, 0.8, 0.4, 0.2]

    Reference: Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.2.
    """
    arguments.rates(schedule=schedule)
    arguments.lengths(0, warmup_steps=warmup_steps)

    def value(step: Any) -> Any:
        after = value_at(schedule, steps.elapsed(step, warmup_steps))
        if steps.is_zero(warmup_steps):
            return after
        risen = steps.ratio(steps.elapsed(step, 0, warmup_steps), 1) + 1
        length = (
            max(float(warmup_steps), 1.0)
            if steps.is_known(warmup_steps)
            else jnp.maximum(steps.as_float(warmup_steps), 1.0)
        )
        rising = after * jnp.minimum(risen / length, 1)
        return jnp.where(steps.is_before(step, warmup_steps), rising, after)

    constant = {} if callable(schedule) else {"schedule": schedule}
    return arguments.of_step(value, warmup_steps=warmup_steps, **constant)


@schedule
def warmup_constant_schedule(
    init_value: Scalar, peak_value: Scalar, warmup_steps: Scalar
) -> Callable[[Any], Any]:
    """Linear warmup, then a constant.

    **Value** α_t = I + (P − I) t/W for t ≤ W, then P.

    Args:
      init_value: I, the value at step 0.
      peak_value: P, the value from step W on.
      warmup_steps: W ≥ 0: an int, a float or an array; 0 is no warmup.

    Raises:
      ValueError: a warmup below 0, or a value that is not finite.
      TypeError: an argument that is not a number.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.warmup_constant_schedule(0.0, 1.0, 4)
      >>> assert [float(rate(t)) for t in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]

    **Differs from optax**: without warmup it is P at every step, where optax stays at I.
    """
    return _warmed(init_value, peak_value, warmup_steps, [constant_schedule], [])


@schedule
def warmup_cosine_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Scalar,
    decay_steps: Scalar,
    end_value: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Callable[[Any], Any]:
    """Linear warmup, then cosine decay.

    **Value** α_t = I + (P − I) t/W for t ≤ W; then E + (P − E) w^p,
    w = (1 + cos(π (t − W)/(D − W))) / 2, up to t = D; then E. With P = 0 it stays 0 after the
    warmup, whatever E is, as in optax.

    Args:
      init_value: I, the value at step 0.
      peak_value: P, the value at step W.
      warmup_steps: W ≥ 0: an int, a float or an array; 0 is no warmup.
      decay_steps: D > W, the length of the whole schedule, warmup included.
      end_value: E, the value from step D on.
      exponent: p > 0.

    Raises:
      ValueError: a warmup below 0, a length not above the warmup, an exponent not above 0.
      TypeError: an argument that is not a number.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.warmup_cosine_decay_schedule(0.0, 1.0, 10, 110)
      >>> assert [round(float(rate(t)), 6) for t in (0, 5, 10, 60, 110)] == [0, 0.5, 1, 0.5, 0]

    **Differs from optax**: an exponent of 0 or below is refused.
    """
    arguments.numbers(peak_value=peak_value, end_value=end_value, exponent=exponent)
    check.positive(exponent=exponent)
    arguments.lengths(0, warmup_steps=warmup_steps)
    arguments.lengths(1, decay_steps=decay_steps)
    if steps.is_known(warmup_steps) and steps.is_known(decay_steps) and decay_steps <= warmup_steps:
        check.refuse(
            f"decay_steps={decay_steps!r} and warmup_steps={warmup_steps!r} are out of order",
            expected="decay_steps > warmup_steps",
            fix="decay_steps is the length of the whole schedule, warmup included",
        )
    length = steps.subtract(decay_steps, warmup_steps)

    def decay(peak: Any) -> Callable[[Any], Any]:
        def value(step: Any) -> Any:
            weights = steps.fractions(steps.elapsed(step, 0, length), length)
            end = end_of_cosine(peak, end_value)
            return steps.interpolate(peak, end, *steps.cosine_weights(*weights), exponent)

        return value

    return _warmed(
        init_value,
        peak_value,
        warmup_steps,
        [decay],
        [],
        decay_steps=decay_steps,
        end_value=end_value,
        exponent=exponent,
    )


def end_of_cosine(peak_value: Any, end_value: Any) -> Any:
    """Return the end value of a cosine decay that is a fraction of its peak: of 0, it is 0."""
    if steps.is_known(peak_value) and peak_value == 0:
        return 0.0
    if steps.is_known(peak_value):
        return end_value
    return jnp.where(jnp.asarray(peak_value) == 0, 0.0, steps.as_float(end_value))


@schedule
def warmup_exponential_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Scalar,
    transition_steps: Scalar,
    decay_rate: Scalar,
    transition_begin: Scalar = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Callable[[Any], Any]:
    """Linear warmup, then exponential decay.

    **Value** α_t = I + (P − I) t/W for t ≤ W, then `exponential_decay` from P, counted from step W.

    Args:
      init_value: I, the value at step 0.
      peak_value: P, the value at step W.
      warmup_steps: W ≥ 0: an int, a float or an array; 0 is no warmup.
      transition_steps: T ≥ 0, the steps in which the value then changes by the factor r; with 0 it
        stays at P.
      decay_rate: r > 0.
      transition_begin: steps ≥ 0 at P before the decay begins.
      staircase: whether the value changes only every T steps.
      end_value: the bound at which the decay stops, or None.

    Raises:
      ValueError: a length below 0, a rate not above 0, or a value that is not finite.
      TypeError: an argument that is not a number, a ``staircase`` that is not a bool.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.warmup_exponential_decay_schedule(0.0, 1.0, 4, 10, 0.25)
      >>> assert [round(float(rate(t)), 6) for t in (2, 4, 9, 14)] == [0.5, 1.0, 0.5, 0.25]

    **Differs from optax**: a rate of 0 and lengths below 0 are refused, as by `exponential_decay`.
    """

    def decay(peak: Any) -> Callable[[Any], Any]:
        return exponential_decay(
            peak, transition_steps, decay_rate, transition_begin, staircase, end_value
        )

    return _warmed(
        init_value,
        peak_value,
        warmup_steps,
        [decay],
        [],
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        end_value=end_value,
    )


@schedule
def warmup_stable_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Scalar,
    stable_steps: Scalar,
    decay_steps: Scalar,
    end_value: Scalar = 0.0,
    cooldown: str = "linear",
) -> Callable[[Any], Any]:
    """Warmup-stable-decay (WSD): linear warmup, a plateau, then a cooldown.

    The length of a run can be decided at the end of the plateau.

    **Value** α_t = I + (P − I) t/W for t ≤ W; P for S steps; then E + (P − E) c(x) with x the
    completed fraction of the cooldown's D steps, and c(x) = 1 − x (``linear``), (1 + cos πx)/2
    (``cosine``) or 1 − √x (``1-sqrt``); then E.

    Args:
      init_value: I, the value at step 0.
      peak_value: P, the value of the plateau.
      warmup_steps: W ≥ 0: an int, a float or an array; 0 is no warmup.
      stable_steps: S ≥ 0, the length of the plateau.
      decay_steps: D > 0, the length of the cooldown alone.
      end_value: E, the value from step W + S + D on.
      cooldown: the shape of the cooldown: ``"linear"``, ``"cosine"`` or ``"1-sqrt"``.

    Raises:
      ValueError: a warmup or a plateau below 0, a cooldown not above 0, an unknown shape.
      TypeError: an argument that is not a number, a shape that is not a string.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.warmup_stable_decay_schedule(0.0, 1.0, 10, 80, 100, cooldown="1-sqrt")
      >>> assert [float(rate(t)) for t in (5, 10, 90, 115, 190)] == [0.5, 1.0, 1.0, 0.5, 0.0]

    Reference: Hu et al. 2024, https://arxiv.org/abs/2404.06395; Hägele et al. 2024,
    https://arxiv.org/abs/2405.18392 (the 1 − √ cooldown).
    """
    arguments.numbers(end_value=end_value)
    arguments.lengths(0, warmup_steps=warmup_steps, stable_steps=stable_steps)
    arguments.lengths(1, decay_steps=decay_steps)
    arguments.word(("linear", "cosine", "1-sqrt"), cooldown=cooldown)

    def decay(peak: Any) -> Callable[[Any], Any]:
        def value(step: Any) -> Any:
            passed = steps.elapsed(step, 0, decay_steps)
            remaining, completed = steps.fractions(passed, decay_steps)
            if cooldown == "cosine":
                remaining, completed = steps.cosine_weights(remaining, completed)
            elif cooldown == "1-sqrt":
                completed = jnp.sqrt(completed)
                remaining = remaining / (1 + completed)  # (1 − x) / (1 + √x) = 1 − √x
            return steps.interpolate(peak, end_value, remaining, completed)

        return value

    return _warmed(
        init_value,
        peak_value,
        warmup_steps,
        [constant_schedule, decay],
        [steps.add(warmup_steps, stable_steps)],
        stable_steps=stable_steps,
        decay_steps=decay_steps,
        end_value=end_value,
    )


def _warmed(
    init_value: Any,
    peak_value: Any,
    warmup_steps: Any,
    pieces: list[Callable[[Any], Any]],
    boundaries: list[Any],
    **others: Any,
) -> Callable[[Any], Any]:
    """Return a line up to the peak, then the pieces that are made from the peak.

    A warmup known to be 0 makes no line.
    """
    arguments.numbers(init_value=init_value, peak_value=peak_value)
    arguments.lengths(0, warmup_steps=warmup_steps)
    curves, starts = [piece(peak_value) for piece in pieces], boundaries
    if not steps.is_zero(warmup_steps):
        curves = [linear_schedule(init_value, peak_value, warmup_steps), *curves]
        starts = [warmup_steps, *boundaries]
    return arguments.of_step(
        join_schedules(curves, starts),
        init_value=init_value,
        peak_value=peak_value,
        warmup_steps=warmup_steps,
        **others,
    )
