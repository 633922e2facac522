"""Adamax."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.accumulators import decayed_max
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_adamax(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> Transform:
    """Adamax's direction, without the rate.

    **Rule** u = m̂ / v, m = ema(g; b1) debiased, v_t = max(|g_t| + ε, b2 v_{t−1}).

    **Remembers** ``moment.average`` and ``preconditioner.peak``: 8 bytes per parameter.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to |g|.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

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
def adamax(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> Transform:
    """Adamax: Adam in the infinity norm.

    **Rule** Δθ = −α m̂ / v, v_t = max(|g_t| + ε, b2 v_{t−1}).

    **Remembers** ``scale_by_adamax``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to |g|.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adamax(0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, -3.0), tx.init(jnp.zeros(1)))[0], 0.5)

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7.1.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@transform
def adamaxw(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    weight_decay: Any = 1e-4,
    mask: Any = None,
) -> Transform:
    """Adamax with decoupled weight decay.

    **Rule** Δθ = −α (m̂ / v + λ θ), v_t = max(|g_t| + ε, b2 v_{t−1}).

    **Remembers** ``scale_by_adamax``: 8 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to |g|.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled from the gradient, multiplied by the rate.
      mask: which leaves decay: a tree of bools, a function of params, a predicate such as ``by_rank(2)``.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.adamaxw(0.5, eps=0.0, weight_decay=0.1), jnp.full(1, 2.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(w), w)[0], -0.5 * (1 + 0.1 * 2))

    Reference: Kingma and Ba 2015, section 7.1; Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    return chain(
        scale_by_adamax(b1, b2, eps),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
