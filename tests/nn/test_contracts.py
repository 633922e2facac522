"""What every layer keeps, whichever it is."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradkit.nn as gnn
from gradkit.nn import functional
from gradkit.nn import linen as gln
from tests.nn.cases import CASES, example

standard = lambda: jax.numpy_dtype_promotion("standard")
every = pytest.mark.parametrize("case", CASES, ids=repr)


def run_linen(case, layer, x, key=0):
    rngs = {"params": jax.random.key(1), "dropout": jax.random.key(2)}
    variables = layer.init(rngs, x, **case.call)
    return layer.apply(
        variables, x, **case.call, mutable=["batch_stats"], rngs={"dropout": jax.random.key(key)}
    )[0], variables


def test_every_layer_has_a_case():
    layers = {
        name
        for name, value in vars(gnn).items()
        if inspect.isclass(value) and issubclass(value, nnx.Module)
    }
    assert layers == {case.name for case in CASES}
    assert layers == {name for name, value in vars(gln).items() if inspect.isclass(value)}


@pytest.mark.parametrize("place", [gnn, gln, functional], ids=["nnx", "linen", "functional"])
def test_every_public_name_is_documented_with_a_rule_and_an_example(place):
    for name, value in vars(place).items():
        if (
            name[0] == "_"
            or inspect.ismodule(value)
            or name in {"Moments", "Prediction", "keep_mask"}
        ):
            continue
        assert "**Rule**" in value.__doc__ or name == "moments", name
        assert "Example:" in value.__doc__, name
        assert "assert" in value.__doc__, name


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=str)
def test_shape_is_kept_and_the_dtype_is_the_one_asked_for(case, dtype):
    x = example(case.shape, dtype)
    options = {} if case.noisy or case.wraps else {"dtype": dtype}
    with standard():
        y = nnx.eval_shape(lambda: case.nnx(**options)(x))
        z, _ = jax.eval_shape(lambda: run_linen(case, case.linen(**options), x))
    if case.wraps:
        assert y.shape == z.shape == (4, 5)
    elif case.name != "StochasticPool":
        assert y.shape == z.shape == x.shape
    if not case.wraps:
        assert y.dtype == z.dtype == dtype


@every
def test_compiled_is_eager_and_traced_once(case):
    traces = []

    @nnx.jit
    def call(layer, x):
        traces.append(1)
        return layer(x)

    layer, twin, x = case.nnx(), case.nnx(), example(case.shape)
    for _ in range(2):
        np.testing.assert_allclose(call(layer, x), twin(x), rtol=2e-5, atol=2e-5)
    assert len(traces) == 1
    for (path, ours), (_, theirs) in zip(
        nnx.to_flat_state(nnx.state(layer)), nnx.to_flat_state(nnx.state(twin)), strict=True
    ):
        if not isinstance(ours, nnx.RngKey):
            np.testing.assert_allclose(
                ours[...], theirs[...], rtol=1e-4, atol=1e-5, err_msg=str(path)
            )


@every
def test_nnx_and_linen_are_one_layer(case):
    if case.noisy or case.wraps:
        pytest.skip("their keys and their layers' parameters differ")
    x = example(case.shape)
    y, _ = jax.jit(lambda: run_linen(case, case.linen(), x))()
    np.testing.assert_allclose(case.nnx()(x), y, rtol=1e-6, atol=1e-6)


@every
def test_parameters_and_input_have_finite_gradients(case):
    x = example(case.shape)
    layer = case.nnx()
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    def loss(params, x):
        return jnp.sum(nnx.merge(graph, params, rest, copy=True)(x) ** 2)

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))
    for leaf in jax.tree.leaves(
        [gradients(params, x), gradients(params, jnp.zeros_like(x))]
    ):  # with zeros, nothing to divide by
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize(
    ("case", "arguments", "message"),
    [pytest.param(c, a, m, id=f"{c}-{a}"[:40]) for c in CASES for a, m in c.bad],
)
def test_bad_arguments_are_refused_in_words(case, arguments, message):
    with pytest.raises((ValueError, TypeError)) as error:
        case.nnx(**arguments)
    assert message in str(error.value)
    assert str(error.value).startswith(case.name)


@pytest.mark.parametrize("case", [case for case in CASES if case.noisy], ids=repr)
def test_noise_is_silent_at_inference_and_wants_a_key_in_training(case):
    x = example(case.shape)
    layer = case.nnx()
    layer.eval()
    np.testing.assert_array_equal(layer(x), layer(x))
    layer.train()
    first, second = layer(x), layer(x)
    assert not bool(jnp.all(first == second))
    assert bool(
        jnp.all(case.nnx()(x, rngs=jax.random.key(7)) == case.nnx()(x, rngs=jax.random.key(7)))
    )
    with pytest.raises(
        TypeError, match=r"needs rngs for its dropout key; got rngs=None. Pass rngs=nnx.Rngs\(0\)"
    ):
        case.nnx(rngs=None)(x)
    with pytest.raises(TypeError, match="needs rngs of type"):
        case.nnx()(x, rngs="dropout")
    with pytest.raises(ValueError, match="Pass deterministic=True or False"):
        case.nnx(deterministic=None)(x)
    quiet = case.linen(deterministic=None)
    variables = quiet.init(jax.random.key(0), x, deterministic=True)
    with pytest.raises(TypeError, match="needs a key of the collection 'dropout'; got none"):
        quiet.apply(variables, x, deterministic=False)
    with pytest.raises(
        ValueError, match="needs deterministic from the layer or from the call; got neither"
    ):
        case.linen(deterministic=None).init(jax.random.key(0), x)


@pytest.mark.parametrize("case", [case for case in CASES if case.complex], ids=repr)
def test_complex_input_is_normalized_by_its_magnitude(case):
    x = example(case.shape, jnp.complex64)
    with standard():
        y = jax.jit(lambda x: case.nnx(epsilon=0.0)(x))(x)
        gradient = jax.jit(jax.grad(lambda x: jnp.sum(jnp.abs(case.nnx()(x)) ** 4)))(x)
    assert y.dtype == jnp.complex64
    assert abs(float(jnp.mean(jnp.abs(y) ** 2)) - 1) < 1e-5
    assert bool(jnp.all(jnp.isfinite(jnp.abs(gradient))))


@pytest.mark.parametrize("name", ["BatchNorm", "LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm"])
def test_a_layer_without_its_width_says_so(name):
    with pytest.raises(TypeError, match=f"{name}") as error:
        getattr(gnn, name)(rngs=nnx.Rngs(0))
    assert "num_features" in str(error.value)
    assert "_check" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"r_max": 0.5}, "r_max: needs a number >= 1; got 0.5."),
        ({"d_max": -1}, "d_max: needs a finite number >= 0"),
    ],
)
def test_batch_renorm_checks_its_bounds_when_it_is_made(arguments, message):
    with pytest.raises(ValueError, match=f"^BatchRenorm, {message}"):
        gnn.BatchRenorm(4, **arguments, rngs=nnx.Rngs(0))
    layer = gln.BatchRenorm(**arguments)
    with pytest.raises(ValueError, match=message):
        layer.init(jax.random.key(0), jnp.ones((2, 4)), use_running_average=False)
