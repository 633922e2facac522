"""ASGD: the trajectory of torch's, and the average that is evaluated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.optimizers.trajectories import one_leaf

TORCH = {
    "ASGD": (lambda: gk.asgd(), lambda optim, p: optim.ASGD(p)),
    "ASGD, other": (
        lambda: gk.asgd(0.05, 0.01, 0.5, 20, 0.1),
        lambda optim, p: optim.ASGD(p, lr=0.05, lambd=0.01, alpha=0.5, t0=20, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("case", TORCH)
def test_the_trajectory_is_that_of_torch(case):
    torch = pytest.importorskip("torch")
    make, reference = TORCH[case]
    with jax.enable_x64(True):
        grads = jnp.asarray(one_leaf(120, 2))
        params, tx = jnp.asarray([0.5, -1.5]), make()

        def body(carry, g):
            params, state = tx.apply(*carry, g)
            return (params, state), params

        (last, state), got = jax.lax.scan(body, (params, tx.init(params)), grads)
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # in which ASGD keeps its rate
        try:
            tensor = torch.tensor(np.array(params), requires_grad=True)
            optimizer, wanted = reference(torch.optim, [tensor]), []
            for g in np.array(grads):
                tensor.grad = torch.tensor(g)
                optimizer.step()
                wanted.append(tensor.detach().numpy().copy())
        finally:
            torch.set_default_dtype(usual)
        np.testing.assert_allclose(got, wanted, rtol=1e-10)
        np.testing.assert_allclose(
            gk.eval_params(tx, state, last), optimizer.state[tensor]["ax"].numpy(), rtol=1e-10
        )


def test_asgd_evaluates_the_average_through_a_wrapper():
    tx, w = gk.chain(gk.clip(1.0), gk.asgd(1.0, lambd=0.0, t0=0)), jnp.zeros(1)
    state = tx.init(w)
    for g in (0.5, -0.5, 0.25, 0.25):
        w, state = tx.apply(w, state, jnp.full(1, g))
    np.testing.assert_allclose(gk.eval_params(tx, state, w), np.mean([0.0, -0.25, -0.5]), rtol=1e-6)
