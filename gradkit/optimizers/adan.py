"""Adan: Adam with Nesterov momentum, estimated from the difference of two gradients.

    Δθ_t = −α_t · ((m̂_t + b2 d̂_t) / (√(n̂_t + ε_root) + ε) + λ θ)
    m = ema(g; b1)        d = ema(g_t − g_{t−1}; b2)        n = ema(|g_t + b2 (g_t − g_{t−1})|²; b3)

φ is ``ema`` plus b2 times the ``ema`` of differences, ψ is ``ema`` of (g_t + b2 (g_t − g_{t−1}))²;
then weight decay.
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
def scale_by_adan(
    b1: Rate = 0.98, b2: Rate = 0.92, b3: Rate = 0.99, eps: Rate = 1e-8, eps_root: Rate = 0.0
) -> Rule:
    """Scale the gradient as Adan does, without applying a learning rate.

    **Update rule** u = (m̂ + b2 d̂) / (√(n̂ + ε_root) + ε), m = ema(g; b1),
    d = ema(g_t − g_{t−1}; b2), n = ema(|g_t + b2 (g_t − g_{t−1})|²; b3), all debiased;
    the first difference is 0.

    **State** ``moment.average``, ``difference.average``, ``preconditioner.average`` and
    ``previous`` (g_{t−1}; shape of the leaf, float32 or wider; 16 bytes per parameter), and the
    ``log_unseen`` of each average, one scalar.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the difference, in [0, 1), and its weight.
      b3: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adan(b1=0.0, b2=0.5, b3=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 1.0), tx.init(jnp.zeros(1)))
      >>> u, _ = tx.update(jnp.full(1, 4.0), state)  # d̂ = 0.5 · 3 / 0.75 = 2
      >>> assert jnp.allclose(u, (4 + 0.5 * 2) / (4 + 0.5 * 3))

    **Differs from optax**: the weight of the difference is b2; there it is 1 − b2.

    **Differs from the paper**: β is the weight of the past, as in the authors' code; in the paper
    it is the weight of the new value.

    Reference: Xie et al. 2022, https://arxiv.org/abs/2208.06677, algorithm 1.
    """
    check.decay(b1=b1, b2=b2, b3=b3)
    check.non_negative(eps=eps, eps_root=eps_root)

    first = Part("moment", ema(b1))
    change_part = Part("difference", ema(b2))
    second = Part("preconditioner", ema(b3))

    def init(params: Any, *, context: Any) -> Any:
        return {
            "moment": first.init(params, context=context),
            "difference": change_part.init(params, context=context),
            "preconditioner": second.init(tree.magnitudes_like(params), context=context),
            "previous": tree.zeros_like(params),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        change = tree.map(
            lambda g, old: jnp.where(context.step == 0, jnp.zeros_like(g), g - old),
            updates,
            state["previous"],
        )
        moments, moment = first.update(updates, state["moment"], params, context=context)
        differences, difference = change_part.update(
            change, state["difference"], params, context=context
        )
        squares = tree.map(
            lambda g, c: numerics.abs_sq(g + tree.factor_like(b2, c) * c), updates, change
        )
        preconditioners, preconditioner = second.update(
            squares, state["preconditioner"], params, context=context
        )

        def leaf(m: Any, d: Any, n: Any) -> Any:
            root = numerics.sqrt(n + tree.factor_like(eps_root, n)) + tree.factor_like(eps, n)
            return numerics.divide(m + tree.factor_like(b2, d) * d, root)

        state = {
            "moment": moment,
            "difference": difference,
            "preconditioner": preconditioner,
            "previous": updates,
        }
        return tree.map(leaf, moments, differences, preconditioners), state

    return Rule(init, update, parts=(first, change_part, second), scope="element")


@transform
def adan(
    learning_rate: Rate,
    b1: Rate = 0.98,
    b2: Rate = 0.92,
    b3: Rate = 0.99,
    eps: Rate = 1e-8,
    eps_root: Rate = 1e-8,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """Adan: adaptive Nesterov momentum from gradient differences.

    **Update rule** Δθ = −α ((m̂ + b2 d̂) / (√(n̂ + ε_root) + ε) + λ θ), m = ema(g; b1),
    d = ema(g_t − g_{t−1}; b2), n = ema(|g_t + b2 (g_t − g_{t−1})|²; b3), all debiased;
    the first difference is 0.

    **State** That of ``scale_by_adan``: 16 bytes per parameter.

    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the difference, in [0, 1), and its weight.
      b3: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adan(0.5, eps=0.0, eps_root=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0], -0.5)

    **Differs from optax**: the weight of the difference is b2; there it is 1 − b2.

    **Differs from the paper**: the weight decay is additive, as in optax; the paper uses θ ← θ / (1
    + α λ).

    Reference: Xie et al. 2022, https://arxiv.org/abs/2208.06677.
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
