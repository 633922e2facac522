"""`minimize` and `least_squares`: solutions, reasons, counts, and what they refuse."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from benchmarks.problems import PROBLEMS

ROOT = Path(__file__).parents[2]


def rosenbrock(x, b=100.0):
    return b * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


START = jnp.array([-1.2, 1.0])


def bowl(x, at=2.0):
    return jnp.sum((x - at) ** 2)


@pytest.mark.parametrize(("method", "name"), [("lbfgs", "Beale"), ("bfgs", "Broyden tridiagonal")])
def test_problems_are_solved_with_few_more_evaluations_than_scipy(method, name):
    (problem,) = (p for p in PROBLEMS if p.name.partition(",")[0] == name)
    optimize = pytest.importorskip("scipy.optimize")
    scipys = {"bfgs": "BFGS", "lbfgs": "L-BFGS-B"}[method]
    count = 0
    with jax.enable_x64(True):
        fun = jax.jit(jax.value_and_grad(problem.value))

        def counted(x):
            nonlocal count
            count += 1
            value, grad = fun(x)
            return float(value), np.asarray(grad)

        options = {"gtol": 1e-5, **({"ftol": 0} if method == "lbfgs" else {})}
        theirs = optimize.minimize(counted, problem.start, jac=True, method=scipys, options=options)
        ours = gk.minimize(
            problem.value, jnp.asarray(problem.start), getattr(gk, method)(), tol=1e-5
        )
    assert ours.converged
    assert float(ours.grad_norm) <= 1e-5
    assert problem.solved(float(ours.value))
    assert problem.solved(theirs.fun)
    assert int(ours.evaluations) <= 1.2 * count


@pytest.mark.parametrize(("method", "scipys"), [("nonlinear_cg", "CG"), ("newton_cg", "Newton-CG")])
def test_other_methods_end_where_those_of_scipy_do(method, scipys):
    optimize = pytest.importorskip("scipy.optimize")
    (problem,) = (p for p in PROBLEMS if p.name == "Beale")
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(problem.value))
        theirs = optimize.minimize(
            lambda x: float(problem.value(jnp.asarray(x))),
            problem.start,
            jac=lambda x: np.asarray(slope(x)),
            method=scipys,
        )
        start, tx = jnp.asarray(problem.start), getattr(gk, method)()
        ours = gk.minimize(problem.value, start, tx, tol=1e-6)
    np.testing.assert_allclose(np.asarray(ours.x), theirs.x, rtol=1e-4)


def test_the_table_of_the_page_says_what_is_promised():
    page = (ROOT / "docs" / "minimize.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    head = next(row for row in rows if row[0] == "problem")
    last = next(row for row in rows if "median ratio" in row[0])
    ratios = {name: cell for name, cell in zip(head, last, strict=False) if "**" in cell}
    problems = [row for row in rows if row[0] in {p.name.partition(",")[0] for p in PROBLEMS}]
    assert len(problems) == len(PROBLEMS) >= 20
    for method in ("`lbfgs`", "`bfgs`"):
        assert float(ratios[method].strip("*")) <= 1.2
        assert not any("✗" in row[head.index(method)] for row in problems)


def calls_of(tx):
    """What a solve says it evaluated, and how often the function ran."""
    count = 0

    def count_one():
        nonlocal count
        count += 1

    def fun(x):
        jax.debug.callback(count_one)
        return rosenbrock(x)

    result = gk.minimize(fun, START, tx, max_steps=4)
    jax.effects_barrier()
    return int(result.evaluations), count


@pytest.mark.parametrize(
    "tx",
    [
        gk.bfgs(),
        gk.adam(0.1),
        gk.chain(gk.sgd(1.0), gk.scale_by_backtracking_linesearch(9, decrease_factor=0.5)),
    ],
    ids=["zoom", "none", "backtracking"],
)
def test_evaluations_are_as_many_as_the_function_ran(tx):
    told, ran = calls_of(tx)
    assert told == ran
    assert told >= 5


def test_a_tree_is_solved_under_jit_and_vmap_and_with_other_arguments():
    def fun(p, at):
        return jnp.sum((p["w"] - at) ** 4) + jnp.sum((p["b"] - 1) ** 2)

    @jax.jit
    @jax.vmap
    def solve(w, at):
        start = {"w": w, "b": jnp.zeros(())}
        return gk.minimize(fun, start, gk.newton(), args=(at,), tol=1e-4, trace=True, max_steps=30)

    found = solve(jnp.array([[0.0, 1.0], [3.0, 4.0]]), jnp.array([1.0, -1.0]))
    assert found.converged.tolist() == [True, True]
    assert found.reason.tolist() == ["converged", "converged"]
    np.testing.assert_allclose(found.x["b"], 1.0, atol=1e-4)
    assert found.trace.value.shape == (2, 31)
    for i, at in enumerate((1.0, -1.0)):
        np.testing.assert_allclose(found.x["w"][i], at, atol=0.05)
        steps = int(found.steps[i])
        assert np.isfinite(found.trace.value[i, : steps + 1]).all()
        assert np.isnan(found.trace.value[i, steps + 1 :]).all()


def test_the_trace_holds_every_point():
    found = gk.minimize(bowl, jnp.zeros(2), gk.sgd(0.25), tol=0.0, max_steps=3, trace=True)
    assert found.reason == "max_steps"
    assert not found.converged
    np.testing.assert_allclose(found.trace.x[:, 0], [0, 1, 1.5, 1.75])
    np.testing.assert_allclose(found.trace.value, [8, 2, 0.5, 0.125])
    np.testing.assert_allclose(found.trace.grad_norm, [4, 2, 1, 0.5])
    assert found.trace.evaluations.tolist() == [1, 2, 3, 4]
    assert (found.steps, found.evaluations, found.value) == (3, 4, 0.125)


def test_calls_with_other_arguments_and_rates_share_a_compilation():
    traces = []

    def fun(x, at):
        traces.append(1)
        return bowl(x, at)

    first = gk.minimize(fun, jnp.zeros(1), gk.sgd(0.25), args=(1.0,), max_steps=50)
    count = len(traces)
    second = gk.minimize(fun, jnp.ones(1), gk.sgd(0.125), args=(3.0,), max_steps=60)
    assert len(traces) == count + 1  # the one that checks what the function returns
    np.testing.assert_allclose([first.x[0], second.x[0]], [1, 3], atol=5e-3)


def test_complex_arrays_are_solved_as_pairs():
    def fun(z):
        return jnp.sum(jnp.abs(z - (1 + 2j)) ** 2) + jnp.abs(z[0] + z[1].conj()) ** 2

    found = gk.minimize(fun, jnp.zeros(2, complex), gk.newton(), trace=True)
    assert found.x.dtype == found.trace.x.dtype == jnp.complex64
    # By symmetry z₀ = z₁ = x + iy: 2 (x − 1)² + 2 (y − 2)² + 4 x².
    np.testing.assert_allclose(found.x, 1 / 3 + 2j, rtol=1e-5)


def test_the_auxiliary_output_is_that_at_the_solution():
    def fun(x, at):
        return bowl(x, at), {"point": x, "at": at}

    for tx in (gk.lbfgs(), gk.sgd(0.25)):  # with a line search, which evaluates the value alone
        plain = gk.minimize(bowl, jnp.zeros(2), tx, args=(3.0,))
        found = gk.minimize(fun, jnp.zeros(2), tx, args=(3.0,), has_aux=True)
        np.testing.assert_array_equal(found.aux["point"], found.x)
        np.testing.assert_array_equal(found.x, plain.x)
        assert (found.evaluations, plain.aux) == (plain.evaluations, None)
    many = jax.vmap(lambda at: gk.minimize(fun, jnp.zeros(2), tx, args=(at,), has_aux=True))
    assert many(jnp.array([1.0, 2.0])).aux["at"].tolist() == [1.0, 2.0]
    residuals = lambda z: (jnp.stack([z.real - 1, z.imag - 2]), z)
    start = jnp.zeros((), complex)
    fit = gk.least_squares(residuals, start, gk.gauss_newton(), has_aux=True, progress=print)
    assert fit.aux == fit.x
    np.testing.assert_allclose(fit.x, 1 + 2j, rtol=1e-5)


def test_functions_and_transforms_of_optax_are_taken():
    optax = pytest.importorskip("optax")
    found = gk.minimize(bowl, jnp.zeros(2), optax.sgd(0.25))
    assert found.converged
    np.testing.assert_allclose(found.x, 2.0, atol=5e-3)


def test_reasons_name_what_ended_the_solve():
    away = gk.minimize(lambda x: jnp.sum(jnp.log(x)), jnp.ones(1), gk.sgd(0.6), max_steps=9)
    assert (away.reason, away.converged) == ("non-finite", False)
    assert np.isfinite([away.value, away.x[0]]).all()
    assert "is not finite" in away.message

    def saddle(x):
        return x[0] ** 2 - jnp.sum(x[1:] ** 2) + x[1] ** 4

    climbs = gk.minimize(saddle, jnp.array([0.0, 0.1]), gk.newton(modify=False))
    assert (climbs.reason, climbs.steps) == ("no descent", 2)
    assert "damp the Hessian" in climbs.message
    descends = gk.minimize(saddle, jnp.array([0.0, 0.1]), gk.newton())
    assert descends.converged
    np.testing.assert_allclose(descends.x, [0, 0.5**0.5], atol=1e-3)


def test_results_print_their_reason_first():
    found = gk.minimize(bowl, jnp.zeros(2), gk.newton())
    assert repr(found) == (
        "Result(reason='converged', steps=1, evaluations=2, value=0, grad_norm=0, x=[2., 2.])"
    )
    assert "x={'w': float32[20]}" in repr(
        gk.minimize(lambda p: bowl(p["w"]), {"w": jnp.zeros(20)}, gk.sgd(0.1))
    )


def test_parts_of_a_tree_are_solved_by_different_methods():
    def fun(p):
        return jnp.sum((p["a"] - 1) ** 4) + jnp.sum((p["b"] - 3) ** 2) + jnp.sum(p["a"] ** 2)

    tx = gk.partition({"one": gk.newton(), "two": gk.sgd(0.4)}, {"a": "one", "b": "two"})
    found = gk.minimize(fun, {"a": jnp.zeros(2), "b": jnp.zeros(1)}, tx)
    assert found.converged
    np.testing.assert_allclose(found.x["b"], 3, atol=5e-3)
    np.testing.assert_allclose(found.x["a"], 0.41, atol=5e-3)
    assert found.evaluations >= 1 + 2 * found.steps  # a search at each step, and the next point


def test_progress_reports_and_does_not_change_the_solution():
    said = []
    plain = gk.minimize(bowl, START, gk.sgd(0.1))
    told = gk.minimize(bowl, START, gk.sgd(0.1), progress=lambda *row: said.append(row))
    assert (told.steps, told.evaluations) == (plain.steps, plain.evaluations)
    np.testing.assert_array_equal(told.x, plain.x)
    assert [row[0] for row in said] == sorted(row[0] for row in said)
    assert said[-1] == (told.steps, told.value, told.grad_norm)


def test_a_bar_shows_the_progress(capfd):
    pytest.importorskip("tqdm")
    gk.minimize(bowl, START, gk.sgd(0.25), progress=True, max_steps=3, tol=0.0)
    told = capfd.readouterr().err
    assert "3/3" in told
    assert "value=" in told


def decay(p, t, y):
    return p["height"] * jnp.exp(-p["rate"] * t) - y


def test_least_squares_fits_a_model():
    t = jnp.linspace(0.0, 4.0, 9)
    start, data = {"height": jnp.array(1.0), "rate": jnp.array(1.0)}, (t, 3 * jnp.exp(-0.5 * t))
    for tx in (gk.levenberg_marquardt(), gk.gauss_newton()):
        fit = gk.least_squares(decay, start, tx, args=data, tol=1e-4)
        assert fit.converged
        np.testing.assert_allclose([fit.x["height"], fit.x["rate"]], [3, 0.5], rtol=1e-3)
        residual = jnp.sum(decay(fit.x, *data) ** 2) / 2
        np.testing.assert_allclose(fit.value, residual, rtol=1e-4, atol=1e-9)


CG = gk.scale_by_newton_cg()


def test_no_residuals_are_already_small():
    assert gk.least_squares(lambda x: x[:0], jnp.ones(2)).converged


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: gk.minimize(lambda x: x, jnp.ones(3)),
            TypeError,
            r"minimize: .* returned float32\[3\]\. Expected one real number\. .*least_squares",
        ),
        (
            lambda: gk.minimize(lambda x: jnp.sum(jnp.log(x)), -jnp.ones(1)),
            ValueError,
            r"minimize: .*\(x0\) is nan\. Expected a start with a finite value and gradient",
        ),
        (
            lambda: gk.minimize(lambda x: jnp.sum(jnp.sqrt(x)), jnp.zeros(1)),
            ValueError,
            r"minimize: the gradient of .* at x0 is not finite",
        ),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), tol=1e-8),
            ValueError,
            r"tol=1e-08 is below the rounding error of float32\. Expected 0, or tol >= 1.2e-07",
        ),
        (lambda: gk.minimize(bowl, jnp.ones(1), tol=-1.0), ValueError, r"tol=-1.0 is out of range"),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), max_steps=0),
            ValueError,
            r"max_steps=0 is out of range",
        ),
        (
            lambda: gk.minimize(bowl, jnp.arange(3)),
            TypeError,
            r"x0 is int32\[3\]\. Expected floating numbers\. .*astype",
        ),
        (
            lambda: gk.minimize(bowl, [1.0, 2.0]),
            TypeError,
            r"x0 is a list of 2 numbers.*jnp.array\(x0, float\)",
        ),
        (lambda: gk.minimize(bowl, None), TypeError, r"x0 is None\. Expected a tree of arrays"),
        (lambda: gk.minimize(3, jnp.ones(1)), TypeError, r"fun=3 is not a function"),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), gk.bfgs),
            TypeError,
            r"tx=bfgs is not a transform\. Call the factory: bfgs\(\.\.\.\)",
        ),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), gk.levenberg_marquardt()),
            TypeError,
            r"tx=levenberg_marquardt\(\) needs residuals\. Call least_squares",
        ),
        (
            lambda: gk.least_squares(lambda x: x.astype(complex), jnp.ones(1)),
            TypeError,
            r"least_squares: .*complex64\[1\]\. Expected real numbers",
        ),
        (
            lambda: gk.minimize(lambda x: (bowl(x), x), jnp.ones(1)),
            TypeError,
            r"minimize: <lambda> returned tuple. Expected one real number. .* has_aux=True",
        ),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), has_aux=True),
            TypeError,
            r"bowl returned float32\[\], with has_aux. Expected the pair \(value, aux\)",
        ),
        (
            lambda: gk.least_squares(jnp.sin, jnp.ones(1), has_aux=True),
            TypeError,
            r"least_squares: .*, with has_aux. Expected the pair \(residuals, aux\)",
        ),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), has_aux=1),
            TypeError,
            r"has_aux=1 is not a bool",
        ),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), args=3.0),
            TypeError,
            r"args=3.0 is not a tuple\. For one argument write args=\(a,\)",
        ),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), tol=jnp.ones(2)),
            ValueError,
            r"tol=float32\[2\] has rank 1\. Expected a number",
        ),
        (
            lambda: jax.jvp(lambda a: gk.minimize(bowl, jnp.ones(1), args=(a,)).x, (1.0,), (1.0,)),
            TypeError,
            r"minimize: the solve has no derivative\. Apply jax.lax.stop_gradient",
        ),
        (
            lambda: jax.jit(lambda x: gk.minimize(bowl, x, progress=True))(jnp.ones(1)),
            ValueError,
            r"progress=True under jit or vmap",
        ),
        (
            lambda: gk.minimize(bowl, {"w": jnp.ones(1), "activation": jnp.tanh}),
            TypeError,
            r"minimize, activation: x0 is .*\. Expected floating numbers\. Split the model",
        ),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), progress=3),
            TypeError,
            r"progress=3 is neither a bool nor a function\. Expected True, False, or a function",
        ),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), tol=gk.constant_schedule(0.1)),
            TypeError,
            r"tol=constant_schedule\(0.1\) is not a number\. Expected a real number",
        ),
        (
            lambda: gk.minimize(bowl, jnp.ones(1), tol=jnp.float32(-1.0)),
            ValueError,
            r"tol=-1.0 is out of range",
        ),
        (
            lambda: gk.minimize(lambda x, kind: x, 1.0, args=("float32",)),
            TypeError,
            r"args\[0\] is str\. Expected arrays and numbers\. .*functools\.partial",
        ),
        (
            lambda: gk.minimize(lambda x, b: b * x, 1.0),
            TypeError,
            r"minimize: .* cannot be called: missing .*'b'\. Pass its further arguments as args=",
        ),
        (
            lambda: gk.minimize(lambda x: (x**2, 1), 1.0),
            TypeError,
            r"returned tuple\. Expected one real number",
        ),
        (lambda: gk.minimize(lambda x: None, 1.0), TypeError, r"returned NoneType\. Expected one"),
        (
            lambda: gk.least_squares(lambda x: {"r": jnp.arange(3)}, 1.0),
            TypeError,
            r"least_squares, r: residuals returned int32\[3\]\. Expected floating numbers",
        ),
        (
            lambda: jax.grad(lambda b: gk.minimize(lambda x: b * x**2, 1.0).x)(1.0),
            TypeError,
            r"minimize: the solve has no derivative",
        ),
        (
            lambda: jax.jvp(lambda b: gk.minimize(lambda x: b * x**2, 1.0).x, (1.0,), (1.0,)),
            TypeError,
            r"minimize: the solve has no derivative",
        ),
        (
            lambda: CG.update(jnp.ones(1), CG.init(jnp.ones(1)), jnp.ones(1), value_fn=print),
            TypeError,
            r"scale_by_newton_cg: value_fn returned NoneType\. Expected one real number",
        ),
    ],
)
def test_bad_calls_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
