"""Real and imaginary parts as leaves of their own."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradkit as gk


@pytest.mark.parametrize("inner", ["adam", "rmsprop"])
def test_complex_leaves_split_as_in_optax(inner):
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        grads = jnp.asarray(rng.normal(size=(30, 3)) + 1j * rng.normal(size=(30, 3)))

        def run(k):
            tx = k.split_real_and_imaginary(getattr(k, inner)(0.1))
            params = {"z": jnp.zeros(3, complex), "x": jnp.zeros(3)}

            def body(state, g):
                updates, state = tx.update({"z": g, "x": g.real}, state, params)
                return state, updates

            return jax.lax.scan(body, tx.init(params), grads)[1]

        got = run(gk)
        with jax.numpy_dtype_promotion("standard"):
            wanted = run(types.SimpleNamespace(**{**vars(optax.contrib), **vars(optax)}))
        for name in wanted:
            np.testing.assert_allclose(got[name], wanted[name], rtol=1e-10, atol=1e-12)
        # What it is for: the parts go their own ways, and a real leaf its usual one.
        np.testing.assert_allclose(got["z"].real, got["x"], rtol=1e-12)


@pytest.mark.parametrize(
    "tx",
    [
        gk.rprop(0.1),
        gk.adopt(0.1),
        gk.keep_params_nonnegative(),
        gk.scale_by_lion(mode="smooth"),
        gk.averages.additive_ema(0.9),
    ],
    ids=["rprop", "adopt", "keep_params_nonnegative", "smooth lion", "drift"],
)
def test_complex_numbers_are_refused_where_an_order_is_needed(tx):
    z = jnp.ones(2, jnp.complex64)
    with pytest.raises(
        TypeError, match=r"Expected real numbers; got complex64\[2\]. Split complex leaves"
    ):
        tx.update(z, tx.init(z), z)
    split = gk.split_real_and_imaginary(tx)
    assert split.update(z, split.init(z), z)[0].dtype == jnp.complex64
