"""A saved state taken into a changed optimizer: `restore_into`."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit._rule import State
from gradkit._transform import Transform
from gradkit.interop.inject import InjectHyperparamsState
from gradkit.interop.optax_fill import of_optax
from gradkit.interop.places import Found, as_state, joined, of_gradkit, places, steps_of
from gradkit.interop.renaming import begins, renamed, suggestions
from gradkit.interop.report import RestoreReport, Row
from gradkit.interop.slots import Slot, fill, slots_of, unflattened
from gradkit.interop.torch_states import Layout, is_torch, of_torch
from gradkit.interop.unseen import UNSEEN, log_unseen
from gradkit.typing import OptState, Params

LOSSES = ("fresh", "dropped", "converted")


def restore_into(
    tx: Transform,
    params: Params,
    saved: Any,
    *,
    strict: bool = True,
    allow: Collection[str] = (),
    rename: Mapping[str, str | None] | None = None,
    step: int | None = None,
    saved_tx: Transform | None = None,
    layout: Layout | None = None,
) -> tuple[OptState, RestoreReport]:
    """Take a saved optimizer state into a changed optimizer, with a report of every leaf.

    A leaf is taken if ``tx`` keeps one under the same path. It is converted if the dtype, the store
    or the devices have changed. What ``tx`` keeps beyond that is fresh, as ``tx.init`` makes it.
    What ``tx`` has no place for is dropped. A loss is refused, with the report in the message: a
    fresh or dropped leaf, or one rounded to fewer bits. Logged values are no loss.

    Args:
      tx: the transform with which the run goes on.
      params: the parameters, on the devices where the state is to be.
      saved: a `State`; the dicts of a checkpoint restored without a target; a state of optax with
        its classes (those that `from_optax_state` names); the ``state_dict`` of torch's Adam,
        AdamW or SGD.
      strict: refuse a loss. False allows all of them.
      allow: the losses that are not refused: ``"fresh"``, ``"dropped"``, ``"converted"``.
      rename: for states of gradkit, a dict from a path, or the beginning of one up to a dot, to its
        replacement: ``{"adam": "scale_by_adam"}``. The longest match applies; "" is the beginning
        of all, as in ``{"": "guard.inner"}`` for a wrapper that was added; None drops the leaf.
      step: the number of completed updates, if the saved state does not hold it.
      saved_tx: the transform that made the saved state, to decode what a store kept of it. Without
        it, arrays of the same paths, shapes and dtypes are those of the same store.
      layout: for torch, a function from a dict of arrays, by torch's names of the parameters or
        else by their numbers, to a tree like ``params``. It is not needed if the names are the
        paths of ``params``, or if ``params`` is a list in torch's order.

    Returns:
      ``(state, report)``: the state for ``tx.update``, and an ``interop.RestoreReport``.

    Raises:
      ValueError: a loss that is not allowed, with the report in the message; counts of optax that
        differ; an entry of ``rename`` that matches nothing; an unknown order of torch's parameters.
      TypeError: not a saved state.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> w = {"w": jnp.ones(2)}
      >>> _, saved = gk.adam(0.1).update(w, gk.adam(0.1).init(w), w)
      >>> changed = gk.chain(gk.clip(1.0), gk.adam(0.1, mu_dtype="bfloat16"), gk.weight_ema(0.9))
      >>> state, report = gk.restore_into(changed, w, saved, allow=("fresh", "converted"))
      >>> print(report)
      restore_into: 4 taken, 1 converted, 2 fresh, 0 dropped
        taken      step
        taken      scale_by_adam.moment.log_unseen
        taken      scale_by_adam.preconditioner.average.w
        taken      scale_by_adam.preconditioner.log_unseen
        converted  scale_by_adam.moment.average.w           float32 to bfloat16
        fresh      weight_ema.average.w                     not in the saved state
        fresh      weight_ema.log_unseen                    not in the saved state
      >>> assert state.step == 1 and (state.inner["weight_ema"]["average"]["w"] == 0).all()
    """
    with check.inside("restore_into"):
        check.boolean(strict=strict)
        allowed = set(LOSSES) if not strict else _allowed(allow)
        state, report = restored(tx, params, saved, rename, step, saved_tx, layout)
        renames = suggestions(report) if as_state(saved) is not None else ()
        refuse_losses(report, allowed, tuple(renames))
        return state, report


def restored(
    tx: Transform,
    params: Params,
    saved: Any,
    rename: Mapping[str, str | None] | None = None,
    step: int | None = None,
    saved_tx: Transform | None = None,
    layout: Layout | None = None,
) -> tuple[Any, RestoreReport]:
    """The state and the report, whatever is lost."""
    for name, value in {"tx": tx, "saved_tx": saved_tx}.items():
        if not isinstance(value, Transform) and (value is not None or name == "tx"):
            fix = check.uncalled(value)
            problem = f"{name}={check.shown(value)} is not a gradkit transform"
            check.refuse(problem, fix=fix, error=TypeError)
    check.tree_of_arrays(params, "params")
    if step is not None:
        check.integer(0, step=step)
    made = tx.init(params)
    template = State(made.step, made.inner)
    decoded: dict[str, tuple[Found, list[str]]] = {}
    rows: list[Row] = []
    state = as_state(saved)
    if state is not None:
        found, decoded = of_gradkit(state, saved_tx, params)
        counts = {joined(clock, "step") for clock in steps_of(state)}
        found, decoded, rows = renamed(found, decoded, rename, counts, set(steps_of(template)))
    else:
        if rename is not None:
            fix = "A state of optax or torch finds its place by what it keeps"
            check.refuse(f"rename={rename!r} is for states of gradkit", fix=fix)
        if is_torch(saved):
            saved = of_torch(saved, params, layout)
        elif not isinstance(saved, tuple):
            problem = f"a {type(saved).__name__} is not a saved state"
            expected = "a State, a state of optax with its classes, or a state_dict of torch"
            check.refuse(problem, expected=expected, error=TypeError)
        found, rows = of_optax(tx, template, saved, step)
    if step is not None:
        found["step"] = Found(np.int32(step), "step=")
    slots = slots_of(tx, params, template)
    new, taken = fill(slots, found, decoded)
    template = unflattened(template, new)
    template, filled = _counted(tx, params, template, taken, slots)
    left = (Row("dropped", one.source, "", "no place in tx", False) for one in found.values())
    rows = [*filled, *rows, *left]
    fields = _fields(rows, params)
    if isinstance(made, InjectHyperparamsState):
        (entry,) = template.inner.values()
        return InjectHyperparamsState(template.step, entry["hyperparams"], entry["inner"]), (
            RestoreReport(tuple(rows), fields)
        )
    return template, RestoreReport(tuple(rows), fields)


def refuse_losses(report: RestoreReport, allowed: set[str], fixes: tuple[str, ...] = ()) -> None:
    """Refuse a report with a loss of another kind."""
    lost = [row for row in report.rows if not row.lossless and row.kind not in allowed]
    if not lost:
        return
    kinds = [kind for kind in LOSSES if any(row.kind == kind for row in lost)]
    counts = [f"{sum(row.kind == kind for row in lost)} {kind}" for kind in kinds]
    problem = f"the saved state does not fit: {' and '.join(counts)}"
    advice = [f"to accept this, pass allow={tuple(kinds)!r} to restore_into", *fixes]
    if any(row.path == "step" for row in lost):
        advice.append("pass step= for a saved state that does not hold it")
    fix = f"{'; or '.join(advice)}:\n{report}\nThe paths are those of gk.inspect.walk"
    check.refuse(problem, expected="no losses", fix=fix[0].upper() + fix[1:])


def _allowed(allow: Any) -> set[str]:
    if isinstance(allow, str) or not isinstance(allow, Collection):
        problem = f"allow={check.shown(allow)} is not a collection"
        check.refuse(problem, expected=f"some of {LOSSES}", error=TypeError)
    for kind in allow:
        check.one_of(LOSSES, allow=kind)
    return set(allow)


# ---- counts, and the table ----------------------------------------------------------------------


def _counted(
    tx: Transform, params: Any, state: State, filled: list[tuple[Row, Any]], slots: list[Slot]
) -> tuple[State, list[Row]]:
    """The state with the counts that its fresh clocks and averages have by what they hold."""
    rows = [row for row, _ in filled]
    leaves: list[Any] = jax.tree.leaves(state)
    at = [i for i, slot in enumerate(slots) for _ in slot.leaves]
    first = {i: at.index(i) for i in set(at)}
    for i, slot in enumerate(slots):
        if rows[i].kind != "fresh" or slot.path.rpartition(".")[2] != "step":
            continue
        clock = slot.path.rpartition(".")[0]
        if clock not in steps_of(state):
            continue
        steps = [
            step
            for (row, step), other in zip(filled, slots, strict=True)
            if step is not None and begins(other.path, clock)
        ]
        counts = sorted({int(step) for step in steps})
        if len(counts) == 1:
            leaves[first[i]] = jnp.asarray(counts[0], slot.leaves[0].dtype)
            note = "the count of what was taken"
            rows[i] = Row("converted", slot.path, "", note)
    state = unflattened(state, leaves)
    carried = {row.path for row in rows if row.kind in ("taken", "converted")}
    wanted = {}
    for i, slot in enumerate(slots):
        holder, _, name = slot.path.rpartition(".")
        fresh = name == UNSEEN and rows[i].kind == "fresh"
        if fresh and any(begins(path, holder) for path in carried):
            wanted[slot.path] = slot.clock
    for path, value in log_unseen(tx, params, state, wanted).items():
        i = next(i for i, slot in enumerate(slots) if slot.path == path)
        if isinstance(value, str):
            rows[i] = rows[i]._replace(note=value)
            continue
        leaves[first[i]] = jnp.asarray(value, slots[i].leaves[0].dtype)
        rows[i] = Row("converted", path, "", "from the count of steps")
    return unflattened(state, leaves), rows


def _fields(rows: list[Row], params: Any) -> tuple[str, ...]:
    """For each row the path without that of a parameter."""
    known = sorted((place.path for place in places(params) if place.path), key=len, reverse=True)
    ends = set(known)

    def field(path: str) -> str:
        parts = path.split(".")
        for k in range(1, len(parts)):
            if ".".join(parts[k:]) in ends:
                return ".".join(parts[:k])
        return path

    return tuple(field(row.path) for row in rows)
