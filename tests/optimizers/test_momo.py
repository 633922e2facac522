"""MoMo: the loss it takes."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk


@pytest.mark.parametrize("make", [gk.momo, gk.momo_adam])
@pytest.mark.parametrize("value", [2.5, 2, np.float64(2.5), jnp.bfloat16(2.5)])
def test_momo_takes_any_number_for_a_loss(make, value):
    # optax crashed on a Python float (#1500)
    tx, w = make(), jnp.ones(2)
    updates, state = tx.update(jnp.ones(2), tx.init(w), w, value=value)
    assert updates.dtype == jnp.float32
    assert np.isfinite(updates).all()
    with pytest.raises(
        TypeError, match=f"{make.__name__}.*: the extra argument 'value' is missing"
    ):
        tx.update(jnp.ones(2), state, w)
    with pytest.raises(TypeError, match=f"{make.__name__}.*: needs the loss; got value=None"):
        tx.update(jnp.ones(2), state, w, value=None)
