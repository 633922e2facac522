"""optax's own wrappers, around a gradkit transform."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from tests.conformance.side_by_side import as_optax

PACKAGE = "optax"
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(32, 5)).astype(np.float32), rng.normal(size=(32, 3)).astype(np.float32)
PARAMS = {"kernel": jnp.asarray(0.3 * rng.normal(size=(5, 3)), jnp.float32), "bias": jnp.zeros(3)}


def loss(params):
    return jnp.mean((jnp.tanh(jnp.asarray(X) @ params["kernel"] + params["bias"]) - Y) ** 2)


def adamw(lib):
    return lib.adamw(0.02, b1=0.8, eps=1e-6, weight_decay=0.1)


def clipped(lib):
    rate = lib.linear_schedule(0.05, 0.01, 10)
    return lib.chain(
        lib.clip_by_global_norm(0.5), lib.adamw(rate, b1=0.8, eps=1e-6, weight_decay=0.1)
    )


def train(tx, steps=12, params=PARAMS):
    """The parameters after some jitted steps, and the loss."""
    # MultiSteps takes extra arguments, but is no instance of the class that says so.
    tx = tx if isinstance(tx, optax.MultiSteps) else optax.with_extra_args_support(tx)

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, value=value)
        return optax.apply_updates(params, updates), state, value

    state = tx.init(params)
    for _ in range(steps):
        params, state, value = step(params, state)
    return params, value


def without_extras(tx):
    """Hide extra arguments from optax's sam, which declares that it takes them and does not."""
    return optax.GradientTransformation(tx.init, tx.update)


ONLY_KERNEL = {"kernel": True, "bias": False}
WRAPPERS = {
    "chain": lambda tx: optax.chain(optax.clip(0.1), tx, optax.scale(0.5)),
    "named_chain": lambda tx: optax.named_chain(("clip", optax.clip(0.1)), ("tx", tx)),
    "masked": lambda tx: optax.chain(
        optax.masked(tx, ONLY_KERNEL),
        optax.masked(optax.set_to_zero(), {"kernel": False, "bias": True}),
    ),
    "partition": lambda tx: optax.partition(
        {"a": tx, "b": optax.sgd(0.1)}, {"kernel": "a", "bias": "b"}
    ),
    "multi_transform": lambda tx: optax.multi_transform(
        {"a": tx, "b": optax.sgd(0.1), "unused": tx}, lambda p: {"kernel": "a", "bias": "b"}
    ),
    "selective_transform": lambda tx: optax.selective_transform(
        tx, freeze_mask={"kernel": False, "bias": True}
    ),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, every_k_schedule=3),
    "MultiSteps().gradient_transformation": lambda tx: optax.MultiSteps(
        tx, every_k_schedule=3
    ).gradient_transformation(),
    "MultiSteps with a schedule": lambda tx: optax.MultiSteps(
        tx, every_k_schedule=lambda step: jnp.where(step < 2, 1, 3)
    ),
    "MultiSteps that skips": lambda tx: optax.MultiSteps(
        tx, 2, should_skip_update_fn=optax.skip_not_finite
    ),
    "apply_if_finite": lambda tx: optax.apply_if_finite(tx, 3),
    "flatten": optax.flatten,
    "conditionally_mask": lambda tx: optax.conditionally_mask(tx, lambda step: step % 2 == 0),
    "conditionally_transform": lambda tx: optax.conditionally_transform(tx, lambda step: step > 3),
    "ema of the updates": lambda tx: optax.chain(tx, optax.ema(0.5)),
    "trust ratio behind it": lambda tx: optax.chain(
        tx, optax.scale_by_trust_ratio(trust_coefficient=0.02)
    ),
    "split_real_and_imaginary": optax.contrib.split_real_and_imaginary,
    "mechanize": optax.contrib.mechanize,
    "schedule_free": lambda tx: optax.contrib.schedule_free(tx, learning_rate=0.02, b1=0.9),
    "sam": lambda tx: without_extras(
        optax.contrib.sam(
            tx, optax.chain(optax.contrib.normalize(), optax.sgd(0.01)), sync_period=2
        )
    ),
    "reduce_on_plateau": lambda tx: optax.chain(
        tx, optax.contrib.reduce_on_plateau(patience=1, cooldown=1, factor=0.5)
    ),
    "monitor": lambda tx: optax.chain(
        tx, optax.monitor({"norm": lambda updates, **_: optax.tree.norm(updates)})
    ),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_inside_a_wrapper(same, wrap):
    """clip and adamw with a schedule, inside a wrapper of optax."""
    same(lambda tx: train(wrap(tx)), clipped)


@pytest.mark.parametrize("name", ["chain", "masked", "partition", "MultiSteps", "apply_if_finite"])
def test_inside_a_wrapper_converted(same, name):
    """adam and reduce_on_plateau, which needs `value`, inside a wrapper of optax."""

    def plateau(lib):
        reduce = lib.contrib.reduce_on_plateau if lib is optax else lib.reduce_on_plateau
        return lib.chain(lib.adam(0.05), reduce(patience=1, cooldown=1, factor=0.5))

    same(lambda tx: train(WRAPPERS[name](tx)), plateau, convert=True)


def test_lookahead(same):
    """lookahead, with its fast and slow weights as the parameters."""

    def job(tx):
        tx = optax.lookahead(tx, sync_period=3, slow_step_size=0.5)
        params = optax.LookaheadParams.init_synced(PARAMS)
        state = tx.init(params)
        for _ in range(8):
            updates, state = tx.update(jax.grad(loss)(params.fast), state, params)
            params = optax.apply_updates(params, updates)
        return params

    same(job, adamw)


@pytest.mark.parametrize("kind", ["the factory", "a function that returns `as_optax`"])
def test_inject_hyperparams(same, kind):
    """inject_hyperparams, the learning rate set in the state halfway."""

    def job(factory):
        tx = optax.inject_hyperparams(factory)(learning_rate=0.05, b1=0.8)
        params, state = PARAMS, tx.init(PARAMS)
        for step in range(8):
            if step == 4:
                state.hyperparams["learning_rate"] = jnp.float32(0.005)
            updates, state = jax.jit(tx.update)(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
        return params, state.hyperparams["learning_rate"]

    def factory(lib):
        if lib is optax or kind == "the factory":
            return lib.adam
        return lambda learning_rate, b1: as_optax(gk.adam(learning_rate, b1))

    same(job, factory)


def test_schedule_inside_inject_hyperparams(same):
    """inject_hyperparams, with a schedule of optax's as the learning rate."""

    def job(factory):
        return train(
            optax.inject_hyperparams(factory)(learning_rate=optax.cosine_decay_schedule(0.05, 10))
        )

    same(job, lambda lib: lib.adam)


def test_schedules_of_the_other_library(same):
    """adam with the other library's schedule: gradkit's with optax's, optax's with gradkit's."""
    same(train, lambda lib: lib.adam(optax.warmup_cosine_decay_schedule(0.0, 0.05, 3, 10)))
    same(train, lambda lib: optax.adam(lib.warmup_cosine_decay_schedule(0.0, 0.05, 3, 10)))


def test_line_search_behind_it(same):
    """scale_by_backtracking_linesearch behind sgd."""

    def job(tx):
        tx = optax.chain(tx, optax.scale_by_backtracking_linesearch(max_backtracking_steps=8))
        params, state = PARAMS, tx.init(PARAMS)
        for _ in range(5):
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=loss)
            params = optax.apply_updates(params, updates)
        return params

    same(job, lambda lib: lib.sgd(1.0))


def test_lbfgs_with_the_value_and_gradient_of_its_state(same):
    """lbfgs, with optax's value_and_grad_from_state reading its state."""

    def job(tx):
        params, state = PARAMS, tx.init(PARAMS)
        value_and_grad = optax.value_and_grad_from_state(loss)
        for _ in range(4):
            value, grads = value_and_grad(params, state=state)
            updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=loss)
            params = optax.apply_updates(params, updates)
        return params

    same(job, lambda lib: lib.lbfgs())


def test_tree_map_params(same):
    """tree_map_params: double every array of the state that is shaped like a parameter."""

    def job(tx):
        state = tx.init(PARAMS)
        _, state = tx.update(jax.grad(loss)(PARAMS), state, PARAMS)
        state = optax.tree_map_params(tx, lambda moment: 2 * moment, state)
        updates, _ = tx.update(jax.grad(loss)(PARAMS), state, PARAMS)
        return updates

    same(job, adamw)
    same(job, clipped)


def test_optax_inside_gradkit(same):
    """optax's transforms inside gradkit's chain, among gradkit's."""

    def make(lib):
        return lib.chain(
            optax.adaptive_grad_clip(0.1),
            optax.scale_by_lion(),
            lib.add_decayed_weights(0.01),
            lib.scale_by_learning_rate(0.01),
        )

    same(train, make)


def test_projections_after_the_step(same):
    """projection_simplex after every step."""

    def job(tx):
        weights, state = jnp.full(5, 0.2), tx.init(jnp.full(5, 0.2))
        for _ in range(10):
            grads = jax.grad(lambda w: jnp.mean((jnp.asarray(X) @ w - Y[:, 0]) ** 2))(weights)
            updates, state = tx.update(grads, state, weights)
            weights = optax.projections.projection_simplex(optax.apply_updates(weights, updates))
        return weights

    same(job, adamw)
