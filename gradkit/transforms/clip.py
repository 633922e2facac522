"""Clipping: bounds on the values, on the joint norm, on each leaf, on each unit.

| | bound |
|---|---|
| ``clip(b)``, ``clip(b, a)`` | a ≤ u_i ≤ b, elementwise; a = −b |
| ``clip_by_global_norm(c)`` | ‖u‖ ≤ c over the whole tree |
| ``clip_by_block_rms(c)`` | rms(u_leaf) ≤ c |
| ``adaptive_grad_clip(λ)`` | ‖u_unit‖ ≤ λ max(‖θ_unit‖, ε) |
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._transform import Rule, stateless, transform


@transform
def clip(max_delta: Any, min_delta: Any = None) -> Rule:
    """Clip every number into [−b, b], or into [a, b].

    **Rule** u ← max(min(g, b), a) with b = ``max_delta``, a = ``min_delta`` or −b.

    **Remembers** nothing.

    Args:
      max_delta: the upper bound; positive when it stands alone.
      min_delta: the lower bound, below the upper.

    Raises:
      ValueError: bounds that leave nothing between them.
      TypeError: complex updates, which have no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip(2.0, -1.0)
      >>> assert tx.update(jnp.array([-5.0, 0.5, 5.0]), tx.init(jnp.zeros(3)))[0].tolist() == [-1.0, 0.5, 2.0]

    **Differs** from optax: a second, different bound is possible, as in the lectures' g ← max(min(g, b), a).
    """
    if min_delta is None:
        check.positive(max_delta=max_delta)
    else:
        check.finite(max_delta=max_delta, min_delta=min_delta)
        check.ordered(min_delta=min_delta, max_delta=max_delta)
    low = -max_delta if min_delta is None else min_delta

    def leaf(u: Any) -> Any:
        check.real(u)
        return jnp.clip(u, tree.factor_like(low, u), tree.factor_like(max_delta, u))

    return stateless(lambda updates, params: tree.map(leaf, updates))


@transform
def clip_by_global_norm(max_norm: Any) -> Rule:
    """Scale all updates together so that their joint norm is at most ``max_norm``.

    **Rule** u ← g · min(1, c / ‖g‖), ‖g‖ = √Σ|g_i|² over the whole tree, in float32 or wider; u = 0 for g = 0.

    **Remembers** nothing.

    Args:
      max_norm: c > 0, a number or a schedule; infinity never clips.

    Raises:
      ValueError: ``max_norm`` ≤ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_global_norm(1.0)
      >>> updates, _ = tx.update({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, tx.init({"a": jnp.zeros(1), "b": jnp.zeros(1)}))
      >>> assert abs(float(updates["a"][0]) - 0.6) < 1e-7 and abs(float(updates["b"][0]) - 0.8) < 1e-7

    **Differs** from optax: float16 and bfloat16 gradients are squared and summed in float32; an all-zero gradient has a finite derivative.

    Reference: Pascanu et al. 2013, https://arxiv.org/abs/1211.5063.
    """
    check.positive(max_norm=max_norm)

    def update(updates: Any, params: Any) -> Any:
        # Behind the barrier XLA cannot share g² with a second moment downstream, and so does not write it to memory.
        norm = tree.norm(lax.optimization_barrier(updates))
        return tree.scale(updates, jnp.minimum(1.0, numerics.reciprocal(norm) * max_norm))

    return stateless(update)
