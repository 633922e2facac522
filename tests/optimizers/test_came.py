"""CAME by its paper."""

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import matrices, updates_of


def test_came_follows_the_paper():
    theta, grads = matrices(20)
    with jax.enable_x64(True):
        ours = updates_of(
            gk.came(0.1, 0.8, 0.9, 0.95, 1e-20, 1e-10, 0.7, 0.1),
            list(map(jnp.asarray, grads)),
            jnp.asarray(theta),
        )
    r, c, rr, cc, m = np.zeros(4), np.zeros(3), np.zeros(4), np.zeros(3), 0.0
    for g, update in zip(grads, ours):
        r, c = 0.9 * r + 0.1 * np.mean(g**2 + 1e-20, 1), 0.9 * c + 0.1 * np.mean(g**2 + 1e-20, 0)
        u = g / np.sqrt(np.outer(r, c) / r.mean())
        u /= max(1.0, np.sqrt(np.mean(u**2)) / 0.7)
        m = 0.8 * m + 0.2 * u
        apart = (u - m) ** 2 + 1e-10
        rr, cc = 0.95 * rr + 0.05 * apart.mean(1), 0.95 * cc + 0.05 * apart.mean(0)
        expected = -0.1 * (m / np.sqrt(np.outer(rr, cc) / rr.mean()) + 0.1 * theta)
        np.testing.assert_allclose(update, expected, 1e-10)
        theta = theta + expected
