"""Transforms that run on some steps only.

| | when f(step) | otherwise | clock of ``inner`` |
|---|---|---|---|
| ``conditionally_transform(inner, f)`` | u = inner(g) | updates are unchanged | waits |
| ``conditionally_mask(inner, f)`` | u = inner(g) | updates are zero | waits |
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform


@transform
def conditionally_transform(
    inner: Transform, should_transform_fn: Callable[..., Any], forward_extra_args: bool = False
) -> Rule:
    """Transform the updates on some steps; leave them unchanged on the others.

    **Update rule** u ← inner(g) when ``should_transform_fn(step)``, else g with the inner state
    unchanged.

    **State** ``inner``, a ``State``.

    Args:
      inner: a transform.
      should_transform_fn: a function of the step (completed updates) that returns a bool.
      forward_extra_args: pass it the extra arguments too, as keywords.

    Raises:
      TypeError: a condition that is not a function, or does not return one bool.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.conditionally_transform(gk.scale(3.0), lambda step: step >= 1)
      >>> first, state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
      >>> assert first[0] == 1.0 and tx.update(jnp.ones(1), state)[0][0] == 3.0
    """
    return _conditionally(inner, should_transform_fn, forward_extra_args, unchanged=True)


@transform
def conditionally_mask(
    inner: Transform, should_transform_fn: Callable[..., Any], forward_extra_args: bool = False
) -> Rule:
    """Transform the updates on some steps; set them to zero on the others.

    **Update rule** u ← inner(g) when ``should_transform_fn(step)``, else 0 with the inner state
    unchanged.

    **State** ``inner``, a ``State``.

    Args:
      inner: a transform.
      should_transform_fn: a function of the step (completed updates) that returns a bool.
      forward_extra_args: pass it the extra arguments too, as keywords.

    Raises:
      TypeError: a condition that is not a function, or does not return one bool.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.conditionally_mask(gk.scale(3.0), lambda step: step >= 1)
      >>> first, state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
      >>> assert first[0] == 0.0 and tx.update(jnp.ones(1), state)[0][0] == 3.0
    """
    return _conditionally(inner, should_transform_fn, forward_extra_args, unchanged=False)


def _conditionally(
    inner: Transform, condition: Callable[..., Any], forward: bool, *, unchanged: bool
) -> Rule:
    if not forward:
        check.arity(1, "the step", should_transform_fn=condition)
    part = Part("inner", inner, clock=True)

    def init(params: Any, *, context: Any) -> Any:
        return {"inner": part.init(params, context=context)}

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        wanted = jnp.asarray(condition(context.step, **(context.extras if forward else {})))
        check.flag(wanted, "should_transform_fn")
        otherwise = updates if unchanged else None
        updates, inner_state = part.update_if(
            wanted, updates, state["inner"], params, context=context, otherwise=otherwise
        )
        return updates, {"inner": inner_state}

    return Rule(init, update, parts=(part,), sharded=True)
