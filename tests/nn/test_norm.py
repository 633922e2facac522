"""Normalizations: laws, numbers against float64 and automatic differentiation, masks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812

SHAPE = (4, 5, 6)


def oracle(x, axes, epsilon, use_mean=True, mask=None):
    """Mean 0, variance 1 over the axes, in float64 NumPy."""
    x = np.asarray(x, np.float64)
    seen = np.broadcast_to(True if mask is None else np.asarray(mask), x.shape)
    n = np.maximum(seen.sum(axes, keepdims=True), 1)
    mean = np.where(seen, x, 0).sum(axes, keepdims=True) / n if use_mean else 0.0
    var = (np.where(seen, x - mean, 0) ** 2).sum(axes, keepdims=True) / n
    return (x - mean) / np.sqrt(var + epsilon)


LAYERS = {
    "batch": (lambda x, **k: F.batch_norm(x, epsilon=1e-6, **k)[0], (0, 1), True),
    "layer": (lambda x, **k: F.layer_norm(x, epsilon=1e-6, **k), (2,), True),
    "rms": (lambda x, **k: F.rms_norm(x, epsilon=1e-6, **k), (2,), False),
    "instance": (lambda x, **k: F.instance_norm(x, epsilon=1e-6, **k), (1,), True),
    "group": (lambda x, **k: F.group_norm(x, num_groups=1, epsilon=1e-6, **k), (1, 2), True),
    "weight": (lambda x, **k: F.standardize_weight(x, epsilon=1e-6, **k), (0, 1), True),
}


each = pytest.mark.parametrize("name", LAYERS)


def normal(shape, mean=0.0, deviation=1.0, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(mean, deviation, shape), jnp.float32)


def test_layer_norm_far_from_zero_has_deviation_one():
    x = normal((64, 512), 100, 0.01)
    assert abs(float(jnp.std(F.layer_norm(x, epsilon=1e-9))) - 1) < 1e-3
    error = np.asarray(F.layer_norm(x)) - oracle(x, (1,), 1e-6)  # here ε is a hundredth of σ²
    assert np.abs(error).max() < 1e-5


def test_layer_norm_at_ten_thousand_is_right_to_a_hundredth():
    x = normal((64, 512), 1e4, 0.01)
    assert np.abs(np.asarray(F.layer_norm(x, epsilon=1e-9)) - oracle(x, (1,), 1e-9)).max() < 1e-5


MEANS = (0, 100, 1e4)
MASKED = [name for name in LAYERS if name != "weight"]  # a weight has no mask


def masked_input():
    x = normal(SHAPE, 5)
    mask = np.random.default_rng(1).random((4, 5, 1)) < 0.6
    mask[:, 0] = True
    return x, jnp.asarray(mask)


@functools.cache
def outcomes(name):
    """One program per layer: all that the tests below ask of its small input."""
    layer = LAYERS[name][0]
    x, mask = masked_input()

    def program(means, half, x_nan, x):
        out = {"means": [layer(y) for y in means], "half": layer(half)}
        if name in MASKED:
            loss = lambda x: jnp.sum(jnp.where(mask, layer(x, mask=mask), 0) ** 3)
            nothing = lambda x: jnp.sum(layer(x, mask=jnp.zeros(SHAPE, bool)))
            out["masked"] = layer(x_nan, mask=mask)
            out["gradients"] = jax.grad(loss)(x_nan), jax.grad(loss)(x)
            out["nothing"] = jax.value_and_grad(nothing)(x)
        return out

    means = [normal(SHAPE, mean) for mean in MEANS]
    x_nan = jnp.where(mask, x, jnp.nan)
    return jax.device_get(jax.jit(program)(means, normal(SHAPE, 3).astype(jnp.bfloat16), x_nan, x))


@each
def test_float32_is_right_to_rounding_wherever_the_mean_is(name):
    layer, axes, use_mean = LAYERS[name]
    for mean, y in zip(MEANS, outcomes(name)["means"], strict=True):
        x = normal(SHAPE, mean)
        np.testing.assert_allclose(y, oracle(x, axes, 1e-6, use_mean), rtol=2e-6, atol=2e-6)
        if mean == 100:
            np.testing.assert_allclose(layer(x), y, rtol=2e-6, atol=2e-6)  # eagerly too


@pytest.mark.parametrize("mean", [0, 100])
def test_derivatives_of_large_inputs_are_those_of_the_formula(mean):
    x, dy = normal((256, 512), mean), normal((256, 512), seed=1)

    def formula(x):
        centred = x - x.mean(1, keepdims=True)
        return centred / jnp.sqrt((centred**2).mean(1, keepdims=True) + 1e-6)

    got, wanted = (
        jax.jit(lambda x, f=f: jax.vjp(f, x)[1](dy)[0])(x) for f in (F.layer_norm, formula)
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6 if mean == 0 else 1e-4)


@each
def test_bfloat16_is_rounded_once(name):
    _, axes, use_mean = LAYERS[name]
    y = outcomes(name)["half"]
    x = normal(SHAPE, 3).astype(jnp.bfloat16).astype(jnp.float32)
    assert y.dtype == jnp.bfloat16
    wanted = oracle(x, axes, 1e-6, use_mean)
    np.testing.assert_allclose(np.asarray(y, np.float64), wanted, rtol=2**-8)


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_value_has_no_effect_also_on_the_gradient(name):
    _, axes, use_mean = LAYERS[name]
    x, mask = masked_input()
    y = np.where(mask, outcomes(name)["masked"], 0)
    wanted = np.where(mask, oracle(x, axes, 1e-6, use_mean, mask), 0)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
    got, clean = outcomes(name)["gradients"]
    np.testing.assert_allclose(got, clean, rtol=1e-5, atol=1e-5)
    assert not np.where(mask, 0, got).any()
    assert np.abs(got).max() > 1e-3


@pytest.mark.parametrize("name", MASKED)
def test_all_masked_is_finite(name):
    value, gradient = outcomes(name)["nothing"]
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def plain(x, scale, bias, axes, epsilon, use_mean, mask):
    """The formula as it stands, for autodiff."""
    seen = jnp.ones(x.shape, bool) if mask is None else jnp.broadcast_to(mask, x.shape)
    total = lambda v: jnp.sum(jnp.where(seen, v, 0), axis=axes, keepdims=True)
    n = total(jnp.ones_like(x))
    mean = total(x) / n if use_mean else jnp.zeros_like(n)
    var = total((x - mean) ** 2) / n
    return (x - mean) / jnp.sqrt(var + epsilon) * scale + bias


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("use_mean", [True, False], ids=["layer", "rms"])
def test_the_derivative_by_hand_is_that_of_the_formula(use_mean, masked):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, scale, bias = (jnp.asarray(rng.normal(size=shape)) for shape in [(3, 6), (6,), (6,)])
        mask = jnp.asarray(rng.random((3, 6)) < 0.7) if masked else None
        weight = jnp.asarray(rng.normal(size=(3, 6)))

        def ours(x, scale, bias):
            y = (
                F.layer_norm(x, scale, bias, mask=mask, epsilon=1e-3)
                if use_mean
                else F.rms_norm(x, scale, mask=mask, epsilon=1e-3) + bias[None]
            )
            return jnp.sum(weight * y**2)

        def theirs(x, scale, bias):
            return jnp.sum(
                weight * plain(x, scale[None], bias[None], (1,), 1e-3, use_mean, mask) ** 2
            )

        args, tangents = (
            (x, scale, bias),
            tuple(jnp.asarray(rng.normal(size=a.shape)) for a in (x, scale, bias)),
        )

        def derivatives(f):
            reverse = lambda *a: jax.grad(f, (0, 1, 2))(*a)
            rows = jax.vmap(jax.grad(lambda row: f(row[None] * jnp.ones((3, 1)), scale, bias)))(x)
            return (
                reverse(*args),
                jax.jvp(f, args, tangents)[1],
                jax.jvp(reverse, args, tangents)[1],
                rows,
            )

        for got, wanted in zip(
            *(jax.tree.leaves(jax.jit(lambda f=f: derivatives(f))()) for f in (ours, theirs)),
            strict=True,
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("norm", [F.layer_norm, F.rms_norm], ids=["layer", "rms"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=str)
def test_the_backward_pass_keeps_the_input_and_three_numbers_a_row(norm, dtype):
    rows, width = 64, 256
    x, scale = jnp.ones((rows, width), dtype), jnp.ones(width, dtype)
    _, pull = jax.vjp(lambda x, scale: norm(x, scale), x, scale)
    kept = {id(leaf): leaf.nbytes for leaf in jax.tree.leaves(pull) if hasattr(leaf, "nbytes")}
    assert sum(kept.values()) <= x.nbytes + scale.nbytes * 2 + 3 * rows * 4


def test_integers_are_counted_as_numbers():
    y = F.layer_norm(jnp.array([[1, 3]]), epsilon=0.0)
    assert y.tolist() == [[-1.0, 1.0]]


def test_epsilon_stays_wide_in_half_precision():
    y = functools.partial(F.layer_norm, epsilon=1e-8)(jnp.zeros((2, 4), jnp.float16))
    assert not bool(jnp.any(jnp.isnan(y)))


HIDING = {
    "batch": lambda x, s, b, m: F.batch_norm(x, s, b, mask=m)[0],
    "renorm": lambda x, s, b, m: F.batch_renorm(x, jnp.zeros(6), jnp.ones(6), s, b, mask=m)[0],
    "ghost": lambda x, s, b, m: F.ghost_batch_norm(x, s, b, ghost_batch_size=2, mask=m)[0],
    "layer": lambda x, s, b, m: F.layer_norm(x, s, b, mask=m),
    "rms": lambda x, s, b, m: F.rms_norm(x, s, mask=m) + b[None, None],
    "group": lambda x, s, b, m: F.group_norm(x, s, b, num_groups=3, mask=m),
    "instance": lambda x, s, b, m: F.instance_norm(x, s, b, mask=m),
    "filter response": lambda x, s, b, m: F.filter_response_norm(x, s, b, b - 1, mask=m),
    "global response": lambda x, s, b, m: F.global_response_norm(x, s, b, mask=m),
}


@pytest.mark.parametrize("name", HIDING)
def test_a_masked_value_is_in_no_derivative_of_any_order(name):
    mask = jnp.asarray(np.random.default_rng(1).random((4, 5, 1)) < 0.6).at[:, 0].set(True)
    x, weight = normal(SHAPE, 2), normal(SHAPE, seed=1)
    scale, bias = 1 + normal(6, 0, 0.1), normal(6, seed=2)

    def loss(x, scale, bias):
        return jnp.sum(jnp.where(mask, HIDING[name](x, scale, bias, mask), 0) ** 2 * weight)

    first = jax.grad(loss, (0, 1, 2))
    second = jax.grad(lambda *a: sum(jnp.sum(jnp.sin(g)) for g in first(*a)), (0, 1, 2))
    forward = lambda *a: jax.jvp(first, a, (jnp.where(mask, weight, 0), scale, bias))[1]
    program = jax.jit(lambda *a: jax.tree.leaves((first(*a), second(*a), forward(*a))))
    wanted = program(jnp.where(mask, x, 0), scale, bias)
    for hidden in (jnp.nan, jnp.inf):
        got = program(jnp.where(mask, x, hidden), scale, bias)
        for ours, clean in zip(got, wanted, strict=True):
            np.testing.assert_allclose(ours, clean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf], ids=str)
def test_where_a_mask_hides_no_number_the_output_is_that_of_zero(bad):
    x, mask = jnp.array([[1.0, 3.0, bad]]), jnp.array([[True, True, False]])
    np.testing.assert_allclose(F.layer_norm(x, mask=mask, epsilon=0.0), [[-1, 1, -2]], rtol=1e-6)
    assert jax.grad(lambda x: F.layer_norm(x, mask=mask)[0, 2])(x)[0, 2] == 0


EPSILONS = LAYERS | {
    "renorm": (lambda x, **k: F.batch_renorm(x, jnp.zeros(6), jnp.ones(6), **k)[0], None, None),
    "ghost": (lambda x, **k: F.ghost_batch_norm(x, ghost_batch_size=2, **k)[0], None, None),
    "filter response": (F.filter_response_norm, None, None),
    "global response": (F.global_response_norm, None, None),
    "statistics": (
        lambda x, **k: F.apply_statistics(x, jnp.zeros(6), jnp.ones(6), **k),
        None,
        None,
    ),
}


BARE = {
    "batch": lambda x, **k: F.batch_norm(x, **k)[0],
    "layer": F.layer_norm,
    "rms": F.rms_norm,
    "instance": F.instance_norm,
    "group": lambda x, **k: F.group_norm(x, num_groups=1, **k),
    "weight": F.standardize_weight,
}
# In batch renormalization r and d are constants to the gradient.
DIFFERENTIABLE = [name for name in EPSILONS if name != "renorm"]


@pytest.mark.parametrize("name", EPSILONS)
def test_a_traced_epsilon_gives_the_same_result(name):
    layer, x = BARE.get(name, EPSILONS[name][0]), normal(SHAPE, 1)
    traced = jax.jit(lambda e: layer(x, epsilon=e))(0.1)
    np.testing.assert_allclose(traced, layer(x, epsilon=0.1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_epsilon_has_its_derivative(name):
    layer = BARE.get(name, EPSILONS[name][0])
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(1, 1, SHAPE))
        loss = lambda e: jnp.sum(layer(x, epsilon=e) ** 3)
        program = jax.jit(lambda e, d: (jax.grad(loss)(e), loss(e + d), loss(e - d)))
        got, above, below = program(0.1, 1e-6)
        assert abs(got) > 1e-3
        np.testing.assert_allclose(got, (above - below) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("name", MASKED)
def test_without_epsilon_a_constant_input_becomes_zero(name):
    nothing = jnp.zeros((4, 5, 1), bool)
    masks = [nothing] if name == "rms" else [None, nothing]  # the RMS of a constant is not zero

    @jax.jit
    def program(x):
        loss = lambda x, mask: jnp.sum(BARE[name](x, epsilon=0.0, mask=mask))
        return [jax.value_and_grad(loss)(x, mask) for mask in masks]

    for value, gradient in program(jnp.ones(SHAPE)):
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("name", EPSILONS)
def test_an_empty_batch_stays_empty(name):
    layer = BARE.get(name, EPSILONS[name][0])
    x = jnp.ones((0, 5, 6))
    y, gradient = jax.jit(lambda x: (layer(x), jax.grad(lambda x: jnp.sum(layer(x)))(x)))(x)
    assert y.shape == gradient.shape == x.shape
    assert layer(x).shape == x.shape


def test_an_empty_batch_has_groups_and_ghosts():
    assert F.group_norm(jnp.ones((0, 4, 16)), num_groups=4).shape == (0, 4, 16)
    y, whole = F.ghost_batch_norm(jnp.ones((0, 4)), ghost_batch_size=2, mask=jnp.ones((0, 1), bool))
    assert y.shape == (0, 4)
    assert whole.count == 0
    assert whole.mean.tolist() == whole.var.tolist() == [0.0] * 4


X = normal((4, 3, 5, 6), mean=2.0)
close = lambda a, b, tol=1e-6: np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def test_layer_norm_over_all_axes_is_group_norm_of_one_group():
    close(F.layer_norm(X, reduction_axes=(1, 2, 3)), F.group_norm(X, num_groups=1))


def test_instance_norm_is_group_norm_of_single_channels():
    close(F.instance_norm(X), F.group_norm(X, num_groups=6))
    close(F.instance_norm(X), F.group_norm(X, num_groups=None, group_size=1))


def test_normalized_output_does_not_feel_an_affine_map_of_the_input():
    for norm in (
        F.layer_norm,
        F.instance_norm,
        lambda x, epsilon: F.batch_norm(x, epsilon=epsilon)[0],
    ):
        close(norm(3 * X + 7, epsilon=0.0), norm(X, epsilon=0.0), 1e-5)
    close(F.rms_norm(3 * X, epsilon=0.0), F.rms_norm(X, epsilon=0.0))


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
