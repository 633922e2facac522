"""Warmup."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import schedule
from gradkit.schedules import _steps as steps
from gradkit.schedules.constant import constant_schedule
from gradkit.schedules.decay import exponential_decay, linear_schedule
from gradkit.schedules.join import join_schedules


@schedule
def linear_warmup(schedule: Any, warmup_steps: int) -> Callable[[Any], Any]:
    """Gradual warmup in front of any schedule.

    **Rule** α_t = (t/W) s(0) for t = 1 … W, where t = step + 1 counts from 1, then s from its own step 0: s(step − W). The first update already moves, with
    s(0)/W, and the last of the warmup has s(0), as in the lectures. ``linear_warmup(1.0, W) * s`` lets s run on below the warmup instead.

    Args:
      schedule: s, a schedule, a function of the step or a number.
      warmup_steps: W ≥ 0; 0 is no warmup.

    Raises:
      ValueError: a warmup below 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.linear_warmup(gk.exponential_decay(0.8, 1, 0.5), 4)
      >>> assert [round(float(rate(t)), 4) for t in range(7)] == [0.2, 0.4, 0.6, 0.8, 0.8, 0.4, 0.2]

    Reference: Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.2.
    """
    if not callable(schedule) and not numerics.is_number(schedule):
        check.fail(
            "needs a schedule, a function of the step or a number",
            repr(schedule),
            path="schedule",
            error=TypeError,
        )
    check.integer(0, warmup_steps=warmup_steps)

    def value(step: Any) -> Any:
        step = steps.as_step(step)
        after = steps.at(schedule, steps.since(step, warmup_steps))
        if steps.is_zero(warmup_steps):
            return after
        risen = steps.ratio(steps.since(step, 0, warmup_steps), 1) + 1
        length = jnp.maximum(steps.number(warmup_steps) * 1.0, 1.0)
        return jnp.where(
            step < steps.like(warmup_steps, step), after * jnp.minimum(risen / length, 1), after
        )

    return value


def _warmed(
    init_value: Any, peak_value: Any, warmup_steps: Any, pieces: list[Any], boundaries: list[Any]
) -> Any:
    """A line up to the peak, then the pieces; no line when the warmup is known to be 0."""
    if not steps.is_zero(warmup_steps):
        pieces, boundaries = (
            [linear_schedule(init_value, peak_value, warmup_steps), *pieces],
            [warmup_steps, *boundaries],
        )
    return join_schedules(pieces, boundaries)


@schedule
def warmup_constant_schedule(
    init_value: Any, peak_value: Any, warmup_steps: int
) -> Callable[[Any], Any]:
    """A line up to a value that stays.

    **Rule** α_t = I + (P − I) t/W for t ≤ W, then P.

    Args:
      init_value: I, the value at step 0.
      peak_value: P, the value from step W on.
      warmup_steps: W ≥ 0; 0 is no warmup.

    Raises:
      ValueError: a warmup below 0.

    Example:
      >>> import gradkit as gk
      >>> assert [float(gk.warmup_constant_schedule(0.0, 1.0, 4)(t)) for t in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]

    **Differs** from optax: without warmup it is P at once, where optax stays at I for ever.
    """
    steps.numbers(init_value=init_value, peak_value=peak_value)
    check.integer(0, warmup_steps=warmup_steps)
    return _warmed(init_value, peak_value, warmup_steps, [constant_schedule(peak_value)], [])


@schedule
def warmup_cosine_decay_schedule(
    init_value: Any,
    peak_value: Any,
    warmup_steps: int,
    decay_steps: int,
    end_value: Any = 0.0,
    exponent: Any = 1.0,
) -> Callable[[Any], Any]:
    """A line up, then half a cosine down.

    **Rule** α_t = I + (P − I) t/W for t ≤ W; then E + (P − E) w^p, w = (1 + cos(π (t − W)/(D − W))) / 2, up to t = D; then E.

    Args:
      init_value: I, the value at step 0.
      peak_value: P, the value at step W.
      warmup_steps: W ≥ 0; 0 is no warmup.
      decay_steps: D > W, the length of the whole, warmup included.
      end_value: E, the value from step D on.
      exponent: p > 0.

    Raises:
      ValueError: a warmup below 0, a length not above the warmup, an exponent not above 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.warmup_cosine_decay_schedule(0.0, 1.0, 10, 110)
      >>> assert [round(float(rate(t)), 6) for t in (0, 5, 10, 60, 110)] == [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    steps.numbers(
        init_value=init_value, peak_value=peak_value, end_value=end_value, exponent=exponent
    )
    check.positive(exponent=exponent)
    check.integer(0, warmup_steps=warmup_steps)
    check.integer(1, decay_steps=decay_steps)
    if (
        all(isinstance(count, (int, float)) for count in (warmup_steps, decay_steps))
        and decay_steps <= warmup_steps
    ):
        check.fail(
            "needs decay_steps > warmup_steps",
            f"{decay_steps!r} and {warmup_steps!r}",
            "decay_steps is the length of the whole, warmup included",
        )
    length = decay_steps - warmup_steps

    def value(step: Any) -> Any:
        weights = steps.cosine(*steps.parts(steps.since(steps.as_step(step), 0, length), length))
        return steps.blend(peak_value, end_value, *weights, exponent)

    return _warmed(init_value, peak_value, warmup_steps, [value], [])


@schedule
def warmup_exponential_decay_schedule(
    init_value: Any,
    peak_value: Any,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: Any,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Callable[[Any], Any]:
    """A line up, then an exponential decay.

    **Rule** α_t = I + (P − I) t/W for t ≤ W, then `exponential_decay` from P, counted from step W.

    Args:
      init_value: I, the value at step 0.
      peak_value: P, the value at step W.
      warmup_steps: W ≥ 0; 0 is no warmup.
      transition_steps: T ≥ 1, the steps in which the value then changes by the factor r.
      decay_rate: r > 0.
      transition_begin: steps ≥ 0 at P before the decay begins.
      staircase: whether it falls in stairs of T steps.
      end_value: the bound where it stops, or None.

    Raises:
      ValueError: a warmup or a beginning below 0, a length below 1, a rate not above 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.warmup_exponential_decay_schedule(0.0, 1.0, 4, 10, 0.25)
      >>> assert [round(float(rate(t)), 6) for t in (2, 4, 9, 14)] == [0.5, 1.0, 0.5, 0.25]
    """
    steps.numbers(init_value=init_value, peak_value=peak_value)
    check.integer(0, warmup_steps=warmup_steps)
    decay = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return _warmed(init_value, peak_value, warmup_steps, [decay], [])


@schedule
def warmup_stable_decay_schedule(
    init_value: Any,
    peak_value: Any,
    warmup_steps: int,
    stable_steps: int,
    decay_steps: int,
    end_value: Any = 0.0,
    cooldown: str = "linear",
) -> Callable[[Any], Any]:
    """A line up, a plateau, a cooldown (WSD): a run whose length is decided at the end of the plateau.

    **Rule** α_t = I + (P − I) t/W for t ≤ W; P for S steps; then E + (P − E) c(x) with x the part of the cooldown's D steps that is done, and
    c(x) = 1 − x (``linear``), (1 + cos πx)/2 (``cosine``) or 1 − √x (``1-sqrt``); then E.

    Args:
      init_value: I, the value at step 0.
      peak_value: P, the value of the plateau.
      warmup_steps: W ≥ 0; 0 is no warmup.
      stable_steps: S ≥ 0, the length of the plateau.
      decay_steps: D ≥ 1, the length of the cooldown alone.
      end_value: E, the value from step W + S + D on.
      cooldown: the shape of the cooldown.

    Raises:
      ValueError: a warmup or a plateau below 0, a cooldown below 1, an unknown shape.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.warmup_stable_decay_schedule(0.0, 1.0, 10, 80, 100, cooldown="1-sqrt")
      >>> assert [float(rate(t)) for t in (5, 10, 90, 115, 190)] == [0.5, 1.0, 1.0, 0.5, 0.0]

    Reference: Hu et al. 2024, https://arxiv.org/abs/2404.06395; Hägele et al. 2024, https://arxiv.org/abs/2405.18392 (the 1 − √ cooldown).
    """
    steps.numbers(init_value=init_value, peak_value=peak_value, end_value=end_value)
    check.integer(0, warmup_steps=warmup_steps, stable_steps=stable_steps)
    check.integer(1, decay_steps=decay_steps)
    check.one_of(("linear", "cosine", "1-sqrt"), cooldown=cooldown)

    def value(step: Any) -> Any:
        left, done = steps.parts(steps.since(steps.as_step(step), 0, decay_steps), decay_steps)
        if cooldown == "cosine":
            left, done = steps.cosine(left, done)
        elif cooldown == "1-sqrt":
            done = jnp.sqrt(done)
            left = left / (1 + done)  # (1 − x) / (1 + √x) = 1 − √x
        return steps.blend(peak_value, end_value, left, done)

    return _warmed(
        init_value,
        peak_value,
        warmup_steps,
        [constant_schedule(peak_value), value],
        [warmup_steps + stable_steps],
    )
