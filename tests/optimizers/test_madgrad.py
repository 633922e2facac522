"""MADGRAD by its paper."""

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import follow, one_leaf


def test_madgrad_is_algorithm_1_of_its_paper():
    grads, wanted = one_leaf(), []
    first = theta = np.array([1.0, -2.0, 0.5])
    total = metric = np.zeros(3)
    for k, gradient in enumerate(grads):
        g = gradient + 0.1 * theta
        weight = (0.05 + 1e-3) * np.sqrt(k + 1)
        total, metric = total + weight * g, metric + weight * g**2
        moved = 0.7 * theta + 0.3 * (first - total / (np.cbrt(metric) + 1e-3))
        wanted.append(moved - theta)
        theta = moved
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.madgrad(0.05, 0.7, 0.1, 1e-3), grads, jnp.asarray(first)), wanted, rtol=1e-9
        )
