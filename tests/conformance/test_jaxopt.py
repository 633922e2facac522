"""jaxopt: OptaxSolver, its run loop and its implicit derivative."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.conformance.side_by_side import needs

PACKAGE = "jaxopt"
jaxopt = needs("jaxopt")
rng = np.random.default_rng(0)
X, Y = (
    jnp.asarray(rng.normal(size=(30, 4)), jnp.float32),
    jnp.asarray(rng.normal(size=30), jnp.float32),
)


def ridge(weights, penalty):
    return 0.5 * jnp.mean((X @ weights - Y) ** 2) + 0.5 * penalty * jnp.sum(weights**2)


def test_run(same):
    """OptaxSolver: ridge regression, 100 steps of nesterov momentum."""
    same(
        lambda tx: jaxopt.OptaxSolver(ridge, tx, maxiter=100).run(jnp.zeros(4), 0.1).params,
        lambda lib: lib.sgd(0.1, momentum=0.9, nesterov=True),
    )


def test_implicit_derivative(same):
    """OptaxSolver: implicit derivative of the solution with respect to the penalty."""

    def job(tx):
        solver = jaxopt.OptaxSolver(ridge, tx, maxiter=200, implicit_diff=True)
        return jax.jacobian(lambda penalty: solver.run(jnp.zeros(4), penalty).params)(0.1)

    same(job, lambda lib: lib.adam(lib.exponential_decay(0.1, 20, 0.7)), rtol=1e-4)
