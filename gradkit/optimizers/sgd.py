"""Sgd."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, identity, transform
from gradkit.averages.accumulators import trace
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def sgd(
    learning_rate: Any, momentum: Any = None, nesterov: bool = False, accumulator_dtype: Any = None
) -> Transform:
    """Gradient descent, with momentum if you like.

    **Rule** Δθ = −α M, M = g, or M_t = g_t + ρ M_{t−1} (``momentum=ρ``), or g_t + ρ M_t (``nesterov``). Over a whole data set it is the lectures' batch
    gradient descent, on one example their stochastic, on some their mini-batch descent: the batch decides, not the optimizer.

    **Remembers** ``trace`` with momentum: 4 bytes per parameter. Nothing without.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      momentum: ρ in [0, 1], usually 0.9, or None.
      nesterov: look one step ahead.
      accumulator_dtype: dtype of the trace, or a `Store`.

    Raises:
      ValueError: a negative rate, a momentum outside [0, 1].

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sgd(0.1, momentum=0.5)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.ones(1), state)[0], -0.1 * (1 + 0.5))

    **Differs** from the lectures' Δθ_t = ρ Δθ_{t−1} − α g_t only when α moves: there the past keeps the rate it was made with. That form is
    ``chain(scale_by_learning_rate(α), trace(ρ))``.

    Reference: Robbins and Monro 1951; Polyak 1964; Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html.
    """
    if momentum is not None:
        check.probability(momentum=momentum)
    moment = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)
    return chain(moment, scale_by_learning_rate(learning_rate))
