"""Amsgrad."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.accumulators import running_max
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_amsgrad(
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transform:
    """AMSGrad's direction, without the rate.

    **Rule** u = m̂ / (√(max_s v̂_s + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2).

    **Remembers** ``moment.average``, ``preconditioner.average.average`` and ``preconditioner.peak``: 12 bytes per parameter.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      bias_correction_mu: debias the moment.
      bias_correction_nu: debias the preconditioner before its peak is taken.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_amsgrad(b1=0.0, b2=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 0.25  # still over √16

    **Differs** from the paper and torch: the peak is taken after debiasing, as in optax.

    Reference: Reddi et al. 2018, https://openreview.net/forum?id=ryQu7f-RZ.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    return precondition(
        ema(b1, bias_correction_mu, mu_dtype),
        running_max(ema(b2, bias_correction_nu)),
        eps,
        eps_root,
    )


@transform
def amsgrad(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transform:
    """AMSGrad: Adam whose rates never grow.

    **Rule** Δθ = −α m̂ / (√(max_s v̂_s + ε_root) + ε).

    **Remembers** ``scale_by_amsgrad``: 12 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      bias_correction_mu: debias the moment.
      bias_correction_nu: debias the preconditioner before its peak is taken.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.amsgrad(1.0, b1=0.0, b2=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == -0.25

    Reference: Reddi et al. 2018, https://openreview.net/forum?id=ryQu7f-RZ.
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )
