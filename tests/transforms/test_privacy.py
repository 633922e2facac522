"""Per-example clipping: integer gradients and bad bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

GRADS = {"a": np.array([[3, 4], [1, 0]]), "b": np.array([0, 2])}
CLIPS = [gk.per_example_global_norm_clip, gk.per_example_layer_norm_clip]


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "bool"])
def test_integer_gradients_are_clipped_as_floats(clip, dtype):
    grads = jax.tree.map(lambda g: jnp.asarray(g, dtype), GRADS)
    floats = jax.tree.map(lambda g: g.astype("float32"), grads)
    for wanted, total in zip(clip(floats, 1.0), jax.jit(clip)(grads, 1.0), strict=True):
        jax.tree.map(np.testing.assert_array_equal, total, wanted)
        assert [x.dtype for x in jax.tree.leaves(total)] == [
            x.dtype for x in jax.tree.leaves(wanted)
        ]


def test_python_and_numpy_integers_are_gradients_too():
    total, clipped = gk.per_example_global_norm_clip(GRADS, 1.0)
    np.testing.assert_allclose(total["a"], [0.6 + 1 / 5**0.5, 0.8], rtol=1e-6)
    np.testing.assert_allclose(total["b"], 2 / 5**0.5, rtol=1e-6)
    assert clipped == 2


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("bound", [-1.0, float("nan"), np.float32(-2)])
def test_a_negative_bound_is_refused(clip, bound):
    with pytest.raises(ValueError, match=r"per_example_.*l2_norm_clip=.* is out of range"):
        clip(GRADS, bound)


@pytest.mark.parametrize("bound", [None, "1", [1.0], True])
def test_a_bound_that_is_no_number_is_refused(bound):
    with pytest.raises(TypeError, match=r"l2_norm_clip=.* is not a number\. Expected l2_norm_clip"):
        gk.per_example_global_norm_clip(GRADS, bound)
