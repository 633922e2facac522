"""Flax Linen: TrainState holds the transform as static data of the compiled step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from tests.conformance.side_by_side import needs

PACKAGE = "flax"
nn, train_state = needs("flax.linen"), needs("flax.training.train_state")
serialization = needs("flax.serialization")
rng = np.random.default_rng(0)
X, Y = jnp.asarray(rng.normal(size=(32, 6)), jnp.float32), jnp.asarray(rng.integers(0, 3, 32))


class Network(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(16)(x)))
        return nn.Dense(
            3, kernel_init=nn.with_partitioning(nn.initializers.lecun_normal(), ("in", "out"))
        )(nn.Dropout(0.2, deterministic=not train)(x))


NETWORK = Network()


class TrainState(train_state.TrainState):
    batch_stats: dict


def make(lib):
    mask = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    rate = lib.warmup_cosine_decay_schedule(0.0, 0.02, 4, 20)
    return lib.chain(
        lib.clip_by_global_norm(1.0), lib.adamw(rate, eps=1e-4, weight_decay=0.01, mask=mask)
    )


def create(tx, unbox=True):
    variables = NETWORK.init(jax.random.key(0), X, train=False)
    params = nn.unbox(variables["params"]) if unbox else variables["params"]
    return TrainState.create(
        apply_fn=NETWORK.apply, params=params, batch_stats=variables["batch_stats"], tx=tx
    )


@jax.jit
def step(state, key):
    def loss(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, changed = state.apply_fn(
            variables, X, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean(), changed[
            "batch_stats"
        ]

    (value, batch_stats), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=batch_stats), value


def train(state, steps=20, first=0):
    for i in range(first, first + steps):
        state, value = step(state, jax.random.key(i))
    return state, value


def result(state, value):
    return state.params["Dense_1"], state.batch_stats, value


def test_train_state(same):
    """TrainState with BatchNorm and Dropout: clip, adamw with a mask and a warm-up."""
    same(lambda tx: result(*train(create(tx))), make, rtol=2e-4)


def test_partitioned_parameters(same):
    """TrainState with nn.with_partitioning: boxed parameters, partition specs of the state."""

    def job(tx):
        state = create(tx, unbox=False)
        specs = {
            str(spec)
            for spec in jax.tree.leaves(
                nn.get_partition_spec(state.opt_state),
                is_leaf=lambda x: isinstance(x, jax.sharding.PartitionSpec),
            )
        }
        assert any(
            "'in', 'out'" in spec for spec in specs
        )  # the moments have their parameter's axes
        return result(*train(state))

    same(job, make, rtol=2e-4)


def test_equal_transforms_share_a_compilation(same):
    """Two TrainStates whose transforms are equal: one compilation with gradkit, two with optax."""

    def job(tx):
        return result(*train(create(tx), steps=2))

    same(job, make, rtol=2e-4)
    before = step._cache_size()
    train(create(gk.adam(1e-3)), steps=1)
    train(create(gk.adam(1e-3)), steps=1)
    assert step._cache_size() == before + 1


def test_serialisation(same):
    """TrainState through to_bytes and from_bytes in the middle of a run."""

    def job(tx):
        state, _ = train(create(tx), 6)
        state = serialization.from_bytes(create(tx), serialization.to_bytes(state))
        return result(*train(state, 6, first=6))

    same(job, make, rtol=2e-4)


@pytest.mark.parametrize("name", ["MultiSteps", "apply_if_finite", "ema of the updates"])
def test_train_state_with_a_wrapper(same, name):
    """TrainState around a wrapper of optax around the transform."""
    wrap = {
        "MultiSteps": lambda tx: optax.MultiSteps(tx, 2),
        "apply_if_finite": lambda tx: optax.apply_if_finite(tx, 2),
        "ema of the updates": lambda tx: optax.chain(tx, optax.ema(0.5)),
    }[name]
    same(lambda tx: result(*train(create(wrap(tx)))), make, rtol=2e-4)
