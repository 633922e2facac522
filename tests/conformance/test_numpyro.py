"""numpyro: SVI accepts instances of optax's class only, and passes the loss as `value`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.conformance.side_by_side import needs

PACKAGE = "numpyro"
numpyro = needs("numpyro")
infer, autoguide = needs("numpyro.infer"), needs("numpyro.infer.autoguide")
normal, half_normal = numpyro.distributions.Normal, numpyro.distributions.HalfNormal
X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32) + 0.1


def model(x, y):
    weights = numpyro.sample("weights", normal(jnp.zeros(3), 1.0).to_event(1))
    scale = numpyro.sample("scale", half_normal(1.0))
    numpyro.sample("y", normal(x @ weights, scale), obs=y)


def svi(optim, steps=60):
    """The parameters of the guide and the losses."""
    result = infer.SVI(model, autoguide.AutoNormal(model), optim, infer.Trace_ELBO()).run(
        jax.random.key(0), steps, X, Y, progress_bar=False
    )
    return result.params, result.losses


def clipped(lib):
    return lib.chain(lib.clip_by_global_norm(10.0), lib.adam(lib.exponential_decay(0.05, 20, 0.5)))


def test_svi(same):
    """SVI with AutoNormal: regression, 60 steps, clip and scheduled adam."""
    same(svi, clipped, convert=True, rtol=5e-4)


def test_svi_with_a_transform_that_needs_the_loss(same):
    """SVI with AutoNormal: adam and reduce_on_plateau, which needs the loss as `value`."""

    def make(lib):
        plateau = optax.contrib.reduce_on_plateau if lib is optax else lib.reduce_on_plateau
        return lib.chain(lib.adam(0.05), plateau(factor=0.5, patience=2))

    same(svi, make, convert=True, rtol=5e-4)


@pytest.mark.parametrize(
    "wrap", [numpyro.optim.optax_to_numpyro, optax.chain], ids=["optax_to_numpyro", "optax.chain"]
)
def test_svi_without_conversion(same, wrap):
    """SVI with AutoNormal: behind a function that hides the class."""
    same(lambda tx: svi(wrap(tx)), clipped, rtol=5e-4)
