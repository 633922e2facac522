"""Plots of schedules."""

import subprocess
import sys

import numpy as np
import pytest

import gradkit as gk

pyplot = pytest.importorskip("matplotlib.pyplot")
pyplot.switch_backend("agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def test_lines_carry_the_values_and_the_code_as_label():
    rate = gk.cosine_decay_schedule(0.5, 10)
    ax = gk.schedules.plot_schedule([rate, 0.25, lambda step: 1.0 / (step.astype(float) + 1)], 20)
    assert [line.get_label() for line in ax.lines] == [
        "cosine_decay_schedule(0.5, 10)",
        "0.25",
        "<lambda>",
    ]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(21))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), rate(np.arange(21)))
    assert set(ax.lines[1].get_ydata()) == {0.25}
    assert ax.lines[2].get_ydata()[3] == 0.25


def test_one_schedule_a_dict_labels_and_axes_of_ones_own():
    _, mine = pyplot.subplots()
    assert (
        gk.schedules.plot_schedule(
            gk.constant_schedule(1.0), 5, ax=mine, labels=["flat"], ylabel="rate"
        )
        is mine
    )
    assert mine.lines[0].get_label() == "flat"
    assert mine.get_ylabel() == "rate"
    assert gk.schedules.plot_schedule({"a": 0.1, "b": 0.2}, 5).lines[1].get_label() == "b"
    with pytest.raises(
        ValueError, match=r"labels=\['a', 'b'\] has the length 2. Expected 1, one label"
    ):
        gk.schedules.plot_schedule(0.1, 5, labels=["a", "b"])


def test_a_long_run_is_drawn_at_two_thousand_whole_steps():
    steps = (
        gk.schedules.plot_schedule(gk.schedules.inverse_sqrt_schedule(1.0), 10**9)
        .lines[0]
        .get_xdata()
    )
    assert len(steps) == 2000
    assert steps[-1] == 10**9


def test_without_matplotlib_the_package_works_and_plotting_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ImportError, match=r"plot_schedule: matplotlib is missing .*pip install 'gradkit\[plot\]'"
    ):
        gk.schedules.plot_schedule(0.1, 5)


def test_importing_the_package_does_not_import_matplotlib():
    code = (
        "import gradkit, sys; assert 'matplotlib' not in sys.modules and 'optax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
