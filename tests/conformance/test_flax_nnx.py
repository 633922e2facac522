"""Flax NNX: nnx.Optimizer, which holds the transform as static data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.conformance.side_by_side import needs

PACKAGE = "flax"
nnx = needs("flax.nnx")
rng = np.random.default_rng(0)
X, Y = jnp.asarray(rng.normal(size=(32, 6)), jnp.float32), jnp.asarray(rng.integers(0, 3, 32))


class Network(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.norm = (
            nnx.Linear(6, 16, rngs=rngs),
            nnx.BatchNorm(16, momentum=0.9, rngs=rngs),
        )
        self.drop, self.out = nnx.Dropout(0.2, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(nnx.relu(self.norm(self.hidden(x)))))


def loss(model):
    return optax.softmax_cross_entropy_with_integer_labels(model(X), Y).mean()


@nnx.jit
def step(model, optimizer):
    value, grads = nnx.value_and_grad(loss, argnums=nnx.DiffState(0, optimizer.wrt))(model)
    optimizer.update(model, grads)
    return value


def train(tx, wrt=nnx.Param, steps=20):
    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=wrt)
    for _ in range(steps):
        value = step(model, optimizer)
    assert optimizer.step[...] == steps
    return model, optimizer, value


def result(model, optimizer, value):
    return (
        nnx.to_pure_dict(nnx.state(model.out, nnx.Param)),
        nnx.to_pure_dict(nnx.state(model.norm)),
        value,
    )


def make(lib):
    rate = lib.warmup_cosine_decay_schedule(0.0, 0.02, 4, 20)
    return lib.chain(lib.clip_by_global_norm(1.0), lib.adamw(rate, eps=1e-4, weight_decay=0.01))


def test_optimizer(same):
    """nnx.Optimizer with BatchNorm and Dropout: clip, and adamw with a warm-up, 20 steps."""
    same(lambda tx: result(*train(tx)), make, rtol=2e-4)


def test_optimizer_of_some_parameters(same):
    """nnx.Optimizer with wrt a filter of paths: the output layer alone."""
    same(
        lambda tx: result(*train(tx, wrt=nnx.All(nnx.Param, nnx.PathContains("out")))),
        make,
        rtol=2e-4,
    )


@pytest.mark.parametrize("name", ["MultiSteps", "apply_if_finite", "inject_hyperparams"])
def test_optimizer_with_a_wrapper(same, name):
    """nnx.Optimizer around a wrapper of optax around the transform."""
    wrap = {
        "MultiSteps": lambda lib: optax.MultiSteps(make(lib), 2),
        "apply_if_finite": lambda lib: optax.apply_if_finite(make(lib), 2),
        "inject_hyperparams": lambda lib: optax.inject_hyperparams(lib.adamw)(
            learning_rate=0.01, eps=1e-4
        ),
    }[name]
    same(lambda tx: result(*train(tx)), wrap, rtol=2e-4)


def test_optimizer_with_an_array_as_the_rate(same):
    """nnx.Optimizer with an array as the learning rate."""
    same(
        lambda tx: result(*train(tx)),
        lambda lib: lib.adam(jnp.float32(0.01), eps=1e-4),
        convert=True,
        rtol=2e-4,
    )


def test_optimizer_that_needs_the_loss(same):
    """nnx.Optimizer.update with `value`: adam and reduce_on_plateau."""

    def job(tx):
        model = Network(nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer):
            value, grads = nnx.value_and_grad(loss)(model)
            optimizer.update(model, grads, value=value)
            return value

        for _ in range(20):
            value = step(model, optimizer)
        return result(model, optimizer, value)

    def plateau(lib):
        reduce = optax.contrib.reduce_on_plateau if lib is optax else lib.reduce_on_plateau
        return lib.chain(lib.adam(0.05, eps=1e-3), reduce(patience=1, factor=0.5))

    same(job, plateau, rtol=1e-3)


def test_model_and_optimizer(same):
    """nnx.ModelAndOptimizer: model and state in one object."""

    def job(tx):
        optimizer = nnx.ModelAndOptimizer(Network(nnx.Rngs(0)), tx, wrt=nnx.Param)

        @nnx.jit
        def step(optimizer):
            value, grads = nnx.value_and_grad(loss)(optimizer.model)
            optimizer.update(grads)
            return value

        for _ in range(10):
            value = step(optimizer)
        return result(optimizer.model, optimizer, value)

    same(job, make, rtol=2e-4)


def test_split_and_merge(same):
    """nnx.split of model and optimizer in the middle of a run, merged again."""

    def job(tx):
        model, optimizer, _ = train(tx, steps=6)
        graph, state = nnx.split((model, optimizer))
        model, optimizer = nnx.merge(graph, jax.tree.map(jnp.copy, state))
        for _ in range(6):
            value = step(model, optimizer)
        return result(model, optimizer, value)

    same(job, make, rtol=2e-4)
