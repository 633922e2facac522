"""What `compare` measures, and that it notices."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit.parity import Report, compare

PARAMS = {"a": np.ones((2, 2)), "b": {"c": np.full(3, 2.0)}, "none": np.zeros((0,))}


def gradients(step):
    rng = np.random.default_rng(step)
    return jax.tree.map(lambda p: rng.normal(size=p.shape), PARAMS)


def bowl(params):
    return jnp.sum(params["a"] ** 4) + jnp.sum((params["b"]["c"] - 1) ** 2)


def planted(at, name, by):
    """Gradient descent that errs in one leaf from one step on."""

    def update(updates, params, *, step):
        wrong = {"a": updates["a"], "b": {"c": updates["b"]["c"]}, "none": updates["none"]}
        factor = jnp.where(step >= at, 1 + by, 1.0)
        if name == "a":
            wrong["a"] = wrong["a"] * factor.astype(updates["a"].dtype)
        else:
            wrong["b"]["c"] = wrong["b"]["c"] * factor.astype(updates["a"].dtype)
        return jax.tree.map(lambda u: -0.1 * u, wrong)

    return gk.chain(gk.stateless(update))


@pytest.mark.parametrize(("at", "name", "path"), [(0, "a", "updates.a"), (7, "b", "updates.b.c")])
def test_names_the_step_and_the_leaf_of_a_planted_error(at, name, path):
    report = compare(planted(at, name, 1e-8), gk.sgd(0.1), PARAMS, gradients, 12, dtype="float64")
    assert (report.passed, report.verdict, report.first_step, report.first_path) == (False, "differs", at, path)
    assert 0.9e-8 < report.max_rel < 1e-4
    assert f"step {at}, {path}" in str(report)


def test_an_error_within_the_tolerance_passes():
    report = compare(planted(3, "a", 1e-12), gk.sgd(0.1), PARAMS, gradients, 12, dtype="float64")
    assert report.passed
    assert report.first_step is None
    assert report.max_ulp > 100
    assert compare(planted(3, "a", 1e-6), gk.sgd(0.1), PARAMS, gradients, 12, dtype="float64", rtol=1e-12, atol=1e-3).passed


def test_with_a_loss_each_side_sees_its_own_parameters():
    report = compare(gk.sgd(0.01, 0.9), gk.chain(gk.trace(0.9), gk.scale(-0.01)), PARAMS, bowl, 20, dtype="float64")
    assert report.max_abs == 0.0
    # One gradient later the two trajectories have parted: the loss was asked again.
    apart = compare(gk.sgd(0.01), gk.sgd(0.02), PARAMS, bowl, 20, dtype="float64")
    assert (apart.first_step, apart.first_path) == (0, "params.a")


def test_absolute_relative_and_ulp_are_what_they_say():
    one = {"w": np.ones(())}
    report = compare(gk.scale(1.5), gk.scale(1.0), one, [one], 1, dtype="float32", rtol=1e-3)
    # updates 1.5 against 1, parameters 2.5 against 2
    assert (report.max_abs, report.max_rel, report.max_ulp) == (0.5, 0.5, 0.5 / 2**-23)
    zero = {"w": np.zeros(())}
    assert compare(gk.scale(1.0), gk.set_to_zero(), zero, [one], 1, dtype="float64").max_rel == math.inf


def test_nan_agrees_with_nan_only():
    nan, one = {"w": np.full(2, np.nan)}, {"w": np.ones(2)}
    assert compare(gk.scale(1.0), gk.identity(), one, [nan], 1, dtype="float64").passed
    report = compare(gk.zero_nans(), gk.identity(), one, [nan], 1, dtype="float64")
    assert (report.passed, report.max_abs, report.first_path) == (False, math.inf, "updates.w")


def test_sequences_and_functions_of_the_step_are_the_same_feed():
    sequence = [gradients(step) for step in range(5)]
    reports = [compare(gk.sgd(0.1), gk.adam(0.1), PARAMS, feed, 5, dtype="float64") for feed in (sequence, gradients)]
    assert reports[0] == reports[1]


def test_low_precision_is_judged_by_rounding_error():
    def coarse(updates, params):
        return jax.tree.map(lambda u: (-0.1 * u).astype(jnp.bfloat16).astype(u.dtype), updates)

    rough = gk.chain(gk.stateless(coarse))
    less = compare(rough, gk.sgd(0.1), PARAMS, gradients, 10, dtype="float32")
    more = compare(gk.sgd(0.1), rough, PARAMS, gradients, 10, dtype="float32", truth=gk.sgd(0.1))
    assert (less.passed, less.verdict, more.passed, more.verdict) == (False, "less exact", True, "as exact")
    assert less.error > 1e-4
    assert more.error < 1e-6


def test_extras_reach_those_who_ask():
    scaled = gk.chain(gk.stateless(lambda updates, params, *, value: jax.tree.map(lambda u: u * value.astype(u.dtype), updates)))
    report = compare(scaled, gk.scale(3.0), PARAMS, gradients, 4, dtype="float64", extras=lambda step: {"value": np.float64(3.0)})
    assert report.passed


def test_the_report_reads_and_reads_back():
    report = compare(gk.scale(1.0), gk.set_to_zero(), PARAMS, gradients, 2, dtype="float64")
    assert isinstance(report, Report)
    assert len(str(report).splitlines()) == 4
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert found["max_rel"] == "inf"
    assert found["passed"] is False
    assert found["tx"] == "scale(1.0)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((gk.sgd(0.1), gk.sgd(0.1), PARAMS, [gradients(0)], 3), "gradients for 3 steps; got 1"),
        ((gk.sgd(0.1), 7, PARAMS, gradients, 3), "compare needs transforms; got 7"),
        ((gk.sgd(0.1), gk.sgd(0.1), PARAMS, gradients, 0), "whole number >= 1; got 0"),
        ((gk.sgd(0.1), gk.sgd(0.1), {"w": np.ones(2, int)}, gradients, 3), "floating dtype"),
        ((gk.sgd(0.1), gk.sgd(0.1), PARAMS, [{"a": np.ones((2, 2))}], 1), "needs an update for this parameter"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        compare(*arguments)


def test_optax_runs_under_a_strict_user():
    optax = pytest.importorskip("optax")
    report = compare(gk.adam(0.1), optax.adam(0.1), PARAMS, gradients, 10, dtype="float64")
    assert report.passed
    assert report.reference == "optax.chain"
