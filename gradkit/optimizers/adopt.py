"""Adopt."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import rate_at
from gradkit._transform import Transform, chain, transform
from gradkit.stores import as_store, encoded
from gradkit.transforms.scale import scale_by_learning_rate


def _fourth_root(step: Any) -> Any:
    return step**0.25


@transform
def scale_by_adopt(
    b1: Any = 0.9,
    b2: Any = 0.9999,
    eps: Any = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Any = _fourth_root,
) -> Rule:
    """ADOPT's direction: an average of gradients, each over the root of the preconditioner of the steps before it.

    **Rule** d_t = g_t / max(√v_{t−1}, ε), clipped into [−c_t, c_t]; u_t = m_t = b1 m_{t−1} + (1 − b1) d_t; v_t = ema(|g|²; b2) from v_1 = |g_1|².
    The first step is zero: it only makes v_1.

    **Remembers** ``moment`` (float32 or wider, or ``mu_dtype``) and ``preconditioner`` (float32 or wider): 8 bytes per parameter.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, the least that the root counts as.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: u_t = b1 m_t + (1 − b1) d_t.
      use_clipping: clip d_t.
      clip_value_fn: c, a function of the step (a floating number, completed updates), a schedule, or a number; by default step^¼.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.
      TypeError: complex leaves, when clipping.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adopt(b1=0.5, clip_value_fn=10.0)
      >>> first, state = tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 0.0 and tx.update(jnp.full(1, 6.0), state)[0][0] == 0.5 * 6 / 2

    Reference: Taniguchi et al. 2024, https://arxiv.org/abs/2411.02853.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps)
    store = as_store(mu_dtype)

    def init(params: Any) -> Any:
        return {"moment": encoded(store, params), "preconditioner": tree.magnitudes_like(params)}

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        first, bound = (
            step == 0,
            rate_at(clip_value_fn, step.astype(numerics.scalar_dtype(updates))),
        )

        def leaf(g: Any, stored: Any, v: Any) -> Any:
            like, m, square = tree.factor_like, store.decode(stored, g), numerics.abs_sq(g)
            d = numerics.divide(g, jnp.maximum(numerics.sqrt(v), like(eps, v)))
            if use_clipping:
                check.real(g)
                d = jnp.clip(d, -like(bound, g), like(bound, g))
            m = jnp.where(first, m, like(b1, g) * m + like(1 - b1, g) * d)
            out = jnp.where(first, m, like(b1, g) * m + like(1 - b1, g) * d) if nesterov else m
            return (
                out,
                store.encode(m),
                jnp.where(first, square, v + like(1 - b2, v) * (square - v)),
            )

        updates, moment, preconditioner = tree.map(
            leaf, updates, state["moment"], state["preconditioner"], outputs=3
        )
        return updates, {"moment": moment, "preconditioner": preconditioner}

    return Rule(init, update)


@transform
def adopt(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.9999,
    eps: Any = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Any = _fourth_root,
) -> Transform:
    """ADOPT: an Adam that converges for every b2.

    **Rule** Δθ_t = −α m_t, m_t = b1 m_{t−1} + (1 − b1) clip(g_t / max(√v_{t−1}, ε), c_t); the first step is zero.

    **Remembers** ``scale_by_adopt``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, the least that the root counts as.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: the moment looks one step ahead.
      use_clipping: clip the quotient.
      clip_value_fn: c, a function of the step, a schedule, or a number; by default step^¼.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.
      TypeError: complex leaves, when clipping.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adopt(0.5, b1=0.5)
      >>> _, state = tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.full(1, 6.0), state)[0][0] == -0.25  # 6 / 2, clipped to 1

    Reference: Taniguchi et al. 2024, https://arxiv.org/abs/2411.02853.
    """
    direction = scale_by_adopt(
        b1,
        b2,
        eps,
        mu_dtype,
        nesterov=nesterov,
        use_clipping=use_clipping,
        clip_value_fn=clip_value_fn,
    )
    return chain(direction, scale_by_learning_rate(learning_rate))
