"""MARS: AdamW on gradients corrected by the change since the previous gradient.

c_t = g_t + γ b1 / (1 − b1) (g_t − g_{t−1}),  c_1 = g_1

Each leaf of c is clipped to a norm, then φ = ``ema`` of c, ψ = ``ema`` of c², decayed weights.
"""

from collections.abc import Callable
from typing import Any

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._schedule import rate_at, schedule
from gradkit._transform import Transform, transform
from gradkit.optimizers.adamw import adamw
from gradkit.optimizers.optimistic_gradient_descent import scale_by_optimistic_gradient
from gradkit.transforms.clip import clip_by_block_norm
from gradkit.typing import Mask, Rate, StoreLike


@schedule
def _correction(gamma: Rate, b1: Rate) -> Callable[[Any], Any]:
    """γ b1 / (1 − b1), where either may be scheduled."""

    def value(step: Any) -> Any:
        decay = rate_at(b1, step)
        return rate_at(gamma, step) * decay / (1 - decay)

    return value


@transform
def mars(
    learning_rate: Rate,
    b1: Rate = 0.95,
    b2: Rate = 0.99,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    gamma: Rate = 0.025,
    max_norm: Rate = 1.0,
    mu_dtype: StoreLike = None,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """MARS-AdamW: AdamW with variance-reduced gradients.

    **Update rule** AdamW of c_t min(1, ``max_norm`` / ‖c_t‖), norm per leaf, with
    c_t = g_t + γ b1 / (1 − b1) (g_t − g_{t−1}), c_1 = g_1.

    **State** ``scale_by_optimistic_gradient.previous`` and ``scale_by_adam``: 12 bytes per
    parameter.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      gamma: γ ≥ 0, the strength of the correction. With 0 it is AdamW on clipped leaves.
      max_norm: > 0, the largest norm of a corrected leaf.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: an argument out of range, or weight decay without params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.mars(0.5, gamma=0.1, max_norm=float("inf"))
      >>> g, w = jnp.array([3.0, -4.0]), jnp.zeros(2)
      >>> first, state = tx.update(g, tx.init(w), w)
      >>> assert jnp.allclose(first, -0.5 * jnp.sign(g))
      >>> _, state = tx.update(g + 1, state, w)
      >>> moment = state.inner["scale_by_adam"]["moment"]["average"]
      >>> assert jnp.allclose(moment, 0.0475 * g + 0.05 * (g + 1 + 1.9))

    **Differs from the paper** in its exact form, which evaluates the previous gradient on the
    current batch. This is the paper's approximate form, with one gradient per step.

    Reference: Yuan et al. 2024, https://arxiv.org/abs/2411.10438.
    """
    check.decay(b1=b1)
    check.non_negative(gamma=gamma)
    return chain(
        scale_by_optimistic_gradient(1.0, _correction(gamma, b1)),
        clip_by_block_norm(max_norm),
        adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask),
    )
