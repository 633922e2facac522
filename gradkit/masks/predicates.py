"""Predicates: tests of a leaf's path and value."""

import fnmatch
import inspect
import re
from collections.abc import Callable
from typing import Any, ParamSpec, cast, overload

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit._call import Call, factory
from gradkit.typing import PyTree

P = ParamSpec("P")

_DTYPES = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")
_TREE = object()  # no leaf was given: the argument is a tree
_PREDICATE = "a predicate such as by_rank(2)"


class Predicate(Call):
    """A test of a leaf, ``predicate(path, leaf) -> bool``, to combine with ``&``, ``|`` and ``~``.

    Called with a tree, ``predicate(params)`` returns the tree of bools: the mask that other
    libraries accept. Optax treats a mask as a pytree, and a predicate is a pytree without leaves:
    give it that tree, or ``mask=lambda params: predicate(params)``.

    A predicate prints as the expression that makes it, ``by_rank(2) & ~by_path('head.*')``.

    Raises:
      TypeError: ``and``, ``or``, ``not`` or ``if`` on a predicate, which Python evaluates itself;
        an operand that is not a predicate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> decayed = gk.by_rank(2) & ~gk.by_path("embedding")
      >>> matrix, vector = jnp.zeros((2, 2)), jnp.zeros(2)
      >>> assert decayed("dense.kernel", matrix) and not decayed("embedding", matrix)
      >>> assert decayed({"kernel": matrix, "bias": vector}) == {"kernel": True, "bias": False}
    """

    __slots__ = ()

    @overload
    def __call__(self, tree: PyTree, /) -> PyTree: ...
    @overload
    def __call__(self, path: str, leaf: Any) -> bool: ...
    def __call__(self, path: Any, leaf: Any = _TREE) -> Any:
        """Test the leaf at the dotted ``path``; of a tree, return the tree of the results."""
        if leaf is not _TREE:
            answer = self.body(path, leaf)
            if not is_bool(answer):
                check.refuse(
                    f"{self!r} returned {brief(answer)}",
                    expected="one bool, which depends on the path, shape or dtype, not on values",
                    path=path,
                    error=TypeError,
                )
            return bool(answer)
        if isinstance(path, str):
            check.refuse(
                f"the path {path!r} was given without a leaf",
                expected="(path, leaf), or a tree of parameters",
                path=repr(self),
                error=TypeError,
            )
        return jax.tree_util.tree_map_with_path(
            lambda keys, each: self(check.keystr(keys), each), path
        )

    def __bool__(self) -> bool:  # noqa: PLE0304  refuse never returns
        check.refuse(
            "a predicate has no truth value, so and, or, not and if do not work on it",
            fix="Write a & b for a and b, a | b for a or b, ~a for not a",
            path=repr(self),
            error=TypeError,
        )

    def __and__(self, other: "Predicate") -> "Predicate":
        other = _operand(self, "&", other)
        return _all_of(*self._operands(_all_of), *other._operands(_all_of))

    def __or__(self, other: "Predicate") -> "Predicate":
        other = _operand(self, "|", other)
        return _any_of(*self._operands(_any_of), *other._operands(_any_of))

    def __invert__(self) -> "Predicate":
        return _not(self)

    def _operands(self, operator: Any) -> tuple["Predicate", ...]:
        """The operands of a predicate made by ``operator``: ``&`` and ``|`` are associative."""
        return self.arguments["predicates"] if self.factory is operator else (self,)

    def __repr__(self) -> str:
        if self.factory is _any_of:
            return " | ".join(map(repr, self.arguments["predicates"]))
        if self.factory is _all_of:
            return " & ".join(_bracketed(p, _any_of) for p in self.arguments["predicates"])
        if self.factory is _not:
            return f"~{_bracketed(self.arguments['predicate'], _any_of, _all_of)}"
        # The first argument needs no name: by_rank(2), not by_rank(at_least=2).
        name, first = self.factory.__name__, next(iter(self.arguments), "")
        return super().__repr__().replace(f"{name}({first}=", f"{name}(", 1)


def _bracketed(predicate: Predicate, *looser: Any) -> str:
    return f"({predicate!r})" if predicate.factory in looser else repr(predicate)


def _operand(left: Predicate, operator: str, right: Any) -> Predicate:
    if not isinstance(right, Predicate):
        fix = check.uncalled(right)
        if not fix and inspect.isroutine(right):
            fix = "Write by_function(f) for a function of (path, leaf)"
        check.refuse(
            f"{brief(right)} is not a predicate",
            expected=_PREDICATE,
            fix=fix,
            path=f"{left!r} {operator} {brief(right)}",
            error=TypeError,
        )
    return right


def predicate(function: Callable[P, Callable[[str, Any], bool]]) -> Callable[P, Predicate]:
    """Turn a function that returns ``(path, leaf) -> bool`` into a factory of predicates.

    Args:
      function: its arguments become those of the predicate, which prints, compares and pickles by
        them.

    Returns:
      The factory.

    Raises:
      TypeError: ``function`` is not a function.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> @gk.masks.predicate
      ... def square():
      ...     return lambda path, leaf: leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1]
      >>> assert square()("w", jnp.zeros((3, 3))) and (~square())("w", jnp.zeros((3, 2)))
    """
    if not inspect.isfunction(function):
        check.refuse(
            f"function={brief(function)} is not a function",
            expected="a function that returns (path, leaf) -> bool",
            path="predicate",
            error=TypeError,
        )
    return cast(Callable[P, Predicate], factory(function, Predicate))


@predicate
def by_path(*patterns: str, regex: bool = False) -> Callable[[str, Any], bool]:
    """Select leaves whose dotted path ends in one of some patterns.

    **Condition** a glob (``*`` any text, ``?`` one character) that matches the whole path, or the
    end of the path after a dot; or a regular expression found anywhere in the path.

    Args:
      patterns: ``"bias"``, ``"layers.*.kernel"``, ...; a leaf is selected when any of them matches.
      regex: read ``patterns`` as regular expressions.

    Raises:
      TypeError: no pattern, or a pattern that is not a string.
      ValueError: an invalid regular expression; in a mask, patterns of which none matches a leaf of
        the whole tree.

    Example:
      >>> import gradkit as gk
      >>> plain = gk.by_path("bias", "norm.*")
      >>> assert plain("layers.0.bias", None) and plain("bias", None) and plain("norm.scale", None)
      >>> assert not plain("layers.0.unbiased_bias_scale", None)
    """
    strings = "one or more patterns that are strings, such as by_path('dense.*', 'norm.*')"
    if not patterns:
        check.refuse("no pattern was given", expected=strings, error=TypeError)
    if not isinstance(regex, bool):
        check.refuse(f"regex={regex!r} is not a bool", error=TypeError)
    for pattern in patterns:
        if not isinstance(pattern, str):
            fix = f"Write regex={pattern}" if isinstance(pattern, bool) else ""
            check.refuse(
                f"{brief(pattern)} is not a pattern", expected=strings, fix=fix, error=TypeError
            )
    if not regex:
        patterns = tuple(rf"(?:.*\.)?(?:{fnmatch.translate(pattern)})" for pattern in patterns)
    expressions = [_compiled(pattern) for pattern in patterns]
    matches = [each.search if regex else each.match for each in expressions]
    return lambda path, leaf: any(match(path) for match in matches)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        check.refuse(f"{pattern!r} is not a regular expression: {error}")


@predicate
def by_rank(at_least: int = 0, at_most: int | None = None) -> Callable[[str, Any], bool]:
    """Select leaves of at least a given rank (number of axes), and of at most another.

    ``by_rank(2)`` selects matrices and higher arrays, hence no bias and no scale of a
    normalization.

    **Condition** at_least ≤ ndim ≤ at_most.

    Args:
      at_least: the smallest rank, ≥ 0.
      at_most: the largest rank, ≥ ``at_least``; None for no bound.

    Raises:
      ValueError: a negative rank, ``at_most`` below ``at_least``.
      TypeError: a bound that is not a whole number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.by_rank(2)("w", jnp.zeros((2, 2))) and gk.by_rank(2)("w", jnp.zeros((2, 2, 2)))
      >>> assert not gk.by_rank(2)("b", jnp.zeros(2)) and gk.by_rank(1, 1)("b", jnp.zeros(2))
    """
    top = _bounds(at_least, at_most)
    return lambda path, leaf: bool(at_least <= np.ndim(leaf) <= top)


@predicate
def by_size(at_least: int = 0, at_most: int | None = None) -> Callable[[str, Any], bool]:
    """Select leaves with at least a given number of elements, and at most another.

    **Condition** at_least ≤ size ≤ at_most.

    Args:
      at_least: the smallest number of elements, ≥ 0.
      at_most: the largest number of elements, ≥ ``at_least``; None for no bound.

    Raises:
      ValueError: a negative size, ``at_most`` below ``at_least``.
      TypeError: a bound that is not a whole number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> w = jnp.zeros((2, 2))
      >>> assert gk.masks.by_size(4)("w", w) and not gk.masks.by_size(5)("w", w)
    """
    top = _bounds(at_least, at_most)
    return lambda path, leaf: bool(at_least <= np.size(leaf) <= top)


def _bounds(at_least: int, at_most: int | None) -> float:
    """The upper bound, after both were checked."""
    check.integer(0, at_least=at_least)
    if at_most is None:
        return float("inf")
    check.integer(0, at_most=at_most)
    if at_most < at_least:
        check.refuse(f"at_most={at_most} is out of range", expected=f"at_most >= {at_least}")
    return at_most


@predicate
def by_dtype(dtype: Any) -> Callable[[str, Any], bool]:
    """Select leaves of a dtype, or of a kind of dtypes such as ``jnp.complexfloating``.

    **Condition** issubdtype(leaf.dtype, dtype).

    Args:
      dtype: a dtype, its name, or an abstract type of dtypes.

    Raises:
      TypeError: neither a dtype nor a kind of dtypes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> narrow = gk.masks.by_dtype(jnp.bfloat16)
      >>> assert narrow("w", jnp.zeros(1, jnp.bfloat16)) and not narrow("w", jnp.zeros(1))
    """
    if not _is_kind(dtype):
        check.refuse(
            f"dtype={brief(dtype)} is not a dtype",
            expected="a dtype such as 'bfloat16', or a kind of dtypes such as jnp.floating",
            fix=check.nearest(dtype, _DTYPES) if isinstance(dtype, str) else "",
            error=TypeError,
        )
    return lambda path, leaf: bool(jnp.issubdtype(jax.dtypes.result_type(leaf), dtype))


def _is_kind(dtype: Any) -> bool:
    try:
        if isinstance(dtype, (list, dict, tuple)):  # NumPy reads them as structured dtypes
            return False
        jnp.issubdtype(jnp.bool_, dtype)
    except (TypeError, ValueError):
        return False
    return dtype is not None  # which NumPy reads as float64


@predicate
def by_function(function: Callable[[str, Any], bool]) -> Callable[[str, Any], bool]:
    """Select leaves by any function of the path and the leaf.

    **Condition** function(path, leaf).

    Args:
      function: takes the dotted path and the leaf (an array, a tracer or a ``ShapeDtypeStruct``)
        and returns a bool. As ``param_labels`` of ``partition`` it returns the leaf's label
        instead.

    Raises:
      TypeError: ``function`` is not callable, does not take two arguments, or returns no bool.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> pairs = gk.masks.by_function(lambda path, leaf: leaf.shape == (2,))
      >>> assert pairs("b", jnp.zeros(2)) and not pairs("b", jnp.zeros(3))
    """
    question(function=function)
    return function


@predicate
def _all_of(*predicates: Predicate) -> Callable[[str, Any], bool]:
    """``a & b``."""
    return lambda path, leaf: all(p(path, leaf) for p in predicates)


@predicate
def _any_of(*predicates: Predicate) -> Callable[[str, Any], bool]:
    """``a | b``."""
    return lambda path, leaf: any(p(path, leaf) for p in predicates)


@predicate
def _not(predicate: Predicate) -> Callable[[str, Any], bool]:
    """``~a``."""
    return lambda path, leaf: not predicate(path, leaf)


# ---- checks of arguments -------------------------------------------------------------


def question(**values: Any) -> None:
    """Refuse arguments that are neither predicates nor functions of ``(path, leaf)``."""
    for name, value in values.items():
        called(value, name)
        if not isinstance(value, Predicate) and not takes(value, 2):
            check.refuse(
                f"{name}={brief(value)} is not a function of (path, leaf)",
                expected=f"{_PREDICATE}, or a function of (path, leaf)",
                error=TypeError,
            )


def called(value: Any, name: str) -> None:
    """Refuse a factory, such as ``by_rank`` itself, that was not called."""
    if fix := check.uncalled(value):
        check.refuse(
            f"{name}={value.__name__} is not a predicate, but the function that makes one",
            expected=_PREDICATE,
            fix=fix,
            error=TypeError,
        )


def takes(function: Any, number: int) -> bool:
    """Whether ``function`` takes that many positional arguments, as far as can be known."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*range(number))
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        pass
    return True


def is_bool(value: Any) -> bool:
    """A bool, or an array that holds exactly one and is not traced."""
    if isinstance(value, (np.ndarray, jax.Array)):
        traced = isinstance(value, jax.core.Tracer)
        return not traced and value.ndim == 0 and value.dtype == bool
    return isinstance(value, (bool, np.bool_))


def brief(value: Any) -> str:
    """The value in an error message: an array by dtype and shape, a function by name."""
    if isinstance(value, (np.ndarray, jax.Array)):
        is_number = value.ndim == 0 and not isinstance(value, jax.core.Tracer)
        return repr(value) if is_number else check.shape_dtype(value)
    if inspect.isroutine(value) or isinstance(value, type):
        return value.__name__
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
