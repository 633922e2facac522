"""Adding updates to parameters, by hand."""

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit.typing import Key, Params, Updates


def apply_updates(
    params: Params, updates: Updates, *, rounding: str = "nearest", key: Key | None = None
) -> Params:
    """Add updates to parameters in wide arithmetic, and round once to the dtype of the parameter.

    Under ``tx.apply`` and ``make_step`` the transforms ``stochastic_rounding`` and ``compensated``
    do the same and more.

    Args:
      params: a tree of arrays of any floating dtype.
      updates: a tree like it; where it is None the parameter stays as it is.
      rounding: ``"nearest"``, or ``"stochastic"``: up or down at random, so that E[result] is the
        exact sum.
      key: a seed or a random key, for stochastic rounding.

    Returns:
      the new parameters.

    Raises:
      ValueError: another rounding; an update of another shape.
      TypeError: stochastic rounding without a key.

    Example:
      >>> import jax.numpy as jnp, gradkit as gk
      >>> p = gk.apply_updates({"w": jnp.bfloat16(1.0)}, {"w": jnp.float32(0.0059)})
      >>> assert p["w"].dtype == jnp.bfloat16 and p["w"] == 1.0078125  # bf16(1 + 0.0059)
    """
    with check.inside("apply_updates"):
        check.one_of(("nearest", "stochastic"), rounding=rounding)
        random = numerics.as_key(key) if rounding == "stochastic" else None
        check.tree_of_arrays(params, "params")
        check.tree_of_arrays(updates, "updates")
        updates = tree.only_where(updates, params)
        leaves = tree.only_where(params, updates)
        check.match(updates, leaves)
        if random is None:
            return tree.fill(tree.add_rounded(leaves, updates), params)
        sums = tree.map(tree.add_wide, updates, leaves)
        return tree.fill(tree.round_stochastically(sums, leaves, random), params)
