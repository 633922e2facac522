"""Schedules that come back up: cycles and restarts.

m = 1, 2, … is the number of the period, t the steps since it began.

| | length of period m | within it |
|---|---|---|
| ``triangular_schedule`` | 2 ΔT | a line up, a line down, between α_min^m and α_max^m |
| ``warm_restarts_schedule`` | T_m = κ T_{m−1} | half a cosine from α_max^m to α_min^m |
| ``sgdr_schedule`` | as given | a line up, half a cosine down, as given |

The lectures let both bounds fall from period to period: here by a factor, α^m = α^1 γ^(m−1).
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import schedule
from gradkit.schedules import _steps as steps
from gradkit.schedules.join import join_schedules
from gradkit.schedules.warmup import warmup_cosine_decay_schedule


@schedule
def triangular_schedule(
    init_value: Any, peak_value: Any, transition_steps: int, decay_rate: Any = 1.0
) -> Callable[[Any], Any]:
    """Triangular cycles whose bounds shrink from cycle to cycle.

    **Rule** α_t = γ^(m−1) [α_min + (α_max − α_min) (1 − b)], m = ⌊1 + t/(2ΔT)⌋, b = abs(t/ΔT − 2m + 1), t = step.

    Args:
      init_value: α_min, the lower bound of the first cycle, where it begins and ends.
      peak_value: α_max, its upper bound.
      transition_steps: ΔT ≥ 1, half a cycle.
      decay_rate: γ > 0, the factor on both bounds from one cycle to the next. ``a + triangular_schedule(0.0, b, ...)`` keeps the lower bound.

    Raises:
      ValueError: a length below 1, a factor not above 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.triangular_schedule(0.25, 1.0, 2, decay_rate=0.5)
      >>> assert [float(rate(t)) for t in range(8)] == [0.25, 0.625, 1.0, 0.625, 0.125, 0.3125, 0.5, 0.3125]

    Reference: Smith 2017, https://arxiv.org/abs/1506.01186.
    """
    steps.numbers(init_value=init_value, peak_value=peak_value, decay_rate=decay_rate)
    check.positive(decay_rate=decay_rate)
    check.integer(1, transition_steps=transition_steps)

    def value(step: Any) -> Any:
        cycle, t = steps.cycle(steps.as_step(step), 2 * transition_steps)
        # b ΔT = |t - ΔT|, in integers. Where ΔT is beyond the clock, the line is still rising.
        if steps.beyond(transition_steps, t):
            down, up = steps.parts(t, transition_steps)
        else:
            down, up = _swap(
                steps.parts(jnp.abs(t - steps.like(transition_steps, t)), transition_steps)
            )
        return _shrunk(decay_rate, cycle) * steps.blend(init_value, peak_value, down, up)

    return value


def _swap(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    return pair[1], pair[0]


def _shrunk(factor: Any, count: Any) -> Any:
    """``factor ** count``."""
    return steps.exponential(numerics.log(steps.number(factor)), count)


@schedule
def warm_restarts_schedule(
    init_value: Any, decay_steps: int, t_mul: int = 2, m_mul: Any = 1.0, alpha: Any = 0.0
) -> Callable[[Any], Any]:
    """Cosine decay that starts again, in periods that grow, from bounds that shrink (SGDR).

    **Rule** α_t = γ^(m−1) I [a + (1 − a) (1 + cos(π t/T_m)) / 2], T_m = κ T_{m−1}, where t counts from the m-th start. In the lectures' symbols
    α_max^m = γ^(m−1) I and α_min^m = a α_max^m.

    Args:
      init_value: I, the upper bound of the first period.
      decay_steps: T_1 ≥ 1, the length of the first period.
      t_mul: κ ≥ 1, a whole number: the growth of the periods.
      m_mul: γ > 0, the factor on both bounds from one period to the next.
      alpha: a, the lower bound as a fraction of the upper.

    Raises:
      ValueError: a length or a growth below 1, a factor not above 0.
      TypeError: a growth that is not an int: the restarts are structure, exact at every step.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.warm_restarts_schedule(1.0, 10, t_mul=2, m_mul=0.5)  # restarts at 10, 30, 70, ...
      >>> assert [round(float(rate(t)), 6) for t in (0, 5, 10, 20, 30)] == [1.0, 0.5, 0.5, 0.25, 0.25]

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """
    steps.numbers(init_value=init_value, m_mul=m_mul, alpha=alpha)
    check.positive(m_mul=m_mul)
    check.integer(1, decay_steps=decay_steps)
    if not isinstance(t_mul, int):
        mend = "Join cosine_decay_schedule pieces for other lengths"
        check.fail(
            "needs a whole number >= 1 (an int, for it sets where the restarts are)",
            repr(t_mul),
            mend,
            path="t_mul",
            error=TypeError,
        )
    check.integer(1, t_mul=t_mul)

    def value(step: Any) -> Any:
        step = steps.as_step(step)
        if t_mul == 1:
            period, t = steps.cycle(step, decay_steps)
            left, done = steps.parts(t, decay_steps)
        else:
            # Doubling, the clock is full after 31 periods (63 in int64): they are a table, and no step is searched for.
            lengths = [decay_steps * t_mul**m for m in range(64)]
            period, left, done = steps.segment(
                step, list(itertools.accumulate(lengths, initial=0))[:-1], lengths
            )
        left, done = steps.cosine(left, done)
        return (
            _shrunk(m_mul, period) * steps.number(init_value) * steps.blend(1.0, alpha, left, done)
        )

    return value


@schedule
def sgdr_schedule(cosine_kwargs: Sequence[dict[str, Any]]) -> Callable[[Any], Any]:
    """Warm restarts with every period described by itself.

    **Rule** `warmup_cosine_decay_schedule` (**kwargs) for each period, one after the other; a period takes its ``decay_steps``.

    Args:
      cosine_kwargs: a list of dicts of arguments of `warmup_cosine_decay_schedule`.

    Raises:
      ValueError: an empty list, or what a period refuses.
      TypeError: not a list of dicts, an argument unknown or missing.

    Example:
      >>> import gradkit as gk
      >>> period = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 10}
      >>> rate = gk.sgdr_schedule([period, {**period, "peak_value": 0.5}])
      >>> assert [round(float(rate(t)), 6) for t in (0, 2, 6, 10, 12, 16)] == [0.0, 1.0, 0.5, 0.0, 0.5, 0.25]

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """
    if not isinstance(cosine_kwargs, (list, tuple)) or not all(
        isinstance(kwargs, dict) for kwargs in cosine_kwargs
    ):
        mend = "One dict of arguments of warmup_cosine_decay_schedule per period"
        check.fail(
            "needs a list of dicts",
            repr(cosine_kwargs),
            mend,
            path="cosine_kwargs",
            error=TypeError,
        )
    if not cosine_kwargs:
        check.fail("needs at least one period", "none", path="cosine_kwargs")
    pieces = [warmup_cosine_decay_schedule(**kwargs) for kwargs in cosine_kwargs]
    ends = list(itertools.accumulate(kwargs["decay_steps"] for kwargs in cosine_kwargs))
    return join_schedules(pieces, ends[:-1])
