"""Cocob."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_cocob(alpha: Any = 100.0, eps: Any = 1e-8) -> Rule:
    """Bet on the sign of each gradient: the direction of continuous coin betting.

    **Rule** for each number: L ← max(L, |g|), S ← S + |g|, W ← max(W − g (θ − θ_0), 0), C ← C − g, u = θ_0 + C (L + W) / (L max(S + L, a L)) − θ.

    **Remembers** ``origin``, ``gradients`` (C), ``scale`` (L, from ε), ``magnitudes`` (S) and ``reward`` (W): 20 bytes per parameter. Needs params.

    Args:
      alpha: a > 0, how careful the first bets are.
      eps: ε > 0, the least scale.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: complex updates, which have no sign.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_cocob(alpha=10.0), jnp.zeros(1)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 5.0), tx.init(w), w)[0], -0.1)  # −5 · 5 / (5 · 50)

    Reference: Orabona and Tommasi 2017, https://arxiv.org/abs/1705.07795, algorithm 2.
    """
    check.positive(alpha=alpha, eps=eps)

    def init(params: Any) -> Any:
        zeros = tree.zeros_like  # anew for each: a donated state owns every buffer once
        kept = {
            "gradients": zeros(params),
            "scale": zeros(params, eps),
            "magnitudes": zeros(params),
            "reward": zeros(params),
        }
        return {"origin": tree.origin(params), **kept}

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.real_leaves(updates)
        origin = tree.origin_at(state["origin"], params, step)

        def leaf(
            g: Any, p: Any, first: Any, bets: Any, scale: Any, magnitudes: Any, reward: Any
        ) -> Any:
            scale, magnitudes = jnp.maximum(scale, jnp.abs(g)), magnitudes + jnp.abs(g)
            reward, bets = jnp.maximum(reward - g * (p - first), 0.0), bets - g
            share = bets / (
                scale * jnp.maximum(magnitudes + scale, tree.factor_like(alpha, g) * scale)
            )
            return first + share * (scale + reward) - p, bets, scale, magnitudes, reward

        names = ("gradients", "scale", "magnitudes", "reward")
        updates, *kept = tree.map(
            leaf, updates, params, origin, *(state[name] for name in names), outputs=5
        )
        return updates, {"origin": origin, **dict(zip(names, kept, strict=True))}

    return Rule(init, update)


@transform
def cocob(
    learning_rate: Any = 1.0,
    alpha: Any = 100.0,
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """COCOB: training by coin betting, without a rate.

    **Rule** Δθ = u, u as in ``scale_by_cocob``, fed α (g + λ θ).

    **Remembers** ``scale_by_cocob``: 20 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a factor of the gradient: a constant one changes nothing, a schedule weighs the steps.
      alpha: a > 0, how careful the first bets are.
      eps: ε > 0, the least scale.
      weight_decay: λ ≥ 0, coupled.
      mask: which leaves decay.

    Raises:
      ValueError: a number out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.cocob(alpha=10.0), jnp.ones(1)
      >>> assert jnp.allclose(tx.apply(w, tx.init(w), jnp.full(1, 5.0))[0], 0.9)

    Reference: Orabona and Tommasi 2017, https://arxiv.org/abs/1705.07795.
    """
    return chain(
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_cocob(alpha, eps),
    )
