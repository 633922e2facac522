"""RAdam: Adam with a built-in warmup, which rectifies the variance of the preconditioner.

    Δθ_t = −α_t r_t · m̂_t / (√(v̂_t + ε_root) + ε), or −α_t m̂_t while ρ_t < threshold
    ρ_t = ρ∞ − 2 t b2^t / (1 − b2^t)        ρ∞ = 2 / (1 − b2) − 1

φ is ``ema``, ψ is ``ema`` of g² once its variance is small enough; then times r_t.
"""

from typing import Any, cast

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
from gradkit.typing import Rate


@transform
def scale_by_radam(
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    threshold: Rate = 5.0,
    *,
    nesterov: bool = False,
) -> Rule:
    """Scale the gradient as RAdam does, without applying a learning rate.

    Uses the preconditioner only after it has averaged enough squares.

    **Update rule** ρ∞ = 2 / (1 − b2) − 1, ρ_t = ρ∞ − 2 t b2^t / (1 − b2^t).
    Where ρ_t ≥ ``threshold``: u = r m̂ / (√(v̂ + ε_root) + ε),
    r² = (ρ_t − 4)(ρ_t − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ_t); before that u = m̂.

    **State** ``moment.average`` and ``preconditioner.average`` (shape of the leaf, float32 or
    wider; 8 bytes per parameter), and the ``log_unseen`` of each, one scalar.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      threshold: ρ from which the preconditioner is used, ≥ 4; r is undefined below 4.
      nesterov: Extrapolate the moment one step ahead (Nesterov).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε; a threshold below 4.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_radam()
      >>> updates, _ = tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(updates, 6.0)  # ρ_1 = 1 is below the threshold: u = m̂

    **Differs from PyTorch**: ε is added to the root of the debiased preconditioner; there it is
    added before the preconditioner is debiased.

    Reference: Liu et al. 2020, https://arxiv.org/abs/1908.03265.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    check.number("x >= 4", lambda v: v >= 4, threshold=threshold)

    first = Part("moment", ema(b1, nesterov=nesterov))
    second = Part("preconditioner", ema(b2))

    def init(params: Any, *, context: Any) -> Any:
        return {
            "moment": first.init(params, context=context),
            "preconditioner": second.init(tree.magnitudes_like(params), context=context),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        moments, moment = first.update(updates, state["moment"], params, context=context)
        preconditioners, preconditioner = second.update(
            tree.map(numerics.abs_sq, updates), state["preconditioner"], params, context=context
        )
        top, log_unseen = 2.0 / (1 - cast(Any, b2)) - 1.0, preconditioner["log_unseen"]
        rho = top - 2 * (context.step + 1).astype(log_unseen.dtype) / jnp.expm1(-log_unseen)
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

    return Rule(init, update, parts=(first, second), scope="element")


@transform
def radam(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    threshold: Rate = 5.0,
    *,
    nesterov: bool = False,
) -> Transform:
    """RAdam: Adam with a built-in learning-rate warmup.

    **Update rule** Δθ = −α r m̂ / (√(v̂ + ε_root) + ε), or −α m̂ while ρ_t < ``threshold``;
    r and ρ as in ``scale_by_radam``.

    **State** That of ``scale_by_radam``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      threshold: ρ from which the preconditioner is used, ≥ 4; r is undefined below 4.
      nesterov: Extrapolate the moment one step ahead (Nesterov).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or learning rate; a threshold below 4.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.radam(0.5)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], -3.0)

    **Differs from PyTorch**: ε is added to the root of the debiased preconditioner; there it is
    added before the preconditioner is debiased.

    Reference: Liu et al. 2020, https://arxiv.org/abs/1908.03265.
    """
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
