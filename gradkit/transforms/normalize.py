"""Updates of a fixed global norm."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import Transform, stateless, transform
from gradkit.typing import Rate


@transform
def normalize_by_update_norm(scale_factor: Rate = 1.0, eps: Rate = 1e-6) -> Rule:
    """Scale all updates together to a fixed global norm.

    **Update rule** u ← s g / (‖g‖ + ε), ‖g‖ the norm of the whole tree; 0 for g = 0.

    **State** none.

    Args:
      scale_factor: s, a finite number or a schedule.
      eps: ε ≥ 0, a number or a schedule.

    Raises:
      ValueError: an ``s`` that is not finite, a negative ``eps``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.normalize_by_update_norm(10.0, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(updates, jnp.array([6.0, 8.0]))

    **Differs from optax**: a zero gradient with ε = 0 gives zero, not NaN.
    """
    check.finite(scale_factor=scale_factor)
    check.non_negative(eps=eps)

    def update(updates: Any, params: Any) -> Any:
        norm = tree.norm(updates)
        length = norm + tree.factor_like(eps, norm)
        return tree.scale(
            updates,
            numerics.divide(tree.factor_like(scale_factor, norm) * jnp.ones_like(norm), length),
        )

    return stateless(update, scope="global")


@transform
def normalize() -> Transform:
    """Normalize the updates to unit global norm: ``normalize_by_update_norm(1.0, eps=0.0)``.

    **Update rule** u ← g / ‖g‖, ‖g‖ the norm of the whole tree; 0 for g = 0.

    **State** none.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.normalize()
      >>> updates, _ = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(updates, jnp.array([0.6, 0.8]))

    **Differs from optax**, where a zero gradient gives NaN.
    """
    return normalize_by_update_norm(1.0, 0.0)
