"""Rmsprop."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, identity, transform
from gradkit.averages.accumulators import latest, trace
from gradkit.averages.ema import ema, variance
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_rms(
    decay: Any = 0.9,
    eps: Any = 1e-8,
    initial_scale: Any = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Transform:
    """Divide by the root of an average of the squares: RMSprop's direction.

    **Rule** u = g / √(G + ε), or g / (√G + ε) with ``eps_in_sqrt=False``; G = ema(|g|²; β), G_0 = ``initial_scale``.

    **Remembers** ``preconditioner.average``: 4 bytes per parameter.

    Args:
      decay: β in [0, 1), a number or a schedule.
      eps: ε ≥ 0.
      initial_scale: G_0 ≥ 0.
      eps_in_sqrt: ε under the root (the lectures, optax) or outside (torch).
      bias_correction: divide G by 1 − β^t.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_rms(0.75, eps=0.0)
      >>> assert tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0][0] == 2.0  # 6 / √(0.25 · 36)

    Reference: Tieleman and Hinton 2012, Coursera lecture 6.5.
    """
    check.decay(decay=decay)
    check.non_negative(eps=eps, initial_scale=initial_scale)
    preconditioner = ema(decay, bias_correction, initial_value=initial_scale)
    return (
        precondition(latest(), preconditioner, eps_root=eps)
        if eps_in_sqrt
        else precondition(latest(), preconditioner, eps)
    )


@transform
def scale_by_stddev(
    decay: Any = 0.9,
    eps: Any = 1e-8,
    initial_scale: Any = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Transform:
    """Divide by the moving standard deviation of the gradient: the centered RMSprop's direction.

    **Rule** u = g / √(V + ε), or g / (√V + ε) with ``eps_in_sqrt=False``; V = E[|g|²] − |E[g]|², E the ema of decay β.

    **Remembers** ``preconditioner.mean`` and ``preconditioner.variance``: 8 bytes per parameter.

    Args:
      decay: β in [0, 1), a number or a schedule.
      eps: ε ≥ 0.
      initial_scale: V_0 ≥ 0.
      eps_in_sqrt: ε under the root, or outside.
      bias_correction: divide both expectations by 1 − β^t.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_stddev(0.5, eps=0.0)
      >>> assert tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))[0][0] == 2.0  # V = 0.5 · 4 − 1

    **Differs** from optax in rounding only: see ``variance``.

    Reference: Graves 2013, https://arxiv.org/abs/1308.0850.
    """
    check.decay(decay=decay)
    check.non_negative(eps=eps, initial_scale=initial_scale)
    preconditioner = variance(decay, bias_correction, initial_scale)
    return (
        precondition(latest(), preconditioner, eps_root=eps)
        if eps_in_sqrt
        else precondition(latest(), preconditioner, eps)
    )


@transform
def rmsprop(
    learning_rate: Any,
    decay: Any = 0.9,
    eps: Any = 1e-8,
    initial_scale: Any = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Any = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Transform:
    """RMSprop: AdaGrad that forgets.

    **Rule** Δθ = −α g / √(G + ε), G = ema(|g|²; β); centered: the variance in place of G; with ``momentum=ρ`` a heavy ball over the steps.

    **Remembers** G (4 bytes per parameter), centered 8; 4 more with momentum.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      decay: β in [0, 1).
      eps: ε ≥ 0.
      initial_scale: G_0 ≥ 0.
      eps_in_sqrt: ε under the root (the lectures, optax) or outside (torch).
      centered: divide by the standard deviation instead.
      momentum: ρ in [0, 1], or None.
      nesterov: the momentum looks one step ahead.
      bias_correction: divide G by 1 − β^t.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.rmsprop(0.5, decay=0.75, eps=0.0)
      >>> assert tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0][0] == -1.0

    **Differs** from torch: ``eps_in_sqrt=False`` and ``initial_scale=0`` are its form, with ``decay`` its alpha; its momentum is applied before the rate,
    which is the same for a constant rate.

    Reference: Tieleman and Hinton 2012, Coursera lecture 6.5; Graves 2013, https://arxiv.org/abs/1308.0850.
    """
    if momentum is not None:
        check.probability(momentum=momentum)
    preconditioner = scale_by_stddev if centered else scale_by_rms
    return chain(
        preconditioner(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(momentum, nesterov),
    )
