"""The cross entropy in chunks of the vocabulary: optax's value and gradients, little memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

chunked = gk.losses.linear_softmax_cross_entropy
plain = gk.softmax_cross_entropy_with_integer_labels
RNG = np.random.default_rng(0)
H, W, Y = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(4, 11)) * 3, RNG.integers(0, 11, (2, 3))
WHERE = np.array([[True, True, False], [True, False, True]])


@pytest.mark.parametrize("size", [1, 4, 11])
def test_values_and_gradients_are_those_of_the_logits_in_full(size):
    def ours(h, kernel):
        loss = chunked(h, kernel, Y, chunk_size=size, where=WHERE, weights=H[..., 0] ** 2)
        return loss.sum(), loss

    def theirs(h, kernel):
        loss = plain(h @ kernel, Y, where=WHERE, weights=H[..., 0] ** 2)
        return loss.sum(), loss

    with jax.enable_x64(True):
        both = jax.jit(
            lambda h, kernel: [
                jax.value_and_grad(f, argnums=(0, 1), has_aux=True)(h, kernel)
                for f in (ours, theirs)
            ]
        )
        mine, other = both(H, W)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, 1e-11, 1e-13)


def test_small_losses_masks_and_labels_that_are_traced():
    h = np.float32([[1.0, 0.0], [1e4, 1e4], [np.nan, 1.0], [1.0, 1.0]])
    kernel = np.float32([[30.0, 0.0, -1.0], [0.0, 1.0, -1.0]])
    labels, where = np.array([0, 1, 99, 7], np.int8), np.array([True, True, False, True])

    @jax.jit
    def run(h, kernel, labels):
        def total(h, kernel):
            loss = chunked(h, kernel, labels, chunk_size=2, where=where)
            return jnp.nansum(loss), loss

        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(h, kernel)

    (_, loss), slopes = run(h, kernel, labels)
    rest = np.exp(-30.0) + np.exp(-31.0)
    np.testing.assert_allclose(loss[0], np.log1p(rest), 1e-6, 0)
    np.testing.assert_allclose(loss[1], 2.9e5, 1e-6)
    assert loss[2] == 0
    assert np.isnan(loss[3])
    assert all(np.isfinite(slope).all() for slope in slopes)
    assert (slopes[0][2] == 0).all()
    # p − 1 = −2e-13 of the label has its digits, where 1 − p would be rounded to 0.
    column = -30 * rest + np.array([0.0, 0.0, -1.0])[2] * np.exp(-31.0)
    np.testing.assert_allclose(slopes[0][0, 0], column, 1e-5, 0)


def test_narrow_arguments_get_narrow_gradients_of_sums_in_float32():
    h, kernel = jnp.asarray(H[0], jnp.bfloat16), jnp.asarray(W, jnp.bfloat16)
    run = jax.jit(
        jax.value_and_grad(lambda h, w: chunked(h, w, Y[0], chunk_size=4).sum(), argnums=(0, 1))
    )
    value, slopes = run(h, kernel)
    exact, wide = run(h.astype(jnp.float32), kernel.astype(jnp.float32))
    np.testing.assert_allclose(value, exact, 1e-6)
    for slope, other in zip(slopes, wide, strict=True):
        assert slope.dtype == jnp.bfloat16
        np.testing.assert_allclose(slope.astype(jnp.float32), other, 0.02, 0.05)


def test_less_memory_is_taken_than_by_the_logits():
    optax = pytest.importorskip("optax")
    tokens, features, classes, size = 256, 16, 4096, 256
    arguments = [
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (
            ((tokens, features), jnp.float32),
            ((features, classes), jnp.float32),
            ((tokens,), jnp.int32),
        )
    ]

    def temporary(loss):
        run = jax.jit(jax.value_and_grad(lambda *a: loss(*a).mean(), argnums=(0, 1)))
        return run.lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    logits = tokens * classes * 4
    theirs = optax.softmax_cross_entropy_with_integer_labels
    full = temporary(lambda h, w, y: theirs(h @ w, y))
    ours = temporary(lambda h, w, y: chunked(h, w, y, chunk_size=size))
    assert full >= logits
    assert ours <= 0.6 * logits
    assert ours < full / 3
