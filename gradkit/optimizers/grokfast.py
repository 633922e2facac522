"""Grokfast: add the slow component of the gradient to it, before any optimizer.

u_t = g_t + λ h_t, with h an ``ema`` of g that starts at g_1: φ = ``weighted_sum(latest, ema)``.
"""

from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import latest
from gradkit.averages.combine import weighted_sum
from gradkit.averages.ema import ema_from_first
from gradkit.typing import Rate


@transform
def grokfast(alpha: Rate = 0.98, lamb: Rate = 2.0) -> Transform:
    """Grokfast: amplify the slow component of the gradient; put it in front of any optimizer.

    For example ``chain(grokfast(), adamw(1e-3))``.

    **Update rule** u_t = g_t + λ h_t, h_t = a h_{t−1} + (1 − a) g_t, h_1 = g_1.

    **State** ``second.average``: h (float32 or wider; 4 bytes per parameter).

    Args:
      alpha: a in [0, 1), the decay of the average, or a schedule.
      lamb: λ, finite, the factor of the average, or a schedule.

    Raises:
      ValueError: a decay outside [0, 1), or a λ that is not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.grokfast(alpha=0.75, lamb=2.0), gk.sgd(1.0))
      >>> first, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == -12.0 and tx.update(jnp.zeros(1), state)[0][0] == -2.0 * 3.0

    Reference: Lee et al. 2024, https://arxiv.org/abs/2405.20233, its form with an exponential
    average.
    """
    return weighted_sum(latest(), ema_from_first(alpha), lamb)
