"""Equinox: modules are pytrees with None, functions and integers among their leaves."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.conformance.side_by_side import needs

PACKAGE = "equinox"
eqx = needs("equinox")
rng = np.random.default_rng(0)
X, Y = (
    jnp.asarray(rng.normal(size=(32, 4)), jnp.float32),
    jnp.asarray(rng.normal(size=(32, 2)), jnp.float32),
)


class Network(eqx.Module):
    mlp: eqx.nn.MLP
    drop: eqx.nn.Dropout
    offset: jax.Array | None
    tied: jax.Array | None = None  # a parameter that this network does not have
    width: int = 8  # a leaf that is no array

    def __init__(self):
        self.mlp = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
        self.drop = eqx.nn.Dropout(0.0)
        self.offset = jnp.zeros(2)

    def __call__(self, x):
        return self.drop(self.mlp(x), inference=True) + self.offset


def loss(model):
    return jnp.mean((jax.vmap(model)(X) - Y) ** 2)


def train(tx, params_of, steps=15):
    """The arrays of the model after some steps, with ``params_of(model)`` as the parameters."""
    model = Network()
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        value, grads = eqx.filter_value_and_grad(loss)(model)
        updates, state = tx.update(grads, state, params_of(model))
        return eqx.apply_updates(model, updates), state, value

    for _ in range(steps):
        model, state, value = step(model, state)
    return eqx.filter(model, eqx.is_array), value


def adamw(lib):
    return lib.chain(
        lib.clip_by_global_norm(0.5),
        lib.adamw(lib.cosine_decay_schedule(0.05, 20), eps=1e-4, weight_decay=0.1),
    )


def test_filtered_loop(same):
    """filter_jit and filter_value_and_grad, the parameters filtered."""
    same(lambda tx: train(tx, lambda model: eqx.filter(model, eqx.is_inexact_array)), adamw)


def test_loop_with_the_whole_model_as_parameters(same):
    """filter_jit and filter_value_and_grad, the whole model as parameters."""
    same(lambda tx: train(tx, lambda model: model), adamw)


def test_wrappers_of_optax_over_a_module(same):
    """MultiSteps and a mask of optax over a module."""

    def job(tx):
        matrices = lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)
        others = lambda tree: jax.tree.map(lambda x: x.ndim <= 1, tree)
        several = optax.MultiSteps(tx, 2).gradient_transformation()
        return train(
            optax.chain(optax.masked(several, matrices), optax.masked(optax.set_to_zero(), others)),
            lambda model: eqx.filter(model, eqx.is_inexact_array),
        )

    same(job, adamw)


def test_serialisation(same):
    """tree_serialise_leaves in the middle of a run, restored into a fresh state."""

    def job(tx):
        params, static = eqx.partition(Network(), eqx.is_inexact_array)
        state = tx.init(params)
        slope = jax.jit(jax.grad(lambda params: loss(eqx.combine(params, static))))
        for step in range(10):
            if step == 5:
                file = io.BytesIO()
                eqx.tree_serialise_leaves(file, (params, state))
                file.seek(0)
                fresh = eqx.filter(Network(), eqx.is_inexact_array)
                params, state = eqx.tree_deserialise_leaves(file, (fresh, tx.init(fresh)))
            updates, state = tx.update(slope(params), state, params)
            params = eqx.apply_updates(params, updates)
        return params

    same(job, adamw)


def test_batch_norm_state(same):
    """BatchNorm, whose statistics are carried as state."""

    def job(tx):
        model = eqx.nn.Sequential(
            [
                eqx.nn.Linear(4, 8, key=jax.random.key(0)),
                eqx.nn.BatchNorm(8, "batch", mode="batch"),
                eqx.nn.Linear(8, 2, key=jax.random.key(1)),
            ]
        )
        statistics, opt_state = (
            eqx.nn.State(model),
            tx.init(eqx.filter(model, eqx.is_inexact_array)),
        )

        def loss(model, statistics):
            y, statistics = jax.vmap(
                model, axis_name="batch", in_axes=(0, None), out_axes=(0, None)
            )(X, statistics)
            return jnp.mean((y - Y) ** 2), statistics

        @eqx.filter_jit
        def step(model, statistics, opt_state):
            (value, statistics), grads = eqx.filter_value_and_grad(loss, has_aux=True)(
                model, statistics
            )
            updates, opt_state = tx.update(
                grads, opt_state, eqx.filter(model, eqx.is_inexact_array)
            )
            return eqx.apply_updates(model, updates), statistics, opt_state, value

        for _ in range(10):
            model, statistics, opt_state, value = step(model, statistics, opt_state)
        return value, model.layers[2].weight, eqx.filter(statistics, eqx.is_inexact_array)

    same(job, adamw)


def test_transform_as_a_field(same):
    """The transform as a field of a module that is carried through filter_jit."""

    class Trainer(eqx.Module):
        tx: object
        params: jax.Array
        state: object

        def step(self):
            updates, state = self.tx.update(
                jax.grad(lambda w: jnp.sum((w - 3.0) ** 2))(self.params), self.state, self.params
            )
            return Trainer(self.tx, self.params + updates, state)

    def job(tx):
        trainer, step = (
            Trainer(tx, jnp.zeros(3), tx.init(jnp.zeros(3))),
            eqx.filter_jit(Trainer.step),
        )
        for _ in range(10):
            trainer = step(trainer)
        return trainer.params

    same(job, adamw)
