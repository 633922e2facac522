"""Variances of the draws, through depth, in the fans of convolutions; LSUV; gains; refusals."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

init = gk.initializers

# Expected standard deviations for a kernel of 3 × 3 pixels, 16 inputs and 32 outputs.
IN, OUT = 3 * 3 * 16, 3 * 3 * 32
SHAPE = (3, 3, 16, 32)
STDS = {
    "gaussian": (init.gaussian(0.0, 0.3), 0.3),
    "symmetric_uniform": (init.symmetric_uniform(0.3), 0.3 / math.sqrt(3)),
    "lecun": (init.lecun(), math.sqrt(1 / IN)),
    "lecun truncated": (init.lecun("truncated_normal"), math.sqrt(1 / IN)),
    "xavier": (init.xavier(), math.sqrt(2 / (IN + OUT))),
    "xavier logistic": (init.xavier("logistic"), 4 * math.sqrt(2 / (IN + OUT))),
    "xavier uniform": (init.xavier("logistic", "uniform"), 4 * math.sqrt(2 / (IN + OUT))),
    "xavier function": (init.xavier(lambda z: jnp.sin(z) / 2), 2 * math.sqrt(2 / (IN + OUT))),
    "he": (init.he(), math.sqrt(2 / IN)),
    "he leaky": (init.he(0.2), math.sqrt(2 / 1.04 / IN)),
    "he uniform": (init.he(0.0, "uniform"), math.sqrt(2 / IN)),
    "he fan_out": (init.he(mode="fan_out"), math.sqrt(2 / OUT)),
    "he transposed": (init.he(in_axis=-1, out_axis=-2), math.sqrt(2 / OUT)),
    "he stacked": (init.he(batch_axis=0), math.sqrt(2 / (IN / 3))),
    "variance_preserving": (init.variance_preserving("relu"), math.sqrt(2 / IN)),
    "orthogonal": (init.orthogonal(2.0), 2 / math.sqrt(IN)),
    "sparse": (init.sparse(36, 0.5), 0.5 * math.sqrt(36 / IN)),
}


@pytest.fixture(scope="module")
def drawn():
    """A kernel of each initializer, from one program; and JAX's own."""

    @jax.jit
    def run(key):
        found = {name: make(key, SHAPE) for name, (make, _) in STDS.items()}
        scaling = jax.nn.initializers.variance_scaling
        found["of JAX"] = [
            scaling(2.0, "fan_in", "normal")(key, SHAPE),
            scaling(16.0, "fan_avg", "uniform")(key, SHAPE),
            jax.nn.initializers.orthogonal(2.0)(key, SHAPE),
        ]
        found["bfloat16"] = init.he()(key, SHAPE, jnp.bfloat16)
        found["orthogonal float16"] = init.orthogonal()(key, (6, 4), "float16")
        found["sparse rows"] = init.sparse(2, column_axis=0)(key, (5, 3, 2))
        return found

    return jax.device_get(run(jax.random.key(0)))


@pytest.mark.parametrize("name", STDS)
def test_the_variance_is_that_of_the_formula(drawn, name):
    weights = drawn[name]
    assert (weights.shape, weights.dtype) == (SHAPE, np.float32)
    tolerance = 4 / math.sqrt(2 * weights.size) * (2 if name == "sparse" else 1)
    np.testing.assert_allclose(weights.std(), STDS[name][1], rtol=tolerance)
    assert abs(weights.mean()) < 5 * STDS[name][1] / math.sqrt(weights.size)


def test_the_draws_are_those_of_jax(drawn):
    he, xavier, orthogonal = drawn["of JAX"]
    np.testing.assert_array_equal(drawn["he"], he)
    np.testing.assert_allclose(drawn["xavier uniform"], xavier, rtol=1e-6)
    np.testing.assert_array_equal(drawn["orthogonal"], orthogonal)
    assert init.he_normal is jax.nn.initializers.he_normal
    ours = set(dir(jax.nn.initializers)) - {n for n in dir(jax.nn.initializers) if n[0] == "_"}
    assert not {name for name in ours if not hasattr(init, name)}


def test_uniform_draws_stay_within_the_bounds_of_the_textbook(drawn):
    for name, bound in (
        ("xavier uniform", 4 * math.sqrt(6 / (IN + OUT))),
        ("he uniform", math.sqrt(6 / IN)),
        ("symmetric_uniform", 0.3),
    ):
        largest = np.abs(drawn[name]).max()
        assert 0.99 * bound < largest <= bound * (1 + 1e-6), name


def test_narrow_weights_are_the_wide_ones_rounded_once(drawn):
    np.testing.assert_array_equal(drawn["bfloat16"], drawn["he"].astype(jnp.bfloat16))
    q = drawn["orthogonal float16"].astype(np.float64)
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=2e-3)


def test_sparse_weights_have_as_many_connections_as_asked(drawn):
    assert (np.count_nonzero(drawn["sparse"], axis=(0, 1, 2)) == 36).all()
    assert (np.count_nonzero(drawn["sparse rows"], axis=(1, 2)) == 2).all()
    columns = (drawn["sparse"] != 0).reshape(-1, 32)
    assert len({tuple(column) for column in columns.T}) == 32


DEPTH, WIDTH = 12, 96
NETWORKS = {
    "tanh, gaussian": (jnp.tanh, init.gaussian(0.0, 0.01)),
    "tanh, xavier": (jnp.tanh, init.xavier("tanh")),
    "tanh, variance_preserving": (jnp.tanh, init.variance_preserving("tanh")),
    "relu, xavier": (jax.nn.relu, init.xavier("linear")),
    "relu, he": (jax.nn.relu, init.he()),
    "relu, orthogonal": (jax.nn.relu, init.orthogonal(init.gain("relu"))),
    "gelu, variance_preserving": (jax.nn.gelu, init.variance_preserving("gelu")),
    "linear, lecun": (lambda z: z, init.lecun()),
}


def test_the_variance_through_depth_is_kept_or_lost_as_the_theory_says():
    @jax.jit
    def run(key):
        x = jax.random.normal(key, (64, WIDTH))

        def one(activation, initializer):
            keys = jax.random.split(key, DEPTH)
            weights = jax.vmap(lambda k: initializer(k, (WIDTH, WIDTH)))(keys)

            def forward(x):
                def layer(x, w):
                    z = x @ w
                    return activation(z), jnp.var(z)

                return jax.lax.scan(layer, x, weights)

            _, back, variances = jax.vjp(forward, x, has_aux=True)
            return variances, jnp.mean(back(x)[0] ** 2)

        return {name: one(*network) for name, network in NETWORKS.items()}

    found = jax.device_get(run(jax.random.key(3)))
    last = {name: float(variances[-1]) for name, (variances, _) in found.items()}
    back = {name: float(power) for name, (_, power) in found.items()}
    # 96 inputs of variance 1e-4 shrink signals and gradients a hundredfold at every layer.
    assert last["tanh, gaussian"] < 1e-20
    assert back["tanh, gaussian"] < 1e-20
    assert 0.02 < last["tanh, xavier"] < 0.3  # tanh takes a little at each layer
    assert 0.02 < back["tanh, xavier"] < 5
    # ReLU halves the power of a symmetric signal.
    assert 2 / 2**DEPTH / 5 < last["relu, xavier"] < 2 / 2**DEPTH * 5
    for name in (
        "tanh, variance_preserving",
        "relu, he",
        "relu, orthogonal",
        "gelu, variance_preserving",
        "linear, lecun",
    ):
        first = float(found[name][0][1])
        assert 0.4 < last[name] / first < 2.5, name
    assert 0.3 < back["relu, he"] < 3


def test_fans_count_the_receptive_field():
    assert init.fans((5, 7)) == (5, 7)
    assert init.fans((3, 2, 5, 7)) == (30, 42)
    assert init.fans((3, 2, 5, 7), in_axis=(-3, -2), out_axis=-1) == (30, 21)
    assert init.fans((4, 8, 16), in_axis=0, out_axis=(1, 2)) == (4, 128)
    assert init.fans((4, 8, 16), batch_axis=0) == (8, 16)


def test_gains_are_those_of_integrals_and_closed_forms():
    kinked = lambda z: jnp.where(z > 0, z, 0.2 * z)
    found = {name: init.gain(name) for name in ("linear", "relu", "tanh", "logistic", "selu")}
    assert found["linear"] == 1
    np.testing.assert_allclose(found["relu"], math.sqrt(2))
    np.testing.assert_allclose(found["selu"], 1.0, rtol=1e-9)  # what SELU is made for
    # Gauss–Hermite quadrature of another order, which is exact for smooth functions.
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    np.testing.assert_allclose(found["tanh"], (weights @ np.tanh(nodes) ** 2) ** -0.5, rtol=1e-9)
    logistic = 1 / (1 + np.exp(-nodes))
    np.testing.assert_allclose(found["logistic"], (weights @ logistic**2) ** -0.5, rtol=1e-9)
    for method in ("second_moment", "gradient"):
        leaky = init.gain("leaky_relu", method=method, negative_slope=0.2)
        np.testing.assert_allclose(leaky, math.sqrt(2 / 1.04), rtol=1e-12)
        np.testing.assert_allclose(init.gain(kinked, method=method), leaky, rtol=1e-12)
    slope = weights @ (1 - np.tanh(nodes) ** 2) ** 2
    np.testing.assert_allclose(init.gain("tanh", method="gradient"), slope**-0.5, rtol=1e-9)
    assert init.gain("sigmoid", method="slope") == 4
    np.testing.assert_allclose(init.gain(jnp.arctan, method="slope"), 1)
    assert isinstance(jax.jit(lambda x: x * init.gain(jnp.sin))(1.0), jax.Array)


def test_every_named_activation_has_a_gain():
    from gradkit.initializers.gain import NAMES

    assert all(
        name in ("linear", "identity", "logistic") or hasattr(jax.nn, name) for name in NAMES
    )


def outputs(p, x):
    layers = {}
    for name in ("b_first", "a_second", "c_third"):
        layers[f"{name}.w"] = x @ p[name]["w"] + p[name]["b"][None]
        x = jax.nn.relu(layers[f"{name}.w"])
    return layers


DATA = 5 + 3 * np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)


def layered(kind=jnp.float32):
    sizes = {"b_first": (6, 8), "a_second": (8, 7), "c_third": (7, 5)}
    return {
        name: {"w": jnp.ones(shape, kind), "b": jnp.zeros(shape[1], kind)}
        for name, shape in sizes.items()
    }


def test_lsuv_gives_every_layer_unit_variance_in_the_order_of_the_layers():
    @jax.jit
    def run(p, x):
        scaled = init.lsuv(outputs, p, x, key=1, tol=1e-3)
        return scaled, outputs(scaled, x)

    p = layered()
    p["a_second"]["b"] = jnp.linspace(-1.0, 1.0, 7) / 4
    scaled, out = run(p, DATA)
    for name, z in out.items():
        np.testing.assert_allclose(np.var(z), 1, atol=2e-3, err_msg=name)
    first = np.asarray(scaled["b_first"]["w"], float)
    gram = first @ first.T
    np.testing.assert_allclose(gram, np.eye(6) * gram[0, 0], atol=1e-5)
    np.testing.assert_array_equal(scaled["a_second"]["b"], p["a_second"]["b"])


def test_lsuv_says_which_layer_it_cannot_scale():
    def one_layer(p):
        return {"w": p["w"] + p["b"]}

    p = {"w": jnp.zeros(8), "b": jnp.zeros(8)}
    with pytest.raises(
        ValueError, match=r"lsuv, w: the output of this layer has the variance 0\. "
    ):
        init.lsuv(one_layer, p)
    p = {"w": jnp.linspace(0.0, 9.0, 8), "b": jnp.linspace(0.0, 9.0, 8)}
    with pytest.raises(ValueError, match=r"lsuv, w: the variance is .* after 1 steps\. .*biases"):
        init.lsuv(one_layer, p, max_steps=1)


def flax_layers(kind):
    linen = pytest.importorskip("flax.linen")
    nnx = pytest.importorskip("flax.nnx")
    if kind == "linen":
        layer = linen.Dense(64, kernel_init=init.xavier("logistic"), bias_init=init.gaussian(2.0))
        return layer.init(jax.random.key(0), jnp.ones((1, 128)))["params"]
    layer = nnx.Linear(
        128,
        64,
        kernel_init=init.xavier("logistic"),
        bias_init=init.gaussian(2.0),
        rngs=nnx.Rngs(0),
    )
    return {"kernel": layer.kernel[...], "bias": layer.bias[...]}


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_flax_takes_the_initializers(kind):
    layer = flax_layers(kind)
    np.testing.assert_allclose(layer["kernel"].std(), 4 * math.sqrt(2 / 192), rtol=0.05)
    np.testing.assert_allclose(layer["bias"], 2.0, atol=0.05)


REFUSED = {
    "distribution": (
        lambda: init.he(0.0, "cauchy"),
        ValueError,
        r"he: distribution='cauchy' is not an option\. Expected one of 'normal', 'trunc",
    ),
    "mode": (lambda: init.he(mode="fan"), ValueError, r"he: mode='fan' is not an option"),
    "slope": (lambda: init.he(jnp.nan), ValueError, r"he: negative_slope=nan is out of range"),
    "relu": (
        lambda: init.xavier("relu"),
        ValueError,
        r"xavier: activation='relu' is not linear around 0\..* Use he\(\)",
    ),
    "flat": (
        lambda: init.xavier(lambda z: z**2),
        ValueError,
        r"xavier\.gain: activation=<lambda> has the slope at 0 0\. Expected a positive number",
    ),
    "name": (
        lambda: init.variance_preserving("rleu"),
        ValueError,
        r"activation='rleu' is not known\. Did you mean 'relu'\?",
    ),
    "method": (lambda: init.gain("tanh", method="torch"), ValueError, r"method='torch' is not an"),
    "kind": (lambda: init.gain(3), TypeError, r"gain: activation=3 is not a function"),
    "not elementwise": (
        lambda: init.gain(jnp.sum),
        TypeError,
        r"the activation returns float64\[\] for float64\[576\]",
    ),
    "bias": (
        lambda: init.he()(0, (5,)),
        ValueError,
        r"he: shape=\(5,\) is not that of a weight\. .*constant\(0\.0\) for biases",
    ),
    "axis": (
        lambda: init.fans((4, 4), in_axis=3),
        ValueError,
        r"fans: in_axis=3 is no axis of shape=\(4, 4\)",
    ),
    "empty": (lambda: init.lecun()(0, (0, 4)), ValueError, r"lecun: shape=\(0, 4\) has no elem"),
    "key": (lambda: init.lecun()(None, (4, 4)), TypeError, r"lecun: key is None"),
    "dtype": (lambda: init.lecun()(0, (4, 4), "int32"), TypeError, r"'int32' is not a floating"),
    "dtype of factory": (lambda: init.he(dtype="int8"), TypeError, r"he: dtype='int8' is not a fl"),
    "stddev": (lambda: init.gaussian(0.0, -1.0), ValueError, r"gaussian: stddev=-1\.0 is out of"),
    "bound": (lambda: init.symmetric_uniform(-1.0), ValueError, r"symmetric_uniform: bound=-1\.0"),
    "connections": (lambda: init.sparse(0), ValueError, r"sparse: connections=0 is out of range"),
    "column": (
        lambda: init.sparse(column_axis=2)(0, (3, 3)),
        ValueError,
        r"sparse: column_axis=2 is no axis of shape=\(3, 3\)",
    ),
    "outputs": (
        lambda: init.lsuv(lambda p: p["w"], {"w": jnp.ones(2)}),
        TypeError,
        r"lsuv: outputs=<lambda> returns float32\[2\]\. Expected a dict from the path",
    ),
    "no leaf": (
        lambda: init.lsuv(lambda p: {"v": p["w"]}, {"w": jnp.ones(2)}),
        ValueError,
        r"lsuv: outputs names 'v', which is no leaf of params\. Known: w",
    ),
    "no layers": (
        lambda: init.lsuv(lambda p: {}, {"w": jnp.ones(2)}),
        ValueError,
        r"lsuv: outputs returns no layers",
    ),
    "tol": (
        lambda: init.lsuv(outputs, layered(), DATA, tol=0.0),
        ValueError,
        r"lsuv: tol=0\.0 is out of range\. Expected 0 < tol < inf",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_every_initializer_takes_a_key_a_shape_and_a_dtype():
    for name in ("gaussian", "lecun", "xavier", "he", "orthogonal", "sparse"):
        made = getattr(init, name)()
        assert list(inspect.signature(made).parameters)[:3] == ["key", "shape", "dtype"]


def test_a_sharding_is_that_of_the_result_and_changes_no_value():
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    spec = jax.sharding.PartitionSpec("x", None)
    with jax.set_mesh(mesh):
        for made in (init.gaussian(), init.orthogonal(), init.sparse(2)):
            weights = made(0, (4, 3), "float32", out_sharding=spec)
            assert jax.typeof(weights).sharding.spec == spec
            np.testing.assert_array_equal(weights, made(0, (4, 3)))
