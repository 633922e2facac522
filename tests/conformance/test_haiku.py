"""Haiku: parameters as a dict of dicts with paths such as `mlp/~/linear_0`."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.conformance.side_by_side import needs

PACKAGE = "dm-haiku"
hk = needs("haiku")
rng = np.random.default_rng(0)
X, Y = jnp.asarray(rng.normal(size=(32, 6)), jnp.float32), jnp.asarray(rng.integers(0, 3, 32))


def apply(x, is_training):
    x = hk.Linear(16)(x)
    x = hk.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)(x, is_training)
    return hk.nets.MLP([8, 3])(jax.nn.relu(x))


def decayed(params):
    """Weight decay for the matrices."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def test_mlp_with_batch_norm(same):
    """An MLP with BatchNorm state: clip, and adamw with a mask and a warm-up, 20 steps."""
    net = hk.without_apply_rng(hk.transform_with_state(apply))

    def job(tx):
        def loss(params, state):
            logits, state = net.apply(params, state, X, is_training=True)
            return -jnp.mean(
                jnp.take_along_axis(jax.nn.log_softmax(logits), Y[:, None], axis=1)
            ), state

        @jax.jit
        def step(params, state, opt_state):
            (value, state), grads = jax.value_and_grad(loss, has_aux=True)(params, state)
            updates, opt_state = tx.update(grads, opt_state, params)
            return jax.tree.map(jnp.add, params, updates), state, opt_state, value

        params, state = net.init(jax.random.key(0), X, is_training=True)
        opt_state = tx.init(params)
        for _ in range(20):
            params, state, opt_state, value = step(params, state, opt_state)
        return value, params["mlp/~/linear_1"], state

    def make(lib):
        rate = lib.warmup_cosine_decay_schedule(0.0, 0.02, 4, 20)
        return lib.chain(
            lib.clip_by_global_norm(1.0), lib.adamw(rate, eps=1e-4, weight_decay=0.01, mask=decayed)
        )

    same(job, make, rtol=5e-4)
