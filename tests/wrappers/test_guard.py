"""Steps that are not taken."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk


def run(tx, values, extras=lambda g: {}, apply=False):
    """The weight after each gradient, and the last state of the wrapper."""
    w, out = jnp.zeros(1), []
    state = tx.init(w)

    @jax.jit
    def step(w, state, g, extras):
        if apply:
            return tx.apply(w, state, g, **extras)
        updates, state = tx.update(g, state, w, **extras)
        return gk.apply_updates(w, updates), state

    for g in values:
        w, state = step(w, state, jnp.full(1, g), extras(g))
        out.append(float(w[0]))
    return out, next(iter(state.inner.values()))


both = pytest.mark.parametrize("apply", [False, True])


@both
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradients_that_are_not_finite_change_nothing(bad, apply):
    out, kept = run(gk.guard(gk.sgd(1.0, momentum=0.5)), [-1.0, bad, bad, -1.0], apply=apply)
    assert out == [1.0, 1.0, 1.0, 2.5]
    assert (
        int(kept["skipped"]),
        int(kept["consecutive"]),
        bool(kept["last_skipped"]),
        int(kept["inner"].step),
    ) == (2, 0, False, 2)


@both
def test_updates_that_are_not_finite_change_nothing(apply):
    inner = gk.chain(
        gk.trace(0.5),
        gk.stateless(
            lambda updates, params: jax.tree.map(lambda u: jnp.where(u > 5, jnp.inf, u), updates)
        ),
    )
    out, kept = run(gk.guard(inner), [1.0, 9.0, 1.0], apply=apply)
    assert out == [1.0, 1.0, 2.5]
    assert kept["skipped"] == 1
    assert run(gk.guard(inner, check_updates=False), [1.0, 9.0])[0][-1] == np.inf


def test_a_bound_on_the_norm():
    assert run(gk.guard(gk.sgd(1.0), max_norm=2.0), [-1.0, -2.0, -2.5, -1.0])[0] == [
        1.0,
        3.0,
        3.0,
        4.0,
    ]


def test_a_bound_on_the_norm_may_move():
    bound = gk.piecewise_constant_schedule(10.0, {2: 0.1})
    assert run(gk.guard(gk.sgd(1.0), max_norm=bound), [-5.0, -5.0, -5.0, -0.5])[0] == [
        5.0,
        10.0,
        10.0,
        10.5,
    ]


def test_a_bound_on_the_loss():
    out, _ = run(
        gk.guard(gk.sgd(1.0), max_value=2.0),
        [-1.0, -3.0, -1.0],
        extras=lambda g: {"value": jnp.float32(-g)},
    )
    assert out == [1.0, 1.0, 2.0]


def test_a_nan_loss_is_no_sound_step():
    for how in ({"max_value": 2.0}, {"value_sigma": 3.0}):
        out, _ = run(
            gk.guard(gk.sgd(1.0), **how),
            [-1.0, -2.0],
            extras=lambda g: {"value": jnp.float32(np.nan if g == -2.0 else 1.0)},
        )
        assert out == [1.0, 1.0]


def sigma_oracle(values, sigma, decay, patience):
    """Which values are taken, by the words of the docstring."""
    mean = variance = 0.0
    count, taken = 0, []
    for x in values:
        jumped = count >= patience and x > mean + sigma * np.sqrt(variance)
        taken.append(not jumped)
        if not jumped:
            count += 1
            share = max(1 / count, 1 - decay)
            apart = x - mean
            mean, variance = mean + share * apart, (1 - share) * (variance + share * apart**2)
    return taken


@pytest.mark.parametrize("what", ["norm_sigma", "value_sigma"])
def test_a_jump_is_judged_by_mean_and_deviation_of_the_steps_taken(what):
    values = np.abs(np.random.default_rng(0).normal(size=60)) + 1
    values[[20, 21, 45]] = 50.0, 60.0, 30.0
    expected = sigma_oracle(values, 3.0, 0.9, 5)
    assert not expected[20]
    with jax.enable_x64(True):
        extras = (lambda g: {}) if what == "norm_sigma" else (lambda g: {"value": jnp.asarray(g)})
        tx = gk.guard(gk.scale(1.0), **{what: 3.0}, decay=0.9, patience=5)
        out, kept = run(tx, values, extras)
    taken = np.diff([0.0, *out]) != 0
    assert taken.tolist() == expected
    assert kept["skipped"] == len(expected) - sum(expected)


def test_within_the_first_steps_the_moments_are_plain_mean_and_variance():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    _, kept = run(gk.guard(gk.scale(1.0), norm_sigma=100.0, decay=0.99), values)
    np.testing.assert_allclose(
        [kept["norms"]["mean"], kept["norms"]["variance"]], [values.mean(), values.var()], 1e-5
    )


@both
@pytest.mark.parametrize(
    ("after", "expected"),
    [("skip", [0, 0, 0, 0]), ("zero_nans", [0, 0, 0, 0]), ("apply", [0, 0, np.nan, np.nan])],
)
def test_what_happens_when_the_budget_is_spent(after, expected, apply):
    out, kept = run(
        gk.guard(gk.sgd(1.0), 2, on_budget_exhausted=after, check_updates=False),
        [np.nan] * 4,
        apply=apply,
    )
    np.testing.assert_array_equal(out, expected)
    assert kept["inner"].step == {"skip": 0, "zero_nans": 2, "apply": 2}[after]
    assert kept["skipped"] == {"skip": 4, "zero_nans": 2, "apply": 2}[after]
    assert kept["consecutive"] == 4


@both
def test_a_budget_limits_the_skips_in_a_row_unless_told_otherwise(apply):
    bad = [-9.0] * 4
    assert run(gk.guard(gk.sgd(1.0), 2, max_norm=2.0), bad, apply=apply)[0] == [0, 0, 9.0, 18.0]
    assert run(gk.guard(gk.sgd(1.0), 2.0, max_norm=2.0), bad, apply=apply)[0] == [0, 0, 9.0, 18.0]
    assert run(
        gk.guard(gk.sgd(1.0), 2, max_norm=2.0, on_budget_exhausted="skip"), bad, apply=apply
    )[0] == [0, 0, 0, 0]
    assert run(gk.guard(gk.sgd(1.0), max_norm=2.0), bad, apply=apply)[0] == [0, 0, 0, 0]


@both
def test_a_sound_step_gives_the_budget_back(apply):
    out, kept = run(
        gk.guard(gk.sgd(1.0), 1, max_norm=2.0), [-9.0, -9.0, -9.0, -1.0, -9.0, -9.0], apply=apply
    )
    assert out == [0, 9.0, 18.0, 19.0, 19.0, 28.0]
    assert (int(kept["skipped"]), int(kept["consecutive"])) == (2, 2)


@both
@pytest.mark.parametrize(
    ("after", "expected"), [("apply", [0, np.inf, np.inf]), ("zero_nans", [0, 0, 0])]
)
def test_the_budget_counts_updates_that_are_not_finite(after, expected, apply):
    inner = gk.stateless(lambda updates, params: jax.tree.map(lambda u: u / 0.0, updates))
    assert (
        run(gk.guard(gk.chain(inner), 1, on_budget_exhausted=after), [1.0] * 3, apply=apply)[0]
        == expected
    )


@both
def test_forced_steps_are_steps_taken_and_the_guard_gets_used_to_a_new_level(apply):
    tx = gk.guard(gk.scale(1.0), 3, value_sigma=3.0)
    losses = [1.0] * 10 + [2.0] * 20
    out, kept = run(tx, losses, extras=lambda g: {"value": jnp.float32(g)}, apply=apply)
    assert kept["skipped"] == 3
    assert kept["values"]["count"] == 27
    np.testing.assert_allclose(kept["values"]["mean"], (10 * 1.0 + 17 * 2.0) / 27, 1e-5)
    assert out[-1] == 10 * 1.0 + 17 * 2.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_forced_step_leaves_nothing_in_the_mean_that_would_stay_for_ever(bad):
    tx = gk.guard(gk.scale(1.0), 0, norm_sigma=3.0, on_budget_exhausted="zero_nans", patience=2)
    _, kept = run(tx, [1.0, 2.0, bad, 3.0])
    np.testing.assert_allclose(
        [kept["norms"]["mean"], kept["norms"]["variance"]], [2.0, 2 / 3], 1e-5
    )


def test_zero_nans_takes_what_is_finite():
    tx, w = gk.guard(gk.sgd(1.0), 0, on_budget_exhausted="zero_nans"), jnp.zeros(3)
    updates, _ = tx.update(jnp.array([1.0, jnp.nan, jnp.inf]), tx.init(w), w)
    assert updates.tolist() == [-1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("advance", "expected"), [(False, [1.0, 1.0, 1.5]), (True, [1.0, 1.0, 1.25])]
)
def test_it_says_whether_the_clock_advances_olmo_bug_22(advance, expected):
    tx = gk.guard(gk.sgd(gk.exponential_decay(1.0, 1, 0.5)), count_skipped=advance)
    out, kept = run(tx, [-1.0, np.nan, -1.0])
    np.testing.assert_allclose(out, expected, 1e-6)
    assert kept["inner"].step == (3 if advance else 2)


@both
@pytest.mark.parametrize(
    "inner",
    [
        gk.schedule_free_sgd(0.1),
        gk.optimistic_gradient_descent(0.1),
        gk.momo(0.1),
        gk.madgrad(0.1),
        gk.adopt(0.1),
        gk.grokfast(0.9, 2.0),
    ],
    ids=repr,
)
def test_the_inner_clock_stands_at_0_until_a_first_step_was_taken(inner, apply):
    """Links know their first call by it."""
    tx = gk.guard(inner, count_skipped=True)

    def path(gradients):
        w, state, out = jnp.full(1, 5.0), tx.init(jnp.zeros(1)), []
        for g in gradients:
            before, loss = w, {"value": jnp.float32(1.0)}
            if apply:
                w, state = tx.apply(w, state, jnp.full(1, g), **loss)
            else:
                updates, state = tx.update(jnp.full(1, g), state, w, **loss)
                w = gk.apply_updates(w, updates)
            if np.isnan(g):
                assert w == before
            else:
                out.append(float(w[0]))
        return out, state.inner["guard"]["inner"].step

    out, clock = path([np.nan, np.nan, 1.0, 2.0, -1.0])
    expected, _ = path([1.0, 2.0, -1.0])
    np.testing.assert_allclose(out, expected, 1e-6)
    assert clock == 3
    assert path([np.nan, 1.0, np.nan])[1] == 2


def test_sums_of_several_calls_are_not_shifted_by_a_skipped_one():
    out, _ = run(gk.guard(gk.apply_every(2), count_skipped=True), [1.0, 1.0, np.nan, 1.0, 1.0])
    assert out == [0.0, 2.0, 2.0, 2.0, 4.0]


def test_a_step_that_is_taken_advances_the_clock_olmo_bug_22():
    out, kept = run(gk.guard(gk.adam(0.1), max_norm=1e9), [-1.0] * 20)
    expected, _ = run(gk.adam(0.1), [-1.0] * 20)
    np.testing.assert_allclose(out, expected, 1e-6)
    assert kept["inner"].step == 20


@pytest.mark.parametrize(
    "tx",
    [
        gk.apply_if_finite(gk.adam(0.1), 2),
        gk.guard(gk.adam(0.1), norm_sigma=3.0),
        gk.conditionally_mask(gk.adam(0.1), lambda s: s > 1),
    ],
    ids=repr,
)
def test_types_stand_from_init_on_bug_28(tx):
    w = jnp.zeros(2, jnp.bfloat16)
    state = tx.init(w)
    kinds = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    ahead = jax.jit(tx.update).lower(w, state, w).compile()
    for _ in range(3):
        _, state = ahead(w, state, w)
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state) == kinds


@both
def test_one_nan_micro_gradient_does_not_freeze_accumulation_bug_25(apply):
    out, inside = run(
        gk.MultiSteps(gk.apply_if_finite(gk.sgd(1.0), 3), 2),
        [-1.0, np.nan, -1.0, -3.0, -1.0, -1.0],
        apply=apply,
    )
    assert out == [0, 0, 0, 2.0, 2.0, 3.0]
    assert inside["opt"].inner["skipped"] == 1


def test_apply_if_finite_is_optax_where_updates_are_finite():
    values = [1.0, np.nan, np.nan, 2.0, np.inf, 3.0]
    ours, _ = run(gk.apply_if_finite(gk.adam(0.1), 3), values)
    theirs = optax.apply_if_finite(optax.adam(0.1), 3)
    w, expected = jnp.zeros(1), []
    state = theirs.init(w)
    with jax.numpy_dtype_promotion("standard"):
        for g in values:
            updates, state = theirs.update(jnp.full(1, g), state, w)
            w = w + updates
            expected.append(float(w[0]))
    np.testing.assert_allclose(ours, expected, 1e-5)


def budget_runs_out(tx, apply_updates):
    """The updates of eight bad gradients, one good one and three bad ones."""
    w, out = jnp.zeros(2), []
    state, step = tx.init(w), jax.jit(tx.update)
    for bad in [True] * 8 + [False] + [True] * 3:
        updates, state = step(jnp.array([1.0, np.nan if bad else 1.0]), state, w)
        w = apply_updates(w, updates)
        out.append(np.asarray(updates))
    return np.array(out)


@pytest.mark.parametrize("budget", [0, 1, 2, 9])
def test_apply_if_finite_is_optax_when_the_budget_is_spent(budget):
    ours = budget_runs_out(
        gk.apply_if_finite(gk.chain(gk.zero_nans(), gk.sgd(1.0)), budget), gk.apply_updates
    )
    with jax.numpy_dtype_promotion("standard"):
        theirs = budget_runs_out(
            optax.apply_if_finite(optax.chain(optax.zero_nans(), optax.sgd(1.0)), budget),
            optax.apply_updates,
        )
    np.testing.assert_array_equal(ours, theirs)
    if budget == 2:
        assert ours[:, 0].tolist() == [0, 0, -1, -1, -1, -1, -1, -1, -1, 0, 0, -1]


def test_conditions_see_the_extras_when_told():
    tx = gk.conditionally_mask(
        gk.sgd(1.0), lambda step, value, **extras: value < 1.0, forward_extra_args=True
    )
    out, kept = run(tx, [-1.0, -1.0], extras=lambda g: {"value": jnp.float32(0.5)})
    assert out == [1.0, 2.0]
    assert kept["inner"].step == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conditionally_transform", [1.0, -1.0, 0.0, -1.5]),
        ("conditionally_mask", [0.0, -1.0, -1.0, -2.5]),
    ],
)
def test_conditions_keep_the_inner_clock_and_state(name, expected):
    tx = getattr(gk, name)(gk.sgd(1.0, momentum=0.5), lambda step: step % 2 == 1)
    out, _ = run(tx, [1.0] * 4)
    start = 1.0 if name == "conditionally_transform" else 0.0
    assert out == [start, start - 1.0, 2 * start - 1.0, 2 * start - 2.5]


def test_derivatives_pass_through():
    def last(rate):
        tx = gk.guard(gk.sgd(rate), max_norm=100.0)
        w, state = jnp.ones(1), tx.init(jnp.ones(1))
        for _ in range(3):
            w, state = tx.apply(w, state, 2 * w)
        return w[0]

    np.testing.assert_allclose(jax.grad(last)(0.1), 3 * (1 - 0.2) ** 2 * -2, 1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: gk.guard(gk.sgd(0.1), -1),
            r"guard: max_consecutive_skips=-1 is out of range",
        ),
        (
            lambda: gk.guard(gk.sgd(0.1), on_budget_exhausted="stop"),
            r"guard: on_budget_exhausted='stop' is not an option\. Expected one of 'apply'",
        ),
        (
            lambda: gk.guard(gk.sgd(0.1), max_norm=0.0),
            r"guard: max_norm=0.0 is out of range",
        ),
        (
            lambda: gk.guard(gk.sgd(0.1), value_sigma=-1.0),
            r"guard: value_sigma=.* is out of range",
        ),
        (lambda: gk.guard(gk.sgd(0.1), decay=1.0), r"guard: decay=.* is out of range"),
        (
            lambda: gk.guard(gk.sgd(0.1), patience=0),
            r"guard: patience=.* is (?:out of range|not an integer)",
        ),
    ],
)
def test_bad_input_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_the_value_is_required_where_a_bound_takes_it():
    tx = gk.guard(gk.sgd(0.1), value_sigma=3.0)
    with pytest.raises(TypeError, match=r"guard: the extra argument 'value' is missing"):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
    with pytest.raises(
        TypeError,
        match=r"guard: value=None is not a loss\. Call update\(grads, state, params, value=loss\)",
    ):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)), value=None)
    with pytest.raises(
        ValueError,
        match=r"guard: value is float32\[2\]\. Expected one number\. "
        r"Take the mean over the batch\.",
    ):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)), value=jnp.ones(2))
    tx = gk.conditionally_mask(gk.sgd(0.1), lambda step: jnp.ones(2, bool))
    with pytest.raises(
        TypeError,
        match=r"conditionally_mask: should_transform_fn returned bool\[2\]\. Expected one bool\.",
    ):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
