"""ADOPT: a moving average of gradients, each divided by the preconditioner of the previous step.

    Δθ_t = −α_t · m_t        m_t = b1 m_{t−1} + (1 − b1) clip(g_t / max(√v_{t−1}, ε), ±c_t)
    v = ema(|g|²; b2) with v_1 = |g_1|²

φ is ``latest``, ψ is the previous step's ``ema_from_first`` of g²; then clip, then ``ema``.
"""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._schedule import rate_at
from gradkit._transform import Transform, transform
from gradkit.stores import IDENTITY, as_store, averages
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate, Scalar, StoreLike


def _fourth_root(step: jax.Array) -> jax.Array:
    return step**0.25


@transform
def scale_by_adopt(
    b1: Rate = 0.9,
    b2: Rate = 0.9999,
    eps: Rate = 1e-6,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Scalar | Callable[[jax.Array], ArrayLike] = _fourth_root,
) -> Rule:
    """Scale the gradient as ADOPT does, without applying a learning rate.

    Averages quotients: each gradient is divided by the root of the previous preconditioner.

    **Update rule** u_t = m_t, d_t = clip(g_t / max(√v_{t−1}, ε), ±c_t),
    m_t = b1 m_{t−1} + (1 − b1) d_t, v_t = ema(|g|²; b2) with v_1 = |g_1|².
    The first update is zero: the first gradient only initializes v.

    **State** ``moment`` (shape of the leaf, float32 or wider, or ``mu_dtype``) and
    ``preconditioner`` (shape of the leaf, float32 or wider): 8 bytes per parameter.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, the lower bound of the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      nesterov: Return b1 m_t + (1 − b1) d_t instead of m_t.
      use_clipping: Whether to clip the quotient into [−c_t, c_t].
      clip_value_fn: c, a number or a function of the step as a float (completed updates, from 0),
        such as a schedule. By default step^¼.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule; complex leaves with
        clipping.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adopt(b1=0.5, clip_value_fn=10.0)
      >>> first, state = tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 0.0 and tx.update(jnp.full(1, 6.0), state)[0][0] == 0.5 * 6 / 2

    Reference: Taniguchi et al. 2024, https://arxiv.org/abs/2411.02853.
    """
    check.decay(b1=b1, b2=b2)
    if not callable(clip_value_fn):
        check.positive(clip_value_fn=clip_value_fn)
    check.non_negative(eps=eps)
    store = as_store(mu_dtype, "mu_dtype")

    def init(params: Any) -> Any:
        return {"moment": tree.zeros_like(params), "preconditioner": tree.magnitudes_like(params)}

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        beta1, beta2 = cast("tuple[Any, Any]", (b1, b2))  # schedules are evaluated by now
        first = step == 0
        bound = rate_at(clip_value_fn, step.astype(numerics.scalar_dtype(updates)))

        def leaf(g: Any, m: Any, v: Any) -> Any:
            like, square = tree.factor_like, numerics.abs_sq(g)
            d = numerics.divide(g, jnp.maximum(numerics.sqrt(v), like(eps, v)))
            if use_clipping:
                check.real(g)
                d = jnp.clip(d, -like(bound, g), like(bound, g))
            m = jnp.where(first, m, like(beta1, g) * m + like(1 - beta1, g) * d)
            out = (
                jnp.where(first, m, like(beta1, g) * m + like(1 - beta1, g) * d) if nesterov else m
            )
            return (
                out,
                m,
                jnp.where(first, square, v + like(1 - beta2, v) * (square - v)),
            )

        updates, moment, preconditioner = tree.map(
            leaf, updates, state["moment"], state["preconditioner"], outputs=3
        )
        return updates, {"moment": moment, "preconditioner": preconditioner}

    kept = averages(store, "moment") | averages(IDENTITY, "preconditioner")
    return Rule(init, update, scope="element", averages=kept)


@transform
def adopt(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.9999,
    eps: Rate = 1e-6,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Scalar | Callable[[jax.Array], ArrayLike] = _fourth_root,
) -> Transform:
    """ADOPT: an Adam variant that converges for every b2.

    **Update rule** Δθ_t = −α m_t, d_t = clip(g_t / max(√v_{t−1}, ε), ±c_t),
    m_t = b1 m_{t−1} + (1 − b1) d_t, v_t = ema(|g|²; b2) with v_1 = |g_1|².
    The first update is zero: the first gradient only initializes v.

    **State** That of ``scale_by_adopt``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, the lower bound of the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      nesterov: Return b1 m_t + (1 − b1) d_t instead of m_t.
      use_clipping: Whether to clip the quotient into [−c_t, c_t].
      clip_value_fn: c, a number or a function of the step as a float (completed updates, from 0),
        such as a schedule. By default step^¼.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or learning rate.
      TypeError: A hyperparameter that is neither a number nor a schedule; complex leaves with
        clipping.

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
