"""What is read from a program is there: the contracts that rest on it can fail."""

import jax
import jax.numpy as jnp
import pytest

import gradkit as gk
from tests.contracts.programs import controls, equations, rounds_narrowly, text


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


# Equations for one more leaf: where shapes differ, and where many leaves share one shape, so that
# the program of a leaf is called and not repeated.
LEAF = {
    "sgd": (gk.sgd(0.1, 0.9), 4, 3),
    "adamw": (gk.adamw(1e-3), 23, 7),
    "clip and adamw": (gk.chain(gk.clip_by_global_norm(1.0), gk.adamw(1e-3)), 26, 10),
    "lion": (gk.lion(1e-3), 13, 4),
}


@pytest.mark.parametrize("name", LEAF)
def test_a_program_grows_no_faster_with_the_leaves_than_it_did(name):
    tx, unlike, alike = LEAF[name]

    def program(shapes):
        tree = {f"leaf {i}": jax.ShapeDtypeStruct(shape, "float32") for i, shape in shapes}
        run = lambda params, state, grads: tx.apply(params, state, grads)
        return jax.make_jaxpr(run)(tree, jax.eval_shape(tx.init, tree), tree).jaxpr

    def grown(count, few, many, shape):
        sizes = [count(program([(i, shape(i)) for i in range(n)])) for n in (few, many)]
        return (sizes[1] - sizes[0]) / (many - few)

    every = lambda jaxpr: sum(1 for _ in equations(jaxpr))
    assert grown(every, 4, 6, lambda i: (3, i + 1)) <= unlike
    assert grown(lambda jaxpr: len(jaxpr.eqns), 40, 42, lambda i: (3, 2)) <= alike
