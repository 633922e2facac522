"""Adan by its paper; what optax has otherwise."""

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import follow, numbers, one_leaf


def test_adan_is_algorithm_1_of_its_paper():
    # The paper's β weigh what is new: 0.02, 0.08, 0.01 for b1, b2, b3 of 0.98, 0.92, 0.99.
    beta1, beta2, beta3, grads = 0.05, 0.2, 0.1, one_leaf()
    m = v = n = np.zeros(3)
    wanted, before = [], grads[0]
    for t, g in enumerate(grads, 1):
        m = (1 - beta1) * m + beta1 * g
        v = (1 - beta2) * v + beta2 * (g - before)
        n = (1 - beta3) * n + beta3 * (g + (1 - beta2) * (g - before)) ** 2
        m_hat, v_hat, n_hat = (
            m / (1 - (1 - beta1) ** t),
            v / (1 - (1 - beta2) ** t),
            n / (1 - (1 - beta3) ** t),
        )
        wanted.append(-0.1 * (m_hat + (1 - beta2) * v_hat) / (np.sqrt(n_hat + 1e-8) + 1e-6))
        before = g
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.adan(0.1, 0.95, 0.8, 0.9, 1e-6), grads), wanted, rtol=1e-10
        )


def test_1715_adan_weighs_the_difference_with_b2():
    # g = 1, then 2: the difference 1 weighs b2 = 0.9, in the direction and within the square.
    first, second = numbers(gk.scale_by_adan(b1=0.0, b2=0.9, b3=0.0, eps=0.0), (1, 2))
    debiased = 0.1 / (1 - 0.9**2)
    np.testing.assert_allclose((first, second), (1, (2 + 0.9 * debiased) / (2 + 0.9)), rtol=1e-6)


def test_adan_squares_the_magnitude_of_complex_gradients():
    turned = jnp.exp(0.7j).astype(jnp.complex64)
    tx = gk.adan(0.1)
    real, imaginary = jnp.asarray([1.0, -2.0, 0.5]), jnp.complex64(0)
    state, other = tx.init(real[0]), tx.init(imaginary)
    for g in real:
        one, state = tx.update(g, state, jnp.float32(0))
        two, other = tx.update(g.astype(jnp.complex64) * turned, other, imaginary)
        np.testing.assert_allclose(two, np.asarray(one) * np.asarray(turned), rtol=1e-5)
