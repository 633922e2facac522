"""Normalize."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform


@transform
def normalize_by_update_norm(scale_factor: Any = 1.0, eps: Any = 1e-6) -> Rule:
    """Give the whole update a fixed length.

    **Rule** u ← s g / (‖g‖ + ε), the norm over the whole tree.

    **Remembers** nothing.

    Args:
      scale_factor: s, a finite number or a schedule.
      eps: ε ≥ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.normalize_by_update_norm(10.0, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(updates, jnp.array([6.0, 8.0]))

    **Differs** from optax: a zero gradient with ε = 0 gives zero, not NaN.
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

    return stateless(update)


@transform
def normalize() -> Rule:
    """Give the updates together the length one.

    **Rule** u ← g / ‖g‖, ‖g‖ the norm of the whole tree; 0 for g = 0.

    **Remembers** nothing.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.normalize()
      >>> assert jnp.allclose(tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))[0], jnp.array([0.6, 0.8]))

    **Differs** from optax, where a zero gradient gives NaN.
    """

    def update(updates: Any, params: Any) -> Any:
        length = tree.norm(updates)
        return tree.scale(updates, numerics.divide(jnp.ones_like(length), length))

    return stateless(update)
