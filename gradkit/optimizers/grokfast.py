"""Grokfast."""

from typing import Any

from gradkit._schedule import as_rate
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import latest
from gradkit.averages.combine import weighted_sum
from gradkit.averages.ema import ema_from_first


@transform
def grokfast(alpha: Any = 0.98, lamb: Any = 2.0) -> Transform:
    """Amplify the slow part of the gradient, before any optimizer: ``chain(grokfast(), adamw(1e-3))``.

    **Rule** u_t = g_t + λ h_t, h_t = a h_{t−1} + (1 − a) g_t, h_1 = g_1.

    **Remembers** ``second.average``: h (float32 or wider; 4 bytes per parameter).

    Args:
      alpha: a, the decay of the average, in [0, 1), a number or a schedule.
      lamb: λ, the strength of the amplification, a finite number or a schedule.

    Raises:
      ValueError: a decay outside [0, 1), a λ that is not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.grokfast(alpha=0.75, lamb=2.0), gk.sgd(1.0))
      >>> first, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == -12.0 and tx.update(jnp.zeros(1), state)[0][0] == -2.0 * 3.0

    Reference: Lee et al. 2024, https://arxiv.org/abs/2405.20233, its exponential form.
    """
    return weighted_sum(latest(), ema_from_first(as_rate(alpha)), as_rate(lamb))
