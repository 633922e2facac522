"""Time in epochs, and rates for batches of another size.

| | |
|---|---|
| ``per_epoch(s, n)`` | s(⌊step/n⌋), or s(step/n) |
| ``linear_scaling_rule`` | α B/B₀ |
"""

from collections.abc import Callable
from typing import Any

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import as_rate, schedule
from gradkit.schedules import _steps as steps


@schedule
def per_epoch(
    schedule: Any, steps_per_epoch: int, *, fractional: bool = False
) -> Callable[[Any], Any]:
    """A schedule of the epoch, as the lectures write them.

    **Rule** α_t = s(⌊step/n⌋); with ``fractional`` s(step/n).

    Args:
      schedule: s, a schedule, a function or a number; its step is the epoch, from 0.
      steps_per_epoch: n ≥ 1.
      fractional: feed the epoch with its fraction, so that the value moves at every step.

    Raises:
      ValueError: an epoch of less than one step.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.per_epoch(gk.inverse_time_decay(0.2, 1, 1.0), steps_per_epoch=100)  # 0.2 / (1 + epoch)
      >>> assert float(rate(0)) == float(rate(99)) == 2 * float(rate(100)) == 2 * float(rate(199))
    """
    if not callable(schedule) and not numerics.is_number(schedule):
        check.fail(
            "needs a schedule, a function of the epoch or a number",
            repr(schedule),
            path="schedule",
            error=TypeError,
        )
    check.integer(1, steps_per_epoch=steps_per_epoch)

    def value(step: Any) -> Any:
        epoch, within = steps.cycle(steps.as_step(step), steps_per_epoch)
        return steps.at(
            schedule,
            steps.ratio(epoch, 1) + steps.ratio(within, steps_per_epoch) if fractional else epoch,
        )

    return value


def linear_scaling_rule(learning_rate: Any, batch_size: int, base_batch_size: int = 256) -> Any:
    """The learning rate for another batch size: proportional to it.

    **Rule** α B/B₀. It holds while batches are small; very large ones make training unstable, which a `linear_warmup` eases.

    Args:
      learning_rate: α, the rate that suits the base batch size: a number, a schedule or a function of the step.
      batch_size: B ≥ 1.
      base_batch_size: B₀ ≥ 1.

    Returns:
      A number, or a schedule where a schedule came.

    Raises:
      ValueError: a batch size below 1, a rate below 0.

    Example:
      >>> import gradkit as gk
      >>> assert gk.linear_scaling_rule(0.1, 1024) == 0.4
      >>> assert float(gk.linear_scaling_rule(gk.linear_schedule(1.0, 0.0, 10), 64, 128)(5)) == 0.25

    Reference: Goyal et al. 2017, https://arxiv.org/abs/1706.02677.
    """
    with check.inside("linear_scaling_rule"):
        rate = as_rate(learning_rate)
        check.non_negative(learning_rate=rate)
        check.integer(1, batch_size=batch_size, base_batch_size=base_batch_size)
        return rate * (batch_size / base_batch_size)
