"""Several micro-batches, one step: the inner transform and its clock run once in k.

| | |
|---|---|
| ``MultiSteps(inner, k)`` | gradients are summed or averaged over k calls, then ``inner`` runs once |
| ``apply_every(k)`` | updates are summed over k calls, then let through |

A call that only accumulates costs the accumulation alone: under ``tx.apply`` (and ``make_step``) not even zeros are added.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import rate_at
from gradkit._transform import evaluation_inside, transform
from gradkit.transforms.inner import start, take_turn


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
    micro-batches make exactly the step of their union. The inner clock counts inner steps: a schedule inside moves once in k calls.

    **Remembers** ``inner`` (a ``State``), ``accumulated`` (``accumulator_dtype`` or wider; 4 bytes per parameter), ``mini_step``, and ``skip_state``, what
    ``should_skip_update_fn`` returned.

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

    **Differs** from optax: the inner transform runs once in k calls, not k times behind a select; the sum is divided once; a NaN spoils the
    step it belongs to and not all that follow.
    """
    check.part(opt=opt)
    if not callable(every_k_schedule):
        check.integer(1, every_k_schedule=every_k_schedule)
    least = jnp.dtype(accumulator_dtype)

    def init(params: Any, *, leaves: Any) -> Any:
        accumulated = jax.tree.map(lambda z: z.astype(numerics.wider(z.dtype, least)), tree.zeros_like(params))
        skip = should_skip_update_fn(tree.zeros_like(params), jnp.zeros((), jnp.int32), params)[1] if should_skip_update_fn else ()
        return {"inner": start(opt, params, leaves), "accumulated": accumulated, "mini_step": jnp.zeros((), jnp.int32), "skip_state": skip}

    def share(accumulated: Any, count: Any) -> Any:
        if not use_grad_mean:
            return accumulated
        return tree.map(lambda a: a / tree.factor_like(count.astype(numerics.scalar_dtype(accumulated)), a), accumulated)

    def step(updates: Any, memory: Any, params: Any, extras: dict[str, Any], in_place: bool) -> Any:
        state, mini_step, skip_state = memory["inner"], memory["mini_step"], memory["skip_state"]
        skipped = jnp.zeros((), bool)
        if should_skip_update_fn is not None:
            skipped, skip_state = should_skip_update_fn(updates, state.step, params)
            check.flag(skipped, "should_skip_update_fn")
        first = mini_step == 0  # a fresh sum overwrites the last one: clearing it when it was used would be one more pass

        def gather(a: Any, u: Any) -> Any:
            return jnp.where(skipped, a, jnp.where(first, jnp.zeros_like(a), a) + u.astype(a.dtype))

        accumulated = tree.map(gather, memory["accumulated"], updates)
        count = jnp.where(skipped, mini_step, mini_step + 1)
        due = ~skipped & (count >= jnp.asarray(rate_at(every_k_schedule, state.step), jnp.int32))
        result, state, _ = take_turn(due, opt, state, accumulated, params, extras, in_place=in_place, prepare=share, aux=count)
        if not in_place:
            result = jax.tree.map(lambda r, u: r.astype(u.dtype), result, updates)
        return result, {"inner": state, "accumulated": accumulated, "mini_step": jnp.where(due, 0, count), "skip_state": skip_state}

    return Rule(
        init,
        lambda updates, memory, params, **extras: step(updates, memory, params, extras, in_place=False),
        evaluate=evaluation_inside(opt.rule),
        apply=lambda updates, memory, params, **extras: step(updates, memory, params, extras, in_place=True),
    )


def has_updated(state: Any) -> Any:
    """Whether the last call of a ``MultiSteps`` let its inner transform take a step.

    Args:
      state: of the ``MultiSteps``, or of a chain with one in it.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.MultiSteps(gk.sgd(1.0), 2)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
      >>> assert not gk.has_updated(state)
    """
    memory = next((kept for kept in state.memory.values() if isinstance(kept, dict) and "mini_step" in kept), None)
    if memory is None:
        check.fail("has_updated needs the state of a MultiSteps", f"a state of {sorted(state.memory)}", path="state")
    return (memory["mini_step"] == 0) & (memory["inner"].step > 0)


def skip_not_finite(updates: Any, gradient_step: Any, params: Any) -> tuple[Any, dict[str, Any]]:
    """Skip a micro-batch whose gradient holds a NaN or an infinity: for ``MultiSteps(should_skip_update_fn=...)``.

    Returns:
      whether to skip, and ``should_skip`` and ``num_not_finite`` for the record.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> skip, record = gk.skip_not_finite([jnp.array([1.0, jnp.nan, jnp.inf])], 0, None)
      >>> assert skip and record["num_not_finite"] == 2
    """
    bad = sum((jnp.sum(~jnp.isfinite(u), dtype=jnp.int32) for u in jax.tree.leaves(updates)), start=jnp.zeros((), jnp.int32))
    return bad > 0, {"should_skip": bad > 0, "num_not_finite": bad}


def skip_large_updates(updates: Any, gradient_step: Any, params: Any, max_squared_norm: Any) -> tuple[Any, dict[str, Any]]:
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

    **Remembers** ``accumulated``: 4 bytes per parameter.

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

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        first, last = step % k == 0, (step + 1) % k == 0

        def leaf(u: Any, a: Any) -> Any:
            total = jnp.where(first, u, a + u)
            return jnp.where(last, total, 0.0), total

        updates, accumulated = tree.map(leaf, updates, memory["accumulated"], outputs=2)
        return updates, {"accumulated": accumulated}

    return Rule(lambda params: {"accumulated": tree.zeros_like(params)}, update)
