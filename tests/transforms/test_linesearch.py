"""Line searches: what an accepted step satisfies, and what happens where there is none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit.parity.trajectory import QUICK

C1 = 1e-4


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def logarithm(x):
    """A barrier: NaN outside the unit disc."""
    return -jnp.log(1 - x[0] ** 2 - x[1] ** 2) + x[0]


def steep(x):
    """A large first step overflows."""
    return jnp.exp(5 * x[0] ** 2) + jnp.cosh(3 * x[1])


def wavy(x):
    return jnp.sum(x**2) / 20 + jnp.sum(jnp.sin(3 * x))


LOSSES = (rosenbrock, logarithm, steep, wavy)


@functools.partial(jax.jit, static_argnums=(0, 1), compiler_options=QUICK)
def one_search(tx, loss, x, state=None):
    """The next parameters, the state of the search, and value and gradient before it."""
    value, grad = jax.value_and_grad(loss)(x)
    extras = {"value": value, "grad": grad, "value_fn": loss}
    new, after = tx.apply(x, tx.init(x) if state is None else state, grad, **extras)
    return new, after, value, grad


def kept(state):
    """The state of the only line search."""
    return next(piece for piece in state.inner.values() if "info" in piece)


@functools.cache
def searched(tx, loss):
    """Searches from 40 points of the unit disc, in float64, as NumPy arrays."""
    draw = np.random.default_rng(0)
    angle, radius = draw.uniform(0, 2 * np.pi, 40), np.sqrt(draw.uniform(0, 0.98, 40))
    starts = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)

    def run(x):
        new, state, value, grad = one_search.__wrapped__(tx, loss, x)
        found = kept(state)
        after = jax.value_and_grad(loss)(new)
        return {"value": value, "grad": grad, "new": new, "found": found, "after": after}

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(run), compiler_options=QUICK)(starts))


@pytest.mark.parametrize("loss", LOSSES)
def test_an_accepted_step_satisfies_the_strong_wolfe_conditions(loss):
    c2 = 0.2
    search = gk.scale_by_zoom_linesearch(30, curv_rtol=c2, approx_dec_rtol=None)
    run = searched(gk.chain(gk.scale(-1.0), search), loss)
    size, (value, grad) = run["found"]["learning_rate"], run["after"]
    slope, before = -np.sum(grad * run["grad"], 1), -np.sum(run["grad"] ** 2, 1)
    assert (size > 0).all()
    assert (value <= run["value"] + C1 * size * before + 1e-12 * abs(value)).all()
    curved = abs(slope) <= c2 * abs(before) * (1 + 1e-9)
    errors = run["found"]["info"]
    assert curved.mean() > 0.9, "the others are where the interval became too short"
    assert ((errors["curvature_error"] == 0) == curved).all()
    assert (errors["decrease_error"] == 0).all()
    np.testing.assert_allclose(run["found"]["value"], value, 1e-12)
    np.testing.assert_allclose(run["found"]["grad"], grad, 1e-10, 1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_accepted_step_decreases_the_loss_sufficiently_and_the_one_before_does_not(loss):
    search = gk.scale_by_backtracking_linesearch(60, 0.3, 0.7, store_grad=True)
    run = searched(gk.chain(gk.scale(-1.0), search), loss)
    size, (value, grad) = run["found"]["learning_rate"], run["after"]
    before = -np.sum(run["grad"] ** 2, 1)
    assert (value <= run["value"] + 0.3 * size * before + 1e-12 * abs(value)).all()
    trials = run["found"]["info"]["num_linesearch_steps"]
    np.testing.assert_allclose(size, 0.7 ** (trials - 1), 1e-12)
    with jax.enable_x64(True):
        longer = -jnp.asarray(run["grad"]) * (size / 0.7)[:, None]
        start = run["new"] + run["grad"] * size[:, None]
        refused = np.asarray(jax.vmap(loss)(start + longer))
    enough = refused <= run["value"] + 0.3 * size / 0.7 * before
    assert not (enough & (trials > 1)).any()
    np.testing.assert_allclose(run["found"]["value"], value, 1e-12)
    np.testing.assert_allclose(run["found"]["grad"], grad, 1e-10, 1e-10)


SEARCHES = {
    "zoom": gk.scale_by_zoom_linesearch(12),
    "backtracking": gk.scale_by_backtracking_linesearch(12, store_grad=True),
}
each = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)


def root(x):
    """The loss is finite at 0, its gradient is not."""
    return jnp.sum(jnp.sqrt(x)) + 0.0 * jnp.sum(x)


@each
def test_a_loss_that_is_nowhere_finite_but_at_the_start_leaves_the_parameters(search):
    tx, w = gk.chain(gk.sgd(1.0), search), jnp.ones(2)
    edge = lambda x: jnp.where((x == 1.0).all(), jnp.sum(x), jnp.nan)
    state = None
    for _ in range(2):
        new, state, value, grad = one_search(tx, edge, w, state)
        assert (new == w).all()
        found = kept(state)
        assert found["learning_rate"] == 0
        assert found["info"]["decrease_error"] == jnp.inf
        assert found["value"] == value
        assert (found["grad"] == grad).all()
    # The next search begins anew, and not with a step of 0.
    new, state, *_ = one_search(tx, lambda x: jnp.sum((x - 0.7) ** 2), w, state)
    assert (abs(new - 0.7) < 0.3).all()
    assert kept(state)["learning_rate"] > 0


@pytest.mark.parametrize("eps", [1e-6, None])
def test_a_trial_whose_gradient_alone_is_not_finite_is_too_long(eps):
    # From w = 1 along −½ the trial of 2 ends at 0, where the gradient is infinite.
    search = gk.scale_by_zoom_linesearch(
        8, increase_factor=2.0, curv_rtol=0.01, approx_dec_rtol=eps
    )
    new, state, *_ = one_search(gk.chain(gk.scale(-1.0), search), root, jnp.ones(2))
    assert 0 < new[0] < 1
    assert jnp.isfinite(kept(state)["grad"]).all()


def test_a_loss_of_minus_infinity_is_no_minimum():
    cliff = lambda x: jnp.where(x[0] < 0.5, -jnp.inf, jnp.sum(x))
    for search in SEARCHES.values():
        new, state, *_ = one_search(gk.chain(gk.sgd(1.0), search), cliff, jnp.ones(1))
        assert new[0] >= 0.5
        assert jnp.isfinite(kept(state)["value"])


def test_a_start_where_the_loss_is_infinite_can_be_left():
    loss = lambda x: jnp.where(x[0] > 0.9, jnp.inf, jnp.sum(x**2))
    w, grad = jnp.ones(1), jnp.ones(1)
    for search in SEARCHES.values():
        tx = gk.chain(gk.sgd(1.0), search)
        for value in (jnp.inf, jnp.nan):
            new, _ = tx.apply(w, tx.init(w), grad, value=value, grad=grad, value_fn=loss)
            assert new[0] <= 0.9


@each
def test_updates_that_are_not_finite_become_zero(search):
    tx, w, grad = gk.chain(gk.sgd(1.0), search), jnp.ones(2), jnp.array([jnp.nan, 1.0])
    extras = {"value": 2.0, "grad": jnp.ones(2), "value_fn": jnp.sum}
    updates, state = tx.update(grad, tx.init(w), w, **extras)
    assert (updates == 0).all()
    assert kept(state)["value"] == 2


def test_updates_that_point_uphill_are_not_taken():
    loss = lambda x: jnp.sum(x**2)
    zoom = gk.scale_by_zoom_linesearch(12)  # without scale(-1.0)
    new, state, *_ = one_search(zoom, loss, jnp.ones(2))
    assert (new == 1).all()
    assert kept(state)["info"]["num_linesearch_steps"] == 0
    assert kept(state)["info"]["decrease_error"] == jnp.inf
    # Backtracking requires that the loss does not rise, which no step does; optax accepts a rise.
    _, state, *_ = one_search(gk.scale_by_backtracking_linesearch(3), loss, jnp.ones(2))
    assert kept(state)["info"]["decrease_error"] > 0


def test_a_zero_gradient_costs_no_evaluation_of_zoom():
    tx, w = gk.chain(gk.scale(-1.0), SEARCHES["zoom"]), jnp.ones(2)
    new, state, *_ = one_search(tx, lambda x: jnp.sum((x - 1) ** 2), w)
    assert (new == w).all()
    info = kept(state)["info"]
    assert [*map(float, info.values())] == [0.0, 0.0, 0.0]


def test_where_the_curvature_condition_cannot_hold_the_lowest_point_is_taken():
    slope = lambda x: jnp.sum(x)  # linear: no step changes the slope
    tx = gk.chain(gk.scale(-1.0), gk.scale_by_zoom_linesearch(5))
    new, state, *_ = one_search(tx, slope, jnp.zeros(1))
    assert new[0] == -16.0  # 1, 2, 4, 8, 16
    assert kept(state)["info"]["curvature_error"] > 0
    bounded = gk.chain(gk.scale(-1.0), gk.scale_by_zoom_linesearch(5, 3.0))
    new, state, *_ = one_search(bounded, slope, jnp.zeros(1))
    assert new[0] == -3.0
    assert kept(state)["info"]["num_linesearch_steps"] == 3


def test_zoom_that_finds_no_decrease_stays_where_it_is():
    # A kink at the start: the slope promises a decrease that no step has.
    loss = lambda x: jnp.sum(jnp.abs(x)) + 0.0 * jnp.sum(x)
    w, grad = jnp.zeros(1), jnp.ones(1)
    tx = gk.chain(gk.scale(-1.0), gk.scale_by_zoom_linesearch(6))
    new, state = tx.apply(w, tx.init(w), grad, value=0.0, grad=grad, value_fn=loss)
    assert new[0] == 0
    assert kept(state)["info"]["decrease_error"] > 0
    assert kept(state)["value"] == 0


def test_the_first_trial_is_the_last_step_or_one():
    loss = lambda x: 50 * jnp.sum(x**2)
    for strategy in ("keep", "one"):
        tx = gk.chain(
            gk.scale(-1.0), gk.scale_by_zoom_linesearch(9, initial_guess_strategy=strategy)
        )
        _, state, *_ = one_search(tx, loss, jnp.ones(1))
        np.testing.assert_allclose(kept(state)["learning_rate"], 0.01, 1e-4)
        _, state, *_ = one_search(tx, loss, jnp.ones(1), state)
        assert (kept(state)["info"]["num_linesearch_steps"] == 1) == (strategy == "keep")


def test_the_loss_is_evaluated_at_the_rounded_parameters():
    w = jnp.ones(3, jnp.bfloat16)
    loss = lambda x: jnp.sum((x.astype(jnp.float32) - 0.3) ** 2)
    for search in SEARCHES.values():
        new, state, *_ = one_search(gk.chain(gk.sgd(0.3), search), loss, w)
        assert new.dtype == jnp.bfloat16
        assert kept(state)["value"] == loss(new)
        assert kept(state)["grad"].dtype == jnp.float32


def test_value_fn_is_given_its_own_arguments():
    def loss(x, scale, *, shift=0.0, key=None):
        return scale * jnp.sum((x - shift) ** 2)

    w, tx = jnp.ones(2), gk.chain(gk.sgd(1.0), SEARCHES["backtracking"])
    value, grad = jax.value_and_grad(loss)(w, 0.5, shift=3.0)
    extras = {"value": value, "grad": grad, "value_fn": jax.jit(loss)}
    new, _ = tx.apply(w, tx.init(w), grad, **extras, scale=0.5, shift=3.0, key=0)
    np.testing.assert_allclose(new, 3.0)
    with pytest.raises(TypeError, match=r"'scale', which is missing\..*scale=\.\.\."):
        tx.apply(w, tx.init(w), grad, **extras, shift=3.0)
    with pytest.raises(TypeError, match=r"'shfit' is taken by no transform\. Did you mean 'shift'"):
        tx.apply(w, tx.init(w), grad, **extras, scale=0.5, shfit=3.0)


def test_a_group_searches_along_its_own_leaves():
    def loss(p, factor):
        return factor * (jnp.sum((p["a"] - 2.0) ** 2) + jnp.sum(p["b"] ** 2))

    params = {"a": jnp.zeros(2), "b": jnp.ones(2)}
    line = gk.chain(gk.scale(-1.0), gk.scale_by_zoom_linesearch(9))
    tx = gk.where(gk.by_path("a"), line, gk.set_to_zero())
    value, grad = jax.value_and_grad(loss)(params, 2.0)
    extras = {"value": value, "grad": grad, "value_fn": loss, "factor": 2.0}
    new, _ = tx.apply(params, tx.init(params), grad, **extras)
    np.testing.assert_allclose(new["a"], 2.0, 1e-5)
    assert (new["b"] == 1).all()


def test_arguments_may_be_scheduled():
    longest = gk.piecewise_constant_schedule(1.0, {1: 0.25})
    tx = gk.chain(gk.scale(-1.0), gk.scale_by_zoom_linesearch(9, longest))
    w, state, *_ = one_search(tx, jnp.sum, jnp.zeros(1))
    w, state, *_ = one_search(tx, jnp.sum, w, state)
    assert w[0] == -1.25


@each
def test_a_failed_search_prints_what_it_found(search, capfd):
    tx = gk.chain(gk.scale(-1.0), search.replace(verbose=True))
    one_search(tx, lambda x: jnp.where((x == 1.0).all(), jnp.sum(x), jnp.nan), jnp.ones(1))
    one_search(tx, lambda x: jnp.sum(x**2), jnp.ones(1))
    jax.effects_barrier()
    assert capfd.readouterr().out.count("linesearch: no s") == 1


@each
def test_the_step_size_and_the_errors_are_logged(search):
    _, state, *_ = one_search(gk.chain(gk.sgd(0.5), search), rosenbrock, jnp.ones(2) / 2)
    logged, found = gk.logged_values(state), kept(state)
    (name,) = state.inner
    want = {"learning_rate": found["learning_rate"], **found["info"]}
    assert logged == {f"{name}.{key}": value for key, value in want.items()}


# ---- the value and the gradient in the state ----------------------------------------------------


def never(x):
    return jnp.sum(x) * jnp.nan


def test_value_and_gradient_come_from_the_state_and_are_computed_before_the_first_step():
    loss, w = lambda x: jnp.sum((x - 1) ** 4), jnp.zeros(2)
    for search in SEARCHES.values():
        tx = gk.chain(gk.trace(0.0), gk.scale(-1.0), gk.reduce_on_plateau(), search)
        value, grad = gk.value_and_grad_from_state(loss)(w, state=tx.init(w))
        assert value == 2
        assert (grad == -4).all()
        new, state = tx.apply(w, tx.init(w), grad, value=value, grad=grad, value_fn=loss)
        for have, want in zip(
            gk.value_and_grad_from_state(never)(new, state=state), jax.value_and_grad(loss)(new)
        ):
            np.testing.assert_allclose(have, want, 1e-6)


def test_a_state_of_optax_serves_as_well():
    optax = pytest.importorskip("optax")
    w, loss = jnp.ones(2), lambda x, y: jnp.sum((x - y) ** 2)
    with jax.numpy_dtype_promotion("standard"):
        tx = gk.chain(optax.scale_by_backtracking_linesearch(1, store_grad=True))
        value_and_grad = gk.value_and_grad_from_state(loss)
        value, grad = value_and_grad(w, 3.0, state=tx.init(w))
        new, state = tx.apply(w, tx.init(w), grad, value=value, grad=grad, value_fn=loss, y=3.0)
        value, _ = value_and_grad(new, y=0.0, state=state)
    assert value == loss(new, 3.0)


def test_a_value_in_low_precision_has_the_dtypes_of_the_loss():
    w, loss = jnp.ones(2, jnp.bfloat16), lambda x: jnp.sum(x * x)
    tx = gk.chain(gk.sgd(0.1), SEARCHES["zoom"])
    value_and_grad = gk.value_and_grad_from_state(loss)
    want = jax.eval_shape(jax.value_and_grad(loss), w)
    have = jax.eval_shape(lambda: value_and_grad(w, state=tx.init(w)))
    assert jax.tree.map(lambda x: x.dtype, have) == jax.tree.map(lambda x: x.dtype, want)
