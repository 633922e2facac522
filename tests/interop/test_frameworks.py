"""gradkit's transforms where optax's are expected, and optax's inside gradkit's chain."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training import train_state

import gradkit as gk
from tests.cases import tree_of

OPTIMIZERS = {
    "sgd": lambda: gk.sgd(0.1, 0.8, nesterov=True),
    "adamw": lambda: gk.adamw(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1),
    "clip + scheduled adam": lambda: gk.chain(
        gk.clip_by_global_norm(0.5), gk.adam(gk.linear_schedule(0.1, 0.01, 4), eps=1e-3)
    ),
}
each = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
SHAPES = {"matrix": (3, 2), "vector": (4,)}


def alone(tx, params, gradients):
    """The parameters after gradkit's own steps."""
    state = tx.init(params)
    for grads in gradients:
        updates, state = tx.update(grads, state, params)
        params = gk.apply_updates(params, updates)
    return params


def under_optax(tx, params, gradients):
    """The parameters after optax's way to step."""
    state = tx.init(params)
    for grads in gradients:
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def assert_close(one, other, rtol=1e-5):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol, 1e-6)


@pytest.fixture
def params():
    return tree_of(0, shapes=SHAPES)


@pytest.fixture
def gradients():
    return [tree_of(seed, shapes=SHAPES) for seed in (1, 2, 3, 4)]


@each
def test_inside_optax_chain(make, params, gradients):
    expected = alone(gk.chain(gk.clip(0.5), make(), gk.scale(0.5)), params, gradients)
    assert_close(
        under_optax(optax.chain(optax.clip(0.5), make(), optax.scale(0.5)), params, gradients),
        expected,
    )


@each
def test_inside_optax_masked(make, params, gradients):
    mask = {"matrix": True, "vector": False}
    result = under_optax(
        optax.chain(
            optax.masked(make(), mask),
            optax.masked(optax.set_to_zero(), {"matrix": False, "vector": True}),
        ),
        params,
        gradients,
    )
    only = lambda tree: {"matrix": tree["matrix"]}
    assert_close(only(result), alone(make(), only(params), [only(g) for g in gradients]))
    np.testing.assert_array_equal(result["vector"], params["vector"])


@each
def test_inside_optax_multi_steps(make, params, gradients):
    # MultiSteps divides an int32 counter by a float: its own arithmetic, not ours, needs the usual
    # promotion.
    with jax.numpy_dtype_promotion("standard"):
        result = under_optax(optax.MultiSteps(make(), every_k_schedule=2), params, gradients)
    means = [
        jax.tree.map(lambda a, b: (a + b) / 2, *pair) for pair in (gradients[:2], gradients[2:])
    ]
    assert_close(result, alone(make(), params, means))


@each
def test_inside_optax_apply_if_finite(make, params, gradients):
    poisoned = jax.tree.map(lambda g: jnp.full_like(g, jnp.nan), gradients[0])
    with jax.numpy_dtype_promotion("standard"):
        result = under_optax(
            optax.apply_if_finite(make(), 3), params, [gradients[0], poisoned, gradients[1]]
        )
    assert_close(result, alone(make(), params, gradients[:2]))


@each
def test_inside_flax_train_state(make, params, gradients):
    state = train_state.TrainState.create(apply_fn=None, params=params, tx=make())
    step = jax.jit(lambda state, grads: state.apply_gradients(grads=grads))
    for grads in gradients:
        state = step(state, grads)
    assert state.step == len(gradients)
    assert_close(state.params, alone(make(), params, gradients))


class Linear(nnx.Module):
    def __init__(self, params):
        self.matrix, self.vector = nnx.Param(params["matrix"]), nnx.Param(params["vector"])


@each
def test_inside_nnx_optimizer(make, params, gradients):
    model = Linear(params)
    optimizer = nnx.Optimizer(model, make(), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, grads):
        slope = nnx.grad(
            lambda m: (
                jnp.sum(m.matrix[...] * grads["matrix"]) + jnp.sum(m.vector[...] * grads["vector"])
            )
        )(model)
        optimizer.update(model, slope)

    for grads in gradients:
        step(model, optimizer, grads)
    assert_close(
        {"matrix": model.matrix[...], "vector": model.vector[...]}, alone(make(), params, gradients)
    )


@pytest.mark.parametrize(
    "tx",
    [
        gk.soap(0.1, precondition_frequency=1),
        gk.scale_by_sm3(),
        gk.scale_by_factored_rms(min_dim_size_to_factor=1),
    ],
    ids=lambda tx: tx.factory.__name__,
)
def test_nnx_optimizer_keeps_several_arrays_for_one_variable(tx):
    params = {"matrix": jnp.arange(6.0).reshape(2, 3), "vector": jnp.ones(2)}
    model = Linear(params)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for _ in range(2):
        optimizer.update(model, nnx.state(model, nnx.Param))  # the gradient of ½ ‖θ‖²
    state = tx.init(params)
    for _ in range(2):
        params, state = tx.apply(params, state, params)
    assert_close({"matrix": model.matrix[...], "vector": model.vector[...]}, params)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (lambda: optax.trace(0.8, nesterov=True), lambda: gk.trace(0.8, nesterov=True)),
        (lambda: optax.scale_by_adam(0.8, 0.9, 1e-3), lambda: gk.scale_by_adam(0.8, 0.9, 1e-3)),
        (
            lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.scale_by_rms(0.9, 1e-3)),
            lambda: gk.chain(gk.clip_by_global_norm(0.5), gk.scale_by_rms(0.9, 1e-3)),
        ),
        (lambda: optax.add_decayed_weights(0.1), lambda: gk.add_decayed_weights(0.1)),
    ],
    ids=["trace", "adam", "chain", "decay"],
)
def test_optax_inside_gradkit_chain(foreign, ours, params, gradients):
    with jax.numpy_dtype_promotion("standard"):
        result = alone(gk.chain(gk.clip(0.5), foreign(), gk.scale(-0.1)), params, gradients)
    assert_close(result, alone(gk.chain(gk.clip(0.5), ours(), gk.scale(-0.1)), params, gradients))


def test_optax_links_take_extras_and_share_the_step(params, gradients):
    with jax.numpy_dtype_promotion("standard"):
        tx = gk.chain(gk.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1, factor=0.5))
        state = tx.init(params)
        _, state = jax.jit(tx.update)(gradients[0], state, params, value=jnp.float32(1.0))
        updates, state = jax.jit(tx.update)(gradients[0], state, params, value=jnp.float32(1.0))
    assert state.step == 2
    assert jax.tree.structure(updates) == jax.tree.structure(params)


def test_a_bare_optax_optimizer_becomes_a_transform_by_chain(params, gradients):
    with jax.numpy_dtype_promotion("standard"):
        step = gk.make_step(
            lambda w, g: sum(jnp.sum(w[name] * g[name]) for name in w),
            gk.chain(optax.sgd(0.1, 0.8)),
        )
        w, state = jax.tree.map(jnp.copy, params), step.tx.init(params)
        for grads in gradients:
            w, state, _ = step(w, state, grads)
    assert_close(w, alone(gk.sgd(0.1, 0.8), params, gradients))
    assert state.step == len(gradients)


def test_optax_state_by_name_survives_a_new_stateless_link(params, gradients):
    with jax.numpy_dtype_promotion("standard"):
        before = gk.chain(optax.trace(0.8), gk.scale(-0.1))
        _, state = before.update(gradients[0], before.init(params), params)
        _, after = gk.chain(gk.clip(1.0), optax.trace(0.8)).update(gradients[1], state, params)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert list(state.inner) == ["trace"]


def test_optax_tree_get_finds_the_step_and_the_moments(params):
    state = gk.adam(0.1).init(params)
    assert optax.tree_utils.tree_get(state, "step") == 0


@pytest.mark.parametrize("rate", [jnp.float32(1e-2), np.array(1e-2), np.float32(1e-2)])
def test_nnx_optimizer_takes_a_rate_that_is_a_scalar_array(rate):
    # NNX keeps the transform as a static attribute, which may hold no array.
    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, gk.adam(rate), wrt=nnx.Param)
    before = model.kernel.get_value()
    optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))
    np.testing.assert_allclose(model.kernel.get_value(), before - 0.01, rtol=1e-5)
