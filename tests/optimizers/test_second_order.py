"""The directions of the second-order methods, against NumPy in float64 and what theory says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

A = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 2.0]])
B = np.array([1.0, -2.0, 0.5])
METHODS = ("fletcher_reeves", "polak_ribiere", "hestenes_stiefel", "dai_yuan")
X = np.random.default_rng(0).normal(size=(5, 3))
G = X @ A - B + 0.1 * X**3


def inverse_hessians(kind, scaled):
    """H g at each step, from the textbook's formulas."""
    h, found = np.eye(3), []
    for t in range(5):
        if t:
            s, y = X[t] - X[t - 1], G[t] - G[t - 1]
            if s @ y > 0:
                if scaled and t == 1:
                    h = np.eye(3) * (s @ y) / (y @ y)
                if kind == "bfgs":
                    v = np.eye(3) - np.outer(y, s) / (s @ y)
                    h = v.T @ h @ v + np.outer(s, s) / (s @ y)
                else:
                    hy = h @ y
                    h = h - np.outer(hy, hy) / (y @ hy) + np.outer(s, s) / (s @ y)
        first = scaled and t == 0
        found.append(h @ G[t] / (max(1, np.linalg.norm(G[t])) if first else 1))
    return np.array(found)


def conjugate_directions(method):
    """u at each step, from the formulas for β with d = −u."""
    d, found = None, []
    for t in range(5):
        g, beta = G[t], 0.0
        if t:
            last = G[t - 1]
            y = g - last
            beta = {
                "fletcher_reeves": (g @ g) / (last @ last),
                "polak_ribiere": max(0.0, (g @ y) / (last @ last)),
                "hestenes_stiefel": max(0.0, (g @ y) / (d @ y)),
                "dai_yuan": (g @ g) / (d @ y),
            }[method]
            if g @ (-g + beta * d) >= 0:
                beta = 0.0
        d = -g if not t else -g + beta * d
        found.append(-d)
    return np.array(found)


def run(tx):
    """The updates of a transform at the points above, in float64, as a tree of two leaves."""
    with jax.enable_x64(True):
        split = lambda v: {"one": jnp.asarray(v[:1]), "rest": jnp.asarray(v[1:])}
        state = tx.init(split(X[0]))

        def step(state, pair):
            updates, state = tx.update(split(pair[1]), state, split(pair[0]))
            return state, jnp.concatenate([updates["one"], updates["rest"]])

        return np.asarray(jax.lax.scan(step, state, (jnp.asarray(X), jnp.asarray(G)))[1])


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("kind", ["bfgs", "dfp"])
def test_quasi_newton_directions_are_those_of_the_textbook(kind, scaled):
    tx = getattr(gk, f"scale_by_{kind}")(scaled)
    np.testing.assert_allclose(run(tx), inverse_hessians(kind, scaled), rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_conjugate_directions_are_those_of_the_textbook(method):
    expected = conjugate_directions(method)
    np.testing.assert_allclose(run(gk.scale_by_nonlinear_cg(method)), expected, rtol=1e-10)


def test_conjugate_directions_are_scaled_to_the_last_decrease():
    tx, g = gk.scale_by_nonlinear_cg("fletcher_reeves", True), jnp.array([3.0, 4.0])
    u, state = tx.update(g, tx.init(g), value=7.0)
    np.testing.assert_allclose(u, 1.01 * g / 5)
    u, state = tx.update(2 * g, state, value=5.0)  # β = 4, d = 6 g: gᵀd = 12 · 25
    np.testing.assert_allclose(u, 2.02 * 2 / 300 * 6 * g, rtol=1e-6)
    u, _ = tx.update(g, state, value=6.0)  # the value has increased; β = 1 / 4
    np.testing.assert_allclose(u, 2.5 * g, rtol=1e-6)


@pytest.mark.parametrize(
    "tx",
    [
        *map(gk.scale_by_nonlinear_cg, METHODS),
        gk.scale_by_bfgs(),
        gk.scale_by_dfp(),
    ],
    ids=repr,
)
def test_exact_line_searches_solve_a_quadratic_in_n_steps(tx):
    with jax.enable_x64(True):
        a, b, x = jnp.asarray(A), jnp.asarray(B), jnp.ones(3)

        def step(carry, _):
            x, state = carry
            g = a @ x - b
            u, state = tx.update(g, state, x)
            return (x - u * (g @ u) / (u @ a @ u), state), None

        (x, _), _ = jax.lax.scan(step, (x, tx.init(x)), length=3)
        np.testing.assert_allclose(x, np.linalg.solve(A, B), rtol=1e-10)


def quadratic(x):
    return x @ A.astype(x.dtype) @ x / 2 - B.astype(x.dtype) @ x


def test_newton_solves_a_quadratic_in_one_step_and_newton_cg_its_equation():
    @jax.jit
    def run(x):
        g = jax.grad(quadratic)(x)
        full, damped, tx = gk.scale_by_newton(), gk.scale_by_newton(2.0), gk.scale_by_newton_cg(2.0)
        return (
            g,
            full.update(g, full.init(x), x, value_fn=quadratic)[0],
            damped.update(g, damped.init(x), x, value_fn=quadratic)[0],
            *tx.update(1e-3 * g, tx.init(x), x, value_fn=quadratic),
        )

    g, full, damped, u, state = run(jnp.ones(3))
    np.testing.assert_allclose(full, np.ones(3) - np.linalg.solve(A, B), rtol=1e-5)
    np.testing.assert_allclose(damped, np.linalg.solve(A + 2 * np.eye(3), g), rtol=1e-5)
    # The equation of a small gradient is solved closely: the residual is at most ‖g‖^1.5.
    small = 1e-3 * np.asarray(g)
    residual = (A + 2 * np.eye(3)) @ np.asarray(u) - np.asarray(small)
    assert np.linalg.norm(residual) <= np.linalg.norm(small) ** 1.5
    assert 1 <= state.inner["scale_by_newton_cg"]["products"] <= 3


def saddle(x):
    return 2 * x[0] ** 2 - x[1] ** 2 + x[1] ** 4


@pytest.mark.parametrize(
    "tx",
    [
        gk.scale_by_newton(),
        gk.scale_by_newton(modify=False),
        gk.scale_by_newton_cg(),
        gk.scale_by_newton_cg(trust_radius=0.5),
    ],
    ids=repr,
)
def test_directions_descend_where_the_hessian_is_indefinite(tx):
    @jax.jit
    @jax.vmap
    def run(x):
        g = jax.grad(saddle)(x)
        u, _ = tx.update(g, tx.init(x), x, value_fn=saddle, value=saddle(x))
        return jnp.vdot(g, u), jnp.linalg.norm(u)

    slopes, sizes = run(jnp.array([(1e-3, 0.1), (0.0, 0.1)]))
    # What is not modified climbs where the curvature is negative.
    assert ((slopes < 0) if tx.arguments.get("modify") is False else (slopes > 0))[1]
    if tx.arguments.get("trust_radius"):
        np.testing.assert_allclose(sizes, 0.5, rtol=1e-5)


def test_a_trust_region_grows_and_shrinks_with_the_agreement_of_the_model():
    tx, x = gk.scale_by_newton_cg(trust_radius=0.1), jnp.array([3.0, 0.0, 0.0])
    start = tx.init(x)
    g = jax.grad(quadratic)(x)
    u, state = tx.update(g, start, x, value_fn=quadratic, value=quadratic(x))
    radius = lambda state: float(state.inner["scale_by_newton_cg"]["radius"])
    for value, expected in ((quadratic(x - u), 0.2), (quadratic(x) + 1, 0.025)):
        _, after = tx.update(g, state, x - u, value_fn=quadratic, value=value)
        assert radius(after) == pytest.approx(expected, rel=1e-5)


def residuals(x):
    return jnp.array([x[0] ** 2 - x[1], 3 * x[1] - 1, x[0] * x[1], 0.5 * x[0]])


def test_gauss_newton_and_levenberg_marquardt_solve_their_equations():
    x = jnp.array([1.5, -0.5])
    j = np.array([[3.0, -1.0], [0.0, 3.0], [-0.5, 1.5], [0.5, 0.0]])
    g = j.T @ np.asarray(residuals(x), float)
    extras = {"residual_fn": residuals}
    for damping in (0.0, 0.7):
        tx = gk.scale_by_gauss_newton(damping)
        u, _ = tx.update(jnp.asarray(g, jnp.float32), tx.init(x), x, **extras)
        np.testing.assert_allclose(u, np.linalg.solve(j.T @ j + damping * np.eye(2), g), rtol=1e-5)
    tx, d = gk.scale_by_levenberg_marquardt(0.7), np.diag((j**2).sum(0))
    u, state = tx.update(jnp.asarray(g, jnp.float32), tx.init(x), x, **extras)
    np.testing.assert_allclose(u, np.linalg.solve(j.T @ j + 0.7 * d, g), rtol=1e-5)
    cost = lambda x: float(jnp.sum(residuals(x) ** 2)) / 2
    predicted = (u @ g + 0.7 * u @ d @ u) / 2
    ratio = (cost(x) - cost(x - u)) / float(predicted)
    inner = state.inner["scale_by_levenberg_marquardt"]
    assert inner["evaluations"] == 1
    expected = 0.7 * max(0.2, 1 - (2 * ratio - 1) ** 3)
    np.testing.assert_allclose(inner["damping"], expected, rtol=1e-4)


def test_levenberg_marquardt_damps_until_the_loss_falls():
    steep = lambda x: jnp.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    cost = lambda x: jnp.sum(steep(x) ** 2) / 2
    tx, x = gk.levenberg_marquardt(1e-6), jnp.array([-1.2, 1.0])

    @jax.jit
    def step(x, state):
        return tx.apply(x, state, jax.grad(cost)(x), residual_fn=steep)

    state, trials, values = tx.init(x), [], [cost(x)]
    for _ in range(3):
        x, state = step(x, state)
        trials.append(int(state.inner["scale_by_levenberg_marquardt"]["evaluations"]))
        values.append(cost(x))
    assert trials[0] > 1  # the first step of Gauss–Newton climbs to 1406
    assert values == sorted(values, reverse=True)


def test_gauss_newton_leaves_out_what_the_residuals_do_not_determine():
    tx, x = gk.scale_by_gauss_newton(), jnp.array([1.0, 1.0])
    flat = lambda x: jnp.array([x[0] + x[1] - 1])
    u, _ = tx.update(jnp.array([1.0, 1.0]), tx.init(x), x, residual_fn=flat)
    np.testing.assert_allclose(u, [0.5, 0.5], rtol=1e-5)  # the shortest of the solutions


def test_complex_leaves_are_their_real_and_imaginary_parts():
    z = X[:, :1] + 1j * X[:, 1:2]
    dz = G[:, :1] + 1j * G[:, 1:2]
    for tx in (gk.scale_by_bfgs(), gk.scale_by_nonlinear_cg()):

        def step(state, pair, tx=tx):
            updates, state = tx.update(pair[1], state, pair[0])
            return state, updates

        run = lambda *pair: jax.lax.scan(step, tx.init(pair[0][0]), pair)[1]
        u = run(jnp.asarray(z, jnp.complex64), jnp.asarray(dz, jnp.complex64))[:, 0]
        v = run(jnp.asarray(X[:, :2], jnp.float32), jnp.asarray(G[:, :2], jnp.float32))
        np.testing.assert_allclose(jnp.stack([u.real, u.imag], 1), v, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda x: gk.newton(linesearch=None).update(x, gk.State(0, {}), x, value_fn=3),
            r"newton.*value_fn=3 is not a function",
        ),
        (
            lambda x: gk.newton_cg(trust_radius=1.0, linesearch=None).update(
                x, gk.newton_cg(trust_radius=1.0, linesearch=None).init(x), x, value_fn=jnp.sum
            ),
            r"newton_cg.*value=None is not a loss",
        ),
        (
            lambda x: gk.gauss_newton(linesearch=None).update(x, gk.State(0, {}), x),
            r"gauss_newton.*the extra argument 'residual_fn' is missing\. Call least_squares",
        ),
        (
            lambda x: gk.newton(linesearch=None).update(
                x, gk.State(0, {}), x, value_fn=lambda x: x
            ),
            r"newton.*fun returned float32\[2\]\. Expected one real number",
        ),
    ],
)
def test_bad_extras_are_refused(call, words):
    with pytest.raises(TypeError, match=words):
        call(jnp.ones(2))
