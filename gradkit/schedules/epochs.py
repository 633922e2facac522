"""Schedules of the epoch, and learning rates for other batch sizes.

| | |
|---|---|
| ``per_epoch(s, n)`` | s(⌊step/n⌋), or s(step/n) |
| ``linear_scaling_rule`` | α B/B₀ |
"""

from collections.abc import Callable
from typing import Any

from gradkit import _checks as check
from gradkit._schedule import Schedule, as_rate, schedule, value_at
from gradkit.schedules import _arguments as arguments
from gradkit.schedules import _steps as steps
from gradkit.typing import Rate, Scalar


@schedule
def per_epoch(
    schedule: Rate, steps_per_epoch: Scalar, *, fractional: bool = False
) -> Callable[[Any], Any]:
    """Evaluate a schedule at the epoch instead of the step.

    **Value** α_t = s(⌊step/n⌋); with ``fractional`` s(step/n).

    Args:
      schedule: s, a schedule, a function or a number; its step is the epoch, from 0.
      steps_per_epoch: n > 0: an int, a float such as 312.5, or an array.
      fractional: whether the epoch keeps its fraction, so that the value changes at every step.

    Raises:
      ValueError: a length not above 0.
      TypeError: ``schedule`` is not a schedule, ``fractional`` is not a bool.

    Example:
      >>> import gradkit as gk
      >>> decay = gk.schedules.inverse_time_decay(0.2, 1, 1.0)
      >>> rate = gk.schedules.per_epoch(decay, steps_per_epoch=100)
      >>> assert float(rate(0)) == float(rate(99)) == 2 * float(rate(100)) == 2 * float(rate(199))
    """
    arguments.rates(schedule=schedule)
    arguments.lengths(1, steps_per_epoch=steps_per_epoch)
    arguments.flags(fractional=fractional)

    def value(step: Any) -> Any:
        epoch, within = steps.cycle_and_offset(step, steps_per_epoch)
        if fractional:
            epoch = steps.ratio(epoch, 1) + steps.ratio(within, steps_per_epoch)
        return value_at(schedule, epoch)

    constant = {} if callable(schedule) else {"schedule": schedule}
    return arguments.of_step(value, steps_per_epoch=steps_per_epoch, **constant)


def linear_scaling_rule(
    learning_rate: Rate, batch_size: int, base_batch_size: int = 256
) -> float | Schedule:
    """Scale a learning rate in proportion to the batch size.

    **Value** α B/B₀. The rule holds while batches are small. Very large batches make training
    unstable, which a `linear_warmup` eases.

    Args:
      learning_rate: α, the learning rate for the base batch size: a number, a schedule or a
        function of the step.
      batch_size: B ≥ 1.
      base_batch_size: B₀ ≥ 1.

    Returns:
      A number, or a `Schedule` where ``learning_rate`` is a schedule or a function.

    Raises:
      ValueError: a batch size below 1, a learning rate below 0.
      TypeError: a learning rate that is not a number, a schedule or a function.

    Example:
      >>> import gradkit as gk
      >>> assert gk.schedules.linear_scaling_rule(0.1, 1024) == 0.4
      >>> rate = gk.schedules.linear_scaling_rule(gk.linear_schedule(1.0, 0.0, 10), 64, 128)
      >>> assert float(rate(5)) == 0.25

    Reference: Goyal et al. 2017, https://arxiv.org/abs/1706.02677.
    """
    with check.inside("linear_scaling_rule"):
        rate = as_rate(learning_rate)
        check.non_negative(learning_rate=rate)
        arguments.lengths(1, batch_size=batch_size, base_batch_size=base_batch_size)
        return rate * (batch_size / base_batch_size)
