"""Signum: Δθ_t = −α_t · sign(m_t), m = ema(g; β).

φ = ``ema``, not debiased; no ψ: the sign replaces the quotient.
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.sign import scale_by_sign
from gradkit.typing import Rate, StoreLike


@transform
def signum(learning_rate: Rate, beta: Rate = 0.9, accumulator_dtype: StoreLike = None) -> Transform:
    """Signum: descend along the sign of the exponential moving average of the gradient.

    **Update rule** Δθ = −α sign(m), m = ema(g; β).

    **State** ``ema.average`` (float32 or wider, or ``accumulator_dtype``; 4 bytes per parameter).

    Args:
      learning_rate: α ≥ 0, or a schedule. It is the length of every step of every element.
      beta: β in [0, 1), the decay of the average.
      accumulator_dtype: Dtype of the average's state, or a `Store`; by default that of the update,
        at least float32.

    Raises:
      ValueError: a decay outside [0, 1), or a negative learning rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.signum(0.5)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> updates, _ = tx.update(jnp.full(1, -1.0), state)
      >>> assert updates[0] == -0.5  # the average is still positive

    Reference: Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """
    check.decay(beta=beta)
    average = ema(beta, debias=False, accumulator_dtype=accumulator_dtype)
    return chain(average, scale_by_sign(), scale_by_learning_rate(learning_rate))
