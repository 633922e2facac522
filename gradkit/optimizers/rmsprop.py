"""RMSprop: the gradient over the root of a moving average of its square.

    Δθ_t = −α_t · g_t / √(G_t + ε)        G = ema(|g|²; β), or centered E[|g|²] − |E[g]|²

φ is ``latest``, ψ is ``ema`` of g², or ``variance`` of g (``centered``); then a ``trace`` with
``momentum``.
"""

from gradkit import _checks as check
from gradkit._chain import chain, identity
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import latest, trace
from gradkit.averages.ema import ema, variance
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate


@transform
def scale_by_rms(
    decay: Rate = 0.9,
    eps: Rate = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Transform:
    """Divide by the root of a moving average of squared gradients, as RMSprop does.

    **Update rule** u = g / √(G + ε), or g / (√G + ε) with ``eps_in_sqrt=False``; G = ema(|g|²; β),
    G_0 = ``initial_scale``; 0 where the denominator is 0.

    **State** ``preconditioner.average`` (shape of the leaf, float32 or wider; 4 bytes per
    parameter), and ``log_unseen`` with ``bias_correction``, one scalar.

    Args:
      decay: β, the decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added under the root, or to the root with ``eps_in_sqrt=False``.
      initial_scale: Initial value of the preconditioner, ≥ 0.
      eps_in_sqrt: Whether ε is added under the root (optax; Goodfellow et al. 2016) or to the root
        (PyTorch).
      bias_correction: Divide the averages by 1 − β^t.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or initial value.
      TypeError: A hyperparameter that is neither a number nor a schedule.

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
    decay: Rate = 0.9,
    eps: Rate = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Transform:
    """Divide by the moving standard deviation of the gradient, as centered RMSprop does.

    **Update rule** u = g / √(V + ε), or g / (√V + ε) with ``eps_in_sqrt=False``;
    V = E[|g|²] − |E[g]|², E the ema of decay β, V_0 = ``initial_scale``.

    **State** ``preconditioner.mean`` and ``preconditioner.variance`` (shape of the leaf, float32 or
    wider; 8 bytes per parameter), and ``log_unseen`` with ``bias_correction``, one scalar.

    Args:
      decay: β, the decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added under the root, or to the root with ``eps_in_sqrt=False``.
      initial_scale: Initial value of the preconditioner, ≥ 0.
      eps_in_sqrt: Whether ε is added under the root (optax; Goodfellow et al. 2016) or to the root
        (PyTorch).
      bias_correction: Divide the averages by 1 − β^t.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or initial value.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_stddev(0.5, eps=0.0)
      >>> assert tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))[0][0] == 2.0  # V = 0.5 · 4 − 1

    **Differs from optax**: in rounding only: see ``variance``.

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
    learning_rate: Rate,
    decay: Rate = 0.9,
    eps: Rate = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Rate | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Transform:
    """RMSprop: divide by the root of a moving average of squared gradients.

    **Update rule** Δθ = −α g / √(G + ε), or −α g / (√G + ε) with ``eps_in_sqrt=False``;
    G = ema(|g|²; β). With ``centered`` the variance replaces G.
    With ``momentum=ρ`` a trace of decay ρ sums the steps.

    **State** ``scale_by_rms`` (4 bytes per parameter), or ``scale_by_stddev`` (8) if centered;
    ``trace`` (4) with momentum.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      decay: β, the decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added under the root, or to the root with ``eps_in_sqrt=False``.
      initial_scale: Initial value of the preconditioner, ≥ 0.
      eps_in_sqrt: Whether ε is added under the root (optax; Goodfellow et al. 2016) or to the root
        (PyTorch).
      centered: Divide by the standard deviation instead.
      momentum: ρ in [0, 1], or None for no momentum.
      nesterov: Extrapolate the trace one step ahead (Nesterov).
      bias_correction: Divide the averages by 1 − β^t.

    Raises:
      ValueError: A decay outside [0, 1); ρ outside [0, 1]; a negative ε, initial value or learning
        rate.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.rmsprop(0.5, decay=0.75, eps=0.0)
      >>> assert tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0][0] == -1.0

    **Differs from PyTorch**: its form is ``eps_in_sqrt=False``, with ``decay`` its alpha and
    ``initial_scale=0``. Its momentum is applied before the learning rate, which is the same for a
    constant learning rate.

    Reference: Tieleman and Hinton 2012, Coursera lecture 6.5; Graves 2013,
    https://arxiv.org/abs/1308.0850.
    """
    if momentum is not None:
        check.probability(momentum=momentum)
    preconditioner = scale_by_stddev if centered else scale_by_rms
    return chain(
        preconditioner(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(momentum, nesterov),
    )
