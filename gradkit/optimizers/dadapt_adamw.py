"""D-Adaptation: AdamW whose learning rate d is a lower bound of the distance to the solution.

    Δθ_t = −m_t / (√v_t + ε) − w λ_t θ        d_t = max(d_{t−1}, Σ ⟨g_s, S_s⟩ / ‖S‖₁)

φ is ``ema`` of λ_t g, ψ is ``ema`` of g²; S is an ``ema`` of λ_t g.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit import _xla as xla
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.stores import IDENTITY, averages
from gradkit.typing import Rate


def checked_betas(betas: tuple[float, float]) -> tuple[float, float]:
    """Return b1 and b2 after checking that they are a pair of decays that are not scheduled."""
    if not (isinstance(betas, (tuple, list)) and len(betas) == 2):
        check.refuse(
            f"betas={betas!r} is not a pair",
            expected="a pair of decays",
            fix="Write betas=(0.9, 0.999)",
            error=TypeError,
        )
    if any(callable(beta) for beta in betas):
        check.refuse(
            f"betas={betas!r} contains a schedule", expected="a pair of numbers", error=TypeError
        )
    check.decay(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    return betas[0], betas[1]


@transform
def dadapt_adamw(
    learning_rate: Rate = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Rate = 1e-8,
    estim_lr0: float = 1e-6,
    weight_decay: Rate = 0.0,
) -> Rule:
    """D-Adaptation AdamW: AdamW that estimates its learning rate.

    **Update rule** λ_t = d α √(1 − b2^t) / (1 − b1^t), β = √b2;
    r ← β r + (1 − β) λ ⟨g, S / (√v + ε)⟩ with S and v of the step before;
    m ← b1 m + (1 − b1) λ g, v ← b2 v + (1 − b2) g², S ← β S + (1 − β) λ g;
    d ← max(d, r / ((1 − β) ‖S‖₁)); Δθ = −m / (√v + ε) − w λ θ.

    **State** ``moment`` (m), ``preconditioner`` (v) and ``sum`` (S), each of the shape of the leaf,
    float32 or wider: 12 bytes per parameter. ``rate`` (d) and ``weighted`` (r), one scalar each.

    Requires params.

    Args:
      learning_rate: α ≥ 0, or a schedule. Usually 1: d finds the scale.
      betas: b1 and b2, each in [0, 1).
      eps: ε ≥ 0, added to the root.
      estim_lr0: d_0 > 0, below the learning rate to be found.
      weight_decay: w ≥ 0, decoupled: w λ_t θ is subtracted.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, w or learning rate; an initial estimate that
        is not positive; missing params.
      TypeError: A hyperparameter that is neither a number nor a schedule; betas that are not a
        pair of numbers; complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.dadapt_adamw(eps=0.0, estim_lr0=0.5), jnp.zeros(2)
      >>> updates, _ = tx.update(jnp.array([3.0, -7.0]), tx.init(w), w)
      >>> assert jnp.allclose(updates, jnp.array([-0.5, 0.5]))  # Adam's first step

    **Differs from optax**: while all gradients are zero, d keeps its value (NaN there). The scalars
    are at least float32, also for bfloat16 parameters.

    Reference: Defazio and Mishchenko 2023, https://arxiv.org/abs/2301.07733.
    """
    b1, b2 = checked_betas(betas)
    check.non_negative(learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check.positive(estim_lr0=estim_lr0)

    def init(params: Any) -> Any:
        zeros = {name: tree.zeros_like(params) for name in ("moment", "preconditioner", "sum")}
        return {
            **zeros,
            "rate": tree.scalar(estim_lr0, params),
            "weighted": tree.scalar(0.0, params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.real_leaves(updates)
        check.params(params)
        like = tree.factor_like
        d, beta = state["rate"], like(b2**0.5, state["rate"])
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
        # The gain reads S and v before they are overwritten. XLA on CPU copies both arrays unless
        # their update depends on the gain, so `after` adds a false dependency. The row
        # "dadapt_adamw" of benchmarks/step.py measures the speedup (on CPU only).
        sum_decay, square_decay = xla.after(beta, gain), xla.after(b2, gain)

        def leaf(g: Any, m: Any, v: Any, s: Any) -> Any:
            step_g, root = like(now, g) * g, like(sum_decay, g)
            return (
                like(b1, g) * m + like(1 - b1, g) * step_g,
                like(square_decay, g) * v + like(1 - b2, g) * (g * g),
                root * s + (1 - root) * step_g,
            )

        moment, preconditioner, total = tree.map(
            leaf, updates, state["moment"], state["preconditioner"], state["sum"], outputs=3
        )
        size = tree.total(tree.map(lambda s: jnp.sum(jnp.abs(s)), total), total)
        estimate = jnp.maximum(d, numerics.divide(weighted, (1 - beta) * size))
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
            "rate": estimate,
            "weighted": weighted,
        }

    return Rule(init, update, averages=averages(IDENTITY, "moment", "preconditioner"), sharded=True)
