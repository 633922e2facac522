"""Optimistic adam."""

from typing import Any

from gradkit import _checks as check
from gradkit._schedule import as_rate
from gradkit._transform import Transform, chain, transform
from gradkit.optimizers.adam import scale_by_adam
from gradkit.optimizers.optimistic_gradient_descent import scale_by_optimistic_gradient
from gradkit.transforms.scale import scale, scale_by_learning_rate


@transform
def optimistic_adam(
    learning_rate: Any,
    optimism: Any = None,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> Transform:
    """Optimistic Adam, with the strength of the optimism in the units of the rate.

    **Rule** Δθ_t = −(α u_t + ω (u_t − u_{t−1})), u Adam's direction; the first step is −α u_1.

    **Remembers** ``scale_by_adam`` and ``scale_by_optimistic_gradient.previous``: 12 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      optimism: ω ≥ 0, a number, a schedule, or None for α.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: Adam's moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, ω or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.optimistic_adam(gk.linear_schedule(0.5, 0.0, 10), eps=0.0, nesterov=False)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))[0], -0.5)  # no jump at the first step

    **Differs** from optax, which takes no schedules here, and warns that this spelling is old: see ``optimistic_adam_v2``.

    Reference: Daskalakis et al. 2018, https://arxiv.org/abs/1711.00141.
    """
    rate = as_rate(learning_rate)
    bold = rate if optimism is None else as_rate(optimism)
    check.non_negative(learning_rate=rate, optimism=bold)
    direction = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    return chain(direction, scale_by_optimistic_gradient(rate, bold), scale(-1.0))


@transform
def optimistic_adam_v2(
    learning_rate: Any,
    *,
    alpha: Any = 1.0,
    beta: Any = 1.0,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    nesterov: bool = True,
) -> Transform:
    """Optimistic Adam: Adam's direction, and what it has changed by.

    **Rule** Δθ_t = −η (α u_t + β (u_t − u_{t−1})), u Adam's direction, η the rate; the first step is −η α u_1.

    **Remembers** ``scale_by_adam`` and ``scale_by_optimistic_gradient.previous``: 12 bytes per parameter.

    Args:
      learning_rate: η ≥ 0, a number or a schedule.
      alpha: α, a number or a schedule.
      beta: β, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: Adam's moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.optimistic_adam_v2(0.5, eps=0.0, nesterov=False)
      >>> _, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))  # u_1 = 1
      >>> u = (0.27 / 0.19) / (0.008991 / 0.001999) ** 0.5
      >>> assert jnp.allclose(tx.update(jnp.zeros(1), state)[0], -0.5 * (u + (u - 1)))

    Reference: Daskalakis et al. 2018, https://arxiv.org/abs/1711.00141.
    """
    direction = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    return chain(
        direction,
        scale_by_optimistic_gradient(as_rate(alpha), as_rate(beta)),
        scale_by_learning_rate(learning_rate),
    )
