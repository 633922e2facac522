"""Gradient checks: right gradients pass in any dtype, planted errors are found and named."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit._gradient_check.quotients import Probes, judge


@jax.custom_vjp
def bent(w, x):
    """``w² x``, whose backward pass forgets one term: the derivative by w of element 3."""
    return w**2 * x


def _backward(residuals, g):
    w, x = residuals
    return g * 2 * w * x * (jnp.arange(w.size) != 3), g * w**2


bent.defvjp(lambda w, x: (w**2 * x, (w, x)), _backward)


def net(p, x, labels):
    hidden = jax.nn.relu(x @ p["w"] + p["b"][None])
    return jnp.mean((hidden @ p["out"] - labels) ** 2) + 1e-2 * jnp.sum(p["w"] ** 2)


P = {
    "w": jnp.asarray(np.random.default_rng(0).normal(size=(5, 7)), jnp.float32),
    "b": jnp.zeros(7, jnp.bfloat16),
    "out": jnp.ones((7,), jnp.float32) / 2,
}
X = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
LABELS = np.arange(6)


def test_a_right_gradient_passes_to_the_digits_of_float64_from_any_dtype():
    report = gk.check_gradient(net, P, X, LABELS, samples=6)
    report.assert_passed()
    assert report
    assert report.passed
    assert [(row.path, row.checked, row.size) for row in report.rows] == [
        ("b", 6, 7),
        ("out", 6, 7),
        ("w", 6, 35),
        ("(directions)", 4, 4),
    ]
    assert report.relative_error < 1e-8
    assert not any(row.kinks or row.wrong for row in report.rows)
    assert not jax.config.read("jax_enable_x64")
    assert json.loads(json.dumps(report.to_json()))["passed"]


def test_relu_at_zero_is_a_kink_and_not_an_error():
    # The first row of x is zero: with b = 0 every hidden unit sits at the kink for it.
    report = gk.check_gradient(net, P, X * (np.arange(6) > 0)[:, None], LABELS + 1, samples=None)
    rows = {row.path: row for row in report.rows}
    assert report
    assert set(rows) == {"b", "out", "w"}
    assert (len(rows["b"].kinks), rows["b"].verdict) == (7, "kink")
    assert not rows["w"].kinks
    assert not rows["out"].kinks
    assert "kink, gradient" in str(report)


def test_a_wrong_custom_derivative_is_found_at_its_element():
    w = jnp.linspace(0.5, 2.0, 6)
    report = gk.check_gradient(
        lambda p, x: (bent(p["w"], x).sum() + p["z"].real ** 2 + 3 * p["z"].imag, {"aux": x}),
        {"w": w, "z": jnp.array(0.0 + 2.0j, jnp.complex64)},
        jnp.ones(6),
        has_aux=True,
    )
    (wrong,) = report.rows[0].wrong
    assert not report
    assert report.rows[1].passed
    assert report.rows[1].size == 2
    assert (wrong.index, wrong.gradient, wrong.reason) == ((3,), 0.0, "differs")
    np.testing.assert_allclose(wrong.difference, 2 * float(w[3]), rtol=1e-8)
    # The ratio of norms, over the leaf.
    exact = 2 * np.asarray(w, float)
    found = exact * (np.arange(6) != 3)
    norm = np.linalg.norm
    ratio = norm(exact - found) / (norm(exact) + norm(found))
    np.testing.assert_allclose(report.rows[0].relative_error, ratio, rtol=1e-6)
    with pytest.raises(AssertionError, match=r"wrong in w(.|\n)*w \[3\]: gradient 0, difference"):
        report.assert_passed()


def test_a_gradient_written_by_hand_is_checked_in_place_of_the_one_of_jax():
    def loss(p, x):
        return jnp.sum((x @ p["w"] - 1) ** 2) + jnp.abs(p["z"]) ** 2

    def by_hand(p, x):
        residual = x @ p["w"] - 1
        return {"w": 2 * x.T @ residual, "z": 2 * jnp.conj(p["z"])}

    def transposed(p, x):
        return {"w": 2 * x @ (x @ p["w"] - 1), "z": 2 * p["z"]}

    p = {"w": jnp.linspace(0.0, 1.0, 3), "z": jnp.array(1.0 + 2.0j, jnp.complex64)}
    x = jnp.arange(9.0).reshape(3, 3)
    assert gk.check_gradient(loss, p, x, grad_fn=by_hand)
    report = gk.check_gradient(loss, p, x, grad_fn=transposed)
    assert [len(row.wrong) for row in report.rows] == [3, 1]
    assert report.rows[1].wrong[0].index == ("imag",)


def test_directions_find_an_error_in_an_element_that_is_not_sampled():
    report = gk.check_gradient(
        lambda w: bent(w, jnp.ones(200)).sum(), jnp.ones(200), samples=1, directions=2
    )
    assert report.rows[0].passed
    assert not report.rows[1].passed
    assert not report
    assert len(report.rows[1].wrong) == 2


def judged(fun, x, gradient):
    """The reason and the verdict for a function of one number, without compiling it."""
    h = 1e-5 * max(1.0, abs(x))
    values = np.array([[fun(x + d) for d in (h, -h, h / 10, -h / 10)]])
    found = judge(fun(x), Probes(np.array([gradient]), np.array([h]), values), 1e-7)
    return found.reason[0], not found.bad[0]


def relu(x):
    return max(x, 0.0)


@pytest.mark.parametrize("far", [0.0, 3e-8, 2e-7, 7e-7, 9.9e-7, 3e-6, 9e-6, 2e-5])
@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_kink_at_any_distance_accepts_its_slopes_and_nothing_else(far, side, scale):
    x, right = side * far, float(side * far > 0)
    fun = lambda x: scale * (relu(x) + x**2 + 0.7)
    assert judged(fun, x, scale * (right + 2 * x))[1]
    assert not judged(fun, x, scale * (right + 2 * x + 1.5))[1]
    assert not judged(fun, x, scale * (right + 2 * x - 1.5))[1]
    if far < 1e-6:
        assert judged(fun, x, scale * (right + 2 * x))[0] == "kink"


def test_smooth_functions_have_no_kinks_and_small_errors_are_seen():
    rng = np.random.default_rng(0)
    for x in rng.normal(size=40) * 3:
        for fun, slope in ((np.tanh, 1 / np.cosh(x) ** 2), (np.exp, np.exp(x))):
            assert judged(fun, x, slope) == ("", True)
            assert judged(fun, x, slope + 1e-5 * abs(slope) + 1e-7) == ("differs", False)
    # Large numbers cancel inside: the rounding error of the values is not taken for an error.
    slopes, h = rng.normal(size=30), np.full(30, 1e-5)
    fun = lambda change: (0.3 + change + 1e4) - 1e4
    values = fun(slopes[:, None] * h[0] * np.array([1, -1, 0.1, -0.1]))
    found = judge(fun(0.0), Probes(slopes, h, values), 1e-7)
    assert not found.bad.any()
    assert np.max(np.abs(found.difference - slopes)) > 1e-9


def test_steps_and_nan_gradients_are_wrong():
    assert judged(lambda x: float(x >= 0), 0.0, 0.0) == ("discontinuous", False)
    assert judged(lambda x: relu(x) - relu(-x), 0.0, 0.0) == ("differs", False)
    assert judged(lambda x: x, 0.0, np.nan) == ("not finite", False)


REFUSED = {
    "lower precision": (
        lambda: gk.check_gradient(lambda w: jnp.tanh(w.astype("float32")).sum(), jnp.ones(2)),
        ValueError,
        r"check_gradient: loss_fn=<lambda> casts to float32\. Expected a loss computed in float64",
    ),
    "lower precision inside": (
        lambda: gk.check_gradient(
            jax.jit(lambda w: w.astype("bfloat16").astype("float64").sum()), jnp.ones(2)
        ),
        ValueError,
        r"casts to bfloat16",
    ),
    "nan": (
        lambda: gk.check_gradient(lambda w: jnp.log(w).sum(), -jnp.ones(2)),
        ValueError,
        r"the loss is nan at params\. Expected a finite loss",
    ),
    "vector": (
        lambda: gk.check_gradient(lambda w: w, jnp.ones(2)),
        TypeError,
        r"loss_fn=<lambda> returns float64\[2\]\. Expected one real number",
    ),
    "aux": (
        lambda: gk.check_gradient(lambda w: (w.sum(), w), jnp.ones(2)),
        TypeError,
        r"returns tuple\. Expected one real number\. Pass has_aux=True",
    ),
    "no aux": (
        lambda: gk.check_gradient(lambda w: w.sum(), jnp.ones(2), has_aux=True),
        TypeError,
        r"Expected \(loss, aux\), with has_aux=True",
    ),
    "integers": (
        lambda: gk.check_gradient(lambda p: p["n"], {"n": jnp.arange(3)}),
        TypeError,
        r"check_gradient, n: this leaf of params is int32\[3\].*Pass integer leaves among args",
    ),
    "empty": (
        lambda: gk.check_gradient(lambda p: 0.0, {}),
        ValueError,
        r"params has no leaves",
    ),
    "no function": (
        lambda: gk.check_gradient(3, jnp.ones(2)),
        TypeError,
        r"loss_fn=3 is not a function",
    ),
    "arguments": (
        lambda: gk.check_gradient(net, P),
        TypeError,
        r"loss_fn=net cannot be called with 1 positional argument",
    ),
    "gradient's tree": (
        lambda: gk.check_gradient(jnp.sum, jnp.ones(2), grad_fn=lambda w: {"w": w}),
        ValueError,
        r"grad_fn returned the tree PyTreeDef.* Expected that of params",
    ),
    "gradient's shape": (
        lambda: gk.check_gradient(
            lambda p: p["w"].sum(), {"w": jnp.ones(2)}, grad_fn=lambda p: {"w": 1.0}
        ),
        ValueError,
        r"check_gradient, w: grad_fn returned float64\[\]\. Expected the shape \[2\]",
    ),
    "no gradient": (
        lambda: gk.check_gradient(jnp.sum, jnp.ones(2), grad_fn=3),
        TypeError,
        r"grad_fn=3 is not a function",
    ),
    "nothing": (
        lambda: gk.check_gradient(jnp.sum, jnp.ones(2), samples=0, directions=0),
        ValueError,
        r"samples=0 and directions=0 leave nothing to check",
    ),
    "eps": (
        lambda: gk.check_gradient(jnp.sum, jnp.ones(2), eps=0.0),
        ValueError,
        r"eps=0\.0 is out of range\. Expected 0 < eps < inf",
    ),
    "samples": (
        lambda: gk.check_gradient(jnp.sum, jnp.ones(2), samples=-1),
        ValueError,
        r"samples=-1 is out of range\. Expected an integer >= 0",
    ),
    "traced": (
        lambda: jax.jit(lambda w: gk.check_gradient(jnp.sum, w).loss)(jnp.ones(2)),
        TypeError,
        r"this leaf of params is traced\. Call it outside jit",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()
