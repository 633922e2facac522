"""Adam."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_adam(
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> Transform:
    """Adam's direction, without the rate.

    **Rule** u = m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2), both debiased; 0 where the denominator is 0.

    **Remembers** ``moment.average`` and ``preconditioner.average`` (float32 or wider; 8 bytes per parameter), and the ``log_unseen`` of each.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adam(eps=0.0)
      >>> g = jnp.array([1e-3, -50.0, 0.0])
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], jnp.sign(g))  # the first step knows no size

    **Differs** from optax: both averages are float32 also for bfloat16 parameters; a scheduled b1 or b2 is debiased exactly.

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980; Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    return precondition(
        ema(b1, accumulator_dtype=mu_dtype, nesterov=nesterov), ema(b2), eps, eps_root
    )


@transform
def adam(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> Transform:
    """Adam: momentum over RMSprop, both debiased.

    **Rule** Δθ = −α m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2).

    **Remembers** ``scale_by_adam``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adam(0.5, eps=0.0)
      >>> updates, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(updates, -0.5)
      >>> assert jnp.allclose(tx.update(jnp.zeros(1), state)[0], -0.5 * (0.27 / 0.19) / (0.008991 / 0.001999) ** 0.5)

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
