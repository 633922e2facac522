"""Clipped and noisy sums of gradients per example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

SHAPES = {"matrix": (4, 3), "vector": (3,), "scalar": ()}


def per_example(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(6, *shape)) for name, shape in SHAPES.items()}


def test_every_example_is_clipped_by_its_own_joint_norm():
    grads = per_example()
    norms = np.sqrt(sum(np.sum(g.reshape(6, -1) ** 2, 1) for g in grads.values()))
    with jax.enable_x64(True):
        total, clipped = gk.per_example_global_norm_clip(jax.tree.map(jnp.asarray, grads), 3.5)
    factors = np.minimum(1, 3.5 / norms)
    assert 0 < int(clipped) == np.sum(norms > 3.5) < 6
    for name, g in grads.items():
        np.testing.assert_allclose(total[name], np.tensordot(factors, g, 1), 1e-12)


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("bound", [0.0, 1.5, float("inf")])
def test_per_example_clips_are_optax_s(uniform, bound):
    optax = pytest.importorskip("optax")
    grads = {**per_example(), "silent": np.zeros((6, 2))}
    with jax.enable_x64(True):
        grads = jax.tree.map(jnp.asarray, grads)
        ours = (
            gk.per_example_global_norm_clip(grads, bound),
            gk.per_example_layer_norm_clip(grads, bound, uniform),
        )
        with jax.numpy_dtype_promotion("standard"):
            theirs = (
                optax.per_example_global_norm_clip(grads, bound),
                optax.per_example_layer_norm_clip(grads, bound, uniform),
            )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-15), ours, theirs)


def test_dpsgd_is_optax_s_noise_included():
    contrib = pytest.importorskip("optax").contrib
    with jax.enable_x64(True):
        grads, w = (
            jax.tree.map(jnp.asarray, per_example()),
            jax.tree.map(lambda g: jnp.asarray(g[0]), per_example()),
        )
        ours = gk.dpsgd(0.1, 1.5, 0.7, 3, momentum=0.9, nesterov=True)
        with pytest.warns(DeprecationWarning, match="seed"):
            theirs = contrib.dpsgd(0.1, 1.5, 0.7, 3, momentum=0.9, nesterov=True)
        state, other = ours.init(w), theirs.init(w)
        for _ in range(3):
            a, state = ours.update(grads, state)
            with jax.numpy_dtype_promotion("standard"):
                b, other = theirs.update(grads, other)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12), a, b)


def test_the_noise_has_the_deviation_that_was_asked_for():
    tx = gk.differentially_private_aggregate(2.0, 3.0, key=jax.random.key(1))
    updates, state = tx.update(jnp.zeros((4, 20_000)), tx.init(jnp.zeros(20_000)))
    assert abs(float(jnp.std(updates)) - 2.0 * 3.0 / 4) < 0.03
    assert not np.array_equal(tx.update(jnp.zeros((4, 20_000)), state)[0], updates)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: gk.per_example_global_norm_clip(
                {"a": jnp.ones((2, 3)), "b": jnp.ones((3, 3))}, 1.0
            ),
            r"per_example_global_norm_clip, b: needs per-example gradients, "
            r"with a leading axis of examples of 2; got float32\[3, 3\]",
        ),
        (
            lambda: gk.per_example_layer_norm_clip(jnp.ones(()), 1.0),
            "per_example_layer_norm_clip, the tree's only leaf: needs per-example",
        ),
    ],
)
def test_gradients_that_are_not_per_example_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
