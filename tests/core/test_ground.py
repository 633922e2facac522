"""The ground floor: tree arithmetic, safe numerics, random keys, and how an error reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("bfloat16", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("complex64", "complex64"),
    ],
)
def test_wide_is_at_least_float32(narrow, wide):
    assert numerics.wide(narrow) == jnp.dtype(wide)
    assert tree.widen({"x": jnp.zeros(1, narrow)})["x"].dtype == jnp.dtype(wide)


def test_roots_and_quotients_are_finite_at_zero_with_their_derivatives():
    assert numerics.sqrt(jnp.float32(4.0)) == 2.0
    assert jax.grad(numerics.sqrt)(0.0) == 0.0
    assert numerics.divide(jnp.float32(1.0), jnp.float32(0.0)) == 0.0
    assert np.isfinite(jax.grad(numerics.divide, argnums=(0, 1))(1.0, 0.0)).all()
    assert np.isnan(numerics.divide(jnp.float32(np.nan), jnp.float32(1.0)))
    assert numerics.log(0.0) == -np.inf
    assert jax.grad(numerics.log)(0.0) == 0.0


def test_cbrt_is_exact_to_an_ulp_and_finite_at_zero_with_its_derivative():
    x = np.float32(10) ** np.linspace(-37, 38, 10_000, dtype=np.float32)
    np.testing.assert_allclose(
        jax.jit(numerics.cbrt)(x), np.cbrt(x.astype(np.float64)), 1.5 * np.finfo(np.float32).eps
    )
    np.testing.assert_array_equal(
        numerics.cbrt(jnp.array([0.0, 1.0, 27.0, np.inf, np.nan])), [0.0, 1.0, 3.0, np.inf, np.nan]
    )
    assert jax.grad(numerics.cbrt)(0.0) == 0.0
    np.testing.assert_allclose(jax.grad(numerics.cbrt)(8.0), 1 / 12, 1e-6)


def test_origin_at_keeps_the_parameters_of_step_0():
    for wrap in (jax.jit, lambda f: f):
        start = wrap(tree.origin_at)
        kept, params = jnp.zeros(2), jnp.ones(2)
        kept = start(kept, params, jnp.int32(0))
        assert kept is not params  # both may be donated
        np.testing.assert_array_equal(start(kept, 5 * params, jnp.int32(1)), params)


def test_norm_is_wide_joint_and_zero_for_nothing():
    x = {"a": jnp.full(4, 300.0, jnp.float16), "b": jnp.full((2, 2), 300.0, jnp.float16)}
    norm = tree.norm(x)
    assert norm.dtype == jnp.float32
    np.testing.assert_allclose(norm, 300 * np.sqrt(8), 1e-6)
    assert tree.norm({}) == 0.0
    assert (jax.grad(tree.norm)(jnp.zeros(3)) == 0).all()
    np.testing.assert_allclose(tree.norm(jnp.array([3 + 4j])), 5.0, 1e-6)


def test_map_gives_several_trees_and_traces_a_shape_once():
    sums, products = tree.map(lambda a, b: (a + b, a * b), {"x": 2.0}, {"x": 3.0}, outputs=2)
    assert (sums, products) == ({"x": 5.0}, {"x": 6.0})
    traced = []
    many = {str(i): jnp.zeros(2 + i % 2) for i in range(40)}
    jax.jit(lambda t: tree.map(lambda x: traced.append(1) or x + 1, t)).trace(many)
    assert len(traced) == 2


MANY = {str(i): jnp.ones((3, 2 + i % 2)) for i in range(40)}


def affine(tree_):
    return tree.map(lambda x: 2 * x + 1, tree_)


def summed(tree_):
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(affine(tree_)))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda f: jax.jit(f),
        lambda f: jax.jit(jax.vmap(f)),
        lambda f: jax.vmap(jax.jit(f)),
        lambda f: jax.jit(jax.grad(lambda t: sum(map(jnp.sum, jax.tree.leaves(f(t)))))),
        lambda f: lambda t: jax.lax.scan(lambda c, _: (f(c), None), t, length=2),
    ],
    ids=["jit", "jit vmap", "vmap jit", "jit grad", "scan"],
)
def test_map_traces_a_shape_once_in_every_kind_of_trace(wrap):
    traced = []
    wrap(lambda t: tree.map(lambda x: traced.append(1) or x + 1, t))(MANY)
    assert len(traced) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: jax.vmap(affine)(MANY),
        lambda: jax.grad(summed)(MANY),
        lambda: jax.jvp(affine, (MANY,), (MANY,)),
    ],
    ids=["vmap", "grad", "jvp"],
)
def test_map_under_an_eager_transformation_compiles_nothing_the_second_time(call):
    compiled = []

    def listen(event, *args, **kwargs):
        if "backend_compile" in event:
            compiled.append(event)

    call()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        call()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled


def test_keys_are_seeds_typed_keys_or_their_data():
    key = jax.random.key(3)
    for given in (
        3,
        np.int32(3),
        key,
        jax.random.key_data(key),
        np.asarray(jax.random.key_data(key)),
    ):
        assert (jax.random.key_data(numerics.as_key(given)) == jax.random.key_data(key)).all()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (None, TypeError, r"key is None\. Expected a seed such as key=0, .*"),
        (0.5, TypeError, r"key=0\.5 is not a random key\. Expected .*"),
        ("seed", TypeError, r"key='seed' is not a random key\. Expected .*"),
        (True, TypeError, r"key=True is not a random key\. Expected .*"),
        (np.arange(3), ValueError, r"key=int.*\[3\] is not the data of a key\. .* uint32\[2\]\."),
    ],
)
def test_what_is_not_a_key_is_refused(given, error, words):
    with pytest.raises(error, match=f"^{words}$"):
        numerics.as_key(given)


def test_an_error_names_the_place_the_value_what_is_expected_and_the_fix():
    with (
        check.inside("adamw"),
        check.inside("scale"),
        pytest.raises(ValueError, match=r"^adamw\.scale, w: b is wrong\. Expected a\. Do c\.$"),
    ):
        check.refuse("b is wrong", expected="a", fix="Do c", path="w")
    assert check.nearest("decy", ["decay", "eps"]) == "Did you mean 'decay'?"
    assert check.nearest("zzz", ["b", "a"]) == "Known: a, b"


def test_a_tracer_is_not_judged():
    jax.jit(lambda x: check.positive(x=x) or x)(jnp.float32(-1.0))
    with pytest.raises(ValueError, match=r"^x=-1\.0 is out of range\. Expected x > 0\.$"):
        check.positive(x=jnp.float32(-1.0))
