"""Gradient noise."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.typing import Key, Rate


@transform
def add_noise(eta: Rate, gamma: Rate, key: Key) -> Rule:
    """Add Gaussian noise to the gradient, with a variance that decays over the steps.

    **Update rule** u ← g + σ_t n, n ~ N(0, 1), σ_t² = η / t^γ, t = step + 1.

    **State** ``key``, the data of the next random key.

    Args:
      eta: η ≥ 0, the variance at the first step; a number or a schedule.
      gamma: γ ≥ 0, the rate of decay; the paper uses 0.55.
      key: a seed, a random key, or the data of one.

    Raises:
      ValueError: a negative ``eta`` or ``gamma``.
      TypeError: ``key`` is None, or not a key.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.add_noise(4.0, 0.55, key=0)
      >>> updates, _ = tx.update(jnp.zeros(10_000), tx.init(jnp.zeros(10_000)))
      >>> assert abs(float(jnp.std(updates)) - 2.0) < 0.05

    **Differs from optax**: the key is required.

    Reference: Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807.
    """
    check.non_negative(eta=eta, gamma=gamma)
    first = numerics.as_key(key)

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        following, (now,) = numerics.split_key(state["key"], first, 1)
        treedef: Any
        leaves, treedef = jax.tree.flatten(updates)
        zero = jnp.zeros((), numerics.scalar_dtype(updates))
        time = (step + 1).astype(zero.dtype)
        variance = tree.factor_like(eta, zero) / time ** tree.factor_like(gamma, zero)
        deviation = numerics.sqrt(variance)
        noisy = [
            u + tree.factor_like(deviation, u) * jax.random.normal(each, u.shape, u.dtype)
            for each, u in zip(jax.random.split(now, max(len(leaves), 1)), leaves)
        ]
        return treedef.unflatten(noisy), {"key": following}

    return Rule(lambda params: {"key": numerics.key_data(first)}, update)
