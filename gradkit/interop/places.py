"""The leaves of a state by their paths, and what a saved state has at each."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._flax import without_value
from gradkit._member import init_members
from gradkit._restore import conform
from gradkit._rule import Context, State
from gradkit._stored import Stored, labelling
from gradkit._transform import Transform
from gradkit.interop.inject import InjectHyperparamsState
from gradkit.typing import Params


class Place(NamedTuple):
    """A leaf, its path, and the path of the clock on which it runs ("" for the outermost)."""

    path: str
    leaf: Any
    clock: str


class Found(NamedTuple):
    """A saved leaf.

    Attributes:
      value: the array.
      source: what it is called in the saved state.
      step: the count of its clock; None where unknown.
      store: the store whose encoding was decoded to this value; None for a leaf as it was saved.
    """

    value: Any
    source: str
    step: Any = None
    store: Any = None


def joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def places(state: Any, stop: Callable[[Any], bool] | None = None) -> list[Place]:
    """Every leaf of a state, in the order of ``jax.tree.leaves``.

    The ``inner`` of a `State` is not part of a path, which is that of ``gk.inspect.walk``.
    """
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(state, is_leaf=stop):
        names: list[str] = []
        node, clock = state, ""
        for key in without_value(path):
            if isinstance(node, State):
                clock = ".".join(names)
                node = node.inner
                if key.name == "inner":
                    continue
            names.append(check.keystr((key,)))
            node = _child(node, key)
        found.append(Place(".".join(names), leaf, clock))
    return found


def _child(node: Any, key: Any) -> Any:
    if isinstance(node, dict):
        return node.get(getattr(key, "key", None))
    if isinstance(node, (list, tuple)) and hasattr(key, "idx"):
        return node[key.idx]
    return getattr(node, key.name, None) if hasattr(key, "name") else None


def steps_of(state: Any) -> dict[str, Any]:
    """The counts of the clocks of a state, by their paths."""
    found = {}

    def visit(node: Any, at: str) -> None:
        if isinstance(node, State):
            found[at] = node.step
            node = node.inner
        if isinstance(node, dict):
            for name, child in node.items():
                visit(child, joined(at, str(name)))
        elif isinstance(node, (list, tuple)):
            names = getattr(node, "_fields", range(len(node)))
            for name, child in zip(names, node, strict=True):
                visit(child, joined(at, str(name)))

    visit(state, "")
    return found


def labelled(tx: Transform, params: Params) -> Any:
    """The shapes of the state that ``init`` returns, with a `Stored` for what a store keeps."""
    leaves = tree.arrays_only(params)

    def start(leaves: Any) -> Any:
        context = Context.start(leaves)
        with labelling():
            return State(context.step, init_members(tx.members, tree.widen(leaves), context))

    return jax.eval_shape(start, leaves)


def is_stored(node: Any) -> bool:
    return isinstance(node, Stored)


# ---- a state of gradkit -------------------------------------------------------------------------


def as_state(saved: Any) -> Any:
    """A `State`, also of the dicts and lists of a checkpoint without a target; or None."""
    if isinstance(saved, Mapping) and saved.keys() == set(InjectHyperparamsState._fields):
        saved = InjectHyperparamsState(**saved)
    if isinstance(saved, InjectHyperparamsState):
        saved = State(saved.step, saved.inner)
    saved = conform(saved)
    return State(saved.step, _conformed(saved.inner)) if isinstance(saved, State) else None


def _conformed(node: Any) -> Any:
    node = conform(node)
    if isinstance(node, State):
        return State(node.step, _conformed(node.inner))
    if isinstance(node, dict):
        return {name: _conformed(child) for name, child in node.items()}
    if type(node) in (list, tuple):
        return type(node)(map(_conformed, node))
    return node


def of_gradkit(
    state: State, saved_tx: Transform | None, params: Params
) -> tuple[dict[str, Found], dict[str, tuple[Found, list[str]]]]:
    """The leaves of a saved state by path.

    Returns:
      the leaves as they were saved; and, if ``saved_tx`` is known, each leaf that a store keeps,
      decoded, with the paths of those it was decoded from.
    """
    steps = steps_of(state)
    found = {
        place.path: Found(place.leaf, place.path, steps[place.clock]) for place in places(state)
    }
    decoded: dict[str, tuple[Found, list[str]]] = {}
    for place in places(labelled(saved_tx, params), is_stored) if saved_tx is not None else ():
        if not isinstance(place.leaf, Stored):
            continue
        plain = place.leaf.plain()
        paths = [joined(place.path, part.path) for part in places(plain)]
        raw = [found.get(path) for path in paths]
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(plain)]
        if any(one is None or jnp.shape(one.value) != s for one, s in zip(raw, shapes)):
            continue
        treedef: Any = jax.tree.structure(plain)
        kept = treedef.unflatten([jnp.asarray(one.value) for one in raw if one is not None])
        like = jnp.zeros(place.leaf.shape, place.leaf.dtype)
        value = place.leaf.store.decode(kept, like)
        first = raw[0]
        step = None if first is None else first.step
        decoded[place.path] = Found(value, place.path, step, place.leaf.store), paths
    return found, decoded
