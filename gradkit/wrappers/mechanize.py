"""Mechanize."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, transform


@transform
def mechanize(
    base_optimizer: Any,
    weight_decay: Any = 1e-2,
    eps: Any = 1e-8,
    s_init: Any = 1e-6,
    num_betas: int = 6,
) -> Rule:
    """Mechanic: learn the factor of any optimizer's displacement.

    **Rule** θ_t = θ_0 + Σ_i s_i Δ_t, Δ ← Δ + the base optimizer's update. With h = ⟨g + w s ‖g‖ θ / (‖θ‖ + ε), −Δ⟩, s = Σ s_i, and for each β_i = 1 − 10^(−i):
    m ← max(β m, |h| + ε), v ← β² v + h², r ← β r + clip(h, ±m_old) s, s_i = (s_0 m / n + max(r, 0)) / (√v + ε).

    **Remembers** ``base`` (what the base optimizer does), ``origin`` (θ_0; 4 bytes per parameter), ``scale``, ``reward``, ``running_max`` and ``variance`` (s, r, m
    and v, n numbers each). Needs params.

    Args:
      base_optimizer: any transform, with a rate of the usual order.
      weight_decay: w ≥ 0.
      eps: ε > 0.
      s_init: s_0 > 0, the factor to begin with.
      num_betas: n ≥ 1.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: a base that is no transform; complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.mechanize(gk.sgd(1.0), s_init=0.5, num_betas=1), jnp.ones(1)
      >>> _, state = tx.update(jnp.ones(1), tx.init(w), w)
      >>> assert state.inner["mechanize"]["scale"].shape == (1,)

    Reference: Cutkosky et al. 2023, https://arxiv.org/abs/2306.00144.
    """
    if not isinstance(base_optimizer, Transform):
        check.fail(
            "needs a transform",
            repr(base_optimizer),
            "Such as adamw(1e-3)",
            path="base_optimizer",
            error=TypeError,
        )
    check.non_negative(weight_decay=weight_decay)
    check.positive(eps=eps, s_init=s_init)
    check.integer(1, num_betas=num_betas)
    base = base_optimizer.rule

    def init(params: Any, *, leaves: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        kept = {name: jnp.zeros(num_betas, dtype) for name in ("reward", "peak", "variance")}
        return {
            "base": base.init(params, leaves=leaves),
            "origin": tree.origin(params),
            **kept,
            "scale": jnp.zeros(num_betas, dtype) + tree.scalar(s_init, params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any, **extras: Any) -> Any:
        check.real_leaves(updates)
        like, origin, s = (
            tree.factor_like,
            tree.origin_at(state["origin"], params, step),
            jnp.sum(state["scale"]),
        )
        steps, kept = base.update(updates, state["base"], params, step=step, **extras)
        small = like(eps, s)
        pull = like(weight_decay, s) * s * tree.norm(updates) / (tree.norm(params) + small)
        back = tree.map(lambda p, o: (o - p) / like(s + small, p), params, origin)
        h = tree.dot(tree.map(lambda g, p: g + like(pull, g) * p, updates, params), back)
        betas = jnp.asarray([1 - 0.1**i for i in range(1, num_betas + 1)], s.dtype)
        peak = jnp.maximum(betas * state["peak"], jnp.abs(h) + small)
        variance = betas**2 * state["variance"] + h**2
        reward = (
            betas * state["reward"] + jnp.clip(h, -state["peak"], state["peak"]) * state["scale"]
        )
        scale = (like(s_init, s) / num_betas * peak + jnp.maximum(reward, 0.0)) / (
            numerics.sqrt(variance) + small
        )
        factor = jnp.sum(scale)
        updates = tree.map(
            lambda p, o, b, u: o - like(factor, p) * (b - u) - p, params, origin, back, steps
        )
        return updates, {
            "base": kept,
            "origin": origin,
            "reward": reward,
            "peak": peak,
            "variance": variance,
            "scale": scale,
        }

    return Rule(init, update)
