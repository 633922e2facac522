"""Averages: which are another one in other words, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit import averages, stores

VALUES = np.abs(np.random.default_rng(0).normal(size=(6, 2, 3))).astype(np.float32)


def outputs(tx, values=VALUES):
    """What an average makes of the values, step by step."""
    state, made = tx.init(jnp.zeros(values.shape[1:])), []
    for value in values:
        average, state = tx.update(jnp.asarray(value), state)
        made.append(average)
    return jnp.stack(made)


def test_per_leaf_with_mean_is_an_average_compressed_to_one_mean():
    for inner in (gk.ema(0.7), gk.trace(0.5), averages.running_sum(0.5)):
        one = averages.per_leaf(inner, mean=True)
        np.testing.assert_array_equal(
            outputs(one), outputs(averages.compressed(inner, stores.blockwise_mean()))
        )
        means = np.broadcast_to(VALUES.mean((1, 2), keepdims=True), VALUES.shape)
        np.testing.assert_allclose(outputs(one), outputs(inner, means), 1e-5)


def test_per_leaf_averages_the_sum_of_the_leaf_in_one_element():
    sums = np.broadcast_to(VALUES.sum((1, 2), keepdims=True), VALUES.shape)
    tx = averages.per_leaf(gk.ema(0.7))
    np.testing.assert_allclose(outputs(tx), outputs(gk.ema(0.7), sums), 1e-5)
    kept = [leaf.size for leaf in jax.tree.leaves(tx.init(jnp.zeros((2, 3))).inner)]
    assert kept == [1, 1]  # the average and its unseen weight


def test_ema_from_first_is_an_ema_whose_initial_value_is_the_first():
    values = np.arange(1.0, 6.0, dtype=np.float32)[:, None] ** 2
    np.testing.assert_allclose(
        outputs(averages.ema_from_first(0.75), values),
        outputs(gk.ema(0.75, debias=False, initial_value=1.0), values),
        1e-6,
    )


def test_an_ema_without_decay_is_the_latest_value():
    np.testing.assert_allclose(outputs(gk.ema(0.0)), VALUES, 1e-6)
    np.testing.assert_array_equal(outputs(averages.latest()), VALUES)


@pytest.mark.parametrize(
    "make",
    [
        lambda inner: averages.running_max(inner),
        lambda inner: averages.per_leaf(inner),
        lambda inner: averages.compressed(inner, stores.factored()),
        lambda inner: averages.weighted_sum(inner, gk.ema(0.9)),
        lambda inner: averages.weighted_sum(gk.ema(0.9), inner),
        lambda inner: gk.precondition(inner, gk.ema(0.9)),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("bad", [None, 0.9, "ema", gk.ema, lambda step: 0.9], ids=range(5))
def test_what_is_not_a_transform_is_refused_where_an_average_belongs(make, bad):
    with pytest.raises(TypeError, match="transform") as error:
        make(bad)
    assert hasattr(error.value, "gradkit")


@pytest.mark.parametrize("bad", [None, "factored", jnp.bfloat16, stores.factored, 3])
def test_compressed_takes_a_store(bad):
    with pytest.raises(TypeError, match=r"compressed: store=.* is not a Store\. Expected a Store"):
        averages.compressed(gk.ema(0.9), bad)


@pytest.mark.parametrize("order", [2.0, 1.0, True, 3, "2", None])
def test_the_order_of_precondition_is_the_int_1_or_2(order):
    with pytest.raises(
        (TypeError, ValueError), match=r"precondition: order=.*\. Expected 1 or 2\."
    ):
        gk.precondition(gk.ema(0.9), gk.ema(0.9), order=order)
