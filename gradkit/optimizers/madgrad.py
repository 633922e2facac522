"""MADGRAD: momentumized, adaptive, dual averaged gradients.

Δθ_t = (1 − ρ)(z_t − θ_t)      z_t = θ_0 − s_t / (∛n_t + ε)      s = Σ λ_t g_t      n = Σ λ_t |g_t|²

φ = a weighted ``running_sum`` of g and ψ = one of g², under a cube root, from the first step on.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.stores import IDENTITY, averages
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Rate


@transform
def scale_by_madgrad(learning_rate: Rate, momentum: Rate = 0.9, eps: Rate = 1e-6) -> Rule:
    """Compute MADGRAD's update: dual averaging from the initial parameters, with a cube root.

    **Update rule** λ_t = (α + ε) √t, s ← s + λ g, n ← n + λ |g|², z = θ_0 − s / (∛n + ε),
    Δθ = (1 − ρ)(z − θ).

    **State** ``sum`` (s), ``preconditioner`` (n) and ``start`` (θ_0, from the first step on),
    float32 or wider: 12 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      momentum: ρ in [0, 1).
      eps: ε ≥ 0, added to the cube root and to the learning rate.

    Raises:
      ValueError: an argument out of range, or no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_madgrad(0.5, momentum=0.75, eps=0.0), jnp.full(1, 1.0)
      >>> updates, _ = tx.update(jnp.full(1, 4.0), tx.init(w), w)
      >>> assert jnp.allclose(updates, 0.25 * -0.5 * 4 / 8 ** (1 / 3))  # n = 0.5 · 16

    Reference: Defazio and Jelassi 2021, https://arxiv.org/abs/2101.11075.
    """
    check.non_negative(learning_rate=learning_rate, eps=eps)
    check.decay(momentum=momentum)

    def init(params: Any) -> Any:
        return {
            "sum": tree.zeros_like(params),
            "preconditioner": tree.magnitudes_like(params),
            "start": tree.zeros_like(params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.params(params)
        like = tree.factor_like
        root = jnp.sqrt((step + 1).astype(numerics.scalar_dtype(updates)))
        weight = (like(learning_rate, root) + like(eps, root)) * root
        start = tree.origin_at(state["start"], params, step)

        def leaf(g: Any, p: Any, s: Any, n: Any, start: Any) -> Any:
            s, n = s + like(weight, s) * g, n + like(weight, n) * numerics.abs_sq(g)
            z = start - numerics.divide(s, numerics.cbrt(n) + like(eps, n))
            return (1 - like(momentum, p)) * (z - p), s, n

        updates, s, n = tree.map(
            leaf, updates, params, state["sum"], state["preconditioner"], start, outputs=3
        )
        return updates, {"sum": s, "preconditioner": n, "start": start}

    kept = averages(IDENTITY, "sum", "preconditioner")
    return Rule(init, update, scope="element", averages=kept)


@transform
def madgrad(
    learning_rate: Rate, momentum: Rate = 0.9, weight_decay: Rate = 0.0, eps: Rate = 1e-6
) -> Transform:
    """MADGRAD: momentumized, adaptive, dual averaged gradients.

    **Update rule** Δθ = (1 − ρ)(z − θ), z as in ``scale_by_madgrad``, computed from g + λ θ.

    **State** ``scale_by_madgrad``: 12 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      momentum: ρ in [0, 1).
      weight_decay: λ ≥ 0, coupled: λ θ is added to the gradient.
      eps: ε ≥ 0, added to the cube root and to the learning rate.

    Raises:
      ValueError: an argument out of range, or no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.madgrad(0.5, momentum=0.0, weight_decay=1.0, eps=0.0)
      >>> w = jnp.full(1, 1.0)
      >>> updates, _ = tx.update(jnp.full(1, 3.0), tx.init(w), w)
      >>> assert jnp.allclose(updates, -0.5 * 4 / 8 ** (1 / 3))

    Reference: Defazio and Jelassi 2021, https://arxiv.org/abs/2101.11075.
    """
    return chain(add_decayed_weights(weight_decay), scale_by_madgrad(learning_rate, momentum, eps))
