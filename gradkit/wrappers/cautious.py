"""Cautious updates: only the components that agree with the gradient."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _shards as shards
from gradkit import _tree as tree
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.typing import Rate


@transform
def cautious(inner: Transform, eps: Rate = 1.0, *, direction: bool = False) -> Rule:
    """Zero the update components whose sign disagrees with the gradient, and rescale the rest.

    **Update rule** u ← u φ n / (Σ φ + ε) per leaf of n elements, with u = inner(g) and φ = 1 where
    u · g < 0, 0 elsewhere. (Complex leaves: the real part of u g*.)

    **State** that of ``inner``.

    Args:
      inner: an optimizer, such as ``adam(1e-3)``; or with ``direction=True`` a transform before the
        learning rate, such as ``scale_by_adam()``.
      eps: ε ≥ 0, the paper's ξ.
      direction: inner returns a direction to subtract, so that φ = 1 where u · g > 0.

    Raises:
      ValueError: ε < 0.
      TypeError: ``inner`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.cautious(gk.sgd(1.0, momentum=0.5), eps=0.0)
      >>> _, state = tx.update(jnp.array([8.0, 8.0]), tx.init(jnp.zeros(2)))
      >>> updates, _ = tx.update(jnp.array([-1.0, 1.0]), state)
      >>> assert updates.tolist() == [0.0, -10.0]  # the trace is (3, 5), the gradient (-1, 1)

    **Differs from the paper** when it wraps all of ``adamw``: the paper masks Adam's update alone
    and decays the weights freely: ``chain(cautious(scale_by_adam(), direction=True),
    add_decayed_weights(λ), scale_by_learning_rate(α))``.

    Reference: Liang et al. 2024, https://arxiv.org/abs/2411.16085, algorithm 2.
    """
    check.non_negative(eps=eps)
    part = Part("", inner)

    def leaf(u: Any, g: Any) -> Any:
        along = jnp.real(u * jnp.conj(g)) if jnp.iscomplexobj(u) else u * g
        agrees = (along > 0 if direction else along < 0).astype(along.dtype)
        count = shards.total(jnp.sum(agrees))
        count = jnp.maximum(count + tree.factor_like(eps, count), jnp.finfo(count.dtype).tiny)
        # A product with φ = 0 rather than a choice, so that NaN stays NaN.
        return u * (agrees * (shards.size(u) / count)).astype(u.dtype)

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        new, state = part.update(updates, state, params, context=context)
        return tree.map(leaf, new, updates), state

    return Rule(part.init, update, parts=(part,), scope="leaf", transposable=True, sharded=True)
