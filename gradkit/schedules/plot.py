"""Pictures of schedules. matplotlib is imported when one is drawn, not before."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.schedules import _steps

MOST_POINTS = 2000  # more than a figure has pixels across


def plot_schedule(
    schedules: Any,
    steps: int,
    *,
    ax: Any = None,
    labels: Sequence[str] | None = None,
    xlabel: str = "step",
    ylabel: str = "value",
) -> Any:
    """Draw one schedule or several over the steps 0 … ``steps``.

    Args:
      schedules: a schedule, a function of the step or a number; or a list of them; or a dict label -> schedule.
      steps: the last step drawn, at least 1. Of long runs every k-th step is drawn, 2000 points at most.
      ax: matplotlib axes to draw into; without them a new figure is made.
      labels: one label each; the code that makes the schedule if not given.
      xlabel: the name of the horizontal axis.
      ylabel: the name of the vertical axis.

    Returns:
      The axes, for titles, scales and ``ax.figure.savefig``.

    Raises:
      ImportError: matplotlib is missing.
      ValueError: no schedule, a number of labels other than of schedules, fewer than 1 step.

    Example:
      >>> import gradkit as gk, pytest
      >>> pyplot = pytest.importorskip("matplotlib.pyplot")
      >>> pyplot.switch_backend("agg")
      >>> ax = gk.plot_schedule([gk.linear_schedule(1.0, 0.0, 10), 0.5], 20)
      >>> line = ax.lines[0]
      >>> pyplot.close(ax.figure)
      >>> assert line.get_ydata()[5] == 0.5 and line.get_label() == "linear_schedule(1.0, 0.0, 10)"
    """
    with check.inside("plot_schedule"):
        check.integer(1, steps=steps)
        names, curves = _curves(schedules, labels)
        try:
            from matplotlib import pyplot  # noqa: PLC0415
        except ImportError as error:
            needed = "needs matplotlib"
            message = f"plot_schedule: {needed}; got {error}. Install it with: pip install 'gradkit[plot]'."
            raise ImportError(message) from error
    if ax is None:
        _, ax = pyplot.subplots(layout="constrained")
    every = np.unique(np.linspace(0, steps, min(int(steps) + 1, MOST_POINTS)).astype(np.int64))
    for name, curve in zip(names, curves, strict=True):
        values = np.broadcast_to(np.asarray(_steps.at(curve, _steps.as_step(every))), every.shape)
        ax.plot(every, values, label=name)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend(fontsize="small")
    return ax


def _curves(schedules: Any, labels: Any) -> tuple[list[str], list[Any]]:
    if isinstance(schedules, dict):
        names, curves = list(map(str, schedules)), list(schedules.values())
    else:
        curves = list(schedules) if isinstance(schedules, (list, tuple)) else [schedules]
        names = [getattr(curve, "__name__", None) or repr(curve) for curve in curves]
    for i, curve in enumerate(curves):
        if not callable(curve) and not numerics.is_number(curve):
            check.fail(
                "needs schedules, functions of the step and numbers",
                repr(curve),
                path=f"schedules[{i}]",
                error=TypeError,
            )
    if not curves:
        check.fail("needs at least one schedule", "none", path="schedules")
    if labels is not None and len(labels) != len(curves):
        check.fail(
            f"needs {len(curves)} labels", str(len(labels)), "One for each schedule", path="labels"
        )
    return list(labels) if labels is not None else names, curves
