"""Values of a state by name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
from jax.tree_util import DictKey, SequenceKey

from gradkit import _checks as check
from gradkit._explain import explained
from gradkit._rule import State
from gradkit.typing import PyTree

Filter = Callable[[tuple[Any, ...], Any], bool]


@dataclass(frozen=True)
class NamedTupleKey:
    """A step of a path into a named tuple: the field, and the name of the tuple's class.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> ((path, _),) = gk.tree.get_all_with_path(gk.adam(1e-3).init(jnp.zeros(1)), "step")
      >>> assert path[0].tuple_name == "State" and str(path[0]) == "State.step"
    """

    tuple_name: str
    name: str

    def __str__(self) -> str:
        return f"{self.tuple_name}.{self.name}"


class _Placeholder:
    """A tree of parameters without leaves, to be found again in a state."""


jax.tree_util.register_pytree_node(_Placeholder, lambda _: ((), None), lambda _, __: _Placeholder())

# optax's names for what a gradkit state keeps under others: the last steps of the path.
_OPTAX = {
    "count": (("step",),),
    "mu": (("moment", "average"), ("scale_by_lion", "average")),
    "nu": (("preconditioner", "average"),),
    "nu_max": (("preconditioner", "max"),),
    "sum_of_squares": (("preconditioner", "sum"),),
}


@explained(functions={"filtering": 2})
def get_all_with_path(
    tree: PyTree, key: Any, filtering: Filter | None = None
) -> list[tuple[tuple[Any, ...], Any]]:
    """Find every value of a name in a state, with its path.

    Args:
      tree: a state: dicts, tuples, lists and named tuples.
      key: a key of a dict, a field of a named tuple, the name of a named tuple's class, or a dotted
        path that ends there (``"scale_by_adam.moment"``).
      filtering: ``filtering(path, value) -> bool`` keeps some of the values found.

    Returns:
      pairs ``(path, value)``; the steps of a path are JAX's keys, and `NamedTupleKey` for fields.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> state = gk.chain(gk.trace(0.9), gk.trace(0.5)).init(jnp.zeros(2))
      >>> assert len(gk.tree.get_all_with_path(state, "trace")) == 2

    **Differs from optax**: where one value found holds another, the inner one is returned, so the
    ``trace`` in the state of ``trace`` is the tree of traces. Names of optax's states find what a
    gradkit state has in their place: ``count``, ``mu``, ``nu``, ``nu_max`` and ``sum_of_squares``.
    """
    names = tuple(key.split(".")) if isinstance(key, str) and "." in key else (key,)
    places = list(_walk(tree, ()))
    found = [place for place in places if _ends(place, names)]
    if (
        not found
        and key in _OPTAX
        and any(isinstance(value, State) or _state_like(value) for _, value in places)
    ):
        found = [place for place in places if any(_ends(place, other) for other in _OPTAX[key])]
    found = [
        (path, value)
        for path, value in found
        if not any(other[: len(path)] == path and len(other) > len(path) for other, _ in found)
    ]
    return [(path, value) for path, value in found if filtering is None or filtering(path, value)]


@explained(functions={"filtering": 2})
def get(tree: PyTree, key: Any, default: Any = None, filtering: Filter | None = None) -> Any:
    """Read a value from a state by name.

    Args:
      tree: a state: dicts, tuples, lists and named tuples.
      key: a name, or a dotted path, as in ``get_all_with_path``.
      default: what to return where there is none.
      filtering: ``filtering(path, value) -> bool`` keeps some of the values found.

    Returns:
      the value.

    Raises:
      KeyError: several values of that name.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> state = gk.adam(1e-3).init(jnp.zeros(2))
      >>> assert gk.tree.get(state, "step") == 0 and gk.tree.get(state, "mu").shape == (2,)
      >>> injected = gk.inject_hyperparams(gk.sgd)(learning_rate=0.5).init(jnp.zeros(2))
      >>> assert gk.tree.get(injected, "learning_rate") == 0.5

    **Differs from optax** as ``get_all_with_path`` does. A hyperparameter is found where the state
    holds it (``inject_hyperparams``); ``gk.hyperparameters(tx, state)`` reads it everywhere else.
    """
    found = get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        paths = ", ".join(_dotted(path) for path, _ in found)
        check.refuse(
            f"{key!r} fits {len(found)} values: {paths}",
            fix="Give a longer path, or filtering=",
            error=KeyError,
        )
    return found[0][1] if found else default


@explained(functions={"filtering": 2})
def set(tree: PyTree, filtering: Filter | None = None, /, **kwargs: Any) -> PyTree:
    """Return a copy of a state with some values replaced by name.

    Args:
      tree: a state: dicts, tuples, lists and named tuples.
      filtering: ``filtering(path, value) -> bool`` chooses among the values of a name.
      kwargs: new values by name; every value of that name is replaced. For a dotted path write
        ``**{"scale_by_adam.moment.average": ...}``.

    Returns:
      a state of the same structure.

    Raises:
      KeyError: no value of a name.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> state = gk.inject_hyperparams(gk.sgd)(learning_rate=0.5).init(jnp.zeros(2))
      >>> state = gk.tree.set(state, learning_rate=jnp.array(0.1))
      >>> assert gk.tree.get(state, "learning_rate") == jnp.float32(0.1)

    **Differs from optax** as ``get_all_with_path`` does.
    """
    new: dict[tuple[Any, ...], Any] = {}
    for key, value in kwargs.items():
        found = get_all_with_path(tree, key, filtering)
        if not found:
            known = sorted({str(_last(path)) for path, _ in _walk(tree, ()) if path})
            fix = "filtering leaves none of them"
            if filtering is None or not get_all_with_path(tree, key):
                fix = check.nearest(key, known)
            check.refuse(f"{key!r} fits no value of this state", fix=fix, error=KeyError)
        new.update({path: value for path, _ in found})
    return _replaced(tree, (), new)


@explained()
def map_params(
    initable: Any,
    f: Callable[..., Any],
    state: PyTree,
    /,
    *rest: PyTree,
    transform_non_params: Callable[[Any], Any] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """Apply a function to every tree of parameters inside a state, such as moments.

    Args:
      initable: the transform, or its ``init``.
      f: ``f(leaf, *others)``.
      state: the state.
      rest: trees like the parameters, whose leaves ``f`` receives as well.
      transform_non_params: a function of everything else; None leaves it as it is.
      is_leaf: as in ``jax.tree.map``.

    Returns:
      a state of the same structure.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adam(1e-3)
      >>> params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
      >>> shapes = gk.tree.map_params(tx, lambda m, p: m.shape == p.shape, tx.init(params), params)
      >>> assert gk.tree.get(shapes, "mu") == {"w": True, "b": True}

    **Differs from optax**: where a part of a state leaves parameters out (``masked``,
    ``partition``), so does ``rest``.
    """
    if check.uncalled(initable) or not callable(getattr(initable, "init", initable)):
        problem = f"initable={check.shown(initable)} is not a transform or its init"
        check.refuse(problem, fix=check.uncalled(initable), error=TypeError)
    check.function(f=f)
    marked = (initable.init if hasattr(initable, "init") else initable)(_Placeholder())

    def pruned(value: Any, other: Any) -> Any:
        if is_leaf is not None:
            return other
        return jax.tree.map(
            lambda v, o: None if v is None else o, value, other, is_leaf=lambda x: x is None
        )

    def part(mark: Any, value: Any) -> Any:
        if isinstance(mark, _Placeholder):
            return jax.tree.map(
                f, value, *(pruned(value, other) for other in rest), is_leaf=is_leaf
            )
        return value if transform_non_params is None else transform_non_params(value)

    try:
        return jax.tree.map(part, marked, state, is_leaf=lambda x: isinstance(x, _Placeholder))
    except (TypeError, ValueError) as error:
        if check.is_ours(error):
            raise
        check.refuse(
            f"the state does not fit initable, or rest does not fit the parameters: {error}",
            fix="Pass a state that initable.init returned, and trees like its parameters",
        )


# ---- walking ------------------------------------------------------------------------------------


def _walk(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield path, node
    for key, child in _children(node):
        yield from _walk(child, (*path, key))


def _children(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return [
            (NamedTupleKey(type(node).__name__, name), getattr(node, name)) for name in node._fields
        ]
    if isinstance(node, (tuple, list)):
        return [(SequenceKey(i), child) for i, child in enumerate(node)]
    return [(DictKey(key), child) for key, child in node.items()] if isinstance(node, dict) else []


def _last(path: tuple[Any, ...]) -> Any:
    return _name(path[-1])


def _name(step: Any) -> Any:
    return (
        step.name
        if isinstance(step, NamedTupleKey)
        else step.key
        if isinstance(step, DictKey)
        else step.idx
    )


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(str(_name(step)) for step in path)


def _ends(place: tuple[tuple[Any, ...], Any], names: tuple[Any, ...]) -> bool:
    path, value = place
    if len(names) == 1 and hasattr(value, "_fields") and type(value).__name__ == names[0]:
        return True
    return (
        len(path) >= len(names)
        and tuple(_name(step) for step in path[len(path) - len(names) :]) == names
    )


def _state_like(value: Any) -> bool:
    return isinstance(value, tuple) and getattr(value, "_fields", ("",))[0] == "step"


def _replaced(node: Any, path: tuple[Any, ...], new: dict[tuple[Any, ...], Any]) -> Any:
    if path in new:
        return new[path]
    if not any(other[: len(path)] == path for other in new):
        return node
    children = [_replaced(child, (*path, key), new) for key, child in _children(node)]
    if isinstance(node, dict):
        return type(node)(zip(node, children, strict=True))
    return type(node)(*children) if hasattr(node, "_fields") else type(node)(children)


tree_map_params = map_params  # by its older name
