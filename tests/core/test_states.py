"""States: those that do not belong are refused with their path, restored ones continue exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
OTHER = {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}
SCALARS = {"w": jnp.ones(()), "b": jnp.ones(())}


def edited(state, name, **more):
    """A state with entries changed in that of one transform."""
    return state._replace(inner={**state.inner, name: {**state.inner[name], **more}})


# ---- states that do not belong to the transform ------------------------------------------------


@pytest.mark.parametrize("given", [PARAMS, None], ids=["params", "no params"])
@pytest.mark.parametrize(
    ("make", "start", "words"),
    [
        (
            gk.adam,
            lambda tx: tx.init(OTHER),
            r"^adam, scale_by_adam\.moment\.average\.w: the state has shape \[4, 3\]\. "
            r"Expected \[2, 3\]\. A state belongs to the parameters and the transform",
        ),
        (
            gk.adam,
            lambda tx: tx.init(SCALARS),
            r"scale_by_adam\.moment\.average\.b: the state has shape \[\]\. Expected \[3\]",
        ),
        (
            gk.adam,
            lambda tx: tx.init({**PARAMS, "c": jnp.ones(1)}),
            r"scale_by_adam\.moment\.average\.c: the state has a leaf that init does not return",
        ),
        (
            gk.adam,
            lambda tx: tx.init({"w": PARAMS["w"]}),
            r"scale_by_adam\.moment\.average\.b: the state lacks this leaf",
        ),
        (
            gk.adam,
            lambda tx: edited(tx.init(PARAMS), "scale_by_adam", more=jnp.ones(())),
            r"scale_by_adam\.more: the state has a leaf that init does not return",
        ),
        (
            gk.adam,
            lambda tx: gk.chain(tx, gk.trace(0.9)).init(PARAMS),
            r"^adam: the state has 'trace', which no transform here keeps\. "
            r"Expected only \['scale_by_adam'\]",
        ),
        (
            gk.adam,
            lambda tx: gk.sgd(0.1, momentum=0.9).init(PARAMS),
            r"^adam: the state has 'trace', which no transform here keeps",
        ),
        (
            lambda rate: gk.guard(gk.adam(rate)),
            lambda tx: gk.guard(gk.sgd(0.1, momentum=0.9)).init(PARAMS),
            r"^guard, guard\.inner\.inner\.scale_by_adam\..*: the state lacks this leaf",
        ),
        (
            lambda rate: gk.MultiSteps(gk.sgd(rate, momentum=0.9), 2),
            lambda tx: gk.MultiSteps(gk.sgd(0.1, momentum=0.9), 2).init(OTHER),
            r"^MultiSteps, MultiSteps\..*w: the state has shape \[4, 3\]\. Expected \[2, 3\]",
        ),
        (
            gk.adam,
            lambda tx: edited(tx.init(PARAMS), "scale_by_adam", moment={"average": "w"}),
            r"scale_by_adam\.moment\.",
        ),
        (gk.adam, lambda tx: tx.init(PARAMS)._replace(inner=3), r"the state's inner is int"),
        (gk.adam, lambda tx: tx.init(PARAMS)._replace(inner={}), r"the state has no 'scale_by_"),
        (gk.adam, lambda tx: {"step": 0}, r"^adam: the state is dict\. Expected the State that"),
        (gk.adam, lambda tx: optax.adam(0.1).init(PARAMS), r"^adam: the state is tuple"),
        (gk.adam, lambda tx: None, r"^adam: the state is NoneType"),
        (gk.adam, lambda tx: optax.EmptyState(), r"^adam: the state is EmptyState"),
    ],
    ids=range(16),
)
def test_a_state_that_does_not_belong_is_refused_with_its_path(make, start, words, given):
    tx = make(0.1)
    state = start(tx)
    for run in (tx.update, jax.jit(tx.update)):
        if run is not tx.update and words.endswith(("moment\\.", "is int")):
            continue  # jit refuses such leaves itself
        with pytest.raises((TypeError, ValueError), match=words):
            run(PARAMS, state, given)


def test_apply_refuses_a_state_of_another_tree_too():
    tx = gk.chain(gk.clip(1.0), gk.adam(0.1))
    with pytest.raises(
        ValueError, match=r"chain, scale_by_adam\.moment\.average\.w: the state has"
    ):
        tx.apply(PARAMS, tx.init(OTHER), PARAMS)


def test_a_state_of_another_store_is_refused():
    narrow, wide = gk.ema(0.9, accumulator_dtype="bfloat16"), gk.ema(0.9)
    words = r"^ema, ema\.average\.b: the state has dtype bfloat16\. Expected float32"
    with pytest.raises(ValueError, match=words):
        wide.update(PARAMS, narrow.init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match=r"the state has dtype float32\. Expected bfloat16"):
        narrow.update(PARAMS, wide.init(PARAMS), PARAMS)
    factored = gk.averages.compressed(gk.ema(0.9), gk.stores.factored(2))
    plain = gk.averages.compressed(gk.ema(0.9), gk.stores.blockwise_mean())
    with pytest.raises(ValueError, match=r"^compressed, compressed\..*w"):
        factored.update(PARAMS, plain.init(PARAMS), PARAMS)


def test_gradients_that_would_broadcast_against_the_state_are_refused():
    tx = gk.trace(0.9)
    state = tx.init(PARAMS)
    for grads in ({"w": jnp.ones((1, 3)), "b": jnp.ones(3)}, SCALARS):
        with pytest.raises(ValueError, match=r"^trace, trace\.trace\.\w: the state has shape"):
            tx.update(grads, state)


# ---- states that are accepted ------------------------------------------------------------------


def saved(tree):
    """A tree as a checkpoint without a target restores it: dicts, lists and NumPy arrays."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return {name: saved(getattr(tree, name)) for name in tree._fields}
    if isinstance(tree, dict):
        return {str(key): saved(value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return [saved(value) for value in tree]
    return None if tree is None else np.asarray(tree)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gk.adam(0.1),
        lambda: gk.sgd(0.1),
        lambda: gk.sgd(gk.linear_schedule(0.1, 0.0, 5)),
        lambda: gk.MultiSteps(gk.adamw(0.1), 2),
        lambda: gk.guard(gk.MultiSteps(gk.chain(gk.clip(1.0), gk.adam(0.1)), 2), max_norm=1e3),
        lambda: gk.multi_transform(
            {1: gk.adam(0.1), 2: gk.sgd(0.1, momentum=0.9)}, {"w": 1, "b": 2}
        ),
        lambda: gk.adafactor(0.1, min_dim_size_to_factor=2),
        lambda: gk.chain(gk.masked(gk.trace(0.9), gk.by_rank(2)), gk.sgd(0.1)),
        lambda: gk.named_chain(("m", gk.MultiSteps(gk.adam(0.1), 2)), ("s", gk.scale(0.5))),
    ],
    ids=range(9),
)
def test_a_state_restored_as_plain_dicts_continues_exactly(make):
    tx = make()
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(3):
        params, state = tx.apply(params, state, params)
    here, there = (params, state), (params, saved(state))
    assert type(there[1]) is dict
    for _ in range(3):
        here, there = tx.apply(*here, here[0]), tx.apply(*there, there[0])
    assert jax.tree.structure(here) == jax.tree.structure(there)
    assert isinstance(there[1], gk.State)
    for one, other in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_tools_read_a_restored_state():
    tx = gk.chain(gk.sgd(gk.linear_schedule(1.0, 0.0, 10)), gk.weight_ema(0.5))
    _, state = tx.apply(PARAMS, tx.init(PARAMS), PARAMS)
    plain = saved(state)
    assert gk.hyperparameters(tx, plain)["sgd.learning_rate"] == 1.0
    weights, again = (gk.eval_params(tx, s, PARAMS) for s in (state, plain))
    np.testing.assert_array_equal(weights["w"], again["w"])


@pytest.mark.parametrize("state", [None, (), optax.EmptyState(), gk.EmptyState()])
@pytest.mark.parametrize(
    "make", [lambda: gk.sgd(0.1), lambda: gk.clip(0.5), gk.identity, lambda: gk.chain(gk.scale(2))]
)
def test_a_transform_without_state_takes_any_empty_state_and_returns_it(make, state):
    tx = make()
    expected, _ = tx.update(PARAMS, tx.init(PARAMS))
    updates, after = tx.update(PARAMS, state)
    np.testing.assert_array_equal(updates["w"], expected["w"])
    assert after == state
    assert type(after) is type(state)


def test_a_schedule_needs_a_step_also_without_state():
    tx = gk.sgd(gk.linear_schedule(1.0, 0.0, 10))
    with pytest.raises(TypeError, match=r"^sgd: the state is tuple\. Expected the State that init"):
        tx.update(PARAMS, ())


def test_a_transform_is_indexed_as_the_pair_that_it_is():
    tx = gk.adam(0.1)
    assert tx[0](PARAMS).step == 0
    updates, state = tx[1](PARAMS, tx[0](PARAMS), PARAMS)
    assert state.step == 1
    np.testing.assert_allclose(updates["b"], np.full(3, -0.1), 1e-5)
    with pytest.raises(IndexError):
        tx[2]


# ---- parameters with more leaves than gradients ------------------------------------------------


def activation(x):
    return x


MODULE = {"w": jnp.ones(2), "f": activation, "n": 3, "on": True, "i": jnp.arange(2), "none": None}
GRADS = {"w": jnp.ones(2), "f": None, "n": None, "on": None, "i": None, "none": None}


@pytest.mark.parametrize(
    "make",
    [
        lambda: gk.sgd(0.5),
        lambda: gk.adam(0.5),
        lambda: gk.chain(gk.clip_by_global_norm(1e3), gk.trace(0.9), gk.scale(-0.5)),
        lambda: gk.MultiSteps(gk.sgd(0.5, momentum=0.9), 1),
        lambda: gk.guard(gk.adam(0.5)),
        lambda: gk.adamw(0.5, weight_decay=0.0, mask=gk.by_path("w")),
        lambda: gk.chain(gk.sgd(0.5), gk.weight_ema(0.9)),
    ],
    ids=range(7),
)
def test_leaves_without_a_gradient_stay_as_they_are(make):
    tx = make()
    state = tx.init({**GRADS, "w": MODULE["w"]})
    updates, after = tx.update(GRADS, state, MODULE)
    assert jax.tree.structure(updates) == jax.tree.structure(GRADS)
    np.testing.assert_allclose(updates["w"], [-0.5, -0.5], 1e-5)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for new in (tx.apply(MODULE, state, GRADS)[0], gk.apply_updates(MODULE, updates)):
        np.testing.assert_allclose(new.pop("w"), [0.5, 0.5], 1e-5)
        assert new.pop("i") is MODULE["i"]
        assert new == {k: v for k, v in MODULE.items() if k not in ("w", "i")}


def test_none_in_place_of_a_gradient_beside_an_array():
    tx = gk.adam(0.5)
    params, grads = {"a": jnp.ones(2), "b": jnp.ones(2)}, {"a": jnp.ones(2), "b": None}
    state = tx.init(grads)
    updates, _ = tx.update(grads, state, params)
    assert updates["b"] is None
    new, _ = tx.apply(params, state, grads)
    np.testing.assert_allclose(new["a"], [0.5, 0.5], 1e-5)
    assert new["b"] is params["b"]
