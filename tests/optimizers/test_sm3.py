"""SM3 by its paper, scalars included, and on more shapes than the table of parity has."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

import gradkit as gk
from tests.optimizers.trajectories import assert_same, gradients, matrices, start, updates_of


def test_sm3_follows_the_paper_s_second_algorithm():
    theta, grads = matrices(20)
    with jax.enable_x64(True):
        ours = updates_of(
            gk.sm3(0.1, momentum=0.5), list(map(jnp.asarray, grads)), jnp.asarray(theta)
        )
    rows, columns, m = np.zeros(4), np.zeros(3), 0.0
    for g, update in zip(grads, ours):
        nu = np.minimum(rows[:, None], columns) + g**2
        rows, columns = nu.max(1), nu.max(0)
        m = 0.5 * m + 0.5 * g / np.sqrt(nu + 1e-8)
        np.testing.assert_allclose(update, -0.1 * m, 1e-12)


def test_sm3_takes_scalars_and_is_adagrad_there():
    # optax: IndexError (#1736)
    sm3, adagrad = gk.sm3(0.1, momentum=0.0), gk.adagrad(0.1, 0.0, 1e-8)
    for w in (jnp.float32(1.0), jnp.ones(3)):
        a, b = (updates_of(tx, [w, 2 * w, -w], w) for tx in (sm3, adagrad))
        np.testing.assert_allclose(np.stack(a), np.stack(b), 1e-6)


def test_the_cover_of_a_cube_is_optax_s():
    plain = lambda tree: {name: leaf for name, leaf in tree.items() if np.ndim(leaf)}
    assert_same(
        gk.scale_by_sm3(0.8, 0.95, 1e-3),
        optax.scale_by_sm3(0.8, 0.95, 1e-3),
        [plain(g) for g in gradients()],  # optax takes no scalars
        plain(start()),
    )
