"""Dadapt adamw."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import Schedule, as_rate
from gradkit._transform import Transform, transform


def _betas(betas: Any) -> tuple[Any, Any]:
    if not (isinstance(betas, (tuple, list)) and len(betas) == 2):
        check.fail(
            "needs a pair of decays",
            repr(betas),
            "Such as (0.9, 0.999)",
            path="betas",
            error=TypeError,
        )
    check.decay(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    return betas[0], betas[1]


def _root(decay: Any) -> Any:
    return decay**0.5


@transform
def dadapt_adamw(
    learning_rate: Any = 1.0,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    estim_lr0: Any = 1e-6,
    weight_decay: Any = 0.0,
) -> Rule | Transform:
    """D-Adaptation: AdamW that finds its rate.

    **Rule** λ_t = d α √(1 − b2^t) / (1 − b1^t), β = √b2; r ← β r + (1 − β) λ ⟨g, S / (√v + ε)⟩ with S and v of the step before; m ← b1 m + (1 − b1) λ g,
    v ← b2 v + (1 − b2) g², S ← β S + (1 − β) λ g; d ← max(d, r / ((1 − β) ‖S‖₁)); Δθ = −m / (√v + ε) − w λ θ.

    **Remembers** ``moment`` (m), ``preconditioner`` (v) and ``sum`` (S): 12 bytes per parameter; ``rate`` (d) and ``weighted`` (r), one number each. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule around 1.
      betas: b1 and b2, each in [0, 1).
      eps: ε ≥ 0.
      estim_lr0: d_0 > 0, below the rate to be found.
      weight_decay: w ≥ 0, decoupled.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.dadapt_adamw(eps=0.0, estim_lr0=0.5), jnp.zeros(2)
      >>> assert jnp.allclose(tx.update(jnp.array([3.0, -7.0]), tx.init(w), w)[0], jnp.array([-0.5, 0.5]))  # Adam's first step

    **Differs** from optax: where all gradients so far are zero d stays as it is (there NaN); the scalars are float32 also for bfloat16 parameters.

    Reference: Defazio and Mishchenko 2023, https://arxiv.org/abs/2301.07733.
    """
    rate = as_rate(learning_rate)
    if isinstance(rate, Schedule) and not isinstance(learning_rate, Schedule):
        return dadapt_adamw(rate, betas, eps, estim_lr0, weight_decay)
    b1, b2 = _betas(betas)
    check.non_negative(learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check.positive(estim_lr0=estim_lr0)

    def init(params: Any) -> Any:
        averages = {name: tree.zeros_like(params) for name in ("moment", "preconditioner", "sum")}
        return {
            **averages,
            "rate": tree.scalar(estim_lr0, params),
            "weighted": tree.scalar(0.0, params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.real_leaves(updates)
        check.params(params)
        like = tree.factor_like
        d, beta = state["rate"], like(_root(b2), state["rate"])
        now = (
            d
            * like(learning_rate, d)
            * numerics.sqrt(tree.debias(b2, step, updates))
            / tree.debias(b1, step, updates)
        )

        def over(x: Any, v: Any) -> Any:
            return numerics.divide(x, numerics.sqrt(v) + like(eps, v))

        gain = tree.dot(updates, tree.map(over, state["sum"], state["preconditioner"]))
        weighted = beta * state["weighted"] + (1 - beta) * now * gain
        fading, keep = (
            numerics.after(beta, gain),
            numerics.after(b2, gain),
        )  # the gain reads S and v before they change

        def leaf(g: Any, m: Any, v: Any, s: Any) -> Any:
            step_g, root = like(now, g) * g, like(fading, g)
            return (
                like(b1, g) * m + like(1 - b1, g) * step_g,
                like(keep, g) * v + like(1 - b2, g) * (g * g),
                root * s + (1 - root) * step_g,
            )

        moment, preconditioner, total = tree.map(
            leaf, updates, state["moment"], state["preconditioner"], state["sum"], outputs=3
        )
        size = tree.total(tree.map(lambda s: jnp.sum(jnp.abs(s)), total), total)
        found = jnp.maximum(d, numerics.divide(weighted, (1 - beta) * size))
        updates = tree.map(
            lambda m, v, p: -like(weight_decay, p) * like(now, p) * p - over(m, v),
            moment,
            preconditioner,
            params,
        )
        return updates, {
            "moment": moment,
            "preconditioner": preconditioner,
            "sum": total,
            "rate": found,
            "weighted": weighted,
        }

    return Rule(init, update)
