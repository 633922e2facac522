"""Constant."""

import itertools
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit._schedule import schedule
from gradkit.schedules import _steps as steps


@schedule
def constant_schedule(value: Any) -> Callable[[Any], Any]:
    """The same value at every step.

    **Rule** α_t = ``value``.

    Args:
      value: a finite number.

    Example:
      >>> import gradkit as gk
      >>> assert gk.constant_schedule(0.5)(7) == 0.5
    """
    steps.numbers(value=value)
    return lambda step: steps.at(value, steps.as_step(step))


@schedule
def piecewise_constant_schedule(
    init_value: Any, boundaries_and_scales: dict[int, Any] | None = None
) -> Callable[[Any], Any]:
    """A constant that is scaled at each boundary.

    **Rule** α_t = I Π s_i over the boundaries b_i ≤ step.

    Args:
      init_value: I, a finite number.
      boundaries_and_scales: ``{b_i: s_i}``: from step b_i ≥ 0 on, the value is also multiplied by s_i ≥ 0. The scales are data, the boundaries structure.

    Raises:
      ValueError: a boundary or a scale below 0.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.piecewise_constant_schedule(1.0, {10: 0.5, 20: 0.5})
      >>> assert [float(rate(t)) for t in (9, 10, 19, 20)] == [1.0, 0.5, 0.5, 0.25]
    """
    steps.numbers(init_value=init_value)
    starts, scales = steps.sorted_boundaries(boundaries_and_scales)

    def value(step: Any) -> Any:
        step = steps.as_step(step)
        values = list(
            itertools.accumulate(
                map(steps.number, scales), operator.mul, initial=steps.number(init_value)
            )
        )
        index, _, _ = steps.segment(step, [0, *starts], [1, *(1 for _ in starts)])
        return jnp.stack([jnp.asarray(v, steps.default_float()) for v in values])[index]

    return value
