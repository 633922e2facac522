"""Normalization of updates."""

import gradkit as gk
from tests.optimizers.trajectories import numbers


def test_1743_a_zero_gradient_is_normalized_to_zero():
    assert numbers(gk.normalize(), (0.0,)) == [0.0]
