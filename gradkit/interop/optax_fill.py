"""Where the states of an optax chain belong in a state of gradkit."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit._call import Call
from gradkit._rule import State
from gradkit._transform import Transform
from gradkit.interop.optax_states import FIELDS, flat
from gradkit.interop.places import Found, joined, places
from gradkit.interop.report import Row
from gradkit.interop.unseen import UNSEEN

# Paths within an entry, each with the tree that belongs there and what optax calls it.
Filled = dict[tuple[str, ...], tuple[Any, str]]


def of_optax(
    tx: Transform, template: State, saved: Any, step: int | None
) -> tuple[dict[str, Found], list[Row]]:
    """The leaves of a state of optax, by their paths in the state of ``tx``.

    Returns:
      the leaves, and a row for each state that has no place.
    """
    states, counts, unknown = flat(saved)
    rows = [Row("dropped", kind, "", f"a {kind} is not covered", False) for kind in unknown]
    steps = list(_named(tx, "MultiSteps"))
    lost: list[Any] = []
    filled = _fill(template.inner, states, steps, lost)
    for state in lost:
        kind = type(state).__name__
        note = f"a {kind} fits nothing that tx keeps"
        rows += [
            Row("dropped", joined(kind, place.path), "", note, False) for place in places(state)
        ]
    found = {}
    for path, (value, source) in filled.items():
        for place in places(_without_nodes(value)):
            at = joined(*path, place.path)
            found[at] = Found(place.leaf, joined(source, place.path))
    count = None if step is not None else _one_count(counts, states, steps)
    if count is not None:
        found["step"] = Found(np.int32(count), "count")
    return found, rows


def _one_count(counts: list[Any], states: list[Any], steps: list[Any]) -> int | None:
    if steps and len(states) == 1 and type(states[0]).__name__ == "MultiStepsState":
        every = steps[0].arguments["every_k_schedule"]
        if not isinstance(every, int):
            check.refuse(
                "the number of calls of MultiSteps with a scheduled k is unknown", fix="Pass step="
            )
        counts = [int(states[0].gradient_step) * every + int(states[0].mini_step)]
    found = sorted({int(count) for count in counts})
    if len(found) > 1:
        check.refuse(f"counts {found} differ", fix="Pass step=, the number of completed updates")
    return found[0] if found else None


def _fill(entries: Any, states: list[Any], steps: list[Any], lost: list[Any]) -> Filled:
    """What belongs in the entries of a chain, or in the entry of a part alone.

    Each state takes the first entry that it fits; one that fits none is added to ``lost``.
    """
    done: set[str] = set()
    filled: Filled = {}
    for state in states:
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if name not in done and (new := _filled(entry, state, steps, lost)) is not None:
                done.add(name)
                filled |= {(name, *path): value for path, value in new.items()}
                break
        else:
            if len(states) == 1 and (new := _filled(entries, state, steps, lost)) is not None:
                return new
            lost.append(state)
    return filled


def _filled(entry: Any, state: Any, steps: list[Any], lost: list[Any]) -> Filled | None:
    """What belongs in an entry of ours, or None where the state does not fit."""
    kind = type(state).__name__
    if kind == "MaskedState":
        return _whole(entry, flat(state.inner_state)[0], steps)
    if not isinstance(entry, dict):
        return None
    if kind in ("PartitionState", "MultiTransformState"):
        inner = {label: flat(one)[0] for label, one in state.inner_states.items()}
        inner = {label: states for label, states in inner.items() if states}
        if inner.keys() != entry.keys():
            return None
        return {
            (label, *path): value
            for label, states in inner.items()
            for path, value in _fill(entry[label], states, steps, lost).items()
        }
    if kind.startswith("Inject"):
        if entry.keys() != {"hyperparams", "inner"}:
            return _whole(entry, flat(state.inner_state)[0], steps)
        held = {
            ("hyperparams", name): (state.hyperparams[name], f"hyperparams.{name}")
            for name in entry["hyperparams"]
            if name in state.hyperparams
        }
        inside = _fill(entry["inner"], flat(state.inner_state)[0], steps, lost)
        return held | {("inner", *path): value for path, value in inside.items()}
    if kind == "MultiStepsState":
        wanted = {"opt", "accumulated", "mini_step"}
        return _accumulated(entry, state, steps, lost) if wanted <= entry.keys() else None
    paths: Filled = {}
    for field, options in FIELDS[kind].items():
        place = next((path for path in options if _has(entry, path)), None)
        if place is None:
            return None
        paths[place] = (getattr(state, field), f"{kind}.{field}")
    return None if _rest(entry, set(paths)) else paths


def _whole(entry: Any, states: list[Any], steps: list[Any]) -> Filled | None:
    """What belongs in an entry, where every state fits and nothing of the entry is left over."""
    lost: list[Any] = []
    filled = _fill(entry, states, steps, lost)
    return None if lost or _rest(entry, set(filled)) else filled


def _accumulated(entry: Any, state: Any, steps: list[Any], lost: list[Any]) -> Filled:
    if jax.tree.leaves(state.skip_state):
        lost.append(state.skip_state)
    inside = _fill(entry["opt"][1], flat(state.inner_opt_state)[0], steps[1:], lost)
    accumulated = state.acc_grads
    if steps[0].arguments["use_grad_mean"]:  # optax keeps the mean so far, gradkit the sum
        accumulated = jax.tree.map(lambda a: a * jnp.asarray(state.mini_step, a.dtype), accumulated)
    mini, clock = (jnp.asarray(x, jnp.int32) for x in (state.mini_step, state.gradient_step))
    kind = type(state).__name__
    return {
        **{("opt", *path): value for path, value in inside.items()},
        ("opt", "step"): (clock, f"{kind}.gradient_step"),
        ("accumulated",): (accumulated, f"{kind}.acc_grads"),
        ("mini_step",): (mini, f"{kind}.mini_step"),
        ("updated",): ((mini == 0) & (clock > 0), f"{kind}.mini_step"),
    }


# ---- helpers ------------------------------------------------------------------------------------


def _named(tx: Any, name: str) -> Iterator[Any]:
    """The calls of a factory within a transform, outermost first."""
    if tx.factory.__name__ == name:
        yield tx
    for part in tx.leaves:
        if isinstance(part, Call):
            yield from _named(part, name)


def _has(entry: Any, place: tuple[str, ...]) -> bool:
    for key in place:
        if not isinstance(entry, dict) or key not in entry:
            return False
        entry = entry[key]
    # An average may hold another one: its tree is not at this path.
    return not (isinstance(entry, dict) and UNSEEN in entry)


def _rest(entry: Any, paths: set[tuple[str, ...]]) -> bool:
    """Whether an entry keeps more than the values at some paths."""
    starts = [joined(*path) for path in paths]
    return any(
        not place.path.endswith(UNSEEN)
        and not any(place.path == start or place.path.startswith(f"{start}.") for start in starts)
        for place in places(entry)
    )


def _without_nodes(value: Any) -> Any:
    """A tree of optax's with None where it has a node without leaves."""

    def masked(x: Any) -> bool:
        return type(x).__name__ == "MaskedNode"

    return jax.tree.map(lambda x: None if masked(x) else x, value, is_leaf=masked)
