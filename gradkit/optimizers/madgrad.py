"""Madgrad."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import as_rate
from gradkit._transform import Transform, chain, transform
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_madgrad(learning_rate: Any, momentum: Any = 0.9, eps: Any = 1e-6) -> Rule:
    """MADGRAD's steps: dual averaging from the start, with a cube root.

    **Rule** λ_t = (α + ε) √t, s += λ g, n += λ |g|², z = θ_0 − s / (∛n + ε), Δθ = (1 − ρ)(z − θ).

    **Remembers** ``sum`` (s), ``preconditioner`` (n) and ``start`` (θ_0, from the first step on), float32 or wider: 12 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      momentum: ρ in [0, 1).
      eps: ε ≥ 0.

    Raises:
      ValueError: arguments out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_madgrad(0.5, momentum=0.75, eps=0.0), jnp.full(1, 1.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 4.0), tx.init(w), w)[0], 0.25 * -0.5 * 4 / 8 ** (1 / 3))  # n = 0.5 · 16

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
        weight = (learning_rate + eps) * jnp.sqrt((step + 1).astype(numerics.scalar_dtype(updates)))

        begin = tree.origin_at(state["start"], params, step)

        def leaf(g: Any, p: Any, s: Any, n: Any, start: Any) -> Any:
            like = tree.factor_like
            s, n = s + like(weight, s) * g, n + like(weight, n) * numerics.abs_sq(g)
            return (
                like(1 - momentum, p)
                * (start - numerics.divide(s, numerics.cbrt(n) + like(eps, n)) - p),
                s,
                n,
            )

        updates, s, n = tree.map(
            leaf, updates, params, state["sum"], state["preconditioner"], begin, outputs=3
        )
        return updates, {"sum": s, "preconditioner": n, "start": begin}

    return Rule(init, update)


@transform
def madgrad(
    learning_rate: Any, momentum: Any = 0.9, weight_decay: Any = 0.0, eps: Any = 1e-6
) -> Transform:
    """MADGRAD: momentumized, adaptive, dual averaged gradients.

    **Rule** Δθ = (1 − ρ)(z − θ), z as in ``scale_by_madgrad``, fed g + λ θ.

    **Remembers** ``scale_by_madgrad``: 12 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      momentum: ρ in [0, 1).
      weight_decay: λ ≥ 0, coupled.
      eps: ε ≥ 0.

    Raises:
      ValueError: arguments out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.madgrad(0.5, momentum=0.0, weight_decay=1.0, eps=0.0), jnp.full(1, 1.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 3.0), tx.init(w), w)[0], -0.5 * 4 / 8 ** (1 / 3))

    Reference: Defazio and Jelassi 2021, https://arxiv.org/abs/2101.11075.
    """
    return chain(
        add_decayed_weights(weight_decay), scale_by_madgrad(as_rate(learning_rate), momentum, eps)
    )
