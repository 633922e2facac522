"""Prodigy."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import Schedule, as_rate
from gradkit._transform import Transform, transform
from gradkit.optimizers.dadapt_adamw import _betas, _root


@transform
def prodigy(
    learning_rate: Any = 1.0,
    betas: tuple[Any, Any] = (0.9, 0.999),
    beta3: Any = None,
    eps: Any = 1e-8,
    estim_lr0: Any = 1e-6,
    estim_lr_coef: Any = 1.0,
    weight_decay: Any = 0.0,
    safeguard_warmup: bool = False,
) -> Rule | Transform:
    """Prodigy: D-Adaptation that finds the rate faster.

    **Rule** λ_t = d α √(1 − b2^t) / (1 − b1^t); r ← b3 r + (d / d_0) λ ⟨g, θ_0 − θ⟩; S ← b3 S + λ d g / d_0; m ← b1 m + (1 − b1) d g,
    v ← b2 v + (1 − b2) d² g²; d⁺ = max(d, c r / ‖S‖₁); Δθ = −λ m / (√v + d⁺ ε) − w λ θ.

    **Remembers** ``moment`` (m), ``preconditioner`` (v), ``sum`` (S) and ``origin`` (θ_0): 16 bytes per parameter; ``rate`` (d) and ``weighted`` (r), one number
    each. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule around 1.
      betas: b1 and b2, each in [0, 1).
      beta3: b3 in [0, 1); None is √b2.
      eps: ε ≥ 0.
      estim_lr0: d_0 > 0, below the rate to be found.
      estim_lr_coef: c > 0, multiplies the estimate.
      weight_decay: w ≥ 0, decoupled.
      safeguard_warmup: d in the place of λ in S, so that a warm-up of α does not raise the estimate.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.prodigy(eps=0.0, estim_lr0=0.5), jnp.zeros(2)
      >>> assert jnp.allclose(tx.update(jnp.array([3.0, -7.0]), tx.init(w), w)[0], jnp.array([-0.5, 0.5]))  # Adam's first step

    **Differs** from optax: where all gradients so far are zero d stays as it is (there NaN); the scalars are float32 also for bfloat16 parameters.

    Reference: Mishchenko and Defazio 2023, https://arxiv.org/abs/2306.06101.
    """
    rate = as_rate(learning_rate)
    if isinstance(rate, Schedule) and not isinstance(learning_rate, Schedule):
        return prodigy(
            rate, betas, beta3, eps, estim_lr0, estim_lr_coef, weight_decay, safeguard_warmup
        )
    b1, b2 = _betas(betas)
    if beta3 is not None:
        check.decay(beta3=beta3)
    check.non_negative(learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check.positive(estim_lr0=estim_lr0, estim_lr_coef=estim_lr_coef)

    def init(params: Any) -> Any:
        averages = {name: tree.zeros_like(params) for name in ("moment", "preconditioner", "sum")}
        return {
            **averages,
            "origin": tree.origin(params),
            "rate": tree.scalar(estim_lr0, params),
            "weighted": tree.scalar(0.0, params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.real_leaves(updates)
        like, d = tree.factor_like, state["rate"]
        origin, b3 = (
            tree.origin_at(state["origin"], params, step),
            like(_root(b2) if beta3 is None else beta3, d),
        )
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
        found = jnp.maximum(d, numerics.divide(like(estim_lr_coef, d) * weighted, size))

        def step_of(m: Any, v: Any, p: Any) -> Any:
            quotient = numerics.divide(m, numerics.sqrt(v) + like(found, v) * like(eps, v))
            return -like(weight_decay, p) * like(now, p) * p - like(now, p) * quotient

        updates = tree.map(step_of, moment, preconditioner, params)
        return updates, {
            "moment": moment,
            "preconditioner": preconditioner,
            "sum": total,
            "origin": origin,
            "rate": found,
            "weighted": weighted,
        }

    return Rule(init, update)
