"""What is written for XLA's sake computes the same as the plain code, on every backend's path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradkit import _tree as tree
from gradkit import _xla as xla


@pytest.fixture(params=[True, False], ids=["cpu", "other"], autouse=True)
def backend(request, monkeypatch):
    monkeypatch.setattr(xla, "on_cpu", lambda: request.param)


def double(carry, by):
    return {"x": carry["x"] * by}


def run(wanted, x, by):
    return xla.run_if(wanted, double, {"x": x}, by)["x"]


@pytest.mark.parametrize("wrap", [jax.jit, lambda f: f], ids=["jit", "eager"])
def test_run_if_runs_the_function_or_keeps_the_carry(wrap):
    assert wrap(run)(jnp.array(True), 3.0, 2.0) == 6.0
    assert wrap(run)(jnp.array(False), 3.0, 2.0) == 3.0
    assert wrap(run)(True, 3.0, 2.0) == 6.0


def test_run_if_has_derivatives_and_maps():
    slope = jax.jit(jax.grad(run, argnums=(1, 2)))
    assert slope(jnp.array(True), 3.0, 2.0) == (2.0, 3.0)
    assert slope(jnp.array(False), 3.0, 2.0) == (1.0, 0.0)
    wanted, x = jnp.array([True, False]), jnp.array([3.0, 5.0])
    np.testing.assert_array_equal(jax.jit(jax.vmap(run, (0, 0, None)))(wanted, x, 2.0), [6.0, 5.0])


def test_run_if_raises_what_the_function_refuses_also_where_it_is_skipped():
    with pytest.raises(TypeError):
        xla.run_if(jnp.array(False), lambda carry, _: carry + "no number", jnp.ones(1), None)


@pytest.mark.parametrize("scalar", [2.0, 0.0, np.inf, np.nan])
def test_after_is_the_number_itself(scalar):
    after = jax.jit(xla.after)
    assert after(jnp.float32(0.1), jnp.float32(scalar)) == jnp.float32(0.1)
    assert after(0.1, jnp.float32(scalar)).dtype == jnp.float32
    assert jax.grad(xla.after, argnums=(0, 1))(0.1, scalar) == (1.0, 0.0)


def test_the_norm_is_the_same_on_every_backend():
    x = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([[2.0]])}
    for wrap in (jax.jit, lambda f: f):
        np.testing.assert_allclose(wrap(tree.norm)(x), 3.0, 1e-6)
        np.testing.assert_allclose(wrap(jax.grad(tree.norm))(x)["a"], [1 / 3, -2 / 3], 1e-6)
    assert (jax.grad(tree.norm)(jnp.zeros(3)) == 0).all()
    np.testing.assert_allclose(jax.vmap(tree.norm)({"a": jnp.eye(2)}), [1.0, 1.0], 1e-6)


def test_one_by_one_is_the_function_and_maps_in_a_loop_on_the_cpu():
    a = jnp.stack([jnp.eye(3), jnp.diag(jnp.array([3.0, 1.0, 2.0]))])
    values = lambda x: jnp.linalg.eigh(x)[0]
    single = xla.one_by_one(values)
    np.testing.assert_array_equal(single(a[1]), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(jax.jit(jax.vmap(single))(a), jax.vmap(values)(a))
    loops = "scan" in str(jax.make_jaxpr(jax.vmap(single))(a))
    assert loops == xla.on_cpu()
