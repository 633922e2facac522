"""Stores: what they keep, what they compare, print and pickle by, and what they refuse."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit import stores


@pytest.mark.parametrize(
    ("dtype", "leaf", "kept"),
    [
        ("bfloat16", "float32", "bfloat16"),
        (jnp.float16, "float32", "float16"),
        ("bfloat16", "complex64", "complex64"),
        ("complex64", "complex64", "complex64"),
        (jnp.complex64, "float32", "float32"),
    ],
)
def test_a_dtype_keeps_real_and_complex_leaves(dtype, leaf, kept):
    x = jnp.array([1.5, -2.0], leaf)
    store = stores.store_in(dtype)
    assert store.encode(x).dtype == jnp.dtype(kept)
    assert store.decode(store.encode(x), x).dtype == x.dtype
    np.testing.assert_array_equal(store.decode(store.encode(x), x), x)


def test_complex_parameters_take_a_complex_dtype():
    params = {"w": jnp.ones(2, complex), "v": jnp.ones(2)}
    tx = gk.chain(gk.ema(0.9, accumulator_dtype="complex64"), gk.adam(0.1, mu_dtype=jnp.complex64))
    updates, state = tx.update(params, tx.init(params), params)
    assert state.inner["ema"]["average"]["w"].dtype == jnp.complex64
    assert state.inner["ema"]["average"]["v"].dtype == jnp.float32
    assert updates["w"].dtype == jnp.complex64
    assert jnp.isfinite(updates["w"]).all()


MADE = [
    (lambda: stores.store_in(jnp.bfloat16), "store_in('bfloat16')"),
    (lambda: stores.factored(4), "factored(4)"),
    (stores.sm3_cover, "sm3_cover()"),
    (lambda: stores.blockwise_mean(0), "blockwise_mean((0,))"),
    (stores.blockwise_mean, "blockwise_mean(None)"),
]


@pytest.mark.parametrize(("make", "text"), MADE, ids=[text for _, text in MADE])
def test_equal_stores_are_equal_print_as_code_and_pickle(make, text):
    assert make() == make()
    assert hash(make()) == hash(make())
    assert repr(make()) == text
    assert eval(text, vars(stores)) == make()
    assert pickle.loads(pickle.dumps(make())) == make()


def test_transforms_with_equal_stores_share_a_compilation():
    traced = []

    @jax.jit
    def run(tx, x):
        traced.append(1)
        return tx.update(x, tx.init(x))[0]

    for _ in range(2):
        run(gk.trace(0.9, accumulator_dtype=stores.store_in("bfloat16")), jnp.ones(2))
    assert len(traced) == 1


def test_blocks_are_axes_counted_from_either_end():
    x = jnp.arange(12.0).reshape(2, 3, 2)
    for axis in ((0, 2), (0, -1), [0, 2]):
        store = stores.blockwise_mean(axis)
        assert store.encode(x).shape == (1, 3, 1)
        np.testing.assert_allclose(store.encode(x).ravel(), x.mean((0, 2)))
    whole = stores.blockwise_mean(5)  # no leaf here has this axis: one block
    np.testing.assert_allclose(whole.decode(whole.encode(x), x), jnp.full(x.shape, x.mean()))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: gk.trace(0.9, accumulator_dtype="bfloat61"),
            TypeError,
            r"trace: accumulator_dtype='bfloat61' is not a dtype\. Expected a floating or complex "
            r"dtype, a Store, or None\. Did you mean 'bfloat16'\?",
        ),
        (
            lambda: gk.averages.running_sum(store="int8"),
            TypeError,
            r"running_sum: store='int8' is not a floating dtype\. Expected .*",
        ),
        (
            lambda: gk.averages.running_sum(store=3),
            TypeError,
            r"running_sum: store=3 is not a dtype\. .*",
        ),
        (
            lambda: gk.averages.running_sum(store=stores.factored),
            TypeError,
            r"running_sum: store=factored is not a dtype\. .* Call it: factored\(\.\.\.\)\.",
        ),
        (
            lambda: gk.averages.running_sum(store=jnp.ones(2)),
            TypeError,
            r"running_sum: store=.* is not a dtype\. Expected .*",
        ),
        (
            lambda: stores.store_in(None),
            TypeError,
            r"dtype=None is not a dtype\. Expected a floating or complex dtype such as .*",
        ),
        (
            lambda: stores.blockwise_mean("rows"),
            TypeError,
            r"axis='rows' is not an axis\. Expected an int, a tuple of ints, or None\.",
        ),
        (
            lambda: stores.blockwise_mean((0, 0)),
            ValueError,
            r"axis=\(0, 0\) names an axis twice\. Expected different axes\.",
        ),
        (lambda: stores.factored(-1), ValueError, r".*min_dim_size_to_factor.*"),
    ],
    ids=range(9),
)
def test_what_is_not_a_store_is_refused_by_the_name_of_the_argument(make, error, words):
    with pytest.raises(error, match=f"^{words}$"):
        make()
