"""Orthogonalization against the singular value decomposition in float64, by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit.linalg import COEFFICIENTS, orthogonalize

SHAPES = {
    "wide": ((3, 7), "float64"),
    "tall": ((7, 3), "complex128"),
    "square": ((4, 4), "float64"),
    "stack": ((2, 3, 5), "complex128"),
}
NORMALIZATIONS = ("frobenius", "spectral", "aol", "schatten")


def matrix(shape, seed=0, kind="float64"):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    if kind.startswith("complex"):
        x = x + 1j * rng.normal(size=shape)
    return x.astype(kind)


def with_singular_values(values, shape, seed=0):
    """A float64 matrix of a shape, with given singular values and random singular vectors."""
    rng = np.random.default_rng(seed)
    rank = len(values)
    u, _ = np.linalg.qr(rng.normal(size=(shape[0], rank)))
    v, _ = np.linalg.qr(rng.normal(size=(shape[1], rank)))
    return (u * np.asarray(values)) @ v.T


def polar(x):
    u, _, vh = np.linalg.svd(np.asarray(x), full_matrices=False)
    return u @ vh


def newton_schulz(x, table, eps=1e-8):
    """The iteration on the singular values, written out."""
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    s = s / (np.sqrt(np.sum(s**2, axis=-1, keepdims=True)) + eps)
    for a, b, c in table:
        s = a * s + b * s**3 + c * s**5
    return (u * s[..., None, :]) @ vh


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", SHAPES)
def test_every_method_and_normalization_finds_the_polar_factor(name, x64):
    shape, kind = SHAPES[name]
    x = matrix(shape, kind=kind)

    @jax.jit
    def all_of_them(x):
        svd = [orthogonalize(x, method="svd")]
        return svd + [
            orthogonalize(
                x,
                steps=9,
                coefficients="polar_express",
                method=method,
                normalization=normalization,
                restarts=restarts,
            )
            for method, restarts in (("newton_schulz", None), ("gram", (2, 7)))
            for normalization in NORMALIZATIONS
            if normalization != "aol"
        ]

    for found in all_of_them(jnp.asarray(x)):
        np.testing.assert_allclose(found, polar(x), atol=1e-10)


def test_aol_finds_the_polar_factor_of_the_matrix_with_its_rows_rescaled(x64):
    x = matrix((3, 7))
    scaled = x / np.sqrt(np.abs(x @ x.T).sum(axis=1, keepdims=True))
    how = {"steps": 14, "coefficients": "polar_express", "normalization": "aol"}
    for method in ("newton_schulz", "gram"):
        wide = orthogonalize(jnp.asarray(x), method=method, **how)
        np.testing.assert_allclose(wide, polar(scaled), atol=1e-10)
        tall = orthogonalize(jnp.asarray(x.T), method=method, **how)
        np.testing.assert_allclose(tall, wide.T, atol=1e-12)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_every_named_set_is_its_polynomials_on_the_singular_values(name, x64):
    x = matrix((2, 3, 5))
    rows = COEFFICIENTS[name]
    for steps in (1, 3, 10):
        table = [rows[min(i, len(rows) - 1)] for i in range(steps)]
        found = orthogonalize(jnp.asarray(x), steps=steps, coefficients=name)
        np.testing.assert_allclose(found, newton_schulz(x, table), rtol=1e-9, atol=1e-10)


# The singular values of the result, for singular values of the normalized matrix in [lo, 1].
TABLE = {
    "standard": (5, 5e-3, 0.68, 1.21),
    "dion": (5, 2e-3, 0.74, 1.15),
    "polar_express": (5, 1e-3, 0.77, 1.2),
    "polar_express, 8 steps": (8, 1e-3, 0.9999, 1.0001),
    "aol": (4, 7e-3, 0.7, 1.15),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_error_table_of_the_named_sets(name, x64):
    steps, lowest, lo, hi = TABLE[name]
    values = np.geomspace(lowest, 1.0, 400)
    rows = COEFFICIENTS[name.partition(",")[0]]
    for i in range(steps):
        a, b, c = rows[min(i, len(rows) - 1)]
        values = a * values + b * values**3 + c * values**5
    assert lo <= values.min() <= values.max() <= hi, (values.min(), values.max())
    x = with_singular_values(np.geomspace(max(lowest, 1e-2), 1.0, 5), (5, 9))
    for method in ("newton_schulz", "gram"):
        found = orthogonalize(
            jnp.asarray(x),
            steps=steps,
            coefficients=rows,
            normalization="spectral",
            method=method,
        )
        sizes = np.linalg.svd(np.asarray(found), compute_uv=False)
        assert lo <= sizes.min() <= sizes.max() <= hi


@pytest.mark.parametrize("coefficients", ["standard", "dion", "polar_express"])
def test_gram_is_the_plain_iteration_within_rounding(coefficients):
    values = np.geomspace(1e-4, 1.0, 8)
    x = jnp.asarray(with_singular_values(values, (8, 40)), jnp.float32)
    with jax.enable_x64(True):
        exact = orthogonalize(jnp.asarray(x, jnp.float64), coefficients=coefficients)
    exact = np.asarray(exact)
    plain = np.asarray(orthogonalize(x, coefficients=coefficients))
    gram = np.asarray(orthogonalize(x, coefficients=coefficients, method="gram"))
    again = np.asarray(orthogonalize(x, coefficients=coefficients, method="gram", restarts=(2,)))
    assert np.abs(plain - exact).max() < 2e-5
    assert np.abs(gram - exact).max() < 2e-3
    assert np.abs(again - exact).max() < 2e-5


def test_in_bfloat16_gram_restarts_and_stays_near_the_plain_iteration():
    x = jnp.asarray(with_singular_values(np.geomspace(1e-4, 1.0, 8), (8, 40)), jnp.float32)
    exact = np.asarray(orthogonalize(x))
    for method in ("newton_schulz", "gram"):
        found = orthogonalize(x, method=method, dtype="bfloat16")
        assert found.dtype == jnp.float32
        assert 0 < np.abs(found - exact).max() < 0.2


@pytest.mark.parametrize("method", ["newton_schulz", "gram", "svd"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_zero_and_rank_deficient_matrices_stay_finite_and_keep_their_rank(method, normalization):
    how = {"method": method, "normalization": normalization}
    zero = orthogonalize(jnp.zeros((2, 3, 9)), **how)
    assert not np.asarray(zero).any()
    x = jnp.asarray(with_singular_values([2.0, 1.0], (4, 11)), jnp.float32)
    found = orthogonalize(x, **how)
    sizes = np.linalg.svd(np.asarray(found), compute_uv=False)
    assert sizes[2] < 1e-2
    assert 0.6 < sizes[1] <= sizes[0] < 1.3


@pytest.mark.parametrize("method", ["newton_schulz", "gram"])
def test_the_derivative_at_zero_is_finite(method):
    slopes = jax.jit(jax.grad(lambda x: orthogonalize(x, method=method, steps=2).sum()))(
        jnp.zeros((2, 7))
    )
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_result_does_not_depend_on_the_scale(normalization):
    x = jnp.asarray(matrix((3, 5)), jnp.float32)
    how = {"normalization": normalization, "eps": 0.0}
    for factor in (1e-30, 1e30):
        found = orthogonalize(x * factor, **how)
        np.testing.assert_allclose(found, orthogonalize(x, **how), atol=1e-5)


def test_eps_is_added_to_the_norm():
    x = jnp.full((2, 2), 1e-9)
    assert np.abs(orthogonalize(x, eps=1.0)).max() < 1e-5
    assert np.abs(orthogonalize(x, eps=0.0)).max() > 0.1


def test_shape_and_dtype_are_kept_also_of_narrow_and_empty_arrays():
    for kind in ("bfloat16", "float16", "float32", "complex64"):
        x = jax.ShapeDtypeStruct((2, 3, 2), kind)
        found = jax.eval_shape(orthogonalize, x)
        assert (found.shape, found.dtype) == (x.shape, kind)
    for shape in ((0, 3), (2, 0, 3), (0, 2, 2)):
        assert orthogonalize(jnp.zeros(shape)).shape == shape
    complex_ones = jnp.ones((2, 2), "complex64")
    found = orthogonalize(complex_ones, dtype="bfloat16", steps=1)
    assert found.dtype == "complex64"


def test_large_matrices_of_a_stack_take_turns_on_a_cpu_with_the_same_result():
    x = jnp.asarray(matrix((2, 3, 128, 256)), jnp.float32)
    found = orthogonalize(x, steps=2)
    np.testing.assert_allclose(found[1, 2], orthogonalize(x[1, 2], steps=2), atol=1e-6)
    np.testing.assert_allclose(orthogonalize(x[:1, :1], steps=2)[0, 0], found[0, 0], atol=1e-6)


def test_coefficients_may_be_traced_and_given_as_arrays():
    x = jnp.asarray(matrix((3, 5)), jnp.float32)
    triple = COEFFICIENTS["standard"][0]
    plain = orthogonalize(x)
    for given in (list(triple), np.array(triple), [np.array(triple)] * 5):
        found = orthogonalize(x, coefficients=given)
        np.testing.assert_array_equal(found, plain)

    @jax.jit
    def value_and_slope(c):
        return jax.value_and_grad(lambda c: orthogonalize(x, coefficients=c).sum())(c)

    value, slope = value_and_slope(jnp.array([triple] * 5))
    np.testing.assert_allclose(value, plain.sum(), rtol=1e-4)
    assert np.isfinite(slope).all()
    assert np.asarray(slope).any()


def test_a_given_sequence_says_how_many_steps():
    x = jnp.asarray(matrix((3, 5)), jnp.float32)
    two = ((2.0, -1.5, 0.5), (1.5, -0.5, 0.0))
    whole = orthogonalize(x, coefficients=two)
    np.testing.assert_array_equal(whole, orthogonalize(x, coefficients=two, steps=2))
    longer = orthogonalize(x, coefficients=(*two, two[1]))
    np.testing.assert_array_equal(longer, orthogonalize(x, coefficients=two, steps=3))
    np.testing.assert_array_equal(
        orthogonalize(x, coefficients="aol"), orthogonalize(x, coefficients="aol", steps=4)
    )


BAD = {
    "a vector": (lambda x: orthogonalize(x[0]), r"x is float32\[3\]. Expected a matrix"),
    "integers": (lambda x: orthogonalize(x.astype(int)), "is not an array of floating numbers"),
    "no array": (lambda x: orthogonalize("x"), "is not an array"),
    "an unknown set": (
        lambda x: orthogonalize(x, coefficients="polar"),
        "coefficients='polar' is not a known set. Expected one of 'standard', 'dion'",
    ),
    "two numbers": (
        lambda x: orthogonalize(x, coefficients=(1.0, 2.0)),
        r"coefficients=\(1.0, 2.0\) is neither a triple",
    ),
    "no triple": (lambda x: orthogonalize(x, coefficients=()), "is neither a triple"),
    "pairs": (lambda x: orthogonalize(x, coefficients=((1.0, 2.0),)), "is neither a triple"),
    "a matrix of pairs": (
        lambda x: orthogonalize(x, coefficients=jnp.ones((2, 2))),
        "is neither a triple",
    ),
    "infinity": (lambda x: orthogonalize(x, coefficients=(1.0, float("inf"), 0.0)), "finite b"),
    "no step": (lambda x: orthogonalize(x, steps=0), "steps=0 is out of range"),
    "half a step": (lambda x: orthogonalize(x, steps=2.5), "steps=2.5 is not an integer"),
    "another norm": (lambda x: orthogonalize(x, normalization="l1"), "normalization='l1' is not"),
    "another method": (lambda x: orthogonalize(x, method="qr"), "method='qr' is not an option"),
    "a negative eps": (lambda x: orthogonalize(x, eps=-1.0), "eps=-1.0 is out of range"),
    "an integer dtype": (lambda x: orthogonalize(x, dtype="int8"), "is not a floating dtype"),
    "a late restart": (
        lambda x: orthogonalize(x, method="gram", restarts=(2, 5)),
        r"restarts=\(2, 5\) is out of range. Expected a sequence of integers from 1 to 4",
    ),
    "one restart": (lambda x: orthogonalize(x, method="gram", restarts=9), "restarts=9 is out of"),
}


@pytest.mark.parametrize("call", BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_words(call):
    function, words = call
    with pytest.raises((ValueError, TypeError), match=f"^orthogonalize: .*{words}"):
        function(jnp.ones((2, 3)))


def test_the_spectral_norm_and_its_bound(x64):
    for shape, kind in (SHAPES["wide"], SHAPES["stack"]):
        x = matrix(shape, kind=kind)
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        np.testing.assert_allclose(gk.linalg.spectral_norm(jnp.asarray(x)), s[..., 0], rtol=1e-12)
        clipped = (u * np.minimum(s, 0.7)[..., None, :]) @ vh
        found = gk.linalg.clip_singular_values(jnp.asarray(x), 0.7)
        np.testing.assert_allclose(found, clipped, atol=1e-12)
    assert gk.linalg.spectral_norm(jnp.zeros((2, 0, 3))).tolist() == [0.0, 0.0]
    assert gk.linalg.spectral_norm(jnp.full((2, 2), 1e300)) == pytest.approx(2e300)
    assert gk.linalg.clip_singular_values(jnp.zeros((0, 3)), 1.0).shape == (0, 3)
    with pytest.raises(ValueError, match=r"^spectral_norm: x is float64"):
        gk.linalg.spectral_norm(jnp.ones(3))
    with pytest.raises(ValueError, match=r"^clip_singular_values: max_value=0.0 is out of range"):
        gk.linalg.clip_singular_values(jnp.ones((2, 2)), 0.0)
