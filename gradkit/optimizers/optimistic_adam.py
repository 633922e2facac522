"""Optimistic Adam: Adam's direction u, extrapolated by its last change.

Δθ_t = −(α_t u_t + ω_t (u_t − u_{t−1}))

φ = ``ema`` (Nesterov's form by default), ψ = ``ema`` of g²; then the change of the direction.
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.optimizers.adam import scale_by_adam
from gradkit.optimizers.optimistic_gradient_descent import scale_by_optimistic_gradient
from gradkit.transforms.scale import scale, scale_by_learning_rate
from gradkit.typing import Rate, StoreLike


@transform
def optimistic_adam(
    learning_rate: Rate,
    optimism: Rate | None = None,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = True,
) -> Transform:
    """Optimistic Adam, with the extrapolation given as a learning rate of its own.

    **Update rule** Δθ_t = −(α u_t + ω (u_t − u_{t−1})), u Adam's direction; the first step is
    −α u_1.

    **State** ``scale_by_adam`` and ``scale_by_optimistic_gradient.previous``: 12 bytes per
    parameter.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      optimism: ω ≥ 0, or a schedule. None for α.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      nesterov: use Nesterov's form of the moment.

    Raises:
      ValueError: an argument out of range.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> rate = gk.linear_schedule(0.5, 0.0, 10)
      >>> tx = gk.optimistic_adam(rate, eps=0.0, nesterov=False)
      >>> first, _ = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(first, -0.5)  # no extrapolation at the first step

    **Differs from optax**, which takes no schedules here and warns that this function is
    deprecated: see ``optimistic_adam_v2``.

    Reference: Daskalakis et al. 2018, https://arxiv.org/abs/1711.00141.
    """
    optimism = learning_rate if optimism is None else optimism
    check.non_negative(learning_rate=learning_rate, optimism=optimism)
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(learning_rate, optimism),
        scale(-1.0),
    )


@transform
def optimistic_adam_v2(
    learning_rate: Rate,
    *,
    alpha: Rate = 1.0,
    beta: Rate = 1.0,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    nesterov: bool = True,
) -> Transform:
    """Optimistic Adam: Adam with its direction extrapolated by the last change.

    **Update rule** Δθ_t = −η (α u_t + β (u_t − u_{t−1})), u Adam's direction, η the learning rate;
    the first step is −η α u_1.

    **State** ``scale_by_adam`` and ``scale_by_optimistic_gradient.previous``: 12 bytes per
    parameter.

    Args:
      learning_rate: η ≥ 0, or a schedule.
      alpha: α, finite, the factor of the direction, or a schedule.
      beta: β, finite, the factor of its change, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      nesterov: use Nesterov's form of the moment.

    Raises:
      ValueError: an argument out of range.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.optimistic_adam_v2(0.5, eps=0.0, nesterov=False)
      >>> _, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))  # u_1 = 1
      >>> u = (0.27 / 0.19) / (0.008991 / 0.001999) ** 0.5
      >>> assert jnp.allclose(tx.update(jnp.zeros(1), state)[0], -0.5 * (u + (u - 1)))

    Reference: Daskalakis et al. 2018, https://arxiv.org/abs/1711.00141.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
        scale_by_learning_rate(learning_rate),
    )
