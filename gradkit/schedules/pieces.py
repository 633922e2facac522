"""Schedules made of pieces, one after the other.

| | pieces |
|---|---|
| ``join_schedules`` | any schedules, each from its own step 0 |
| ``linear_warmup`` | a line up to a schedule's first value, then the schedule |
| ``warmup_constant_schedule`` | a line, then its end |
| ``warmup_cosine_decay_schedule`` | a line, then half a cosine |
| ``warmup_exponential_decay_schedule`` | a line, then an exponential |
| ``warmup_stable_decay_schedule`` | a line, a plateau, a cooldown (linear, cosine or 1 − √) |
| ``piecewise_interpolate_schedule`` | lines or half cosines through given points |
| ``linear_onecycle_schedule`` | up, down, further down, in lines |
| ``cosine_onecycle_schedule`` | up and far down, in half cosines |

A piece sees only steps of its own, from 0 to its length: what it would be elsewhere (infinite, say) reaches neither values nor gradients.
"""

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import schedule
from gradkit.schedules import _steps as steps
from gradkit.schedules.decay import constant_schedule, exponential_decay, linear_schedule


@schedule
def join_schedules(schedules: Sequence[Any], boundaries: Sequence[int]) -> Callable[[Any], Any]:
    """Schedules one after the other.

    **Rule** α_t = s_i(step − b_i) for b_i ≤ step < b_{i+1}, with b_0 = 0.

    Args:
      schedules: schedules, functions of the step, or numbers; each begins at its own step 0.
      boundaries: the steps where the second, third, ... begin: one fewer than schedules, not falling. Equal ones leave a piece of length 0, which is skipped.

    Raises:
      ValueError: no schedule, a wrong number of boundaries, boundaries that fall or lie below 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.join_schedules([gk.linear_schedule(0.0, 1.0, 4), 0.5], [4])
      >>> assert [float(rate(t)) for t in (0, 2, 3, 4, 9)] == [0.0, 0.5, 0.75, 0.5, 0.5]

    **Differs** from optax: numbers may stand for constants; a piece is never asked outside of its own steps.
    """
    _check_pieces(schedules, boundaries)

    def value(step: Any) -> Any:
        step = steps.as_step(step)
        starts = [0, *boundaries]
        result = None
        for i, (piece, start) in enumerate(zip(schedules, starts)):
            if steps.beyond(start, step):
                break
            length = None if i == len(boundaries) else boundaries[i] - start
            here = steps.at(piece, steps.since(step, start, length))
            result = here if result is None else jnp.where(step < steps.like(start, step), result, here)
        return result

    return value


def _check_pieces(schedules: Any, boundaries: Any) -> None:
    if not isinstance(schedules, (list, tuple)) or not isinstance(boundaries, (list, tuple)):
        check.fail("needs a list of schedules and a list of boundaries", f"{type(schedules).__name__} and {type(boundaries).__name__}", error=TypeError)
    if not schedules or len(boundaries) != len(schedules) - 1:
        check.fail("needs one boundary fewer than schedules", f"{len(boundaries)} for {len(schedules)}", path="boundaries")
    for i, piece in enumerate(schedules):
        if not callable(piece) and not numerics.is_number(piece):
            check.fail("needs schedules, functions of the step and numbers", repr(piece), path=f"schedules[{i}]", error=TypeError)
    for i, boundary in enumerate(boundaries):
        check.integer(0, "A boundary is a step", **{f"boundaries[{i}]": boundary})
    for before, after in itertools.pairwise(boundaries):
        if isinstance(before, (int, float)) and isinstance(after, (int, float)) and before > after:
            check.fail("needs boundaries that do not fall", repr(list(boundaries)), path="boundaries")


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
        check.fail("needs a schedule, a function of the step or a number", repr(schedule), path="schedule", error=TypeError)
    check.integer(0, warmup_steps=warmup_steps)

    def value(step: Any) -> Any:
        step = steps.as_step(step)
        after = steps.at(schedule, steps.since(step, warmup_steps))
        if steps.is_zero(warmup_steps):
            return after
        risen = steps.ratio(steps.since(step, 0, warmup_steps), 1) + 1
        length = jnp.maximum(steps.number(warmup_steps) * 1.0, 1.0)
        return jnp.where(step < steps.like(warmup_steps, step), after * jnp.minimum(risen / length, 1), after)

    return value


def _warmed(init_value: Any, peak_value: Any, warmup_steps: Any, pieces: list[Any], boundaries: list[Any]) -> Any:
    """A line up to the peak, then the pieces; no line when the warmup is known to be 0."""
    if not steps.is_zero(warmup_steps):
        pieces, boundaries = [linear_schedule(init_value, peak_value, warmup_steps), *pieces], [warmup_steps, *boundaries]
    return join_schedules(pieces, boundaries)


@schedule
def warmup_constant_schedule(init_value: Any, peak_value: Any, warmup_steps: int) -> Callable[[Any], Any]:
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
    init_value: Any, peak_value: Any, warmup_steps: int, decay_steps: int, end_value: Any = 0.0, exponent: Any = 1.0
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
    steps.numbers(init_value=init_value, peak_value=peak_value, end_value=end_value, exponent=exponent)
    check.positive(exponent=exponent)
    check.integer(0, warmup_steps=warmup_steps)
    check.integer(1, decay_steps=decay_steps)
    if all(isinstance(count, (int, float)) for count in (warmup_steps, decay_steps)) and decay_steps <= warmup_steps:
        check.fail("needs decay_steps > warmup_steps", f"{decay_steps!r} and {warmup_steps!r}", "decay_steps is the length of the whole, warmup included")
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
    decay = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return _warmed(init_value, peak_value, warmup_steps, [decay], [])


@schedule
def warmup_stable_decay_schedule(
    init_value: Any, peak_value: Any, warmup_steps: int, stable_steps: int, decay_steps: int, end_value: Any = 0.0, cooldown: str = "linear"
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

    return _warmed(init_value, peak_value, warmup_steps, [constant_schedule(peak_value), value], [warmup_steps + stable_steps])


def _through(step: Any, boundaries: Sequence[Any], values: Sequence[Any], kind: str) -> Any:
    """The curve that starts at the first value and has the next one at each boundary."""
    starts = [0, *boundaries]
    lengths = [*(after - before for before, after in itertools.pairwise(starts)), 1]
    index, left, done = steps.segment(steps.as_step(step), starts, lengths)
    if kind == "cosine":
        left, done = steps.cosine(left, done)
    table = jnp.stack([jnp.asarray(v, steps.default_float()) for v in (*values, values[-1])])
    return steps.blend(table[index], table[index + 1], left, done)


@schedule
def piecewise_interpolate_schedule(interpolate_type: str, init_value: Any, boundaries_and_scales: dict[int, Any] | None = None) -> Callable[[Any], Any]:
    """Lines or half cosines through points given by their scales.

    **Rule** v_0 = I at step 0, v_i = v_{i−1} s_i at step b_i, between them a line or half a cosine, after the last boundary its value.

    Args:
      interpolate_type: ``"linear"`` or ``"cosine"``.
      init_value: I, a finite number.
      boundaries_and_scales: ``{b_i: s_i}``, steps b_i ≥ 0 and scales s_i ≥ 0. The scales are data, the boundaries structure.

    Raises:
      ValueError: an unknown type, a boundary or a scale below 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.piecewise_interpolate_schedule("linear", 1.0, {10: 0.5, 20: 0.5})
      >>> assert [float(rate(t)) for t in (0, 5, 10, 15, 20, 99)] == [1.0, 0.75, 0.5, 0.375, 0.25, 0.25]
    """
    check.one_of(("linear", "cosine"), interpolate_type=interpolate_type)
    steps.numbers(init_value=init_value)
    boundaries, scales = steps.sorted_boundaries(boundaries_and_scales)

    def value(step: Any) -> Any:
        values = list(itertools.accumulate(map(steps.number, scales), operator.mul, initial=steps.number(init_value)))
        return _through(step, boundaries, values, interpolate_type)

    return value


def _boundary(fraction: Any, length: Any) -> Any:
    """⌊fraction · length⌋, where a rounding error of float32 below a whole step counts as that step: eager and jitted agree."""
    if isinstance(fraction, (int, float)) and isinstance(length, (int, float)):
        return int(fraction * length + min(fraction * length * 2.0**-22, 0.1))
    boundary = steps.number(fraction) * steps.number(length)
    return jnp.floor(boundary + jnp.minimum(boundary * 2.0**-22, 0.1))


def _check_onecycle(transition_steps: Any, peak_value: Any, fractions: dict[str, Any], divisors: dict[str, Any]) -> None:
    check.integer(1, transition_steps=transition_steps)
    steps.numbers(peak_value=peak_value, **fractions, **divisors)
    check.probability(**fractions)
    check.positive(**divisors)


@schedule
def linear_onecycle_schedule(
    transition_steps: int, peak_value: Any, pct_start: Any = 0.3, pct_final: Any = 0.85, div_factor: Any = 25.0, final_div_factor: Any = 1e4
) -> Callable[[Any], Any]:
    """One cycle in lines: up to the peak, back down, and further down.

    **Rule** lines through P/d at step 0, P at ⌊p₁T⌋, P/d at ⌊p₂T⌋ and P/(d f) at T, which stays.

    Args:
      transition_steps: T ≥ 1, the length of the cycle.
      peak_value: P.
      pct_start: p₁ in [0, 1], the fraction of T that rises.
      pct_final: p₂ in [p₁, 1], the fraction of T after which the last phase begins.
      div_factor: d > 0.
      final_div_factor: f > 0.

    Raises:
      ValueError: a length below 1, fractions out of order or outside [0, 1], divisors not above 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.linear_onecycle_schedule(100, 1.0, div_factor=4.0, final_div_factor=2.0)
      >>> assert [float(rate(t)) for t in (0, 30, 85, 100)] == [0.25, 1.0, 0.25, 0.125]

    **Differs** from optax: a boundary a rounding error below a whole step (0.29 · 100) is that step; phases of no length keep their scale.

    Reference: Smith and Topin 2017, https://arxiv.org/abs/1708.07120.
    """
    _check_onecycle(
        transition_steps,
        peak_value,
        {"pct_start": pct_start, "pct_final": pct_final},
        {"div_factor": div_factor, "final_div_factor": final_div_factor},
    )
    if isinstance(pct_start, (int, float)) and isinstance(pct_final, (int, float)) and pct_start > pct_final:
        check.fail("needs pct_start <= pct_final", f"{pct_start!r} and {pct_final!r}", path="pct_start")

    def value(step: Any) -> Any:
        peak, first, last = map(steps.number, (peak_value, div_factor, final_div_factor))
        boundaries = [_boundary(pct_start, transition_steps), _boundary(pct_final, transition_steps), transition_steps]
        return _through(step, boundaries, [peak / first, peak, peak / first, peak / first / last], "linear")

    return value


@schedule
def cosine_onecycle_schedule(
    transition_steps: int, peak_value: Any, pct_start: Any = 0.3, div_factor: Any = 25.0, final_div_factor: Any = 1e4
) -> Callable[[Any], Any]:
    """One cycle in half cosines: up to the peak and far down.

    **Rule** half cosines through P/d at step 0, P at ⌊p₁T⌋ and P/(d f) at T, which stays.

    Args:
      transition_steps: T ≥ 1, the length of the cycle.
      peak_value: P.
      pct_start: p₁ in [0, 1], the fraction of T that rises.
      div_factor: d > 0.
      final_div_factor: f > 0.

    Raises:
      ValueError: a length below 1, a fraction outside [0, 1], divisors not above 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.cosine_onecycle_schedule(100, 1.0, div_factor=4.0, final_div_factor=2.0)
      >>> assert [round(float(rate(t)), 6) for t in (0, 15, 30, 100)] == [0.25, 0.625, 1.0, 0.125]

    **Differs** from optax: a boundary a rounding error below a whole step (0.29 · 100) is that step; phases of no length keep their scale.

    Reference: Smith and Topin 2017, https://arxiv.org/abs/1708.07120.
    """
    _check_onecycle(transition_steps, peak_value, {"pct_start": pct_start}, {"div_factor": div_factor, "final_div_factor": final_div_factor})

    def value(step: Any) -> Any:
        peak, first, last = map(steps.number, (peak_value, div_factor, final_div_factor))
        boundaries = [_boundary(pct_start, transition_steps), transition_steps]
        return _through(step, boundaries, [peak / first, peak, peak / first / last], "cosine")

    return value
