"""Schedules made of pieces."""

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit._schedule import schedule, value_at
from gradkit.schedules import _arguments as arguments
from gradkit.schedules import _steps as steps
from gradkit.typing import Rate, Scalar


@schedule
def join_schedules(schedules: Sequence[Rate], boundaries: Sequence[Scalar]) -> Callable[[Any], Any]:
    """Run several schedules one after the other.

    **Value** α_t = s_i(step − b_i) for b_i ≤ step < b_{i+1}, with b_0 = 0.

    Args:
      schedules: schedules, functions of the step, or numbers; each begins at its own step 0.
      boundaries: the steps at which the second, third, ... schedule begins: one fewer than
        schedules, in increasing order. Equal boundaries make a piece of length 0, which is skipped:
        ``join_schedules([linear_schedule(0.0, lr, warmup), decay], [warmup])`` also runs with
        ``warmup = 0``.

    Raises:
      ValueError: no schedule, a wrong number of boundaries, a boundary below 0 or below the one
        before it.
      TypeError: a piece that is not a schedule, a boundary that is not a number.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.join_schedules([gk.linear_schedule(0.0, 1.0, 4), 0.5], [4])
      >>> assert [float(rate(t)) for t in (0, 2, 3, 4, 9)] == [0.0, 0.5, 0.75, 0.5, 0.5]

    **Differs from optax**: numbers may stand for constants; a piece is never evaluated outside its
    own steps; a wrong number of boundaries and boundaries out of order are refused.
    """
    _check_pieces(schedules, boundaries)
    boundaries = list(boundaries)

    def value(step: Any) -> Any:
        result: Any = None
        for i, (piece, start) in enumerate(zip(schedules, [0, *boundaries])):
            if steps.is_unreachable(start, step):
                break
            end = boundaries[i] if i < len(boundaries) else None
            length = None if end is None else steps.subtract(end, start)
            here = value_at(piece, steps.elapsed(step, start, length))
            result = here if i == 0 else jnp.where(steps.is_before(step, start), result, here)
        return result

    pieces = {f"schedules[{i}]": s for i, s in enumerate(schedules) if not callable(s)}
    return arguments.of_step(
        value, **pieces, **{f"boundaries[{i}]": b for i, b in enumerate(boundaries)}
    )


def _check_pieces(schedules: Any, boundaries: Any) -> None:
    if not isinstance(schedules, (list, tuple)):
        check.refuse(
            f"schedules={arguments.shown(schedules)} is not a list",
            expected="a list of schedules, functions of the step and numbers",
            error=TypeError,
        )
    if not isinstance(boundaries, (list, tuple)) and not (
        isinstance(boundaries, (np.ndarray, jax.Array)) and np.ndim(boundaries) == 1
    ):
        check.refuse(
            f"boundaries={arguments.shown(boundaries)} is not a list",
            expected="a list of steps, one fewer than schedules",
            error=TypeError,
        )
    if not schedules:
        check.refuse("schedules=[] is empty", expected="at least one schedule")
    if len(boundaries) != len(schedules) - 1:
        check.refuse(
            f"boundaries={arguments.shown(boundaries)} has the length {len(boundaries)}",
            expected=f"{len(schedules) - 1}, one fewer than the {len(schedules)} schedules",
        )
    for i, piece in enumerate(schedules):
        arguments.rates(**{f"schedules[{i}]": piece})
    for i, boundary in enumerate(boundaries):
        arguments.lengths(0, **{f"boundaries[{i}]": boundary})
    known = [b for b in boundaries if isinstance(b, (int, float))]
    if any(before > after for before, after in itertools.pairwise(known)):
        check.refuse(
            f"boundaries={arguments.shown(boundaries)} is out of order",
            expected="boundaries in increasing order",
        )


@schedule
def piecewise_interpolate_schedule(
    interpolate_type: str,
    init_value: Scalar,
    boundaries_and_scales: dict[int, float] | None = None,
) -> Callable[[Any], Any]:
    """Interpolate by lines or half cosines between values at given boundaries.

    **Value** v_0 = I at step 0 and v_i = v_{i−1} s_i at step b_i; between them a line or half a
    cosine, after the last boundary its value.

    Args:
      interpolate_type: ``"linear"`` or ``"cosine"``.
      init_value: I, a finite number.
      boundaries_and_scales: ``{b_i: s_i}``, steps b_i ≥ 0 and scales s_i ≥ 0. The scales are data,
        the boundaries structure.

    Raises:
      ValueError: an unknown type, a boundary or a scale below 0.
      TypeError: ``boundaries_and_scales`` is not a dict of numbers.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.piecewise_interpolate_schedule("linear", 1.0, {10: 0.5, 20: 0.5})
      >>> steps = (0, 5, 10, 15, 20, 99)
      >>> assert [float(rate(t)) for t in steps] == [1.0, 0.75, 0.5, 0.375, 0.25, 0.25]

    **Differs from optax**: a boundary below 0 is refused.
    """
    arguments.word(("linear", "cosine"), interpolate_type=interpolate_type)
    arguments.numbers(init_value=init_value)
    boundaries, scales = arguments.boundaries_and_scales(boundaries_and_scales)

    lengths = [steps.subtract(b, a) for a, b in itertools.pairwise([0, *boundaries])]

    def value(step: Any) -> Any:
        values = list(
            itertools.accumulate(
                map(steps.as_float, scales), operator.mul, initial=steps.as_float(init_value)
            )
        )
        kinds = [interpolate_type] * len(values)
        ends = [*values[1:], values[-1]]
        return steps.interpolate_through(step, [*lengths, 1], values, ends, kinds)[1]

    scalars = arguments.scale_names(boundaries, scales)
    return arguments.of_step(value, init_value=init_value, **scalars)
