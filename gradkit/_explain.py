"""Errors of other libraries, explained by the arguments that caused them.

A function that is explained is not slowed down while it succeeds. When it raises an error of
another library, its arguments are judged: trees by their leaves, structures and shapes; numbers,
dtypes and functions by their kinds. The first wrong one is named in a message of the style in
``_checks``. Where none is wrong, the error stays as it is.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check

F = TypeVar("F", bound=Callable[..., Any])

_DTYPES = ("bfloat16", "float16", "float32", "float64", "int32", "int8", "complex64", "complex128")


def explained(
    trees: str = "", numbers: str = "", dtypes: str = "", functions: dict[str, int] | None = None
) -> Callable[[F], F]:
    """Let a function name the argument that makes it fail.

    Args:
      trees: the names of arguments that are trees; those after the first are like the first.
      numbers: the names of arguments that are one number.
      dtypes: the names of arguments that are a dtype, or None.
      functions: how many positional arguments the functions among the arguments take.

    Returns:
      the decorator.
    """

    def decorate(function: F) -> F:
        signature, name = inspect.signature(function), function.__name__

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with check.inside(name):
                try:
                    return function(*args, **kwargs)
                except Exception as error:
                    if not check.is_ours(error) and not isinstance(error, jax.errors.JAXTypeError):
                        _explain(signature, args, kwargs, error)
                    raise

        def _explain(signature: Any, args: Any, kwargs: Any, error: Exception) -> None:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError as wrong:
                bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
                fix = f"It is {name}{inspect.Signature(bare)}"
                check.refuse(str(wrong), fix=fix, error=TypeError)
            judge(given, numbers.split(), dtypes.split(), functions or {})
            alike(_trees(given, trees.split()))

        return cast(F, run)

    return decorate


def judge(
    given: dict[str, Any], numbers: list[str], dtypes: list[str], functions: dict[str, int]
) -> None:
    """Refuse numbers, dtypes and functions that are none."""
    for name in numbers:
        if name in given and not isinstance(given[name], complex):
            check.as_number(name, given[name])
            if np.ndim(given[name]):
                problem = f"{name} is {check.shape_dtype(given[name])}"
                check.refuse(problem, expected="one number", error=TypeError)
    for name in dtypes:
        if name in given:
            dtype(name, given[name])
    for name, count in functions.items():
        if given.get(name) is not None:
            check.arity(count, "the leaves of each tree", **{name: given[name]})


def dtype(name: str, value: Any) -> None:
    """Refuse what is not a dtype."""
    try:
        if not isinstance(value, (list, dict)):
            jnp.dtype(value)
            return
    except TypeError:
        pass
    fix = check.nearest(value, _DTYPES) if isinstance(value, str) else ""
    check.refuse(f"{name}={check.shown(value)} is not a dtype", fix=fix, error=TypeError)


def _trees(given: dict[str, Any], names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        several = name in ("other_trees", "rest")
        if several:
            found |= {f"{name}[{i}]": tree for i, tree in enumerate(given.get(name, ()))}
        elif name in given:
            found[name] = given[name]
    return found


def alike(trees: dict[str, Any]) -> None:
    """Refuse trees that hold anything but arrays, and trees that differ from the first."""
    for name, tree in trees.items():
        arrays(name, tree)
    (first, like), *others = trees.items() if trees else [("", None)]
    for name, tree in others:
        _differ(name, tree, first, like)


def arrays(name: str, tree: Any) -> None:
    """Refuse a tree with a leaf that is no array."""
    if tree is not None:
        check.tree_of_arrays(tree, name)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        try:
            is_key = jnp.issubdtype(jax.dtypes.result_type(leaf), jax.dtypes.prng_key)
        except (TypeError, ValueError):
            _not_an_array(name, path, leaf)
        if is_key:
            _not_an_array(name, path, leaf)


def _not_an_array(name: str, path: Any, leaf: Any) -> NoReturn:
    problem = f"this leaf of {name} is {check.shown(leaf)}"
    check.refuse(problem, expected="an array", path=check.keystr(path), error=TypeError)


def _differ(name: str, tree: Any, first: str, like: Any) -> None:
    have, want = (dict(_by_path(each)) for each in (tree, like))
    for path in want:
        if path not in have:
            problem = f"{name} has no leaf here"
            check.refuse(problem, expected=f"a tree like {first}", path=path)
    for path in have:
        if path not in want:
            problem = f"{name} has a leaf here, and {first} has none"
            check.refuse(problem, expected=f"a tree like {first}", path=path)
    for path, leaf in have.items():
        if np.shape(leaf) != np.shape(want[path]):
            problem = f"this leaf of {name} is {check.shape_dtype(leaf)}"
            expected = f"the shape of {first}, {check.shape_dtype(want[path])}"
            check.refuse(problem, expected=expected, path=path)
    structure: Any = jax.tree.structure(tree)
    if structure != jax.tree.structure(like):
        expected = f"{jax.tree.structure(like)}, as {first} is"
        check.refuse(f"{name} is {structure}", expected=expected)


def _by_path(tree: Any) -> list[tuple[str, Any]]:
    return [(check.keystr(p), leaf) for p, leaf in jax.tree_util.tree_leaves_with_path(tree)]
