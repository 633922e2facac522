"""Sophia with hyperparameters that change."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk


def run(tx):
    """Four steps on a quadratic."""
    w = jnp.array([1.0, -2.0])
    state, rows = tx.init(w), []
    for _ in range(4):
        w, state = tx.apply(w, state, 2 * w, value_fn=lambda w: jnp.sum(w**2))
        rows.append(w)
    return jnp.stack(rows)


@pytest.mark.parametrize("name", ["b1", "b2", "eps", "gamma", "clip_threshold", "weight_decay"])
def test_a_constant_schedule_equals_the_number(name):
    tx = gk.sophia(0.1, 0.8, 0.9, 1e-3, 0.1, gamma=0.5, clip_threshold=0.5, update_interval=2)
    scheduled = tx.replace(**{name: gk.constant_schedule(tx.arguments[name])})
    np.testing.assert_allclose(run(scheduled), run(tx), rtol=1e-5)


def test_a_decay_may_be_an_array():
    tx = gk.sophia(0.1, 0.8)
    np.testing.assert_allclose(run(tx.replace(b1=jnp.float32(0.8))), run(tx), rtol=1e-5)


def test_a_hessian_that_is_no_transform_is_refused():
    with pytest.raises(TypeError, match=r"hessian_diagonal_fn=3 is not a transform\. Expected a"):
        gk.sophia(0.1, hessian_diagonal_fn=3)
