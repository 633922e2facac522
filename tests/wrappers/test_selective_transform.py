"""`selective_transform` keeps state for the trained leaves alone."""

import jax
import jax.numpy as jnp
import pytest

import gradkit as gk


def test_selective_transform_remembers_the_trained_leaves_alone():
    params = {"a": jnp.ones(3), "b": jnp.ones(2)}
    for mask in ({"a": True, "b": False}, gk.by_path("a"), lambda params: {"a": True, "b": False}):
        tx = gk.selective_transform(gk.sgd(1.0, momentum=0.5), freeze_mask=mask)
        updates, state = tx.update(params, tx.init(params), params)
        assert [leaf.shape for leaf in jax.tree.leaves(state.inner)] == [(2,)]
        assert updates["a"].tolist() == [0, 0, 0]
        assert updates["b"].tolist() == [-1, -1]
    assert gk.selective_transform(gk.sgd(1.0), freeze_mask=True).update(
        params, gk.set_to_zero().init(params)
    )[0]["b"].tolist() == [0, 0]
    assert gk.selective_transform(gk.sgd(1.0), freeze_mask=False).update(
        params, gk.sgd(1.0).init(params)
    )[0]["b"].tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (gk.by_path("c"), r"freeze_mask=by_path\('c'\) matches no parameter"),
        ({"a": True}, r"freeze_mask has no entry for b"),
        ({"a": 1, "b": False}, r"freeze_mask\.a=1 is not a bool"),
        ({"a": jnp.ones(3, bool), "b": False}, r"freeze_mask\.a=bool\[3\] is not a bool"),
        (lambda params: {"a": True}, r"freeze_mask\(params\) has no entry for b"),
    ],
    ids=["pattern", "prefix", "number", "array", "function"],
)
def test_selective_transform_names_the_mask_as_it_was_given(mask, problem):
    params = {"a": jnp.ones(3), "b": jnp.ones(2)}
    tx = gk.selective_transform(gk.sgd(1.0), freeze_mask=mask)
    for call in (lambda: tx.init(params), lambda: tx.update(params, gk.sgd(1.0).init(params))):
        with pytest.raises(
            (TypeError, ValueError), match=rf"^selective_transform\.freeze: {problem}"
        ):
            call()
