"""The numbers of Flax and torch on well-conditioned input, with their parameters and statistics."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gradkit.nn as gnn
from gradkit.nn import linen as gln


@contextlib.contextmanager
def loose():
    """The promotion that Flax expects."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


SHAPE = (4, 3, 5, 6)
SHARED = {
    "BatchNorm": [{}, {"axis": 1, "use_bias": False}, {"momentum": 0.7, "epsilon": 1e-3}],
    "LayerNorm": [
        {},
        {"reduction_axes": (1, 2, 3), "use_scale": False},
        {"feature_axes": 1, "reduction_axes": (1, 2)},
    ],
    "RMSNorm": [{}, {"reduction_axes": (-1, -2), "epsilon": 1e-3}],
    "GroupNorm": [{"num_groups": 3}, {"num_groups": None, "group_size": 3, "use_bias": False}],
    "InstanceNorm": [{}, {"feature_axes": 1}],
}
CASES = [
    pytest.param(name, arguments, id=f"{name}-{n}")
    for name, several in SHARED.items()
    for n, arguments in enumerate(several)
]


def features(arguments):
    return SHAPE[arguments.get("axis", arguments.get("feature_axes", -1))]


def inputs(dtype, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random((*SHAPE[:-1], 1)) < 0.7
    mask[:, 0, 0] = True
    return jnp.asarray(rng.normal(0.3, 1.5, SHAPE), dtype), jnp.asarray(
        np.broadcast_to(mask, SHAPE)
    )


def randomized(layer, dtype):
    rng = np.random.default_rng(7)
    for _, variable in nnx.to_flat_state(nnx.state(layer)):
        variable[...] = jnp.asarray(rng.uniform(0.5, 1.5, variable.shape), variable.dtype)
    return layer


@pytest.mark.filterwarnings(
    "ignore:scatter inputs have incompatible types"
)  # Flax's BatchNorm, of its float32 statistics
@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_nnx_layers_agree_with_flax_in_output_gradient_and_state(name, arguments, wide):
    with jax.enable_x64(wide), loose():
        dtype = jnp.float64 if wide else jnp.float32
        x, mask = inputs(dtype)
        weight = inputs(dtype, 1)[0]
        common = {"num_features": features(arguments), "param_dtype": dtype, **arguments}
        theirs = randomized(
            getattr(nnx, name)(**common, use_fast_variance=False, rngs=nnx.Rngs(0)), dtype
        )
        ours = getattr(gnn, name)(**common, rngs=nnx.Rngs(0))
        nnx.update(ours, nnx.state(theirs))  # a checkpoint loads

        def run(layer):
            graph, params, rest = nnx.split(layer, nnx.Param, ...)

            @jax.jit
            def both(params, rest, x):
                def loss(params, x):
                    module = nnx.merge(graph, params, rest, copy=True)
                    y = module(x, mask=mask) if name != "GroupNorm" else module(x)
                    return jnp.sum(y**2 * weight), (y, nnx.state(module, nnx.BatchStat))

                (_, aux), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)
                return aux, gradients

            return both(params, rest, x)

        for got, wanted in zip(*map(jax.tree.leaves, (run(ours), run(theirs))), strict=True):
            assert got.dtype == wanted.dtype
            limit = (
                1e-12 if wide and name != "BatchNorm" else 1e-6
            )  # Flax keeps running statistics in float32
            scale = float(jnp.max(jnp.abs(wanted)))
            np.testing.assert_allclose(got / scale, wanted / scale, rtol=limit, atol=limit)
        if name == "BatchNorm":
            np.testing.assert_allclose(
                ours(x, use_running_average=True),
                theirs(x, use_running_average=True),
                rtol=1e-6,
                atol=1e-6,
            )


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_linen_layers_agree_with_flax_and_take_its_variables(name, arguments):
    with jax.enable_x64(True), loose():
        x, _ = inputs(jnp.float64)
        mode = {"use_running_average": False} if name == "BatchNorm" else {}
        more = {"force_float32_reductions": False} if name == "BatchNorm" else {}
        theirs = getattr(linen, name)(
            **arguments, **mode, **more, param_dtype=jnp.float64, use_fast_variance=False
        )
        ours = getattr(gln, name)(**arguments, **mode, **more, param_dtype=jnp.float64)
        variables = theirs.init(jax.random.key(0), x)
        assert jax.tree.structure(variables) == jax.tree.structure(ours.init(jax.random.key(0), x))
        variables = jax.tree.map(lambda leaf: leaf + 0.25, variables)
        run = lambda layer: jax.jit(lambda v, x: layer.apply(v, x, mutable=["batch_stats"]))(
            variables, x
        )
        for got, wanted in zip(*map(jax.tree.leaves, (run(ours), run(theirs))), strict=True):
            assert got.dtype == wanted.dtype
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["WeightNorm", "SpectralNorm"])
def test_linen_weight_wrappers_agree_with_flax(name):
    with jax.enable_x64(True), loose():
        x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 6)))
        mode = {"update_stats": True} if name == "SpectralNorm" else {}
        make = lambda where: getattr(where, name)(
            linen.Dense(4, param_dtype=jnp.float64), param_dtype=jnp.float64
        )
        variables = make(linen).init(jax.random.key(0), x, **mode)
        assert jax.tree.structure(variables) == jax.tree.structure(
            make(gln).init(jax.random.key(0), x, **mode)
        )
        run = lambda layer: layer.apply(variables, x, **mode, mutable=["batch_stats"])
        for got, wanted in zip(
            *map(jax.tree.leaves, (run(make(gln)), run(make(linen)))), strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-10)


@pytest.mark.parametrize("name", ["WeightNorm", "SpectralNorm"])
def test_nnx_weight_wrappers_agree_with_flax_and_hold_the_same_state(name):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 6)), jnp.float32)
    make = lambda where: getattr(where, name)(nnx.Linear(6, 4, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))
    ours, theirs = make(gnn), make(nnx)
    paths = lambda layer: [path for path, _ in nnx.to_flat_state(nnx.state(layer))]
    assert paths(ours) == paths(theirs)
    with loose():
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5)


def test_dropout_takes_flax_s_calls():
    x = jnp.ones((4, 8))
    for where in (nnx, gnn):
        layer = where.Dropout(
            0.5, broadcast_dims=(0,), rng_collection="noise", rngs=nnx.Rngs(noise=1)
        )
        y = layer(x)
        np.testing.assert_array_equal(y, jnp.broadcast_to(y[:1], y.shape))
        np.testing.assert_array_equal(layer(x, deterministic=True), x)
        np.testing.assert_array_equal(
            layer(x, rngs=jax.random.key(2)), layer(x, rngs=jax.random.key(2))
        )
        view = nnx.view(layer, deterministic=True)
        np.testing.assert_array_equal(view(x), x)
    for where in (linen, gln):
        layer = where.Dropout(0.5, (0,), rng_collection="noise")
        y = layer.apply({}, x, False, rngs={"noise": jax.random.key(1)})
        np.testing.assert_array_equal(y, jnp.broadcast_to(y[:1], y.shape))
        assert layer.apply({}, x, deterministic=False, rng=jax.random.key(1)).shape == x.shape


def test_model_mode_switches_reach_every_layer():
    model = nnx.Sequential(
        gnn.Dropout(0.5, rngs=nnx.Rngs(0)),
        gnn.BatchNorm(8, rngs=nnx.Rngs(0)),
        gnn.DropPath(0.5, rngs=nnx.Rngs(0)),
    )
    model.eval()
    x = jnp.ones((4, 8))
    np.testing.assert_allclose(model(x), x, rtol=1e-4)
    assert isinstance(model.layers[1], nnx.BatchNorm)


def test_a_promote_dtype_of_the_user_s_own_is_used():
    seen = []

    def promote(arrays, dtype=None):
        seen.append(dtype)
        return tuple(None if a is None else a.astype(jnp.bfloat16) for a in arrays)

    y = gnn.LayerNorm(8, promote_dtype=promote, rngs=nnx.Rngs(0))(jnp.ones((2, 8)))
    assert seen == [None]
    assert y.dtype == jnp.bfloat16


def torch_case(torch, name):
    first = lambda y: np.moveaxis(y, 1, -1)
    return {
        "BatchNorm": (
            torch.nn.BatchNorm2d(6, dtype=torch.float64),
            gnn.BatchNorm(6, momentum=0.9, unbiased_running_var=True, rngs=nnx.Rngs(0)),
            first,
        ),
        "LayerNorm": (
            torch.nn.LayerNorm(6, eps=1e-5, dtype=torch.float64),
            gnn.LayerNorm(6, epsilon=1e-5, rngs=nnx.Rngs(0)),
            None,
        ),
        "RMSNorm": (
            torch.nn.RMSNorm(6, eps=1e-5, dtype=torch.float64),
            gnn.RMSNorm(6, epsilon=1e-5, rngs=nnx.Rngs(0)),
            None,
        ),
        "GroupNorm": (
            torch.nn.GroupNorm(3, 6, dtype=torch.float64),
            gnn.GroupNorm(6, 3, epsilon=1e-5, rngs=nnx.Rngs(0)),
            first,
        ),
        "InstanceNorm": (
            torch.nn.InstanceNorm2d(6, affine=True, dtype=torch.float64),
            gnn.InstanceNorm(6, epsilon=1e-5, rngs=nnx.Rngs(0)),
            first,
        ),
    }[name]


@pytest.mark.parametrize("name", SHARED)
def test_layers_agree_with_torch(name):
    torch = pytest.importorskip("torch")
    with jax.enable_x64(True), loose():
        theirs, ours, last = torch_case(torch, name)
        x = np.random.default_rng(0).normal(0.3, 1.5, SHAPE)
        given = torch.tensor(np.moveaxis(x, -1, 1) if last else x)
        for _ in range(2):
            wanted = theirs(given).detach().numpy()
            got = ours(jnp.asarray(x))
        np.testing.assert_allclose(got, last(wanted) if last else wanted, rtol=1e-12, atol=1e-12)
        if name == "BatchNorm":
            np.testing.assert_allclose(ours.mean[...], theirs.running_mean, rtol=1e-6)
            np.testing.assert_allclose(ours.var[...], theirs.running_var, rtol=1e-6)


def test_spectral_norm_agrees_with_torch_once_both_have_converged():
    torch = pytest.importorskip("torch")
    with jax.enable_x64(True), loose():
        theirs = torch.nn.utils.parametrizations.spectral_norm(
            torch.nn.Linear(6, 4, bias=False, dtype=torch.float64), n_power_iterations=60
        )
        kernel = theirs.parametrizations.weight.original.detach().numpy().T
        layer = gnn.SpectralNorm(
            nnx.Linear(6, 4, use_bias=False, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
            n_steps=200,
            rngs=nnx.Rngs(1),
        )
        layer.layer_instance.kernel[...] = jnp.asarray(kernel)
        for _ in range(5):
            wanted = theirs(torch.eye(6, dtype=torch.float64)).detach().numpy()
        np.testing.assert_allclose(layer(jnp.eye(6)), wanted, rtol=1e-6, atol=1e-9)
