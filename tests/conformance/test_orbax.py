"""Orbax: a run that is saved, restored and continued."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.conformance.side_by_side import needs

PACKAGE = "orbax-checkpoint"
ocp = needs("orbax.checkpoint")
PARAMS = {
    "kernel": jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32),
    "bias": jnp.zeros(3),
}


def loss(params):
    return jnp.sum(jnp.tanh(params["kernel"]) ** 2) + jnp.sum((params["bias"] - 1.0) ** 2)


def advance(tx, params, state, steps):
    step = jax.jit(lambda params, state: tx.update(jax.grad(loss)(params), state, params))
    for _ in range(steps):
        updates, state = step(params, state)
        params = optax.apply_updates(params, updates)
    return params, state


def make(lib):
    tx = lib.chain(
        lib.clip_by_global_norm(0.5),
        lib.adamw(lib.cosine_decay_schedule(0.05, 20), weight_decay=0.1, eps=1e-4),
    )
    return lib.MultiSteps(tx, 3)


def with_target(path, saved, fresh):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, saved)
        checkpointer.wait_until_finished()
        return checkpointer.restore(path, fresh)


def with_manager(path, saved, fresh):
    with ocp.CheckpointManager(path) as manager:
        manager.save(4, args=ocp.args.StandardSave(saved))
        manager.wait_until_finished()
        return manager.restore(4, args=ocp.args.StandardRestore(fresh))


def without_target(path, saved, fresh):
    """What a reader of a foreign checkpoint has: dicts and lists of arrays."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path, saved)
        leaves = jax.tree.leaves_with_path(checkpointer.restore(path))
    assert len(leaves) == len(jax.tree.leaves(saved))
    with ocp.PyTreeCheckpointer() as checkpointer:
        return checkpointer.restore(path, item=fresh)


@pytest.mark.parametrize(
    "restore",
    [with_target, with_manager, without_target],
    ids=["StandardCheckpointer", "CheckpointManager", "PyTreeCheckpointer"],
)
def test_resume(same, restore, tmp_path):
    """Save in the middle of an accumulation, restore, and continue bit for bit."""

    def job(tx):
        params, state = advance(tx, PARAMS, tx.init(PARAMS), 4)
        path = tmp_path / type(tx).__module__.partition(".")[0]
        saved = {"params": params, "state": state}
        restored = restore(
            path, saved, {"params": jax.tree.map(jnp.zeros_like, PARAMS), "state": tx.init(PARAMS)}
        )
        assert jax.tree.structure(restored) == jax.tree.structure(saved)
        straight, resumed = (
            advance(tx, params, state, 6),
            advance(tx, restored["params"], restored["state"], 6),
        )
        for a, b in zip(jax.tree.leaves(straight), jax.tree.leaves(resumed), strict=True):
            np.testing.assert_array_equal(a, b)
        return resumed[0]

    same(job, make)
