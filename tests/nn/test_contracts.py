"""What holds for every layer: names, shapes, dtypes, tracing, gradients, refusals, modes."""

import functools
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

every = pytest.mark.parametrize("case", CASES, ids=repr)
PARALLEL = {"batch_norm", "dropout", "norm", "pooling", "weights"}


def standard():
    return jax.numpy_dtype_promotion("standard")


def run_linen(case, layer, x, key=0):
    rngs = {"params": jax.random.key(1), "dropout": jax.random.key(2)}
    variables = layer.init(rngs, x, **case.call)
    options = {"mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(key)}}
    return layer.apply(variables, x, **case.call, **options)[0], variables


@functools.cache
def compiled(case):
    """One program per case: output, state and gradients of two calls, and the output of Linen."""
    traces = []

    @nnx.jit
    def call(layer, x):
        traces.append(1)
        graph, params, rest = nnx.split(layer, nnx.Param, ...)

        def loss(params, x):
            return jnp.sum(nnx.merge(graph, params, rest, copy=True)(x) ** 2)

        gradients = jax.grad(loss, argnums=(0, 1))(params, x)
        other = None
        if not (case.noisy or case.wraps):  # their keys, or the parameters of their layers, differ
            other, _ = run_linen(case, case.linen(), x)
        return layer(x), gradients, other

    layer, x = case.nnx(), example(case.shape)
    results = [call(layer, x), call(layer, x)]
    results.append(call(case.nnx(), jnp.zeros_like(x)))
    return results, layer, len(traces)


def test_every_layer_has_a_case():
    layers = {
        name
        for name, value in vars(gnn).items()
        if inspect.isclass(value) and issubclass(value, nnx.Module)
    }
    assert layers == {case.name for case in CASES}
    assert layers == {name for name, value in vars(gln).items() if inspect.isclass(value)}


def test_the_two_frameworks_have_the_same_layers_in_the_same_files():
    for name in sorted(layer for layer in vars(gln) if isinstance(vars(gln)[layer], type)):
        ours, theirs = getattr(gnn, name), getattr(gln, name)
        assert ours.__module__ == f"gradkit.nn.nnx.{theirs.__module__.rsplit('.', 1)[1]}"
        assert theirs.__module__.rsplit(".", 1)[1] in PARALLEL
    assert {f.__module__.rsplit(".", 1)[1] for f in (gnn.fold_batch_norm, gln.fold_batch_norm)} == {
        functional.fold_batch_norm.__module__.rsplit(".", 1)[1]
    }
    files = {vars(functional)[name].__module__.rsplit(".", 1)[1] for name in public(functional)}
    assert files >= PARALLEL


def public(place):
    functions = {n: v for n, v in vars(place).items() if callable(v) and n[0] != "_"}
    return [name for name in functions if name not in ("Moments", "Prediction", "Any")]


@pytest.mark.parametrize("place", [gnn, gln, functional], ids=["nnx", "linen", "functional"])
def test_every_public_name_is_documented_and_typed(place):
    for name in public(place):
        value = getattr(place, name)
        for heading in ("**Value**", "Example:", "assert"):
            assert heading in value.__doc__, f"{name} lacks {heading}"
        if inspect.isclass(value):
            assert "**State**" in value.__doc__, name
        else:
            assert "Returns:" in value.__doc__, name
            assert "Args:" in value.__doc__, name
            signature = inspect.signature(value)
            assert signature.return_annotation is not inspect.Signature.empty, name
            for parameter in signature.parameters.values():
                assert parameter.annotation is not parameter.empty, f"{name}: {parameter}"
                assert f"{parameter.name}:" in value.__doc__, f"{name}: {parameter.name}"
        assert max(map(len, value.__doc__.splitlines())) <= 100, name


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=str)
def test_the_shape_is_kept_and_the_dtype_is_the_requested_one(case, dtype):
    x = example(case.shape, dtype)
    options = {} if case.noisy or case.wraps else {"dtype": dtype}
    with standard():
        y = nnx.eval_shape(lambda: case.nnx(**options)(x))
        z, _ = jax.eval_shape(lambda: run_linen(case, case.linen(**options), x))
    if case.wraps:
        assert y.shape == z.shape == (4, 5)
        return
    assert y.dtype == z.dtype == dtype
    assert y.shape == z.shape == ((4, 2, 2, 8) if case.name == "StochasticPool" else x.shape)


@every
def test_compiled_is_eager_and_traced_once(case):
    results, layer, traces = compiled(case)
    twin, x = case.nnx(), example(case.shape)
    for result in results[:2]:
        np.testing.assert_allclose(result[0], twin(x), rtol=2e-5, atol=2e-5)
    assert traces == 1
    states = (nnx.to_flat_state(nnx.state(of)) for of in (layer, twin))
    for (path, ours), (_, theirs) in zip(*states, strict=True):
        if not isinstance(ours, nnx.RngKey):
            close = {"rtol": 1e-4, "atol": 1e-5, "err_msg": str(path)}
            np.testing.assert_allclose(ours[...], theirs[...], **close)


@pytest.mark.parametrize("case", [c for c in CASES if not c.noisy and not c.wraps], ids=repr)
def test_nnx_and_linen_are_one_layer(case):
    y, _, other = compiled(case)[0][0]
    np.testing.assert_allclose(y, other, rtol=1e-6, atol=1e-6)


@every
def test_parameters_and_input_have_finite_gradients_also_of_zeros(case):
    results, _, _ = compiled(case)
    for _, gradients, _ in results:
        assert jax.tree.leaves(gradients)
        for leaf in jax.tree.leaves(gradients):
            assert np.isfinite(leaf).all()


@pytest.mark.parametrize("case", [case for case in CASES if case.bad], ids=repr)
def test_bad_arguments_are_refused_in_words(case):
    for arguments, words in case.bad:
        with pytest.raises((ValueError, TypeError)) as error:
            case.nnx(**arguments)
        assert words in str(error.value)
        assert next(iter(arguments)) in str(error.value)
        assert str(error.value).startswith(case.name)


@pytest.mark.parametrize("case", [case for case in CASES if case.noisy], ids=repr)
def test_noise_is_off_at_inference_and_needs_a_key_in_training(case):
    x = example(case.shape)
    layer = case.nnx()
    layer.eval()
    np.testing.assert_array_equal(layer(x), layer(x))
    layer.train()
    first, second = layer(x), layer(x)
    assert not bool(jnp.all(first == second))
    again = [case.nnx()(x, rngs=jax.random.key(7)) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    with pytest.raises(TypeError, match=r"rngs=None: .* needs a random key.*rngs=nnx.Rngs\(0\)"):
        case.nnx(rngs=None)(x)
    with pytest.raises(TypeError, match="rngs='dropout' is not a source of keys"):
        case.nnx()(x, rngs="dropout")
    with pytest.raises(ValueError, match="deterministic=None in the layer and in the call"):
        case.nnx(deterministic=None)(x)
    quiet = case.linen(deterministic=None)
    variables = quiet.init(jax.random.key(0), x, deterministic=True)
    with pytest.raises(TypeError, match="rngs has no key of the collection 'dropout'"):
        quiet.apply(variables, x, deterministic=False)
    with pytest.raises(ValueError, match="deterministic is given neither to the layer nor to the"):
        case.linen(deterministic=None).init(jax.random.key(0), x)


@pytest.mark.parametrize("case", [case for case in CASES if case.complex], ids=repr)
def test_complex_input_is_normalized_by_its_magnitude(case):
    x = example(case.shape, jnp.complex64)

    @jax.jit
    def program(x):
        loss = lambda x: jnp.sum(jnp.abs(case.nnx()(x)) ** 4)
        return case.nnx(epsilon=0.0)(x), jax.grad(loss)(x)

    with standard():
        y, gradient = program(x)
    assert y.dtype == jnp.complex64
    assert abs(float(jnp.mean(jnp.abs(y) ** 2)) - 1) < 1e-5
    assert bool(jnp.all(jnp.isfinite(jnp.abs(gradient))))


@pytest.mark.parametrize("name", ["BatchNorm", "LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm"])
def test_a_layer_without_its_width_says_so(name):
    with pytest.raises(TypeError, match=f"{name}") as error:
        getattr(gnn, name)(rngs=nnx.Rngs(0))
    assert "num_features" in str(error.value)
    assert "_check" not in str(error.value)
