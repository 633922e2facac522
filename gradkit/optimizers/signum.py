"""Signum."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import ema
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.sign import scale_by_sign


@transform
def signum(learning_rate: Any, beta: Any = 0.9, store: Any = None) -> Transform:
    """Signum: the sign of the averaged gradient.

    **Rule** Δθ = −α sign(m), m = ema(g; β).

    **Remembers** ``ema.average`` (float32 or wider, or ``store``; 4 bytes per parameter).

    Args:
      learning_rate: α ≥ 0, a number or a schedule: the length of every step of every parameter.
      beta: β in [0, 1).
      store: dtype of the average, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.signum(0.5)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.full(1, -1.0), state)[0][0] == -0.5  # the average is still positive

    Reference: Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """
    check.decay(beta=beta)
    return chain(ema(beta, False, store), scale_by_sign(), scale_by_learning_rate(learning_rate))
