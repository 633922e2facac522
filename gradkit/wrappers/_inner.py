"""An inner transform that runs on some calls only, on a clock of its own: what accumulation and guards are made of."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import State
from gradkit._transform import Transform, apply_updates


def start(tx: Transform, params: Any, leaves: Any = None) -> State:
    """The inner state before the first step."""
    return State(jnp.zeros((), jnp.int32), tx.rule.init(params, leaves=leaves))


def strong(tree: Any) -> Any:
    """Python's numbers, and arrays with their weak type, as arrays that keep their dtype wherever they stand."""
    return jax.tree.map(lambda x: jnp.asarray(x, jax.dtypes.result_type(x)), tree)


def loss_like(value: Any, like: Any) -> Any:
    """The extra ``value`` as a scalar in the scalar dtype of a tree."""
    if value is None:
        check.fail(
            "needs the loss",
            "value=None",
            "Call update(grads, state, params, value=loss), with jax.value_and_grad",
            error=TypeError,
        )
    if jnp.shape(value) != ():
        check.fail(
            "needs one number",
            check.shape_dtype(value),
            "Take the mean over the batch",
            path="value",
        )
    return jnp.asarray(value, numerics.scalar_dtype(like))


def rehearse(tx: Transform, state: State, updates: Any, params: Any, extras: dict[str, Any]) -> Any:
    """The updates that a turn would make, for a verdict on them.

    A pass of its own that writes nothing but the verdict: choosing between two states afterwards would write both to memory.
    """
    return tx.rule.update(updates, state.inner, params, **{**extras, "step": state.step})[0]


def take_turn(
    wanted: Any,
    tx: Transform,
    state: State,
    updates: Any,
    params: Any,
    extras: dict[str, Any],
    *,
    in_place: bool,
    prepare: Callable[[Any, Any], Any] = lambda updates, aux: updates,
    aux: Any = None,
) -> tuple[Any, State]:
    """If ``wanted``, one update of ``tx``.

    Args:
      wanted: a bool, usually traced.
      tx: the inner transform, and
      state: its state, whose clock it runs on.
      updates: what it is fed, after ``prepare(updates, aux)``.
      params: the wide parameters or None, and
      extras: what the wrapper was passed, with ``leaves``.
      in_place: change the parameters rather than hand out updates.
      prepare: makes the inner gradients where they are needed, so that they are not written to memory.
      aux: traced values for ``prepare``, which closes over none.

    Returns:
      the parameters as they are now (``in_place``), or the updates (zero where nothing was done); the inner state.
    """
    arrays = {
        name: value for name, value in extras.items() if name != "step" and not callable(value)
    }
    functions = {name: value for name, value in extras.items() if callable(value)}

    def turn(carry: Any, operands: Any) -> Any:
        target, state = carry
        tx, updates, aux, params, arrays = operands
        if in_place:  # read the parameters where they are written, or XLA would copy them
            params, arrays = tree.widen(target), arrays | {"leaves": target}
        new, kept = tx.rule.update(
            prepare(updates, aux), state.inner, params, **arrays, **functions, step=state.step
        )
        target = (
            apply_updates(target, new)
            if in_place
            else jax.tree.map(lambda n, t: n.astype(t.dtype), new, target)
        )
        return target, State(numerics.increment(state.step), kept)

    carry = (extras["leaves"] if in_place else jax.tree.map(jnp.zeros_like, updates), state)
    operands = (
        tx,
        updates,
        aux,
        None if in_place else params,
        {name: value for name, value in arrays.items() if not (in_place and name == "leaves")},
    )
    if (
        functions
    ):  # they may close over tracers, which the loop of run_if could not take derivatives through
        target, state = lax.cond(wanted, turn, lambda carry, _: carry, carry, operands)
    else:
        target, state = numerics.run_if(wanted, turn, carry, operands)
    return target, state
