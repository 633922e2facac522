"""Gaussian processes and acquisition functions, beside scikit-learn and float64 oracles."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradkit import search

RNG = np.random.default_rng(0)
X = RNG.random((24, 2))
Y = np.sin(5 * X[:, 0]) + 0.3 * X[:, 1] ** 2 + 0.02 * RNG.normal(size=24)
NEW = RNG.random((7, 2))
SCALES, AMPLITUDE, NOISE = [0.3, 0.5], 1.3, 0.05


@pytest.mark.parametrize("kernel", ["matern52", "rbf"])
def test_the_posterior_is_that_of_scikit_learn(kernel):
    pytest.importorskip("sklearn")
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

    shape = RBF(SCALES) if kernel == "rbf" else Matern(SCALES, nu=2.5)
    errors = np.linspace(0, 0.2, 24)
    theirs = GaussianProcessRegressor(
        ConstantKernel(AMPLITUDE**2) * shape, alpha=NOISE**2 + errors**2, optimizer=None
    ).fit(X, Y - 0.4)
    mean, std = theirs.predict(NEW, return_std=True)
    # Two rows that do not count change nothing, whatever is in them.
    x, y = np.vstack([X, X[:2]]), np.append(Y, [np.nan, 9.0])
    with jax.enable_x64(True):
        ours = search.gaussian_process(
            x, y, SCALES, AMPLITUDE, NOISE, 0.4,
            errors=np.append(errors, [np.nan, 0.0]), where=np.arange(26) < 24, kernel=kernel,
        )  # fmt: skip
        found = ours.predict(NEW)
        np.testing.assert_allclose(found[0], mean + 0.4, rtol=1e-11)
        np.testing.assert_allclose(found[1], std, rtol=1e-9)
        expected = theirs.log_marginal_likelihood_value_
        np.testing.assert_allclose(ours.log_marginal_likelihood, expected, rtol=1e-12)


def test_the_fit_reaches_the_likelihood_of_scikit_learns():
    pytest.importorskip("sklearn")
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(1.0) * Matern([1.0, 1.0], nu=2.5) + WhiteKernel(0.1, (1e-8, 1))
    theirs = GaussianProcessRegressor(kernel, normalize_y=True).fit(X, Y)
    with jax.enable_x64(True):
        ours = search.fit_gaussian_process(X, Y, priors=False)
    # Theirs is the likelihood of the standardized observations.
    expected = theirs.log_marginal_likelihood_value_ - 24 * math.log(Y.std())
    assert abs(float(ours.log_marginal_likelihood) - expected) < 1e-3
    scales = theirs.kernel_.k1.k2.length_scale
    np.testing.assert_allclose(ours.lengthscales, scales, rtol=0.02)
    np.testing.assert_allclose(
        ours.noise, np.sqrt(theirs.kernel_.k2.noise_level) * Y.std(), rtol=0.02
    )


def test_expected_improvement_is_the_mean_of_what_is_gained():
    with jax.enable_x64(True):
        mean, std = np.array([0.0, 0.3, 1.0, -0.5, 2.0, 0.2]), np.array([1, 0.5, 2, 0.1, 0, 0])
        found = search.expected_improvement(mean, std, 0.25)
        z = np.linspace(-9, 9, 200_001)
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        gain = np.maximum(0.25 - (mean[:, None] + std[:, None] * z[None]), 0) * density[None]
        np.testing.assert_allclose(found, np.trapezoid(gain, z, axis=1), rtol=1e-7, atol=1e-12)
        assert found[4] == 0
        assert found[5] == pytest.approx(0.05)
        slope = jax.grad(lambda s: search.expected_improvement(0.3, s, 0.25))(0.0)
        assert jnp.isfinite(slope)
    # In float32 far from the best, where the closed form cancels: against the exact values.
    z = np.array([-4.0, -7.0, -7.9, -8.1, -10.0, -12.0], np.float32)
    special = pytest.importorskip("scipy.special")
    wide = z.astype(np.float64)
    exact = np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi) + wide * special.ndtr(wide)
    found = np.asarray(search.expected_improvement(-z, np.ones(6, np.float32), 0.0))
    np.testing.assert_allclose(found, exact, rtol=1e-2)
    assert (np.diff(found) < 0).all()
    assert (found > 0).all()


def test_the_upper_confidence_bound_rewards_uncertainty():
    found = search.upper_confidence_bound([1.0, 1.0, 0.0], [0.0, 1.0, 0.5], kappa=3.0)
    assert found.tolist() == [-1.0, 2.0, 1.5]


REFUSED = [
    (lambda: search.gaussian_process(X, Y[:3], 1.0), "gaussian_process: y has the shape [3]."),
    (lambda: search.gaussian_process(Y, Y, 1.0), "x has the shape [24]. Expected [n, d]"),
    (lambda: search.gaussian_process(X, Y, [1.0] * 3), "lengthscales has the shape [3]"),
    (lambda: search.gaussian_process(X, Y, 1.0, kernel="rbff"), "kernel='rbff' is not an option"),
    (lambda: search.gaussian_process(X, Y, 1.0, noise=0.0), "noise=0.0 is out of range"),
    (lambda: search.fit_gaussian_process(X, Y, kernel="x"), "kernel='x' is not an option"),
    (lambda: search.gaussian_process(X, Y, 1.0).predict(Y), "predict: x has the shape [24]"),
    (lambda: search.upper_confidence_bound(0.0, 1.0, -1.0), "kappa=-1.0 is out of range"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
