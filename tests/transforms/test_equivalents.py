"""Transforms that are another one in other words, clips by unit, and masks judged at init."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

GRADS = {"a": jnp.array([3.0, -4.0]), "b": jnp.array([[12.0]])}
ZEROS = jax.tree.map(jnp.zeros_like, GRADS)


def once(tx, grads=GRADS, params=GRADS):
    return tx.update(grads, tx.init(params), params)[0]


def same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y), a, b)


def test_normalize_is_normalize_by_update_norm_without_eps():
    for grads in (GRADS, ZEROS):
        same(once(gk.normalize(), grads), once(gk.normalize_by_update_norm(1.0, 0.0), grads))
    np.testing.assert_allclose(once(gk.normalize())["b"], 12 / 13, 1e-6)


def test_l2_penalty_is_weight_decay_in_another_place():
    same(once(gk.add_l2_penalty(0.5)), once(gk.add_decayed_weights(0.5)))


def test_the_clips_by_norm_agree_on_one_leaf_and_stay_finite():
    leaf = {"a": GRADS["a"]}
    for bound in (1.0, 5.0, 10.0, float("inf")):
        clips = [gk.clip_by_block_norm(bound), gk.clip_by_global_norm(bound)]
        results = [once(tx, leaf, leaf) for tx in clips]
        np.testing.assert_allclose(results[0]["a"], results[1]["a"], 1e-6)
        np.testing.assert_allclose(jnp.linalg.norm(results[0]["a"]), min(5.0, bound), 1e-6)
        for tx in clips:
            slope = jax.grad(lambda g, tx=tx: once(tx, {"a": g}, leaf)["a"].sum())
            assert jnp.isfinite(slope(jnp.zeros(2))).all()


def test_adaptive_clip_takes_axes_that_the_leaf_has():
    w = jnp.ones((2, 3))
    same(once(gk.adaptive_grad_clip(0.1, axis=(0,)), w, w), once(gk.adaptive_grad_clip(0.1), w, w))
    same(once(gk.adaptive_grad_clip(0.1, axis=-2), w, w), once(gk.adaptive_grad_clip(0.1), w, w))
    with pytest.raises(ValueError, match=r"adaptive_grad_clip: axis=2 is not in the leaf float32"):
        once(gk.adaptive_grad_clip(0.1, axis=2), w, w)
    with pytest.raises(TypeError, match=r"adaptive_grad_clip: axis='rows' is not an axis\."):
        gk.adaptive_grad_clip(0.1, axis="rows")
    deep = jnp.ones((1, 2) * 3)
    with pytest.raises(ValueError, match=r"the leaf float32\[1, 2, 1, 2, 1, 2\] has rank 6\."):
        once(gk.adaptive_grad_clip(0.1), deep, deep)


PENALTIES = [
    lambda mask: gk.add_decayed_weights(0.1, mask),
    lambda mask: gk.add_decayed_weights(0.0, mask),
    lambda mask: gk.add_l1_penalty(0.1, mask),
    lambda mask: gk.add_l2_penalty(0.1, mask),
    lambda mask: gk.add_elastic_net_penalty(0.1, 0.1, mask),
    lambda mask: gk.add_smoothed_l1_penalty(0.1, mask=mask),
    lambda mask: gk.adamw(0.1, mask=mask),
]


@pytest.mark.parametrize("make", PENALTIES, ids=range(7))
def test_masks_of_penalties_are_judged_at_init(make):
    with pytest.raises(ValueError, match=r"mask=by_path\('c'\) matches no parameter\."):
        make(gk.by_path("c")).init(GRADS)
    with pytest.raises(TypeError, match=r"mask='a' is not a bool\. .* Did you mean by_path\('a'\)"):
        make("a").init(GRADS)
    same(once(make(gk.by_rank(5)), ZEROS), once(make({"a": False, "b": False}), ZEROS))


def test_a_percentile_is_checked_in_an_array_too():
    for bad in (101.0, np.float32(-1), jnp.float32(200), jnp.array([5.0, 101.0])):
        with pytest.raises(ValueError, match=r"clip_by_percentile: percentile=.* is out of range"):
            gk.clip_by_percentile(bad)
    with pytest.raises(ValueError, match=r"reduce_on_plateau: factor=.* is out of range"):
        gk.reduce_on_plateau(jnp.float32(1.5))
