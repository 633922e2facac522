"""Momentum."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import ema
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def momentum(
    learning_rate: Any, decay: Any = 0.9, debias: bool = False, store: Any = None
) -> Transform:
    """Gradient descent along the averaged gradient: the lectures' v = β v + (1 − β) g.

    **Rule** Δθ = −α v, v_t = β v_{t−1} + (1 − β) g_t, v_0 = 0. It is ``sgd(momentum=β)`` at the rate (1 − β) α.

    **Remembers** ``ema``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      decay: β in [0, 1), usually 0.9.
      debias: divide v by the weight of what was seen, 1 − β^t.
      store: dtype of the average, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.momentum(1.0, decay=0.75)
      >>> assert tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))[0][0] == -1.0

    Reference: the lectures (exponentially weighted averages, momentum).
    """
    check.decay(decay=decay)
    return chain(ema(decay, debias, store), scale_by_learning_rate(learning_rate))
