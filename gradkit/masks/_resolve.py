"""Conversion of masks and labels into trees, and the search for patterns that match nothing."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import jax
import numpy as np

from gradkit import _checks as check
from gradkit._arguments import CONVERTERS
from gradkit._call import Call
from gradkit.masks.predicates import Predicate, brief, by_path, called, is_bool, takes
from gradkit.typing import Mask, Params, PyTree

_MASK = (
    "a tree of bools like the parameters or a prefix of it, a function of the parameters that "
    "returns such a tree, or a predicate"
)


def resolve(mask: Mask, params: Params, whole: PyTree = None) -> PyTree:
    """Turn a mask into a tree of bools like ``params``.

    Args:
      mask: a tree of bools (a prefix of params will do), a `Predicate`, or a function of the params
        that returns such a tree. A tree that happens to be callable is still a tree.
      params: the parameters, with None in place of the leaves that a wrapper outside has masked.
      whole: the tree in which every ``by_path`` must match a leaf; ``params`` by default.

    Returns:
      The tree of bools. All of them may be False.

    Raises:
      TypeError: not a mask, or a mask that holds anything but bools.
      ValueError: a tree that does not fit the params, a ``by_path`` that matches no leaf of
        ``whole``.
    """
    if not jax.tree.leaves(params):
        return params  # nothing to select, such as the placeholder of map_params
    name = check.name_of("mask", mask)
    if isinstance(mask, Predicate):
        match_patterns(name, mask, params if whole is None else whole)
        return _by_leaf(mask, params)
    called(mask, name)
    if not _is_function(mask):
        return _bools(name, mask, params)
    if not takes(mask, 1):
        check.refuse(
            f"{name}={brief(mask)} is not a function of one argument",
            expected=_MASK,
            fix="Write by_function(f) for a function of (path, leaf)",
            error=TypeError,
        )
    return _bools(f"{name}(params)", mask(params), params)


def selected(mask: Mask, context: Any) -> PyTree:
    """The mask of a rule as a tree of bools like the trees that it is given.

    Args:
      mask: as for `resolve`.
      context: the `Context` of the rule.

    Returns:
      The tree of bools: for each leaf, or for each stack of leaves inside ``stacked``.
    """
    if context.layout is None:
        return resolve(mask, context.leaves, whole=context.whole)
    return context.layout.of(resolve(mask, context.layout.leaves, whole=context.whole))


def labels(given: Any, tree: Params, whole: PyTree = None) -> PyTree:
    """Turn labels into a tree like ``tree``.

    Args:
      given: a tree of labels (a prefix will do), a function of the tree that returns one, a dict
        with a predicate for each label, or one predicate, whose results (of ``by_function``: any
        values) are the labels.
      tree: the parameters.
      whole: the tree in which every ``by_path`` must match a leaf; ``tree`` by default.

    Returns:
      The tree of labels.

    Raises:
      TypeError: a function that does not take one argument, predicates beside other labels.
      ValueError: labels that do not fit the tree, a leaf that no predicate of a dict matches, or
        several.
    """
    if not jax.tree.leaves(tree):
        return tree
    if isinstance(given, Predicate):
        match_patterns("param_labels", given, tree if whole is None else whole)
        return _by_leaf(given.body, tree)
    called(given, "param_labels")
    if _is_function(given):
        if not takes(given, 1):
            check.refuse(
                f"param_labels={brief(given)} is not a function of one argument",
                expected="a function of the parameters that returns a tree of labels",
                fix="Write by_function(f) for a function of (path, leaf)",
                error=TypeError,
            )
        given = given(tree)
    predicates = dict(given) if isinstance(given, Mapping) else {}
    for label, each in predicates.items():
        called(each, f"param_labels[{label!r}]")
    are = [isinstance(each, Predicate) for each in predicates.values()]
    if not any(are):
        return _spread("param_labels", given, tree)
    if not all(are):
        label, other = next(kv for kv in predicates.items() if not isinstance(kv[1], Predicate))
        check.refuse(
            f"param_labels[{label!r}]={brief(other)} is not a predicate",
            expected="a predicate for every label, or none",
            error=TypeError,
        )
    for label, each in predicates.items():
        match_patterns(f"param_labels[{label!r}]", each, tree if whole is None else whole)
    return _by_leaf(lambda path, leaf: _only_label(predicates, path, leaf), tree)


def _only_label(predicates: Mapping[Any, Predicate], path: str, leaf: Any) -> Any:
    found = [label for label, each in predicates.items() if each(path, leaf)]
    if len(found) != 1:
        several = f"the predicates of {', '.join(map(repr, found))} match this parameter"
        check.refuse(
            several if found else "no predicate of param_labels matches this parameter",
            expected="exactly one",
            fix="Make the predicates exclude one another and cover all parameters",
            path=path,
        )
    return found[0]


def _is_function(value: Any) -> bool:
    """Whether ``value`` is callable and no callable pytree, such as an Equinox module."""
    return callable(value) and jax.tree_util.all_leaves([value])


def _by_leaf(function: Callable[[str, Any], Any], tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function(check.keystr(path), leaf), tree
    )


def _bools(name: str, given: Any, params: Any) -> Any:
    """A tree of bools spread over the params; other values, which are truthy, are refused."""
    leaves = jax.tree_util.tree_leaves_with_path(given, is_leaf=lambda x: isinstance(x, Predicate))
    for path, leaf in leaves:
        if not is_bool(leaf):
            place = f"{name}.{check.keystr(path)}" if path else name
            _refuse_leaf(place, leaf, [word for _, word in leaves], params)
    if given is None:
        check.refuse(f"{name} is None", expected=_MASK, error=TypeError)
    return jax.tree.map(bool, _spread(name, given, params))


def _refuse_leaf(place: str, leaf: Any, others: list[Any], params: Any) -> NoReturn:
    """Say what is wrong with a leaf of a mask, and what was probably intended."""
    expected, fix = _MASK, ""
    if isinstance(leaf, str):
        words = [word for word in others if isinstance(word, str)]
        fix = f"Did you mean {_corrected(words, params)!r}?"
    elif isinstance(leaf, Predicate):
        expected = "bools in a tree of bools"
        fix = "A predicate is a whole mask: combine it with by_path to select a part of the tree"
    elif isinstance(leaf, jax.core.Tracer):
        expected = "bools that are known while tracing"
        fix = "Let a mask depend on paths, shapes and dtypes, not on values"
    elif isinstance(leaf, (np.ndarray, jax.Array)) and leaf.ndim:
        expected = "one bool for each leaf, not one for each element"
    elif isinstance(leaf, (int, float, np.generic, np.ndarray, jax.Array)):
        fix = "Compare, as in x.ndim >= 2, or write by_rank(2)"
    check.refuse(
        f"{place}={brief(leaf)} is not a bool", expected=expected, fix=fix, error=TypeError
    )


def _spread(name: str, given: Any, params: Any) -> Any:
    """A prefix tree spread over the leaves below each of its own."""
    try:
        return jax.tree.map(lambda one, below: jax.tree.map(lambda _: one, below), given, params)
    except (ValueError, TypeError):
        _refuse_tree(name, given, params)


def _refuse_tree(name: str, given: Any, params: Any) -> NoReturn:
    """Name the first leaf on which the two trees differ."""
    ours = [path for path, _ in jax.tree_util.tree_leaves_with_path(given)]
    theirs = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    lacks = [path for path in theirs if not any(path[: len(own)] == own for own in ours)]
    extra = [own for own in ours if not any(path[: len(own)] == own for path in theirs)]
    if lacks:
        problem = f"{name} has no entry for {check.keystr(lacks[0])}"
    elif extra:
        problem = f"{name} has the entry {check.keystr(extra[0])}, which the parameters lack"
    else:
        problem = f"{name} is the tree {jax.tree.structure(given)}"
    check.refuse(problem, expected="a tree like the parameters, or a prefix of it")


# ---- patterns that match nothing -----------------------------------------------------


def match_patterns(name: str, predicate: Predicate, whole: PyTree) -> None:
    """Refuse a ``by_path``, alone or within a predicate, that matches no leaf of the whole tree."""
    paths = _paths(whole)
    for pattern in _patterns(predicate) if paths else ():
        if not any(pattern(path, None) for path in paths):
            inside = "" if pattern == predicate else f" (in {name}={predicate!r})"
            shown = f"{name}={pattern!r}" if pattern == predicate else repr(pattern)
            more = ", …" if len(paths) > 8 else ""
            check.refuse(
                f"{shown} matches no parameter{inside}. "
                f"Available paths: {', '.join(paths[:8])}{more}",
                fix=hint(pattern, whole),
            )


def _patterns(predicate: Call) -> Iterator[Predicate]:
    """Every ``by_path`` in a predicate."""
    if isinstance(predicate, Predicate) and predicate.factory is by_path:
        yield predicate
    for part in predicate.children().values():
        yield from _patterns(part)


def hint(predicate: Any, params: Params) -> str:
    """``Did you mean by_path('x.*')?`` for a ``by_path`` that matches nothing; else ``''``."""
    paths = _paths(params)
    for pattern in _patterns(predicate) if isinstance(predicate, Predicate) else ():
        if not pattern.arguments["regex"] and not any(pattern(path, None) for path in paths):
            corrected = _corrected(pattern.arguments["patterns"], params)
            if corrected != pattern:
                return f"Did you mean {corrected!r}?"
    return ""


def _corrected(patterns: Iterable[str], params: Any) -> Predicate:
    """The ``by_path`` of some patterns, with the wildcards or the spelling that match a leaf."""
    paths = _paths(params)
    known: set[str] = set()  # what a pattern without mistakes can look like
    for path in paths[:1000]:
        keys = path.split(".")
        for start in range(len(keys)):
            known.add(".".join(keys[start:]))
            known |= {".".join((*keys[start:end], "*")) for end in range(start + 1, len(keys))}
    names = {name.removesuffix(".*"): name for name in sorted(known, reverse=True)}

    def corrected(pattern: str) -> str:
        for form in ("{}", "{}.*", "*{}", "*{}.*", "{}*", "*{}*"):
            wide = by_path(form.format(pattern))
            if any(wide(path, None) for path in paths):
                return form.format(pattern)
        near = difflib.get_close_matches(pattern, known, n=1, cutoff=0.7)
        if near:
            return near[0]
        near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.7)
        return names[near[0]] if near else pattern

    return by_path(*map(corrected, patterns))


def _paths(tree: Any) -> list[str]:
    return [check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _as_mask(name: str, value: Any) -> Any:
    """A mask as an argument: what cannot be one is refused when the factory is called."""
    number = isinstance(value, (int, float, complex, np.number)) and not is_bool(value)
    other_call = isinstance(value, Call) and not isinstance(value, Predicate)
    called(value, name)
    if _is_function(value) and not isinstance(value, Predicate) and not takes(value, 1):
        problem = f"{name}={brief(value)} is not a function of one argument"
        fix = "Write by_function(f) for a function of (path, leaf)"
        check.refuse(problem, expected=_MASK, fix=fix, argument=(name, value), error=TypeError)
    leaf = value is None or (jax.tree_util.all_leaves([value]) and not _may_be_mask(value))
    if isinstance(value, (str, bytes)) or number or other_call or leaf:
        fix = f"Write by_path({value!r})" if isinstance(value, str) else ""
        problem = f"{name}={check.shown(value)} is not a mask"
        check.refuse(problem, expected=_MASK, fix=fix, argument=(name, value), error=TypeError)
    return value


def _may_be_mask(leaf: Any) -> bool:
    """Whether a mask that is no container may be judged at ``init``."""
    return callable(leaf) or is_bool(leaf) or isinstance(leaf, jax.core.Tracer)


CONVERTERS[Mask] = _as_mask
