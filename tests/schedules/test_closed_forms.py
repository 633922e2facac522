"""float32 and float64 values against the closed form in Python's floats.

The steps cover the length and the ends of float32's and int32's integers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.schedules.oracles import CASES, EACH, label


def steps_of(length):
    """384 steps: over twice the length, around it, around 2**24 and before 2**31 - 1."""
    near = np.arange(-20, 20)
    over = np.linspace(0, 2 * length, 384 - 4 * near.size).astype(np.int64)
    steps = np.concatenate([over, near + 20, length + near, 2**24 + near, 2**31 - 21 + near])
    return np.clip(steps, 0, 2**31 - 1)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_float32_values_are_the_closed_form_to_1e_6(case):
    schedule, oracle, length = case
    steps = steps_of(length)
    want = np.array([oracle(int(step)) for step in steps])
    got = schedule(steps)
    assert got.dtype == jnp.float32
    assert got.shape == steps.shape
    np.testing.assert_allclose(np.asarray(got, np.float64), want, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_float64_values_are_the_closed_form_to_1e_13(case):
    schedule, oracle, length = case
    steps = steps_of(length)
    want = np.array([oracle(int(step)) for step in steps])
    with jax.enable_x64(True):
        got = schedule(steps)
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(np.asarray(got), want, rtol=2e-13, atol=1e-18)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_jitted_with_the_schedule_as_argument_gives_the_same(case):
    schedule, oracle, length = case
    steps = steps_of(length)
    got = jax.jit(lambda schedule, step: schedule(step))(schedule, jnp.asarray(steps, jnp.int32))
    want = np.array([oracle(int(step)) for step in steps])
    # As data a decay rate is a float32, so r**t has only the digits of r: it loses a few ulp per
    # unit of the exponent.
    loose = "exponential_decay" in repr(schedule) and "0.999999" in repr(schedule)
    np.testing.assert_allclose(
        np.asarray(got, np.float64), want, rtol=2.0 if loose else 1e-5, atol=1e-37
    )


@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_last_steps_of_int32_neither_wrap_nor_leave_the_reals(case):
    schedule, oracle, _ = case
    top = 2**31 - 1
    for step in (top, np.int32(top), np.int64(2**40), np.uint32(2**32 - 1), 2**70):
        value = schedule(step)
        assert value.shape == ()
        np.testing.assert_allclose(float(value), oracle(top), rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("case", EACH, ids=label)
def test_a_float_step_gives_what_the_whole_step_gives(case):
    schedule, oracle, _ = case
    for step in (0.0, 5.0, np.float32(33.0)):
        np.testing.assert_allclose(float(schedule(step)), oracle(int(step)), rtol=1e-6)


@pytest.mark.parametrize("case", EACH, ids=label)
def test_shape_and_dtype_follow_the_step(case):
    schedule = case[0]
    for step in (3, np.arange(6).reshape(2, 3)):
        value = schedule(step)
        assert value.shape == np.shape(step)
        assert value.dtype == jnp.float32
    for dtype, shape in (("int32", ()), ("float32", ()), ("int32", (0,)), ("uint8", (1, 2))):
        value = jax.eval_shape(schedule, jax.ShapeDtypeStruct(shape, dtype))
        assert value.shape == shape
        assert value.dtype == jnp.float32
    assert schedule(jnp.int8(3)) == schedule(3)
    assert schedule(np.int32(-7)) == schedule(0)
