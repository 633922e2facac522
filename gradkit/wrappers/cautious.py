"""Caution: of an update, only what goes downhill."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, transform


@transform
def cautious(inner: Any, eps: Any = 1.0, *, direction: bool = False) -> Rule:
    """Drop the numbers of an update that would go uphill, and lengthen the others in proportion.

    **Rule** u ← u φ n / (Σ φ + ε) per leaf of n numbers, u = inner(g), φ = 1 where u · g < 0 and 0 elsewhere. (Complex: the real part of u g*.)

    **Remembers** what ``inner`` remembers, in its place.

    Args:
      inner: an optimizer, such as ``adam(1e-3)``; or with ``direction=True`` what stands before the rate, such as ``scale_by_adam()``.
      eps: ε ≥ 0, the paper's ξ.
      direction: inner gives a direction to subtract, so that φ = 1 where u · g > 0.

    Raises:
      ValueError: ε < 0.
      TypeError: ``inner`` is no transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.cautious(gk.sgd(1.0, momentum=0.5), eps=0.0)
      >>> _, state = tx.update(jnp.array([8.0, 8.0]), tx.init(jnp.zeros(2)))
      >>> assert tx.update(jnp.array([-1.0, 1.0]), state)[0].tolist() == [0.0, -10.0]  # the trace is (3, 5), the first number against its gradient

    **Differs** from wrapping all of ``adamw``: the paper masks Adam's step alone and decays the weights freely:
    ``chain(cautious(scale_by_adam(), direction=True), add_decayed_weights(λ), scale_by_learning_rate(α))``.

    Reference: Liang et al. 2024, https://arxiv.org/abs/2411.16085, algorithm 2.
    """
    if not isinstance(inner, Transform):
        check.fail(
            "needs a transform",
            repr(inner),
            "For example cautious(adam(1e-3))",
            path="inner",
            error=TypeError,
        )
    check.non_negative(eps=eps)
    rule = inner.rule

    def leaf(u: Any, g: Any) -> Any:
        along = jnp.real(u * jnp.conj(g)) if jnp.iscomplexobj(u) else u * g
        kept = (along > 0 if direction else along < 0).astype(along.dtype)
        total = jnp.sum(kept)
        # NaN stays NaN: a product with φ = 0, not a choice.
        return u * (
            kept
            * (
                u.size
                / jnp.maximum(total + tree.factor_like(eps, total), jnp.finfo(total.dtype).tiny)
            )
        ).astype(u.dtype)

    def update(updates: Any, state: Any, params: Any, **extras: Any) -> Any:
        made, state = rule.update(updates, state, params, **extras)
        return tree.map(leaf, made, updates), state

    return Rule(rule.init, update, evaluate=rule.evaluate)
