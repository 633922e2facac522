"""Hyperparameters of optimizers as schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.optimizers.trajectories import numbers

MOVING = {
    "scale_by_belief": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-4},
    "scale_by_acprop": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-4},
    "scale_by_yogi": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-4},
    "scale_by_radam": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "threshold": 5.0},
    "scale_by_novograd": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    "scale_by_adan": {"b1": 0.8, "b2": 0.9, "b3": 0.7, "eps": 1e-3},
    "scale_by_adopt": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "clip_value_fn": 2.0},
    "scale_by_ademamix": {"b1": 0.8, "b2": 0.9, "b3": 0.95, "alpha": 2.0},
    "scale_by_simplified_ademamix": {"b1": 0.8, "b2": 0.9, "alpha": 2.0},
    "scale_by_lion": {"b1": 0.8, "b2": 0.9},
    "scale_by_rprop": {"learning_rate": 0.1, "eta_minus": 0.4, "eta_plus": 1.3},
    "scale_by_trust_ratio": {"min_norm": 0.1, "trust_coefficient": 0.5, "eps": 0.1},
    "scale_by_optimistic_gradient": {"alpha": 0.5, "beta": 2.0},
    "scale_by_polyak": {"f_min": 0.1, "max_learning_rate": 0.5, "eps": 0.1},
    "scale_by_madgrad": {"learning_rate": 0.1, "momentum": 0.8},
    "scale_by_asgd": {"learning_rate": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 1.0},
    "laprop": {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9},
    "mars": {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "gamma": 0.1},
    "grokfast": {"alpha": 0.8, "lamb": 2.0},
    "fromage": {"learning_rate": 0.1},
    "clip_by_block_norm": {"max_norm": 0.5},
    "signum": {"learning_rate": 0.1, "beta": 0.8},
}


@pytest.mark.parametrize("name", MOVING)
def test_a_schedule_that_stands_still_is_the_number(name):
    factory, numbers = getattr(gk, name), MOVING[name]
    grads = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
    start = jnp.asarray([1.0, -0.5, 0.25])

    @jax.jit
    def run(tx):
        def body(carry, g):
            params, state = carry
            updates, state = tx.update(g, state, params, value=0.5)
            return (params + 0.1 * updates, state), updates

        return jax.lax.scan(body, (start, tx.init(start)), grads)[1]

    still = {key: gk.constant_schedule(number) for key, number in numbers.items()}
    np.testing.assert_allclose(run(factory(**still)), run(factory(**numbers)), rtol=2e-5, atol=1e-6)


def test_a_scheduled_decay_is_debiased_exactly():
    # Weights of a constant gradient sum to one for any decays: each debiased direction is a sign.
    moving = gk.piecewise_constant_schedule(0.5, {3: 1.98})
    for tx in (
        gk.scale_by_adan(moving, 0.9, moving),
        gk.scale_by_radam(moving, 0.0),
        gk.laprop(1.0, moving, moving),
    ):
        np.testing.assert_allclose(np.abs(numbers(tx, [1.0] * 8)), 1.0, rtol=1e-4)
