"""MARS by its paper."""

import jax
import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import adam_of, follow, one_leaf


def test_mars_is_adam_on_corrected_and_clipped_gradients():
    grads = one_leaf()
    before = np.concatenate([grads[:1], grads[:-1]])
    corrected = grads + 0.05 * 0.8 / 0.2 * (grads - before)
    corrected /= np.maximum(1, np.linalg.norm(corrected, axis=1, keepdims=True) / 0.7)
    wanted = [-0.1 * u for u in adam_of(corrected, 0.8, 0.9, 1e-6)]
    with jax.enable_x64(True):
        got = follow(gk.mars(0.1, 0.8, 0.9, 1e-6, gamma=0.05, max_norm=0.7), grads)
        moving = follow(
            gk.mars(
                0.1, gk.constant_schedule(0.8), 0.9, 1e-6, gamma=lambda step: 0.05, max_norm=0.7
            ),
            grads,
        )
    np.testing.assert_allclose(got, wanted, rtol=1e-10)
    np.testing.assert_allclose(moving, got, rtol=1e-10)
