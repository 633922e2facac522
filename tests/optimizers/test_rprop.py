"""Rprop by its paper."""

import jax
import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import follow, numbers, one_leaf


def test_rprop_is_the_rule_of_its_paper():
    grads, wanted = one_leaf(), []
    length, before = np.full(3, 0.1), np.zeros(3)
    for gradient in grads:
        agree = gradient * before
        length = np.where(
            agree > 0,
            np.minimum(length * 1.3, 2.0),
            np.where(agree < 0, np.maximum(length * 0.4, 1e-3), length),
        )
        before = np.where(agree < 0, 0.0, gradient)
        wanted.append(-length * np.sign(before))
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.rprop(0.1, 0.4, 1.3, 1e-3, 2.0), grads), wanted, rtol=1e-10
        )


def test_1725_rprop_gives_this_step_its_own_update():
    np.testing.assert_allclose(
        np.abs(numbers(gk.rprop(0.1), (1, 1, 1, -1, -1))), [0.1, 0.12, 0.144, 0, 0.072], rtol=1e-6
    )
