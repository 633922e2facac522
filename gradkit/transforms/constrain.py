"""Constraints: on where the parameters may go, and on the length of the updates."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform


@transform
def keep_params_nonnegative() -> Rule:
    """Stop every number of the parameters at zero: the last link of a chain.

    **Rule** u ← −θ where θ + g < 0, else g.

    **Remembers** nothing. Needs params, which begin non-negative.

    Raises:
      ValueError: no params.
      TypeError: complex leaves, which have no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.chain(gk.sgd(1.0), gk.keep_params_nonnegative()), jnp.array([1.0, 1.0])
      >>> assert (w + tx.update(jnp.array([0.25, 3.0]), tx.init(w), w)[0]).tolist() == [0.75, 0.0]
    """

    def leaf(u: Any, p: Any) -> Any:
        check.real(p)
        return jnp.where(p + u < 0, -p, u)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        return tree.map(leaf, updates, params)

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
