"""Every counterpart agrees, in float64 to 1e-10 over 200 steps, or its row says why not."""

import inspect
import warnings

import pytest

import gradkit as gk
from gradkit._call import Call
from gradkit.parity import TABLE
from gradkit.parity.table import installed

# Parts without a row, and why: their own tests hold them against their formulas.
ALONE = {
    **dict.fromkeys(
        (
            "add_elastic_net_penalty",
            "add_l1_penalty",
            "add_smoothed_l1_penalty",
            "decayed_max",
            "latest",
            "nesterov",
            "running_max",
            "running_sum",
            "variance",
        ),
        "no counterpart",
    ),
    **dict.fromkeys(
        ("GradientTransformation", "function_schedule"),
        "how parts are made and joined, no part",
    ),
    **dict.fromkeys(
        (
            "adam_mini",
            "scale_by_adam_mini",
            "came",
            "scale_by_confidence",
            "grokfast",
            "laprop",
            "mars",
            "clip_by_spectral_norm",
            "dion",
            "normuon",
            "scale_by_dion",
            "scale_by_lmo",
            "scale_by_normuon",
            "scion",
        ),
        "neither optax nor torch has it: tests/optimizers",
    ),
    **dict.fromkeys(
        (
            *("bfgs", "dfp", "gauss_newton", "levenberg_marquardt", "newton", "newton_cg"),
            *("nonlinear_cg", "scale_by_bfgs", "scale_by_dfp", "scale_by_gauss_newton"),
            *("scale_by_levenberg_marquardt", "scale_by_newton", "scale_by_newton_cg"),
            "scale_by_nonlinear_cg",
        ),
        "neither optax nor torch has it: tests/optimizers/test_second_order.py, tests/minimize",
    ),
    "scale_by_shape": "a part of muon, whose rows hold it",
    "scale_by_rprop": "optax gives every update one step late; rprop stands against torch",
    "scale_by_asgd": "torch has no links; asgd has a row",
    "adafactor_decay_schedule": "the decay of adafactor, whose rows hold it",
    **dict.fromkeys(
        ("sophia", "scale_by_sophia", "hutchinson_estimator_diag_hessian"),
        "need a loss function beside gradients: tests/optimizers/test_sophia.py",
    ),
    **dict.fromkeys(
        ("additive_ema", "compressed", "ema_from_first", "per_leaf", "weighted_sum"),
        "averages that optax has inside its optimizers, whose rows hold them",
    ),
    **dict.fromkeys(
        ("by_function", "by_dtype", "by_path", "by_rank", "by_size", "every", "outside", "some"),
        "predicates: tests/core/test_masks.py",
    ),
    **dict.fromkeys(
        ("clip_by_percentile", "clip_by_zscore", "cautious", "compensated", "stochastic_rounding"),
        "no counterpart: tests/transforms and tests/wrappers",
    ),
    **dict.fromkeys(
        ("measure_with_ema", "monitor", "snapshot", "watch", "weight_ema", "polyak_average", "swa"),
        "leave the updates alone: their state is held to its formula in tests/wrappers",
    ),
    **dict.fromkeys(
        ("shampoo", "scale_by_shampoo", "soap", "scale_by_soap", "psgd_kron", "scale_by_psgd_kron"),
        "neither optax nor torch has it: NumPy's in tests/optimizers",
    ),
    **dict.fromkeys(
        ("compress", "master_weights", "sharded"),
        "no counterpart: tests/wrappers, tests/core/test_sharding.py",
    ),
    "stacked": "the transform inside is held to its own row: tests/wrappers/test_stacked.py",
    "split_real_and_imaginary": "for complex leaves: tests/wrappers/test_complex.py",
    **dict.fromkeys(
        ("dpsgd", "differentially_private_aggregate"),
        "take gradients per example: tests/transforms/test_privacy.py",
    ),
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


@pytest.mark.parametrize(
    "row",
    [row for row in TABLE if row.rtol > 1e-10 or (row.most or 200) < 200],
    ids=lambda row: row.name.replace(" ", "-"),
)
def test_a_looser_or_shorter_row_says_why(row):
    assert row.note


# Arguments that no row gives, and why.
UNVARIED = {
    "batch_axis_name": "needs a mapped axis: tests/wrappers/test_sam.py",
    "dtype_momentum": "optax rounds the arithmetic to it too",
    "method": "optax has none",
    "mode": "optax has none",
    "ns_dtype": "optax has none",
    "mu_dtype": "its row is that of adam",
    "verbose": "prints: tests/transforms/test_linesearch.py",
    "state_dtype": "optax multiplies z in it: tests/wrappers/test_schedule_free.py",
}
VARIED = (
    "adafactor",
    "adan",
    "lbfgs",
    "galore",
    "madgrad",
    "mechanize",
    "muon",
    "nadamw",
    "optimistic_adam_v2",
    "polyak_sgd",
    "reduce_on_plateau",
    "sam",
    "scale_by_backtracking_linesearch",
    "scale_by_lbfgs",
    "scale_by_zoom_linesearch",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_sgd",
)


@pytest.mark.parametrize("part", VARIED)
def test_every_argument_is_varied_against_optax(part):
    made = [row.make(gk) for row in TABLE if row.part == part and row.against == "optax"]
    given = [
        call.arguments
        for tx in made
        for call in (tx, *tx.children().values())
        if call.factory.__name__ == part
    ]
    for name, parameter in inspect.signature(getattr(gk, part)).parameters.items():
        if name not in UNVARIED and parameter.default is not inspect.Parameter.empty:
            assert any(arguments[name] != parameter.default for arguments in given), (
                f"no row of {part} varies {name}"
            )


def test_names_are_unique():
    names = [row.name for row in TABLE]
    assert len(names) == len(set(names))


# The rooms that the table covers whole: whatever joins them gets a row, or a reason.
WHOLE = tuple(
    f"gradkit.{room}" for room in ("averages", "transforms", "wrappers", "optimizers", "schedules")
)


def test_every_part_of_a_covered_room_has_a_row():
    from tests.cases import factories

    covered = {
        name for name, factory in factories(Call).items() if factory.__module__.startswith(WHOLE)
    }
    assert covered
    assert not covered - {row.part for row in TABLE} - ALONE.keys()
    assert not {row.part for row in TABLE} & ALONE.keys(), "what has a row is not alone"


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
