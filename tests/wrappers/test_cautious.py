"""Cautious updates by their paper."""

import jax
import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import adam_of, follow, one_leaf


def test_cautious_adam_is_algorithm_2_of_its_paper():
    grads = one_leaf(size=5)
    wanted = []
    for g, u in zip(grads, adam_of(grads, 0.8, 0.9, 1e-6), strict=True):
        agree = u * g > 0
        wanted.append(-0.1 * u * agree * 5 / (agree.sum() + 1))
    with jax.enable_x64(True):
        whole = follow(gk.cautious(gk.adam(0.1, 0.8, 0.9, 1e-6)), grads)
        before_the_rate = follow(
            gk.chain(
                gk.cautious(gk.scale_by_adam(0.8, 0.9, 1e-6), direction=True),
                gk.scale_by_learning_rate(0.1),
            ),
            grads,
        )
    np.testing.assert_allclose(whole, wanted, rtol=1e-10)
    np.testing.assert_allclose(before_the_rate, wanted, rtol=1e-10)
    assert any((u == 0).any() for u in wanted)
