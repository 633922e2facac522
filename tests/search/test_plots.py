"""The figures of a search."""

import sys

import numpy as np
import pytest

import gradkit as gk
from gradkit import search
from gradkit.search import Trials

pyplot = pytest.importorskip("matplotlib.pyplot")
pyplot.switch_backend("agg")

SPACE = {
    "b1": search.log_uniform(0.5, 0.999, complement=True),
    "layers": search.integers(1, 4),
    "optimizer": search.choice("sgd", "adam"),
    "rate": search.log_uniform(1e-4, 1.0),
}
TRIALS = Trials(
    SPACE,
    [
        {"b1": 0.9, "layers": 2, "optimizer": "adam", "rate": 1e-3},
        {"b1": 0.99, "layers": 4, "optimizer": "sgd", "rate": 1e-2},
        {"b1": 0.5, "layers": 1, "optimizer": "sgd", "rate": 1.0},
        {"b1": 0.6, "layers": 3, "optimizer": "sgd", "rate": 1e-4},
    ],
    [0.5, 0.02, np.nan, 3.0],
    errors=[0.1, 0.001, 0.1, 0.1],
    curves=[[2.0, 0.5], [1.0, 0.02], None, [3.0]],
    budgets=[20, 20, 20, 10],
    status=["complete", "complete", "failed", "stopped"],
)


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


def test_slices_have_a_panel_for_each_hyperparameter_on_its_own_scale():
    figure = search.plot_slices(TRIALS)
    b1, _, optimizer, rate = figure.axes
    assert [ax.get_xlabel() for ax in figure.axes] == ["1 − b1", "layers", "optimizer", "rate"]
    assert [ax.get_xscale() for ax in figure.axes] == ["log", "linear", "linear", "log"]
    assert rate.get_yscale() == "log"  # over two decades of losses
    # The best is drawn last, the failed trial is a cross at the upper edge.
    points = rate.collections[-1]
    np.testing.assert_allclose(points.get_offsets()[-1], [1e-2, 0.02])
    assert points.get_facecolors()[-1][:3].sum() < points.get_facecolors()[0][:3].sum()
    crosses, ring = rate.lines
    assert crosses.get_xdata().tolist() == [1.0]
    assert ring.get_xdata() == [1e-2]
    np.testing.assert_allclose(b1.lines[1].get_xdata(), [0.01])
    assert [text.get_text() for text in optimizer.get_xticklabels()] == ["sgd", "adam"]
    assert len(search.plot_slices(TRIALS, ["rate", "b1"], columns=1).axes) == 2


def test_parallel_coordinates_have_a_line_for_each_finite_score():
    figure = search.plot_parallel_coordinates(TRIALS, ["rate", "optimizer"])
    (ax,) = figure.axes
    worst, middle, best = ax.lines[:3]
    assert best.get_linewidth() > middle.get_linewidth()
    np.testing.assert_allclose(best.get_ydata()[[0, 25, -1]], [0.5, 0.0, 0.04089], atol=1e-4)
    np.testing.assert_allclose(worst.get_ydata()[0], 0.0)
    assert [text.get_text() for text in ax.get_xticklabels()] == [
        "rate",
        "optimizer",
        "score (loss)",
    ]


def test_learning_curves_end_at_the_budget():
    ax, bar = search.plot_learning_curves(TRIALS).axes
    stopped, dot, middle, best = ax.lines
    assert stopped.get_xdata().tolist() == dot.get_xdata().tolist() == [10.0]
    assert middle.get_xdata().tolist() == best.get_xdata().tolist() == [10.0, 20.0]
    assert best.get_ydata().tolist() == [1.0, 0.02]
    assert bar.get_ylabel() == "score (loss)"
    smooth = search.plot_learning_curves(TRIALS, smoothing=0.5).axes[0].lines[-1]
    np.testing.assert_allclose(smooth.get_ydata(), [1.0, (0.25 + 0.01) / 0.75])


ALONE = Trials(SPACE, [{"rate": 0.1}], [0.3])
REFUSED = [
    (lambda: search.plot_slices(TRIALS[:0]), "plot_slices: trials is empty. Expected at least"),
    (lambda: search.plot_parallel_coordinates(TRIALS[:0]), "trials is empty"),
    (lambda: search.plot_learning_curves(TRIALS[:0]), "trials is empty"),
    (lambda: search.plot_slices(TRIALS[2:3]), "no trial has a finite score"),
    (lambda: search.plot_slices(TRIALS, ["raet"]), "for which no trial has a value. Did you mean"),
    (lambda: search.plot_slices(TRIALS, []), "paths is empty"),
    (lambda: search.plot_slices(TRIALS, columns=0), "columns=0 is out of range"),
    (lambda: search.plot_slices([0.1]), r"trials=\[0.1\] is not a Trials"),
    (lambda: search.plot_learning_curves(ALONE), "no trial has a curve"),
    (lambda: search.plot_learning_curves(TRIALS, smoothing=1.0), "smoothing=1.0 is out of range"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_bad_input_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_one_trial_of_a_transform_is_plotted():
    trials = Trials(gk.sgd(search.uniform(0.0, 1.0)), [{"learning_rate": 0.5}], [0.0])
    for plot in (search.plot_slices, search.plot_parallel_coordinates):
        plot(trials).canvas.draw()


def test_without_matplotlib_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install 'gradkit\\[plot\\]'"):
        search.plot_slices(TRIALS)
