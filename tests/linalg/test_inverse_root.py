"""Inverse roots against float64 NumPy, their derivative, singular matrices, optax's function."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from gradkit.linalg import inverse_root


def stack(kind, seed=0, rank=8):
    """Three positive semidefinite 5 × 5 matrices."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(3, 5, rank))
    if np.issubdtype(kind, np.complexfloating):
        g = g + 1j * rng.normal(size=g.shape)
    return (g @ np.conj(g).swapaxes(-1, -2)).astype(kind)


def reference(a, p, eps=0.0, ridge=1e-6):
    """By NumPy's eigenvalues in float64; zero where the shifted matrix is singular."""
    values, vectors = np.linalg.eigh(np.asarray(a, np.result_type(a, np.float64)))
    shifted = values + eps + ridge * values[..., -1:]
    safe = np.where(shifted > 1e-5, shifted, 1.0)
    powers = np.where(shifted > 1e-5, safe ** (-1 / p), 0.0)
    return (vectors * powers[..., None, :]) @ np.conj(vectors).swapaxes(-1, -2)


@pytest.mark.parametrize("kind", [np.float32, np.complex64])
def test_both_methods_are_the_power_of_the_eigenvalues(kind):
    a = stack(kind)

    @jax.jit
    def roots(a):
        found = {("eigh", p): inverse_root(a, p) for p in (1, 2, 2.5, 4)}
        return found | {("newton", p): inverse_root(a, p, method="newton") for p in (1, 2, 3, 4, 6)}

    for (method, p), root in roots(a).items():
        wanted = reference(a, p)
        assert root.dtype == kind
        assert np.abs(root - wanted).max() < 3e-6 * np.abs(wanted).max(), (method, p)


def test_in_float64_they_are_exact_and_the_shifts_are_absolute_and_relative():
    with jax.enable_x64(True):
        a = stack(np.float64)
        for method, ridge in (("eigh", 0.25), ("newton", 0.0)):
            root = inverse_root(a, 3, method=method, eps=0.5, ridge=ridge, tolerance=1e-14)
            np.testing.assert_allclose(root, reference(a, 3, 0.5, ridge), rtol=1e-9, atol=1e-12)


def test_singular_matrices_have_the_root_of_the_pseudo_inverse():
    zero = jnp.zeros((2, 3, 3))
    assert (inverse_root(zero, 4) == 0).all()
    assert (inverse_root(zero, 4, method="newton") == 0).all()
    np.testing.assert_allclose(inverse_root(zero[0], 4, eps=1e-4), 10 * np.eye(3), rtol=1e-5)
    diagonal = jnp.diag(jnp.array([0.0, 16.0, 81.0]))
    np.testing.assert_allclose(
        inverse_root(diagonal, 4, ridge=0.0), np.diag([0, 1 / 2, 1 / 3]), rtol=1e-6
    )
    low = stack(np.float32, rank=2)
    for method in ("eigh", "newton"):
        root = inverse_root(low, 4, method=method)
        assert np.isfinite(root).all()
        # Where the matrix is not singular, the root is that of the pseudo-inverse.
        np.testing.assert_allclose(root @ low, reference(low, 4, 0, 0) @ low, atol=2e-3)
    assert inverse_root(jnp.zeros((0, 0)), 2, method="newton").shape == (0, 0)


def test_nan_stays_nan():
    nan = jnp.eye(3).at[0, 1].set(jnp.nan)
    for method in ("eigh", "newton"):
        assert jnp.isnan(inverse_root(nan, 2, method=method)).all()


@pytest.mark.parametrize("method", ["eigh", "newton"])
def test_the_derivative_is_the_frechet_derivative_also_at_equal_eigenvalues(method):
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        one = stack(np.float64)[0]
        rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
        equal = rotation @ np.diag([2.0, 2.0, 2.0, 5.0, 5.0]) @ rotation.T
        change = rng.normal(size=(5, 5))
        change = change + change.T

        def root(t, a):
            return inverse_root(
                a + t * change, 3, method=method, eps=0.1 + t, ridge=0.0, tolerance=1e-15
            )

        slope = jax.jit(lambda a: jax.jvp(lambda t: root(t, a), (0.0,), (1.0,))[1])
        for a in (one, equal):
            h = 1e-5
            moved = [reference(a + t * change, 3, 0.1 + t, 0.0) for t in (h, -h)]
            wanted = (moved[0] - moved[1]) / (2 * h)
            np.testing.assert_allclose(slope(a), wanted, rtol=1e-5, atol=1e-8)


def test_the_derivative_in_the_exponent_and_the_relative_shift():
    with jax.enable_x64(True):
        a, h = stack(np.float64)[1], 1e-6
        root = jax.jit(jax.jacfwd(lambda p, ridge: inverse_root(a, p, ridge=ridge), (0, 1)))
        slopes = root(3.0, 0.1)
        for slope, (dp, dr) in zip(slopes, ((h, 0), (0, h)), strict=True):
            moved = [reference(a, 3 + s * dp, ridge=0.1 + s * dr) for s in (1, -1)]
            np.testing.assert_allclose(slope, (moved[0] - moved[1]) / (2 * h), atol=1e-8)


def test_matrix_inverse_pth_root_is_optax_s():
    a = stack(np.float32)[0]
    for p in (2, 4):
        root, error = gk.matrix_inverse_pth_root(a, p)
        theirs, _ = jax.jit(optax.matrix_inverse_pth_root)(jnp.asarray(a), p)
        np.testing.assert_allclose(root, theirs, rtol=1e-4, atol=1e-6)
        assert error < 1e-4
    # optax rounds 3 to a power of two, and diverges.
    traced, _ = jax.jit(jax.vmap(gk.matrix_inverse_pth_root, (None, 0)))(a, jnp.arange(2, 5))
    for root, p in zip(traced, range(2, 5), strict=True):
        np.testing.assert_allclose(root, reference(a, p), rtol=1e-4, atol=1e-5)


def test_the_error_grows_with_the_condition_and_says_so():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    run = jax.jit(lambda a: gk.matrix_inverse_pth_root(a, 4, ridge_epsilon=1e-12))
    for exponent in range(2, 7):
        spectrum = 10.0 ** (-exponent * np.arange(16) / 15)
        root, error = run(np.float32(rotation * spectrum @ rotation.T))
        assert error < 0.1
        assert np.isfinite(root).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: inverse_root(jnp.ones((2, 3)), 2),
            ValueError,
            r"inverse_root: matrix=float32\[2, 3\] is not square\. Expected an array of shape",
        ),
        (lambda: inverse_root(jnp.ones(3), 2), ValueError, r"float32\[3\] is not square"),
        (
            lambda: inverse_root(jnp.ones((2, 2), int), 2),
            TypeError,
            r"this matrix is int32\[2, 2\]\. Expected a floating dtype",
        ),
        (lambda: inverse_root(jnp.eye(2), 0), ValueError, r"p=0 is out of range\. Expected p > 0"),
        (lambda: inverse_root(jnp.eye(2), 2, ridge=-1.0), ValueError, r"ridge=-1.0 is out of"),
        (
            lambda: inverse_root(jnp.eye(2), 2, method="svd"),
            ValueError,
            r"method='svd' is not an option\. Expected one of 'eigh', 'newton'",
        ),
        (
            lambda: inverse_root(jnp.eye(2), 2.5, method="newton"),
            TypeError,
            r"p=2.5 is not an integer\. .* Write method='eigh', which takes any p",
        ),
        (
            lambda: inverse_root(jnp.eye(2), 2, method="newton", ridge=0.0),
            ValueError,
            r"eps=0.0 and ridge=0.0 are zero\. Expected one of them > 0 with method='newton'",
        ),
        (
            lambda: gk.matrix_inverse_pth_root(jnp.eye(2), 2, ridge_epsilon=0.0),
            ValueError,
            r"matrix_inverse_pth_root: ridge_epsilon=0.0 is out of range",
        ),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
