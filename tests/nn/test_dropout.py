"""The dropout family: rates, limits, means, keys. Run as a program on eight virtual devices, it prints one line of JSON per fact of explicit sharding."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import gradkit as gk
import gradkit.nn as gnn
import gradkit.nn.linen as gln
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


def test_stochastic_pool_draws_in_proportion():
    x = jnp.tile(jnp.array([1.0, 0.0, 5.0, 2.0]).reshape(1, 2, 2, 1), (40_000, 1, 1, 1))
    y = np.asarray(F.stochastic_pool(x, (2, 2), key=KEY)).ravel()
    assert set(y) == {1.0, 5.0, 2.0}
    for value, share in [(1, 1 / 8), (5, 5 / 8), (2, 2 / 8)]:
        assert abs((y == value).mean() - share) < 4 * np.sqrt(share * (1 - share) / y.size)
    np.testing.assert_allclose(
        F.stochastic_pool(x[:1], (2, 2), deterministic=True).ravel(), [30 / 8], rtol=1e-6
    )
    assert F.stochastic_pool(-x[:1], (2, 2), key=KEY).item() == 0


def test_stochastic_pool_windows_are_flax_s():
    x = jnp.abs(X)
    for padding in ("VALID", "SAME", ((1, 1), (0, 1))):
        y = F.stochastic_pool(x, (3, 2), (2, 2), padding, deterministic=True)
        with jax.numpy_dtype_promotion("standard"):
            total = linen.avg_pool(x, (3, 2), (2, 2), padding)
            squares = linen.avg_pool(x * x, (3, 2), (2, 2), padding)
        np.testing.assert_allclose(y, squares / total, rtol=1e-5)
    assert np.isfinite(
        jax.jit(jax.grad(lambda x: F.stochastic_pool(x, (2, 2), key=KEY).sum()))(x)
    ).all()


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
    with pytest.raises(
        ValueError, match="mc_predict, model: needs a model with random layers that own their rngs"
    ):
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
            with pytest.raises(
                ValueError,
                match="mc_predict, model: needs a model whose output depends on its keys; got one that draws no noise",
            ):
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


@pytest.mark.parametrize("deterministic", [False, True])
def test_stochastic_pool_hides_no_nan_or_infinity(deterministic):
    pool = lambda *values: F.stochastic_pool(
        jnp.array(values).reshape(1, -1, 1), (len(values),), key=KEY, deterministic=deterministic
    ).item()
    assert np.isnan(pool(1.0, jnp.nan))
    assert np.isnan(pool(jnp.inf, jnp.nan))
    assert pool(1.0, jnp.inf) == np.inf
    assert pool(1.0, -jnp.inf) == 1
    assert abs(pool(3e38, 3e38) / 3e38 - 1) < 1e-6  # whose sum is infinite
    assert abs(pool(3e-30, 3e-30) / 3e-30 - 1) < 1e-6  # whose squares are zero


SHARDED = {
    "dropout": lambda x: F.dropout(x, 0.3, KEY),
    "channels": lambda x: F.dropout(x, 0.3, KEY, broadcast_dims=(1, 2)),
    "a rate per example": lambda x: F.dropout(
        x, jnp.linspace(0.0, 1.0, 8).reshape(8, 1, 1, 1), KEY
    ),
    "path": lambda x: F.drop_path(x, 0.3, KEY),
    "block": lambda x: F.drop_block(x, 0.3, KEY, block_size=3),
    "alpha": lambda x: F.alpha_dropout(x, 0.3, KEY),
    "gaussian": lambda x: F.gaussian_dropout(x, 0.3, KEY),
    "noise": lambda x: F.gaussian_noise(x, 0.3, KEY),
    "pool": lambda x: F.stochastic_pool(x, (2, 1), (2, 1), key=KEY),
    "nnx": lambda x: gnn.Dropout(0.3, rngs=nnx.Rngs(0))(x),
    "linen": lambda x: gln.Dropout(0.3).apply({}, x, deterministic=False, rngs={"dropout": KEY}),
    "gradient": jax.grad(lambda x: jnp.sum(F.dropout(x, 0.3, KEY) ** 2)),
    "samples": lambda x: jax.vmap(lambda key: F.dropout(x, 0.3, key))(jax.random.split(KEY, 3)),
}


def on_eight_devices():
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    x = jnp.asarray(
        np.random.default_rng(0).normal(size=(8, 4, 6, 6)), jnp.float32
    )  # the mask's words are half of six channels: three, for two devices
    with jax.set_mesh(mesh):
        of = {
            spec: jax.device_put(x, NamedSharding(mesh, spec))
            for spec in (P("data"), P("data", None, None, "model"), P(None, None, "model"), P())
        }
    for name, drop in SHARDED.items():
        alone = {
            way: np.asarray(run(drop)(x)) for way, run in (("eager", lambda f: f), ("jit", jax.jit))
        }
        with jax.set_mesh(mesh):
            got = {
                (spec, way): (drop if way == "eager" else jax.jit(drop))(on)
                for spec, on in of.items()
                for way in alone
            }
            kept = [
                name == "samples"
                or jax.typeof(y).sharding.spec == jax.typeof(of[spec]).sharding.spec
                for (spec, _), y in got.items()
            ]
        distance = max(
            float(np.abs(np.asarray(y) - alone[way]).max()) for (_, way), y in got.items()
        )
        print(json.dumps({"name": name, "distance": distance, "kept": all(kept)}))
    both = jax.shard_map(
        SHARDED["dropout"], mesh=mesh, in_specs=P("data"), out_specs=P("data"), axis_names={"data"}
    )
    with jax.set_mesh(mesh):
        y = jax.jit(both)(of[P("data", None, None, "model")])
    print(json.dumps({"name": "one axis by hand", "spec": str(jax.typeof(y).sharding.spec)}))


@pytest.fixture(scope="module")
def facts():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, __file__],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line.pop("name"): line for line in lines}


@pytest.mark.parametrize("name", SHARDED)
def test_explicit_sharding_keeps_the_mask_and_the_sharding(facts, name):
    assert facts[name]["distance"] < 1e-6
    assert facts[name]["kept"]


def test_explicit_sharding_within_a_shard_map(facts):
    assert facts["one axis by hand"]["spec"] == str(P("data", None, None, "model"))


SCHEDULE = gk.linear_schedule(0.0, 0.5, 10)
INTEGERS = jnp.ones((1, 2, 2, 1), int)
EVERY = {
    **FAMILY,
    "noise": F.gaussian_noise,
    "pool": lambda x, rate, key: F.stochastic_pool(x, (2, 2), key=key),
}


@pytest.mark.parametrize("drop", EVERY.values(), ids=EVERY)
def test_integers_are_refused(drop):
    with pytest.raises(
        TypeError,
        match=r"x: needs an input of a floating dtype; got int32\[1, 2, 2, 1\]. Cast it first: x.astype\(jnp.float32\).",
    ):
        drop(INTEGERS, 0.3, KEY)


@pytest.mark.parametrize(
    "drop", [F.dropout, F.drop_path, F.alpha_dropout, F.gaussian_dropout, F.gaussian_noise]
)
def test_a_rate_broadcasts_to_the_input_and_not_beyond(drop):
    message = r"(rate: needs a rate|stddev: needs a stddev) that broadcasts to the shape \[1, [18]\] of the (mask|noise); got float32\[4, 1\]."
    with pytest.raises(ValueError, match=message):
        drop(jnp.ones((1, 8)), jnp.full((4, 1), 0.5), KEY)
    assert drop(jnp.ones((4, 8)), jnp.full((4, 1), 0.5), KEY).shape == (4, 8)


@pytest.mark.parametrize(
    "call",
    [
        lambda: gnn.Dropout(SCHEDULE),
        lambda: gnn.Dropout(0.5, rngs=nnx.Rngs(0))(X, rate=SCHEDULE),
        lambda: gnn.GaussianNoise(lambda step: 0.1 * step),
        lambda: gln.Dropout(SCHEDULE, deterministic=False).apply({}, X, rngs={"dropout": KEY}),
        lambda: F.dropout(X, SCHEDULE, KEY),
    ],
)
def test_a_schedule_is_no_rate(call):
    message = r"needs a number or an array of numbers; got a schedule. Evaluate the schedule at the step and pass rate=schedule\(step\) in the call."
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.dropout(X, 1.5, KEY), "dropout, rate: needs a number in [0, 1]; got 1.5."),
        (
            lambda: F.dropout(X, 0.5),
            "dropout, key: needs a key for its mask; got key=None. Pass key=jax.random.key(seed)",
        ),
        (
            lambda: F.dropout(X, 0.5, 0.5),
            "dropout, key: needs a key for its mask; got float. Pass key=jax.random.key(seed)",
        ),
        (
            lambda: F.dropout(X, 0.5, jax.random.split(KEY, 3)),
            "dropout, key: needs one key for its mask; got 3 keys. Take one of them",
        ),
        (
            lambda: gnn.mc_predict(lambda x, key: x, X, 3, None),
            "mc_predict, key: needs a key for its samples; got key=None.",
        ),
        (
            lambda: gnn.Dropout(0.3, rngs=nnx.Rngs(params=0)),
            "Dropout, rngs: needs rngs with a stream 'dropout' or a default one; got only params. Pass rngs=nnx.Rngs(dropout=0).",
        ),
        (
            lambda: gnn.DropPath(0.3)(X, rngs=nnx.Rngs()),
            "DropPath, rngs: needs rngs with a stream 'dropout' or a default one; got none.",
        ),
        (
            lambda: gnn.Dropout(0.3, deterministic="no"),
            "Dropout, deterministic: needs True or False; got 'no'.",
        ),
        (
            lambda: gln.Dropout(0.3).apply({}, X, (1,)),
            "Dropout, deterministic: needs True or False; got (1,).",
        ),
        (
            lambda: gln.AlphaDropout(0.3, deterministic=(1,)).apply({}, X),
            "AlphaDropout, deterministic: needs True or False; got (1,).",
        ),
        (
            lambda: gln.StochasticPool((2, 2)).apply({}, X, 1),
            "StochasticPool, deterministic: needs True or False; got 1.",
        ),
        (
            lambda: F.dropout(X, 0.3, KEY, deterministic=1),
            "dropout, deterministic: needs True or False; got 1.",
        ),
        (
            lambda: jax.jit(lambda silent: F.dropout(X, 0.3, KEY, deterministic=silent))(True),
            "dropout, deterministic: needs True or False; got a traced value. Make it a static argument, or pass rate=jnp.where(",
        ),
        (
            lambda: F.dropout(X, None, KEY),
            "dropout, rate: needs a number or an array of numbers; got None.",
        ),
        (
            lambda: F.dropout(X, jnp.ones(4) / 2, KEY),
            "dropout, rate: needs a rate of no axes, or of the 4 of the input; got float32[4].",
        ),
        (
            lambda: F.dropout(X, 0.5, KEY, broadcast_dims=(4,)),
            "dropout, broadcast_dims: needs axes of an input of 4 dimensions, from -4 to 3; got 4.",
        ),
        (
            lambda: F.drop_block(X[0, 0], 0.5, KEY, block_size=2),
            "drop_block, x: needs an input [batch, positions..., channels]",
        ),
        (
            lambda: F.drop_block(X, 0.5, KEY, block_size=0),
            "drop_block, block_size: needs a whole number >= 1; got 0.",
        ),
        (
            lambda: F.gaussian_noise(X, 0.1),
            "gaussian_noise, key: needs a key for its noise; got key=None.",
        ),
        (
            lambda: F.stochastic_pool(X, (2,), key=KEY),
            "stochastic_pool, window_shape: needs a window and strides for the 2 position axes",
        ),
        (
            lambda: F.stochastic_pool(X, (2, 2)),
            "stochastic_pool, key: needs a key for its draws; got key=None.",
        ),
        (
            lambda: F.stochastic_pool(X, (2, 2), padding="FULL", key=KEY),
            "stochastic_pool, padding: needs one of 'VALID', 'SAME'; got 'FULL'.",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert str(error.value).startswith(message)


if __name__ == "__main__":
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    on_eight_devices()
