"""Acprop."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import ema
from gradkit.optimizers.adabelief import _surprise
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_acprop(
    b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-16, eps_root: Any = 1e-16
) -> Rule:
    """ACProp's direction: the gradient over the surprise of the steps before it.

    **Rule** u_t = g_t / (√ŝ_{t−1} + ε), s_t = b2 s_{t−1} + (1 − b2)|g_t − m_{t−1}|² + ε_root debiased, m = ema(g; b1) from 0 and not debiased; ŝ_0 = 1.

    **Remembers** ``mean`` and ``preconditioner``, the two averages (float32 or wider; 8 bytes per parameter).

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, added to s at every step.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_acprop(0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> first, state = tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 6.0 and jnp.allclose(tx.update(jnp.full(1, 3.0), state)[0], 3.0 / 6.0)

    Reference: Zhuang et al. 2021, https://arxiv.org/abs/2110.05454.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)

    def init(params: Any) -> Any:
        return {
            "mean": ema(b1, debias=False).rule.init(params),
            "preconditioner": ema(b2).rule.init(tree.magnitudes_like(params)),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        seen = -jnp.expm1(state["preconditioner"]["log_unseen"])
        first = seen == 0
        by = jnp.where(first, 1.0, seen)

        def leaf(g: Any, s: Any) -> Any:
            before = jnp.where(first, 1.0, s / tree.factor_like(by, s))
            return numerics.divide(g, numerics.sqrt(before) + tree.factor_like(eps, s))

        direction = tree.map(leaf, updates, state["preconditioner"]["average"])
        surprise = tree.map(_surprise(b2, eps_root), updates, state["mean"]["average"])
        _, preconditioner = ema(b2).rule.update(
            surprise, state["preconditioner"], params, step=step
        )
        _, mean = ema(b1, debias=False).rule.update(updates, state["mean"], params, step=step)
        return direction, {"mean": mean, "preconditioner": preconditioner}

    return Rule(init, update)


@transform
def acprop(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-16,
    eps_root: Any = 1e-16,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """ACProp: AdaBelief whose preconditioner is one step behind, so that it does not depend on the gradient it divides.

    **Rule** Δθ_t = −α (g_t / (√ŝ_{t−1} + ε) + λ θ), s as in ``scale_by_acprop``.

    **Remembers** ``scale_by_acprop``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the mean, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, added to s at every step.
      weight_decay: λ ≥ 0, decoupled.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate.

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
