"""Mechanic: a learned factor for the displacement of any optimizer."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.typing import Rate


@transform
def mechanize(
    base_optimizer: Transform,
    weight_decay: Rate = 1e-2,
    eps: Rate = 1e-8,
    s_init: Rate = 1e-6,
    num_betas: int = 6,
) -> Rule:
    """Learn the learning rate of any optimizer (Mechanic).

    **Update rule** θ_t = θ_0 + Σ_i s_i Δ_t, Δ ← Δ + the base optimizer's update. With h = ⟨g + w s
    ‖g‖ θ / (‖θ‖ + ε), −Δ⟩, s = Σ s_i, and for each β_i = 1 − 10^(−i): m ← max(β m, |h| + ε), v ← β²
    v + h², r ← β r + clip(h, ±m_old) s, s_i = (s_0 m / n + max(r, 0)) / (√v + ε).

    **State** ``base_optimizer``, ``origin`` (θ_0; 4 bytes per parameter), ``scale``, ``reward``,
    ``max`` and ``variance`` (s, r, m and v, n scalars each). Requires params.

    Args:
      base_optimizer: any transform, with a learning rate of the usual order.
      weight_decay: w ≥ 0.
      eps: ε > 0.
      s_init: s_0 > 0, the initial factor.
      num_betas: n ≥ 1.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: a base that is not a transform; complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.mechanize(gk.sgd(1.0), s_init=0.5, num_betas=1), jnp.ones(1)
      >>> _, state = tx.update(jnp.ones(1), tx.init(w), w)
      >>> assert state.inner["mechanize"]["scale"].shape == (1,)

    Reference: Cutkosky et al. 2023, https://arxiv.org/abs/2306.00144.
    """
    check.non_negative(weight_decay=weight_decay)
    check.positive(eps=eps, s_init=s_init)
    check.integer(1, num_betas=num_betas)
    part = Part("base_optimizer", base_optimizer)

    def init(params: Any, *, context: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        kept = {name: jnp.zeros(num_betas, dtype) for name in ("reward", "max", "variance")}
        return {
            "base_optimizer": part.init(params, context=context),
            "origin": tree.origin(params),
            **kept,
            "scale": jnp.zeros(num_betas, dtype) + tree.scalar(s_init, params),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        check.real_leaves(updates)
        like, origin, s = (
            tree.factor_like,
            tree.origin_at(state["origin"], params, context.step),
            jnp.sum(state["scale"]),
        )
        steps, inner = part.update(updates, state["base_optimizer"], params, context=context)
        small = like(eps, s)
        pull = like(weight_decay, s) * s * tree.norm(updates) / (tree.norm(params) + small)
        back = tree.map(lambda p, o: (o - p) / like(s + small, p), params, origin)
        h = tree.dot(tree.map(lambda g, p: g + like(pull, g) * p, updates, params), back)
        betas = jnp.asarray([1 - 0.1**i for i in range(1, num_betas + 1)], s.dtype)
        largest = jnp.maximum(betas * state["max"], jnp.abs(h) + small)
        variance = betas**2 * state["variance"] + h**2
        reward = betas * state["reward"] + jnp.clip(h, -state["max"], state["max"]) * state["scale"]
        scale = (like(s_init, s) / num_betas * largest + jnp.maximum(reward, 0.0)) / (
            numerics.sqrt(variance) + small
        )
        factor = jnp.sum(scale)
        updates = tree.map(
            lambda p, o, b, u: o - like(factor, p) * (b - u) - p, params, origin, back, steps
        )
        return updates, {
            "base_optimizer": inner,
            "origin": origin,
            "reward": reward,
            "max": largest,
            "variance": variance,
            "scale": scale,
        }

    return Rule(init, update, parts=(part,), sharded=True)
