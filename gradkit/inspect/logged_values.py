"""Values logged by the transforms of a state."""

from collections.abc import Iterator
from typing import Any

import jax

from gradkit import _checks as check
from gradkit._rule import State
from gradkit.typing import OptState

# Fields of a guard's state that are worth a curve.
_GUARDED = ("skipped", "consecutive")
# The field of a line search's ``info`` that tells it from others.
_SEARCHED = "num_linesearch_steps"


def logged_values(state: OptState) -> dict[str, Any]:
    """Return the values that the transforms of a state logged in the last step, by dotted path.

    Args:
      state: from ``init`` or ``update``; or any tree that holds such states.

    Returns:
      scalars by path, such as ``clip_by_global_norm.norm``: the path of the transform in ``walk``,
      or the name of the outermost one, and the name of the value. The second of two equal paths
      gets ``_1``.

    Raises:
      TypeError: a transform in place of its state.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.clip_by_global_norm(1.0, report=True), gk.sgd(0.1))
      >>> _, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert gk.logged_values(state)["clip_by_global_norm.norm"] == 5.0
    """
    _check_state(state, "logged_values")
    found: dict[str, Any] = {}
    for path, piece, _ in walk_states(state):
        logged = jax.tree_util.tree_leaves_with_path(piece.get("logged", ()))
        values = [(check.keystr(at), value) for at, value in logged]
        if "last_skipped" in piece:
            values += [(name, piece[name]) for name in _GUARDED]
        info = piece.get("info")
        if isinstance(info, dict) and _SEARCHED in info:
            values += [("learning_rate", piece["learning_rate"]), *info.items()]
        for name, value in values:
            found[_unique(f"{path}.{name}" if path else name, found)] = value
    return dict(sorted(found.items()))  # as jit sorts them


def has_updated(state: OptState) -> Any:
    """Whether the last call of a ``MultiSteps`` updated its inner transform.

    Args:
      state: of the ``MultiSteps``, or of a transform with one somewhere in it.

    Returns:
      a scalar bool; False for a call that ``MultiSteps``, or a guard around it, skipped.

    Raises:
      TypeError: not a state.
      ValueError: a state with no ``MultiSteps`` in it, or with several.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.MultiSteps(gk.sgd(1.0), 2)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
      >>> assert not gk.has_updated(state)
    """
    _check_state(state, "has_updated")
    found: dict[str, Any] = {}
    for path, piece, ran in walk_states(state):
        outer = any(path == other or path.startswith(f"{other}.") for other in found)
        if piece.keys() >= {"updated", "mini_step", "accumulated"} and not outer:
            found[_unique(path, found)] = (
                piece["updated"] if ran is None else ran & piece["updated"]
            )
    with check.inside("has_updated"):
        if not found:
            check.refuse("the state has no MultiSteps in it", fix="Pass the state of one")
        if len(found) > 1:
            fix = "Pass the part of the state that holds the one you mean"
            check.refuse(f"the state has {len(found)} MultiSteps in it", fix=fix)
    (updated,) = found.values()
    return updated


def walk_states(state: OptState) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """The state of every transform inside a state, with its dotted path.

    The third value is whether a guard around it let its last call run; None without a guard.
    """

    def look(
        piece: Any, path: tuple[str, ...], ran: Any
    ) -> Iterator[tuple[str, dict[str, Any], Any]]:
        if isinstance(piece, State):
            yield from look(piece.inner, path, ran)
        elif isinstance(piece, dict):
            yield ".".join(path), piece, ran
            if "last_skipped" in piece:
                ran = ~piece["last_skipped"] if ran is None else ran & ~piece["last_skipped"]
            for name, inner in piece.items():
                yield from look(inner, (*path, str(name)), ran)
        elif isinstance(piece, (tuple, list)):
            for inner in piece:
                yield from look(inner, path, ran)

    yield from look(state, (), None)


def _check_state(state: Any, reader: str) -> None:
    foreign = state is None or callable(state) or isinstance(state, (str, int, float))
    if foreign or getattr(state, "kind", None):
        with check.inside(reader):
            fix = "Pass what init or update returned"
            problem = f"state={check.shown(state)} is not a state"
            check.refuse(problem, fix=fix, error=TypeError)


def _unique(name: str, taken: dict[str, Any]) -> str:
    count, unique = 0, name
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    return unique
