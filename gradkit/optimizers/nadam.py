"""Nadam."""

from typing import Any

from gradkit._transform import Transform, transform
from gradkit.optimizers.adam import adam
from gradkit.optimizers.adamw import adamw


@transform
def nadam(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> Transform:
    """NAdam: Adam whose moment looks one step ahead.

    **Rule** Δθ = −α m̃ / (√(v̂ + ε_root) + ε), m̃ = b1 m_t / (1 − b1^(t+1)) + (1 − b1) g_t / (1 − b1^t).

    **Remembers** ``scale_by_adam``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.nadam(1.0, b1=0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))[0], -(0.5 * 0.5 / 0.75 + 0.5 / 0.5))

    **Differs** from torch, whose b1 follows a schedule of its own (``momentum_decay``); from Dozat's algorithm 2 by a factor b2 in v̂, as optax.

    Reference: Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


@transform
def nadamw(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = True,
) -> Transform:
    """NAdam with decoupled weight decay.

    **Rule** Δθ = −α (m̃ / (√(v̂ + ε_root) + ε) + λ θ), m̃ as in ``nadam``.

    **Remembers** ``scale_by_adam``: 8 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled from the gradient, multiplied by the rate.
      mask: which leaves decay: a tree of bools, a function of params, a predicate such as ``by_rank(2)``.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.nadamw(1.0, b1=0.5, eps=0.0, weight_decay=0.1), jnp.full(1, 2.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(w), w)[0], -(0.5 * 0.5 / 0.75 + 0.5 / 0.5 + 0.1 * 2))

    Reference: Dozat 2016; Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    return adamw(
        learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov
    )
