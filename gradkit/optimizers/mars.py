"""Mars."""

from collections.abc import Callable
from typing import Any

from gradkit import _checks as check
from gradkit._schedule import as_rate, rate_at, schedule
from gradkit._transform import Transform, chain, transform
from gradkit.optimizers.adamw import adamw
from gradkit.optimizers.optimistic_gradient_descent import scale_by_optimistic_gradient
from gradkit.transforms.clip import clip_by_block_norm


@schedule
def _correction(gamma: Any, b1: Any) -> Callable[[Any], Any]:
    """γ b1 / (1 − b1), where either may move."""

    def value(step: Any) -> Any:
        decay = rate_at(b1, step)
        return rate_at(gamma, step) * decay / (1 - decay)

    return value


@transform
def mars(
    learning_rate: Any,
    b1: Any = 0.95,
    b2: Any = 0.99,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    gamma: Any = 0.025,
    max_norm: Any = 1.0,
    mu_dtype: Any = None,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """MARS-AdamW: AdamW on gradients whose variance is reduced by the gradient before.

    **Rule** AdamW on c_t min(1, ``max_norm`` / ‖c_t‖), norm per leaf, c_t = g_t + γ b1 / (1 − b1) (g_t − g_{t−1}), c_1 = g_1.

    **Remembers** ``scale_by_optimistic_gradient.previous`` and ``scale_by_adam``: 12 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      gamma: γ ≥ 0, the strength of the correction; 0 is AdamW on clipped leaves.
      max_norm: the most that a corrected leaf's norm may be, > 0.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      weight_decay: λ ≥ 0, a number or a schedule, decoupled.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, γ, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, g, w = gk.mars(0.5, gamma=0.1, max_norm=float("inf")), jnp.array([3.0, -4.0]), jnp.zeros(2)
      >>> first, state = tx.update(g, tx.init(w), w)
      >>> assert jnp.allclose(first, -0.5 * jnp.sign(g))
      >>> _, state = tx.update(g + 1, state, w)
      >>> assert jnp.allclose(state.inner["scale_by_adam"]["moment"]["average"], 0.0475 * g + 0.05 * (g + 1 + 1.9))

    **Differs** from the exact form in the paper, which takes the gradient before on the batch of now; this is its approximate form, one gradient a step.

    Reference: Yuan et al. 2024, https://arxiv.org/abs/2411.10438.
    """
    strength = as_rate(gamma)
    check.decay(b1=b1)
    check.non_negative(gamma=strength)
    return chain(
        scale_by_optimistic_gradient(1.0, _correction(strength, b1)),
        clip_by_block_norm(max_norm),
        adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask),
    )
