"""Lion for every decay in [0, 1), against its recursion in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

GRADS = np.random.default_rng(0).normal(size=(6, 5))


def expected(b1, b2):
    """The interpolations c_t in float64."""
    average, rows = np.zeros(5), []
    for g in GRADS:
        rows.append(b1 * average + (1 - b1) * g)
        average = b2 * average + (1 - b2) * g
    return np.array(rows)


def run(tx, dtype=jnp.float32):
    """The updates of every step."""
    state, rows = tx.init(jnp.zeros(5, dtype)), []
    for g in GRADS:
        updates, state = tx.update(jnp.asarray(g, dtype), state)
        rows.append(updates)
    return jnp.stack(rows)


DECAYS = [(0.9, 0.0), (0.9, 1e-3), (0.9, 0.3), (0.9, 0.5), (0.9, 0.99), (0.0, 0.0), (0.0, 0.9)]


@pytest.mark.parametrize(("b1", "b2"), DECAYS)
@pytest.mark.parametrize("how", ["constant", "argument", "schedule"])
def test_the_direction_is_right_for_every_decay(b1, b2, how):
    # The refined mode shows c itself, where it is in [-1, 1].
    tx = gk.scale_by_lion(b1, b2, mode="refined")
    wanted = np.clip(expected(b1, b2), -1, 1)
    if how == "constant":
        updates = jax.jit(lambda: run(tx))()
    elif how == "argument":
        updates = jax.jit(run)(tx)
    else:
        updates = run(tx.replace(b2=gk.constant_schedule(b2)))
    np.testing.assert_allclose(updates, wanted, rtol=2e-6, atol=5e-7)


def test_b2_of_zero_keeps_the_previous_gradient():
    tx = gk.lion(1.0, b2=0.0, weight_decay=0.0)
    w = jnp.zeros(1)
    _, state = tx.update(jnp.full(1, 5.0), tx.init(w), w)
    assert state.inner["scale_by_lion"]["average"][0] == 5.0
    updates, _ = tx.update(jnp.full(1, -1.0), state, w)
    assert updates[0] == -1.0  # the sign of 0.9 · 5 − 0.1 · 1, negated


@pytest.mark.parametrize("b2", [0.0, 0.3, 0.7])
def test_the_direction_is_differentiable_with_respect_to_the_decay(b2):
    def total(b2, dtype=float):
        return jnp.sum(run(gk.scale_by_lion(0.9, b2, mode="smooth"), dtype))

    step = 1e-5
    with jax.enable_x64(True):
        slope = float(jax.grad(total)(b2))
        low, high = float(total(b2)), float(total(b2 + step))
    np.testing.assert_allclose(slope, (high - low) / step, rtol=1e-3)
