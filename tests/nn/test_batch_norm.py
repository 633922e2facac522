"""Batch normalization and its relatives: laws, running statistics, folding."""

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


def trained_norm(width):
    norm = gnn.BatchNorm(width, momentum=0.3, rngs=nnx.Rngs(1))
    norm.scale[...], norm.bias[...] = 1 + 0.2 * normal(width, seed=1), normal(width, seed=2)
    norm(normal(32, width, seed=3, mean=1.0))
    return norm


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
