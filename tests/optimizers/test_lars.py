"""The masks of LARS."""

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk


def test_lars_masks_may_be_bools_predicates_and_functions():
    params = {"w": jnp.full((2, 2), 2.0), "b": jnp.full((2,), 2.0)}
    grads = jax.tree.map(lambda p: jnp.full_like(p, 0.5), params)
    for mask in (gk.by_rank(2), lambda params: {"w": True, "b": False}, {"w": True, "b": False}):
        updates, _ = gk.lars(1.0, trust_ratio_mask=mask, trust_coefficient=0.1).update(
            grads, gk.lars(1.0, trust_ratio_mask=mask).init(params), params
        )
        np.testing.assert_allclose(updates["w"], -0.2, rtol=1e-6)
        np.testing.assert_allclose(updates["b"], -0.5)
    for mask, wanted in ((True, -0.2), (False, -0.5)):
        tx = gk.lars(
            1.0,
            weight_decay_mask=False,
            weight_decay=9.0,
            trust_ratio_mask=mask,
            trust_coefficient=0.1,
        )
        np.testing.assert_allclose(
            tx.update(grads, tx.init(params), params)[0]["b"], wanted, rtol=1e-6
        )
