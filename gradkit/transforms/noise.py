"""Noise."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import transform


@transform
def add_noise(eta: Any, gamma: Any, key: Any) -> Rule:
    """Add Gaussian noise that fades with the step.

    **Rule** u ← g + σ_t n, n ~ N(0, 1), σ_t² = η / t^γ, t = step + 1.

    **Remembers** ``key``: the data of the next random key.

    Args:
      eta: η ≥ 0, the variance at the first step.
      gamma: γ ≥ 0, how fast it fades; the paper uses 0.55.
      key: a seed or a random key.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.add_noise(4.0, 0.55, key=0)
      >>> updates, _ = tx.update(jnp.zeros(10_000), tx.init(jnp.zeros(10_000)))
      >>> assert abs(float(jnp.std(updates)) - 2.0) < 0.05

    **Differs** from optax: the key is required.

    Reference: Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807.
    """
    check.non_negative(eta=eta, gamma=gamma)
    first = numerics.as_key(key)

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        following, now = jax.random.split(
            jax.random.wrap_key_data(state["key"], impl=jax.random.key_impl(first))
        )
        treedef: Any
        leaves, treedef = jax.tree.flatten(updates)
        dtype = numerics.scalar_dtype(updates)
        deviation = numerics.sqrt(
            tree.factor_like(eta, jnp.zeros((), dtype))
            / (step + 1).astype(dtype) ** tree.factor_like(gamma, jnp.zeros((), dtype))
        )
        keys = jax.random.split(now, max(len(leaves), 1))
        noise = [
            tree.factor_like(deviation, u) * jax.random.normal(k, u.shape, u.dtype)
            for k, u in zip(keys, leaves)
        ]
        return treedef.unflatten([u + n for u, n in zip(leaves, noise, strict=True)]), {
            "key": jax.random.key_data(following)
        }

    # A copy: donating the state must not take the user's key with it.
    return Rule(lambda params: {"key": jnp.array(jax.random.key_data(first), copy=True)}, update)
