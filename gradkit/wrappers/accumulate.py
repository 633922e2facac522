"""Gradient accumulation: several micro-batches, one update.

| | |
|---|---|
| ``MultiSteps(opt, k)`` | gradients are averaged over k calls, then ``opt`` updates once |
| ``apply_every(k)`` | updates are summed over k calls, then emitted |

A call that only accumulates costs the accumulation alone: under ``tx.apply`` (and ``make_step``)
the parameters are not touched.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _shards as shards
from gradkit import _tree as tree
from gradkit._entry import ANYTHING, extras_taken
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._schedule import rate_at
from gradkit._transform import Transform, transform
from gradkit.typing import Params, Updates


@transform
def MultiSteps(
    opt: Transform,
    every_k_schedule: int | Callable[[jax.Array], Any],
    use_grad_mean: bool = True,
    should_skip_update_fn: Callable[..., tuple[Any, Any]] | None = None,
    accumulator_dtype: jax.typing.DTypeLike = jnp.float32,
) -> Rule:
    """Accumulate gradients over k calls, then update once with their mean or sum.

    **Update rule** a ← a + g on every call; on every k-th, u = opt(a / k) (or opt(a)) and a ← 0; on
    the others u = 0. With clipping inside, k equal micro-batches make exactly the update of their
    union. The clock of ``opt`` counts its own updates: a schedule inside advances once in k calls.
    A transform inside that takes the loss gets, as ``value``, that of the union, accumulated as the
    gradients are. Other extra arguments are those of the k-th call.

    **State** ``opt`` (a ``State``), ``accumulated`` (``accumulator_dtype`` or wider; 4 bytes per
    parameter), ``mini_step``, ``updated`` (see ``has_updated``), ``skip_state``, what
    ``should_skip_update_fn`` returned, and, where a transform inside takes it, ``value``.

    Args:
      opt: the inner transform.
      every_k_schedule: k ≥ 1, or a function of the inner step that returns it.
      use_grad_mean: average rather than sum.
      should_skip_update_fn: ``(updates, gradient_step, params) -> (bool, tree)``; a call for which
        it returns True is left out of the sum and of the count. See ``skip_not_finite`` and
        ``skip_large_updates``.
      accumulator_dtype: the least dtype of the accumulator.

    Raises:
      ValueError: k < 1.
      TypeError: ``opt`` is not a transform, a dtype that is not one.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.MultiSteps(gk.sgd(1.0), 2)
      >>> first, state = tx.update(jnp.full(1, 1.0), tx.init(jnp.zeros(1)))
      >>> second, state = tx.update(jnp.full(1, 3.0), state)
      >>> assert first[0] == 0.0 and second[0] == -2.0 and gk.has_updated(state)

    After a NaN the accumulator recovers: the next sum starts at zero. An inner transform with state
    keeps the NaN in its moments, and all its later updates are NaN, unless ``guard`` wraps it or
    the bad micro-batch is skipped:

      >>> tx = gk.MultiSteps(gk.adam(0.1), 2, should_skip_update_fn=gk.skip_not_finite)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (jnp.nan, 1.0, 3.0):
      ...     update, state = tx.update(jnp.full(1, g), state)
      >>> assert jnp.allclose(update, -0.1) and gk.has_updated(state)

    **Differs from optax**: the inner transform runs once in k calls, not k times behind a select;
    the sum is divided once and starts at zero after a NaN; the loss is accumulated too, where a
    transform inside takes it.
    """
    if not callable(every_k_schedule):
        check.integer(1, every_k_schedule=every_k_schedule)
    least = check.floating_dtype(accumulator_dtype=accumulator_dtype)
    part = Part("opt", opt, clock=True)
    takes_loss = not extras_taken(opt).isdisjoint({"value", ANYTHING})

    def init(params: Any, *, context: Any) -> Any:
        zeros = tree.zeros_like(params)
        first = jnp.zeros((), jnp.int32)
        skip = should_skip_update_fn(zeros, first, params)[1] if should_skip_update_fn else ()
        loss = {"value": jnp.zeros((), numerics.scalar_dtype(params))} if takes_loss else {}
        return {
            "opt": part.init(params, context=context),
            "mini_step": first,
            "updated": jnp.zeros((), bool),
            "accumulated": jax.tree.map(lambda z: z.astype(numerics.wider(z.dtype, least)), zeros),
            "skip_state": numerics.strong(skip),
            **loss,
        }

    def mean(accumulated: Any, count: Any) -> Any:
        if not use_grad_mean:
            return accumulated
        count = count.astype(numerics.scalar_dtype(accumulated))
        return tree.map(lambda a: a / tree.factor_like(count, a), accumulated)

    def run(updates: Any, state: Any, params: Any, context: Any, in_place: bool) -> Any:
        inner, mini_step, skip_state = state["opt"], state["mini_step"], state["skip_state"]
        skipped = jnp.zeros((), bool)
        if should_skip_update_fn is not None:
            skipped, skip_state = should_skip_update_fn(updates, inner.step, params)
            check.flag(skipped, "should_skip_update_fn")
            skipped, skip_state = jnp.asarray(skipped), numerics.strong(skip_state)
        # The first call overwrites the last sum: clearing it after its use would be one more pass.
        first = mini_step == 0

        def add(a: Any, u: Any) -> Any:
            new = jnp.where(first, jnp.zeros_like(a), a) + u.astype(a.dtype)
            return jnp.where(skipped, a, new)

        accumulated = tree.map(add, state["accumulated"], updates)
        count = jnp.where(skipped, mini_step, mini_step + 1)
        k = jnp.asarray(rate_at(every_k_schedule, inner.step), jnp.int32)
        due = ~skipped & (count >= k)
        loss = {"value": state["value"]} if takes_loss else {}
        # A transform that requires the loss raises itself when it is missing.
        if takes_loss and context.extras.get("value") is not None:
            loss = {
                "value": add(state["value"], numerics.loss_like(context.extras["value"], updates))
            }
            context = context.extend(**mean(loss, count))
        result, inner = part.update_if(
            due,
            accumulated,
            inner,
            params,
            context=context,
            prepare=mean,
            aux=count,
            in_place=in_place,
        )
        if not in_place:
            result = jax.tree.map(lambda r, u: r.astype(u.dtype), result, updates)
        return result, {
            "opt": inner,
            "mini_step": jnp.where(due, 0, count),
            "updated": due,
            "accumulated": accumulated,
            "skip_state": skip_state,
            **loss,
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        return run(updates, state, params, context, in_place=False)

    def apply(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        return run(updates, state, params, context, in_place=True)

    return Rule(init, update, parts=(part,), apply=apply, sharded=True)


def skip_not_finite(
    updates: Updates, gradient_step: Any, params: Params | None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Skip a micro-batch whose gradient has a NaN or an infinity.

    For ``MultiSteps(should_skip_update_fn=skip_not_finite)``.

    Args:
      updates: the gradients.
      gradient_step: not used.
      params: not used.

    Returns:
      whether to skip, and ``should_skip`` and ``num_not_finite``, which are kept in the state.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> skip, record = gk.skip_not_finite([jnp.array([1.0, jnp.nan, jnp.inf])], 0, None)
      >>> assert skip and record["num_not_finite"] == 2
    """
    counts = [jnp.sum(~jnp.isfinite(u), dtype=jnp.int32) for u in jax.tree.leaves(updates)]
    bad = sum(shards.totals(counts), start=jnp.zeros((), jnp.int32))
    return bad > 0, {"should_skip": bad > 0, "num_not_finite": bad}


def skip_large_updates(
    updates: Updates, gradient_step: Any, params: Params | None, max_squared_norm: Any
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Skip a micro-batch whose gradient is too large, or NaN.

    For ``MultiSteps(should_skip_update_fn=partial(skip_large_updates, max_squared_norm=...))``.

    Args:
      updates: the gradients.
      gradient_step: not used.
      params: not used.
      max_squared_norm: the bound on ‖g‖², exclusive.

    Returns:
      whether to skip, and ``should_skip`` and ``norm_squared``, which are kept in the state.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> g = jnp.array([3.0, 4.0])
      >>> assert gk.skip_large_updates(g, 0, None, 25.0)[0]
      >>> assert not gk.skip_large_updates(g, 0, None, 25.1)[0]
    """
    norm = tree.norm(updates)
    large = ~(norm * norm < max_squared_norm)
    return large, {"should_skip": large, "norm_squared": norm * norm}


@transform
def apply_every(k: int = 1) -> Rule:
    """Accumulate updates and emit their sum every k calls.

    **Update rule** a ← a + g, from 0 again after every k-th call; on that call u = a, on the others
    u = 0.

    **State** ``accumulated``, 4 bytes per parameter, and ``position`` in the group of k, which does
    not shift when a wrapper advances its clock.

    Args:
      k: k ≥ 1.

    Raises:
      ValueError: k < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.apply_every(2)
      >>> first, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 0.0 and tx.update(jnp.ones(1), state)[0][0] == 2.0

    A clip *before* it clips every micro-gradient, which is not the clip of their sum: for that put
    the clip inside ``MultiSteps``.
    """
    check.integer(1, k=k)

    def update(updates: Any, state: Any, params: Any) -> Any:
        position = state["position"]
        first, last = position == 0, position + 1 >= jnp.asarray(k, jnp.int32)

        def leaf(u: Any, a: Any) -> Any:
            total = jnp.where(first, u, a + u)
            return jnp.where(last, total, 0.0), total

        updates, accumulated = tree.map(leaf, updates, state["accumulated"], outputs=2)
        return updates, {"accumulated": accumulated, "position": jnp.where(last, 0, position + 1)}

    def init(params: Any) -> Any:
        return {"accumulated": tree.zeros_like(params), "position": jnp.zeros((), jnp.int32)}

    return Rule(init, update, sharded=True)
