"""Constant schedules, in one piece or several."""

import itertools
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit._schedule import schedule
from gradkit.schedules import _arguments as arguments
from gradkit.schedules import _steps as steps
from gradkit.typing import Scalar


@schedule
def constant_schedule(value: Scalar) -> Callable[[Any], Any]:
    """Return the same value at every step.

    **Value** α_t = ``value``.

    Args:
      value: a finite number.

    Raises:
      ValueError: ``value`` is not finite.
      TypeError: ``value`` is not a number.

    Example:
      >>> import gradkit as gk
      >>> assert gk.constant_schedule(0.5)(7) == 0.5
    """
    arguments.numbers(value=value)

    def at(step: Any) -> Any:
        return jnp.broadcast_to(jnp.asarray(value).astype(steps.default_float()), step.shape)

    return arguments.of_step(at, value=value)


@schedule
def piecewise_constant_schedule(
    init_value: Scalar, boundaries_and_scales: dict[int, float] | None = None
) -> Callable[[Any], Any]:
    """Keep the value constant between boundaries, and scale it at each boundary.

    **Value** α_t = I Π s_i over the boundaries b_i ≤ step.

    Args:
      init_value: I, a finite number.
      boundaries_and_scales: ``{b_i: s_i}``: from step b_i ≥ 0 on, the value is also multiplied by
        s_i ≥ 0. The scales are data, the boundaries structure.

    Raises:
      ValueError: a boundary or a scale is below 0.
      TypeError: ``boundaries_and_scales`` is not a dict of numbers.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.piecewise_constant_schedule(1.0, {10: 0.5, 20: 0.5})
      >>> assert [float(rate(t)) for t in (9, 10, 19, 20)] == [1.0, 0.5, 0.5, 0.25]

    **Differs from optax**: a boundary below 0 is refused; optax applies its scale from step 0 on.
    """
    arguments.numbers(init_value=init_value)
    starts, scales = arguments.boundaries_and_scales(boundaries_and_scales)

    def value(step: Any) -> Any:
        values = itertools.accumulate(
            map(steps.as_float, scales), operator.mul, initial=steps.as_float(init_value)
        )
        index, _, _ = steps.locate(step, [0, *starts], [1] * (len(starts) + 1))
        return jnp.stack([jnp.asarray(v, steps.default_float()) for v in values])[index]

    return arguments.of_step(value, init_value=init_value, **arguments.scale_names(starts, scales))
