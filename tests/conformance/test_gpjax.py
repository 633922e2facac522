"""GPJax: fit accepts instances of optax's class only."""

import jax
import jax.numpy as jnp
import optax
import pytest

from tests.conformance.side_by_side import needs

PACKAGE = "gpjax"
gpx = needs("gpjax")


def fit(tx, **options):
    """The history of the loss of a Gaussian process regression."""
    x = jnp.linspace(-2.0, 2.0, 20)[:, None]
    data = gpx.Dataset(X=x, y=jnp.sin(2 * x))
    prior = gpx.gps.Prior(kernel=gpx.kernels.RBF(), mean_function=gpx.mean_functions.Zero())
    posterior = prior * gpx.likelihoods.Gaussian()
    objective = lambda posterior, data: -gpx.objectives.conjugate_mll(posterior, data)
    _, history = gpx.fit(
        model=posterior,
        objective=objective,
        train_data=data,
        optim=tx,
        num_iters=30,
        key=jax.random.key(0),
        verbose=False,
        **options,
    )
    return history


def test_fit(same):
    """fit: Gaussian process regression, 30 steps of adam."""
    same(fit, lambda lib: lib.adam(0.05), convert=True)


@pytest.mark.parametrize("way", ["safe=False", "optax.chain"])
def test_fit_without_conversion(same, way):
    """fit, with nothing that looks at the class."""
    same(
        lambda tx: fit(optax.chain(tx)) if way == "optax.chain" else fit(tx, safe=False),
        lambda lib: lib.adam(0.05),
    )
