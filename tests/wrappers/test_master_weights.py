"""Float32 copies of bfloat16 parameters."""

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk

RNG = np.random.default_rng(0)
PARAMS = {
    "w": jnp.asarray(RNG.normal(size=(8, 4)), jnp.bfloat16),
    "wide": jnp.asarray(RNG.normal(size=3), jnp.float32),
}
GRADS = jax.tree.map(lambda p: (p * 0.1 + 0.01).astype(p.dtype), PARAMS)


def test_steps_are_those_of_float32_parameters_rounded_once():
    tx, plain = gk.master_weights(gk.adamw(1e-4)), gk.adamw(1e-4)

    def run(params, copy):
        state, other = tx.init(params), plain.init(copy)
        for _ in range(5):
            params, state = tx.apply(params, state, GRADS)
            copy, other = plain.apply(copy, other, jax.tree.map(lambda g: g.astype(float), GRADS))
        return params, state, copy

    wide = jax.tree.map(lambda p: p.astype(jnp.float32), PARAMS)
    params, state, copy = jax.jit(run)(PARAMS, wide)
    master = state.inner["master_weights"]["master"]
    assert master["w"].dtype == jnp.float32
    assert master["wide"] is None
    np.testing.assert_allclose(master["w"], copy["w"], rtol=1e-6)
    np.testing.assert_array_equal(params["w"], master["w"].astype(jnp.bfloat16))
    np.testing.assert_allclose(params["wide"], copy["wide"], rtol=1e-6)


def test_parameters_that_were_loaded_after_init_replace_the_copy():
    tx = gk.master_weights(gk.sgd(2.0**-12))
    state = tx.init(jax.eval_shape(lambda: PARAMS))
    loaded = jax.tree.map(lambda p: p + 3, PARAMS)
    step = jax.jit(tx.update)
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, state = step(zero, state, loaded)
    assert not updates["w"].any()
    np.testing.assert_array_equal(state.inner["master_weights"]["master"]["w"], loaded["w"])
    _, state = step(jax.tree.map(jnp.ones_like, PARAMS), state, loaded)
    moved = loaded["w"].astype(jnp.float32) - 2.0**-12  # less than one unit, and kept
    np.testing.assert_array_equal(state.inner["master_weights"]["master"]["w"], moved)
