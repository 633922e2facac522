"""The distributions of a space by path, and a space filled with values."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from gradkit import _checks as check
from gradkit._call import Call
from gradkit._explain import explained
from gradkit._member import Chain
from gradkit._splice import join
from gradkit._transform import Transform
from gradkit.search.distributions import Choice, Distribution, choice
from gradkit.typing import PyTree


class Dimension(NamedTuple):
    """A distribution in a space, and the options that must be chosen for it to count.

    Attributes:
      path: its dotted path.
      distribution: the distribution.
      conditions: pairs (path of a choice, label of an option), outermost first.
    """

    path: str
    distribution: Distribution
    conditions: tuple[tuple[str, Any], ...] = ()

    def counts(self, config: Mapping[str, Any]) -> bool:
        """Whether a configuration has this dimension."""
        return all(path in config and config[path] == label for path, label in self.conditions)


def dimensions(space: PyTree) -> list[Dimension]:
    """The distributions of a space in order, each choice before what is inside its options."""
    found = list(_walk(space, "", ()))
    paths = [dimension.path for dimension in found]
    for path in paths:
        if paths.count(path) > 1:
            problem = f"two distributions have the path {path!r}"
            check.refuse(problem, fix="Give one a name of its own, as in named_chain or a dict")
    return found


def needed(space: PyTree) -> list[Dimension]:
    """The distributions of a space that must have some."""
    found = dimensions(space)
    if not found:
        problem = f"space={check.shown(space)} has no distribution"
        fix = "Write one in place of a number, such as search.log_uniform(1e-5, 1e-1)"
        check.refuse(problem, fix=fix)
    return found


@explained()
def distributions(space: PyTree) -> dict[str, Distribution]:
    """List the distributions of a search space, by the dotted paths of the hyperparameters.

    Paths are those of ``hyperparameters`` and ``replace``. Inside an option of a ``choice`` they go
    on from the path of the choice with the option's label. A distribution that is the whole space,
    or a choice in a chain, has the name of its function. A distribution that stands in two places
    is two.

    Args:
      space: a transform with distributions among its arguments, or any tree with distributions and
        such transforms at its leaves.

    Returns:
      path -> distribution, in the order of the space; empty for what has none.

    Raises:
      TypeError: a tree whose keys cannot be sorted.

    Example:
      >>> import gradkit as gk
      >>> from gradkit import search
      >>> tx = gk.chain(gk.clip(search.uniform(0.5, 2)), gk.sgd(search.log_uniform(1e-3, 1)))
      >>> list(search.distributions({"optimizer": tx, "dropout": search.uniform(0, 0.5)}))
      ['dropout', 'optimizer.clip.max_delta', 'optimizer.sgd.learning_rate']
    """
    return {dimension.path: dimension.distribution for dimension in dimensions(space)}


@explained()
def fill(space: PyTree, values: Mapping[str, Any]) -> PyTree:
    """Fill a search space with values: a transform or tree without distributions.

    Arrays of one shape in place of numbers make a batch, for ``vmap``.

    Args:
      space: as for ``distributions``.
      values: path -> value; of a choice the label of an option. Values for what is inside options
        that were not chosen are left aside.

    Returns:
      what the space is, with each distribution replaced by its value.

    Raises:
      ValueError: a path that the space lacks, a path without a value, an option that there is not,
        a value that the transform refuses.
      TypeError: ``values`` is not a dict, a value that is no number, or no integer where one is
        drawn.

    Example:
      >>> import gradkit as gk
      >>> space = gk.sgd(gk.search.log_uniform(1e-3, 1.0), momentum=0.9)
      >>> assert gk.search.fill(space, {"learning_rate": 0.1}) == gk.sgd(0.1, momentum=0.9)
    """
    if not isinstance(values, Mapping):
        problem = f"values={check.shown(values)} is not a dict of values by path"
        check.refuse(problem, error=TypeError)
    known = [dimension.path for dimension in dimensions(space)]
    for path in values:
        if path not in known:
            problem = f"{path!r} is no path of a distribution"
            check.refuse(problem, fix=check.nearest(str(path), known))

    def value_of(path: str, distribution: Distribution) -> Any:
        if path not in values:
            check.refuse(f"{path!r} has no value", expected=f"one of {check.shown(distribution)}")
        with check.inside(path):
            return distribution.accepted(values[path])

    return _filled(space, "", value_of)


def exchange(space: PyTree, new: Mapping[str, Distribution]) -> PyTree:
    """The space with other distributions at some paths."""
    return _exchanged(space, "", new)


def _exchanged(value: Any, at: str, new: Mapping[str, Distribution]) -> Any:
    if not isinstance(value, Distribution):
        return _mapped(value, at, lambda leaf, path: _exchanged(leaf, path, new))
    at = at or value.factory.__name__
    if not isinstance(value, Choice):
        return new.get(at, value)
    options = [
        _exchanged(option, join(at, str(label)), new)
        for label, option in zip(value.labels, value.every, strict=True)
    ]
    names = list(value.arguments["named"])
    count = len(options) - len(names)
    return choice(*options[:count], **dict(zip(names, options[count:], strict=True)))


def _walk(value: Any, at: str, conditions: tuple[tuple[str, Any], ...]) -> Iterator[Dimension]:
    if isinstance(value, Distribution):
        at = at or value.factory.__name__
        yield Dimension(at, value, conditions)
        if isinstance(value, Choice):
            for label, option in zip(value.labels, value.every, strict=True):
                yield from _walk(option, join(at, str(label)), (*conditions, (at, label)))
    elif isinstance(value, Call):
        for path, part in zip(_paths(value, at), _calls(value), strict=True):
            yield from _walk(part, path, conditions)
    else:
        for keys, leaf in jax.tree_util.tree_leaves_with_path(value, is_leaf=_is_call):
            if _is_call(leaf):
                yield from _walk(leaf, _below(at, keys), conditions)


def _filled(value: Any, at: str, value_of: Callable[[str, Distribution], Any]) -> Any:
    if isinstance(value, Distribution):
        at = at or value.factory.__name__
        given = value_of(at, value)
        if not isinstance(value, Choice):
            return given
        return _filled(value.option(given), join(at, str(given)), value_of)
    return _mapped(value, at, lambda leaf, path: _filled(leaf, path, value_of))


def _mapped(value: Any, at: str, function: Callable[[Any, str], Any]) -> Any:
    """A transform or tree with a function of (part, path) applied to the calls right inside it."""
    if isinstance(value, Call):
        if not value.unfilled:
            return value
        paths = iter(_paths(value, at))
        return value._with_leaves(
            [function(leaf, next(paths)) if _is_call(leaf) else leaf for leaf in value.leaves]
        )

    def at_leaf(path: Any, leaf: Any) -> Any:
        return function(leaf, _below(at, path)) if _is_call(leaf) else leaf

    return jax.tree_util.tree_map_with_path(at_leaf, value, is_leaf=_is_call)


def _below(at: str, path: Any) -> str:
    return join(at, check.keystr(path)) if path else at


def _is_call(value: Any) -> bool:
    return isinstance(value, Call)


def _calls(call: Call) -> list[Call]:
    return [leaf for leaf in call.leaves if isinstance(leaf, Call)]


def _paths(call: Call, at: str) -> list[str]:
    """The paths of the calls among the leaves of a call."""
    if not call.unfilled:
        return [at] * len(_calls(call))
    if not any(isinstance(part, (Transform, Choice)) for part in _calls(call)):
        return [join(at, name) for name in Call.children(call)]  # as below, without a fill
    children, places = call.children(), call.part_names()
    single: Any = call._at_quantile(0.0)
    if not (isinstance(call, Transform) and isinstance(single.body, Chain)):
        return [join(at, places.get(name, name)) for name in children]
    return [  # the chains in a chain have no path of their own
        at if given is None and _is_chain(part) else join(at, name)
        for (given, _), (name, part) in zip(single.body, children.items(), strict=True)
    ]


def _is_chain(part: Call) -> bool:
    """Whether a part is spliced into the chain around it; a choice keeps its own name."""
    if isinstance(part, Distribution):
        return False
    filled: Any = part._at_quantile(0.0) if part.unfilled else part
    return isinstance(filled.body, Chain)
