"""L-BFGS: its matrix by the dense formula, its restarts, complex parameters, SciPy and torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit.parity.trajectory import QUICK


def quick(function, *arguments):
    """The function's result in float64, compiled without the expensive stages."""
    with jax.enable_x64(True):
        return jax.jit(function, compiler_options=QUICK)(*arguments)


def dense(points, gradients, size, scaled=True):
    """H g with H by the dense formula, in NumPy; pairs of negative curvature are left out."""
    pairs = []
    for t, (x, g) in enumerate(zip(points, gradients, strict=True)):
        if t:
            s, y = x - points[t - 1], g - gradients[t - 1]
            if s @ y > 0:
                pairs = [*pairs, (s, y)][-size:]
        gamma = min(1.0, 1 / np.linalg.norm(g)) if scaled else 1.0
        if pairs and scaled:
            s, y = pairs[-1]
            gamma = s @ y / (y @ y)
        h = gamma * np.eye(len(x))
        for s, y in pairs:
            rho = 1 / (s @ y)
            left = np.eye(len(x)) - rho * np.outer(s, y)
            h = left @ h @ left.T + rho * np.outer(s, s)
        yield h @ g


@pytest.mark.parametrize(("size", "scaled"), [(3, True), (12, False)])
def test_the_direction_is_that_of_the_dense_matrix(size, scaled):
    draw = np.random.default_rng(3)
    points = np.cumsum(draw.normal(size=(14, 6)), 0)
    root = draw.normal(size=(6, 6))
    # A convex quadratic with noise: one pair in four has negative curvature.
    gradients = points @ (root @ root.T) / 6 + 2.5 * draw.normal(size=(14, 6))
    curvature = np.sum(np.diff(points, axis=0) * np.diff(gradients, axis=0), 1)
    assert 2 <= (curvature < 0).sum() <= 6
    tx = gk.scale_by_lbfgs(size, scaled)
    tree = lambda x: {"a": x[..., :4].reshape(*x.shape[:-1], 2, 2), "b": x[..., 4:]}

    def run(points, gradients):
        def body(state, now):
            updates, state = tx.update(now[1], state, now[0])
            return state, updates

        return jax.lax.scan(body, tx.init(tree(points[0])), (tree(points), tree(gradients)))[1]

    found = quick(run, points, gradients)
    found = np.concatenate([np.reshape(found["a"], (14, 4)), found["b"]], 1)
    np.testing.assert_allclose(found, [*dense(points, gradients, size, scaled)], 1e-9, 1e-12)
    assert (np.sum(found * gradients, 1) > 0).all()


def trajectory(tx, loss, start, steps):
    """The loss at every step, and the last parameters."""

    def run(x):
        value_and_grad = gk.value_and_grad_from_state(loss)

        def body(carry, _):
            x, state = carry
            value, grad = value_and_grad(x, state=state)
            grad = gk.tree.conj(grad)
            x, state = tx.apply(x, state, grad, value=value, grad=grad, value_fn=loss)
            return (x, state), value

        return jax.lax.scan(body, (x, tx.init(x)), length=steps)

    (x, state), values = quick(run, start)
    return np.asarray(values), jax.tree.map(np.asarray, x), state


def skewed(z):
    """A function of complex numbers whose minimum is at z² = 1 + 2i, and no sum of two parts."""
    return jnp.sum(jnp.abs(z * z - (1 + 2j)) ** 2) + jnp.sum(jnp.abs(z[1:] - 2j * z[:-1]) ** 2)


SEARCHES = {
    "zoom": gk.lbfgs(memory_size=4),
    "backtracking": gk.lbfgs(
        linesearch=gk.scale_by_backtracking_linesearch(20, store_grad=True, increase_factor=2.0)
    ),
}


@pytest.mark.parametrize("tx", SEARCHES.values(), ids=SEARCHES)
def test_complex_parameters_are_their_real_and_imaginary_parts_1141(tx):
    start = np.array([1 + 1j, -0.5 + 2j, 0.3 - 1j])
    values, z, _ = trajectory(tx, skewed, start, 12)
    parts = {"re": start.real, "im": start.imag}
    loss = lambda p: skewed(jax.lax.complex(p["re"], p["im"]))
    expected, p, _ = trajectory(tx, loss, parts, 12)
    np.testing.assert_allclose(values, expected, 1e-9)
    np.testing.assert_allclose(z, p["re"] + 1j * p["im"], 1e-8)
    assert values[-1] < 0.2 * values[0]


def test_real_and_imaginary_parts_taken_apart_are_joined_for_the_loss():
    def once(tx):
        value, grad = jax.value_and_grad(skewed)(start)
        grad = jnp.conj(grad)
        return tx.apply(start, tx.init(start), grad, value=value, grad=grad, value_fn=skewed)[0]

    start, tx = jnp.array([1 + 1j, -0.5 + 2j, 0.3 - 1j]), SEARCHES["zoom"]
    step = jax.jit(once, static_argnums=0, compiler_options=QUICK)
    np.testing.assert_allclose(step(gk.split_real_and_imaginary(tx)), step(tx), 1e-5)


PLAIN = gk.scale_by_lbfgs(3)
update = jax.jit(PLAIN.update, compiler_options=QUICK)


def test_a_search_that_found_no_step_restarts_the_method():
    w, v = jnp.array([1.0, 2.0]), jnp.array([0.04, 0.03])
    state = PLAIN.init(w)
    for x, g in ((w, 2 * w), (w / 2, w), (w / 4, w / 2)):
        updates, state = update(g, state, x)
    np.testing.assert_allclose(updates, w / 4, 1e-6)  # a Newton step: the Hessian is 2 I
    updates, state = update(v, state, w / 4)  # the parameters have not moved
    np.testing.assert_allclose(updates, v / 2, 1e-6)  # γ is kept
    assert (state.inner["scale_by_lbfgs"]["weights"] == 0).all()
    updates, state = update(v, state, w / 4)
    np.testing.assert_allclose(updates, v / jnp.linalg.norm(v), 1e-6)  # and γ is dropped too
    _, state = update(w / 2, state, w / 4)
    updates, _ = update(w / 4, state, w / 8)
    np.testing.assert_allclose(updates, w / 8, 1e-6)


def test_a_first_step_too_short_to_move_the_parameters_is_followed_by_one_of_length_1():
    loss = lambda w: 1e-9 * jnp.sum((w - 3.0) ** 2)  # 1e-9 · 4 is below the precision of 1
    tx, w = gk.lbfgs(), jnp.ones(2)

    def run(w):
        def body(carry, _):
            w, state = carry
            value, grad = jax.value_and_grad(loss)(w)
            w, state = tx.apply(w, state, grad, value=value, grad=grad, value_fn=loss)
            return (w, state), w

        return jax.lax.scan(body, (w, tx.init(w)), length=6)[1]

    found = jax.jit(run, compiler_options=QUICK)(w)
    assert (found[0] == w).all()
    np.testing.assert_allclose(found[-1], 3.0, 1e-5)


def test_a_gradient_that_is_not_finite_leaves_the_pairs():
    w = jnp.array([1.0, 2.0])
    state = PLAIN.init(w)
    for x, g in ((w, 2 * w), (w / 2, w)):
        _, state = update(g, state, x)
    before = state.inner["scale_by_lbfgs"]["weights"]
    updates, state = update(w * jnp.nan, state, w / 4)
    assert jnp.isnan(updates).all()
    updates, state = update(w / 4, state, w / 8)
    np.testing.assert_allclose(updates, w / 8, 1e-6)
    assert (state.inner["scale_by_lbfgs"]["weights"] == before).all()


def test_the_state_shares_no_buffer_with_the_parameters_or_the_gradients():
    tx, w, g = gk.scale_by_lbfgs(2), jnp.array([1.0, 2.0]), jnp.array([2.0, 4.0])
    for call in (tx.update, jax.jit(tx.update)):
        _, state = call(g, tx.init(w), w)
        buffers = {x.unsafe_buffer_pointer() for x in jax.tree.leaves(state)}
        assert not buffers & {x.unsafe_buffer_pointer() for x in (w, g)}


def saddle(x):
    """Negative curvature between two minima, at x₀ = ±1 and x₁ = 0."""
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2 / 2


def test_the_loss_never_rises_where_the_curvature_is_negative():
    values, x, _ = trajectory(gk.lbfgs(), saddle, np.array([1e-3, 2.0]), 25)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(x, [1.0, 0.0], atol=1e-7)


def test_the_state_has_the_size_that_its_docstring_says():
    w = {"a": jnp.zeros((3, 4)), "b": jnp.zeros(5, jnp.bfloat16)}
    state = jax.eval_shape(gk.scale_by_lbfgs(10).init, w).inner["scale_by_lbfgs"]
    sizes = [x.size * x.dtype.itemsize for x in jax.tree.leaves(state) if x.ndim > 1]
    assert sum(sizes) + 2 * 5 * 4 == 88 * 17  # and two vectors
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(state) if x.ndim)


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_it_takes_as_many_evaluations_as_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    starts = np.random.default_rng(0).uniform(-2, 2, size=(6, 5))
    starts[0] = [-1.2, 1, -1.2, 1, -1.2]

    def run(x):
        tx, value_and_grad = gk.lbfgs(), gk.value_and_grad_from_state(rosenbrock)

        def step(carry):
            x, state, _, evaluations = carry
            value, grad = value_and_grad(x, state=state)
            x, state = tx.apply(x, state, grad, value=value, grad=grad, value_fn=rosenbrock)
            search = state.inner["scale_by_zoom_linesearch"]
            count = evaluations + search["info"]["num_linesearch_steps"]
            return x, state, search["grad"], count

        start = (x, tx.init(x), jnp.full_like(x, jnp.inf), jnp.int32(1))
        unfinished = lambda c: (jnp.max(jnp.abs(c[2])) > 1e-8) & (c[1].step < 300)
        x, _, _, evaluations = jax.lax.while_loop(unfinished, step, start)
        return x, rosenbrock(x), evaluations

    xs, values, evaluations = map(np.asarray, quick(jax.vmap(run), starts))
    assert np.isfinite(xs).all()
    with jax.enable_x64(True):
        both = jax.jit(jax.value_and_grad(rosenbrock))
        theirs = [
            optimize.minimize(
                both, x, jac=True, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 0}
            )
            for x in starts
        ]
    minima = np.array([0.0, 3.930839434])  # that near (−1, 1, ..., 1) is local
    for found in (values, [r.fun for r in theirs]):
        assert (abs(np.subtract.outer(found, minima)).min(1) < 1e-9).all()
    ratios = evaluations / np.array([r.nfev for r in theirs])
    assert np.median(ratios) <= 1.2, ratios


def test_it_is_the_method_of_torch():
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(1)
    root, start = draw.normal(size=(8, 5)) / 4, draw.normal(size=5) / 10
    tensor = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.LBFGS([tensor], lr=0.3, max_iter=1, history_size=3)

    def closure():
        optimizer.zero_grad()
        loss = (torch.tensor(root) @ tensor).cosh().sum() / 4
        loss.backward()
        return loss

    expected = []
    for _ in range(12):
        optimizer.step(closure)
        expected.append(tensor.detach().numpy().copy())

    def run(x):
        tx = gk.lbfgs(0.3, 3, linesearch=None)
        loss = lambda x: jnp.sum(jnp.cosh(root @ x)) / 4

        def body(carry, _):
            x, state = carry
            x, state = tx.apply(x, state, jax.grad(loss)(x))
            return (x, state), x

        return jax.lax.scan(body, (x, tx.init(x)), length=12)[1]

    # Its first step is divided by max(1, ‖g‖₁), gradkit's by max(1, ‖g‖₂): here both are 1.
    np.testing.assert_allclose(quick(run, start), expected, 1e-9, 1e-12)
