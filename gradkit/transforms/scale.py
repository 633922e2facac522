"""Multiplication by a number, constant or moving."""

from typing import Any

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._schedule import as_rate
from gradkit._transform import Transform, identity, stateless, transform


@transform
def scale(step_size: Any) -> Rule:
    """Multiply by a number.

    **Rule** u ← s g.

    **Remembers** nothing.

    Args:
      step_size: s, a finite number or a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale(-0.5)
      >>> assert tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))[0][0] == -2.0
    """
    check.finite(step_size=step_size)
    return stateless(lambda updates, params: tree.scale(updates, step_size))


@transform
def scale_by_schedule(step_size_fn: Any) -> Transform:
    """Multiply by a schedule.

    **Rule** u ← s(step) g, ``step`` = completed updates, from 0.

    **Remembers** nothing: the clock is the root's.

    Args:
      step_size_fn: a schedule, or any function of the step.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_schedule(lambda step: jnp.where(step < 1, 1.0, 0.5))
      >>> updates, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert updates[0] == 1.0 and tx.update(jnp.ones(1), state)[0][0] == 0.5
    """
    return scale(as_rate(step_size_fn))


@transform
def scale_by_learning_rate(learning_rate: Any = None, *, flip_sign: bool = True) -> Transform:
    """Multiply by −α: the last link of most optimizers.

    **Rule** u ← −α_t g; without a rate u ← g.

    **Remembers** nothing.

    Args:
      learning_rate: α ≥ 0, a number, a schedule, any function of the step, or None.
      flip_sign: multiply by −α (to descend) rather than by α.

    Raises:
      ValueError: a negative rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_learning_rate(gk.linear_schedule(0.5, 0.0, 10))
      >>> assert tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))[0][0] == -0.5

    **Differs** from optax: a negative rate is refused; to ascend say ``flip_sign=False``.
    """
    if learning_rate is None:
        return identity()
    rate = as_rate(learning_rate)
    check.non_negative(learning_rate=rate)
    return scale(-rate if flip_sign else rate)
