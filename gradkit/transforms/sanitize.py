"""Zeros in place of updates, or of their NaNs."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _shards as shards
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import stateless, transform


@transform
def set_to_zero() -> Rule:
    """Replace every update by zero, so that the parameters stay as they are.

    **Update rule** u ← 0.

    **State** none.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.set_to_zero()
      >>> assert tx.update(jnp.array([jnp.nan]), tx.init(jnp.zeros(1)))[0][0] == 0
    """
    rule = stateless(lambda updates, params: jax.tree.map(jnp.zeros_like, updates), scope="element")
    return rule._replace(takes_integers=True)


@transform
def zero_nans() -> Rule:
    """Replace NaN in the updates by zero, and record which leaves had any.

    **Update rule** u ← 0 where g is NaN, else g.

    **State** ``found_nan``: for each leaf, whether its last update contained a NaN (one bool).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.zero_nans()
      >>> updates, state = tx.update(jnp.array([jnp.nan, 2.0]), tx.init(jnp.zeros(2)))
      >>> assert updates.tolist() == [0.0, 2.0] and state.inner["zero_nans"]["found_nan"]
    """

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(u: Any) -> Any:
            is_nan = jnp.isnan(u)
            return jnp.where(is_nan, jnp.zeros_like(u), u), shards.anywhere(jnp.any(is_nan))

        updates, found_nan = tree.map(leaf, updates, outputs=2)
        return updates, {"found_nan": found_nan}

    return Rule(
        lambda params: {"found_nan": jax.tree.map(lambda p: jnp.zeros((), bool), params)},
        update,
        sharded=True,
    )
