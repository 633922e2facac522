"""Laws between layers, and what each variant says of itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn import linen as gln


def normal(*shape, seed=0, mean=0.0):
    return jnp.asarray(np.random.default_rng(seed).normal(mean, 1, shape), jnp.float32)


X = normal(4, 3, 5, 6, mean=2.0)
close = lambda a, b, tol=1e-6: np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def test_layer_norm_over_all_axes_is_group_norm_of_one_group():
    close(F.layer_norm(X, reduction_axes=(1, 2, 3)), F.group_norm(X, num_groups=1))


def test_instance_norm_is_group_norm_of_single_channels():
    close(F.instance_norm(X), F.group_norm(X, num_groups=6))
    close(F.instance_norm(X), F.group_norm(X, num_groups=None, group_size=1))


def test_batch_norm_of_one_example_is_instance_norm():
    close(F.batch_norm(X[:1], epsilon=1e-6)[0], F.instance_norm(X[:1]))


def test_batch_norm_of_a_merged_batch_has_the_merged_moments_of_its_parts():
    _, first = F.batch_norm(X[:1])
    _, rest = F.batch_norm(X[1:])
    merged = F.merge(jax.tree.map(lambda *parts: jnp.stack(parts), first, rest))
    _, whole = F.batch_norm(X)
    close(merged.mean, whole.mean)
    close(merged.var, whole.var)
    assert float(merged.count) == float(whole.count) == 60


def test_normalized_output_does_not_feel_an_affine_map_of_the_input():
    for norm in (F.layer_norm, F.instance_norm, lambda x, epsilon: F.batch_norm(x, epsilon=epsilon)[0]):
        close(norm(3 * X + 7, epsilon=0.0), norm(X, epsilon=0.0), 1e-5)
    close(F.rms_norm(3 * X, epsilon=0.0), F.rms_norm(X, epsilon=0.0))


def test_a_weight_normalized_layer_does_not_feel_the_scale_of_v():
    layer, x = gnn.WeightNorm(nnx.Linear(6, 3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0)), X[0, 0]
    before, kernel = layer(x), layer.layer_instance.kernel[...]
    layer.layer_instance.kernel[...] = 5 * kernel
    close(layer(x), before)
    np.testing.assert_array_equal(layer.layer_instance.kernel[...], 5 * kernel)  # v is not overwritten
    scale = next(iter(layer.scales.values()))
    assert isinstance(scale, nnx.Param)


def test_weight_norm_starts_where_its_scale_says():
    w = F.weight_norm(normal(3, 4, 5), 2 * jnp.ones(5))
    close(jnp.sqrt(jnp.sum(w * w, (0, 1))), 2 * jnp.ones(5))
    close(jnp.sum(F.weight_norm(normal(3, 4), feature_axes=None) ** 2), 1.0)


def test_spectral_norm_finds_the_largest_singular_value_and_leaves_the_weight():
    layer = gnn.SpectralNorm(nnx.Linear(6, 4, use_bias=False, rngs=nnx.Rngs(0)), n_steps=5, rngs=nnx.Rngs(1))
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
    inner = nnx.Sequential(nnx.Linear(6, 6, rngs=nnx.Rngs(0)), gnn.BatchNorm(6, rngs=nnx.Rngs(0)), gnn.Dropout(0.5, rngs=nnx.Rngs(0)))
    layer = gnn.WeightStandardization(inner)
    first, second = layer(X[:, 0, 0]), layer(X[:, 0, 0])
    assert bool(jnp.any(inner.layers[1].mean[...] != 0))
    assert bool(jnp.any(first != second))


def test_drop_connect_drops_weights_and_not_outputs():
    layer = gnn.DropConnect(nnx.Linear(50, 40, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0)), 0.25, rngs=nnx.Rngs(0))
    w = layer(jnp.eye(50))
    assert set(np.round(np.unique(w), 5)) == {0.0, np.float32(1.33333)}
    assert abs(float((w == 0).mean()) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)
    np.testing.assert_array_equal(layer.layer_instance.kernel[...], 1)


@pytest.mark.parametrize("wide", [True, False])
def test_running_statistics_and_unbiased_variance(wide):
    layer = gnn.BatchNorm(6, momentum=0.9, unbiased_running_var=wide, rngs=nnx.Rngs(0))
    x = X.reshape(-1, 6)
    layer(X)
    close(layer.mean[...], 0.1 * np.asarray(x).mean(0))
    close(layer.var[...], 0.9 + 0.1 * np.asarray(x).var(0, ddof=int(wide)))


def test_a_batch_that_is_all_masked_leaves_the_running_statistics_alone():
    layer = gnn.BatchNorm(6, rngs=nnx.Rngs(0))
    layer.mean[...], layer.var[...] = jnp.full(6, 3.0), jnp.full(6, 2.0)
    y = layer(X, mask=jnp.zeros((4, 1, 1, 1), bool))
    assert bool(jnp.all(jnp.isfinite(y)))
    assert layer.mean[...].tolist() == [3.0] * 6
    assert layer.var[...].tolist() == [2.0] * 6


def test_ghost_batches_of_the_whole_batch_are_batch_norm():
    ghost, whole = F.ghost_batch_norm(X, ghost_batch_size=4), F.batch_norm(X)
    close(ghost[0], whole[0])
    close(ghost[1].var, whole[1].var)
    halves, moments = F.ghost_batch_norm(X, ghost_batch_size=2, mask=jnp.ones((4, 1, 1, 1), bool))
    close(halves[:2], F.batch_norm(X[:2])[0])
    close(moments.mean, whole[1].mean)
    close(moments.var, whole[1].var)


def test_batch_renorm_is_inference_within_its_bounds_and_batch_norm_at_the_tightest():
    mean, var = jnp.full(6, 1.5), jnp.full(6, 1.2)
    close(F.batch_renorm(X, mean, var, r_max=100.0, d_max=100.0)[0], F.apply_statistics(X, mean, var), 1e-5)
    close(F.batch_renorm(X, mean, var, r_max=1.0, d_max=0.0)[0], F.batch_norm(X)[0], 1e-5)
    close(jax.jit(F.batch_renorm)(X, mean, var, r_max=1.1)[0], F.batch_renorm(X, mean, var, r_max=1.1)[0], 1e-5)


def test_frozen_batch_norm_takes_the_state_of_a_batch_norm():
    layer = gnn.BatchNorm(6, momentum=0.0, rngs=nnx.Rngs(0))
    layer(X)
    layer.scale[...] = jnp.arange(6.0)
    frozen = gnn.FrozenBatchNorm(6)
    nnx.update(frozen, nnx.state(layer))
    close(frozen(X), layer(X, use_running_average=True))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_a_folded_layer_is_layer_and_norm(kind, bias):
    rngs = nnx.Rngs(0)
    made = {"dense": lambda: nnx.Linear(6, 4, use_bias=bias, rngs=rngs), "convolution": lambda: nnx.Conv(6, 4, (3, 3), use_bias=bias, rngs=rngs)}
    layer, norm = made[kind](), gnn.BatchNorm(4, momentum=0.3, rngs=rngs)
    norm.scale[...], norm.bias[...] = normal(4, seed=1), normal(4, seed=2)
    for _ in range(3):
        norm(layer(X))
    wanted = norm(layer(X), use_running_average=True)
    folded = gnn.fold_batch_norm(layer, norm)
    close(folded(X), wanted, 1e-5)
    params = {"kernel": layer.kernel[...]} | ({"bias": layer.bias[...]} if bias else {})
    stats = {"mean": norm.mean[...], "var": norm.var[...]}
    again = gln.fold_batch_norm(params, {"scale": norm.scale[...], "bias": norm.bias[...]}, stats)
    close(again["kernel"], folded.kernel[...])
    assert layer.use_bias is bias


def test_folding_refuses_another_axis():
    with pytest.raises(ValueError, match="needs outputs on the last axis, of the kernel and of the normalization; got axis=1"):
        gnn.fold_batch_norm(nnx.Linear(6, 4, rngs=nnx.Rngs(0)), gnn.BatchNorm(4, axis=1, rngs=nnx.Rngs(0)))


def test_filter_response_norm_is_rms_over_positions_and_a_threshold():
    y = F.filter_response_norm(X, threshold=jnp.full(6, 0.3))
    x = np.asarray(X, np.float64)
    close(y, np.maximum(x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 1e-6), 0.3))


def test_global_response_norm_is_its_formula_and_starts_as_the_identity():
    scale, bias, x = normal(6, seed=1), normal(6, seed=2), np.asarray(X, np.float64)
    norm = np.sqrt((x**2).sum((1, 2), keepdims=True))
    wanted = x + x * norm / (norm.mean(-1, keepdims=True) + 1e-6) * np.asarray(scale) + np.asarray(bias)
    close(F.global_response_norm(X, scale, bias), wanted, 2e-6)
    np.testing.assert_array_equal(gnn.GlobalResponseNorm(6)(X), X)


def test_linen_says_what_is_missing_from_its_variables():
    layer, x = gln.BatchNorm(), X
    variables = layer.init(jax.random.key(0), x, use_running_average=False)
    with pytest.raises(ValueError, match="BatchNorm, batch_stats: needs its running statistics; got no batch_stats among the variables"):
        layer.apply({"params": variables["params"]}, x, use_running_average=True)
    with pytest.raises(ValueError, match=r"Call apply\(..., mutable=\['batch_stats'\]\)"):
        layer.apply(variables, x, use_running_average=False)
    with pytest.raises(ValueError, match="needs use_running_average from the layer or from the call; got neither"):
        layer.apply(variables, x)
    layer.init(jax.random.key(0), x[:1, :1, :1], use_running_average=False)  # one example will do to initialize


def test_nnx_batch_norm_wants_to_know_its_mode():
    with pytest.raises(ValueError, match="BatchNorm, use_running_average: needs use_running_average; got None"):
        gnn.BatchNorm(6, use_running_average=None, rngs=nnx.Rngs(0))(X)
    with pytest.raises(ValueError, match="needs more than one value per channel in training"):
        gnn.BatchNorm(6, rngs=nnx.Rngs(0))(jnp.ones((1, 6)))
    with pytest.raises(ValueError, match=r"BatchNorm\.batch_norm, scale: needs a parameter of shape"):
        gnn.BatchNorm(5, rngs=nnx.Rngs(0))(X)
