"""Several micro-batches, one step: the inner transform and its clock run once in k.

| | |
|---|---|
| ``MultiSteps(inner, k)`` | gradients are summed or averaged over k calls, then ``inner`` runs once |
| ``apply_every(k)`` | updates are summed over k calls, then let through |

A call that only accumulates costs the accumulation alone: under ``tx.apply`` (and ``make_step``) not even zeros are added.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule, State, evaluation_inside
from gradkit._schedule import rate_at
from gradkit._transform import asked_by, transform
from gradkit.wrappers._inner import loss_like, start, strong, take_turn


@transform(keep=("every_k_schedule",))
def MultiSteps(
    opt: Any,
    every_k_schedule: Any,
    use_grad_mean: bool = True,
    should_skip_update_fn: Callable[..., Any] | None = None,
    accumulator_dtype: Any = jnp.float32,
) -> Rule:
    """Accumulate gradients over k calls, then let the inner transform take one step.

    **Rule** a ← a + g on every call; on every k-th, u = inner(a / k) (or inner(a)), a ← 0; on the others u = 0. With clipping inside, k equal
    micro-batches make exactly the step of their union. The inner clock counts inner steps: a schedule inside moves once in k calls. A link
    inside that asks for the loss gets, as ``value``, that of the union: accumulated as the gradients are. Other extras are those of the k-th call.

    **Remembers** ``inner`` (a ``State``), ``accumulated`` (``accumulator_dtype`` or wider; 4 bytes per parameter), ``mini_step``, ``updated`` (see
    ``has_updated``), ``skip_state``, what ``should_skip_update_fn`` returned, and, where a link inside asks for it, ``value``.

    Args:
      opt: the inner transform.
      every_k_schedule: k ≥ 1, or a function of the inner step that gives it.
      use_grad_mean: average rather than sum.
      should_skip_update_fn: ``(updates, gradient_step, params) -> (bool, tree)``; a call it says yes to is left out as if it had not been, see
        ``skip_not_finite`` and ``skip_large_updates``.
      accumulator_dtype: the least dtype of the accumulator.

    Raises:
      ValueError: k < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.MultiSteps(gk.sgd(1.0), 2)
      >>> first, state = tx.update(jnp.full(1, 1.0), tx.init(jnp.zeros(1)))
      >>> second, state = tx.update(jnp.full(1, 3.0), state)
      >>> assert first[0] == 0.0 and second[0] == -2.0 and gk.has_updated(state)

    After a NaN the accumulator recovers: the next sum begins afresh. An inner transform with memory keeps the NaN in its moments, and all its
    steps are NaN from then on, unless ``guard`` stands around it or the bad micro-batch is left out:

      >>> tx = gk.MultiSteps(gk.adam(0.1), 2, should_skip_update_fn=gk.skip_not_finite)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (jnp.nan, 1.0, 3.0):
      ...     update, state = tx.update(jnp.full(1, g), state)
      >>> assert jnp.allclose(update, -0.1) and gk.has_updated(state)

    **Differs** from optax: the inner transform runs once in k calls, not k times behind a select; the sum is divided once, and begins afresh after
    a NaN; the loss is accumulated too, where a link inside asks for it.
    """
    check.part(opt=opt)
    if not callable(every_k_schedule):
        check.integer(1, every_k_schedule=every_k_schedule)
    least = jnp.dtype(accumulator_dtype)
    asks_loss = not asked_by(opt).isdisjoint({"value", "*"})  # *: whatever comes

    def init(params: Any, *, leaves: Any) -> Any:
        accumulated = jax.tree.map(
            lambda z: z.astype(numerics.wider(z.dtype, least)), tree.zeros_like(params)
        )
        skip = (
            should_skip_update_fn(tree.zeros_like(params), jnp.zeros((), jnp.int32), params)[1]
            if should_skip_update_fn
            else ()
        )
        clocks = {
            "inner": start(opt, params, leaves),
            "mini_step": jnp.zeros((), jnp.int32),
            "updated": jnp.zeros((), bool),
        }
        loss = {"value": jnp.zeros((), numerics.scalar_dtype(params))} if asks_loss else {}
        return {**clocks, "accumulated": accumulated, "skip_state": strong(skip), **loss}

    def share(accumulated: Any, count: Any) -> Any:
        if not use_grad_mean:
            return accumulated
        return tree.map(
            lambda a: a / tree.factor_like(count.astype(numerics.scalar_dtype(accumulated)), a),
            accumulated,
        )

    def step(updates: Any, memory: Any, params: Any, extras: dict[str, Any], in_place: bool) -> Any:
        state, mini_step, skip_state = memory["inner"], memory["mini_step"], memory["skip_state"]
        skipped = jnp.zeros((), bool)
        if should_skip_update_fn is not None:
            skipped, skip_state = should_skip_update_fn(updates, state.step, params)
            check.flag(skipped, "should_skip_update_fn")
            skipped, skip_state = jnp.asarray(skipped), strong(skip_state)
        first = (
            mini_step == 0
        )  # a fresh sum overwrites the last one: clearing it when it was used would be one more pass

        def gather(a: Any, u: Any) -> Any:
            return jnp.where(skipped, a, jnp.where(first, jnp.zeros_like(a), a) + u.astype(a.dtype))

        accumulated = tree.map(gather, memory["accumulated"], updates)
        count = jnp.where(skipped, mini_step, mini_step + 1)
        due = ~skipped & (count >= jnp.asarray(rate_at(every_k_schedule, state.step), jnp.int32))
        loss = {"value": memory["value"]} if asks_loss else {}
        if (
            asks_loss and extras.get("value") is not None
        ):  # who needs it says so when it is not there
            loss = {"value": gather(memory["value"], loss_like(extras["value"], updates))}
            extras = extras | share(loss, count)
        result, state = take_turn(
            due,
            opt,
            state,
            accumulated,
            params,
            extras,
            in_place=in_place,
            prepare=share,
            aux=count,
        )
        if not in_place:
            result = jax.tree.map(lambda r, u: r.astype(u.dtype), result, updates)
        clocks = {"inner": state, "mini_step": jnp.where(due, 0, count), "updated": due}
        return result, {**clocks, "accumulated": accumulated, "skip_state": skip_state, **loss}

    return Rule(
        init,
        lambda updates, memory, params, **extras: step(
            updates, memory, params, extras, in_place=False
        ),
        evaluate=evaluation_inside(opt.rule),
        apply=lambda updates, memory, params, **extras: step(
            updates, memory, params, extras, in_place=True
        ),
    )


def has_updated(state: Any) -> Any:
    """Whether the last call of a ``MultiSteps`` let its inner transform take a step; False for a call that it, or a guard around it, skipped.

    Args:
      state: of the ``MultiSteps``, or of a transform with one somewhere in it.

    Raises:
      ValueError: a state with none in it, or with several.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.MultiSteps(gk.sgd(1.0), 2)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
      >>> assert not gk.has_updated(state)
    """
    found = list(_verdicts(state, jnp.ones((), bool)))
    if not found:
        got = f"a state of {sorted(state.inner)}" if isinstance(state, State) else repr(state)
        check.fail("has_updated needs the state of a MultiSteps", got, path="state")
    if len(found) > 1:
        check.fail(
            "has_updated needs the state of one MultiSteps",
            f"a state with {len(found)}",
            "Pass the part of the state with the one meant",
            path="state",
        )
    return found[0]


def _verdicts(part: Any, run: Any) -> Iterator[Any]:
    """For each ``MultiSteps`` that remembers here, the outermost first, whether it took a step in the last call, if it was run at all."""
    if isinstance(part, dict):
        if {"inner", "accumulated", "mini_step", "updated"} <= part.keys():
            yield run & part["updated"]
            return
        if "last_skipped" in part:
            run = run & ~part["last_skipped"]
    if isinstance(part, (dict, tuple, list)):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from _verdicts(inner, run)


def skip_not_finite(updates: Any, gradient_step: Any, params: Any) -> tuple[Any, dict[str, Any]]:
    """Skip a micro-batch whose gradient holds a NaN or an infinity: for ``MultiSteps(should_skip_update_fn=...)``.

    Returns:
      whether to skip, and ``should_skip`` and ``num_not_finite`` for the record.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> skip, record = gk.skip_not_finite([jnp.array([1.0, jnp.nan, jnp.inf])], 0, None)
      >>> assert skip and record["num_not_finite"] == 2
    """
    bad = sum(
        (jnp.sum(~jnp.isfinite(u), dtype=jnp.int32) for u in jax.tree.leaves(updates)),
        start=jnp.zeros((), jnp.int32),
    )
    return bad > 0, {"should_skip": bad > 0, "num_not_finite": bad}


def skip_large_updates(
    updates: Any, gradient_step: Any, params: Any, max_squared_norm: Any
) -> tuple[Any, dict[str, Any]]:
    """Skip a micro-batch whose gradient is too large, or NaN: for ``MultiSteps(should_skip_update_fn=partial(...))``.

    Args:
      updates: the gradients.
      gradient_step: not used.
      params: not used.
      max_squared_norm: the bound on ‖g‖², exclusive.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.skip_large_updates(jnp.array([3.0, 4.0]), 0, None, 25.0)[0] and not gk.skip_large_updates(jnp.array([3.0, 4.0]), 0, None, 25.1)[0]
    """
    norm = tree.norm(updates)
    large = ~(norm * norm < max_squared_norm)
    return large, {"should_skip": large, "norm_squared": norm * norm}


@transform
def apply_every(k: int = 1) -> Rule:
    """Hold updates back and let their sum through on every k-th call.

    **Rule** a ← a + g, from 0 again after every k-th call; on that call u = a, on the others u = 0.

    **Remembers** ``accumulated``, 4 bytes per parameter, and ``position`` in the group of k: a clock that a wrapper moves on does not shift it.

    Args:
      k: k ≥ 1.

    Raises:
      ValueError: k < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.apply_every(2)
      >>> first, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 0.0 and tx.update(jnp.ones(1), state)[0][0] == 2.0

    A clip *before* it clips every micro-gradient, which is not the clip of their sum: for that put the clip inside ``MultiSteps``.
    """
    check.integer(1, k=k)

    def update(updates: Any, memory: Any, params: Any) -> Any:
        position = memory["position"]
        first, last = position == 0, position + 1 >= jnp.asarray(k, jnp.int32)

        def leaf(u: Any, a: Any) -> Any:
            total = jnp.where(first, u, a + u)
            return jnp.where(last, total, 0.0), total

        updates, accumulated = tree.map(leaf, updates, memory["accumulated"], outputs=2)
        return updates, {"accumulated": accumulated, "position": jnp.where(last, 0, position + 1)}

    return Rule(
        lambda params: {
            "accumulated": tree.zeros_like(params),
            "position": jnp.zeros((), jnp.int32),
        },
        update,
    )
