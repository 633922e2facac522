"""Non-negative least squares: SciPy's solution, the KKT conditions, optax's iterates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

A = np.random.default_rng(0).normal(size=(8, 5))
B = np.random.default_rng(1).normal(size=(8, 3))


def test_it_is_scipy_s_solution_and_satisfies_the_kkt_conditions():
    optimize = pytest.importorskip("scipy.optimize")
    with jax.enable_x64(True):
        x = np.asarray(gk.nnls(A, B, 2000))
    for column, b in zip(x.T, B.T, strict=True):
        np.testing.assert_allclose(column, optimize.nnls(A, b)[0], atol=1e-9)
    slope = A.T @ (A @ x - B)
    assert (x >= 0).all()
    assert (slope >= -1e-9).all()
    np.testing.assert_allclose(x * slope, 0.0, atol=1e-9)
    assert (x == 0).any()
    assert (x > 0).any()


def test_its_iterates_are_optax_s_one_earlier():
    optax = pytest.importorskip("optax")
    with jax.enable_x64(True):
        for b, bound in ((B, None), (B[:, 0], 30.0)):
            ours = gk.nnls(jnp.asarray(A), b, 7, L=bound)
            with jax.numpy_dtype_promotion("standard"):
                theirs = optax.nnls(jnp.asarray(A), jnp.asarray(b), 8, L=bound)
            np.testing.assert_allclose(ours, theirs, 1e-12)


def test_degenerate_problems_stay_finite():
    assert (gk.nnls(jnp.zeros((2, 3)), jnp.ones(2), 3) == 0).all()
    assert gk.nnls(jnp.zeros((2, 0)), jnp.ones(2), 3).shape == (0,)
    assert gk.nnls([[2, 0], [0, 1]], np.array([2, -1]), 200).dtype == jnp.float32
    batched = jax.vmap(lambda b: gk.nnls(A.astype(np.float32), b, 5))(B.T.astype(np.float32))
    np.testing.assert_allclose(batched[1], gk.nnls(np.float32(A), np.float32(B[:, 1]), 5), 1e-4)
