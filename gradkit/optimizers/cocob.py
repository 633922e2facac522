"""COCOB: each element bets the reward that it has won so far; there is no learning rate.

θ ← θ_0 + C (L + W) / (L max(S + L, a L)), where C = −Σ g, L = max |g|, S = Σ |g| and W is the
reward won so far; each element of each leaf by itself.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate


@transform
def scale_by_cocob(alpha: Rate = 100.0, eps: Rate = 1e-8) -> Rule:
    """Compute COCOB's update, continuous coin betting on each element of the gradient.

    **Update rule** for each element: L ← max(L, |g|), S ← S + |g|, W ← max(W − g (θ − θ_0), 0),
    C ← C − g, u = θ_0 + C (L + W) / (L max(S + L, a L)) − θ.

    **State** ``origin`` (θ_0), ``gradients`` (C), ``scale`` (L, from ε), ``magnitudes`` (S) and
    ``reward`` (W): float32 or wider; 20 bytes per parameter. Needs params.

    Args:
      alpha: a > 0; a larger one makes the first bets smaller.
      eps: ε > 0, the least L.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: complex updates, which have no sign.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_cocob(alpha=10.0), jnp.zeros(1)
      >>> updates, _ = tx.update(jnp.full(1, 5.0), tx.init(w), w)
      >>> assert jnp.allclose(updates, -0.1)  # −5 · 5 / (5 · 50)

    Reference: Orabona and Tommasi 2017, https://arxiv.org/abs/1705.07795, algorithm 2.
    """
    check.positive(alpha=alpha, eps=eps)

    def init(params: Any) -> Any:
        zeros = tree.zeros_like  # one call for each: a donated state owns every buffer once
        sums = {
            "gradients": zeros(params),
            "scale": zeros(params, eps),
            "magnitudes": zeros(params),
            "reward": zeros(params),
        }
        return {"origin": tree.origin(params), **sums}

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.real_leaves(updates)
        origin = tree.origin_at(state["origin"], params, step)

        def leaf(
            g: Any, p: Any, start: Any, bets: Any, scale: Any, magnitudes: Any, reward: Any
        ) -> Any:
            scale, magnitudes = jnp.maximum(scale, jnp.abs(g)), magnitudes + jnp.abs(g)
            reward, bets = jnp.maximum(reward - g * (p - start), 0.0), bets - g
            least = tree.factor_like(alpha, g) * scale
            share = bets / (scale * jnp.maximum(magnitudes + scale, least))
            return start + share * (scale + reward) - p, bets, scale, magnitudes, reward

        names = ("gradients", "scale", "magnitudes", "reward")
        updates, *sums = tree.map(
            leaf, updates, params, origin, *(state[name] for name in names), outputs=5
        )
        return updates, {"origin": origin, **dict(zip(names, sums, strict=True))}

    return Rule(init, update, scope="element")


@transform
def cocob(
    learning_rate: Rate = 1.0,
    alpha: Rate = 100.0,
    eps: Rate = 1e-8,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """COCOB: gradient descent by coin betting, without a learning rate.

    **Update rule** Δθ = u, with u as in ``scale_by_cocob``, computed from α (g + λ θ).

    **State** ``scale_by_cocob``: 20 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, or a schedule: a factor of the gradient. A constant one changes
        nothing, a schedule weighs the steps.
      alpha: a > 0; a larger one makes the first bets smaller.
      eps: ε > 0, the least scale of the gradients.
      weight_decay: λ ≥ 0, coupled: λ θ is added to the gradient.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: complex updates, which have no sign.

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
