"""ACProp: AdaBelief whose preconditioner excludes the current gradient.

    Δθ_t = −α_t · (g_t / (√ŝ_{t−1} + ε) + λ θ)
    s = ema(|g_t − m_{t−1}|² + ε_root / (1 − b2); b2)        m = ema(g; b1)

φ is ``latest``, ψ is the previous step's ``ema`` of (g_t − m_{t−1})²; then weight decay.
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
from gradkit.optimizers.adabelief import squared_deviation
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate


@transform
def scale_by_acprop(
    b1: Rate = 0.9, b2: Rate = 0.999, eps: Rate = 1e-16, eps_root: Rate = 1e-16
) -> Rule:
    """Scale the gradient as ACProp does, without applying a learning rate.

    **Update rule** u_t = g_t / (√ŝ_{t−1} + ε),
    s_t = b2 s_{t−1} + (1 − b2)|g_t − m_{t−1}|² + ε_root debiased, m = ema(g; b1) not debiased,
    m_0 = 0; ŝ_0 = 1.

    **State** ``mean.average`` and ``preconditioner.average`` (shape of the leaf, float32 or wider;
    8 bytes per parameter), and the preconditioner's ``log_unseen``, one scalar.

    Args:
      b1: Decay of the mean, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added to s at every step: in total ε_root / (1 − b2).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_acprop(0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> first, state = tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 6.0 and jnp.allclose(tx.update(jnp.full(1, 3.0), state)[0], 3.0 / 6.0)

    Reference: Zhuang et al. 2021, https://arxiv.org/abs/2110.05454.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)

    average = Part("mean", ema(b1, debias=False))
    second = Part("preconditioner", ema(b2))

    def init(params: Any, *, context: Any) -> Any:
        return {
            "mean": average.init(params, context=context),
            "preconditioner": second.init(tree.magnitudes_like(params), context=context),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        seen = -jnp.expm1(state["preconditioner"]["log_unseen"])
        first = seen == 0
        weight = jnp.where(first, 1.0, seen)

        def leaf(g: Any, s: Any) -> Any:
            before = jnp.where(first, 1.0, s / tree.factor_like(weight, s))
            return numerics.divide(g, numerics.sqrt(before) + tree.factor_like(eps, s))

        direction = tree.map(leaf, updates, state["preconditioner"]["average"])
        deviations = tree.map(squared_deviation(b2, eps_root), updates, state["mean"]["average"])
        _, preconditioner = second.update(
            deviations, state["preconditioner"], params, context=context
        )
        _, mean = average.update(updates, state["mean"], params, context=context)
        return direction, {"mean": mean, "preconditioner": preconditioner}

    return Rule(init, update, parts=(average, second), scope="element")


@transform
def acprop(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-16,
    eps_root: Rate = 1e-16,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """ACProp: AdaBelief whose preconditioner excludes the current gradient.

    **Update rule** Δθ_t = −α (g_t / (√ŝ_{t−1} + ε) + λ θ),
    s_t = b2 s_{t−1} + (1 − b2)|g_t − m_{t−1}|² + ε_root debiased, m = ema(g; b1) not debiased,
    m_0 = 0; ŝ_0 = 1.

    **State** That of ``scale_by_acprop``: 8 bytes per parameter.

    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the mean, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added to s at every step: in total ε_root / (1 − b2).
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.acprop(0.5, 0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> _, state = tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.full(1, 3.0), state)[0], -0.25)

    Reference: Zhuang et al. 2021, https://arxiv.org/abs/2110.05454.
    """
    return chain(
        scale_by_acprop(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
