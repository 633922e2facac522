"""Grokfast by its paper."""

import jax
import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import follow, one_leaf


def test_grokfast_adds_an_average_that_begins_with_the_first_gradient():
    grads, wanted, h = one_leaf(), [], None
    for g in grads:
        h = g if h is None else 0.9 * h + 0.1 * g
        wanted.append(-0.1 * (g + 1.5 * h))
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.chain(gk.grokfast(0.9, 1.5), gk.sgd(0.1)), grads), wanted, rtol=1e-10
        )
