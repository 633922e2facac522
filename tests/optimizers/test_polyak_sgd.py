"""The Polyak step: its scale and its loss."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.optimizers.trajectories import numbers


def test_polyak_sgd_steps_scaling_times_as_far():
    # optax measures the norm of the scaled gradient: there half the scaling is twice the step.
    grads = (1.0, -0.5, 2.0, 0.25)
    full, half = (numbers(gk.polyak_sgd(1e9, scaling), grads, value=0.7) for scaling in (1.0, 0.5))
    np.testing.assert_allclose(half, np.array(full) / 2, rtol=1e-6)


def test_1500_a_loss_may_be_a_python_number():
    np.testing.assert_allclose(numbers(gk.polyak_sgd(), (2.0,), value=1), [-0.5])


def test_polyak_asks_for_the_loss():
    tx, w = gk.polyak_sgd(), jnp.ones(2)
    with pytest.raises(TypeError, match="scale_by_polyak: the extra argument 'value' is missing"):
        tx.update(w, tx.init(w))
