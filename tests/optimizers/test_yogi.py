"""Yogi by its paper."""

import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import numbers


def test_288_yogi_moves_by_the_square_of_the_gradient():
    tx = gk.scale_by_yogi(b1=0.0, b2=0.9, eps=0.0, initial_accumulator_value=0.0)
    v, wanted = 0.0, []
    for t, g in enumerate((3.0, 1.0, 0.5), 1):
        v = v - 0.1 * np.sign(v - g**2) * g**2
        wanted.append(g / np.sqrt(v / (1 - 0.9**t)))
    np.testing.assert_allclose(numbers(tx, (3.0, 1.0, 0.5)), wanted, rtol=1e-5)
