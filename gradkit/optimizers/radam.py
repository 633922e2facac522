"""Radam."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import ema
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_radam(
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    threshold: Any = 5.0,
    *,
    nesterov: bool = False,
) -> Rule:
    """RAdam's direction: Adam's, held back while too few squares were seen to divide by.

    **Rule** ρ∞ = 2 / (1 − b2) − 1, ρ_t = ρ∞ − 2 t b2^t / (1 − b2^t). Where ρ_t ≥ ``threshold``: u = r m̂ / (√(v̂ + ε_root) + ε) with
    r² = (ρ_t − 4)(ρ_t − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ_t); before that u = m̂.

    **Remembers** ``moment`` and ``preconditioner``, the two averages (float32 or wider; 8 bytes per parameter).

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      threshold: the ρ from which on the preconditioner is used, ≥ 4, below which r has no meaning.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, a threshold below 4.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_radam()
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], 6.0)  # ρ_1 = 1: momentum alone

    **Differs** from torch, whose ε is added before the preconditioner is debiased.

    Reference: Liu et al. 2020, https://arxiv.org/abs/1908.03265.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root, **{"threshold - 4": threshold - 4})

    def init(params: Any) -> Any:
        return {
            "moment": ema(b1).rule.init(params),
            "preconditioner": ema(b2).rule.init(tree.magnitudes_like(params)),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        moments, moment = ema(b1, nesterov=nesterov).rule.update(
            updates, state["moment"], params, step=step
        )
        preconditioners, preconditioner = ema(b2).rule.update(
            tree.map(numerics.abs_sq, updates), state["preconditioner"], params, step=step
        )
        top, log_unseen = 2.0 / (1 - b2) - 1.0, preconditioner["log_unseen"]
        rho = top - 2 * (step + 1).astype(log_unseen.dtype) / jnp.expm1(-log_unseen)
        ready = rho >= threshold
        safe = jnp.where(ready, rho, 5.0)
        share = numerics.sqrt(
            jnp.where(
                ready,
                numerics.divide(
                    (safe - 4) * (safe - 2) * top, jnp.asarray((top - 4) * (top - 2) * safe)
                ),
                0.0,
            )
        )

        def leaf(m: Any, v: Any) -> Any:
            root = numerics.sqrt(v + tree.factor_like(eps_root, v)) + tree.factor_like(eps, v)
            return jnp.where(ready, tree.factor_like(share, m) * numerics.divide(m, root), m)

        return tree.map(leaf, moments, preconditioners), {
            "moment": moment,
            "preconditioner": preconditioner,
        }

    return Rule(init, update)


@transform
def radam(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    threshold: Any = 5.0,
    *,
    nesterov: bool = False,
) -> Transform:
    """RAdam: Adam with a warmup of its own.

    **Rule** Δθ = −α r m̂ / (√(v̂ + ε_root) + ε), or −α m̂ while ρ_t < ``threshold``; r and ρ as in ``scale_by_radam``.

    **Remembers** ``scale_by_radam``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      threshold: the ρ from which on the preconditioner is used, ≥ 4.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate, a threshold below 4.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.radam(0.5)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], -3.0)

    **Differs** from torch, whose ε is added before the preconditioner is debiased.

    Reference: Liu et al. 2020, https://arxiv.org/abs/1908.03265.
    """
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
