"""NAdam: Adam with Nesterov momentum.

    Δθ_t = −α_t · (m̃_t / (√(v̂_t + ε_root) + ε) + λ θ)        v = ema(|g|²; b2)
    m̃_t = b1 m_t / (1 − b1^(t+1)) + (1 − b1) g_t / (1 − b1^t)        m = ema(g; b1)

φ is ``ema(nesterov=True)``, ψ is ``ema`` of g²; then weight decay (``nadamw``).
"""

from gradkit._transform import Transform, transform
from gradkit.optimizers.adam import adam
from gradkit.optimizers.adamw import adamw
from gradkit.typing import Mask, Rate, StoreLike


@transform
def nadam(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = True,
) -> Transform:
    """NAdam: Adam with Nesterov momentum.

    **Update rule** Δθ = −α m̃ / (√(v̂ + ε_root) + ε),
    m̃ = b1 m_t / (1 − b1^(t+1)) + (1 − b1) g_t / (1 − b1^t).

    **State** That of ``scale_by_adam``: 8 bytes per parameter.

    A common learning rate is 1e-3. Use a positive ``eps_root`` to differentiate through the step.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      nesterov: Extrapolate the moment one step ahead (Nesterov).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or learning rate.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.nadam(1.0, b1=0.5, eps=0.0)
      >>> updates, _ = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(updates, -(0.5 * 0.5 / 0.75 + 0.5 / 0.5))

    **Differs from PyTorch**: b1 is what the caller passes; there it follows a built-in schedule
    (``momentum_decay``).

    **Differs from the paper**: v̂ lacks the factor b2 of Dozat's algorithm 2, as in optax.

    Reference: Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


@transform
def nadamw(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    weight_decay: Rate = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = True,
) -> Transform:
    """NAdamW: Adam with Nesterov momentum and decoupled weight decay.

    **Update rule** Δθ = −α (m̃ / (√(v̂ + ε_root) + ε) + λ θ),
    m̃ = b1 m_t / (1 − b1^(t+1)) + (1 − b1) g_t / (1 − b1^t).

    **State** That of ``scale_by_adam``: 8 bytes per parameter.

    A common learning rate is 1e-3. Use a positive ``eps_root`` to differentiate through the step.
    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.
      nesterov: Extrapolate the moment one step ahead (Nesterov).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.nadamw(1.0, b1=0.5, eps=0.0, weight_decay=0.1), jnp.full(1, 2.0)
      >>> updates, _ = tx.update(jnp.ones(1), tx.init(w), w)
      >>> assert jnp.allclose(updates, -(0.5 * 0.5 / 0.75 + 0.5 / 0.5 + 0.1 * 2))

    **Differs from PyTorch and the paper**: as ``nadam`` does.

    Reference: Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ; Loshchilov and
    Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    return adamw(
        learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov
    )
