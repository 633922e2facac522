"""Guard."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule, evaluation_inside
from gradkit._transform import Transform, transform
from gradkit.wrappers._inner import loss_like, rehearse, start, take_turn

_AFTER = ("apply", "skip", "zero_nans")


@transform
def guard(
    inner: Any,
    max_consecutive_skips: int | None = None,
    *,
    on_budget_exhausted: str = "apply",
    check_updates: bool = True,
    max_norm: Any = None,
    norm_sigma: Any = None,
    max_value: Any = None,
    value_sigma: Any = None,
    decay: Any = 0.98,
    patience: int = 10,
    count_skipped: bool = False,
) -> Rule:
    """Take a step only when it is sound.

    **Rule** the step is sound when all gradients (and, with ``check_updates``, all updates) are finite; ‖g‖ ≤ ``max_norm``; ‖g‖ ≤ μ + ``norm_sigma`` · σ with
    μ, σ the running mean and deviation of the norms of the steps taken, forced ones too, where finite; likewise the loss with ``max_value``
    and ``value_sigma``. When it is not, updates are zero and the inner memory stays as it was. After ``max_consecutive_skips`` of these in a
    row the budget is spent, and every step is forced, in the way that ``on_budget_exhausted`` says, until a sound one comes.

    **Remembers** ``inner`` (a ``State``), ``skipped`` (all so far), ``consecutive`` (calls in a row until now that were not sound, taken or not),
    ``last_skipped``, and, with a σ-rule, ``norms`` or ``values`` (mean, variance, count). ``logged_values(state)`` shows the first two counts.

    Args:
      inner: the transform to guard.
      max_consecutive_skips: a budget n ≥ 0; None is no limit, and ``on_budget_exhausted`` means nothing.
      on_budget_exhausted: when the budget is spent: ``"apply"`` the step as it is, so that what is not finite reaches the weights (optax's way); ``"zero_nans"``: take it
        with every number of the gradient that is not finite replaced by zero, unless its updates are not finite even so; go on to ``"skip"``: the budget
        limits nothing, and ``consecutive`` is there for you to stop by.
      check_updates: look at the updates too, not at the gradients alone (a second pass over them).
      max_norm: bound on the norm of the gradient, > 0, a number or a schedule.
      norm_sigma: deviations above the running mean at which the norm has jumped, > 0.
      max_value: bound on the loss; asks for ``value``.
      value_sigma: as ``norm_sigma``, of the loss; asks for ``value``.
      decay: of the running means, in [0, 1).
      patience: how many steps must be taken before a σ-rule judges.
      count_skipped: whether a skipped call counts for the schedules inside. Until a first step is taken it does not: links know their first call by step 0.

    Raises:
      ValueError: a bound ≤ 0, a negative budget, an unknown ``on_budget_exhausted``, a ``value`` that is not one number.
      TypeError: no ``value`` where one is asked for.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.guard(gk.adam(0.1), max_norm=100.0)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, jnp.nan, 1e6, 1.0):
      ...     update, state = tx.update(jnp.full(1, g), state)
      >>> memory = state.inner["guard"]
      >>> assert memory["skipped"] == 2 and memory["inner"].step == 2 and state.step == 4 and jnp.allclose(update, -0.1)
    """
    check.part(inner=inner)
    if max_consecutive_skips is not None:
        check.integer(0, max_consecutive_skips=max_consecutive_skips)
    check.integer(1, patience=patience)
    check.one_of(_AFTER, on_budget_exhausted=on_budget_exhausted)
    check.decay(decay=decay)
    bounds = {"max_norm": max_norm, "norm_sigma": norm_sigma, "value_sigma": value_sigma}
    check.positive(**{name: bound for name, bound in bounds.items() if bound is not None})
    judged = {"norms": norm_sigma, "values": value_sigma}
    watched = [name for name, sigma in judged.items() if sigma is not None]
    asks_loss = value_sigma is not None or max_value is not None

    def init(params: Any, *, leaves: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        counts = {name: jnp.zeros((), jnp.int32) for name in ("skipped", "consecutive")}
        memory = {
            "inner": start(inner, params, leaves),
            **counts,
            "last_skipped": jnp.zeros((), bool),
        }
        return memory | {
            name: {
                "mean": jnp.zeros((), dtype),
                "variance": jnp.zeros((), dtype),
                "count": jnp.zeros((), jnp.int32),
            }
            for name in watched
        }

    def judge(updates: Any, memory: Any, extras: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Whether the step is sound, and the numbers that the bounds are about."""
        seen = {}
        if norm_sigma is not None or max_norm is not None:
            seen["norms"] = tree.norm(updates)
        if asks_loss:
            seen["values"] = loss_like(extras["value"], updates)
        sound = _all_finite(updates)
        for name, bound in (("norms", max_norm), ("values", max_value)):
            if bound is not None:
                sound &= seen[name] <= bound
        for name in watched:
            sound &= jnp.isfinite(seen[name]) & ~_jumped(
                seen[name], memory[name], judged[name], patience
            )
        return sound, seen

    def prepare(updates: Any, aux: Any) -> Any:
        if on_budget_exhausted != "zero_nans":
            return updates
        return jax.tree.map(lambda u: jnp.where(jnp.isfinite(u), u, jnp.zeros_like(u)), updates)

    def step(updates: Any, memory: Any, params: Any, extras: dict[str, Any], in_place: bool) -> Any:
        state = memory["inner"]
        sound, seen = judge(updates, memory, extras)
        fine = jnp.ones((), bool)
        if check_updates:
            fine = _all_finite(rehearse(inner, state, prepare(updates, None), params, extras))
        sound, taken = sound & fine, sound & fine
        if max_consecutive_skips is not None and on_budget_exhausted != "skip":
            spent = memory["consecutive"] >= jnp.asarray(max_consecutive_skips, jnp.int32)
            taken |= spent if on_budget_exhausted == "apply" else spent & fine
        clock = state.step
        result, state = take_turn(
            taken, inner, state, updates, params, extras, in_place=in_place, prepare=prepare
        )
        if count_skipped:
            state = state._replace(
                step=jnp.where(taken | (clock > 0), numerics.increment(clock), clock)
            )
        kept = {
            "inner": state,
            "skipped": jnp.where(taken, memory["skipped"], numerics.increment(memory["skipped"])),
            "consecutive": jnp.where(sound, 0, numerics.increment(memory["consecutive"])),
            "last_skipped": ~taken,
        }
        return result, kept | {
            name: _observe(seen[name], memory[name], decay, taken) for name in watched
        }

    def update(updates: Any, memory: Any, params: Any, **extras: Any) -> Any:
        return step(updates, memory, params, extras, in_place=False)

    def update_by_loss(updates: Any, memory: Any, params: Any, *, value: Any, **extras: Any) -> Any:
        return update(updates, memory, params, value=value, **extras)

    return Rule(
        init,
        update_by_loss if asks_loss else update,  # what is asked for is read from the signature
        evaluate=evaluation_inside(inner.rule),
        apply=lambda updates, memory, params, **extras: step(
            updates, memory, params, extras, in_place=True
        ),
    )


@transform
def apply_if_finite(inner: Any, max_consecutive_errors: int) -> Transform:
    """Skip steps whose gradient is not finite, until there were too many in a row.

    **Rule** ``guard(inner, max_consecutive_errors, on_budget_exhausted="apply", check_updates=False)``: u = 0, and the inner memory as it was, when g is not finite
    and was so for at most n calls in a row, this one included; else u = inner(g), until a finite gradient begins the count anew.

    **Remembers** as ``guard``.

    Args:
      inner: a transform.
      max_consecutive_errors: n ≥ 0; after so many skips in a row every step is taken all the same, until a finite gradient comes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.apply_if_finite(gk.sgd(1.0), 5)
      >>> updates, state = tx.update(jnp.full(1, jnp.inf), tx.init(jnp.zeros(1)))
      >>> assert updates[0] == 0.0 and state.inner["apply_if_finite"]["last_skipped"]

    **Differs** from optax in the fields of the state, whose types stay what they were at ``init``.
    """
    return guard(inner, max_consecutive_errors, on_budget_exhausted="apply", check_updates=False)


def _all_finite(updates: Any) -> Any:
    """Whether every number is finite."""
    leaves = [jnp.all(jnp.isfinite(u)) for u in jax.tree.leaves(updates)]
    return jnp.all(jnp.stack(leaves)) if leaves else jnp.ones((), bool)


def _jumped(x: Any, past: dict[str, Any], sigma: Any, patience: int) -> Any:
    """Whether ``x`` lies more than ``sigma`` deviations above the running mean, once enough was seen."""
    bound = past["mean"] + tree.factor_like(sigma, x) * numerics.sqrt(past["variance"])
    return (past["count"] >= patience) & (x > bound)


def _observe(x: Any, past: dict[str, Any], decay: Any, taken: Any) -> dict[str, Any]:
    """The running mean and variance with ``x``, equal weights until 1 / t < 1 − decay; unchanged when the step was not taken.

    A forced step may bring a number that is not finite, or too large to square: it would stay in the mean for ever.
    """
    count = numerics.increment(past["count"])
    share = jnp.maximum(1 / count.astype(x.dtype), 1 - tree.factor_like(decay, x))
    apart = x - past["mean"]
    new = {
        "mean": past["mean"] + share * apart,
        "variance": (1 - share) * (past["variance"] + share * apart * apart),
        "count": count,
    }
    return {
        name: jnp.where(taken & jnp.isfinite(new["variance"]), new[name], past[name])
        for name in past
    }
