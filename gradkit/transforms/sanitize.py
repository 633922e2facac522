"""Sanitize."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform


@transform
def set_to_zero() -> Rule:
    """Replace every update by zero: parameters stay as they are.

    **Rule** u ← 0.

    **Remembers** nothing.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.set_to_zero()
      >>> assert tx.update(jnp.array([jnp.nan]), tx.init(jnp.zeros(1)))[0][0] == 0
    """
    return stateless(lambda updates, params: jax.tree.map(jnp.zeros_like, updates))._replace(
        takes_integers=True
    )


@transform
def zero_nans() -> Rule:
    """Replace NaN by zero, and say where it was.

    **Rule** u ← 0 where g is NaN, else g.

    **Remembers** ``found_nan``: for each leaf, whether its last update held a NaN (one bool).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.zero_nans()
      >>> updates, state = tx.update(jnp.array([jnp.nan, 2.0]), tx.init(jnp.zeros(2)))
      >>> assert updates.tolist() == [0.0, 2.0] and state.inner["zero_nans"]["found_nan"]
    """

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(u: Any) -> Any:
            found = jnp.isnan(u)
            return jnp.where(found, jnp.zeros_like(u), u), jnp.any(found)

        updates, found = tree.map(leaf, updates, outputs=2)
        return updates, {"found_nan": found}

    return Rule(
        lambda params: {"found_nan": jax.tree.map(lambda p: jnp.zeros((), bool), params)}, update
    )
