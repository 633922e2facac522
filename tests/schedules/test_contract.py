"""Schedules as data: traced once, vmapped, differentiated, scanned, printed; and what they refuse."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.schedules.oracles import CASES, EACH, label

SCHEDULES = [case[0] for case in CASES]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: repr(s)[:60])
def test_repr_is_the_code_that_makes_it_and_it_pickles(schedule):
    assert eval(repr(schedule), vars(gk)) == schedule
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert hash(again) == hash(schedule)


@pytest.mark.parametrize("case", EACH, ids=label)
def test_one_trace_serves_all_values_and_no_tracer_stays_behind(case):
    schedule, traces = case[0], []

    @jax.jit
    def run(schedule, step):
        traces.append(1)
        return schedule(step)

    with jax.checking_leaks():
        first = run(schedule, jnp.int32(3))
    other = jax.tree.map(
        lambda x: x * 1.5 if isinstance(x, float) and x > 1 else x * 0.75, schedule
    )
    second = run(other, jnp.int32(4))
    assert len(traces) == 1
    assert first.dtype == second.dtype == jnp.float32
    assert schedule(3).shape == ()  # the same object outside, after the trace


@pytest.mark.parametrize("case", EACH, ids=label)
def test_population_gradient_and_scan(case):
    schedule = case[0]
    leaves, tree = jax.tree.flatten(schedule)

    @jax.jit
    def run(scales, schedule):
        def values(scale):
            many = tree.unflatten([leaves[0] * scale, *leaves[1:]])
            return jax.lax.scan(
                lambda step, _: (step + 1, many(step)), jnp.int32(0), None, length=12
            )[1]

        return jax.vmap(values)(scales), jax.grad(
            lambda schedule: jnp.sum(schedule(jnp.arange(12)))
        )(schedule)

    together, gradient = run(jnp.array([1.0, 0.75], jnp.float32), schedule)
    np.testing.assert_allclose(together[0], schedule(np.arange(12)), rtol=1e-5, atol=1e-8)
    assert np.all(np.isfinite(together[1]))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_gradients_through_hyperparameters_are_the_formula_s():
    def at(t):
        return jax.grad(lambda r: gk.exponential_decay(2.0, 10, r)(t))

    np.testing.assert_allclose(at(jnp.int32(30))(0.9), 2.0 * 3 * 0.9**2, rtol=1e-5)
    power = jax.grad(lambda p: gk.polynomial_schedule(1.0, 0.0, p, 10)(5))(2.0)
    np.testing.assert_allclose(power, 0.25 * np.log(0.5), rtol=1e-5)
    assert np.isfinite(jax.grad(lambda p: gk.polynomial_schedule(1.0, 0.0, p, 10)(10))(2.0))
    assert np.isfinite(jax.grad(lambda p: gk.cosine_decay_schedule(1.0, 10, 0.1, p)(0))(2.0))


def test_one_step_serves_every_rate_and_floats_alone_are_data():
    schedule = gk.warmup_cosine_decay_schedule(0.0, 0.3, 10, 100)
    assert jax.tree.leaves(schedule) == [0.0, 0.3, 0.0, 1.0]
    assert schedule.replace(peak_value=0.1)(10) == jnp.float32(0.1)
    assert jax.tree.leaves(gk.piecewise_constant_schedule(1.0, {10: 0.5, 20: 0.25})) == [
        1.0,
        0.5,
        0.25,
    ]


def test_a_length_may_be_data_too():
    rate = jax.jit(jax.vmap(lambda length: gk.linear_schedule(1.0, 0.0, length)(5)))(
        jnp.array([10.0, 20.0])
    )
    assert rate.tolist() == [0.5, 0.75]
    warm = jax.jit(jax.vmap(lambda w: gk.warmup_cosine_decay_schedule(0.0, 1.0, w, 20)(2)))(
        jnp.array([0.0, 4.0])
    )
    np.testing.assert_allclose(
        warm, [np.cos(np.pi / 20) ** 2 * 0 + 0.5 * (1 + np.cos(np.pi * 0.1)), 0.5], rtol=1e-6
    )


def test_in_a_transform_the_clock_drives_it():
    tx = gk.scale_by_schedule(gk.linear_warmup(0.5, 2))
    state, seen = tx.init(jnp.zeros(1)), []
    for _ in range(3):
        update, state = tx.update(jnp.ones(1), state)
        seen.append(float(update[0]))
    assert seen == [0.25, 0.5, 0.5]


def test_values_of_any_float_dtype_come_out_in_the_default_one():
    for value in (jnp.bfloat16(0.5), np.float64(0.5), np.float16(0.5), jnp.array(0.5), 1):
        assert gk.linear_schedule(value, 0.0, 10)(0).dtype == jnp.float32
        assert gk.constant_schedule(value)(np.arange(3)).dtype == jnp.float32
    with jax.enable_x64(True):
        assert gk.linear_schedule(jnp.float32(0.5), 0.0, 10)(jnp.int32(3)).dtype == jnp.float64


BAD = [
    (
        "constant_schedule",
        [float("nan")],
        ValueError,
        r"^constant_schedule, value: needs a finite number; got nan\.",
    ),
    ("constant_schedule", [None], TypeError, "constant_schedule, value: needs a finite number"),
    (
        "constant_schedule",
        [gk.constant_schedule(1.0)],
        TypeError,
        "needs a number; got constant_schedule.*Schedules join, add and multiply",
    ),
    (
        "linear_schedule",
        [1.0, 0.0, 0],
        ValueError,
        r"^linear_schedule, transition_steps: needs a whole number >= 1; got 0\.",
    ),
    (
        "linear_schedule",
        [1.0, 0.0, -5],
        ValueError,
        "transition_steps: needs a whole number >= 1; got -5",
    ),
    (
        "linear_schedule",
        [1.0, 0.0, 2.5],
        TypeError,
        "transition_steps: needs a whole number >= 1; got 2.5",
    ),
    (
        "linear_schedule",
        [1.0, 0.0, 10, -1],
        ValueError,
        "transition_begin: needs a whole number >= 0; got -1",
    ),
    ("polynomial_schedule", [1.0, 0.0, 0.0, 10], ValueError, "power: needs a number > 0; got 0.0"),
    (
        "polynomial_schedule",
        [1.0, 0.0, 2.0, 0],
        ValueError,
        "transition_steps: needs a whole number >= 1; got 0",
    ),
    (
        "cosine_decay_schedule",
        [1.0, 0],
        ValueError,
        "decay_steps: needs a whole number >= 1; got 0",
    ),
    ("cosine_decay_schedule", [1.0, 10, 0.0, -1.0], ValueError, "exponent: needs a number > 0"),
    (
        "exponential_decay",
        [1.0, 0, 0.5],
        ValueError,
        "transition_steps: needs a whole number >= 1; got 0",
    ),
    ("exponential_decay", [1.0, 10, 0.0], ValueError, "decay_rate: needs a number > 0; got 0.0"),
    (
        "exponential_decay",
        [1.0, 10, 0.5, 0, False, float("inf")],
        ValueError,
        "end_value: needs a finite number",
    ),
    (
        "natural_exponential_decay",
        [1.0, 10, -0.5],
        ValueError,
        "decay_rate: needs a finite number >= 0",
    ),
    ("inverse_time_decay", [1.0, 10, -0.5], ValueError, "decay_rate: needs a finite number >= 0"),
    (
        "inverse_time_decay",
        [1.0, 0, 0.5],
        ValueError,
        "transition_steps: needs a whole number >= 1",
    ),
    (
        "inverse_sqrt_schedule",
        [1.0, -1],
        ValueError,
        "warmup_steps: needs a whole number >= 0; got -1",
    ),
    (
        "piecewise_constant_schedule",
        [1.0, {-5: 0.1}],
        ValueError,
        "needs a whole number >= 0; got -5. A boundary is a step",
    ),
    (
        "piecewise_constant_schedule",
        [1.0, {5: -0.1}],
        ValueError,
        r"boundaries_and_scales\[5\]: needs a finite number >= 0; got -0.1",
    ),
    ("piecewise_constant_schedule", [1.0, [5, 0.1]], TypeError, "needs a dict of boundary: scale"),
    (
        "piecewise_interpolate_schedule",
        ["cubic", 1.0],
        ValueError,
        "interpolate_type: needs one of 'linear', 'cosine'; got 'cubic'",
    ),
    (
        "linear_onecycle_schedule",
        [0, 1.0],
        ValueError,
        "transition_steps: needs a whole number >= 1; got 0",
    ),
    (
        "linear_onecycle_schedule",
        [10, 1.0, 0.5, 0.3],
        ValueError,
        "pct_start: needs pct_start <= pct_final; got 0.5 and 0.3",
    ),
    (
        "cosine_onecycle_schedule",
        [10, 1.0, 1.5],
        ValueError,
        r"pct_start: needs a number in \[0, 1\]",
    ),
    ("cosine_onecycle_schedule", [10, 1.0, 0.5, 0.0], ValueError, "div_factor: needs a number > 0"),
    (
        "warmup_constant_schedule",
        [0.0, 1.0, -1],
        ValueError,
        "warmup_steps: needs a whole number >= 0; got -1",
    ),
    (
        "warmup_cosine_decay_schedule",
        [0.0, 1.0, 10, 10],
        ValueError,
        "needs decay_steps > warmup_steps; got 10 and 10. decay_steps is the length of the whole",
    ),
    (
        "warmup_exponential_decay_schedule",
        [0.0, 1.0, 10, 0, 0.5],
        ValueError,
        "exponential_decay, transition_steps: needs a whole number >= 1",
    ),
    (
        "warmup_stable_decay_schedule",
        [0.0, 1.0, 1, 1, 0],
        ValueError,
        "decay_steps: needs a whole number >= 1",
    ),
    (
        "warmup_stable_decay_schedule",
        [0.0, 1.0, 1, 1, 5, 0.0, "sqrt"],
        ValueError,
        "cooldown: needs one of 'linear', 'cosine', '1-sqrt'; got 'sqrt'",
    ),
    ("linear_warmup", [0.1, -1], ValueError, "warmup_steps: needs a whole number >= 0"),
    (
        "linear_warmup",
        ["0.1", 5],
        TypeError,
        "schedule: needs a schedule, a function of the step or a number; got '0.1'",
    ),
    (
        "join_schedules",
        [[0.1, 0.2], []],
        ValueError,
        "boundaries: needs one boundary fewer than schedules; got 0 for 2",
    ),
    ("join_schedules", [[], []], ValueError, "needs one boundary fewer than schedules"),
    (
        "join_schedules",
        [[0.1, 0.2, 0.3], [5, 4]],
        ValueError,
        r"needs boundaries that do not fall; got \[5, 4\]",
    ),
    (
        "join_schedules",
        [[0.1, 0.2], [-4]],
        ValueError,
        r"boundaries\[0\]: needs a whole number >= 0; got -4",
    ),
    ("join_schedules", [[0.1, "x"], [4]], TypeError, r"schedules\[1\]: needs schedules"),
    ("join_schedules", [0.1, [4]], TypeError, "needs a list of schedules"),
    (
        "triangular_schedule",
        [0.1, 1.0, 0],
        ValueError,
        "transition_steps: needs a whole number >= 1; got 0",
    ),
    ("triangular_schedule", [0.1, 1.0, 5, 0.0], ValueError, "decay_rate: needs a number > 0"),
    (
        "warm_restarts_schedule",
        [1.0, 0],
        ValueError,
        "decay_steps: needs a whole number >= 1; got 0",
    ),
    ("warm_restarts_schedule", [1.0, 10, 0], ValueError, "t_mul: needs a whole number >= 1; got 0"),
    (
        "warm_restarts_schedule",
        [1.0, 10, 1.5],
        TypeError,
        "t_mul: needs a whole number >= 1 .*got 1.5",
    ),
    ("sgdr_schedule", [[]], ValueError, "cosine_kwargs: needs at least one period"),
    ("sgdr_schedule", [[3]], TypeError, "cosine_kwargs: needs a list of dicts"),
    ("sgdr_schedule", [[{"init_value": 0.0}]], TypeError, "missing a required argument"),
    ("per_epoch", [0.1, 0], ValueError, "steps_per_epoch: needs a whole number >= 1; got 0"),
    (
        "per_epoch",
        [None, 10],
        TypeError,
        "schedule: needs a schedule, a function of the epoch or a number; got None",
    ),
    (
        "linear_scaling_rule",
        [0.1, 0],
        ValueError,
        r"^linear_scaling_rule, batch_size: needs a whole number >= 1; got 0",
    ),
    ("linear_scaling_rule", [-0.1, 32], ValueError, "learning_rate: needs a finite number >= 0"),
    ("plot_schedule", [0.1, 0], ValueError, "plot_schedule, steps: needs a whole number >= 1"),
    ("plot_schedule", [[], 10], ValueError, "needs at least one schedule"),
    ("plot_schedule", [["x"], 10], TypeError, r"schedules\[0\]: needs schedules"),
]


@pytest.mark.parametrize(
    ("name", "args", "error", "message"),
    BAD,
    ids=lambda x: x if isinstance(x, str) and len(x) < 34 else "",
)
def test_nonsense_is_refused_with_a_message(name, args, error, message):
    with pytest.raises(error, match=message):
        getattr(gk, name)(*args)


@pytest.mark.parametrize("step", [None, "3", 1j, np.array([True]), [1, 2]])
def test_what_is_no_step_is_refused(step):
    with pytest.raises(
        TypeError, match="step: needs a step: an integer, a number or an array of them; got"
    ):
        gk.linear_schedule(1.0, 0.0, 10)(step)
