"""Continue with gradkit a run that was saved with optax: `from_optax_state`."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._call import Call
from gradkit._rule import State
from gradkit._transform import Transform
from gradkit.interop.inject import InjectHyperparamsState
from gradkit.interop.optax_states import FIELDS, flat
from gradkit.typing import OptState, Params

_UNSEEN = "log_unseen"


def from_optax_state(
    tx: Transform, optax_state: Any, params: Params, *, step: int | None = None
) -> OptState:
    """Convert a state saved with optax, to continue the run with gradkit.

    Covered are chains (nested, too) of: ``scale_by_adam`` and what shares its state (``adamax``,
    ``radam``, ``yogi``, ``nadam``, ``lamb``, ...), ``scale_by_amsgrad``, ``scale_by_belief``,
    ``scale_by_lion``, ``scale_by_muon``, ``scale_by_rms``, ``scale_by_rss``,
    ``scale_by_adadelta``, ``trace``, ``ema``, schedules, everything without a state, and
    ``masked``, ``partition``, ``inject_hyperparams`` and ``MultiSteps`` around them. Everything
    else is refused by name.

    Args:
      tx: the gradkit transform that has the place of the optax one, with the same decays.
      optax_state: its state, restored with its classes (with a target).
      params: the parameters, or their ``ShapeDtypeStruct`` where no decay is debiased.
      step: completed updates. None takes the count that the optax state holds, 0 if it holds none.

    Returns:
      a state for ``tx.update``.

    Raises:
      ValueError: a state that is not covered, does not fit ``tx``, or holds counts that differ.
      TypeError: ``optax_state`` has lost its classes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp, optax
      >>> before, after = optax.sgd(0.1, momentum=0.9), gk.sgd(0.1, momentum=0.9)
      >>> g, w = jnp.array([1.0, -2.0]), jnp.zeros(2)
      >>> _, saved = before.update(g, before.init(w), w)
      >>> state = gk.from_optax_state(after, saved, w, step=1)  # the state of trace has no count
      >>> ours, theirs = after.update(2 * g, state, w)[0], before.update(2 * g, saved, w)[0]
      >>> assert (ours == theirs).all()
    """
    with check.inside("from_optax_state"):
        if not isinstance(tx, Transform):
            check.refuse(
                f"tx={tx!r} is not a gradkit transform", fix=check.uncalled(tx), error=TypeError
            )
        if step is not None:
            check.integer(0, step=step)
        template = tx.init(params)
        states, counts = flat(optax_state)
        steps = list(_named(tx, "MultiSteps"))
        entries = _fill(_entries(template), states, steps)
        count = _one_count(counts, states, steps) if step is None else step
        entries = _seen(tx, template, entries, count, params)
        return _like(template, jnp.asarray(count, jnp.int32), entries)


def _one_count(counts: list[Any], states: list[Any], steps: list[Any]) -> int:
    if len(states) == 1 and type(states[0]).__name__ == "MultiStepsState":
        every = steps[0].arguments["every_k_schedule"]
        if not isinstance(every, int):
            check.refuse(
                "the number of calls of MultiSteps with a scheduled k is unknown", fix="Pass step="
            )
        counts = [int(states[0].gradient_step) * every + int(states[0].mini_step)]
    found = sorted({int(count) for count in counts})
    if len(found) > 1:
        check.refuse(f"counts {found} differ", fix="Pass step=, the number of completed updates")
    return found[0] if found else 0


# ---- its place in ours --------------------------------------------------------------------------


def _fill(entries: Any, states: list[Any], steps: list[Any]) -> Any:
    """The entries of a chain, or the entry of a part alone, with the values of states in order."""
    done: dict[str, Any] = {}
    for state in states:
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if name not in done and (filled := _filled(entry, state, steps)) is not None:
                done[name] = filled
                break
        else:
            if len(states) == 1 and (alone := _filled(entries, state, steps)) is not None:
                return alone
            have = (
                ", ".join(map(repr, entries))
                if isinstance(entries, dict) and entries
                else "nothing"
            )
            check.refuse(
                f"a {type(state).__name__} fits nothing that tx keeps",
                expected=f"a state for {have}",
                fix="tx must be the counterpart, link by link",
            )
    if not isinstance(entries, dict):
        return entries
    for name, entry in entries.items():
        if name not in done and jax.tree.leaves(entry):
            check.refuse(
                f"the optax state has nothing for {name!r}",
                fix="tx must be the counterpart, link by link",
            )
    return {**entries, **done}


def _filled(entry: Any, state: Any, steps: list[Any]) -> Any:
    """An entry of ours with the values of a state of optax, or None where it does not fit."""
    kind = type(state).__name__
    if kind == "MaskedState":
        return _tried(entry, flat(state.inner_state)[0], steps)
    if not isinstance(entry, dict):
        return None
    if kind in ("PartitionState", "MultiTransformState"):
        inner = {label: flat(one)[0] for label, one in state.inner_states.items()}
        inner = {label: states for label, states in inner.items() if states}
        return (
            {label: _fill(entry[label], states, steps) for label, states in inner.items()}
            if inner.keys() == entry.keys()
            else None
        )
    if kind.startswith("Inject"):
        if entry.keys() != {"hyperparams", "inner"}:
            return _tried(entry, flat(state.inner_state)[0], steps)
        held = {
            name: _value(state.hyperparams.get(name, old), old, f"hyperparams.{name}")
            for name, old in entry["hyperparams"].items()
        }
        return {
            "hyperparams": held,
            "inner": _fill(entry["inner"], flat(state.inner_state)[0], steps),
        }
    if kind == "MultiStepsState":
        return (
            _accumulated(entry, state, steps)
            if {"opt", "accumulated", "mini_step"} <= entry.keys()
            else None
        )
    paths = {}
    for field, places in FIELDS[kind].items():
        found = next((path for place in places if (path := _found(entry, place)) is not None), None)
        if found is None:
            return None
        paths[found] = getattr(state, field)
    if _rest(entry, set(paths)):
        return None
    for path, value in paths.items():
        entry = _put(
            entry, path, lambda old, value=value, path=path: _tree_value(value, old, ".".join(path))
        )
    return entry


def _tried(entry: Any, states: list[Any], steps: list[Any]) -> Any:
    try:
        return _fill(entry, states, steps)
    except ValueError:
        return None


def _accumulated(entry: Any, state: Any, steps: list[Any]) -> Any:
    if jax.tree.leaves(state.skip_state) or jax.tree.leaves(entry["skip_state"]):
        check.refuse(
            "the skip_state of a MultiStepsState is not covered",
            fix="Convert before should_skip_update_fn is added",
        )
    outer = steps[0]
    inner_tx = outer.arguments["opt"]
    inner_states, _ = flat(state.inner_opt_state)
    clock = jnp.asarray(state.gradient_step, jnp.int32)
    old: State = entry["opt"]
    kept = _fill(old[1], inner_states, steps[1:])
    accumulated = _tree_value(state.acc_grads, entry["accumulated"], "accumulated")
    if outer.arguments["use_grad_mean"]:  # optax keeps the mean so far, gradkit the sum
        accumulated = jax.tree.map(lambda a: a * jnp.asarray(state.mini_step, a.dtype), accumulated)
    mini = jnp.asarray(state.mini_step, jnp.int32)
    name = None if inner_tx.is_chain else inner_tx.members[0].name
    before, after = (old[1], kept) if name is None else ({name: old[1]}, {name: kept})
    after = _unseen_of(inner_tx, before, after, int(clock), entry["accumulated"])
    kept = after if name is None else after[name]
    return {
        **entry,
        "opt": State(clock, kept),
        "accumulated": accumulated,
        "mini_step": mini,
        "updated": (mini == 0) & (clock > 0),
    }


def _entries(template: Any) -> dict[str, Any]:
    return template.inner if isinstance(template, InjectHyperparamsState) else template[1]


def _like(template: Any, step: Any, entries: Any) -> Any:
    if isinstance(template, InjectHyperparamsState):
        (entry,) = entries.values()
        return InjectHyperparamsState(step, entry["hyperparams"], entry["inner"])
    return State(step, entries)


# ---- how much of an average is still unseen -----------------------------------------------------


def _seen(tx: Transform, template: Any, entries: Any, count: int, params: Any) -> Any:
    return _unseen_of(tx, template, entries, count, tree.zeros_like(params), params)


def _unseen_of(
    tx: Transform, before: Any, entries: Any, count: int, zeros: Any, params: Any = None
) -> Any:
    """Set the logarithm of the weight that an average has not seen: count · log β."""
    start = before if hasattr(before, "step") else State(jnp.zeros((), jnp.int32), before)
    if not count or not any(
        _is_unseen(path) for path, _ in jax.tree_util.tree_leaves_with_path(_entries(start))
    ):
        return entries

    def one_step(step: int) -> Any:
        return _entries(
            tx.update(zeros, start._replace(step=jnp.asarray(step, jnp.int32)), params)[1]
        )

    first, last = one_step(0), one_step(count - 1)

    def leaf(path: Any, at_first: Any, at_last: Any, old: Any, filled: Any) -> Any:
        if not _is_unseen(path) or (old is not filled and not np.array_equal(old, filled)):
            return filled
        if not np.allclose(at_first, at_last, rtol=1e-6):
            check.refuse(
                "a debiased average with a scheduled decay is not covered", path=check.keystr(path)
            )
        return (at_first - old) * count + old

    return jax.tree_util.tree_map_with_path(leaf, first, last, _entries(start), entries)


def _is_unseen(path: Any) -> bool:
    return getattr(path[-1], "key", None) == _UNSEEN


# ---- helpers ------------------------------------------------------------------------------------


def _named(tx: Any, name: str) -> Iterator[Any]:
    """The calls of a factory within a transform, outermost first."""
    if tx.factory.__name__ == name:
        yield tx
    for part in tx.leaves:
        if isinstance(part, Call):
            yield from _named(part, name)


def _found(entry: Any, place: tuple[str, ...]) -> tuple[str, ...] | None:
    for key in place:
        if not isinstance(entry, dict) or key not in entry:
            return None
        entry = entry[key]
    # An average may hold another one: its tree is not at this path.
    return None if isinstance(entry, dict) and _UNSEEN in entry else place


def _rest(entry: Any, paths: set[tuple[str, ...]]) -> bool:
    """Whether an entry keeps more than the values at some paths."""
    for path, _ in jax.tree_util.tree_leaves_with_path(entry):
        keys = tuple(getattr(step, "key", None) for step in path)
        if not _is_unseen(path) and not any(keys[: len(known)] == known for known in paths):
            return True
    return False


def _put(entry: Any, path: tuple[str, ...], change: Any) -> Any:
    return change(entry) if not path else {**entry, path[0]: _put(entry[path[0]], path[1:], change)}


def _tree_value(value: Any, like: Any, path: str) -> Any:
    """A tree of optax's in the dtypes of ours; None where optax has a node without leaves."""

    def masked(x: Any) -> bool:
        return type(x).__name__ == "MaskedNode"

    value = jax.tree.map(lambda x: None if masked(x) else x, value, is_leaf=masked)
    have: Any = jax.tree.structure(value)
    if have != jax.tree.structure(like):
        check.refuse(
            f"the tree {have} does not match {jax.tree.structure(like)}",
            fix="Pass the parameters of the saved run",
            path=path,
        )
    return jax.tree_util.tree_map_with_path(
        lambda at, new, old: _value(new, old, f"{path}.{check.keystr(at)}"), value, like
    )


def _value(new: Any, old: Any, path: str) -> Any:
    if np.shape(new) != np.shape(old):
        check.refuse(
            f"a value {check.shape_dtype(new)} does not match {check.shape_dtype(old)}", path=path
        )
    return jnp.asarray(new, old.dtype)
