"""Power iteration against the eigenvalues of NumPy, and optax's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk


def symmetric(values, seed=0, kind="float64"):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(len(values), len(values)))
    if kind == "complex128":
        x = x + 1j * rng.normal(size=x.shape)
    q, _ = np.linalg.qr(x)
    return (q * np.asarray(values)) @ q.conj().T


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize("top", [3.0, -3.0])
def test_it_finds_the_eigenvalue_of_largest_magnitude(kind, top):
    with jax.enable_x64(True):
        a = jnp.asarray(symmetric([0.1, 1.0, top], kind=kind))
        value, vector = gk.power_iteration(a, error_tolerance=1e-12)
        np.testing.assert_allclose(value, top, rtol=1e-10)
        np.testing.assert_allclose(a @ vector, top * vector, atol=1e-10)
        np.testing.assert_allclose(jnp.linalg.norm(vector), 1.0, rtol=1e-12)


def test_it_is_optax_s():
    with jax.enable_x64(True):
        a = jnp.asarray(symmetric([0.3, 1.0, 2.0, 2.1]))
        for how in (
            {"num_iters": 7},
            {"error_tolerance": 1e-3},
            {"key": jax.random.PRNGKey(3), "num_iters": 3},
            {"v0": jnp.ones(4), "num_iters": 5},
        ):
            ours, theirs = gk.power_iteration(a, **how), optax.power_iteration(a, **how)
            np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
            np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9)


def test_a_function_of_a_tree_may_stand_for_the_matrix():
    def product(v):
        return {"a": 2.0 * v["a"], "b": -5.0 * v["b"]}

    start = {"a": jnp.ones(2), "b": jnp.ones(1)}
    value, vector = jax.jit(lambda v0: gk.power_iteration(product, v0=v0))(start)
    assert value == pytest.approx(-5.0)
    np.testing.assert_allclose(jnp.abs(vector["b"]), 1.0, rtol=1e-5)


def test_a_zero_map_has_the_eigenvalue_zero():
    value, vector = gk.power_iteration(jnp.zeros((3, 3)), v0=jnp.array([3.0, 0.0, 4.0]))
    assert value == 0.0
    np.testing.assert_allclose(vector, [0.6, 0.0, 0.8], rtol=1e-6)


def test_a_stack_is_vmapped_and_narrow_matrices_are_widened():
    stack = jnp.stack([jnp.diag(jnp.array([1.0, 2.0])), jnp.diag(jnp.array([4.0, 1.0]))])
    values, _ = jax.vmap(gk.power_iteration)(stack.astype("bfloat16"))
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, [2.0, 4.0], rtol=1e-5)


BAD = {
    "not square": (lambda: gk.power_iteration(jnp.ones((2, 3))), r"matrix is float32\[2, 3\]"),
    "a stack": (lambda: gk.power_iteration(jnp.ones((2, 3, 3))), "vmap the call"),
    "no matrix": (lambda: gk.power_iteration("a"), "is neither a matrix nor a function"),
    "no vector": (lambda: gk.power_iteration(lambda v: v), "v0=None. Expected a first vector"),
    "no iteration": (lambda: gk.power_iteration(jnp.eye(2), num_iters=0), "num_iters=0 is out of"),
    "a negative tolerance": (
        lambda: gk.power_iteration(jnp.eye(2), error_tolerance=-1.0),
        "error_tolerance=-1.0 is out of range",
    ),
    "no key": (lambda: gk.power_iteration(jnp.eye(2), key="a"), "key='a' is not a random key"),
    "another tree": (
        lambda: gk.power_iteration(lambda v: {"b": v["a"]}, v0={"a": jnp.ones(2)}),
        r"matrix\(v0\) is \{'b'.*Expected a tree like v0",
    ),
    "another length": (
        lambda: gk.power_iteration(jnp.eye(2), v0=jnp.ones(3)),
        r"v0 is float32\[3\]. Expected a vector of 2 entries",
    ),
    "integers": (lambda: gk.power_iteration(jnp.eye(2), v0=jnp.ones(2, int)), "this v0 is int32"),
}


@pytest.mark.parametrize("call", BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_words(call):
    function, words = call
    with pytest.raises((ValueError, TypeError), match=f"^power_iteration.*({words})"):
        function()


def test_a_numpy_matrix_is_of_the_dtype_that_jax_gives_it():
    value, vector = gk.power_iteration(np.diag([2.0, 1.0]), num_iters=50)
    assert value == 2.0
    assert vector.dtype == jnp.float32
