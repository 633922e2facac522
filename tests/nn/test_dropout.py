"""The dropout family: rates, limits, means, keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn import linen as gln
from gradkit.nn.functional.random import uniform

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
        return drop(x, rate, KEY), jax.grad(
            lambda x, rate: jnp.sum(drop(x, rate, KEY) ** 2), (0, 1)
        )(x, rate)

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
    u = np.asarray(uniform(jax.random.key(5), (200_000, 2)), np.float64)
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
    gradient = jax.grad(lambda x: jnp.sum(F.dropout(x, 0.5, KEY) * x))(
        jnp.where(jnp.isnan(x), jnp.inf, x)
    )
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


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9, 0.99])
def test_drop_block_drops_the_rate_large_or_small(rate):
    x = jnp.ones((64, 12, 12, 4))
    masks = [
        F.drop_block(x, rate, KEY, block_size=3),
        jax.jit(lambda rate: F.drop_block(x, rate, KEY, block_size=3))(rate),
    ]
    for y in masks:
        assert abs(float((y == 0).mean()) - rate) < 4 * 3 * np.sqrt(
            rate * (1 - rate) / x.size
        )  # nine neighbours count as one


def test_drop_block_drops_blocks():
    mask = np.asarray(F.drop_block(jnp.ones((64, 12, 12, 4)), 0.2, KEY, block_size=3) == 0)
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


def test_a_population_of_rates_is_one_vmap():
    rates = jnp.array([0.0, 0.5, 1.0])
    layer = gnn.Dropout(0.5)
    y = jax.vmap(lambda rate: layer(jnp.ones(4000), rate=rate, rngs=KEY))(rates)
    assert float(y[0].min()) == 1
    assert abs(float(y[1].mean()) - 1) < 0.1
    assert float(y[2].max()) == 0


def test_a_seed_is_a_key():
    np.testing.assert_array_equal(F.dropout(X, 0.5, 3), F.dropout(X, 0.5, jax.random.key(3)))
    np.testing.assert_array_equal(
        F.dropout(X, 0.5, jax.random.PRNGKey(3)), F.dropout(X, 0.5, jax.random.key(3))
    )
    model = nnx.Sequential(gnn.Dropout(0.5, rngs=nnx.Rngs(0)))
    np.testing.assert_array_equal(
        gnn.mc_predict(model, X, 3, 3).mean, gnn.mc_predict(model, X, 3, jax.random.key(3)).mean
    )


def test_linen_layers_have_deterministic_by_name():
    ones = jnp.ones((4, 6))
    y = gln.AlphaDropout(0.5, (1,)).apply({}, ones, deterministic=False, rngs={"dropout": KEY})
    assert (y == y[:, :1]).all()
    assert (y != 1).any()
    assert gln.DropBlock(0.5, 3).block_size == 3


@pytest.mark.parametrize(
    "drop",
    [
        F.gaussian_dropout,
        F.alpha_dropout,
        F.dropout,
        functools.partial(F.dropout, deterministic=True, classic=True),
    ],
)
def test_rate_one_takes_nothing_of_infinity(drop):
    x = jnp.array([jnp.inf, 1.0, jnp.nan])
    loss = lambda x, rate: jnp.sum(drop(x, rate, KEY))
    for y in (
        drop(x, 1.0, KEY),
        jax.jit(drop)(x, 1.0, KEY),
        *jax.jit(jax.grad(loss, (0, 1)))(x, 1.0),
    ):
        np.testing.assert_array_equal(y, jnp.zeros_like(y))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_bfloat16_is_rounded_once(rate):
    x = jax.random.normal(KEY, (1000,), jnp.bfloat16)
    for drop in (
        F.alpha_dropout,
        F.gaussian_dropout,
        F.dropout,
        functools.partial(F.dropout, deterministic=True, classic=True),
    ):
        np.testing.assert_array_equal(
            drop(x, rate, KEY), drop(x.astype(jnp.float32), rate, KEY).astype(jnp.bfloat16)
        )
