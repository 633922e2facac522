"""AMSGrad: Adam whose preconditioner never decreases.

    Δθ_t = −α_t · m̂_t / (√(max_{s≤t} v̂_s + ε_root) + ε)      m = ema(g; b1)      v = ema(|g|²; b2)

φ is ``ema``, ψ is ``running_max`` of the ``ema`` of g².
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import running_max
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate, StoreLike


@transform
def scale_by_amsgrad(
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transform:
    """Scale the gradient as AMSGrad does, without applying a learning rate.

    **Update rule** u = m̂ / (√(max_s v̂_s + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2),
    both debiased.

    **State** ``moment.average``, ``preconditioner.average.average`` and ``preconditioner.max``
    (shape of the leaf, float32 or wider; 12 bytes per parameter), and the ``log_unseen`` of both
    averages, one scalar each.

    Use a positive ``eps_root`` to differentiate through the step.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      bias_correction_mu: Debias the moment.
      bias_correction_nu: Debias the preconditioner before its running maximum is taken.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_amsgrad(b1=0.0, b2=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 0.25  # 1 / √16: the maximum is still 4²

    **Differs from PyTorch and the paper**: the maximum is taken of the debiased average, as in
    optax.

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
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transform:
    """AMSGrad: Adam whose preconditioner never decreases.

    **Update rule** Δθ = −α m̂ / (√(max_s v̂_s + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2),
    both debiased.

    **State** That of ``scale_by_amsgrad``: 12 bytes per parameter.

    A common learning rate is 1e-3. Use a positive ``eps_root`` to differentiate through the step.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      bias_correction_mu: Debias the moment.
      bias_correction_nu: Debias the preconditioner before its running maximum is taken.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or learning rate.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.amsgrad(1.0, b1=0.0, b2=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == -0.25

    **Differs from PyTorch and the paper**: the maximum is taken of the debiased average, as in
    optax.

    Reference: Reddi et al. 2018, https://openreview.net/forum?id=ryQu7f-RZ.
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )
