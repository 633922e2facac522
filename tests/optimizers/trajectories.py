"""Trajectories that the tests of several optimizers follow."""

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk
from gradkit.parity import compare


def follow(tx, grads, params=None):
    """The updates for a sequence of gradients of one leaf."""

    @jax.jit
    def run(tx, grads, params):
        def body(carry, g):
            params, state = carry
            updates, state = tx.update(g, state, params)
            return (params + updates, state), updates

        return jax.lax.scan(body, (params, tx.init(params)), grads)[1]

    return np.array(
        run(tx, jnp.asarray(grads), jnp.zeros(np.shape(grads)[1:]) if params is None else params)
    )


def one_leaf(steps=100, size=3):
    """Gradients of one vector, their size changing from step to step."""
    return np.array(
        np.random.default_rng(5).normal(size=(steps, size))
        * np.exp(np.random.default_rng(6).normal(size=(steps, 1)))
    )


def adam_of(grads, b1, b2, eps):
    """Adam by its paper, in NumPy."""
    m = v = np.zeros_like(grads[0])
    for t, g in enumerate(grads, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        yield m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)


def numbers(tx, grads, start=0.0, **extras):
    """The updates of one number for a sequence of gradients."""
    params = jnp.asarray(start, jnp.float32)
    state, updates = tx.init(params), []
    for g in grads:
        update, state = tx.update(jnp.asarray(g, jnp.float32), state, params, **extras)
        updates.append(float(update))
    return updates


def updates_of(tx, grads, params):
    """Updates of every step, the parameters following them."""

    @jax.jit
    def step(params, state, g):
        updates, state = tx.update(g, state, params)
        return updates, gk.apply_updates(params, updates), state

    state, seen = tx.init(params), []
    for g in grads:
        updates, params, state = step(params, state, g)
        seen.append(updates)
    return seen


def matrices(steps, seed=0):
    """A matrix of parameters, and gradients for it."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, 3)), rng.normal(size=(steps, 4, 3)) * np.exp(
        rng.normal(size=(steps, 1, 1))
    )


STEPS = 120


def start():
    """A tree with a cube, which the table of parity has not."""
    draw = np.random.default_rng(0).normal
    return {
        "matrix": draw(size=(6, 5)),
        "cube": draw(size=(2, 4, 3)),
        "vector": draw(size=4),
        "scalar": np.float64(0.7),
    }


def gradients(seed=1):
    """Normal numbers whose size changes from step to step, for `start`."""
    rng = np.random.default_rng(seed)
    return [
        jax.tree.map(lambda p: np.asarray(rng.normal(size=p.shape) * np.exp(rng.normal())), start())
        for _ in range(STEPS)
    ]


def assert_same(ours, theirs, feed=None, params=None, rtol=1e-10, atol=1e-13):
    """Every number of both trajectories agrees in float64."""
    report = compare(
        ours,
        theirs,
        start() if params is None else params,
        gradients() if feed is None else feed,
        STEPS if feed is None else len(feed),
        dtype="float64",
        rtol=rtol,
        atol=atol,
    )
    assert report.passed, report
