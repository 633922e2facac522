"""Yogi: Adam whose preconditioner changes by at most (1 − b2) g² per step.

    Δθ_t = −α_t · m̂_t / (√(v̂_t + ε_root) + ε)        m = ema(g; b1)
    v_t = v_{t−1} − (1 − b2) sign(v_{t−1} − |g_t|²) |g_t|²

φ is ``ema``, ψ is ``additive_ema`` of g².
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.ema import additive_ema, ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate


@transform
def scale_by_yogi(
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-3,
    eps_root: Rate = 0.0,
    initial_accumulator_value: float = 1e-6,
) -> Transform:
    """Scale the gradient as Yogi does, without applying a learning rate.

    The preconditioner falls no faster than it rises.

    **Update rule** u = m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1),
    v_t = v_{t−1} − (1 − b2) sign(v_{t−1} − |g_t|²) |g_t|², m_0 = v_0 = a, both debiased;
    0 where the denominator is 0.

    **State** ``moment.average`` and ``preconditioner.average`` (shape of the leaf, float32 or
    wider; 8 bytes per parameter), and the ``log_unseen`` of each, one scalar.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      initial_accumulator_value: a ≥ 0, the initial value of both averages.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or a.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_yogi(b2=0.75, eps=0.0, initial_accumulator_value=0.0)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> _, state = tx.update(jnp.full(1, 1.0), state)
      >>> v = state.inner["scale_by_yogi"]["preconditioner"]["average"]
      >>> assert v[0] == 3.75  # 4 − 0.25 · 1²; Adam's average would be 3.25

    Reference: Zaheer et al. 2018, https://papers.nips.cc/paper/8186.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(
        eps=eps, eps_root=eps_root, initial_accumulator_value=initial_accumulator_value
    )
    start = initial_accumulator_value
    return precondition(
        ema(b1, initial_value=start), additive_ema(b2, initial_value=start), eps, eps_root
    )


@transform
def yogi(learning_rate: Rate, b1: Rate = 0.9, b2: Rate = 0.999, eps: Rate = 1e-3) -> Transform:
    """Yogi: Adam whose steps do not grow abruptly when gradients become small.

    **Update rule** Δθ = −α m̂ / (√v̂ + ε), m = ema(g; b1),
    v_t = v_{t−1} − (1 − b2) sign(v_{t−1} − |g_t|²) |g_t|², m_0 = v_0 = 10⁻⁶, both debiased.

    **State** That of ``scale_by_yogi``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or learning rate.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.yogi(0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 100.0), tx.init(jnp.zeros(1)))[0], -0.5)

    Reference: Zaheer et al. 2018, https://papers.nips.cc/paper/8186.
    """
    return chain(scale_by_yogi(b1, b2, eps), scale_by_learning_rate(learning_rate))
