"""Optimistic methods: their first step, and scheduled rates."""

import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import numbers


def test_1082_the_first_optimistic_step_is_the_plain_one():
    for tx in (gk.optimistic_gradient_descent(0.1), gk.optimistic_gradient_descent(0.1, beta=5.0)):
        np.testing.assert_allclose(numbers(tx, (2.0,)), [-0.2], rtol=1e-6)
    np.testing.assert_allclose(
        numbers(gk.optimistic_adam(0.1, nesterov=False), (2.0,)), [-0.1], rtol=1e-6
    )
    np.testing.assert_allclose(numbers(gk.mars(0.1, gamma=1.0), (0.5,)), [-0.1], rtol=1e-6)


def test_1286_optimistic_adam_takes_schedules():
    rate = gk.linear_schedule(0.1, 0.0, 4)
    adam = np.array(numbers(gk.scale_by_adam(nesterov=True), (1.0, 2.0, -1.0)))
    before = np.array([adam[0], *adam[:-1]])
    alpha = np.array([0.1, 0.075, 0.05])
    np.testing.assert_allclose(
        numbers(gk.optimistic_adam(rate), (1.0, 2.0, -1.0)),
        -(alpha * adam + alpha * (adam - before)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        numbers(gk.optimistic_adam(rate, lambda step: 0.01), (1.0, 2.0, -1.0)),
        -(alpha * adam + 0.01 * (adam - before)),
        rtol=1e-5,
    )
