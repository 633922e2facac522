"""Schedule-free learning against a float64 oracle written from the paper, and against optax.

The comparison with optax is made where the weights agree.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk

STEPS = 120


def gradient(y):
    """Of Σ √(1 + (y − 3)²)."""
    return (y - 3.0) / np.sqrt(1 + (y - 3.0) ** 2)


def oracle(rate, b1, power, steps=STEPS, adam=None, decay=0.0):
    """Algorithm 1 of Defazio et al. 2024 in three sequences, rates from step 0.

    Returns y and x after each step.
    """
    x = z = y = np.linspace(-1.0, 1.0, 4)
    total, top, second, out = 0.0, 0.0, np.zeros(4), []
    for t in range(steps):
        y = (1 - b1) * z + b1 * x
        g = gradient(y)
        direction = g
        if adam is not None:
            b2, eps = adam
            second = b2 * second + (1 - b2) * g**2
            direction = g / (np.sqrt(second / (1 - b2 ** (t + 1))) + eps)
        z = z - rate(t) * (direction + decay * y)
        top = max(top, rate(t))
        total += top**power
        c = top**power / total if total > 0 else 0.0
        x = (1 - c) * x + c * z
        out.append(((1 - b1) * z + b1 * x, x))
    return out


def run(tx, steps=STEPS, dtype=jnp.float64):
    y = jnp.linspace(-1.0, 1.0, 4, dtype=dtype)
    state, out = tx.init(y), []

    @jax.jit
    def step(y, state):
        g = (y - 3.0) / jnp.sqrt(1 + (y - 3.0) ** 2)
        y, state = tx.apply(y, state, g)
        return y, state, gk.eval_params(tx, state, y)

    for _ in range(steps):
        y, state, x = step(y, state)
        out.append((y, x))
    return out, state


def assert_same(ours, expected, rtol=1e-10):
    np.testing.assert_allclose([y for y, _ in ours], [y for y, _ in expected], rtol, rtol)
    np.testing.assert_allclose([x for _, x in ours], [x for _, x in expected], rtol, rtol)


@pytest.mark.parametrize(("b1", "power"), [(0.9, 2.0), (0.5, 0.0), (1.0, 1.0)])
def test_sgd_is_the_paper(b1, power):
    with jax.enable_x64(True):
        assert_same(
            run(gk.schedule_free_sgd(0.3, b1=b1, weight_decay=0.01, weight_lr_power=power))[0],
            oracle(lambda t: 0.3, b1, power, decay=0.01),
        )


def test_adamw_is_the_paper():
    with jax.enable_x64(True):
        tx = gk.schedule_free_adamw(
            0.05, warmup_steps=10, b1=0.8, b2=0.95, eps=1e-6, weight_decay=0.1, weight_lr_power=1.5
        )
        assert_same(
            run(tx)[0],
            oracle(lambda t: 0.05 * min(1, t / 10), 0.8, 1.5, adam=(0.95, 1e-6), decay=0.1),
        )


def test_the_weights_start_at_schedule_of_zero_optax_1744():
    with jax.enable_x64(True):
        rates = [0.4, 0.1, 0.2] + [0.5] * STEPS

        def schedule(step):
            return jnp.asarray(rates)[step]

        assert_same(
            run(gk.schedule_free(gk.sgd(schedule), schedule, 0.9))[0],
            oracle(lambda t: rates[t], 0.9, 2.0),
        )
        # A schedule known to gradkit is evaluated at the same steps.
        moving = gk.piecewise_constant_schedule(0.4, {2: 0.25, 40: 3.0})
        expected = [float(moving(t)) for t in range(STEPS)]
        assert_same(
            run(gk.schedule_free(gk.sgd(moving), moving, 0.9))[0],
            oracle(lambda t: expected[t], 0.9, 2.0),
        )


def test_a_constant_rate_agrees_with_optax():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        theirs = optax.contrib.schedule_free_adamw(0.05, b1=0.8, b2=0.95, weight_decay=0.1)
        ours = gk.schedule_free_adamw(0.05, b1=0.8, b2=0.95, weight_decay=0.1)
        y = v = jnp.linspace(-1.0, 1.0, 4)
        state, other = ours.init(y), theirs.init(v)
        for _ in range(40):
            y, state = ours.apply(y, state, jnp.sin(y))
            updates, other = theirs.update(jnp.sin(v), other, v)
            v = optax.apply_updates(v, updates)
        np.testing.assert_allclose(y, v, 1e-10)
        np.testing.assert_allclose(
            gk.eval_params(ours, state, y), optax.contrib.schedule_free_eval_params(other, v), 1e-10
        )


def test_an_optax_optimizer_runs_inside():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        assert_same(
            run(gk.schedule_free(optax.sgd(0.3), 0.3, 0.5))[0], oracle(lambda t: 0.3, 0.5, 2.0)
        )


def test_b1_may_move():
    with jax.enable_x64(True):
        b1 = gk.linear_schedule(0.5, 0.9, 50)
        tx = gk.schedule_free(gk.sgd(0.3), 0.3, b1)
        x = z = y = np.linspace(-1.0, 1.0, 4)
        for t, (ours, average) in enumerate(run(tx, 60)[0]):
            z = z - 0.3 * gradient(y)
            x = x + (z - x) / (t + 1)
            y = (1 - float(b1(t))) * z + float(b1(t)) * x
            np.testing.assert_allclose(ours, y, 1e-9)
            np.testing.assert_allclose(average, x, 1e-9)


def test_the_sum_of_weights_does_not_stop_at_256_in_bfloat16():
    tx = gk.schedule_free_sgd(1.0)
    y, state = jnp.zeros(1, jnp.bfloat16), tx.init(jnp.zeros(1, jnp.bfloat16))

    def step(carry, _):
        return tx.apply(*carry, jnp.zeros(1, jnp.bfloat16)), None

    (_, state), _ = jax.jit(lambda y, state: jax.lax.scan(step, (y, state), None, 400))(y, state)
    memory = state.inner["schedule_free_sgd"]
    assert memory["weight_sum"] == 400.0
    assert memory["weight_sum"].dtype == memory["z"].dtype == jnp.float32


def test_state_dtype_is_the_dtype_of_z():
    tx = gk.schedule_free_sgd(0.5, state_dtype="bfloat16")
    out, state = run(tx, 30, jnp.float32)
    assert state.inner["schedule_free_sgd"]["z"].dtype == jnp.bfloat16
    np.testing.assert_allclose(out[-1][1], oracle(lambda t: 0.5, 0.9, 2.0, 30)[-1][1], 0.02)


def test_float32_stays_near_the_oracle():
    out, _ = run(gk.schedule_free_sgd(0.3), dtype=jnp.float32)
    assert_same(out, oracle(lambda t: 0.3, 0.9, 2.0), 2e-5)


def test_a_rate_of_zero_moves_nothing():
    out, state = run(gk.schedule_free_sgd(0.0), 3, jnp.float32)
    np.testing.assert_array_equal(out[-1][0], jnp.linspace(-1.0, 1.0, 4))
    assert state.inner["schedule_free_sgd"]["weight_sum"] == 0.0


def test_evaluation_weights_before_the_first_step_are_the_parameters():
    tx, y = gk.schedule_free_sgd(0.5), jnp.array([1.25, -3.0])
    np.testing.assert_array_equal(gk.eval_params(tx, tx.init(y), y), y)
    np.testing.assert_array_equal(gk.schedule_free_eval_params(tx.init(y), y), y)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: gk.chain(gk.clip_by_global_norm(10.0), tx),
        lambda tx: gk.MultiSteps(tx, 1),
        lambda tx: gk.guard(gk.MultiSteps(gk.chain(gk.clip(9.0), tx), 1)),
        lambda tx: gk.masked(tx, True),
        lambda tx: gk.partition({"all": tx}, "all"),
        lambda tx: gk.watch(tx, "grad_norm"),
        lambda tx: gk.apply_if_finite(tx, 3),
    ],
)
def test_evaluation_weights_come_through_any_nesting(wrap):
    tx = gk.schedule_free_sgd(0.3)
    expected, _ = run(tx, 5, jnp.float32)
    ours, state = run(wrap(tx), 5, jnp.float32)
    assert_same(ours, expected, 1e-6)
    np.testing.assert_allclose(
        gk.schedule_free_eval_params(state, ours[-1][0]), expected[-1][1], 1e-6
    )


def test_derivatives_reach_the_rate():
    def last(rate):
        return run(gk.schedule_free_sgd(rate), 3, jnp.float32)[0][-1][1].sum()

    here = jax.grad(last)(0.3)
    np.testing.assert_allclose(here, (last(0.31) - last(0.29)) / 0.02, 1e-2)
    assert jnp.isfinite(jax.grad(last)(0.0))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: gk.schedule_free(gk.sgd(0.1), -0.1),
            ValueError,
            r"schedule_free: learning_rate=.* is out of range",
        ),
        (
            lambda: gk.schedule_free(gk.sgd(0.1), 0.1, b1=0.0),
            ValueError,
            r"b1=0.0 is out of range",
        ),
        (
            lambda: gk.schedule_free(gk.sgd(0.1), 0.1, b1=1.1),
            ValueError,
            r"b1=1.1 is out of range",
        ),
        (
            lambda: gk.schedule_free(gk.sgd(0.1), 0.1, state_dtype="int8"),
            TypeError,
            r"'int8' is not a floating dtype",
        ),
        (
            lambda: gk.schedule_free(gk.schedule_free_sgd(0.1), 0.1),
            ValueError,
            r"schedule_free: base_optimizer=schedule_free_sgd\(.*\) keeps evaluation",
        ),
        (
            lambda: gk.schedule_free_sgd(0.1, warmup_steps=-1),
            ValueError,
            r"schedule_free_sgd: warmup_steps=-1 is out of range\. Expected an integer >= 0\.",
        ),
        (
            lambda: gk.schedule_free_sgd(gk.constant_schedule(0.1), warmup_steps=5),
            TypeError,
            r"learning_rate=constant_schedule\(0\.1\) is a schedule, beside warmup_steps\.",
        ),
        (
            lambda: gk.schedule_free_adamw(b2=1.0),
            ValueError,
            r"schedule_free_adamw: b2=.* is out of range",
        ),
        (
            lambda: gk.schedule_free_adamw(eps=-1.0),
            ValueError,
            r"schedule_free_adamw: eps=-1\.0 is out of range",
        ),
    ],
)
def test_bad_input_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_state_without_z_is_refused():
    with pytest.raises(
        ValueError,
        match=r"schedule_free_eval_params: the state has 0 schedule_free in it\. Expected one\.",
    ):
        gk.schedule_free_eval_params(gk.adam(0.1).init(jnp.ones(1)), jnp.ones(1))
    tx = gk.adam(0.1)
    with pytest.raises(
        ValueError,
        match=r"eval_params: adam\(0\.1\) keeps no evaluation weights\. Add an average",
    ):
        gk.eval_params(tx, tx.init(jnp.ones(1)), jnp.ones(1))


def test_parameters_are_needed():
    tx = gk.schedule_free_sgd(0.1)
    with pytest.raises(ValueError, match=r"params=None, but this transform needs the parameters"):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)))


def test_large_leaves_take_the_steps_of_small_ones_without_memory_for_them():
    """On the CPU the inner update of a large leaf is computed twice."""
    rng, tx = np.random.default_rng(0), gk.schedule_free_adamw(1e-2, weight_decay=0.1)
    params = jnp.asarray(rng.normal(size=(256, 256)), jnp.float32)
    rows = list(params.reshape(4, 64, 256))
    state, small = tx.init(params), tx.init(rows)
    step = jax.jit(tx.apply, donate_argnums=(0, 1)).lower(params, state, params).compile()
    if jax.default_backend() == "cpu":
        assert step.memory_analysis().temp_size_in_bytes < 4096
    for _ in range(3):
        grads = rng.normal(size=(256, 256)).astype(np.float32)
        params, state = step(params, state, jnp.asarray(grads))
        rows, small = jax.jit(tx.apply)(rows, small, list(grads.reshape(4, 64, 256)))
    np.testing.assert_allclose(params, np.reshape(rows, (256, 256)), rtol=1e-6, atol=1e-7)
