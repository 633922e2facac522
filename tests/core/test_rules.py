"""Rules outside a factory, and what the outermost call checks and returns."""

import jax
import jax.numpy as jnp
import pytest

import gradkit as gk


def test_a_bare_rule_may_be_in_a_chain_and_is_a_pair_of_functions():
    rule = gk.stateless(lambda updates, params: jax.tree.map(jnp.negative, updates))
    tx = gk.chain(rule, gk.scale(2.0))
    updates, state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
    assert updates[0] == -2.0
    assert state.inner == {}
    assert rule.update(jnp.ones(1), rule.init(jnp.ones(1)))[0][0] == -1.0  # as optax's is used


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_without_parameters_an_update_has_the_dtype_of_its_gradient(dtype):
    tx, g = gk.adam(0.1), jnp.ones(2, dtype)
    updates, state = tx.update(g, tx.init(g))
    assert updates.dtype == dtype
    wide, _ = tx.update(g, state, jnp.ones(2))
    assert wide.dtype == jnp.float32


def test_integer_leaves_are_refused_at_init_also_without_a_state():
    with pytest.raises(TypeError, match=r"scale, n: this parameter is int32\[3\]"):
        gk.scale(2.0).init({"n": jnp.arange(3)})
    assert gk.set_to_zero().init({"n": jnp.arange(3)}).inner == {}
