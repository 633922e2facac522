"""Yogi."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import additive_ema, ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_yogi(
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-3,
    eps_root: Any = 0.0,
    initial_accumulator_value: Any = 1e-6,
) -> Transform:
    """Yogi's direction: Adam whose preconditioner falls no faster than it rises.

    **Rule** u = m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v_t = v_{t−1} − (1 − b2) sign(v_{t−1} − |g_t|²) |g_t|², m_0 = v_0 = a, both debiased.

    **Remembers** ``moment.average`` and ``preconditioner.average`` (float32 or wider; 8 bytes per parameter), and the ``log_unseen`` of each.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      initial_accumulator_value: a ≥ 0.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or a.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_yogi(b2=0.75, eps=0.0, initial_accumulator_value=0.0)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> _, state = tx.update(jnp.full(1, 1.0), state)
      >>> assert state.inner["scale_by_yogi"]["preconditioner"]["average"][0] == 3.75  # 4 − 0.25 · 1², where Adam's would be 3.25

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
def yogi(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-3) -> Transform:
    """Yogi: Adam whose rates do not jump up when gradients become small.

    **Rule** Δθ = −α m̂ / (√v̂ + ε), v_t = v_{t−1} − (1 − b2) sign(v_{t−1} − |g_t|²) |g_t|².

    **Remembers** ``scale_by_yogi``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.yogi(0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 100.0), tx.init(jnp.zeros(1)))[0], -0.5)

    Reference: Zaheer et al. 2018, https://papers.nips.cc/paper/8186.
    """
    return chain(scale_by_yogi(b1, b2, eps), scale_by_learning_rate(learning_rate))
