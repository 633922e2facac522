"""AdaBelief by its paper."""

import numpy as np

import gradkit as gk
from tests.optimizers.trajectories import numbers


def test_440_adabelief_has_both_epsilons_where_its_paper_has_them():
    m = s = 0.0
    wanted = []
    for t, g in enumerate((1.0, 0.5, -2.0, 0.25), 1):
        m = 0.9 * m + 0.1 * g
        s = 0.99 * s + 0.01 * (g - m) ** 2 + 1e-2
        wanted.append(-0.1 * m / (1 - 0.9**t) / (np.sqrt(s / (1 - 0.99**t)) + 1e-2))
    np.testing.assert_allclose(
        numbers(gk.adabelief(0.1, 0.9, 0.99, 1e-2, 1e-2), (1.0, 0.5, -2.0, 0.25)), wanted, rtol=1e-5
    )
