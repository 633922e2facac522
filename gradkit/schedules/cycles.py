"""Schedules with cycles and warm restarts.

m = 1, 2, … is the number of the period, t the number of steps since it began.

| | length of period m | within it |
|---|---|---|
| ``triangular_schedule`` | 2 ΔT | lines from α_min^m to α_max^m and back |
| ``warm_restarts_schedule`` | T_m = κ T_{m−1} | half a cosine from α_max^m to α_min^m |
| ``sgdr_schedule`` | as given | a line, then half a cosine, both as given |

In the first two, both bounds shrink by a factor per period: α^m = α^1 γ^(m−1).
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import schedule
from gradkit.schedules import _arguments as arguments
from gradkit.schedules import _steps as steps
from gradkit.schedules.warmup import end_of_cosine, warmup_cosine_decay_schedule
from gradkit.typing import Scalar


@schedule
def triangular_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    transition_steps: Scalar,
    decay_rate: Scalar = 1.0,
) -> Callable[[Any], Any]:
    """Cyclical learning rate: triangular cycles whose bounds shrink from cycle to cycle.

    **Value** α_t = γ^(m−1) [α_min + (α_max − α_min) (1 − b)], m = ⌊1 + t/(2ΔT)⌋,
    b = abs(t/ΔT − 2m + 1), t = step.

    Args:
      init_value: α_min, the value at both ends of the first cycle.
      peak_value: α_max, the value in the middle of the first cycle.
      transition_steps: ΔT > 0, half a cycle: an int, a float or an array.
      decay_rate: γ > 0, the factor on both bounds from one cycle to the next.
        ``a + triangular_schedule(0.0, b, ...)`` keeps the lower bound.

    Raises:
      ValueError: a length or a factor not above 0, or a value that is not finite.
      TypeError: an argument that is not a number.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.schedules.triangular_schedule(0.25, 1.0, 2, decay_rate=0.5)
      >>> assert [float(rate(t)) for t in range(6)] == [0.25, 0.625, 1.0, 0.625, 0.125, 0.3125]

    Reference: Smith 2017, https://arxiv.org/abs/1506.01186.
    """
    arguments.numbers(init_value=init_value, peak_value=peak_value, decay_rate=decay_rate)
    check.positive(decay_rate=decay_rate)
    arguments.lengths(1, transition_steps=transition_steps)

    def value(step: Any) -> Any:
        cycle, t = steps.cycle_and_offset(step, steps.add(transition_steps, transition_steps))
        # b ΔT = |t - ΔT|, in integers. Where ΔT is unreachable, the line is still rising.
        if steps.is_unreachable(transition_steps, t):
            down, up = steps.fractions(t, transition_steps)
        else:
            from_peak = steps.distance(t, transition_steps)
            up, down = steps.fractions(from_peak, transition_steps)
        return _shrinkage(decay_rate, cycle) * steps.interpolate(init_value, peak_value, down, up)

    return arguments.of_step(
        value,
        init_value=init_value,
        peak_value=peak_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
    )


def _shrinkage(factor: Any, count: Any) -> Any:
    """Return ``factor ** count``."""
    return steps.exponential(numerics.log(steps.as_float(factor)), count)


@schedule
def warm_restarts_schedule(
    init_value: Scalar,
    decay_steps: Scalar,
    t_mul: int = 2,
    m_mul: Scalar = 1.0,
    alpha: Scalar = 0.0,
) -> Callable[[Any], Any]:
    """Cosine decay with warm restarts (SGDR), in periods that grow, between bounds that shrink.

    **Value** α_t = γ^(m−1) I [a + (1 − a) (1 + cos(π t/T_m)) / 2], T_m = κ T_{m−1}, where t counts
    from the m-th start. The bounds of period m are α_max^m = γ^(m−1) I and α_min^m = a α_max^m.

    `sgdr_schedule` is the general form: ``sgdr_schedule([{"init_value": 0.0, "peak_value":
    γ^(m−1) I, "warmup_steps": 0, "decay_steps": T_m, "end_value": a γ^(m−1) I}, ...])`` has the
    same values over the periods that are listed.

    Args:
      init_value: I, the upper bound of the first period.
      decay_steps: T_1 > 0, the length of the first period: an int, a float or an array.
      t_mul: κ ≥ 1, an int: the growth of the periods.
      m_mul: γ > 0, the factor on both bounds from one period to the next.
      alpha: a, the lower bound as a fraction of the upper one.

    Raises:
      ValueError: a length or a factor not above 0, a growth below 1.
      TypeError: a growth that is not an int: the restarts are structure, exact at every step.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.schedules.warm_restarts_schedule(1.0, 10, t_mul=2, m_mul=0.5)
      >>> assert [round(float(rate(t)), 6) for t in (0, 5, 10, 20, 30)] == [1, 0.5, 0.5, 0.25, 0.25]

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """
    arguments.numbers(init_value=init_value, m_mul=m_mul, alpha=alpha)
    check.positive(m_mul=m_mul)
    arguments.lengths(1, decay_steps=decay_steps)
    if not isinstance(t_mul, int) or isinstance(t_mul, bool):
        check.refuse(
            f"t_mul={arguments.shown(t_mul)} is not an int",
            expected="an int >= 1, because it sets the steps of the restarts",
            fix="List the periods with sgdr_schedule for other lengths",
            error=TypeError,
        )
    if t_mul < 1:
        check.refuse(f"t_mul={t_mul} is out of range", expected="t_mul >= 1")

    def value(step: Any) -> Any:
        if t_mul > 1 and steps.is_known(decay_steps):
            lengths = [decay_steps * factor for factor in _factors(t_mul)]
            n = len(lengths)
            period, shape = steps.interpolate_through(
                step, lengths, [1.0] * n, [alpha] * n, ["cosine"] * n
            )
        else:
            period, t, length = _period(step, decay_steps, t_mul)
            weights = steps.cosine_weights(*steps.fractions(t, length))
            shape = steps.interpolate(1.0, alpha, *weights)
        return _shrinkage(m_mul, period) * steps.as_float(init_value) * shape

    return arguments.of_step(
        value, init_value=init_value, decay_steps=decay_steps, m_mul=m_mul, alpha=alpha
    )


def _factors(growth: int) -> list[int]:
    """Return the lengths of the periods up to the largest step of int64, in first periods.

    At a growth of 2 these are 63: a table replaces a search.
    """
    factors = [1]
    while factors[-1] * growth < 2**63:
        factors.append(factors[-1] * growth)
    return factors


def _period(step: Any, first: Any, growth: int) -> tuple[Any, Any, Any]:
    """Return the index of the period that holds the step, the step within it, and its length."""
    if growth == 1:
        return *steps.cycle_and_offset(step, first), first
    first = steps.as_float(first)  # as an integer, the product with a factor could overflow
    factors = np.array(_factors(growth), steps.default_float())
    starts = first * np.array([0, *itertools.accumulate(_factors(growth))][:-1], factors.dtype)
    step = step.astype(factors.dtype)
    before = jnp.expand_dims(starts, tuple(range(step.ndim)))
    index = jnp.maximum(jnp.sum(step[..., None] >= before, axis=-1, dtype=jnp.int32) - 1, 0)
    length = first * jnp.asarray(factors)[index]
    return index, jnp.clip(step - starts[index], 0, length), length


@schedule
def sgdr_schedule(cosine_kwargs: Sequence[dict[str, Any]]) -> Callable[[Any], Any]:
    """Cosine decay with warm restarts (SGDR), each period given by its own arguments.

    **Value** `warmup_cosine_decay_schedule` (**kwargs) for each period, one after the other. A
    period takes its ``decay_steps``; after the last one its end value stays.
    `warm_restarts_schedule` writes periods that grow and shrink by fixed factors in one line.

    Args:
      cosine_kwargs: a list of dicts of arguments of `warmup_cosine_decay_schedule`.

    Raises:
      ValueError: an empty list, or a value that a period refuses.
      TypeError: not a list of dicts, or an argument that is unknown or missing.

    Example:
      >>> import gradkit as gk
      >>> period = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 10}
      >>> rate = gk.sgdr_schedule([period, {**period, "peak_value": 0.5}])
      >>> assert [round(float(rate(t)), 6) for t in (0, 2, 6, 10, 12)] == [0.0, 1.0, 0.5, 0.0, 0.5]

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983.
    """
    if not isinstance(cosine_kwargs, (list, tuple)) or not all(
        isinstance(kwargs, dict) and all(isinstance(key, str) for key in kwargs)
        for kwargs in cosine_kwargs
    ):
        check.refuse(
            f"cosine_kwargs={arguments.shown(cosine_kwargs)} is not a list of dicts",
            expected="one dict of arguments of warmup_cosine_decay_schedule for each period",
            error=TypeError,
        )
    if not cosine_kwargs:
        check.refuse(f"cosine_kwargs={cosine_kwargs!r} is empty", expected="at least one period")
    periods = [warmup_cosine_decay_schedule(**kwargs).arguments for kwargs in cosine_kwargs]

    def value(step: Any) -> Any:
        lengths, begins, ends, powers = [], [], [], []
        for p in periods:
            lengths += [p["warmup_steps"], steps.subtract(p["decay_steps"], p["warmup_steps"])]
            begins += [p["init_value"], p["peak_value"]]
            ends += [p["peak_value"], end_of_cosine(p["peak_value"], p["end_value"])]
            powers += [1, p["exponent"]]
        kinds = ["linear", "cosine"] * len(periods)
        return steps.interpolate_through(step, lengths, begins, ends, kinds, powers)[1]

    scalars = {f"cosine_kwargs[{i}][{k!r}]": v for i, p in enumerate(periods) for k, v in p.items()}
    return arguments.of_step(value, **scalars)
