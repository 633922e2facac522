"""Mean and variance against float64: large, tiny, masked, merged."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradkit.nn import functional as F  # noqa: N812


def oracle(x, axes, epsilon, use_mean=True, mask=None):
    """Mean 0, variance 1 over the axes, in float64 NumPy."""
    x = np.asarray(x, np.float64)
    seen = np.broadcast_to(True if mask is None else np.asarray(mask), x.shape)
    n = np.maximum(seen.sum(axes, keepdims=True), 1)
    mean = np.where(seen, x, 0).sum(axes, keepdims=True) / n if use_mean else 0.0
    var = (np.where(seen, x - mean, 0) ** 2).sum(axes, keepdims=True) / n
    return (x - mean) / np.sqrt(var + epsilon)


def normal(shape, mean=0.0, deviation=1.0, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(mean, deviation, shape), jnp.float32)


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


def test_statistics_have_their_own_derivative():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))
        loss = lambda mean, var: jnp.sum(jnp.sin(mean) * var**2)
        ours = jax.jit(jax.grad(lambda x: loss(*F.batch_norm(x)[1][1:])))
        np.testing.assert_allclose(
            ours(x), jax.jit(jax.grad(lambda x: loss(jnp.mean(x, 0), jnp.var(x, 0))))(x), rtol=1e-12
        )


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


def test_a_first_part_of_nothing_does_not_round_the_merged_moments():
    whole = F.merge(
        F.Moments(
            jnp.array([0.0, 2.0, 2.0]),
            jnp.array([[1e9], [1.0], [3.0]]),
            jnp.array([[0.0], [1.0], [1.0]]),
        )
    )
    assert (float(whole.count), float(whole.mean[0]), float(whole.var[0])) == (4, 2, 2)
