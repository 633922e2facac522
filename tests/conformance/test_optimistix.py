"""optimistix: OptaxMinimiser holds the transform in an Equinox module and runs its own loop."""

import jax.numpy as jnp
import optax

from tests.conformance.side_by_side import needs

PACKAGE = "optimistix"
optimistix = needs("optimistix")


def rosenbrock(y, args):
    return (1 - y["x"]) ** 2 + args * (y["y"] - y["x"] ** 2) ** 2


def minimise(tx):
    solver = optimistix.OptaxMinimiser(tx, rtol=1e-8, atol=1e-8)
    start = {"x": jnp.array(-1.0), "y": jnp.array(1.0)}
    return optimistix.minimise(
        rosenbrock, solver, start, args=10.0, max_steps=100, throw=False
    ).value


def test_minimise(same):
    """minimise: Rosenbrock's function, 100 steps of scheduled adam."""
    same(minimise, lambda lib: lib.adam(lib.cosine_decay_schedule(0.05, 200)), rtol=1e-4)


def test_minimise_with_a_transform_that_needs_the_loss(same):
    """minimise: Polyak's step size, which needs the loss as `value`."""
    same(minimise, lambda lib: lib.polyak_sgd(max_learning_rate=0.01), convert=True, rtol=1e-4)


def test_minimise_in_a_chain(same):
    """minimise: inside optax.chain, behind a clip."""
    same(
        lambda tx: minimise(optax.chain(optax.clip(1.0), tx)),
        lambda lib: lib.sgd(0.01, momentum=0.9, nesterov=True),
        rtol=1e-4,
    )
