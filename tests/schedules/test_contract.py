"""What is true of every schedule: data, one trace, derivatives, the transforms of JAX.

One suite, over `oracles.CASES`. Closed forms are in test_closed_forms.py, refusals in
test_arguments.py, expressions in test_operators.py.
"""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.schedules.oracles import CASES, EACH, label

SCHEDULES = [case[0] for case in CASES]
each = pytest.mark.parametrize("case", EACH, ids=label)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: repr(s)[:60])
def test_repr_is_the_code_that_makes_it_and_it_pickles(schedule):
    assert eval(repr(schedule), dict(vars(gk))) == schedule
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert hash(again) == hash(schedule)


@each
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


@each
def test_population_gradient_and_scan(case):
    schedule = case[0]
    leaves, tree = jax.tree.flatten(schedule)
    tx = gk.scale(schedule)

    @jax.jit
    def run(scales, schedule):
        def values(scale):
            many = tree.unflatten([leaves[0] * scale, *leaves[1:]])
            return jax.lax.scan(
                lambda step, _: (step + 1, many(step)), jnp.int32(0), None, length=12
            )[1]

        def driven(state, _):
            updates, state = tx.update(jnp.ones(()), state)
            return state, updates

        slopes = jax.jacobian(lambda schedule: jnp.sum(schedule(jnp.arange(12))))(schedule)
        updates = jax.lax.scan(driven, tx.init(jnp.ones(())), length=5)[1]
        return jax.vmap(values)(scales), slopes, updates

    together, gradient, updates = run(jnp.array([1.0, 0.75], jnp.float32), schedule)
    want = schedule(np.arange(12))
    np.testing.assert_allclose(together[0], want, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(updates, want[:5], rtol=1e-5, atol=1e-8)
    assert np.all(np.isfinite(together[1]))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@each
def test_shapes_are_known_without_running(case):
    schedule = case[0]
    for shape in ((), (3,), (2, 0)):
        out = jax.eval_shape(schedule, jax.ShapeDtypeStruct(shape, jnp.int32))
        assert (out.shape, out.dtype) == (shape, jnp.float32)


def test_schedules_are_functions_to_jit_cond_switch_and_checkpoint():
    first = gk.warmup_cosine_decay_schedule(0.0, 1.0, 4, 20)
    second = 0.5 * gk.linear_schedule(1.0, 0.0, 20)
    step = jnp.int32(10)
    compiled = jax.jit(first)
    assert compiled(step) == compiled(jnp.int32(10))
    np.testing.assert_allclose(compiled(step), first(step), rtol=1e-6)
    again = jax.jit(gk.warmup_cosine_decay_schedule(0.0, 1.0, 4, 20))  # an equal one: crashed once
    np.testing.assert_allclose(again(step), first(step), rtol=1e-6)
    for predicate, chosen in [(True, first), (False, second)]:
        got = jax.lax.cond(predicate, first, second, step)
        np.testing.assert_allclose(got, chosen(step), rtol=1e-6)
    pieces = [first, second, gk.constant_schedule(0.125)]
    got = jax.jit(lambda i: jax.lax.switch(i, pieces, step))(jnp.int32(1))
    np.testing.assert_allclose(got, second(step), rtol=1e-6)
    kept = jax.checkpoint(lambda rate, x: x * rate(step))
    slope = jax.grad(kept)(second, 2.0)
    assert float(slope.left) == 1.0
    np.testing.assert_allclose(jax.vmap(first)(jnp.arange(5)), first(np.arange(5)), rtol=1e-6)


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


def test_in_a_transform_the_clock_drives_it():
    tx = gk.scale_by_schedule(gk.schedules.linear_warmup(0.5, 2))
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
