"""What is true of every schedule, whatever its curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.cases import SCHEDULE_CASES, shrunk
from tests.schedules.oracles import EACH

every = pytest.mark.parametrize("case", SCHEDULE_CASES, ids=repr)
# Those with a closed form are traced once and differentiated in tests/schedules/test_contract.py.
elsewhere = {schedule.factory.__name__ for schedule, *_ in EACH}
every_other = pytest.mark.parametrize(
    "case", [case for case in SCHEDULE_CASES if case.name not in elsewhere], ids=repr
)
STEPS = [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 2**24 + 1, 2**31 - 1]


@every
def test_an_array_of_steps_gives_the_values_one_by_one(case):
    rate = case.make()
    steps = jnp.asarray(STEPS, jnp.int32)
    values = rate(steps)
    assert values.shape == steps.shape
    assert values.dtype == jnp.float32
    assert np.isfinite(values).all()
    one_by_one = [np.asarray(rate(step)) for step in STEPS]
    assert all(value.shape == () for value in one_by_one)
    np.testing.assert_allclose(values, np.stack(one_by_one), 2e-6, 1e-9)
    assert rate(steps[:12].reshape(3, 4)).shape == (3, 4)


@every_other
def test_one_trace_serves_every_step_and_every_number(case):
    traces = []

    @jax.jit
    def value(rate, step):
        traces.append(1)
        return rate(step)

    rate = case.make()
    for step in STEPS[:6]:
        np.testing.assert_allclose(value(rate, jnp.int32(step)), rate(step), 2e-6, 1e-9)
    value(shrunk(rate), jnp.int32(3))
    assert len(traces) == 1


@every
def test_a_schedule_drives_an_optimizer_in_a_scan(case):
    rate = case.make()
    tx = gk.scale(rate)

    def body(state, _):
        updates, state = tx.update(jnp.ones(()), state)
        return state, updates

    _, values = jax.lax.scan(body, tx.init(jnp.ones(())), length=5)
    np.testing.assert_allclose(values, rate(jnp.arange(5)), 2e-6, 1e-9)


@every_other
def test_derivatives_with_respect_to_the_numbers_are_finite(case):
    rate = case.make()
    if not jax.tree.leaves(rate):
        pytest.skip("holds no numbers")
    slopes = jax.jit(jax.jacobian(lambda r: r(jnp.arange(12))))(rate)
    assert all(np.isfinite(slope).all() for slope in jax.tree.leaves(slopes))


@every
def test_doubles_under_x64(case):
    with jax.enable_x64(True):
        assert case.make()(jnp.arange(3)).dtype == jnp.float64
        assert np.isfinite(case.make()(2**40))
