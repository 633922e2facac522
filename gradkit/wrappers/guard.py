"""Skipping bad updates: gradients that are not finite, and jumps of the gradient norm or the loss.

| | the update is applied when | otherwise | clock of ``inner`` |
|---|---|---|---|
| ``guard(inner, ...)`` | all is finite, norm and loss within bounds | nothing changes | waits |
| ``apply_if_finite(inner, n)`` | g is finite, or n skips are spent | nothing changes | waits |
"""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _shards as shards
from gradkit import _tree as tree
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.typing import Rate

_BUDGET = ("apply", "skip", "zero_nans")


@transform
def guard(
    inner: Transform,
    max_consecutive_skips: int | None = None,
    *,
    on_budget_exhausted: str = "apply",
    check_updates: bool = True,
    max_norm: Rate | None = None,
    norm_sigma: Rate | None = None,
    max_value: Rate | None = None,
    value_sigma: Rate | None = None,
    decay: Rate = 0.98,
    patience: int = 10,
    count_skipped: bool = False,
) -> Rule:
    """Skip updates that are non-finite or unusually large.

    **Update rule** an update is good when all gradients (and, with ``check_updates``, all updates)
    are finite; ‖g‖ ≤ ``max_norm``; and ‖g‖ ≤ μ + ``norm_sigma`` · σ with μ, σ the running mean and
    deviation of the norms of the applied updates, where finite; likewise the loss with
    ``max_value`` and ``value_sigma``. Otherwise the updates are zero and the inner state does not
    change. After ``max_consecutive_skips`` skips in a row the guard stops skipping: updates are
    applied as ``on_budget_exhausted`` says, until one is good again.

    **State** ``inner`` (a ``State``), ``skipped`` (the total), ``consecutive`` (bad calls in a row,
    skipped or not), ``last_skipped``, and, with a σ, ``norms`` or ``values`` (mean, variance,
    count). ``logged_values(state)`` includes the first two counts.

    Args:
      inner: the transform to guard.
      max_consecutive_skips: a budget n ≥ 0; None is no limit.
      on_budget_exhausted: ``"apply"`` applies the update as it is, so that what is not finite
        reaches the weights (as in optax); ``"zero_nans"`` applies it with every element of the
        gradient that is not finite replaced by zero, unless its updates are not finite even so;
        ``"skip"`` goes on skipping: the budget has no effect, and ``consecutive`` is there for you
        to stop by.
      check_updates: check the updates too, not the gradients alone (a second pass over them).
      max_norm: bound on the norm of the gradient, > 0.
      norm_sigma: deviations above the running mean at which the norm has jumped, > 0.
      max_value: bound on the loss; requires the extra argument ``value``.
      value_sigma: as ``norm_sigma``, of the loss; requires the extra argument ``value``.
      decay: decay of the running means, in [0, 1).
      patience: updates that must be applied before a σ is used, ≥ 1.
      count_skipped: whether a skipped call counts for the schedules inside. Before the first
        applied update it does not: transforms recognize their first call by step 0.

    Raises:
      ValueError: a bound ≤ 0, a negative budget, an unknown ``on_budget_exhausted``, a ``value``
        that is not one number.
      TypeError: no ``value`` where it is required.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.guard(gk.adam(0.1), max_norm=100.0)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, jnp.nan, 1e6, 1.0):
      ...     update, state = tx.update(jnp.full(1, g), state)
      >>> inner = state.inner["guard"]
      >>> assert inner["skipped"] == 2 and inner["inner"].step == 2 and state.step == 4
      >>> assert jnp.allclose(update, -0.1)
    """
    if max_consecutive_skips is not None:
        check.integer(0, max_consecutive_skips=max_consecutive_skips)
    check.integer(1, patience=patience)
    check.one_of(_BUDGET, on_budget_exhausted=on_budget_exhausted)
    check.decay(decay=decay)
    bounds = {"max_norm": max_norm, "norm_sigma": norm_sigma, "value_sigma": value_sigma}
    check.positive(**{name: bound for name, bound in bounds.items() if bound is not None})
    if max_value is not None:
        check.finite(max_value=max_value)
    sigmas = {"norms": norm_sigma, "values": value_sigma}
    tracked = [name for name, sigma in sigmas.items() if sigma is not None]
    takes_loss = value_sigma is not None or max_value is not None
    part = Part("inner", inner, clock=True)

    def init(params: Any, *, context: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        zero, count = jnp.zeros((), dtype), jnp.zeros((), jnp.int32)
        state = {
            "inner": part.init(params, context=context),
            "skipped": count,
            "consecutive": count,
            "last_skipped": jnp.zeros((), bool),
        }
        moments = {"mean": zero, "variance": zero, "count": count}
        return state | {name: dict(moments) for name in tracked}

    def judge(updates: Any, state: Any, value: Any) -> tuple[Any, dict[str, Any]]:
        """Whether the update is good, and the numbers that the bounds are about."""
        seen = {}
        if norm_sigma is not None or max_norm is not None:
            seen["norms"] = tree.norm(updates)
        if takes_loss:
            seen["values"] = numerics.loss_like(value, updates)
        good = _all_finite(updates)
        for name, bound in (("norms", max_norm), ("values", max_value)):
            if bound is not None:
                good &= seen[name] <= bound
        for name in tracked:
            jumped = _jumped(seen[name], state[name], sigmas[name], patience)
            good &= jnp.isfinite(seen[name]) & ~jumped
        return good, seen

    def prepare(updates: Any, aux: Any) -> Any:
        if on_budget_exhausted != "zero_nans":
            return updates
        return jax.tree.map(lambda u: jnp.where(jnp.isfinite(u), u, jnp.zeros_like(u)), updates)

    def run(updates: Any, state: Any, params: Any, context: Any, value: Any, in_place: bool) -> Any:
        inner_state = state["inner"]
        good, seen = judge(updates, state, value)
        finite = jnp.ones((), bool)
        if check_updates:
            # A pass of its own that writes nothing but the verdict: choosing between two states
            # afterwards would write both to memory.
            new, _ = part.update(prepare(updates, None), inner_state, params, context=context)
            finite = _all_finite(new)
        good, applied = good & finite, good & finite
        if max_consecutive_skips is not None and on_budget_exhausted != "skip":
            exhausted = state["consecutive"] >= jnp.asarray(max_consecutive_skips, jnp.int32)
            applied |= exhausted if on_budget_exhausted == "apply" else exhausted & finite
        step = inner_state.step
        result, inner_state = part.update_if(
            applied,
            updates,
            inner_state,
            params,
            context=context,
            prepare=prepare,
            in_place=in_place,
        )
        if count_skipped:
            counted = jnp.where(applied | (step > 0), numerics.increment(step), step)
            inner_state = inner_state._replace(step=counted)
        skipped, consecutive = state["skipped"], state["consecutive"]
        after = {
            "inner": inner_state,
            "skipped": jnp.where(applied, skipped, numerics.increment(skipped)),
            "consecutive": jnp.where(good, 0, numerics.increment(consecutive)),
            "last_skipped": ~applied,
        }
        moments = {name: _observe(seen[name], state[name], decay, applied) for name in tracked}
        return result, after | moments

    def rule_of(in_place: bool) -> Any:
        # The loss is a required extra argument only where a bound is about it.
        def with_loss(updates: Any, state: Any, params: Any, *, value: Any, context: Any) -> Any:
            return run(updates, state, params, context, value, in_place)

        def without_loss(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
            return run(updates, state, params, context, None, in_place)

        return with_loss if takes_loss else without_loss

    return Rule(
        init, rule_of(in_place=False), parts=(part,), apply=rule_of(in_place=True), sharded=True
    )


@transform
def apply_if_finite(inner: Transform, max_consecutive_errors: int) -> Transform:
    """Skip updates whose gradient is not finite, up to a number of skips in a row.

    **Update rule** ``guard(inner, max_consecutive_errors, check_updates=False)``: u = 0 and the
    inner state unchanged when g is not finite and was not for at most n calls in a row, this one
    included; else u = inner(g), until a finite gradient resets the count.

    **State** as ``guard``.

    Args:
      inner: a transform.
      max_consecutive_errors: n ≥ 0; after n skips in a row every update is applied, until a
        gradient is finite.

    Raises:
      ValueError: n < 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.apply_if_finite(gk.sgd(1.0), 5)
      >>> updates, state = tx.update(jnp.full(1, jnp.inf), tx.init(jnp.zeros(1)))
      >>> assert updates[0] == 0.0 and state.inner["apply_if_finite"]["last_skipped"]

    **Differs from optax**: the state has other fields, and its types do not change after ``init``.
    """
    check.integer(0, max_consecutive_errors=max_consecutive_errors)
    return guard(inner, max_consecutive_errors, on_budget_exhausted="apply", check_updates=False)


def _all_finite(updates: Any) -> Any:
    """Whether every element is finite."""
    leaves = [jnp.all(jnp.isfinite(u)) for u in jax.tree.leaves(updates)]
    if not leaves:
        return jnp.ones((), bool)
    return ~shards.anywhere(~jnp.all(jnp.stack(leaves)))


def _jumped(x: Any, past: dict[str, Any], sigma: Any, patience: int) -> Any:
    """Whether ``x`` is more than ``sigma`` deviations above the running mean, once there is one."""
    bound = past["mean"] + tree.factor_like(sigma, x) * numerics.sqrt(past["variance"])
    return (past["count"] >= patience) & (x > bound)


def _observe(x: Any, past: dict[str, Any], decay: Any, applied: Any) -> dict[str, Any]:
    """The running mean and variance with ``x``: equal weights until 1 / t < 1 − decay.

    An applied update may bring a number that is not finite, or too large to square: it would stay
    in the mean.
    """
    count = numerics.increment(past["count"])
    share = jnp.maximum(1 / count.astype(x.dtype), 1 - tree.factor_like(decay, x))
    apart = x - past["mean"]
    variance = (1 - share) * (past["variance"] + share * apart * apart)
    new = {"mean": past["mean"] + share * apart, "variance": variance, "count": count}
    kept = applied & jnp.isfinite(variance)
    return {name: jnp.where(kept, new[name], past[name]) for name in past}
