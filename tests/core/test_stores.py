"""Stores: what is decoded is what was encoded, as far as the store keeps it."""

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk


def test_a_cover_is_never_below_what_it_keeps():
    for shape in ((), (3,), (4, 3), (2, 3, 4), (0, 3)):
        x = jnp.abs(jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32))
        store = gk.stores.sm3_cover()
        assert (store.decode(store.encode(x), x) >= x).all()


def test_a_factored_store_keeps_the_means_of_rows_and_columns():
    x = jnp.asarray(np.random.default_rng(1).random(size=(2, 5, 3)), jnp.float32)
    store = gk.stores.factored(3)
    back = store.decode(store.encode(x), x)
    for axis in (1, 2):
        np.testing.assert_allclose(back.mean(axis), x.mean(axis), 1e-6)
    assert sum(leaf.size for leaf in jax.tree.leaves(store.encode(x))) == 2 * (5 + 3)
