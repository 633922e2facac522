"""What is read from a program is there: the contracts that rest on it can fail."""

import jax
import jax.numpy as jnp
import pytest

from tests.contracts.programs import controls, rounds_narrowly, text


def narrow(function, x):
    return rounds_narrowly(jax.make_jaxpr(function)(x))


def control(function, x):
    return controls(jax.make_jaxpr(function)(x))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_arithmetic_in_a_narrow_dtype_is_found_also_in_a_branch(dtype):
    x = jnp.ones(3, dtype)
    assert narrow(lambda x: x * x, x)
    assert narrow(jax.jit(lambda x: x * x), x)
    assert rounds_narrowly(
        jax.make_jaxpr(lambda x: jax.lax.cond(True, lambda x: x * x, lambda x: x, x))(x)
    )
    assert not rounds_narrowly(
        jax.make_jaxpr(lambda x: (x.astype(jnp.float32) ** 2).astype(dtype))(x)
    )


def test_control_flow_is_found_also_in_a_nested_call():
    nested = jax.jit(lambda x: jax.lax.cond(x > 0, jnp.sin, jnp.cos, x))
    assert control(nested, 1.0) == {"cond"}
    assert controls(
        jax.make_jaxpr(lambda x: jax.lax.while_loop(lambda x: x < 3, lambda x: x + 1, x))(1.0)
    )
    assert control(jnp.sin, 1.0) == set()


def program(function):
    return text(jax.make_jaxpr(function)(1.0))


def test_programs_differ_when_their_equations_or_constants_do():
    assert program(lambda x: x * 2.0) == program(lambda y: y * 2.0)
    assert program(lambda x: x * 2.0) != program(lambda x: x * 3.0)
    assert program(lambda x: x * 2.0) != program(lambda x: x + 2.0)
