"""Stochastic pooling: probabilities, windows, values that are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from gradkit.nn import functional as F  # noqa: N812

KEY = jax.random.key(0)


X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 6, 2)), jnp.float32)


def test_stochastic_pool_draws_in_proportion():
    x = jnp.tile(jnp.array([1.0, 0.0, 5.0, 2.0]).reshape(1, 2, 2, 1), (40_000, 1, 1, 1))
    y = np.asarray(F.stochastic_pool(x, (2, 2), key=KEY)).ravel()
    assert set(y) == {1.0, 5.0, 2.0}
    for value, share in [(1, 1 / 8), (5, 5 / 8), (2, 2 / 8)]:
        assert abs((y == value).mean() - share) < 4 * np.sqrt(share * (1 - share) / y.size)
    np.testing.assert_allclose(
        F.stochastic_pool(x[:1], (2, 2), deterministic=True).ravel(), [30 / 8], rtol=1e-6
    )
    assert F.stochastic_pool(-x[:1], (2, 2), key=KEY).item() == 0


def test_stochastic_pool_windows_are_flax_s():
    x = jnp.abs(X)
    for padding in ("VALID", "SAME", ((1, 1), (0, 1))):
        y = F.stochastic_pool(x, (3, 2), (2, 2), padding, deterministic=True)
        with jax.numpy_dtype_promotion("standard"):
            total = linen.avg_pool(x, (3, 2), (2, 2), padding)
            squares = linen.avg_pool(x * x, (3, 2), (2, 2), padding)
        np.testing.assert_allclose(y, squares / total, rtol=1e-5)
    assert np.isfinite(
        jax.jit(jax.grad(lambda x: F.stochastic_pool(x, (2, 2), key=KEY).sum()))(x)
    ).all()


@pytest.mark.parametrize("deterministic", [False, True])
def test_stochastic_pool_hides_no_nan_or_infinity(deterministic):
    pool = lambda *values: F.stochastic_pool(
        jnp.array(values).reshape(1, -1, 1), (len(values),), key=KEY, deterministic=deterministic
    ).item()
    assert np.isnan(pool(1.0, jnp.nan))
    assert np.isnan(pool(jnp.inf, jnp.nan))
    assert pool(1.0, jnp.inf) == np.inf
    assert pool(1.0, -jnp.inf) == 1
    assert abs(pool(3e38, 3e38) / 3e38 - 1) < 1e-6  # whose sum is infinite
    assert abs(pool(3e-30, 3e-30) / 3e-30 - 1) < 1e-6  # whose squares are zero
