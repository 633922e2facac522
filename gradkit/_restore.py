"""Checks of states: restored from a checkpoint as dicts, or of another transform by mistake."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from gradkit import _checks as check
from gradkit._member import Member, is_stateless
from gradkit._rule import State


def conform(state: Any) -> Any:
    """A `State`, also from the mapping that a checkpoint without a target restores."""
    if isinstance(state, State):
        return state
    if isinstance(state, Mapping) and state.keys() == {"step", "inner"}:
        return State(state["step"], dict(state["inner"] or {}))
    return state


def as_step(step: Any) -> jax.Array:
    """The counter of a state: one integer."""
    kind = step.dtype if hasattr(step, "dtype") else np.asarray(step).dtype
    if not jax.numpy.issubdtype(kind, jax.numpy.integer) or np.ndim(step):
        problem = f"the state's step is {check.shown(step)}"
        check.refuse(problem, expected="one integer", path="step", error=TypeError)
    return jax.numpy.asarray(step)


def check_is_state(state: Any) -> None:
    """A `State`, or what reads like one."""
    if getattr(state, "kind", None) or not (hasattr(state, "step") and hasattr(state, "inner")):
        problem = f"the state is {check.shown(state) if callable(state) else type(state).__name__}"
        fix = "Pass what tx.init or tx.update returned"
        check.refuse(problem, expected="the State of a transform", fix=fix, error=TypeError)


def check_state(
    inner: Any, expected: dict[str, Any], members: tuple[Member, ...], *, dtypes: bool
) -> dict[str, Any]:
    """The state of every member, in the structure and shapes that its ``init`` returns.

    Args:
      inner: the states by name, as the user passed them.
      expected: ShapeDtypeStructs by name, of the members that are not foreign.
      members: the flat chain.
      dtypes: compare floating dtypes too.
    """
    if not isinstance(inner, Mapping):
        problem = f"the state's inner is {type(inner).__name__}"
        check.refuse(problem, expected="a dict by name of transform", error=TypeError)
    fix = "Take the state from this transform's init"
    foreign = {member.name for member in members if member.foreign}
    for name in sorted(inner.keys() - expected.keys() - foreign):
        problem = f"the state has {name!r}, which no transform here keeps"
        check.refuse(
            problem, expected=f"only {sorted(expected)}", fix=f"{fix}, or delete the entry"
        )
    for name in sorted(expected.keys() - inner.keys()):
        problem = f"the state has no {name!r}, only {sorted(inner)}"
        check.refuse(problem, fix=fix)
    found = {}
    for name, state in inner.items():
        found[name] = state if name in foreign else _checked(name, state, expected[name], dtypes)
    return found


def _checked(name: str, state: Any, like: Any, dtypes: bool) -> Any:
    want: Any
    have: Any
    wanted, want = jax.tree.flatten(like)
    leaves, have = jax.tree.flatten(state)
    if have != want:
        state = _restructured(state, like)
        leaves, have = jax.tree.flatten(state)
        if have != want:
            _differ(name, state, like)
    for i, (leaf, shape) in enumerate(zip(leaves, wanted, strict=True)):
        if not hasattr(leaf, "shape") and not isinstance(leaf, (int, float, bool, complex)):
            _refuse_leaf(name, like, i, f"is {type(leaf).__name__}", "an array")
        if np.shape(leaf) != shape.shape:
            _refuse_leaf(name, like, i, f"has shape {list(np.shape(leaf))}", list(shape.shape))
        if dtypes and hasattr(leaf, "dtype"):
            floats = [jax.numpy.issubdtype(x.dtype, jax.numpy.floating) for x in (leaf, shape)]
            if all(floats) and leaf.dtype != shape.dtype:
                _refuse_leaf(name, like, i, f"has dtype {leaf.dtype}", shape.dtype)
    return state


def _refuse_leaf(name: str, like: Any, i: int, problem: str, expected: Any) -> None:
    path = check.keystr(jax.tree_util.tree_leaves_with_path({name: like})[i][0])
    fix = "A state belongs to the parameters and the transform that init was given"
    check.refuse(f"the state {problem}", expected=str(expected), fix=fix, path=path)


def _restructured(state: Any, like: Any) -> Any:
    """The containers of ``like`` with the contents of ``state``.

    A checkpoint turns named tuples into dicts, and tuples into lists; ``nnx.Optimizer`` turns the
    containers that are kept in place of one of its variables into an ``nnx.State``.
    """
    if isinstance(like, tuple) and hasattr(like, "_fields"):
        if isinstance(state, Mapping) and set(state) == set(like._fields):
            state = [state[field] for field in like._fields]
        if isinstance(state, (tuple, list)) and len(state) == len(like):
            return type(like)(*map(_restructured, state, like))
        return state
    if isinstance(like, dict):
        if isinstance(state, Mapping) and {str(key) for key in state} == {str(key) for key in like}:
            by_text = {str(key): value for key, value in state.items()}
            return {key: _restructured(by_text[str(key)], part) for key, part in like.items()}
        return state
    if isinstance(like, (tuple, list)):
        if isinstance(state, Mapping) and set(state) == {str(i) for i in range(len(like))}:
            state = [state[str(i)] for i in range(len(like))]
        if is_stateless(like) and state in (None, {}):
            return like
        if isinstance(state, (tuple, list)) and len(state) == len(like):
            return type(like)(map(_restructured, state, like))
    paths, wanted = (
        [check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
        for tree in (state, like)
    )
    treedef: Any = jax.tree.structure(like)
    return treedef.unflatten(jax.tree.leaves(state)) if paths == wanted else state


def _differ(name: str, state: Any, like: Any) -> None:
    """Name the first leaf that one of two states lacks."""
    have, want = (
        {check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path({name: tree})}
        for tree in (state, like)
    )
    fix = "A state belongs to the parameters and the transform that init was given"
    for path in sorted(want - have):
        check.refuse("the state lacks this leaf", fix=fix, path=path)
    for path in sorted(have - want):
        check.refuse("the state has a leaf that init does not return", fix=fix, path=path)
    problem = f"the state is {jax.tree.structure(state)}"
    check.refuse(problem, expected=f"{jax.tree.structure(like)}", fix=fix, path=name)
