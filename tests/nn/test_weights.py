"""Normalized and dropped weights: laws, gradients, shared state."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812


def normal(*shape, seed=0, mean=0.0):
    return jnp.asarray(np.random.default_rng(seed).normal(mean, 1, shape), jnp.float32)


X = normal(4, 3, 5, 6, mean=2.0)
close = lambda a, b, tol=1e-6: np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def test_a_weight_normalized_layer_does_not_feel_the_scale_of_v():
    layer, x = gnn.WeightNorm(nnx.Linear(6, 3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0)), X[0, 0]
    before, kernel = layer(x), layer.layer_instance.kernel[...]
    layer.layer_instance.kernel[...] = 5 * kernel
    close(layer(x), before)
    np.testing.assert_array_equal(
        layer.layer_instance.kernel[...], 5 * kernel
    )  # v is not overwritten
    scale = next(iter(layer.scales.values()))
    assert isinstance(scale, nnx.Param)


def test_weight_norm_starts_where_its_scale_says():
    w = F.weight_norm(normal(3, 4, 5), 2 * jnp.ones(5))
    close(jnp.sqrt(jnp.sum(w * w, (0, 1))), 2 * jnp.ones(5))
    close(jnp.sum(F.weight_norm(normal(3, 4), feature_axes=None) ** 2), 1.0)


def test_spectral_norm_finds_the_largest_singular_value_and_leaves_the_weight():
    layer = gnn.SpectralNorm(
        nnx.Linear(6, 4, use_bias=False, rngs=nnx.Rngs(0)), n_steps=5, rngs=nnx.Rngs(1)
    )
    kernel = layer.layer_instance.kernel[...]
    for _ in range(20):
        w = layer(jnp.eye(6))
    close(jnp.linalg.svd(w)[1][0], 1.0, 1e-5)
    np.testing.assert_array_equal(layer.layer_instance.kernel[...], kernel)
    sigma = layer.batch_stats[("kernel", "sigma")][...]
    close(sigma, jnp.linalg.svd(kernel)[1][0], 1e-5)
    u = layer.batch_stats[("kernel", "u")][...]
    layer.eval()
    layer(jnp.eye(6))
    np.testing.assert_array_equal(layer.batch_stats[("kernel", "u")][...], u)


def test_spectral_norm_gradient_is_that_of_w_over_sigma():
    with jax.enable_x64(True):
        kernel = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
        left, values, right = jnp.linalg.svd(kernel)
        u, v, sigma = right[:1], left[:, :1], values[0]
        weight = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)))
        got = jax.grad(lambda k: jnp.sum(weight * F.spectral_norm(k, u)[0]))(kernel)
        wanted = (weight - jnp.sum(weight * kernel) / sigma * (v @ u)) / sigma
        np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_wrappers_share_the_state_of_what_they_hold():
    inner = nnx.Sequential(
        nnx.Linear(6, 6, rngs=nnx.Rngs(0)),
        gnn.BatchNorm(6, rngs=nnx.Rngs(0)),
        gnn.Dropout(0.5, rngs=nnx.Rngs(0)),
    )
    layer = gnn.WeightStandardization(inner)
    first, second = layer(X[:, 0, 0]), layer(X[:, 0, 0])
    assert bool(jnp.any(inner.layers[1].mean[...] != 0))
    assert bool(jnp.any(first != second))


def test_drop_connect_drops_weights_and_not_outputs():
    layer = gnn.DropConnect(
        nnx.Linear(50, 40, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0)),
        0.25,
        rngs=nnx.Rngs(0),
    )
    w = layer(jnp.eye(50))
    assert set(np.round(np.unique(w), 5)) == {0.0, np.float32(1.33333)}
    assert abs(float((w == 0).mean()) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)
    np.testing.assert_array_equal(layer.layer_instance.kernel[...], 1)
