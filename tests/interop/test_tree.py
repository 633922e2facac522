"""``gk.tree`` has optax.tree's functions, agrees with them, and is right where they round."""

import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from tests.cases import tree_of

SHAPES = {"matrix": (3, 2), "vector": (4,)}
X, Y = tree_of(0, shapes=SHAPES), tree_of(1, shapes=SHAPES)
Z = tree_of(2, jnp.complex64, SHAPES)
THEIRS = {
    name: value
    for name, value in vars(optax.tree).items()
    if not name.startswith("_") and not isinstance(value, types.ModuleType)
}

CALLS = {
    "add": [(X, Y), (X, Y, X)],
    "add_scale": [(X, 0.5, Y)],
    "allclose": [(X, X), (X, Y)],
    "batch_shape": [(X, (2,)), (X,)],
    "bias_correction": [(X, 0.9, 3)],
    "cast": [(X, jnp.bfloat16), (X, None)],
    "cast_like": [(X, Z)],
    "clip": [(X, -0.5, 0.5), (X, None, 0.5), (X,)],
    "conj": [(Z,)],
    "div": [(X, Y)],
    "dtype": [
        (X,),
        ({**X, "z": jnp.ones(1, jnp.bfloat16)}, "promote"),
        ({**X, "z": jnp.ones(1, jnp.bfloat16)}, "lowest"),
        ({},),
    ],
    "full_like": [(X, 3.0), (X, 3.0, jnp.bfloat16)],
    "max": [(X,), ({"empty": jnp.zeros(0)},), ({},)],
    "min": [(X,), ({"empty": jnp.zeros(0)},), ({},)],
    "mul": [(X, Y)],
    "norm": [(X,), (Z,), (X, 1), (Z, "inf"), (X, 2, True), (X, 1, True), (X, jnp.inf, True)],
    "ones_like": [(X,), (X, jnp.bfloat16)],
    "random_like": [(jax.random.key(0), X)],
    "real": [(Z,)],
    "scale": [(0.5, X), (jnp.float32(0.5), X)],
    "size": [(X,)],
    "split_key_like": [(jax.random.key(0), X)],
    "sub": [(X, Y)],
    "sum": [(X,), (X, True), (Z,)],
    "unwrap_random_key_data": [({"k": jax.random.key(0), "x": X},)],
    "update_infinity_moment": [(X, Y, 0.9, 1e-8)],
    "update_moment": [
        (X, Y, 0.9, 1),
        (X, Y, 0.9, 2),
        ({"a": None, "b": 1.0}, {"a": None, "b": 2.0}, 0.9, 2),
    ],
    "update_moment_per_elem_norm": [(X, Y, 0.9, 2), (X, Y, 0.9, 1), (Z, Y, 0.9, 2), (Z, Y, 0.9, 3)],
    "vdot": [(X, Y), (Z, Z)],
    "where": [(True, X, Y), (jnp.array(False), X, Y)],
    "zeros_like": [(X,), (X, jnp.int32)],
}


def test_every_function_is_there_under_its_arguments():
    assert set(CALLS) | {"get", "get_all_with_path", "set", "map_params"} == set(THEIRS)
    for name, theirs in THEIRS.items():
        assert list(inspect.signature(getattr(gk.tree, name)).parameters) == list(
            inspect.signature(theirs).parameters
        ), name


@pytest.mark.parametrize("name", CALLS)
def test_it_agrees_with_optax(name):
    for args in CALLS[name]:
        with jax.numpy_dtype_promotion("standard"):
            theirs = THEIRS[name](*args)
        ours = jax.tree.map(raw, getattr(gk.tree, name)(*args))
        theirs = jax.tree.map(raw, theirs)
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            if not hasattr(b, "dtype") or b.dtype.name == "bool":
                assert a == b
            else:
                np.testing.assert_allclose(
                    a.astype(np.complex64), np.asarray(b).astype(np.complex64), 1e-5, 1e-6
                )


def raw(x):
    is_key = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return (
        np.asarray(jax.random.key_data(x))
        if is_key
        else np.asarray(x)
        if isinstance(x, (jax.Array, float, int))
        else x
    )


def test_reductions_of_half_precision_are_wide():
    many = [jnp.ones((), jnp.bfloat16)] * 1000
    np.testing.assert_allclose(gk.tree.norm(many), np.sqrt(1000.0), 1e-6)
    assert (
        gk.tree.sum(many)
        == gk.tree.vdot(many, many)
        == gk.tree.norm(many, 1)
        == gk.tree.norm(many, squared=True)
        == 1000
    )
    big = jnp.full(4, 300.0, jnp.float16)  # whose square float16 cannot hold
    assert gk.tree.norm(big) == 600.0


def test_the_weight_that_an_average_has_seen_keeps_its_digits():
    exact = 1 - np.float64(0.9999) ** 1
    np.testing.assert_allclose(gk.tree.bias_correction(jnp.float32(exact), 0.9999, 1), 1.0, 1e-6)


def test_averages_keep_the_dtype_of_the_moment():
    new = gk.tree.update_moment(jnp.ones(2, jnp.bfloat16), jnp.zeros(2, jnp.float32), 0.999, 2)
    assert new.dtype == jnp.float32
    np.testing.assert_allclose(new, 0.001, 1e-4)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: gk.tree.norm(X, 3),
            ValueError,
            "norm: ord=3 is not supported. Expected None, 1, 2 or inf.",
        ),
        (
            lambda: gk.tree.dtype({"a": jnp.ones(1), "b": jnp.ones(1, jnp.bfloat16)}),
            ValueError,
            "has no single dtype",
        ),
        (lambda: gk.tree.dtype(X, "middle"), ValueError, "mixed_dtype_handler='middle' is unknown"),
        (
            lambda: gk.tree.vdot(jnp.ones(2), jnp.ones(3)),
            ValueError,
            r"a leaf float32\[3\] does not match float32\[2\]",
        ),
        (
            lambda: gk.tree.get(gk.chain(gk.trace(0.9), gk.trace(0.9)).init(X), "trace"),
            KeyError,
            "'trace' fits 2 values",
        ),
        (
            lambda: gk.tree.set(gk.adam(0.1).init(X), stepp=1),
            KeyError,
            "'stepp' fits no value of this state. Did you mean 'step'",
        ),
        (
            lambda: gk.tree.set(gk.adam(0.1).init(X), lambda path, value: False, step=1),
            KeyError,
            "filtering leaves none",
        ),
    ],
)
def test_what_is_wrong_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---- states -------------------------------------------------------------------------------------


def test_moments_are_found_by_optaxs_names():
    tx, theirs = gk.chain(gk.clip(1.0), gk.adam(0.1)), optax.adam(0.1)
    with jax.numpy_dtype_promotion("standard"):
        _, saved = theirs.update(X, theirs.init(X), X)
    state = gk.adam(0.1).update(X, tx.init(X), X)[1]
    for name in ("mu", "nu"):
        for a, b in zip(
            jax.tree.leaves(gk.tree.get(state, name)),
            jax.tree.leaves(gk.tree.get(saved, name)),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, 1e-4)
    assert gk.tree.get(state, "count") == gk.tree.get(saved, "count") == 1
    assert set(gk.tree.get(gk.sgd(0.1, momentum=0.9).init(X), "trace")) == set(SHAPES)
    assert set(gk.tree.get(gk.lion(0.1).init(X), "mu")) == set(SHAPES)
    assert gk.tree.get(state, "nonsense") is None
    assert gk.tree.get(state, "nonsense", 3) == 3


def test_get_and_set_agree_with_optax_on_its_states():
    state = optax.chain(
        optax.add_noise(1.0, 0.9, key=0), optax.inject_hyperparams(optax.adam)(lambda step: 0.1)
    ).init(X)
    keys = ("mu", "AddNoiseState", "b1", "rng_key")
    for key in keys:
        assert jax.tree.structure(gk.tree.get(state, key)) == jax.tree.structure(
            optax.tree.get(state, key)
        )

    def first(path, value):
        return (
            isinstance(value, jax.Array)
            and getattr(path[-1], "tuple_name", "") == "ScaleByAdamState"
        )

    assert (
        gk.tree.get(state, "count", filtering=first)
        == optax.tree.get(state, "count", filtering=first)
        == 0
    )
    assert gk.tree.get(gk.tree.set(state, first, count=jnp.int32(7)), "count", filtering=first) == 7
    everywhere = gk.tree.set(
        state, count=jnp.int32(7)
    )  # optax.tree.set leaves those in the inner state at 0
    assert [int(count) for _, count in gk.tree.get_all_with_path(everywhere, "count")] == [7] * 4


def test_optaxs_own_functions_read_our_states():
    state = gk.chain(gk.clip(1.0), gk.inject_hyperparams(gk.adam)(0.1)).init(X)
    assert (
        optax.tree.get(state, "learning_rate")
        == gk.tree.get(state, "learning_rate")
        == jnp.float32(0.1)
    )
    assert optax.tree.get(optax.tree.set(state, step=jnp.int32(3)), "step") == 3


def test_a_dotted_path_and_a_set_value_go_through_a_wrapper():
    state = gk.MultiSteps(gk.adam(0.1), 2).init(X)
    assert len(gk.tree.get_all_with_path(state, "step")) == 2
    assert gk.tree.get(gk.tree.set(state, **{"opt.step": jnp.int32(4)}), "opt.step") == 4


TRANSFORMS = {
    "adamw": lambda: gk.adamw(0.1),
    "clip and momentum": lambda: gk.chain(gk.clip(1.0), gk.sgd(0.1, momentum=0.9)),
    "MultiSteps": lambda: gk.MultiSteps(gk.adam(0.1), 2),
    "guard": lambda: gk.guard(gk.adam(0.1)),
    "inject_hyperparams": lambda: gk.inject_hyperparams(gk.adam)(0.1),
    "masked by a predicate": lambda: gk.masked(gk.adam(0.1), gk.by_rank(2)),
}
TREES = {
    "masked by a tree": lambda: gk.masked(gk.adam(0.1), {"matrix": True, "vector": False}),
    "partition by a tree": lambda: gk.partition(
        {"a": gk.adam(0.1), "b": gk.sgd(0.1, momentum=0.9)}, {"matrix": "a", "vector": "b"}
    ),
    "adamw with a mask": lambda: gk.adamw(0.1, mask={"matrix": True, "vector": False}),
}


def check_map_params(make, map_params, **more):
    tx = make()
    state = tx.init(X)
    marked = map_params(
        tx,
        lambda leaf, name: None if leaf is None else f"{name} {leaf.shape}",
        state,
        {name: name for name in SHAPES},
        **more,
    )
    assert jax.tree.structure(marked) == jax.tree.structure(state)
    found = {leaf for leaf in jax.tree.leaves(marked) if isinstance(leaf, str)}
    assert found
    assert found <= {f"{name} {shape}" for name, shape in SHAPES.items()}


@pytest.mark.parametrize("make", TRANSFORMS.values(), ids=TRANSFORMS)
def test_map_params_finds_the_trees_of_parameters(make):
    check_map_params(make, gk.tree.map_params)
    check_map_params(make, optax.tree.map_params, is_leaf=lambda x: x is None)


@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_map_params_works_where_a_mask_is_a_tree(make):
    check_map_params(make, gk.tree.map_params)
    check_map_params(make, optax.tree.map_params, is_leaf=lambda x: x is None)


# ---- beside an optimizer ------------------------------------------------------------------------


def test_target_networks_agree_with_optax():
    assert_trees(gk.incremental_update(X, Y, 0.1), optax.incremental_update(X, Y, 0.1))
    for step in range(4):
        assert_trees(gk.periodic_update(X, Y, step, 2), optax.periodic_update(X, Y, step, 2))
    assert gk.incremental_update({"a": None}, {"a": None}, 0.1) == {"a": None}
    assert_trees(gk.incremental_update(X, Y, 1.0), X, 0)
    half = gk.incremental_update(
        jnp.ones(1, jnp.float32), jnp.zeros(1, jnp.bfloat16), jnp.float32(0.25)
    )
    assert half.dtype == jnp.bfloat16
    assert half[0] == 0.25


def assert_trees(one, other, rtol=1e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol, 1e-7 if rtol else 0)


def test_counters_and_norms_agree_with_optax():
    for count in (jnp.int32(3), jnp.int32(2**31 - 1), jnp.uint8(255), jnp.float32(2.0)):
        assert gk.safe_increment(count) == optax.safe_increment(count)
        assert gk.safe_increment(count).dtype == count.dtype
    assert gk.global_norm(X) == gk.tree.norm(X)
    np.testing.assert_allclose(gk.global_norm(X), optax.tree.norm(X), 1e-6)
    x = X["matrix"]
    for args in ((0.1,), (10.0,), (0.1, 1, 0), (0.1, None, 1, True)):
        np.testing.assert_allclose(gk.safe_norm(x, *args), optax.safe_norm(x, *args), 1e-6)
    assert not jnp.isnan(jax.grad(lambda x: gk.safe_norm(x, 0.0))(jnp.zeros(3))).any()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"axis": 2}, r"axis=2 is not in the array float32\[2, 3\]\. Expected -2 <= axis < 2\."),
        ({"axis": (0, -3)}, r"axis=\(0, -3\) is not in the array"),
        ({"axis": (0, 0)}, r"axis=\(0, 0\) names an axis twice\."),
        ({"axis": ()}, r"axis=\(\) has 0 axes\. Expected one axis for vectors, two for"),
        ({"axis": "rows"}, r"axis='rows' is not an axis\."),
        ({"ord": "x"}, r"ord='x' is not an order of norms of float32\[2, 3\]\."),
        ({"ord": 3, "axis": (0, 1)}, r"ord=3 is not an order of norms"),
    ],
)
def test_safe_norm_names_a_wrong_axis_and_order(kwargs, message):
    with pytest.raises((TypeError, ValueError), match=f"^safe_norm: {message}"):
        gk.safe_norm(jnp.ones((2, 3)), 0.0, **kwargs)


def test_safe_norm_takes_an_array_and_no_tree():
    with pytest.raises(
        TypeError, match=r"^safe_norm: x is dict\. Expected an array\. .*tree\.norm"
    ):
        gk.safe_norm({"w": jnp.ones(2)}, 0.0)


def test_gradients_are_scaled_and_values_pass():
    value, grad = jax.value_and_grad(
        lambda p: gk.tree.norm(gk.scale_gradient(p, 0.5), squared=True)
    )(X)
    assert value == gk.tree.norm(X, squared=True)
    assert_trees(grad, X)
