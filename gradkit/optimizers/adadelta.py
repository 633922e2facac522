"""AdaDelta: RMSprop whose steps have the units of the parameters.

    Δθ_t = −α_t · √(X_{t−1} + ε) / √(G_t + ε) · g_t        G = ema(|g|²; ρ)        X = ema(|u|²; ρ)

φ is ``latest``, ψ is ``ema`` of g²; then times √(``ema`` of u² + ε), u = Δθ / −α.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate


@transform
def scale_by_adadelta(rho: Rate = 0.9, eps: Rate = 1e-6) -> Rule:
    """Scale the gradient as AdaDelta does, without applying a learning rate.

    Divides by the root of the average square of the gradients and multiplies by that of the
    updates.

    **Update rule** u_t = g_t √(X_{t−1} + ε) / √(G_t + ε), G = ema(|g|²; ρ), X = ema(|u|²; ρ),
    neither debiased.

    **State** ``preconditioner.average`` (G) and ``delta.average`` (X) (shape of the leaf, float32
    or wider; 8 bytes per parameter).

    Args:
      rho: ρ, the decay of both averages, in [0, 1).
      eps: ε ≥ 0, added under both roots; the first step is √ε / √((1 − ρ) g² + ε) g.

    Raises:
      ValueError: ρ outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule.

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

    second = Part("preconditioner", ema(rho, debias=False))
    steps = Part("delta", ema(rho, debias=False))

    def init(params: Any, *, context: Any) -> Any:
        magnitudes = tree.magnitudes_like(params)
        return {part.name: part.init(magnitudes, context=context) for part in (second, steps)}

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        # On CPU, XLA writes to memory a root or quotient that u and |u|² share. So each has its own
        # expression. The row "adadelta" of benchmarks/step.py measures the speedup.
        def leaf(g: Any, preconditioner: Any, delta: Any) -> Any:
            above, below = (x + tree.factor_like(eps, x) for x in (delta, preconditioner))
            ratio = numerics.sqrt(above) * numerics.divide(
                jnp.ones_like(below), numerics.sqrt(below)
            )
            return g * tree.factor_like(ratio, g), numerics.abs_sq(g) * numerics.divide(
                above, below
            )

        squares = tree.map(numerics.abs_sq, updates)
        squares, preconditioner = second.update(
            squares, state["preconditioner"], params, context=context
        )
        updates, squares = tree.map(leaf, updates, squares, state["delta"]["average"], outputs=2)
        _, delta = steps.update(squares, state["delta"], params, context=context)
        return updates, {"preconditioner": preconditioner, "delta": delta}

    return Rule(init, update, parts=(second, steps), scope="element")


@transform
def adadelta(
    learning_rate: Rate | None = None,
    rho: Rate = 0.9,
    eps: Rate = 1e-6,
    weight_decay: Rate = 0.0,
    weight_decay_mask: Mask | None = None,
) -> Transform:
    """AdaDelta: adaptive steps in the units of the parameters.

    **Update rule** Δθ = −α u with ``scale_by_adadelta``'s u_t = g_t √(X_{t−1} + ε) / √(G_t + ε),
    G = ema(|g|²; ρ), X = ema(|u|²; ρ), neither debiased; g includes the weight decay λ θ.

    **State** That of ``scale_by_adadelta``: 8 bytes per parameter.

    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule. 1 in the paper. None returns +u, which ascends, as in
        optax.
      rho: ρ, the decay of both averages, in [0, 1).
      eps: ε ≥ 0, added under both roots; the first step is √ε / √((1 − ρ) g² + ε) g.
      weight_decay: λ ≥ 0, coupled: λ θ is added to the gradient.
      weight_decay_mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: ρ outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.adadelta(1.0, rho=0.75, eps=4.0), jnp.zeros(1)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 4.0), tx.init(w), w)[0], -4 * 2 / 8**0.5)

    Reference: Zeiler 2012, https://arxiv.org/abs/1212.5701.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(learning_rate),
    )
