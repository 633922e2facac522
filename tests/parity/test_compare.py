"""What `compare` measures, and that it notices."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit.parity import Report, Torch, compare
from gradkit.parity.report import difference

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
    assert (report.passed, report.verdict, report.first_step, report.first_path) == (
        False,
        "differs",
        at,
        path,
    )
    assert 0.9e-8 < report.max_rel < 1e-4
    assert f"step {at}, {path}" in str(report)


def test_a_report_is_true_when_it_passed():
    assert compare(gk.sgd(0.1), gk.sgd(0.1), PARAMS, gradients, 3)
    assert not compare(gk.sgd(0.1), gk.sgd(0.2), PARAMS, gradients, 3, dtype="float64")
    assert not compare(planted(0, "a", 1e-2), gk.sgd(0.1), PARAMS, gradients, 3, dtype="float32")


def test_an_error_within_the_tolerance_passes():
    report = compare(planted(3, "a", 1e-12), gk.sgd(0.1), PARAMS, gradients, 12, dtype="float64")
    assert report.passed
    assert report.first_step is None
    assert report.max_ulp > 100
    assert compare(
        planted(3, "a", 1e-6),
        gk.sgd(0.1),
        PARAMS,
        gradients,
        12,
        dtype="float64",
        rtol=1e-12,
        atol=1e-3,
    ).passed


def test_with_a_loss_each_side_sees_its_own_parameters():
    report = compare(
        gk.sgd(0.01, 0.9),
        gk.chain(gk.trace(0.9), gk.scale(-0.01)),
        PARAMS,
        bowl,
        20,
        dtype="float64",
    )
    assert report.max_abs == 0.0
    # One gradient later the two trajectories have parted: the loss was asked again.
    apart = compare(gk.sgd(0.01), gk.sgd(0.02), PARAMS, bowl, 20, dtype="float64")
    assert (apart.first_step, apart.first_path) == (0, "params.a")


def test_absolute_relative_and_ulp_are_what_they_say():
    one = {"w": np.ones(())}
    report = compare(gk.scale(1.5), gk.scale(1.0), one, [one], 1, dtype="float32", rtol=1e-3)
    # updates 1.5 against 1, parameters 2.5 against 2
    assert (report.max_abs, report.max_rel, report.max_ulp) == (0.5, 0.5, 0.5 / 2**-23)
    # An ulp is that of the leaf's largest number, 1 here, also for the small one next to it.
    small = gk.chain(
        gk.stateless(
            lambda updates, params: jax.tree.map(lambda u: jnp.where(u < 0.1, 2 * u, u), updates)
        )
    )
    report = compare(
        small,
        gk.identity(),
        {"w": np.zeros(2)},
        [{"w": np.array([1.0, 2.0**-20])}],
        1,
        dtype="float32",
        rtol=1e-3,
    )
    assert (report.passed, report.max_rel, report.max_ulp) == (False, 1.0, 2.0**-20 / 2**-23)
    zero = {"w": np.zeros(())}
    assert (
        compare(gk.scale(1.0), gk.set_to_zero(), zero, [one], 1, dtype="float64").max_rel
        == math.inf
    )


def test_where_the_reference_crosses_zero_the_report_stays_readable():
    feed = [{"w": np.ones(())}, {"w": np.full((), 4.0)}]  # 1, 0, -4
    report = compare(
        gk.scale(-1.005),
        gk.scale(-1.0),
        {"w": np.ones(())},
        feed,
        2,
        dtype="bfloat16",
        truth=gk.scale(-1.005),
    )
    assert (report.passed, report.max_rel, report.max_ulp) == (True, math.inf, 1.0)
    assert difference(report) == ("-", "1 ulp")
    assert "relative -, 1 ulp" in str(report)
    # So with an absolute tolerance that allows it; a broken tolerance names it.
    report = compare(
        gk.scale(-1.005),
        gk.scale(-1.0),
        {"w": np.ones(())},
        [{"w": np.ones(())}],
        1,
        dtype="float64",
        atol=0.1,
    )
    assert (report.passed, difference(report)[0]) == (True, "-")
    report = compare(
        gk.scale(-1.005),
        gk.scale(-1.0),
        {"w": np.ones(())},
        [{"w": np.ones(())}],
        1,
        dtype="float64",
    )
    assert (report.passed, difference(report)[0]) == (False, "inf")


def test_an_ulp_of_nothing_is_infinite():
    nan, one = {"w": np.full(2, np.nan)}, {"w": np.ones(2)}
    for reference, feed in ((gk.identity(), nan), (gk.set_to_zero(), one)):
        report = compare(
            gk.chain(gk.zero_nans(), gk.scale(2.0)),
            reference,
            {"w": np.zeros(2)},
            [feed],
            1,
            dtype="float32",
            truth=gk.scale(2.0),
        )
        assert report.max_rel == math.inf
        assert report.max_ulp == math.inf
        assert difference(report) == ("-", "- ulp")


def test_nan_agrees_with_nan_only():
    nan, one = {"w": np.full(2, np.nan)}, {"w": np.ones(2)}
    assert compare(gk.scale(1.0), gk.identity(), one, [nan], 1, dtype="float64").passed
    report = compare(gk.zero_nans(), gk.identity(), one, [nan], 1, dtype="float64")
    assert (report.passed, report.max_abs, report.first_path) == (False, math.inf, "updates.w")


def test_sequences_and_functions_of_the_step_are_the_same_feed():
    sequence = [gradients(step) for step in range(5)]
    reports = [
        compare(gk.sgd(0.1), gk.adam(0.1), PARAMS, feed, 5, dtype="float64")
        for feed in (sequence, gradients)
    ]
    assert reports[0] == reports[1]


def test_low_precision_is_judged_by_rounding_error():
    def coarse(updates, params):
        return jax.tree.map(lambda u: (-0.1 * u).astype(jnp.bfloat16).astype(u.dtype), updates)

    rough = gk.chain(gk.stateless(coarse))
    less = compare(rough, gk.sgd(0.1), PARAMS, gradients, 10, dtype="float32")
    more = compare(gk.sgd(0.1), rough, PARAMS, gradients, 10, dtype="float32", truth=gk.sgd(0.1))
    assert (less.passed, less.verdict, more.passed, more.verdict) == (
        False,
        "less exact",
        True,
        "as exact",
    )
    assert less.error > 1e-4
    assert more.error < 1e-6


def test_extras_reach_the_transforms_that_take_them():
    scaled = gk.chain(
        gk.stateless(
            lambda updates, params, *, value: jax.tree.map(
                lambda u: u * value.astype(u.dtype), updates
            )
        )
    )
    report = compare(
        scaled,
        gk.scale(3.0),
        PARAMS,
        gradients,
        4,
        dtype="float64",
        extras=lambda step: {"value": np.float64(3.0)},
    )
    assert report.passed


def test_the_report_reads_and_reads_back():
    report = compare(gk.scale(1.0), gk.set_to_zero(), PARAMS, gradients, 2, dtype="float64")
    assert isinstance(report, Report)
    assert len(str(report).splitlines()) == 4
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert found["max_rel"] == "inf"
    assert found["passed"] is False
    assert found["tx"] == "scale(1.0)"


class Adam:
    """What torch's optimizers look like, without torch."""

    __module__ = "torch.optim.optimizer"

    def __init__(self, tensors=()):
        pass


class Mine(Adam):
    __module__ = "__main__"


FORMED = "is not an optimizer. Expected a gradkit or an optax transform."
CALL = (
    "Call it, and pass what it returns; a function that makes a torch optimizer "
    "goes into gradkit.parity.Torch."
)


@pytest.mark.parametrize("at", ["tx", "reference", "truth"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "adam",
            f"str 'adam' {FORMED} Pass the optimizer itself, such as gradkit.adam(1e-3).",
        ),
        (7, f"int 7 {FORMED} Pass the optimizer itself, such as gradkit.adam(1e-3)."),
        (gk.adam, f"the function adam {FORMED} {CALL}"),
        (Torch, f"the class Torch {FORMED} {CALL}"),
        (type(gk.adam(0.1)), f"the class {type(gk.adam(0.1)).__name__} {FORMED} {CALL}"),
        (
            Adam(),
            f"torch's Adam {FORMED} Wrap what makes it: "
            "gradkit.parity.Torch(lambda tensors: Adam(tensors, ...)).",
        ),
        (
            Mine,
            f"torch's Mine {FORMED} Wrap what makes it: "
            "gradkit.parity.Torch(lambda tensors: Mine(tensors, ...)).",
        ),
    ],
)
def test_what_is_no_optimizer_is_refused_in_its_place(at, given, message):
    with pytest.raises(TypeError) as caught:
        compare(
            **{
                "tx": gk.sgd(0.1),
                "reference": gk.sgd(0.1),
                "params": PARAMS,
                "gradients_or_loss": bowl,
                "steps": 3,
                at: given,
            }
        )
    assert str(caught.value) == f"compare, {at}: {message}"


def test_the_real_optimizers_of_torch_are_known():
    torch = pytest.importorskip("torch")
    for given in (torch.optim.Adam, torch.optim.SGD([torch.ones(2)], lr=0.1)):
        with pytest.raises(
            TypeError,
            match=r"compare, reference: torch's \w+ is not an optimizer.* "
            r"Wrap what makes it: gradkit.parity.Torch",
        ):
            compare(gk.sgd(0.1), given, PARAMS, bowl, 3)


def test_torch_takes_what_makes_an_optimizer():
    with pytest.raises(
        TypeError,
        match=r"^Torch, optimizer: Adam is not a function\. "
        r"Expected a function that makes the optimizer from a list of tensors\. "
        r"Such as lambda tensors: ",
    ):
        Torch(Adam())
    with pytest.raises(
        TypeError,
        match=r"^Torch, scheduler: int is not a function\. "
        r"Expected a function that makes the scheduler from the optimizer\. "
        r"Such as lambda optimizer: ",
    ):
        Torch(Adam, 7)


ONE = "Expected a loss that returns one number, or gradients(step) like params."
REDUCE = "Reduce the loss, as with jnp.mean, and return nothing beside it."


@pytest.mark.parametrize(
    ("params", "given", "message"),
    [
        (PARAMS, lambda p: p["b"]["c"] ** 2, f"the function returns float32[3]. {ONE} {REDUCE}"),
        (PARAMS, lambda p: bowl(p)[None], f"the function returns float32[1]. {ONE} {REDUCE}"),
        (PARAMS, lambda p: (bowl(p), p), f"the function returns a tuple. {ONE} {REDUCE}"),
        (
            np.ones(3),
            lambda p: p**2,
            f"the function returns float32[3]. {ONE} {REDUCE}",
        ),  # an array: it takes a step too
        (
            PARAMS,
            lambda p: p["missing"],
            "the function fails on parameters (KeyError: 'missing') "
            "and on step 0 (TypeError: 'int' object is not subscriptable). "
            "Expected a function of the parameters or of the step.",
        ),
        (
            PARAMS,
            7,
            "int is neither a loss nor gradients. Expected a loss, or gradients for 3 steps. "
            "Pass loss(params), gradients(step), or a list of trees.",
        ),
    ],
)
def test_what_is_neither_a_loss_nor_gradients_is_refused(params, given, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        compare(gk.sgd(0.1), gk.sgd(0.1), params, given, 3, dtype="float32")
    assert str(caught.value) == f"compare, gradients_or_loss: {message}"


def test_gradients_that_do_not_look_at_the_step_are_no_loss():
    assert compare(gk.sgd(0.1), gk.sgd(0.1), np.ones(3), lambda step: np.arange(3.0), 3)
    assert compare(gk.sgd(0.1), gk.sgd(0.1), PARAMS, lambda step: PARAMS, 3)
    spent = iter([PARAMS] * 3)  # one goes to the question whether it is a loss
    with pytest.raises(StopIteration):
        compare(gk.sgd(0.1), gk.sgd(0.1), PARAMS, lambda step: next(spent), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (gk.sgd(0.1), gk.sgd(0.1), PARAMS, [gradients(0)], 3),
            "compare, gradients_or_loss: gradients for 1 steps are too few",
        ),
        (
            (gk.sgd(0.1), gk.sgd(0.1), PARAMS, gradients, 0),
            "compare: steps=0 is out of range",
        ),
        (
            (gk.sgd(0.1), gk.sgd(0.1), {"w": np.ones(2, int)}, gradients, 3),
            r"compare, w: this parameter is int(32|64)\[2\]\. Expected a floating dtype",
        ),
        (
            (gk.sgd(0.1), gk.sgd(0.1), PARAMS, [{"a": np.ones((2, 2))}], 1),
            r"compare, b\.c: this parameter has no update",
        ),
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
