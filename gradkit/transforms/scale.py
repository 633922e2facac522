"""Multiplication by a scalar, constant or scheduled."""

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import identity
from gradkit._rule import Rule
from gradkit._transform import Transform, stateless, transform
from gradkit.typing import Rate


@transform
def scale(step_size: Rate) -> Rule:
    """Multiply the updates by a scalar.

    **Update rule** u ← s g.

    **State** none.

    Args:
      step_size: s, a finite number or a schedule.

    Raises:
      ValueError: a number that is not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale(-0.5)
      >>> assert tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))[0][0] == -2.0
    """
    check.finite(step_size=step_size)
    return stateless(lambda updates, params: tree.scale(updates, step_size), scope="element")


@transform
def scale_by_schedule(step_size_fn: Rate) -> Transform:
    """Multiply the updates by a schedule: ``scale`` under its name in optax for schedules.

    **Update rule** u ← s(step) g, ``step`` the number of completed updates, from 0.

    **State** none: the step is counted by the outermost transform.

    Args:
      step_size_fn: a schedule, or any function of the step.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_schedule(lambda step: jnp.where(step < 1, 1.0, 0.5))
      >>> updates, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert updates[0] == 1.0 and tx.update(jnp.ones(1), state)[0][0] == 0.5
    """
    return scale(step_size_fn)


@transform
def scale_by_learning_rate(
    learning_rate: Rate | None = None, *, flip_sign: bool = True
) -> Transform:
    """Multiply the updates by −learning rate: the last transform of most optimizers.

    **Update rule** u ← −α_t g; without a learning rate u ← g.

    **State** none.

    Args:
      learning_rate: α ≥ 0, a number, a schedule, any function of the step, or None.
      flip_sign: multiply by −α (to descend) rather than by α.

    Raises:
      ValueError: a negative learning rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_learning_rate(gk.linear_schedule(0.5, 0.0, 10))
      >>> assert tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))[0][0] == -0.5

    **Differs from optax**: a negative learning rate is refused; to ascend, pass
    ``flip_sign=False``.
    """
    if learning_rate is None:
        return identity()
    check.non_negative(learning_rate=learning_rate)
    return scale(numerics.negative(learning_rate) if flip_sign else learning_rate)
