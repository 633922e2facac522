"""Adam-mini: one second moment per block."""

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import matrices, updates_of


def test_adam_mini_is_adam_with_the_mean_square_of_a_block():
    theta, grads = matrices(20)
    for axis, over in ((None, (0, 1)), (0, (0,)), (-1, (1,))):
        with jax.enable_x64(True):
            ours = updates_of(
                gk.adam_mini(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1, axis=axis),
                list(map(jnp.asarray, grads)),
                jnp.asarray(theta),
            )
        w, m, v = theta, 0.0, 0.0
        for t, (g, update) in enumerate(zip(grads, ours), 1):
            m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * np.mean(g**2, over, keepdims=True)
            expected = -0.1 * (m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.9**t)) + 1e-3) + 0.1 * w)
            np.testing.assert_allclose(update, expected, 1e-11)
            w = w + expected


def test_adam_mini_keeps_one_number_per_block():
    state = gk.adam_mini(0.1, axis=0).init({"kernel": jnp.zeros((4, 3)), "bias": jnp.zeros(3)})
    kept = state.inner["scale_by_adam_mini"]["preconditioner"]["average"]
    assert {name: leaf.size for name, leaf in kept.items()} == {"kernel": 3, "bias": 1}
