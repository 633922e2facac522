"""Adamax: Adam with a decayed maximum of magnitudes as preconditioner (the infinity norm).

    Δθ_t = −α_t · (m̂_t / v_t + λ θ)        m = ema(g; b1)        v_t = max(|g_t| + ε, b2 v_{t−1})

φ is ``ema``, ψ is ``decayed_max`` of |g|; then weight decay (``adamaxw``).
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import decayed_max
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate


@transform
def scale_by_adamax(b1: Rate = 0.9, b2: Rate = 0.999, eps: Rate = 1e-8) -> Transform:
    """Scale the gradient as Adamax does, without applying a learning rate.

    **Update rule** u = m̂ / v, m = ema(g; b1) debiased, v_t = max(|g_t| + ε, b2 v_{t−1}).

    **State** ``moment.average`` and ``preconditioner.max`` (shape of the leaf, float32 or wider; 8
    bytes per parameter), and the moment's ``log_unseen``, one scalar.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to |g|.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adamax(b1=0.0, b2=0.5, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 8.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 0.25  # 1 / max(1, 0.5 · 8)

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7.1.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps)
    return precondition(ema(b1), decayed_max(b2, eps), order=1)


@transform
def adamax(learning_rate: Rate, b1: Rate = 0.9, b2: Rate = 0.999, eps: Rate = 1e-8) -> Transform:
    """Adamax: Adam in the infinity norm.

    **Update rule** Δθ = −α m̂ / v, m = ema(g; b1) debiased, v_t = max(|g_t| + ε, b2 v_{t−1}).

    **State** That of ``scale_by_adamax``: 8 bytes per parameter.

    A common learning rate is 1e-3.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to |g|.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or learning rate.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adamax(0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, -3.0), tx.init(jnp.zeros(1)))[0], 0.5)

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7.1.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@transform
def adamaxw(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    weight_decay: Rate = 1e-4,
    mask: Mask | None = None,
) -> Transform:
    """AdamaxW: Adamax with decoupled weight decay.

    **Update rule** Δθ = −α (m̂ / v + λ θ), m = ema(g; b1) debiased,
    v_t = max(|g_t| + ε, b2 v_{t−1}).

    **State** That of ``scale_by_adamax``: 8 bytes per parameter.

    A common learning rate is 1e-3. Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to |g|.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.adamaxw(0.5, eps=0.0, weight_decay=0.1), jnp.full(1, 2.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(w), w)[0], -0.5 * (1 + 0.1 * 2))

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7.1; Loshchilov and
    Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    return chain(
        scale_by_adamax(b1, b2, eps),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
