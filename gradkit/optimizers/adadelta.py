"""Adadelta."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import ema
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_adadelta(rho: Any = 0.9, eps: Any = 1e-6) -> Rule:
    """Divide by the root of the average square of the gradients, multiply by that of the steps: AdaDelta's direction.

    **Rule** u_t = g_t √(X_{t−1} + ε) / √(G_t + ε), G = ema(|g|²; ρ), X = ema(|u|²; ρ), neither debiased.

    **Remembers** ``preconditioner`` and ``delta``, the two averages: 8 bytes per parameter.

    Args:
      rho: ρ in [0, 1), a number or a schedule.
      eps: ε ≥ 0; it sets the first steps, √ε / √((1 − ρ) g² + ε) g.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adadelta(rho=0.75, eps=4.0)
      >>> updates, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(updates, 4 * 2 / 8**0.5)
      >>> assert jnp.allclose(state.inner["scale_by_adadelta"]["delta"]["average"], 0.25 * 8)

    Reference: Zeiler 2012, https://arxiv.org/abs/1212.5701.
    """
    check.decay(rho=rho)
    check.non_negative(eps=eps)

    def init(params: Any) -> Any:
        average, magnitudes = ema(rho, debias=False).rule, tree.magnitudes_like(params)
        return {"preconditioner": average.init(magnitudes), "delta": average.init(magnitudes)}

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        average = ema(rho, debias=False).rule

        # u and |u|² from the same numbers by different roads: XLA would write to memory a root or a quotient that both share.
        def leaf(g: Any, preconditioner: Any, delta: Any) -> Any:
            above, below = (x + tree.factor_like(eps, x) for x in (delta, preconditioner))
            ratio = numerics.sqrt(above) * numerics.divide(
                jnp.ones_like(below), numerics.sqrt(below)
            )
            return g * tree.factor_like(ratio, g), numerics.abs_sq(g) * numerics.divide(
                above, below
            )

        squares, preconditioner = average.update(
            tree.map(numerics.abs_sq, updates), state["preconditioner"], params, step=step
        )
        updates, squares = tree.map(leaf, updates, squares, state["delta"]["average"], outputs=2)
        _, delta = average.update(squares, state["delta"], params, step=step)
        return updates, {"preconditioner": preconditioner, "delta": delta}

    return Rule(init, update)


@transform
def adadelta(
    learning_rate: Any = None,
    rho: Any = 0.9,
    eps: Any = 1e-6,
    weight_decay: Any = 0.0,
    weight_decay_mask: Any = None,
) -> Transform:
    """AdaDelta: steps in the units of the parameters, without a rate of their own.

    **Rule** Δθ = −α u, u as in ``scale_by_adadelta``, fed g + λ θ.

    **Remembers** ``scale_by_adadelta``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; the paper and the lectures have 1. None gives +u, as in optax: an ascent.
      rho: ρ in [0, 1).
      eps: ε ≥ 0.
      weight_decay: λ ≥ 0, coupled.
      weight_decay_mask: which leaves decay.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adadelta(1.0, rho=0.75, eps=4.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)), jnp.zeros(1))[0], -4 * 2 / 8**0.5)

    Reference: Zeiler 2012, https://arxiv.org/abs/1212.5701.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(learning_rate),
    )
