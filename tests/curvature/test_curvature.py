"""Hessians, Jacobians and their products against matrices written down, and optax's functions."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

P = {"a": jnp.array([[0.5, -1.0], [2.0, 0.25]]), "b": jnp.array(1.5)}
V = {"a": jnp.array([[1.0, 2.0], [-1.0, 0.5]]), "b": jnp.array(-2.0)}


def loss(p, scale=1.0):
    return scale * (jnp.sum(p["a"] ** 3) * p["b"] + p["b"] ** 4)


def hessian(p):
    """The Hessian of `loss`, rows and columns a, then b."""
    a, b = np.asarray(p["a"], float).ravel(), float(p["b"])
    matrix = np.diag([*(6 * a * b), 12 * b**2])
    matrix[:-1, -1] = matrix[-1, :-1] = 3 * a**2
    return matrix


def vector(tree):
    return np.concatenate([np.ravel(tree["a"]), np.ravel(tree["b"])])


def test_products_and_matrices_are_those_of_the_hessian():
    @jax.jit
    def run(p, v):
        product = gk.curvature.hessian_vector_product(loss, p, v, 2.0)
        return product, gk.curvature.hessian_matrix(loss, p, 2.0)

    product, matrix = run(P, V)
    np.testing.assert_allclose(matrix, 2 * hessian(P), rtol=1e-6)
    np.testing.assert_allclose(vector(product), 2 * hessian(P) @ vector(V), rtol=1e-6)


def test_gauss_newton_products_are_those_of_the_jacobian():
    def residuals(p, t):
        return {"r": p["a"][0] * t - p["b"], "s": jnp.sum(p["a"] ** 2)}

    def convex(out):
        return jnp.sum(out["r"] ** 4) + 3 * out["s"]

    @jax.jit
    def run(p, v):
        j = gk.curvature.jacobian_matrix(residuals, p, 2.0)
        product = gk.curvature.gauss_newton_vector_product
        return j, product(residuals, p, v, 2.0), product(residuals, p, v, 2.0, loss=convex)

    j, plain, curved = run(P, V)
    a = np.asarray(P["a"]).ravel()
    exact = np.array([[2.0, 0, 0, 0, -1], [0, 2.0, 0, 0, -1], [*(2 * a), 0]])
    np.testing.assert_allclose(j, exact, rtol=1e-6)
    np.testing.assert_allclose(vector(plain), exact.T @ exact @ vector(V), rtol=1e-6)
    r = 2 * a[:2] - 1.5
    outer = np.diag([*(12 * r**2), 0.0])
    np.testing.assert_allclose(vector(curved), exact.T @ outer @ exact @ vector(V), rtol=1e-5)


def test_wide_jacobians_are_taken_in_reverse():
    j = gk.curvature.jacobian_matrix(lambda p: p["b"] * p["a"][:, 0], P)
    np.testing.assert_allclose(j, [[1.5, 0, 0, 0, 0.5], [0, 0, 1.5, 0, 2.0]])


def test_hutchinson_averages_to_the_diagonal():
    matrix = jnp.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 5.0]])
    estimate = jax.jit(
        lambda key: gk.curvature.hutchinson_diagonal(
            lambda v: matrix @ v, jnp.zeros(3), key, samples=4000
        )
    )(0)
    # Four standard deviations: the variance of an element is the sum of the squares beside it.
    bound = 4 * np.sqrt(np.array([1.0, 2.0, 1.0]) / 4000)
    assert (np.abs(np.asarray(estimate) - [2, 3, 5]) < bound).all()


def test_the_names_of_optax_compute_what_optax_computes():
    second_order = pytest.importorskip("optax").second_order
    x, y, v = jnp.arange(6.0).reshape(3, 2), jnp.ones(3), jnp.array([0.5, -1.0, 2.0])

    def nll(p, x, y):
        return jnp.sum(jnp.logaddexp(0, -y * (x @ p["w"] + p["b"] ** 2)))

    p = {"w": jnp.array([0.2, -0.1]), "b": jnp.array(0.3)}
    cases = {"hvp": (v, p, x, y), "hessian_diag": (p, x, y), "fisher_diag": (p, x, y)}
    for name, args in cases.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optax will drop them
            theirs = getattr(second_order, name)(nll, *args)
        ours = getattr(gk.curvature, name)(nll, *args)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), ours, theirs)


def test_bfloat16_is_computed_in_float32():
    product = gk.curvature.hessian_vector_product(
        lambda w: jnp.sum(w**3), jnp.full(2, 1.0078125, jnp.bfloat16), jnp.ones(2, jnp.bfloat16)
    )
    assert product.dtype == jnp.float32
    assert product.tolist() == [6.046875, 6.046875]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: gk.curvature.hessian_vector_product(lambda w: w, jnp.ones(3), jnp.ones(3)),
            TypeError,
            r"hessian_vector_product: fun returned float32\[3\]\. Expected one real number",
        ),
        (
            lambda: gk.curvature.hessian_vector_product(jnp.sum, jnp.ones(3), jnp.ones(2)),
            ValueError,
            r"this update is float32\[2\], but its parameter is float32\[3\]",
        ),
        (
            lambda: gk.curvature.hessian_matrix(jnp.sum, jnp.ones(3, complex)),
            TypeError,
            r"hessian_matrix: .*complex64\[3\]\. Expected real numbers",
        ),
        (
            lambda: gk.curvature.jacobian_matrix(lambda w: jnp.arange(2), jnp.ones(3)),
            TypeError,
            r"jacobian_matrix: residuals returned int32\[2\]\. Expected floating numbers",
        ),
        (
            lambda: gk.curvature.gauss_newton_vector_product(lambda w: None, 1.0, 1.0),
            TypeError,
            r"gauss_newton_vector_product: what residuals returned is None",
        ),
        (
            lambda: gk.curvature.hvp(lambda p, x, y: p.sum(), jnp.ones(2), jnp.ones(3), 0, 0),
            ValueError,
            r"hvp: v is float32\[2\], but params have 3 elements",
        ),
        (
            lambda: gk.curvature.hutchinson_diagonal(lambda v: v, jnp.ones(3), 0, samples=0),
            ValueError,
            r"hutchinson_diagonal: samples=0 is out of range",
        ),
        (
            lambda: gk.curvature.jacobian_matrix(3, jnp.ones(3)),
            TypeError,
            r"jacobian_matrix: residuals=3 is not a function",
        ),
        (
            lambda: gk.curvature.hessian_matrix(jnp.sum, jnp.arange(3)),
            TypeError,
            r"hessian_matrix.*int32\[3\]\. Expected a floating dtype",
        ),
    ],
)
def test_bad_calls_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
