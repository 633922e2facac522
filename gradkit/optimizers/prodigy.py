"""Prodigy: D-Adaptation with weights that grow with d, which finds the learning rate faster.

    Δθ_t = −λ_t m_t / (√v_t + d ε) − w λ_t θ
    d_t = max(d_{t−1}, c Σ d_s² ⟨g_s, θ_0 − θ_s⟩ / ‖Σ d_s² g_s‖₁), both sums with decay b3

φ is ``ema`` of d g, ψ is ``ema`` of (d g)².
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.optimizers.dadapt_adamw import checked_betas
from gradkit.stores import IDENTITY, averages
from gradkit.typing import Rate


@transform
def prodigy(
    learning_rate: Rate = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    beta3: Rate | None = None,
    eps: Rate = 1e-8,
    estim_lr0: float = 1e-6,
    estim_lr_coef: Rate = 1.0,
    weight_decay: Rate = 0.0,
    safeguard_warmup: bool = False,
) -> Rule:
    """Prodigy: AdamW that estimates its learning rate, faster than D-Adaptation.

    **Update rule** λ_t = d α √(1 − b2^t) / (1 − b1^t);
    r ← b3 r + (d / d_0) λ ⟨g, θ_0 − θ⟩; S ← b3 S + λ d g / d_0;
    m ← b1 m + (1 − b1) d g, v ← b2 v + (1 − b2) d² g²;
    d⁺ = max(d, c r / ‖S‖₁); Δθ = −λ m / (√v + d⁺ ε) − w λ θ.

    **State** ``moment`` (m), ``preconditioner`` (v), ``sum`` (S) and ``origin`` (θ_0), each of the
    shape of the leaf, float32 or wider: 16 bytes per parameter. ``rate`` (d) and ``weighted`` (r),
    one scalar each.

    Requires params.

    Args:
      learning_rate: α ≥ 0, or a schedule. Usually 1: d finds the scale.
      betas: b1 and b2, each in [0, 1).
      beta3: b3 in [0, 1); None is √b2.
      eps: ε ≥ 0; d ε is added to the root.
      estim_lr0: d_0 > 0, below the learning rate to be found.
      estim_lr_coef: c > 0, multiplies the estimate.
      weight_decay: w ≥ 0, decoupled: w λ_t θ is subtracted.
      safeguard_warmup: Use d instead of λ in S, so that a warmup of α does not raise the estimate.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, w or learning rate; a d_0 or c that is not
        positive; missing params.
      TypeError: A hyperparameter that is neither a number nor a schedule; betas that are not a
        pair of numbers; complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.prodigy(eps=0.0, estim_lr0=0.5), jnp.zeros(2)
      >>> updates, _ = tx.update(jnp.array([3.0, -7.0]), tx.init(w), w)
      >>> assert jnp.allclose(updates, jnp.array([-0.5, 0.5]))  # Adam's first step

    **Differs from optax**: while all gradients are zero, d keeps its value (NaN there). The scalars
    are at least float32, also for bfloat16 parameters.

    Reference: Mishchenko and Defazio 2023, https://arxiv.org/abs/2306.06101.
    """
    b1, b2 = checked_betas(betas)
    if beta3 is not None:
        check.decay(beta3=beta3)
    check.non_negative(learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check.positive(estim_lr0=estim_lr0, estim_lr_coef=estim_lr_coef)

    def init(params: Any) -> Any:
        zeros = {name: tree.zeros_like(params) for name in ("moment", "preconditioner", "sum")}
        return {
            **zeros,
            "origin": tree.origin(params),
            "rate": tree.scalar(estim_lr0, params),
            "weighted": tree.scalar(0.0, params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.real_leaves(updates)
        like, d = tree.factor_like, state["rate"]
        origin = tree.origin_at(state["origin"], params, step)
        b3 = like(b2**0.5 if beta3 is None else beta3, d)
        now = (
            d
            * like(learning_rate, d)
            * numerics.sqrt(tree.debias(b2, step, updates))
            / tree.debias(b1, step, updates)
        )
        gain = tree.dot(updates, tree.map(jnp.subtract, origin, params))
        weighted = b3 * state["weighted"] + d / like(estim_lr0, d) * now * gain
        share = (d if safeguard_warmup else now) / like(estim_lr0, d)

        def leaf(g: Any, m: Any, v: Any, s: Any) -> Any:
            dg = like(d, g) * g
            return (
                like(b1, g) * m + like(1 - b1, g) * dg,
                like(b2, g) * v + like(1 - b2, g) * (dg * dg),
                like(b3, g) * s + like(share, g) * dg,
            )

        moment, preconditioner, total = tree.map(
            leaf, updates, state["moment"], state["preconditioner"], state["sum"], outputs=3
        )
        size = tree.total(tree.map(lambda s: jnp.sum(jnp.abs(s)), total), total)
        estimate = jnp.maximum(d, numerics.divide(like(estim_lr_coef, d) * weighted, size))

        def step_of(m: Any, v: Any, p: Any) -> Any:
            quotient = numerics.divide(m, numerics.sqrt(v) + like(estimate, v) * like(eps, v))
            return -like(weight_decay, p) * like(now, p) * p - like(now, p) * quotient

        updates = tree.map(step_of, moment, preconditioner, params)
        return updates, {
            "moment": moment,
            "preconditioner": preconditioner,
            "sum": total,
            "origin": origin,
            "rate": estimate,
            "weighted": weighted,
        }

    return Rule(init, update, averages=averages(IDENTITY, "moment", "preconditioner"), sharded=True)
