"""The constraint that parameters stay non-negative."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import stateless, transform


@transform
def keep_params_nonnegative() -> Rule:
    """Project updates so that parameters stay non-negative. Must come last in the chain.

    **Update rule** u ← −θ where θ + g < 0, else g.

    **State** none. Needs params, which must be non-negative at the start.

    Raises:
      ValueError: no params.
      TypeError: complex leaves, which have no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.chain(gk.sgd(1.0), gk.keep_params_nonnegative()), jnp.array([1.0, 1.0])
      >>> updates, _ = tx.update(jnp.array([0.25, 3.0]), tx.init(w), w)
      >>> assert (w + updates).tolist() == [0.75, 0.0]
    """

    def leaf(u: Any, p: Any) -> Any:
        check.real(p)
        return jnp.where(p + u < 0, -p, u)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        return tree.map(leaf, updates, params)

    return stateless(update, scope="element")
