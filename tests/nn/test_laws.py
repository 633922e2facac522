"""Laws between layers, and what each variant says of itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

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
    for norm in (
        F.layer_norm,
        F.instance_norm,
        lambda x, epsilon: F.batch_norm(x, epsilon=epsilon)[0],
    ):
        close(norm(3 * X + 7, epsilon=0.0), norm(X, epsilon=0.0), 1e-5)
    close(F.rms_norm(3 * X, epsilon=0.0), F.rms_norm(X, epsilon=0.0))


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
    close(
        F.batch_renorm(X, mean, var, r_max=100.0, d_max=100.0)[0],
        F.apply_statistics(X, mean, var),
        1e-5,
    )
    close(F.batch_renorm(X, mean, var, r_max=1.0, d_max=0.0)[0], F.batch_norm(X)[0], 1e-5)
    close(
        jax.jit(F.batch_renorm)(X, mean, var, r_max=1.1)[0],
        F.batch_renorm(X, mean, var, r_max=1.1)[0],
        1e-5,
    )


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
    made = {
        "dense": lambda: nnx.Linear(6, 4, use_bias=bias, rngs=rngs),
        "convolution": lambda: nnx.Conv(6, 4, (3, 3), use_bias=bias, rngs=rngs),
    }
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
    with pytest.raises(
        ValueError,
        match="needs outputs on the last axis, of the kernel and of the normalization; got axis=1",
    ):
        gnn.fold_batch_norm(
            nnx.Linear(6, 4, rngs=nnx.Rngs(0)), gnn.BatchNorm(4, axis=1, rngs=nnx.Rngs(0))
        )


def test_filter_response_norm_is_rms_over_positions_and_a_threshold():
    y = F.filter_response_norm(X, threshold=jnp.full(6, 0.3))
    x = np.asarray(X, np.float64)
    close(y, np.maximum(x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 1e-6), 0.3))


def test_global_response_norm_is_its_formula_and_starts_as_the_identity():
    scale, bias, x = normal(6, seed=1), normal(6, seed=2), np.asarray(X, np.float64)
    norm = np.sqrt((x**2).sum((1, 2), keepdims=True))
    wanted = (
        x + x * norm / (norm.mean(-1, keepdims=True) + 1e-6) * np.asarray(scale) + np.asarray(bias)
    )
    close(F.global_response_norm(X, scale, bias), wanted, 2e-6)
    np.testing.assert_array_equal(gnn.GlobalResponseNorm(6)(X), X)


def test_linen_says_what_is_missing_from_its_variables():
    layer, x = gln.BatchNorm(), X
    variables = layer.init(jax.random.key(0), x, use_running_average=False)
    with pytest.raises(
        ValueError,
        match="BatchNorm, batch_stats: needs its running statistics; got no batch_stats among the variables",
    ):
        layer.apply({"params": variables["params"]}, x, use_running_average=True)
    with pytest.raises(ValueError, match=r"Call apply\(..., mutable=\['batch_stats'\]\)"):
        layer.apply(variables, x, use_running_average=False)
    with pytest.raises(
        ValueError, match="needs use_running_average from the layer or from the call; got neither"
    ):
        layer.apply(variables, x)
    layer.init(
        jax.random.key(0), x[:1, :1, :1], use_running_average=False
    )  # one example will do to initialize


def test_nnx_batch_norm_wants_to_know_its_mode():
    with pytest.raises(
        ValueError, match="BatchNorm, use_running_average: needs use_running_average; got None"
    ):
        gnn.BatchNorm(6, use_running_average=None, rngs=nnx.Rngs(0))(X)
    with pytest.raises(ValueError, match="needs more than one value per channel in training"):
        gnn.BatchNorm(6, rngs=nnx.Rngs(0))(jnp.ones((1, 6)))
    with pytest.raises(
        ValueError, match=r"BatchNorm\.batch_norm, scale: needs a parameter of shape"
    ):
        gnn.BatchNorm(5, rngs=nnx.Rngs(0))(X)


def trained_norm(width):
    norm = gnn.BatchNorm(width, momentum=0.3, rngs=nnx.Rngs(1))
    norm.scale[...], norm.bias[...] = 1 + 0.2 * normal(width, seed=1), normal(width, seed=2)
    norm(normal(32, width, seed=3, mean=1.0))
    return norm


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda **k: nnx.ConvTranspose(6, 4, (3, 3), **k),
        lambda **k: nnx.Conv(6, 4, (3, 3), feature_group_count=2, **k),
        lambda **k: nnx.LinearGeneral((5, 6), 4, axis=(-2, -1), **k),
        lambda **k: type("Mine", (nnx.Linear,), {})(6, 4, **k),
    ],
    ids=["transposed", "grouped", "general", "subclass"],
)
def test_every_layer_that_is_taken_is_folded_exactly(make, bias):
    layer, norm = make(use_bias=bias, rngs=nnx.Rngs(0)), trained_norm(4)
    with jax.numpy_rank_promotion("allow"):  # Flax's layers
        close(gnn.fold_batch_norm(layer, norm)(X), norm(layer(X), use_running_average=True), 1e-5)


def test_a_folded_layer_keeps_the_metadata_of_its_parameters():
    layer = nnx.Linear(
        6, 4, kernel_init=nnx.with_metadata(nnx.initializers.ones, note="mine"), rngs=nnx.Rngs(0)
    )
    assert gnn.fold_batch_norm(layer, trained_norm(4)).kernel.get_metadata()["note"] == "mine"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda r: nnx.Einsum("ab,bc->ac", (6, 4), (4,), rngs=r),
            "layer: needs one of nnx.Linear, nnx.LinearGeneral, nnx.Conv, nnx.ConvTranspose; got Einsum.",
        ),
        (lambda r: nnx.LoRALinear(6, 4, lora_rank=2, rngs=r), "got LoRALinear."),
        (lambda r: gnn.WeightNorm(nnx.Linear(6, 4, rngs=r), rngs=r), "got WeightNorm."),
        (lambda r: nnx.Sequential(nnx.Linear(6, 4, rngs=r)), "got Sequential."),
        (
            lambda r: gnn.BatchNorm(4, rngs=r),
            "got BatchNorm. The normalization comes second; the arrays of other layers go through functional.fold_batch_norm.",
        ),
        (
            lambda r: nnx.LinearGeneral(6, (3, 4), rngs=r),
            "layer: needs one output axis and no batch axis; got out_features=(3, 4), batch_axis={}.",
        ),
        (
            lambda r: nnx.LinearGeneral(6, 4, batch_axis={0: 3}, use_bias=False, rngs=r),
            "got out_features=(4,), batch_axis={0: 3}.",
        ),
        (
            lambda r: nnx.ConvTranspose(6, 4, (3, 3), transpose_kernel=True, rngs=r),
            "needs outputs on the last axis, of the kernel and of the normalization; got",
        ),
    ],
)
def test_folding_refuses_layers_that_two_arrays_do_not_describe(make, message):
    with pytest.raises((TypeError, ValueError), match=r"^fold_batch_norm, layer: ") as error:
        gnn.fold_batch_norm(make(nnx.Rngs(0)), trained_norm(4))
    assert message in str(error.value)


def test_folding_refuses_other_normalizations():
    with pytest.raises(
        TypeError,
        match=r"^fold_batch_norm, batch_norm: needs a BatchNorm or FrozenBatchNorm; got LayerNorm.",
    ):
        gnn.fold_batch_norm(nnx.Linear(6, 4, rngs=nnx.Rngs(0)), gnn.LayerNorm(4, rngs=nnx.Rngs(0)))


def test_linen_folds_a_transposed_kernel_when_told():
    layer, norm = linen.ConvTranspose(6, (3, 3), transpose_kernel=True), trained_norm(6)
    params = layer.init(jax.random.key(0), X)["params"]
    stats = {"mean": norm.mean[...], "var": norm.var[...]}
    folded = gln.fold_batch_norm(
        params, {"scale": norm.scale[...], "bias": norm.bias[...]}, stats, transpose_kernel=True
    )
    close(
        layer.apply({"params": folded}, X),
        norm(layer.apply({"params": params}, X), use_running_average=True),
        1e-5,
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ({}, {}, {}),
            "layer: needs kernel, at most bias; got nothing. Pass params and batch_stats of single layers, in the order layer, norm, statistics.",
        ),
        (
            ({"kernel": 0, "lora_b": 0}, {}, {}),
            "layer: needs kernel, at most bias; got kernel, lora_b.",
        ),
        (({"Dense_0": {}}, {}, {}), "layer: needs kernel, at most bias; got Dense_0."),
        (
            ({"kernel": 0}, {"mean": 0, "var": 0}, {"scale": 0}),
            "norm: needs at most scale and bias; got mean, var.",
        ),
        (({"kernel": 0}, {"scale": 0}, {}), "statistics: needs mean and var; got nothing."),
        (
            ({"kernel": 0}, gln.BatchNorm(), {}),
            "norm: needs the variables of one layer, by name; got BatchNorm.",
        ),
    ],
)
def test_linen_folding_says_which_names_it_takes(given, message):
    with pytest.raises((TypeError, ValueError)) as error:
        gln.fold_batch_norm(*given)
    assert str(error.value).startswith(f"fold_batch_norm, {message}")


def test_linen_batch_norm_normalizes_while_it_initializes_and_learns_nothing():
    for layer in (gln.BatchNorm(), gln.GhostBatchNorm(ghost_batch_size=4), gln.BatchRenorm()):
        y, variables = layer.init_with_output(jax.random.key(0), X, use_running_average=False)
        close(y, F.batch_norm(X)[0] if not isinstance(layer, gln.BatchRenorm) else X, 1e-4)
        assert variables["batch_stats"]["mean"].tolist() == [0.0] * 6
        assert variables["batch_stats"]["var"].tolist() == [1.0] * 6
    for size in (3, 1):  # one example of zeros will do
        gln.GhostBatchNorm(ghost_batch_size=size).init(
            jax.random.key(0), jnp.zeros((1, 6)), use_running_average=False
        )


def test_the_running_mean_of_complex_values_is_complex():
    x = jax.lax.complex(X, 1 + X**2)
    wanted = 0.5 * np.asarray(x).mean((0, 1, 2))
    layer = gnn.BatchNorm(6, momentum=0.5, rngs=nnx.Rngs(0))
    layer(x)
    linen_layer = gln.BatchNorm(momentum=0.5)
    variables = linen_layer.init(jax.random.key(0), x, use_running_average=False)
    stats = linen_layer.apply(variables, x, use_running_average=False, mutable=["batch_stats"])[1][
        "batch_stats"
    ]
    for mean, var in ((layer.mean[...], layer.var[...]), (stats["mean"], stats["var"])):
        assert mean.dtype == jnp.complex64
        assert var.dtype == jnp.float32
        close(mean, wanted, 1e-5)
