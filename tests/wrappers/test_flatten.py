"""All leaves as one vector: dtypes, empty trees, and what the transform inside sees."""

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk
from gradkit.typing import Params

PARAMS = {
    "a": jnp.arange(6.0).reshape(3, 2),
    "b": {"c": jnp.float32(2.0), "d": jnp.ones(4, jnp.bfloat16)},
}


def test_a_rule_of_elements_does_not_notice_and_dtypes_are_kept():
    plain, tx = gk.adamw(0.1), gk.flatten(gk.adamw(0.1))
    expected, _ = plain.update(PARAMS, plain.init(PARAMS), PARAMS)
    updates, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    jax.tree.map(lambda u, e: np.testing.assert_allclose(u, e, rtol=1e-6), updates, expected)
    assert jax.tree.map(jnp.result_type, updates) == jax.tree.map(jnp.result_type, expected)
    assert max(leaf.size for leaf in jax.tree.leaves(state)) == 11


def test_shapes_suffice_for_init_and_no_leaves_are_none():
    tx = gk.flatten(gk.trace(0.9))
    shapes = jax.eval_shape(lambda: PARAMS)
    assert jax.tree.map(jnp.shape, tx.init(shapes)) == jax.tree.map(jnp.shape, tx.init(PARAMS))
    assert tx.update({}, tx.init({}))[0] == {}


def test_an_extra_that_is_a_tree_like_the_updates_is_joined_too():
    @gk.transform
    def replace_by_other() -> gk.Rule:
        def update(updates: Params, state: tuple[()], params: Params, *, other: Params) -> object:
            assert jnp.shape(other) == jnp.shape(updates) == (11,)
            return other, state

        return gk.Rule(lambda params: (), update)

    tx = gk.flatten(replace_by_other())
    doubled = jax.tree.map(lambda p: p * 2, PARAMS)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, other=doubled)
    jax.tree.map(np.testing.assert_array_equal, updates, doubled)
