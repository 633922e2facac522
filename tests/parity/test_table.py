"""Every counterpart agrees, in float64 to 1e-10 over 200 steps."""

import warnings

import pytest

import gradkit as gk
from gradkit._call import Call
from gradkit.parity import TABLE
from gradkit.parity.table import installed

# Parts without a counterpart elsewhere: their own tests hold them against their formulas.
ALONE = {
    "GradientTransformation",
    "add_elastic_net_penalty",
    "add_l1_penalty",
    "add_smoothed_l1_penalty",
    "nesterov",
    "fading_peak",
    "latest",
    "peak",
    "total",
    "variance",
    "function_schedule",
    "product_schedule",
    "sum_schedule",
}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name.replace(" ", "-").replace(",", ""))
def test_trajectory_agrees_with_its_counterpart(row):
    if not installed(row.against):
        pytest.skip(f"{row.against} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the peers
        report = row.run(200, "float64")
    assert report.passed, str(report)
    assert report.steps == min(200, row.most or 200)


def test_names_are_unique():
    names = [row.name for row in TABLE]
    assert len(names) == len(set(names))


# The families that the table covers whole: whatever joins them gets a row.
WHOLE = {f"gradkit.{family}" for family in ("optimizers.adam", "optimizers.adaptive", "optimizers.momentum", "transforms.clip", "transforms.decay")}
WHOLE |= {f"gradkit.{family}" for family in ("transforms.scale", "transforms.shape", "averages.averages")}


def test_every_part_of_a_covered_family_has_a_row():
    from tests.cases import factories

    covered = {name for name, factory in factories(Call).items() if factory.__module__ in WHOLE or factory.__module__.startswith("gradkit.schedules")}
    assert covered
    assert not covered - {row.part for row in TABLE} - ALONE


@pytest.mark.parametrize("part", ["adam", "sgd", "clip_by_global_norm"])
def test_low_precision_is_as_exact_as_the_reference(part):
    pytest.importorskip("optax")
    row = next(row for row in TABLE if row.part == part and row.against == "optax")
    for dtype in ("float32", "bfloat16"):
        report = row.run(100, dtype)
        assert report.passed, str(report)
        assert report.rtol is None
        assert report.error is not None


def test_the_table_can_fail():
    row = next(row for row in TABLE if row.name == "optax sgd")
    optax = pytest.importorskip("optax")
    wrong = type(row)("sgd", "", lambda k: gk.sgd(0.1), lambda o: optax.sgd(0.1 + 1e-9))
    assert not wrong.run(5).passed
