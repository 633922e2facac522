"""Plots of schedules. matplotlib is imported only when a plot is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradkit import _checks as check
from gradkit import _plot
from gradkit._schedule import value_at
from gradkit.schedules import _arguments as arguments
from gradkit.schedules import _steps
from gradkit.typing import Rate

MOST_POINTS = 2000  # more than the pixels of a figure's width


def plot_schedule(
    schedules: Rate | Sequence[Rate] | Mapping[str, Rate],
    steps: int,
    *,
    ax: Any = None,
    labels: Sequence[str] | None = None,
    xlabel: str = "step",
    ylabel: str = "value",
) -> Any:
    """Plot one or several schedules over the steps 0 … ``steps`` with matplotlib.

    Args:
      schedules: a schedule, a function of the step or a number; or a list of them; or a dict
        label -> schedule.
      steps: the last step, at least 1. At most 2000 points are drawn, at equal distances.
      ax: the matplotlib axes to draw into, or None for a new figure.
      labels: one label for each schedule, or None for the code that makes the schedule.
      xlabel: the name of the horizontal axis.
      ylabel: the name of the vertical axis.

    Returns:
      The axes, for titles, scales and ``ax.figure.savefig``.

    Raises:
      ImportError: matplotlib is missing.
      ValueError: no schedule, a wrong number of labels, or fewer than 1 step.
      TypeError: something that is not a schedule.

    Example:
      >>> import gradkit as gk, pytest
      >>> pyplot = pytest.importorskip("matplotlib.pyplot")
      >>> pyplot.switch_backend("agg")
      >>> ax = gk.schedules.plot_schedule([gk.linear_schedule(1.0, 0.0, 10), 0.5], 20)
      >>> line = ax.lines[0]
      >>> pyplot.close(ax.figure)
      >>> assert line.get_ydata()[5] == 0.5 and line.get_label() == "linear_schedule(1.0, 0.0, 10)"
    """
    with check.inside("plot_schedule"):
        check.integer(1, steps=steps)
        names, curves = _curves(schedules, labels)
        pyplot = _plot.pyplot()
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        count = min(int(steps) + 1, MOST_POINTS)
        drawn = np.unique(np.linspace(0, steps, count).astype(np.int64))
        for name, curve in zip(names, curves, strict=True):
            ax.plot(drawn, np.asarray(value_at(curve, _steps.as_step(drawn))), label=name)
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
        arguments.rates(**{f"schedules[{i}]": curve})
    if not curves:
        check.refuse(f"schedules={schedules!r} is empty", expected="at least one schedule")
    if labels is not None and len(labels) != len(curves):
        check.refuse(
            f"labels={labels!r} has the length {len(labels)}",
            expected=f"{len(curves)}, one label for each schedule",
        )
    return list(labels) if labels is not None else names, curves
