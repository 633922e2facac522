"""flowjax: fit_to_data takes an optax transform."""

import jax
import jax.numpy as jnp

from tests.conformance.side_by_side import needs

PACKAGE = "flowjax"
flows, train = needs("flowjax.flows"), needs("flowjax.train")
distributions, eqx = needs("flowjax.distributions"), needs("equinox")


def test_fit_to_data(same):
    """fit_to_data: a coupling flow, 3 epochs of adam."""

    def job(tx):
        data = jax.random.normal(jax.random.key(0), (60, 2)) * jnp.array([1.0, 0.2]) + 0.5
        flow = flows.coupling_flow(
            jax.random.key(1),
            base_dist=distributions.Normal(jnp.zeros(2)),
            flow_layers=2,
            nn_width=8,
        )
        flow, losses = train.fit_to_data(
            jax.random.key(2),
            flow,
            data,
            optimizer=tx,
            max_epochs=3,
            batch_size=20,
            show_progress=False,
        )
        return losses, eqx.filter(flow, eqx.is_inexact_array)

    same(job, lambda lib: lib.adam(1e-2, eps=1e-4), rtol=1e-3)
