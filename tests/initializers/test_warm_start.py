"""Warm starts: which leaves are taken, in which dtype, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

warm_start = gk.initializers.warm_start

NEW = {
    "encoder": {"dense_0": {"w": jnp.zeros((2, 3), jnp.bfloat16), "b": jnp.zeros(3)}},
    "head": {"w": jnp.zeros((3, 10)), "b": jnp.zeros(10)},
}
OLD = {
    "model": {"dense_0": {"w": np.ones((2, 3)), "b": np.ones(3)}},
    "head": {"w": np.ones((3, 1000)), "b": np.ones(10)},
    "step": np.array(7),
}


def test_leaves_are_taken_by_path_in_the_dtype_of_the_parameters():
    params, report = warm_start(NEW, OLD, rename={"model": "encoder"}, mismatched="fresh")
    assert report.taken == (
        ("encoder.dense_0.b", "model.dense_0.b"),
        ("encoder.dense_0.w", "model.dense_0.w"),
        ("head.b", "head.b"),
    )
    assert report.fresh == (("head.w", "float32[3, 10], pretrained float32[3, 1000]"),)
    assert set(report.dropped) == {
        ("head.w", "another shape"),
        ("step", "no leaf step in params"),
    }
    assert jax.tree.map(lambda x: (x.shape, x.dtype), params) == jax.tree.map(
        lambda x: (x.shape, x.dtype), NEW
    )
    assert (np.asarray(params["encoder"]["dense_0"]["w"], float) == 1).all()
    assert (params["head"]["w"] == 0).all()
    assert "warm_start: 3 leaves taken, 1 fresh, 2 dropped\n" in str(report)
    assert "taken    encoder.dense_0.b  from model.dense_0.b" in str(report)


def test_renaming_by_function_by_the_longest_match_and_from_a_flat_dict():
    flat = {"bert.layer.0.kernel": np.ones((2, 3)), "bert.pooler.b": np.ones(3), "x.b": np.ones(3)}
    new = {"layers": {"kernel": jnp.zeros((2, 3))}, "out": {"b": jnp.zeros(3)}}
    names = {"bert": None, "bert.layer.0": "layers", "bert.pooler": "out", "x": None}
    by_dict, report = warm_start(new, flat, rename=names)
    assert [path for path, _ in report.taken] == ["layers.kernel", "out.b"]
    assert report.dropped == (("x.b", "by rename"),)
    by_function, _ = warm_start(
        new,
        flat,
        rename=lambda path: (
            None if path[0] == "x" else "layers.kernel" if "layer" in path else "out.b"
        ),
    )
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), by_dict, by_function))


def test_an_empty_name_is_the_beginning_of_all_paths():
    inner = {"w": jnp.zeros(2), "b": {"c": jnp.zeros(2)}}
    nested, _ = warm_start(
        {"model": inner}, jax.tree.map(jnp.ones_like, inner), rename={"": "model"}
    )
    flat, _ = warm_start(inner, nested, rename={"model": ""})
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(flat))


def test_the_pretrained_array_is_copied_and_lies_where_the_parameter_lies():
    device = jax.devices()[-1]
    new = {"w": jax.device_put(jnp.zeros(4), device)}
    old = {"w": jnp.ones(4)}
    params, _ = warm_start(new, old)
    assert params["w"].sharding == new["w"].sharding
    assert params["w"].unsafe_buffer_pointer() != old["w"].unsafe_buffer_pointer()
    shapes = jax.eval_shape(lambda: {"w": jnp.zeros(4)})
    assert (warm_start(shapes, old)[0]["w"] == 1).all()


REFUSED = {
    "nothing taken": (
        lambda: warm_start(NEW, {"a": np.ones(2)}),
        ValueError,
        r"warm_start: no leaf is taken: pretrained has 'a', .*Pass rename=",
    ),
    "shape": (
        lambda: warm_start(NEW, OLD, rename={"model": "encoder"}),
        ValueError,
        r"warm_start, head\.w: the pretrained leaf is float32\[3, 1000\]\. Expected "
        r"float32\[3, 10\]\. Pass mismatched='fresh'",
    ),
    "rename": (
        lambda: warm_start(NEW, OLD, rename={"modle": "encoder"}),
        ValueError,
        r"rename='modle' matches no leaf of pretrained",
    ),
    "twice": (
        lambda: warm_start(NEW, OLD, rename=lambda path: "head.b"),
        ValueError,
        r"the pretrained leaves 'head\.b' and 'head\.w' are both 'head\.b'",
    ),
    "kind of rename": (lambda: warm_start(NEW, OLD, rename=3), TypeError, r"rename=3 is not a way"),
    "result of rename": (
        lambda: warm_start(NEW, OLD, rename=lambda path: 3),
        TypeError,
        r"rename returned 3 for 'head\.b'\. Expected a path or None",
    ),
    "numbers": (
        lambda: warm_start({"a": jnp.ones(2)}, {"a": np.array([1, 2])}),
        TypeError,
        r"warm_start, a: the pretrained leaf is int.*\[2\]\. Expected float32\[2\]",
    ),
    "no value": (
        lambda: warm_start(
            {"a": jnp.ones(2), "b": jax.ShapeDtypeStruct((2,), jnp.float32)}, {"a": np.ones(2)}
        ),
        ValueError,
        r"warm_start, b: this leaf is fresh \(not in pretrained\), but has no value",
    ),
    "mismatched": (
        lambda: warm_start(NEW, OLD, mismatched="skip"),
        ValueError,
        r"mismatched='skip' is not an option\. Expected one of 'refuse', 'fresh'",
    ),
    "none": (lambda: warm_start(NEW, None), TypeError, r"pretrained is None"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()
