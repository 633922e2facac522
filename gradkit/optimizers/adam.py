"""Adam: the debiased average of the gradient over the root of the debiased average of its square.

    Δθ_t = −α_t · m̂_t / (√(v̂_t + ε_root) + ε)        m = ema(g; b1)        v = ema(|g|²; b2)

φ is ``ema``, ψ is ``ema`` of g². The paper adds ε to the root (``eps``); other texts add it under
the root (``eps_root``).
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate, StoreLike


@transform
def scale_by_adam(
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = False,
) -> Transform:
    """Scale the gradient as Adam does, without applying a learning rate.

    **Update rule** u = m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2), both debiased;
    0 where the denominator is 0.

    **State** ``moment.average`` and ``preconditioner.average`` (shape of the leaf, float32 or
    wider; 8 bytes per parameter), and the ``log_unseen`` of each, one scalar.

    Use a positive ``eps_root`` to differentiate through the step.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      nesterov: Extrapolate the moment one step ahead (Nesterov).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adam(eps=0.0)
      >>> g = jnp.array([1e-3, -50.0, 0.0])
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], jnp.sign(g))  # m̂² = v̂

    **Differs from optax**: both averages are at least float32, also for bfloat16 parameters; a
    scheduled b1 or b2 is debiased exactly.

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980; Dozat 2016,
    https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    return precondition(
        ema(b1, accumulator_dtype=mu_dtype, nesterov=nesterov), ema(b2), eps, eps_root
    )


@transform
def adam(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = False,
) -> Transform:
    """Adam: divide a moving average of the gradient by the root of that of its square.

    **Update rule** Δθ = −α m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2),
    both debiased.

    **State** That of ``scale_by_adam``: 8 bytes per parameter.

    A common learning rate is 1e-3. Use a positive ``eps_root`` to differentiate through the step.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      nesterov: Extrapolate the moment one step ahead (Nesterov).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or learning rate.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adam(0.5, eps=0.0)
      >>> updates, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(updates, -0.5)
      >>> second = -0.5 * (0.27 / 0.19) / (0.008991 / 0.001999) ** 0.5
      >>> assert jnp.allclose(tx.update(jnp.zeros(1), state)[0], second)

    **Differs from optax**: as ``scale_by_adam`` does.

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
