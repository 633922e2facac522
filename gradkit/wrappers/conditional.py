"""Conditional."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._link import Rule, State, evaluation_inside
from gradkit._transform import transform
from gradkit.wrappers._inner import start


@transform
def conditionally_transform(
    inner: Any, should_transform_fn: Callable[..., Any], forward_extra_args: bool = False
) -> Rule:
    """Transform on some steps, let the updates pass on the others.

    **Rule** u ← inner(g) when ``should_transform_fn(step)``, else g with the inner state as it was.

    **Remembers** ``inner``, a ``State``.

    Args:
      inner: a transform.
      should_transform_fn: a function of the step (completed updates) that returns a bool.
      forward_extra_args: pass it the extras too, as keywords.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.conditionally_transform(gk.scale(3.0), lambda step: step >= 1)
      >>> first, state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
      >>> assert first[0] == 1.0 and tx.update(jnp.ones(1), state)[0][0] == 3.0
    """
    return _conditionally(inner, should_transform_fn, forward_extra_args, lambda updates: updates)


@transform
def conditionally_mask(
    inner: Any, should_transform_fn: Callable[..., Any], forward_extra_args: bool = False
) -> Rule:
    """Transform on some steps, stand still on the others.

    **Rule** u ← inner(g) when ``should_transform_fn(step)``, else 0 with the inner state as it was.

    **Remembers** ``inner``, a ``State``.

    Args:
      inner: a transform.
      should_transform_fn: a function of the step (completed updates) that returns a bool.
      forward_extra_args: pass it the extras too, as keywords.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.conditionally_mask(gk.scale(3.0), lambda step: step >= 1)
      >>> first, state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
      >>> assert first[0] == 0.0 and tx.update(jnp.ones(1), state)[0][0] == 3.0
    """
    return _conditionally(
        inner,
        should_transform_fn,
        forward_extra_args,
        lambda updates: jax.tree.map(jnp.zeros_like, updates),
    )


def _conditionally(
    inner: Any, condition: Callable[..., Any], forward: bool, otherwise: Callable[[Any], Any]
) -> Rule:
    check.part(inner=inner)
    if not callable(condition):
        check.fail(
            "needs a function of the step",
            repr(condition),
            path="should_transform_fn",
            error=TypeError,
        )
    rule = inner.rule

    def update(
        updates: Any, memory: Any, params: Any, *, step: Any, leaves: Any, **extras: Any
    ) -> Any:
        state = memory["inner"]

        def take(operands: Any) -> Any:
            updates, state = operands
            new, kept = rule.update(
                updates, state.inner, params, **extras, leaves=leaves, step=state.step
            )
            return jax.tree.map(lambda n, u: n.astype(u.dtype), new, updates), State(
                numerics.increment(state.step), kept
            )

        def leave(operands: Any) -> Any:
            updates, state = operands
            return otherwise(updates), state

        wanted = jnp.asarray(condition(step, **(extras if forward else {})))
        check.flag(wanted, "should_transform_fn")
        updates, state = lax.cond(wanted, take, leave, (updates, state))
        return updates, {"inner": state}

    return Rule(
        lambda params, *, leaves: {"inner": start(inner, params, leaves)},
        update,
        evaluate=evaluation_inside(rule),
    )
