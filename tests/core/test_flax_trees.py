"""NNX variables inside trees: arrays and paths without them."""

import jax
import jax.numpy as jnp
from flax import nnx

from gradkit import _flax


def state():
    return nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)


def test_unwrap_gives_the_arrays_of_variables_and_leaves_other_trees_alone():
    leaves = jax.tree.leaves(_flax.unwrap({"model": state(), "step": 3}))
    assert [jnp.shape(leaf) for leaf in leaves] == [(3,), (2, 3), ()]
    assert not any(_flax.is_variable(leaf) for leaf in leaves)
    tree = {"w": jnp.ones(2), "none": None}
    assert jax.tree.structure(_flax.unwrap(tree)) == jax.tree.structure(tree)


def test_the_path_of_a_variable_ends_in_its_name():
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(state())]
    names = [jax.tree_util.keystr(_flax.without_value(path), simple=True) for path in paths]
    assert names == ["bias", "kernel"]


def test_an_attribute_called_value_at_the_top_is_kept():
    path = (jax.tree_util.GetAttrKey("value"),)
    assert _flax.without_value(path) == path
    assert _flax.without_value(()) == ()
