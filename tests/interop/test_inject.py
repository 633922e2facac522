"""Hyperparameters in the state: optax's usage, without its rounding."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training import train_state

import gradkit as gk
from tests.cases import tree_of

SHAPES = {"matrix": (3, 2), "vector": (4,)}


def trees(count, dtype=jnp.float32):
    return [tree_of(seed, dtype, SHAPES) for seed in range(count)]


def run(tx, params, gradients, change=lambda state, i: state):
    state = tx.init(params)
    for i, grads in enumerate(gradients):
        updates, state = tx.update(grads, change(state, i), params)
        params = gk.apply_updates(params, updates)
    return params, state


def assert_close(one, other, rtol=1e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol, 1e-7)


def written(state, i):
    if i == 2:
        state.hyperparams["learning_rate"] = jnp.asarray(0.01)
    return state


def replaced(state, i):
    return (
        state._replace(hyperparams={**state.hyperparams, "learning_rate": jnp.asarray(0.01)})
        if i == 2
        else state
    )


def through_the_tree(state, i):
    return gk.tree.set(state, learning_rate=jnp.asarray(0.01)) if i == 2 else state


def through_optax(state, i):
    return optax.tree.set(state, learning_rate=jnp.asarray(0.01)) if i == 2 else state


@pytest.mark.parametrize("change", [written, replaced, through_the_tree, through_optax])
def test_a_written_rate_is_used_from_that_step_on(change):
    params, *gradients = trees(6)
    result, _ = run(gk.inject_hyperparams(gk.adam)(learning_rate=0.1), params, gradients, change)
    expected, _ = run(gk.adam(gk.piecewise_constant_schedule(0.1, {2: 0.1})), params, gradients)
    assert_close(result, expected)
    with jax.numpy_dtype_promotion("standard"):
        theirs, _ = run(
            optax.inject_hyperparams(optax.adam)(learning_rate=0.1), params, gradients, change
        )
    assert_close(result, theirs, 1e-4)


def test_without_a_change_it_is_the_transform_itself():
    params, *gradients = trees(5)
    plain, injected = (
        gk.adamw(0.1, mask=gk.by_rank(2)),
        gk.inject_hyperparams(gk.adamw)(0.1, mask=gk.by_rank(2)),
    )
    assert_close(run(injected, params, gradients)[0], run(plain, params, gradients)[0])


def test_a_schedule_is_evaluated_at_the_step_and_stored_as_it_was_used():
    rate = gk.linear_schedule(1.0, 0.0, 10)
    tx = gk.inject_hyperparams(gk.sgd)(rate)
    state = tx.init(jnp.zeros(1))
    assert state.hyperparams["learning_rate"] == 1.0
    for step in range(4):
        updates, state = tx.update(jnp.ones(1), state)
        assert state.hyperparams["learning_rate"] == rate(step) == -updates[0]
        assert state.count == step + 1


def test_a_plain_function_is_a_schedule_and_a_mask_is_none():
    def mask(params):
        return jax.tree.map(lambda p: p.ndim == 2, params)

    tx = gk.inject_hyperparams(gk.adamw)(lambda step: 0.5 / jnp.asarray(step + 1, float), mask=mask)
    state = tx.init(tree_of(0, shapes=SHAPES))
    assert state.hyperparams["learning_rate"] == 0.5
    assert "mask" not in state.hyperparams


def test_hyperparameters_stay_float32_for_bfloat16_parameters():
    params, grads = trees(2, jnp.bfloat16)
    tx = gk.inject_hyperparams(gk.adam)(1e-3)
    updates, state = tx.update(grads, tx.init(params), params)
    assert state.hyperparams["b2"] == jnp.float32(0.999)
    assert all(jnp.isfinite(u).all() for u in jax.tree.leaves(updates))
    narrow = gk.inject_hyperparams(gk.sgd, hyperparam_dtype=jnp.bfloat16)(1e-3).init(params)
    assert narrow.hyperparams["learning_rate"].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="b2"):  # which bfloat16 rounds to 1
        gk.inject_hyperparams(gk.adam, hyperparam_dtype=jnp.bfloat16)(1e-3).init(params)


def test_it_wraps_a_function_of_ones_own_and_a_factory_of_optax():
    @gk.inject_hyperparams
    def make(learning_rate, max_norm=1.0):
        return optax.chain(optax.clip_by_global_norm(max_norm), optax.sgd(learning_rate))

    params, *gradients = trees(4)
    tx = make(0.1)
    result, state = run(tx, params, gradients)
    assert set(state.hyperparams) == {"learning_rate", "max_norm"}
    assert_close(
        result, run(gk.chain(gk.clip_by_global_norm(1.0), gk.sgd(0.1)), params, gradients)[0]
    )


def test_static_arguments_stay_out_of_the_state():
    tx = gk.inject_hyperparams(gk.adam, static_args=("b1", "b2"))(0.1)
    assert set(tx.init(jnp.zeros(1)).hyperparams) == {"learning_rate", "eps", "eps_root"}
    assert gk.inject_hyperparams(gk.adam, static_args="b1")(0.1) != tx
    with pytest.raises(ValueError, match=r"^inject_hyperparams: .*'beta1'.* Did you mean 'b1'\?"):
        gk.inject_hyperparams(gk.adam, static_args="beta1")


def test_it_is_data_with_a_name():
    tx = gk.inject_hyperparams(gk.adam)(learning_rate=0.1)
    assert repr(tx) == "inject_hyperparams(adam)(learning_rate=0.1)"
    assert tx.learning_rate == 0.1
    assert eval(repr(tx), dict(vars(gk))) == tx == pickle.loads(pickle.dumps(tx))
    assert hash(tx) == hash(gk.inject_hyperparams(gk.adam)(0.1))
    assert tx != gk.inject_hyperparams(gk.adam)(learning_rate=0.2)


def test_a_new_rate_in_train_state_compiles_nothing():
    traces = []

    @jax.jit
    def step(state, grads):
        traces.append(1)
        return state.apply_gradients(grads=grads)

    state = train_state.TrainState.create(
        apply_fn=None, params={"w": jnp.ones(2)}, tx=gk.inject_hyperparams(gk.sgd)(1.0)
    )
    for rate in (1.0, 0.5, 0.25):
        state.opt_state.hyperparams["learning_rate"] = jnp.float32(rate)
        state = step(state, {"w": jnp.ones(2)})
    assert len(traces) == 1
    assert state.params["w"][0] == 1 - 1.75


def test_a_new_rate_in_nnx_optimizer_compiles_nothing():
    traces = []

    @nnx.jit
    def step(model, optimizer):
        traces.append(1)
        optimizer.update(model, nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(model))

    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, gk.inject_hyperparams(gk.sgd)(1.0), wrt=nnx.Param)
    before = model.bias[...]
    for rate in (1.0, 0.5, 0.25):
        optimizer.opt_state.hyperparams["learning_rate"][...] = jnp.float32(rate)
        step(model, optimizer)
    assert len(traces) == 1
    np.testing.assert_allclose(model.bias[...], before - 1.75, 1e-6)


INSIDE = {
    "chain": lambda tx: gk.chain(gk.clip(10.0), tx),
    "masked": lambda tx: gk.masked(tx, True),
    "MultiSteps": lambda tx: gk.MultiSteps(tx, 1),
    "optax.chain": lambda tx: optax.chain(optax.clip(10.0), tx),
    "named_chain": lambda tx: gk.named_chain(("it", tx)),
}


@pytest.mark.parametrize("wrap", INSIDE.values(), ids=INSIDE)
def test_inside_another_transform_a_value_of_the_state_is_set_by_name(wrap):
    params, *gradients = trees(6)
    injected = wrap(gk.inject_hyperparams(gk.adam)(0.1))
    result, _ = run(injected, params, gradients, through_the_tree)
    assert_close(
        result, run(gk.adam(gk.piecewise_constant_schedule(0.1, {2: 0.1})), params, gradients)[0]
    )


def test_extra_arguments_and_evaluation_weights_reach_the_inner_transform():
    tx = gk.inject_hyperparams(gk.polyak_sgd)(max_learning_rate=1.0)
    updates, _ = tx.update(jnp.array(0.5), tx.init(jnp.zeros(())), value=jnp.array(0.1))
    np.testing.assert_allclose(updates, -0.2, 1e-6)
    with pytest.raises(TypeError, match="value"):
        tx.update(jnp.array(0.5), tx.init(jnp.zeros(())))


def test_scan_jit_and_a_raw_restored_state_agree():
    params, *gradients = trees(4)
    tx = gk.inject_hyperparams(gk.adam)(gk.linear_schedule(0.1, 0.0, 10))
    expected, state = run(tx, params, gradients)
    stacked = jax.tree.map(lambda *g: jnp.stack(g), *gradients)

    def body(carry, grads):
        params, state = carry
        return tx.apply(params, state, grads), None

    (result, after), _ = jax.lax.scan(body, (params, tx.init(params)), stacked)
    assert_close(result, expected)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    raw = {"step": state.step, "hyperparams": state.hyperparams, "inner_state": state.inner_state}
    assert_close(tx.update(gradients[0], raw, params)[0], tx.update(gradients[0], state, params)[0])


def test_names_in_the_state_are_checked():
    tx = gk.inject_hyperparams(gk.sgd)(1.0)
    state = tx.init(jnp.zeros(1))
    state.hyperparams["lr"] = jnp.float32(0.1)
    with pytest.raises(
        KeyError, match=r"state.hyperparams has no 'lr'. Did you mean 'learning_rate'"
    ):
        tx.update(jnp.ones(1), state)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: gk.inject_hyperparams(3), TypeError, "inner_factory=3 is not a function"),
        (lambda: gk.inject_hyperparams(gk.adam)(0.1, b3=0.5), TypeError, "b3"),
        (lambda: gk.inject_hyperparams(gk.adam)(), TypeError, "learning_rate"),
        (lambda: gk.inject_hyperparams(gk.adam)(0.1, b1=1.5), ValueError, "b1"),
        (
            lambda: gk.inject_hyperparams(gk.sgd)(optax.schedules.WrappedSchedule(abs)),
            ValueError,
            "is a schedule with a state",
        ),
    ],
)
def test_bad_arguments_are_refused_when_it_is_called(make, error, words):
    with pytest.raises(error, match=words):
        make()
