"""Figures of a search. matplotlib is imported only when one is drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradkit import _checks as check
from gradkit import _plot
from gradkit.search import _axes
from gradkit.search._trials import Trials
from gradkit.search.spaces import distributions


def plot_slices(trials: Trials, paths: Sequence[str] | None = None, *, columns: int = 4) -> Any:
    """Plot the score against each hyperparameter, one panel for each.

    A trial has the same color in all panels, dark for a low score; its standard error is a bar, the
    best trial has a ring, and failed trials are crosses at the upper edge. A hyperparameter drawn
    on a log scale is shown on one.

    Args:
      trials: the table to plot, at least one trial.
      paths: the hyperparameters shown; None for all that have values.
      columns: how many panels stand side by side, ≥ 1.

    Returns:
      the matplotlib figure.

    Raises:
      ImportError: matplotlib is missing.
      ValueError: no trials, none with a finite score, or a path that the trials lack.

    Example:
      >>> import gradkit as gk, pytest
      >>> pyplot = pytest.importorskip("matplotlib.pyplot")
      >>> pyplot.switch_backend("agg")
      >>> space = {"rate": gk.search.log_uniform(1e-4, 1.0)}
      >>> trials = gk.search.Trials(space, [{"rate": 0.1}, {"rate": 0.01}], [0.5, 0.2])
      >>> figure = gk.search.plot_slices(trials)
      >>> assert figure.axes[0].get_xscale() == "log"
      >>> pyplot.close(figure)
    """
    with check.inside("plot_slices"):
        check.integer(1, columns=columns)
        chosen = _chosen(trials, paths)
        pyplot = _plot.pyplot()
        color = _axes.Colors(trials)
    known = distributions(trials.space)
    wide = min(int(columns), len(chosen))
    rows = -(-len(chosen) // wide)
    figure, grid = pyplot.subplots(
        rows, wide, figsize=(0.9 + 2.7 * wide, 0.3 + 2.5 * rows), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    fine = np.isfinite(trials.scores)
    best = trials.ranking()[0]
    low, high, log = _axes.loss_limits(trials.scores)
    for ax, path in zip(grid.flat, chosen):
        axis = _axes.Axis(path, known[path])
        axis.set_x(ax)
        has = np.array([path in config for config in trials.configs])
        x = np.full(len(trials), np.nan)
        x[has] = [axis.place(c[path]) for c in trials.configs if path in c]
        if axis.options:  # side by side, in the order of the trials
            x += 0.22 * (2 * np.modf(0.618034 * np.arange(len(trials)))[0] - 1)
        drawn = np.flatnonzero(has & fine)
        drawn = drawn[np.argsort(-trials.scores[drawn])]  # the best are drawn last
        shade = color(trials.scores[drawn])
        if np.isfinite(trials.errors[drawn]).any():
            ax.errorbar(
                x[drawn], trials.scores[drawn], np.nan_to_num(trials.errors[drawn]), fmt="none",
                ecolor=shade, elinewidth=0.8, zorder=1,
            )  # fmt: skip
        ax.scatter(x[drawn], trials.scores[drawn], c=shade, s=20, lw=0, zorder=2)
        bad = np.flatnonzero(has & ~fine)
        if len(bad):
            above = {"transform": ax.get_xaxis_transform(), "clip_on": False}
            ax.plot(x[bad], np.full(len(bad), 0.975), "x", color=_axes.GRAY, ms=4, mew=0.9, **above)
        if has[best] and fine[best]:
            at = (x[best], trials.scores[best])
            ax.plot(*at, "o", ms=9, mfc="none", mec=_axes.ACCENT, mew=1.6, zorder=3)
        ax.set_xlabel(axis.label)
        ax.set_yscale("log" if log else "linear")
        ax.set_ylim(low, high)
        _axes.tidy(ax)
    for ax in grid[:, 0]:
        ax.set_ylabel("score (loss)")
    for ax in list(grid.flat)[len(chosen) :]:
        ax.remove()
    return figure


def plot_parallel_coordinates(trials: Trials, paths: Sequence[str] | None = None) -> Any:
    """Plot every trial as a line across parallel axes, one for each hyperparameter and the score.

    Lines are dark for low scores, the best trial's is the thick one. Trials that failed are left
    out. A line passes over the axes for which its trial has no value.

    Args:
      trials: the table to plot, at least one trial with a finite score.
      paths: the hyperparameters shown, in this order; None for all that have values.

    Returns:
      the matplotlib figure.

    Raises:
      ImportError: matplotlib is missing.
      ValueError: no trials, none with a finite score, or a path that the trials lack.

    Example:
      >>> import gradkit as gk, pytest
      >>> pyplot = pytest.importorskip("matplotlib.pyplot")
      >>> pyplot.switch_backend("agg")
      >>> space = {"rate": gk.search.log_uniform(1e-4, 1.0), "b1": gk.search.uniform(0.0, 0.9)}
      >>> configs = [{"rate": 0.1, "b1": 0.5}, {"rate": 0.01, "b1": 0.9}]
      >>> figure = gk.search.plot_parallel_coordinates(gk.search.Trials(space, configs, [1.0, 2.0]))
      >>> assert len(figure.axes[0].lines) >= 2
      >>> pyplot.close(figure)
    """
    with check.inside("plot_parallel_coordinates"):
        chosen = _chosen(trials, paths)
        pyplot = _plot.pyplot()
        color = _axes.Colors(trials)
    known = distributions(trials.space)
    axes = [_axes.Axis(path, known[path]) for path in chosen]
    low, high, log = _axes.loss_limits(trials.scores)
    scores = _axes.ScoreAxis(low, high, log)
    figure, ax = pyplot.subplots(figsize=(1.6 + 1.75 * len(axes), 4.0), layout="constrained")
    order = [i for i in trials.ranking()[::-1] if np.isfinite(trials.scores[i])]
    for rank, i in enumerate(order):
        config, is_best = trials.configs[i], i == order[-1]
        heights = [a.height(config[a.path]) if a.path in config else np.nan for a in axes]
        heights.append(float(np.clip(scores.height(trials.scores[i]), 0.0, 1.0)))
        x, y = _axes.smooth(heights)
        ax.plot(
            x, y, color=_axes.ACCENT if is_best else color(trials.scores[i]),
            lw=2.4 if is_best else 1.0, alpha=1.0 if is_best else 0.25 + 0.65 * rank / len(order),
            solid_capstyle="round",
        )  # fmt: skip
    box = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.6}
    every: list[Any] = [*axes, scores]
    for j, axis in enumerate(every):
        ax.axvline(j, color="0.15", lw=0.9, zorder=5)
        for height, text in axis.ticks():
            ax.plot([j - 0.025, j], [height, height], color="0.15", lw=0.9, zorder=5)
            ax.annotate(
                text, (j, height), (-5, 0), textcoords="offset points", ha="right", va="center",
                fontsize=7.5, zorder=6, bbox=box,
            )  # fmt: skip
    ax.set_xticks(
        range(len(axes) + 1), [*(axis.label for axis in axes), "score (loss)"], fontsize=9
    )
    ax.tick_params(axis="x", length=0, pad=7)
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_xlim(-0.45, len(axes) + 0.05)
    ax.set_ylim(-0.03, 1.03)
    return figure


def plot_learning_curves(trials: Trials, *, smoothing: float = 0.0) -> Any:
    """Plot the learning curves of all trials: the loss against the steps.

    Curves are dark for low scores, the best trial's is the thick one, and a dot ends the curve of
    a trial that was stopped. A curve of m points of a trial with a budget has its points at equal
    distances up to the budget.

    Args:
      trials: the table to plot, with at least one curve.
      smoothing: the decay of an exponential average over the points, 0 ≤ smoothing < 1.

    Returns:
      the matplotlib figure.

    Raises:
      ImportError: matplotlib is missing.
      ValueError: no trials, none with a finite score, or none with a curve.

    Example:
      >>> import gradkit as gk, pytest
      >>> pyplot = pytest.importorskip("matplotlib.pyplot")
      >>> pyplot.switch_backend("agg")
      >>> space = {"rate": gk.search.log_uniform(1e-4, 1.0)}
      >>> trials = gk.search.Trials(space, [{"rate": 0.1}], [0.2], curves=[[1.0, 0.4, 0.2]])
      >>> figure = gk.search.plot_learning_curves(trials)
      >>> assert figure.axes[0].lines[0].get_ydata().tolist() == [1.0, 0.4, 0.2]
      >>> pyplot.close(figure)
    """
    with check.inside("plot_learning_curves"):
        check.decay(smoothing=smoothing)
        _chosen(trials, None)
        if all(curve is None or not len(curve) for curve in trials.curves):
            check.refuse("no trial has a curve", expected="trials of a search that keeps curves")
        pyplot = _plot.pyplot()
        color = _axes.Colors(trials)
    figure, ax = pyplot.subplots(figsize=(6.4, 3.9), layout="constrained")
    shown = [i for i in trials.ranking()[::-1] if trials.curves[i] is not None]
    every = []
    for i in shown:
        curve, is_best = np.asarray(trials.curves[i]), i == shown[-1]
        last = trials.budgets[i] if np.isfinite(trials.budgets[i]) else len(curve)
        x = last * np.arange(1, len(curve) + 1) / max(len(curve), 1)
        score = trials.scores[i]
        shade = color(score) if np.isfinite(score) else _axes.GRAY
        shade = _axes.ACCENT if is_best else shade
        y = _smoothed(curve, smoothing)
        every.append(y)
        ax.plot(x, y, color=shade, lw=2.2 if is_best else 0.9, alpha=1.0 if is_best else 0.75)
        if trials.status[i] == "stopped" and len(curve):
            ax.plot(x[-1], y[-1], "o", color=shade, ms=3)
    low, high, log = _axes.loss_limits(np.concatenate(every))
    ax.set_yscale("log" if log else "linear")
    ax.set_ylim(low, high)
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    ax.set_xlim(left=0)
    _axes.tidy(ax)
    color.bar(figure, ax)
    return figure


def _chosen(trials: Any, paths: Sequence[str] | None) -> list[str]:
    if not isinstance(trials, Trials):
        check.refuse(f"trials={check.shown(trials)} is not a Trials", error=TypeError)
    if not len(trials):
        check.refuse("trials is empty", expected="at least one trial")
    if not np.isfinite(trials.scores).any():
        check.refuse("no trial has a finite score", expected="at least one")
    if paths is None:
        return list(trials.paths)
    for path in paths:
        if path not in trials.paths:
            check.refuse(
                f"paths has {path!r}, for which no trial has a value",
                fix=check.nearest(str(path), trials.paths),
            )
    if not len(paths):
        check.refuse("paths is empty", expected="at least one path, or None for all")
    return list(paths)


def _smoothed(curve: np.ndarray, decay: float) -> np.ndarray:
    """The exponential average, whose weights sum to 1 from the first point on."""
    if not decay:
        return curve
    mean, weight, found = 0.0, 0.0, []
    for value in curve:
        mean, weight = decay * mean + (1 - decay) * value, decay * weight + 1 - decay
        found.append(mean / weight)
    return np.array(found)
