"""Onecycle."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit._schedule import schedule
from gradkit.schedules import _steps as steps
from gradkit.schedules.join import _through


def _boundary(fraction: Any, length: Any) -> Any:
    """⌊fraction · length⌋, where a rounding error of float32 below a whole step counts as that step: eager and jitted agree."""
    if isinstance(fraction, (int, float)) and isinstance(length, (int, float)):
        return int(fraction * length + min(fraction * length * 2.0**-22, 0.1))
    boundary = steps.number(fraction) * steps.number(length)
    return jnp.floor(boundary + jnp.minimum(boundary * 2.0**-22, 0.1))


def _check_onecycle(
    transition_steps: Any, peak_value: Any, fractions: dict[str, Any], divisors: dict[str, Any]
) -> None:
    check.integer(1, transition_steps=transition_steps)
    steps.numbers(peak_value=peak_value, **fractions, **divisors)
    check.probability(**fractions)
    check.positive(**divisors)


@schedule
def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: Any,
    pct_start: Any = 0.3,
    pct_final: Any = 0.85,
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
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
    if (
        isinstance(pct_start, (int, float))
        and isinstance(pct_final, (int, float))
        and pct_start > pct_final
    ):
        check.fail(
            "needs pct_start <= pct_final", f"{pct_start!r} and {pct_final!r}", path="pct_start"
        )

    def value(step: Any) -> Any:
        peak, first, last = map(steps.number, (peak_value, div_factor, final_div_factor))
        boundaries = [
            _boundary(pct_start, transition_steps),
            _boundary(pct_final, transition_steps),
            transition_steps,
        ]
        return _through(
            step, boundaries, [peak / first, peak, peak / first, peak / first / last], "linear"
        )

    return value


@schedule
def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: Any,
    pct_start: Any = 0.3,
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
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
    _check_onecycle(
        transition_steps,
        peak_value,
        {"pct_start": pct_start},
        {"div_factor": div_factor, "final_div_factor": final_div_factor},
    )

    def value(step: Any) -> Any:
        peak, first, last = map(steps.number, (peak_value, div_factor, final_div_factor))
        boundaries = [_boundary(pct_start, transition_steps), transition_steps]
        return _through(step, boundaries, [peak / first, peak, peak / first / last], "cosine")

    return value
