"""blackjax: variational inference and particles, which take an optax transform."""

import jax
import jax.numpy as jnp

from tests.conformance.side_by_side import needs

PACKAGE = "blackjax"
blackjax = needs("blackjax")
MEAN = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}


def log_density(position):
    return -0.5 * sum(jnp.sum((position[name] - MEAN[name]) ** 2) for name in MEAN)


def steps(algorithm, state, count):
    step = jax.jit(algorithm.step)
    for key in jax.random.split(jax.random.key(0), count):
        state, _ = step(key, state)
    return state


def test_meanfield_vi(same):
    """Mean-field variational inference of a normal, 50 steps of adam."""

    def job(tx):
        algorithm = blackjax.meanfield_vi(log_density, tx, num_samples=10)
        state = steps(algorithm, algorithm.init(jax.tree.map(jnp.zeros_like, MEAN)), 50)
        return state.mu, jax.tree.map(jnp.exp, state.rho)  # the deviations; ρ itself ends near zero

    same(job, lambda lib: lib.adam(0.05, eps=1e-3))


def test_svgd(same):
    """Stein variational gradient descent with 8 particles, 30 steps of adamw."""

    def job(tx):
        algorithm = blackjax.svgd(jax.grad(log_density), tx)
        particles = {
            "a": jax.random.normal(jax.random.key(1), (8, 2)),
            "b": jnp.linspace(-1.0, 1.0, 8),
        }
        state, step = algorithm.init(particles), jax.jit(algorithm.step)
        for _ in range(30):
            state = step(state)
        return state.particles

    same(job, lambda lib: lib.adamw(0.1), rtol=1e-4)
