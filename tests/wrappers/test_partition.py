"""Parameter groups on trees of every make.

Dicts, nnx states, modules with None and callables, Haiku's two levels.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradkit as gk

DOUBLE = gk.scale(2.0)


def marked(mask, tree):
    """Which leaves a mask means, by path: those that a doubling under it doubles."""
    tx = gk.masked(DOUBLE, mask)
    ones = jax.tree.map(jnp.ones_like, tree)
    updates, _ = jax.jit(tx.update)(ones, tx.init(tree), tree)
    found = jax.tree_util.tree_leaves_with_path(updates)
    return [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, leaf in found
        if np.ravel(leaf)[0] == 2.0
    ]


TREE = {
    "embedding": jnp.zeros((8, 4)),
    "layers": [
        {"kernel": jnp.zeros((4, 4)), "bias": jnp.zeros(4)},
        {"kernel": jnp.zeros((4, 2), jnp.bfloat16), "bias": jnp.zeros(2)},
    ],
    "norm": {"scale": jnp.zeros(4)},
    "temperature": jnp.zeros(()),
}
KERNELS = ["layers.0.kernel", "layers.1.kernel"]
BIASES = ["layers.0.bias", "layers.1.bias"]


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (gk.by_path("kernel"), KERNELS),
        (gk.by_path("layers.0.*"), ["layers.0.bias", "layers.0.kernel"]),
        (gk.by_path(r"\.(bias|scale)$", regex=True), [*BIASES, "norm.scale"]),
        (gk.by_rank(2), ["embedding", *KERNELS]),
        (gk.by_rank(0, 0), ["temperature"]),
        (gk.masks.by_size(16), ["embedding", "layers.0.kernel"]),
        (gk.masks.by_size(0, 2), ["layers.1.bias", "temperature"]),
        (gk.masks.by_dtype(jnp.bfloat16), ["layers.1.kernel"]),
        (
            gk.masks.by_function(lambda path, leaf: leaf.shape == (4,)),
            ["layers.0.bias", "norm.scale"],
        ),
        (gk.by_rank(2) & ~gk.by_path("embedding"), KERNELS),
        (gk.by_path("bias") | gk.by_path("scale"), [*BIASES, "norm.scale"]),
        (~(gk.by_rank(2) | gk.by_path("bias")), ["norm.scale", "temperature"]),
        (~gk.by_rank(2) & ~gk.by_path("bias") & ~gk.by_path("norm.*"), ["temperature"]),
    ],
    ids=repr,
)
def test_predicates_mean_leaves(predicate, expected):
    assert sorted(marked(predicate, TREE)) == sorted(expected)


@pytest.mark.parametrize(
    "mask",
    [
        {"embedding": False, "layers": [True, False], "norm": False, "temperature": True},
        lambda params: {
            "embedding": False,
            "layers": [True, False],
            "norm": False,
            "temperature": True,
        },
        gk.masks.by_function(
            lambda path, leaf: path.startswith("layers.0") or path == "temperature"
        ),
    ],
)
def test_masks_are_prefixes_functions_of_the_tree_or_of_the_leaf(mask):
    assert marked(mask, TREE) == ["layers.0.bias", "layers.0.kernel", "temperature"]


def test_weight_decay_that_skips_biases_and_norms_is_one_word():
    tx = gk.adamw(0.0, weight_decay=1.0, mask=gk.by_rank(2))
    tx = tx.replace(learning_rate=1.0)
    ones = jax.tree.map(jnp.ones_like, TREE)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, ones), tx.init(ones), ones)
    decayed = [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, leaf in jax.tree_util.tree_leaves_with_path(updates)
        if np.ravel(leaf)[0]
    ]
    assert sorted(decayed) == sorted(["embedding", *KERNELS])


def test_stacked_layers_are_told_apart_by_path_where_rank_fails_jaxformer_28():
    # Scanned layers stack their biases into matrices.
    stacked = {
        "blocks": {"kernel": jnp.zeros((12, 4, 4)), "bias": jnp.zeros((12, 4))},
        "head": jnp.zeros((4, 2)),
    }
    assert "blocks.bias" in marked(gk.by_rank(2), stacked)
    assert marked(~gk.by_path("bias"), stacked) == ["blocks.kernel", "head"]
    assert marked(gk.by_rank(3) | (gk.by_rank(2) & ~gk.by_path("blocks.*")), stacked) == [
        "blocks.kernel",
        "head",
    ]


class Net(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 2, rngs=rngs)
        self.norm = nnx.LayerNorm(2, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.linear(x)).sum()


def test_nnx_states_are_trees_with_paths():
    state = nnx.state(Net(nnx.Rngs(0)), nnx.Param)
    assert len(marked(gk.by_rank(2), state)) == 1
    (kernel,) = marked(gk.by_path("*kernel*"), state)
    assert kernel.startswith("linear.kernel")
    assert len(marked(gk.by_path(r"^norm\.", regex=True), state)) == 2
    assert len(marked(gk.masks.by_function(lambda path, leaf: "bias" in path), state)) == 2


def test_nnx_optimizer_takes_groups():
    model = Net(nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.state(model, nnx.Param))
    tx = gk.where(gk.by_rank(2), gk.sgd(0.5, momentum=0.9), gk.set_to_zero())
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    optimizer.update(
        model, nnx.grad(lambda m: m(jnp.ones(3)) + jnp.sum(m.linear.kernel[...]))(model)
    )
    after = jax.tree.map(np.asarray, nnx.state(model, nnx.Param))
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert sum(jax.tree.leaves(moved)) == 1


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["weight", "bias", "inner"],
    meta_fields=["activation"],
)
class Module:
    """Like a module of Equinox: a callable pytree, with a function and None among its fields."""

    def __init__(self, weight, bias=None, inner=None, activation=jax.nn.relu):
        self.weight, self.bias, self.inner, self.activation = weight, bias, inner, activation

    def __call__(self, x):
        return self.activation(self.weight @ x)


def module(w=None, b=None, inner=None):
    w, b, inner = (
        (jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros((3, 3))) if w is None else (w, b, inner)
    )
    return Module(w, b, Module(inner))


def test_callable_modules_with_none_leaves_are_trees():
    assert marked(gk.by_rank(2), module()) == ["weight", "inner.weight"]
    assert marked(gk.by_path("bias"), module()) == ["bias"]


def test_a_callable_tree_of_bools_is_a_mask_and_a_callable_tree_of_words_are_labels():
    assert marked(module(True, False, False), module()) == ["weight"]
    tx = gk.partition({"a": DOUBLE, "b": gk.set_to_zero()}, module("a", "b", "a"))
    ones = jax.tree.map(jnp.ones_like, module())
    updates, _ = tx.update(ones, tx.init(ones), ones)
    assert [float(np.ravel(leaf)[0]) for leaf in jax.tree.leaves(updates)] == [2.0, 0.0, 2.0]


def test_filtered_trees_with_none_in_place_of_what_is_not_trained():
    tree = {"w": jnp.zeros((2, 2)), "function": None, "b": jnp.zeros(2)}
    assert marked(gk.by_rank(2), tree) == ["w"]
    assert marked({"w": False, "function": None, "b": True}, tree) == ["b"]


def test_haiku_names_with_slashes():
    tree = {
        "mlp/~/linear_0": {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)},
        "mlp/~/linear_1": {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)},
    }
    assert marked(gk.by_path("w"), tree) == ["mlp/~/linear_0.w", "mlp/~/linear_1.w"]
    assert marked(gk.by_path("*linear_1.*"), tree) == ["mlp/~/linear_1.b", "mlp/~/linear_1.w"]


def test_each_group_is_its_transform_alone():
    params = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([6.0, 8.0])}
    tx = gk.partition(
        {"clipped": gk.clip_by_global_norm(1.0), "moved": gk.adam(0.1)},
        {"clipped": gk.by_path("a"), "moved": gk.by_path("b")},
    )
    state = tx.init(params)
    assert set(state.inner["partition"]) == {"moved"}
    updates, state = tx.update(params, state, params)
    np.testing.assert_allclose(updates["a"], [0.6, 0.8], 1e-6)  # the norm of its own leaves
    np.testing.assert_allclose(
        updates["b"], gk.adam(0.1).update(params["b"], gk.adam(0.1).init(params["b"]))[0], 1e-6
    )


def test_groups_share_the_root_clock_and_take_schedules():
    rate = gk.linear_schedule(1.0, 0.0, 10)
    tx = gk.where(gk.by_path("a"), gk.sgd(rate), gk.sgd(0.5))
    params = {"a": jnp.ones(1), "b": jnp.ones(1)}
    _, state = tx.update(params, tx.init(params))
    updates, _ = tx.update(params, state)
    np.testing.assert_allclose([updates["a"][0], updates["b"][0]], [-0.9, -0.5], 1e-6)


def test_masked_gradients_reach_links_that_ask_for_grad():
    @gk.transform
    def asks():
        def update(updates, state, params, *, grad):
            assert jax.tree.structure(grad) == jax.tree.structure(updates)
            return grad, state

        return gk.Rule(lambda params: (), update)

    params = {"a": jnp.ones(1), "b": jnp.ones(1)}
    tx = gk.masked(asks(), gk.by_path("a"))
    updates, _ = tx.update(
        params, tx.init(params), params, grad={"a": jnp.full(1, 7.0), "b": jnp.full(1, 8.0)}
    )
    assert (updates["a"][0], updates["b"][0]) == (7.0, 1.0)


def test_freeze_and_where_with_an_otherwise_that_changes_nothing():
    params = {"a": jnp.ones(1), "b": jnp.ones(1)}
    frozen, _ = gk.freeze(gk.by_path("a")).update(params, gk.freeze(gk.by_path("a")).init(params))
    assert (frozen["a"][0], frozen["b"][0]) == (0.0, 1.0)
    tx = gk.where(gk.by_path("a"), DOUBLE, gk.identity())
    updates, _ = tx.update(params, tx.init(params))
    assert (updates["a"][0], updates["b"][0]) == (2.0, 1.0)


PARAMS = {"a": jnp.ones(1), "b": jnp.ones((1, 1))}


@pytest.mark.parametrize(
    ("tx", "words"),
    [
        (
            gk.masked(DOUBLE, gk.by_path("c")),
            r"masked: mask=by_path\('c'\) matches no parameter\. Available paths: a, b\.",
        ),
        (gk.masked(DOUBLE, {"a": True}), r"masked: mask has no entry for b"),
        (
            gk.masked(DOUBLE, {"a": True, "b": False, "c": True}),
            r"masked: mask has the entry c, which the parameters lack",
        ),
        (
            gk.partition({"x": DOUBLE}, {"a": "x", "b": "y"}),
            r"partition: no transform for the label 'y'\. Expected one of 'x'\.$",
        ),
        (gk.partition({"x": DOUBLE}, {"a": "x"}), r"partition: param_labels has no entry for b"),
        (
            gk.partition({"x": DOUBLE, "y": DOUBLE}, {"x": gk.by_rank(1), "y": gk.by_rank(2)}),
            r"partition, b: the predicates of 'x', 'y' select this leaf\. Expected exactly one\.",
        ),
        (
            gk.partition({"x": DOUBLE}, {"x": gk.by_rank(2)}),
            r"partition, a: no predicate selects this leaf\. Expected exactly one\.",
        ),
        (
            gk.partition({"x": DOUBLE, "y": DOUBLE}, {"a": "u", "b": "v"}),
            r"partition: no transform for the label 'u', 'v'\. Expected one of 'x', 'y'\.$",
        ),
    ],
    ids=range(8),
)
def test_groups_that_do_not_fit_the_tree_are_refused_with_what_does_not(tx, words):
    with pytest.raises(ValueError, match=words):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


@pytest.mark.parametrize(
    "tx",
    [
        gk.partition({"x": DOUBLE, "z": gk.adam(0.1)}, {"a": "x", "b": "x"}),
        gk.where(gk.by_rank(3), gk.adam(0.1), DOUBLE),
    ],
    ids=["label", "predicate"],
)
def test_a_group_may_have_no_leaf(tx):
    updates, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    assert updates["a"][0] == updates["b"][0, 0] == 2.0
    assert tx.update(PARAMS, state, PARAMS)[0]["a"][0] == 2.0


MIXED = {"w": jnp.ones((2, 2)), "n": jnp.arange(3)}
INTEGERS = {"w": jnp.ones((2, 2)), "n": jnp.zeros(3, jnp.int32)}


@pytest.mark.parametrize(
    "make",
    [
        lambda: gk.masked(gk.adam(0.1), {"w": True, "n": False}),
        lambda: gk.where(gk.masks.by_dtype("float32"), gk.adam(0.1), gk.identity()),
        lambda: gk.partition({"a": gk.adam(0.1), "b": gk.set_to_zero()}, {"w": "a", "n": "b"}),
        lambda: gk.chain(
            gk.masked(gk.clip(5.0), gk.masks.by_dtype("float32")),
            gk.masked(gk.adam(0.1), gk.masks.by_dtype("float32")),
            gk.freeze(gk.masks.by_dtype("int32")),
        ),
        lambda: gk.selective_transform(gk.adam(0.1), freeze_mask={"w": False, "n": True}),
    ],
)
def test_integer_leaves_that_are_held_apart_stay(make):
    tx = make()
    params, state = jax.jit(tx.apply)(MIXED, tx.init(MIXED), INTEGERS)
    np.testing.assert_array_equal(params["n"], MIXED["n"])
    np.testing.assert_allclose(params["w"], 0.9, 1e-6)
    assert tx.update(INTEGERS, state, params)[0]["n"].dtype == jnp.int32


@pytest.mark.parametrize(
    "make",
    [
        lambda: gk.adam(0.1),
        lambda: gk.masked(gk.adam(0.1), {"w": True, "n": True}),
        lambda: gk.where(gk.masks.by_dtype("float32"), gk.adam(0.1), gk.sgd(0.1)),
    ],
)
def test_integer_leaves_that_would_be_trained_are_refused(make):
    with pytest.raises(
        TypeError,
        match=r", n: this parameter is int32\[3\]\. Expected a floating dtype\. Remove",
    ):
        make().init(MIXED)


@pytest.mark.parametrize(
    "wrap",
    [lambda tx: tx, lambda tx: gk.MultiSteps(tx, 2), gk.guard, lambda tx: gk.sam(tx, gk.sgd(0.1))],
)
def test_groups_without_state_keep_their_state_as_it_is(wrap):
    tx, params = (
        wrap(gk.where(gk.by_rank(2), gk.sgd(0.1), gk.sgd(0.2))),
        {"w": jnp.ones((2, 2)), "b": jnp.ones(2)},
    )
    state = tx.init(params)
    _, after = jax.jit(tx.apply)(params, state, params)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_a_leaf_named_value_is_found_by_its_name_and_a_variable_by_its_own():
    attention = {"query": jnp.ones(2), "value": jnp.ones(2)}
    assert gk.by_path("value")(attention) == {"query": False, "value": True}
    assert not any(jax.tree.leaves(gk.by_path("attention")({"attention": attention})))
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)
    assert jax.tree.leaves(gk.by_path("kernel")(state)) == [False, True]


@pytest.mark.parametrize(
    "masked",
    [
        lambda tx: gk.masked(tx, gk.by_rank(2)),
        lambda tx: gk.where(gk.by_rank(2), tx, gk.set_to_zero()),
    ],
)
def test_a_function_of_all_parameters_reaches_a_group_as_one_of_its_own(masked):
    params, x = {"w": jnp.full((2, 2), 0.5), "b": jnp.ones(2)}, jnp.array([[1.0, 2.0]])
    loss = lambda params, x: jnp.sum((x @ params["w"] + params["b"][None]) ** 2)
    sharp = gk.sam(gk.sgd(0.1), gk.sgd(0.01), opaque_mode=True)
    step = gk.make_step(loss, masked(sharp), donate=False)
    alone = gk.make_step(lambda w, x: loss({"w": w, "b": params["b"]}, x), sharp, donate=False)
    got, *_ = step(params, step.tx.init(params), x)
    wanted, *_ = alone(params["w"], sharp.init(params["w"]), x)
    np.testing.assert_allclose(got["w"], wanted, 1e-6)


@pytest.mark.parametrize("around", [gk.mechanize, gk.split_real_and_imaginary])
def test_groups_by_dtype_see_the_users_dtypes_inside_wrappers(around):
    params = {"w": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(2)}
    tx = around(gk.where(gk.masks.by_dtype("bfloat16"), gk.trace(0.5), gk.sgd(0.1)))
    params, _ = tx.apply(params, tx.init(params), params)
    assert params["w"].dtype == jnp.bfloat16


def test_a_bare_array_that_a_group_does_not_select_is_no_missing_parameter():
    params = jnp.array([1.0, 2.0])
    two = gk.where(gk.by_rank(2), gk.adamw(0.1), gk.sgd(0.5))
    assert two.apply(params, two.init(params), params)[0].tolist() == [0.5, 1.0]
    tx = gk.muon(0.5, weight_decay=0.1, nesterov=False)
    new, state = tx.apply(params, tx.init(params), params)
    assert jnp.allclose(new, params - 0.5)
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(params))
    with pytest.raises(ValueError, match="add_decayed_weights: params=None"):
        two.update(params, two.init(params))
