"""Sophia: optax's trajectory, its estimate of the Hessian, its report."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradkit as gk
from gradkit.parity.trajectory import QUICK
from tests.optimizers.trajectories import STEPS, start


def loss(params):
    """A bowl with bounded slopes, never at its bottom."""
    return sum(
        jnp.sum(jnp.sqrt(1 + (leaf - at) ** 2))
        for leaf, at in zip(jax.tree.leaves(params), (9.0, 3.0, -7.0, 5.0))
    )


def masked(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


SOPHIA = {
    "defaults": lambda k: k.sophia(0.01),
    "everything": lambda k: k.sophia(
        0.01,
        0.8,
        0.9,
        0.1,
        0.1,
        masked,
        0.5,
        None,
        3,
        k.hutchinson_estimator_diag_hessian(jax.random.PRNGKey(7)),
    ),
}


@pytest.mark.parametrize("case", SOPHIA)
def test_sophia_is_optax_s_random_signs_included(case):
    def trajectory(tx):
        def body(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params, obj_fn=loss)
            params = jax.tree.map(jnp.add, params, updates)
            return (params, state), params

        params = jax.tree.map(jnp.asarray, start())
        run = jax.jit(lambda p: jax.lax.scan(body, (p, tx.init(p)), length=STEPS)[1])
        return run.lower(params).compile(compiler_options=QUICK)(params)

    with jax.enable_x64(True):
        ours = trajectory(SOPHIA[case](gk))
        with jax.numpy_dtype_promotion("standard"):
            theirs = trajectory(SOPHIA[case](optax.contrib))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-10), ours, theirs)


def test_hutchinson_is_exact_for_a_diagonal_hessian_and_unbiased_else():
    w, a = jnp.zeros(3), jnp.array([[2.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 6.0]])
    tx = gk.hutchinson_estimator_diag_hessian(1)
    state, seen = tx.init(w), []
    step = jax.jit(lambda state: tx.update(w, state, w, value_fn=lambda w: w @ a @ w / 2))
    for _ in range(400):
        estimate, state = step(state)
        seen.append(np.asarray(estimate))
    assert np.abs(np.mean(seen, 0) - np.diag(a)).max() < 5 * 2 / 400**0.5
    with pytest.raises(
        TypeError,
        match="hutchinson_estimator_diag_hessian, obj_fn: "
        "needs the loss as a function of params; got none",
    ):
        tx.update(w, state, w)


def test_sophia_prints_its_win_rate(capfd):
    tx, w = gk.sophia(0.1, gamma=1.0, verbose=True, print_win_rate_every_n_steps=2), jnp.ones(4)
    state = tx.init(w)
    for _ in range(4):
        _, state = tx.update(jnp.ones(4), state, w, obj_fn=lambda w: 1e3 * jnp.sum(w**2))
    jax.effects_barrier()
    assert capfd.readouterr().out.count("sophia: 1.0 of the numbers are not clipped") == 2
