"""Momentum SGD in its averaging form: Δθ_t = −α_t · v_t, v = ema(g; β). φ = ``ema``, no ψ."""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate, StoreLike


@transform
def momentum(
    learning_rate: Rate, decay: Rate = 0.9, debias: bool = False, store: StoreLike = None
) -> Transform:
    """Momentum SGD along the exponential moving average of the gradient.

    **Update rule** Δθ = −α v, v_t = β v_{t−1} + (1 − β) g_t, v_0 = 0. It equals
    ``sgd(momentum=β)`` with the learning rate (1 − β) α.

    **State** ``ema``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      decay: β in [0, 1), usually 0.9.
      debias: divide v by the sum of its weights, 1 − β^t.
      store: Dtype of the average's state, or a `Store`; by default that of the update, at least
        float32.

    Raises:
      ValueError: a negative learning rate, or a decay outside [0, 1).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.momentum(1.0, decay=0.75)
      >>> assert tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))[0][0] == -1.0

    Reference: Polyak 1964, https://doi.org/10.1016/0041-5553(64)90137-5; Goodfellow et al. 2016,
    section 8.3.2.
    """
    check.decay(decay=decay)
    return chain(ema(decay, debias, store), scale_by_learning_rate(learning_rate))
