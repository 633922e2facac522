"""One-cycle schedules: up to a peak and far down, once."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit._schedule import schedule
from gradkit.schedules import _arguments as arguments
from gradkit.schedules import _steps as steps
from gradkit.typing import Scalar


@schedule
def linear_onecycle_schedule(
    transition_steps: Scalar,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    pct_final: Scalar = 0.85,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
) -> Callable[[Any], Any]:
    """One cycle in lines: rise to the peak, return to the start, then fall far below it.

    **Value** lines through P/d at step 0, P at ⌊p₁T⌋, P/d at ⌊p₂T⌋ and P/(d f) at T; then P/(d f).

    Args:
      transition_steps: T > 0, the length of the cycle: an int, a float or an array.
      peak_value: P, a finite number.
      pct_start: p₁ in [0, 1], the fraction of T in which the value rises.
      pct_final: p₂ in [p₁, 1], the fraction of T after which the last phase begins.
      div_factor: d > 0.
      final_div_factor: f > 0.

    Raises:
      ValueError: a length or a divisor not above 0, fractions out of order or outside [0, 1].
      TypeError: an argument that is not a number.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.linear_onecycle_schedule(100, 1.0, div_factor=4.0, final_div_factor=2.0)
      >>> assert [float(rate(t)) for t in (0, 30, 85, 100)] == [0.25, 1.0, 0.25, 0.125]

    **Differs from optax**: a boundary that a rounding error puts below a whole step (0.29 · 100) is
    that step; phases of length 0 keep their scale; fractions outside [0, 1] or out of order are
    refused.

    Reference: Smith and Topin 2017, https://arxiv.org/abs/1708.07120.
    """
    fractions = {"pct_start": pct_start, "pct_final": pct_final}
    divisors = {"div_factor": div_factor, "final_div_factor": final_div_factor}
    _check_onecycle(transition_steps, peak_value, fractions, divisors)
    if steps.is_known(pct_start) and steps.is_known(pct_final) and pct_start > pct_final:
        check.refuse(
            f"pct_start={pct_start!r} and pct_final={pct_final!r} are out of order",
            expected="pct_start <= pct_final",
        )

    def value(step: Any) -> Any:
        peak, first, last = map(steps.as_float, (peak_value, div_factor, final_div_factor))
        values = [peak / first, peak, peak / first, peak / first / last]
        ends = [_boundary(pct, transition_steps) for pct in (pct_start, pct_final)]
        return _through(step, [*ends, transition_steps], values, "linear")

    return arguments.of_step(
        value, transition_steps=transition_steps, peak_value=peak_value, **fractions, **divisors
    )


@schedule
def cosine_onecycle_schedule(
    transition_steps: Scalar,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
) -> Callable[[Any], Any]:
    """One cycle in half cosines: rise to the peak, then fall far below the start.

    **Value** half cosines through P/d at step 0, P at ⌊p₁T⌋ and P/(d f) at ⌊T⌋; then P/(d f).

    Args:
      transition_steps: T > 0, the length of the cycle: an int, a float or an array.
      peak_value: P, a finite number.
      pct_start: p₁ in [0, 1], the fraction of T in which the value rises.
      div_factor: d > 0.
      final_div_factor: f > 0.

    Raises:
      ValueError: a length or a divisor not above 0, a fraction outside [0, 1].
      TypeError: an argument that is not a number.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.cosine_onecycle_schedule(100, 1.0, div_factor=4.0, final_div_factor=2.0)
      >>> assert [round(float(rate(t)), 6) for t in (0, 15, 30, 100)] == [0.25, 0.625, 1.0, 0.125]

    **Differs from optax**: a boundary that a rounding error puts below a whole step (0.29 · 100) is
    that step; phases of length 0 keep their scale; fractions outside [0, 1] are refused.

    Reference: Smith and Topin 2017, https://arxiv.org/abs/1708.07120.
    """
    fractions = {"pct_start": pct_start}
    divisors = {"div_factor": div_factor, "final_div_factor": final_div_factor}
    _check_onecycle(transition_steps, peak_value, fractions, divisors)

    def value(step: Any) -> Any:
        peak, first, last = map(steps.as_float, (peak_value, div_factor, final_div_factor))
        ends = [_boundary(pct_start, transition_steps), _boundary(1, transition_steps)]
        return _through(step, ends, [peak / first, peak, peak / first / last], "cosine")

    return arguments.of_step(
        value, transition_steps=transition_steps, peak_value=peak_value, **fractions, **divisors
    )


def _check_onecycle(
    transition_steps: Any, peak_value: Any, fractions: dict[str, Any], divisors: dict[str, Any]
) -> None:
    arguments.lengths(1, transition_steps=transition_steps)
    arguments.numbers(peak_value=peak_value, **fractions, **divisors)
    check.probability(**fractions)
    check.positive(**divisors)


def _boundary(fraction: Any, length: Any) -> Any:
    """Return ⌊fraction · length⌋, the same eagerly and under jit.

    A product that lies a rounding error of float32 below an integer counts as that integer.
    """
    if isinstance(fraction, int) and fraction == 1 and isinstance(length, int):
        return length
    if steps.is_known(fraction) and steps.is_known(length):
        return int(fraction * length + min(fraction * length * 2.0**-22, 0.1))
    boundary = steps.as_float(fraction) * steps.as_float(length)
    whole = jnp.floor(boundary + jnp.minimum(boundary * 2.0**-22, 0.1))
    return whole.astype(jnp.result_type(int))


def _through(step: Any, boundaries: Sequence[Any], values: Sequence[Any], kind: str) -> Any:
    """Return the curve from the first value to the next one at each boundary."""
    lengths = [steps.subtract(b, a) for a, b in itertools.pairwise([0, *boundaries])]
    ends = [*values[1:], values[-1]]
    return steps.interpolate_through(step, [*lengths, 1], values, ends, [kind] * len(values))[1]
