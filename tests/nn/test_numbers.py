"""The numbers promised: against float64, against autodiff, under masks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    assert (
        np.abs(np.asarray(F.layer_norm(x)) - oracle(x, (1,), 1e-6)).max() < 1e-5
    )  # Flax's default ε is a hundredth of σ² here


def test_layer_norm_at_ten_thousand_is_right_to_a_hundredth():
    x = normal((64, 512), 1e4, 0.01)
    assert np.abs(np.asarray(F.layer_norm(x, epsilon=1e-9)) - oracle(x, (1,), 1e-9)).max() < 1e-5


@each
@pytest.mark.parametrize("mean", [0, 100, 1e4])
def test_float32_is_right_to_rounding_wherever_the_mean_is(name, mean):
    layer, axes, use_mean = LAYERS[name]
    x = normal(SHAPE, mean)
    np.testing.assert_allclose(
        np.asarray(layer(x)), oracle(x, axes, 1e-6, use_mean), rtol=2e-6, atol=2e-6
    )


@pytest.mark.parametrize(
    "how",
    [jax.jit, lambda f: f, lambda f: lambda x: [y[0] for y in jax.vmap(f)(x[None])]],
    ids=["jit", "eager", "vmap"],
)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("mean", [0, 1.9, 2.1, 100, 1e4])
def test_moments_of_large_inputs_are_exact_on_either_road(mean, axis, how):
    x = normal((256, 512), mean).at[3, 4].add(-mean)  # one value of another kind
    assert "cond" in str(
        jax.make_jaxpr(lambda x: F.moments(x, axis))(x)
    )  # large enough for the choice
    _, got, var = how(lambda x: F.moments(x, axis))(x)
    wide = np.asarray(x, np.float64)
    np.testing.assert_allclose(got, wide.mean(axis), rtol=3e-7, atol=3e-7)
    np.testing.assert_allclose(var, wide.var(axis), rtol=5e-6)


def test_one_row_far_from_zero_among_many_is_exact():
    x = normal((512, 256)).at[7].multiply(0.01).at[7].add(100)
    _, _, var = jax.jit(lambda x: F.moments(x, 1))(x)
    np.testing.assert_allclose(var, np.asarray(x, np.float64).var(1), rtol=5e-6)
    hidden = jax.jit(
        lambda x: F.moments(x.at[7].set(jnp.nan), 1, mask=jnp.ones((512, 1), bool).at[7].set(False))
    )(x)
    assert np.isfinite(hidden.mean).all()
    assert hidden.var[7] == 0


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
    layer, axes, use_mean = LAYERS[name]
    x = normal(SHAPE, 3).astype(jnp.bfloat16)
    y = layer(x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        np.asarray(y, np.float64), oracle(x.astype(jnp.float32), axes, 1e-6, use_mean), rtol=2**-8
    )


@each
def test_a_mask_hides_whatever_is_under_it_also_from_the_gradient(name):
    if name == "weight":
        return
    layer, axes, use_mean = LAYERS[name]
    x = normal(SHAPE, 5)
    mask = np.random.default_rng(1).random((4, 5, 1)) < 0.6
    mask[:, 0] = True
    x_bad = jnp.where(jnp.asarray(mask), x, jnp.nan)
    mask = jnp.asarray(mask)
    y = np.where(mask, layer(x_bad, mask=mask), 0)
    np.testing.assert_allclose(
        y, np.where(mask, oracle(x, axes, 1e-6, use_mean, mask), 0), rtol=1e-5, atol=1e-5
    )
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(jnp.where(mask, layer(x, mask=mask), 0) ** 3)))
    got, wanted = np.asarray(gradient(x_bad)), np.asarray(gradient(x))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    assert not np.where(mask, 0, got).any()


@each
def test_all_masked_is_finite(name):
    if name == "weight":
        return
    layer = LAYERS[name][0]
    loss = lambda x: jnp.sum(layer(x, mask=jnp.zeros(SHAPE, bool)))
    value, gradient = jax.jit(jax.value_and_grad(loss))(normal(SHAPE, 5))
    assert bool(jnp.isfinite(value))
    assert bool(jnp.all(jnp.isfinite(gradient)))


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


def test_statistics_have_their_own_derivative():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))
        loss = lambda mean, var: jnp.sum(jnp.sin(mean) * var**2)
        ours = jax.jit(jax.grad(lambda x: loss(*F.batch_norm(x)[1][1:])))
        np.testing.assert_allclose(
            ours(x), jax.jit(jax.grad(lambda x: loss(jnp.mean(x, 0), jnp.var(x, 0))))(x), rtol=1e-12
        )


@pytest.mark.parametrize("norm", [F.layer_norm, F.rms_norm], ids=["layer", "rms"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=str)
def test_the_backward_pass_keeps_the_input_and_three_numbers_a_row(norm, dtype):
    rows, width = 64, 256
    x, scale = jnp.ones((rows, width), dtype), jnp.ones(width, dtype)
    _, pull = jax.vjp(lambda x, scale: norm(x, scale), x, scale)
    kept = {id(leaf): leaf.nbytes for leaf in jax.tree.leaves(pull) if hasattr(leaf, "nbytes")}
    assert sum(kept.values()) <= x.nbytes + scale.nbytes * 2 + 3 * rows * 4


def test_moments_under_unequal_masks_and_merged_from_parts():
    x = normal((6, 8), 1e3, 0.1)
    mask = np.random.default_rng(3).random((6, 8)) < 0.5
    mask[2] = False
    parts = F.moments(x, 1, mask=jnp.asarray(mask))
    assert parts.count[2] == 0
    assert parts.mean[2] == parts.var[2] == 0
    whole = F.merge(parts)
    seen = np.asarray(x, np.float64)[mask]
    np.testing.assert_allclose(whole.mean, seen.mean(), rtol=1e-7)
    np.testing.assert_allclose(
        whole.var, seen.var(), rtol=5e-4
    )  # the parts' means are float32, a thousandth of a deviation apart
    assert int(whole.count) == mask.sum()
    np.testing.assert_allclose(
        F.moments(x, (0, 1), mask=jnp.asarray(mask)).unbiased_var, seen.var(ddof=1), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: F.layer_norm(x, reduction_axes=3),
            "layer_norm, reduction_axes: needs axes of an input of 3 dimensions, from -3 to 2; got 3.",
        ),
        (
            lambda x: F.layer_norm(x, mask=jnp.ones((4, 5), bool)),
            "layer_norm, mask: needs a mask that broadcasts to the input's shape [4, 5, 6]",
        ),
        (
            lambda x: F.layer_norm(x, jnp.ones(5)),
            "layer_norm, scale: needs a parameter of shape [6] for an input of shape [4, 5, 6]; got float32[5].",
        ),
        (
            lambda x: F.layer_norm(x, epsilon=-1.0),
            "layer_norm, epsilon: needs a finite number >= 0; got -1.0.",
        ),
        (
            lambda x: F.layer_norm(x, dtype=jnp.int32),
            "layer_norm, dtype: needs a floating or complex dtype",
        ),
        (
            lambda x: F.batch_norm(x[:1, :1]),
            "batch_norm: needs more than one value per channel in training; got an input of shape [1, 1, 6].",
        ),
        (
            lambda x: F.instance_norm(x, feature_axes=0),
            "instance_norm, feature_axes: needs feature axes other than the first",
        ),
        (
            lambda x: F.group_norm(x, num_groups=4),
            "group_norm, num_groups: needs a divisor of the 6 channels; got 4. Choose one of 1, 2, 3, 6.",
        ),
        (
            lambda x: F.group_norm(x, num_groups=2, reduction_axes=1),
            "group_norm, reduction_axes: needs the last axis",
        ),
        (
            lambda x: F.ghost_batch_norm(x, ghost_batch_size=3),
            "ghost_batch_norm, ghost_batch_size: needs a divisor of the batch of 4; got 3.",
        ),
        (
            lambda x: F.global_response_norm(x, axis=0),
            "global_response_norm, axis: needs a channel axis other than the first",
        ),
        (
            lambda x: F.spectral_norm(x, jnp.ones(6)),
            "spectral_norm, u: needs a kernel of two axes or more and u of shape [1, 6]",
        ),
        (
            lambda x: F.fold_batch_norm(x, None, jnp.ones(5), jnp.ones(6)),
            "fold_batch_norm, mean: needs one value per output of the kernel [4, 5, 6]",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError)) as error:
        call(jnp.ones(SHAPE))
    assert str(error.value).startswith(message)


def test_integers_are_counted_as_numbers():
    y = F.layer_norm(jnp.array([[1, 3]]), epsilon=0.0)
    assert y.tolist() == [[-1.0, 1.0]]


def test_epsilon_stays_wide_in_half_precision():
    y = functools.partial(F.layer_norm, epsilon=1e-8)(jnp.zeros((2, 4), jnp.float16))
    assert not bool(jnp.any(jnp.isnan(y)))


def test_huge_values_are_normalized_whatever_their_squares():
    x = np.float32(1e19) * (
        1 + 0.01 * np.asarray(normal((512, 256)))
    )  # the sum of 256 squares overflows, that of the deviations' does not
    np.testing.assert_allclose(
        np.asarray(F.layer_norm(jnp.asarray(x))), oracle(x, (1,), 1e-6), rtol=2e-5, atol=2e-5
    )
    _, mean, var = jax.jit(lambda x: F.moments(x, 1))(jnp.asarray(x))
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(1), rtol=2e-7)
    np.testing.assert_allclose(var, x.astype(np.float64).var(1), rtol=1e-5)


@pytest.mark.parametrize("how", [jax.jit, lambda f: f], ids=["jit", "eager"])
def test_tiny_values_keep_their_mean_though_their_squares_vanish(how):
    x = np.float32(1e-25) * (1 + np.float32(1e-5) * np.asarray(normal((512, 256))))
    y = np.asarray(how(functools.partial(F.layer_norm, epsilon=1e-30))(jnp.asarray(x)), np.float64)
    wanted = oracle(x, (1,), 1e-30)
    assert np.abs(y - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_dead_channels_are_no_reason_for_the_long_road():
    x = (
        normal((512, 256)).at[:, 3].set(0)
    )  # nothing to lose: about a shift of zero both roads are one
    _, mean, var = F.moments(x, 0)
    assert mean[3] == var[3] == 0
    assert np.array_equal(mean, jnp.sum(x, 0) / 512)


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


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf], ids=str)
@pytest.mark.parametrize("name", HIDING)
def test_what_a_mask_hides_is_in_no_derivative_of_any_order(name, bad):
    mask = jnp.asarray(np.random.default_rng(1).random((4, 5, 1)) < 0.6).at[:, 0].set(True)
    x, weight, scale, bias = (
        normal(SHAPE, 2),
        normal(SHAPE, seed=1),
        1 + normal(6, 0, 0.1),
        normal(6, seed=2),
    )

    def loss(x, scale, bias):
        return jnp.sum(jnp.where(mask, HIDING[name](x, scale, bias, mask), 0) ** 2 * weight)

    first = jax.grad(loss, (0, 1, 2))
    second = jax.grad(lambda *a: sum(jnp.sum(jnp.sin(g)) for g in first(*a)), (0, 1, 2))
    forward = lambda *a: jax.jvp(first, a, (jnp.where(mask, weight, 0), scale, bias))[1]
    everything = jax.jit(lambda *a: (first(*a), second(*a), forward(*a)))
    got, wanted = (
        jax.tree.leaves(everything(jnp.where(mask, x, hidden), scale, bias)) for hidden in (bad, 0)
    )
    for ours, clean in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours, clean, rtol=1e-4, atol=1e-5)


def test_moments_of_what_a_mask_shows_have_finite_derivatives():
    x, mask = (
        jnp.array([[1.0, 2.0], [3.0, 5.0], [jnp.nan, jnp.nan]]),
        jnp.array([[True], [True], [False]]),
    )
    gradient = jax.grad(lambda x: F.moments(x, 0, mask=mask).var.sum())(x)
    np.testing.assert_allclose(gradient, [[-1, -1.5], [1, 1.5], [0, 0]], rtol=1e-6)
    large = jnp.concatenate([normal((512, 256)), jnp.full((1, 256), jnp.nan)])
    of = lambda x: F.moments(x, 0, mask=jnp.arange(513)[:, None] < 512).var.sum()
    assert bool(jnp.isfinite(jax.jit(jax.grad(of))(large)).all())


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
BARE = {"batch": lambda x, **k: F.batch_norm(x, **k)[0], "layer": F.layer_norm, "rms": F.rms_norm, "instance": F.instance_norm,
        "group": lambda x, **k: F.group_norm(x, num_groups=1, **k), "weight": F.standardize_weight}  # fmt: skip


@pytest.mark.parametrize("name", EPSILONS)
def test_epsilon_may_be_traced_and_has_its_derivative(name):
    layer, x = BARE.get(name, EPSILONS[name][0]), normal(SHAPE, 1)
    f = jax.jit(lambda e: jnp.sum(layer(x, epsilon=e) ** 3))
    np.testing.assert_allclose(f(0.1), jnp.sum(layer(x, epsilon=0.1) ** 3), rtol=1e-5)
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(x, np.float64))
        if name in {"renorm", "statistics"}:
            return  # r is a constant to the gradient, and the statistics above are float32
        got = jax.grad(lambda e: jnp.sum(layer(x, epsilon=e) ** 3))(0.1)
        difference = (
            jnp.sum(layer(x, epsilon=0.1 + 1e-6) ** 3) - jnp.sum(layer(x, epsilon=0.1 - 1e-6) ** 3)
        ) / 2e-6
        np.testing.assert_allclose(got, difference, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(BARE.keys() - {"weight"}))
def test_without_epsilon_what_does_not_vary_becomes_zero(name):
    for mask in (None, jnp.zeros((4, 5, 1), bool)):
        if name == "rms" and mask is None:
            continue
        value, gradient = jax.value_and_grad(
            lambda x, mask=mask: jnp.sum(BARE[name](x, epsilon=0.0, mask=mask))
        )(jnp.ones(SHAPE))
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("name", EPSILONS)
def test_an_empty_batch_stays_empty(name):
    layer = BARE.get(name, EPSILONS[name][0])
    x = jnp.ones((0, 5, 6))
    assert layer(x).shape == x.shape
    assert jax.grad(lambda x: jnp.sum(layer(x)))(x).shape == x.shape


def test_an_empty_batch_has_groups_and_ghosts():
    assert F.group_norm(jnp.ones((0, 4, 16)), num_groups=4).shape == (0, 4, 16)
    y, whole = F.ghost_batch_norm(jnp.ones((0, 4)), ghost_batch_size=2, mask=jnp.ones((0, 1), bool))
    assert y.shape == (0, 4)
    assert whole.count == 0
    assert whole.mean.tolist() == whole.var.tolist() == [0.0] * 4


def test_a_first_part_of_nothing_does_not_round_the_merged_moments():
    whole = F.merge(
        F.Moments(
            jnp.array([0.0, 2.0, 2.0]),
            jnp.array([[1e9], [1.0], [3.0]]),
            jnp.array([[0.0], [1.0], [1.0]]),
        )
    )
    assert (float(whole.count), float(whole.mean[0]), float(whole.var[0])) == (4, 2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: F.layer_norm(x, use_mean=False),
            "layer_norm, use_mean: needs arguments that it has; got use_mean=False. Known: axis_index_groups, axis_name.",
        ),
        (
            lambda x: F.batch_norm(x, axis_nam="batch"),
            "batch_norm, axis_nam: needs arguments that it has; got axis_nam='batch'. Did you mean 'axis_name'?",
        ),
        (
            lambda x: F.layer_norm(x, epsilon=jnp.ones(6)),
            "layer_norm, epsilon: needs one number; got float32[6].",
        ),
        (
            lambda x: F.group_norm(x[0, 0], num_groups=2),
            "group_norm, x: needs an input of two axes or more, batch first and channels last; got float32[6].",
        ),
        (
            lambda x: F.batch_renorm(x, x[0, 0], x[0, 0], r_max=0.5),
            "batch_renorm, r_max: needs a number >= 1; got 0.5. 1, with d_max=0, is batch norm",
        ),
    ],
)
def test_bad_options_are_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError)) as error:
        call(jnp.ones(SHAPE))
    assert str(error.value).startswith(message)
