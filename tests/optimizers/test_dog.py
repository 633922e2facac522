"""DoG and DoWG: the distance from the start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.optimizers.trajectories import matrices, updates_of


def test_dog_measures_the_distance_from_the_start():
    theta, grads = matrices(20)
    with jax.enable_x64(True):
        ours = updates_of(
            gk.dog(0.5, ("heuristic", 0.01), 1e-8),
            list(map(jnp.asarray, grads)),
            jnp.asarray(theta),
        )
    start, farthest, squares = theta, 0.01 * (1 + np.linalg.norm(theta)), 0.0
    for g, update in zip(grads, ours):
        farthest = max(farthest, np.linalg.norm(theta - start))
        squares += np.sum(g**2)
        np.testing.assert_allclose(update, -0.5 * farthest / np.sqrt(squares + 1e-8) * g, 1e-11)
        theta = theta + np.asarray(update)


@pytest.mark.parametrize("make", [gk.dog, gk.dowg])
def test_distance_methods_take_no_root_of_a_negative(make):
    w = jnp.array([1.0, -2.0])
    seen = updates_of(
        make(), [jnp.array([0.0, 0.0]), jnp.array([1e-20, 0.0]), jnp.array([3.0, -4.0])] * 3, w
    )
    assert np.isfinite(np.stack(seen)).all()


def test_weights_loaded_after_init_are_where_training_begins():
    tx, w = gk.dog(init_step=("distance", 1.0)), jnp.array([3.0, 4.0])
    updates, _ = tx.update(w, tx.init(jnp.zeros(2)), w)
    np.testing.assert_allclose(updates, -w / 5, 1e-6)


@pytest.mark.parametrize("make", [gk.dog, gk.dowg])
@pytest.mark.parametrize("decay", [None, 0.1])
def test_a_mask_is_judged_also_without_a_decay(make, decay):
    params = {"w": jnp.ones(2), "b": jnp.ones(1)}
    tx = make(weight_decay=decay, mask=gk.by_path("bias"))
    message = r"do.*\.add_decayed_weights: mask=by_path\('bias'\) matches no parameter\."
    with pytest.raises(ValueError, match=message):
        tx.init(params)
    masked, plain = (make(mask=mask) for mask in (gk.by_path("b"), None))
    assert masked.init(params).inner.keys() == plain.init(params).inner.keys()
    one, other = (tx.update(params, tx.init(params), params)[0] for tx in (masked, plain))
    assert jax.tree.map(jnp.array_equal, one, other) == {"w": True, "b": True}
    groups = gk.describe(masked, params).groups
    assert [group.route for group in groups] == [()]  # nothing decays
