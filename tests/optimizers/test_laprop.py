"""LaProp by its paper."""

import jax
import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import follow, one_leaf


def test_laprop_divides_before_it_averages():
    grads, wanted = one_leaf(), []
    m = v = np.zeros(3)
    for t, g in enumerate(grads, 1):
        v = 0.9 * v + 0.1 * g**2
        m = 0.8 * m + 0.2 * g / (np.sqrt(v / (1 - 0.9**t)) + 1e-3)
        wanted.append(-0.1 * m / (1 - 0.8**t))
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.laprop(0.1, 0.8, 0.9, 1e-3), grads), wanted, rtol=1e-10
        )
