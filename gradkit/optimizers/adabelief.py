"""AdaBelief: Adam that divides by the gradient's deviation from its average, not by its size.

    Δθ_t = −α_t · m̂_t / (√ŝ_t + ε) m = ema(g; b1)        s = ema(|g − m|² + ε_root / (1 − b2); b2)

φ is ``ema``, ψ is ``ema`` of (g_t − m_t)², m_t the average before it is debiased.
"""

from collections.abc import Callable
from typing import Any

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate


@transform
def scale_by_belief(
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-16,
    eps_root: Rate = 1e-16,
    *,
    nesterov: bool = False,
) -> Rule:
    """Scale the gradient as AdaBelief does, without applying a learning rate.

    The steps are small where the gradient deviates from its moving average.

    **Update rule** u = m̂ / (√ŝ + ε), m = ema(g; b1),
    s_t = b2 s_{t−1} + (1 − b2)|g_t − m_t|² + ε_root, both debiased; 0 where the denominator is 0.

    **State** ``moment.average`` and ``preconditioner.average`` (shape of the leaf, float32 or
    wider; 8 bytes per parameter), and the ``log_unseen`` of each, one scalar.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added to s at every step: in total ε_root / (1 − b2).
      nesterov: Extrapolate the moment one step ahead (Nesterov).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_belief(0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> updates, _ = tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(updates, 2.0)  # m̂ = 6, ŝ = |6 − 3|²

    **Differs from the paper**: the defaults are ε = ε_root = 1e-16; there both are 1e-8.

    Reference: Zhuang et al. 2020, https://arxiv.org/abs/2010.07468.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)

    first = Part("moment", ema(b1, nesterov=nesterov))
    second = Part("preconditioner", ema(b2))

    def init(params: Any, *, context: Any) -> Any:
        return {
            "moment": first.init(params, context=context),
            "preconditioner": second.init(tree.magnitudes_like(params), context=context),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        moments, moment = first.update(updates, state["moment"], params, context=context)
        deviations = tree.map(squared_deviation(b2, eps_root), updates, moment["average"])
        preconditioners, preconditioner = second.update(
            deviations, state["preconditioner"], params, context=context
        )
        direction = tree.map(
            lambda m, s: numerics.divide(m, numerics.sqrt(s) + tree.factor_like(eps, s)),
            moments,
            preconditioners,
        )
        return direction, {"moment": moment, "preconditioner": preconditioner}

    return Rule(init, update, parts=(first, second), scope="element")


def squared_deviation(b2: Any, eps_root: Any) -> Callable[[Any, Any], Any]:
    """Return the leaf function (g, m) ↦ |g − m|² + ε_root / (1 − b2).

    The average of decay b2 multiplies its input by 1 − b2, so every step adds ε_root itself.
    """
    floor = eps_root / (1 - b2)

    def leaf(g: Any, m: Any) -> Any:
        square = numerics.abs_sq(g - m)
        return square + tree.factor_like(floor, square)

    return leaf


@transform
def adabelief(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-16,
    eps_root: Rate = 1e-16,
    *,
    nesterov: bool = False,
) -> Transform:
    """AdaBelief: divide by the gradient's deviation from its moving average.

    **Update rule** Δθ = −α m̂ / (√ŝ + ε), m = ema(g; b1),
    s_t = b2 s_{t−1} + (1 − b2)|g_t − m_t|² + ε_root, both debiased.

    **State** That of ``scale_by_belief``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added to s at every step: in total ε_root / (1 − b2).
      nesterov: Extrapolate the moment one step ahead (Nesterov).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or learning rate.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adabelief(0.5, 0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], -1.0)

    **Differs from the paper**: the defaults are ε = ε_root = 1e-16; there both are 1e-8.

    Reference: Zhuang et al. 2020, https://arxiv.org/abs/2010.07468.
    """
    return chain(
        scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
