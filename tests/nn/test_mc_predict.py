"""Monte Carlo dropout: theory, refusals, keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812

KEY = jax.random.key(0)


def test_mc_predict_of_a_linear_model_has_the_mean_and_variance_of_theory():
    weights = jnp.array([[1.0], [2.0], [-1.0]])
    model = nnx.Sequential(
        gnn.Dropout(0.4, rngs=nnx.Rngs(0)),
        nnx.Linear(3, 1, rngs=nnx.Rngs(0)),
        gnn.BatchNorm(1, epsilon=0.0, rngs=nnx.Rngs(0)),
    )
    model.layers[1].kernel[...] = weights
    model.eval()
    x = jnp.array([[1.0, 1.0, 1.0], [0.0, 3.0, 0.0]])
    mean, var = gnn.mc_predict(model, x, 4000, jax.random.key(1))
    np.testing.assert_allclose(mean, x @ weights, atol=0.25)
    np.testing.assert_allclose(var, (x**2) @ (weights**2) * (0.4 / 0.6), rtol=0.1)
    assert model.layers[0].deterministic  # the model stays in its mode
    again = jax.jit(lambda key: gnn.mc_predict(model, x, 4000, key).mean)(jax.random.key(1))
    np.testing.assert_allclose(again, mean, rtol=1e-5)


def test_mc_predict_takes_a_function_of_input_and_key():
    mean, var = gnn.mc_predict(lambda x, key: {"y": F.dropout(x, 0.5, key)}, jnp.ones(2), 2000, KEY)
    np.testing.assert_allclose(mean["y"], 1, atol=0.1)
    np.testing.assert_allclose(var["y"], 1, atol=0.1)


class Obstinate(nnx.Module):
    def __init__(self):
        self.drop = gnn.Dropout(0.5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.drop(x, deterministic=True)


class Homemade(nnx.Module):
    def __init__(self):
        self.stream = nnx.Rngs(0).noise.fork()

    def __call__(self, x):
        return x + jax.random.normal(self.stream(), x.shape)


def test_mc_predict_refuses_a_model_that_draws_nothing():
    plain = Homemade()
    plain.__class__ = type("Plain", (Homemade,), {"__call__": lambda self, x: x})
    for model in (Obstinate(), plain):
        for predict in (gnn.mc_predict, jax.jit(gnn.mc_predict, static_argnums=(0, 2))):
            with pytest.raises(ValueError, match=r"^mc_predict: model draws no noise: its output"):
                predict(model, jnp.ones(3), 3, KEY)
    assert (gnn.mc_predict(Homemade(), jnp.ones(3), 3, KEY).var > 0).all()
    assert (
        gnn.mc_predict(
            nnx.Sequential(nnx.Dropout(0.5, rngs=nnx.Rngs(0))), jnp.ones(100), 3, KEY
        ).var
        > 0
    ).any()
    assert (
        gnn.mc_predict(nnx.Sequential(gnn.Dropout(0.0, rngs=nnx.Rngs(0))), jnp.ones(3), 3, KEY).var
        == 0
    ).all()  # a rate of zero is meant
