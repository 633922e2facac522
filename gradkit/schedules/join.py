"""Join."""

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import schedule
from gradkit.schedules import _steps as steps


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
            result = (
                here if result is None else jnp.where(step < steps.like(start, step), result, here)
            )
        return result

    return value


def _check_pieces(schedules: Any, boundaries: Any) -> None:
    if not isinstance(schedules, (list, tuple)) or not isinstance(boundaries, (list, tuple)):
        check.fail(
            "needs a list of schedules and a list of boundaries",
            f"{type(schedules).__name__} and {type(boundaries).__name__}",
            error=TypeError,
        )
    if not schedules or len(boundaries) != len(schedules) - 1:
        check.fail(
            "needs one boundary fewer than schedules",
            f"{len(boundaries)} for {len(schedules)}",
            path="boundaries",
        )
    for i, piece in enumerate(schedules):
        if not callable(piece) and not numerics.is_number(piece):
            check.fail(
                "needs schedules, functions of the step and numbers",
                repr(piece),
                path=f"schedules[{i}]",
                error=TypeError,
            )
    for i, boundary in enumerate(boundaries):
        check.integer(0, "A boundary is a step", **{f"boundaries[{i}]": boundary})
    for before, after in itertools.pairwise(boundaries):
        if isinstance(before, (int, float)) and isinstance(after, (int, float)) and before > after:
            check.fail(
                "needs boundaries that do not fall", repr(list(boundaries)), path="boundaries"
            )


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
def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: Any, boundaries_and_scales: dict[int, Any] | None = None
) -> Callable[[Any], Any]:
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
        values = list(
            itertools.accumulate(
                map(steps.number, scales), operator.mul, initial=steps.number(init_value)
            )
        )
        return _through(step, boundaries, values, interpolate_type)

    return value
