"""The dropout family: rates, limits, means, keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812

KEY = jax.random.key(0)
block = functools.partial(F.drop_block, block_size=2)
FAMILY = {
    "dropout": F.dropout,
    "path": F.drop_path,
    "block": block,
    "alpha": F.alpha_dropout,
    "gaussian": F.gaussian_dropout,
}
each = pytest.mark.parametrize("drop", FAMILY.values(), ids=FAMILY)
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 6, 2)), jnp.float32)


@each
def test_rate_zero_is_the_input_and_one_is_zero_with_finite_derivatives(drop):
    @jax.jit
    def traced(x, rate):
        return drop(x, rate, KEY), jax.grad(lambda x, rate: jnp.sum(drop(x, rate, KEY) ** 2), (0, 1))(x, rate)

    for rate, wanted in [(0.0, X), (1.0, jnp.zeros_like(X))]:
        np.testing.assert_array_equal(drop(X, rate), wanted)  # without a key
        y, derivatives = traced(X, jnp.float32(rate))
        np.testing.assert_array_equal(y, wanted)
        assert all(np.isfinite(leaf).all() for leaf in derivatives)


@each
def test_a_traced_rate_makes_the_same_mask_without_a_new_trace(drop):
    traces = []

    @jax.jit
    def traced(x, rate):
        traces.append(1)
        return drop(x, rate, KEY)

    for rate in (0.1, 0.3, 0.55):
        np.testing.assert_allclose(traced(X, rate), drop(X, rate, KEY), rtol=1e-5, atol=1e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_keep_rate_and_mean_are_within_four_standard_deviations(rate):
    n = 200_000
    y = F.dropout(jnp.ones((n // 100, 100)), rate, jax.random.key(3))
    kept = float(jnp.mean(y != 0))
    assert abs(kept - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / n)
    assert abs(float(y.mean()) - 1) < 4 * np.sqrt(rate / (1 - rate) / n)
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - rate)], rtol=1e-6)


def test_the_two_numbers_of_a_word_are_uniform_and_independent():
    u = np.asarray(F.dropout.__globals__["uniform"](jax.random.key(5), (200_000, 2)), np.float64)
    assert abs(u.mean(0) - 0.5).max() < 4 * np.sqrt(1 / 12 / 2e5)
    assert abs(np.corrcoef(u.T)[0, 1]) < 4 / np.sqrt(2e5)
    both = ((u < 0.3).all(1)).mean()
    assert abs(both - 0.09) < 4 * np.sqrt(0.09 * 0.91 / 2e5)
    assert u.min() >= 0
    assert u.max() < 1


def test_classic_dropout_scales_at_inference_and_has_the_same_mean():
    layer = gnn.Dropout(0.25, classic=True, rngs=nnx.Rngs(0))
    assert set(layer(jnp.ones(1000)).tolist()) == {0.0, 1.0}
    layer.eval()
    assert set(layer(jnp.ones(3)).tolist()) == {0.75}


def test_broadcast_dims_drop_whole_channels():
    y = F.dropout(jnp.ones((8, 5, 5, 6)), 0.5, KEY, broadcast_dims=(1, 2))
    assert set(np.unique(np.asarray(y).sum((1, 2)))) == {0.0, 50.0}


def test_nan_and_inf_under_the_mask_are_gone_also_from_gradients():
    x = jnp.where(F.dropout(jnp.ones(1000), 0.5, KEY) == 0, jnp.nan, 1.0)
    y = F.dropout(x, 0.5, KEY)
    assert np.isfinite(y).all()
    gradient = jax.grad(lambda x: jnp.sum(F.dropout(x, 0.5, KEY) * x))(jnp.where(jnp.isnan(x), jnp.inf, x))
    assert np.isfinite(np.asarray(gradient)[np.asarray(x) == 1]).all()


def test_bfloat16_is_divided_wide():
    y = F.dropout(jnp.ones((2000,), jnp.bfloat16), 0.1, KEY)
    assert y.dtype == jnp.bfloat16
    assert float(y.max()) == float(jnp.bfloat16(1 / 0.9))


def test_a_rate_per_example():
    y = F.dropout(jnp.ones((3, 4000)), jnp.array([[0.0], [0.5], [1.0]]), KEY)
    assert float(y[0].min()) == 1
    assert abs(float(y[1].mean()) - 1) < 4 / np.sqrt(4000)
    assert float(y[2].max()) == 0


def test_drop_block_drops_blocks_at_about_the_rate():
    mask = np.asarray(F.drop_block(jnp.ones((64, 12, 12, 4)), 0.2, KEY, block_size=3) == 0)
    assert abs(mask.mean() - 0.2) < 0.04
    neighbours = mask[:, 1:] & mask[:, :-1]
    assert neighbours.mean() > 0.55 * mask.mean()  # single drops would give 0.2 of it
    ones = F.drop_block(jnp.ones((64, 12, 12, 4)), 0.2, KEY, block_size=1)
    assert abs(float((ones == 0).mean()) - 0.2) < 4 * np.sqrt(0.16 / ones.size)


def test_alpha_dropout_keeps_mean_and_variance():
    x = jax.random.normal(KEY, (200_000,))
    for rate in (0.1, 0.6):
        y = F.alpha_dropout(x, rate, jax.random.key(1))
        assert abs(float(y.mean())) < 0.02
        assert abs(float(y.std()) - 1) < 0.02


def test_stochastic_pool_draws_in_proportion():
    x = jnp.tile(jnp.array([1.0, 0.0, 5.0, 2.0]).reshape(1, 2, 2, 1), (40_000, 1, 1, 1))
    y = np.asarray(F.stochastic_pool(x, (2, 2), key=KEY)).ravel()
    assert set(y) == {1.0, 5.0, 2.0}
    for value, share in [(1, 1 / 8), (5, 5 / 8), (2, 2 / 8)]:
        assert abs((y == value).mean() - share) < 4 * np.sqrt(share * (1 - share) / y.size)
    np.testing.assert_allclose(F.stochastic_pool(x[:1], (2, 2), deterministic=True).ravel(), [30 / 8], rtol=1e-6)
    assert F.stochastic_pool(-x[:1], (2, 2), key=KEY).item() == 0


def test_stochastic_pool_windows_are_flax_s():
    x = jnp.abs(X)
    for padding in ("VALID", "SAME", ((1, 1), (0, 1))):
        y = F.stochastic_pool(x, (3, 2), (2, 2), padding, deterministic=True)
        with jax.numpy_dtype_promotion("standard"):
            total = linen.avg_pool(x, (3, 2), (2, 2), padding)
            squares = linen.avg_pool(x * x, (3, 2), (2, 2), padding)
        np.testing.assert_allclose(y, squares / total, rtol=1e-5)
    assert np.isfinite(jax.jit(jax.grad(lambda x: F.stochastic_pool(x, (2, 2), key=KEY).sum()))(x)).all()


def test_mc_predict_of_a_linear_model_has_the_mean_and_variance_of_theory():
    weights = jnp.array([[1.0], [2.0], [-1.0]])
    model = nnx.Sequential(gnn.Dropout(0.4, rngs=nnx.Rngs(0)), nnx.Linear(3, 1, rngs=nnx.Rngs(0)), gnn.BatchNorm(1, epsilon=0.0, rngs=nnx.Rngs(0)))
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
    with pytest.raises(ValueError, match="mc_predict, model: needs a model with random layers that own their rngs"):
        gnn.mc_predict(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), jnp.ones((1, 2)), 3, KEY)
    with pytest.raises(ValueError, match="mc_predict, samples: needs a whole number >= 1; got 0"):
        gnn.mc_predict(lambda x, key: x, jnp.ones(2), 0, KEY)


def test_a_population_of_rates_is_one_vmap():
    rates = jnp.array([0.0, 0.5, 1.0])
    layer = gnn.Dropout(0.5)
    y = jax.vmap(lambda rate: layer(jnp.ones(4000), rate=rate, rngs=KEY))(rates)
    assert float(y[0].min()) == 1
    assert abs(float(y[1].mean()) - 1) < 0.1
    assert float(y[2].max()) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.dropout(X, 1.5, KEY), "dropout, rate: needs a number in [0, 1]; got 1.5."),
        (lambda: F.dropout(X, 0.5), "dropout, key: needs a key for its mask; got key=None. Pass key=jax.random.key(seed)"),
        (lambda: F.dropout(X, jnp.ones(4) / 2, KEY), "dropout, rate: needs a rate of no axes, or of the 4 of the input; got float32[4]."),
        (lambda: F.dropout(X, 0.5, KEY, broadcast_dims=(4,)), "dropout, broadcast_dims: needs axes of an input of 4 dimensions, from -4 to 3; got 4."),
        (lambda: F.drop_block(X[0, 0], 0.5, KEY, block_size=2), "drop_block, x: needs an input [batch, positions..., channels]"),
        (lambda: F.drop_block(X, 0.5, KEY, block_size=0), "drop_block, block_size: needs a whole number >= 1; got 0."),
        (lambda: F.gaussian_noise(X, 0.1), "gaussian_noise, key: needs a key for its noise; got key=None."),
        (lambda: F.stochastic_pool(X, (2,), key=KEY), "stochastic_pool, window_shape: needs a window and strides for the 2 position axes"),
        (lambda: F.stochastic_pool(X, (2, 2)), "stochastic_pool, key: needs a key for its draws; got key=None."),
        (lambda: F.stochastic_pool(X, (2, 2), padding="FULL", key=KEY), "stochastic_pool, padding: needs one of 'VALID', 'SAME'; got 'FULL'."),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert str(error.value).startswith(message)
