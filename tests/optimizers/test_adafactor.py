"""Adafactor by its paper, on shapes that the table of parity lacks, and with optax's own decay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradkit as gk
from gradkit.parity.table.factored import adafactor as adafactor_of_optax
from tests.optimizers.trajectories import assert_same, matrices, updates_of


@pytest.mark.parametrize("offset", [0, 7])
def test_adafactor_follows_the_paper_also_with_an_offset(offset):
    theta, grads = matrices(20)
    with jax.enable_x64(True):
        ours = updates_of(
            gk.adafactor(0.1, 2, 0.8, offset), list(map(jnp.asarray, grads)), jnp.asarray(theta)
        )
    rows, columns = np.zeros(4), np.zeros(3)
    for step, (g, update) in enumerate(zip(grads, ours)):
        t = step + 1 if step < offset else step - offset + 1
        beta = 1 - t**-0.8
        rows = beta * rows + (1 - beta) * np.mean(g**2 + 1e-30, 1)
        columns = beta * columns + (1 - beta) * np.mean(g**2 + 1e-30, 0)
        u = g / np.sqrt(np.outer(rows, columns) / rows.mean())
        u /= max(1.0, np.sqrt(np.mean(u**2)))
        expected = -0.1 * max(1e-3, np.sqrt(np.mean(theta**2))) * u
        np.testing.assert_allclose(update, expected, 1e-11)
        theta = theta + expected


def test_adafactor_with_a_decay_offset_is_finite():
    # optax raises a negative number to a power: NaN (#1791)
    seen = updates_of(gk.adafactor(0.1, decay_offset=5), [jnp.ones(3)] * 8, jnp.ones(3))
    assert np.isfinite(np.stack(seen)).all()


def test_the_offset_starts_the_schedule_over_where_a_clock_goes_on():
    beta = gk.schedules.adafactor_decay_schedule(0.8, 100)
    fresh = gk.schedules.adafactor_decay_schedule(0.8)
    np.testing.assert_array_equal(beta(jnp.arange(100, 130)), fresh(jnp.arange(30)))


def test_a_factored_store_does_not_underflow_on_small_squares():
    g = jnp.full((2, 2), 1e-12, jnp.float32)
    tx = gk.scale_by_factored_rms(min_dim_size_to_factor=2, epsilon=0.0)
    np.testing.assert_allclose(tx.update(g, tx.init(g))[0], 1.0, 1e-5)


def fading(scale):
    """A rate as a plain function of the step, exact in float64."""
    return lambda step: scale / (1.0 + 0.1 * jnp.asarray(step, float))


def masked(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


def test_the_two_largest_axes_are_factored_as_in_optax():
    assert_same(
        gk.adafactor(0.1, min_dim_size_to_factor=3), adafactor_of_optax(optax, 0.1, least=3)
    )


def test_every_argument_together_is_optax_s():
    assert_same(
        gk.adafactor(fading(0.1), 2, 0.6, 0, False, 0.5, None, "float32", 0.01, 1e-3, True, masked),
        adafactor_of_optax(
            optax, fading(0.1), 2, 0.6, 0.5, None, 0.01, by_size=False, eps=1e-3, mask=masked
        ),
    )


def test_adafactor_is_optax_s_within_the_float32_of_its_decay():
    assert_same(gk.adafactor(0.1, 2), optax.adafactor(0.1, 2), rtol=3e-6, atol=1e-7)


def test_adafactor_is_torch_s_where_the_definitions_agree():
    torch = pytest.importorskip("torch")
    theta, grads = matrices(50)
    # torch's rate is min(α, 1/√t) · max(ε₂, rms θ): α below 1/√50 takes the minimum out.
    tensor = torch.tensor(theta, requires_grad=True)
    optimizer = torch.optim.Adafactor([tensor], lr=0.01, eps=(1e-30, 1e-3), weight_decay=0.0)
    with jax.enable_x64(True):
        ours = updates_of(gk.adafactor(0.01, 2), list(map(jnp.asarray, grads)), jnp.asarray(theta))
    w = theta
    for g, update in zip(grads, ours):
        w = w + np.asarray(update)
        tensor.grad = torch.tensor(g)
        optimizer.step()
        np.testing.assert_allclose(tensor.detach().numpy(), w, 1e-10)
