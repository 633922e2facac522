"""Which leaves: predicates on a leaf's path and value, and the one place that turns a mask into a tree of bools."""

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, cast, overload

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit._call import Call, factory

P = ParamSpec("P")

_DTYPES = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")
_TREE = object()  # no leaf was given: the question is about a tree


class Predicate(Call):
    """A question about a leaf, ``predicate(path, leaf) -> bool``; predicates combine with ``&``, ``|`` and ``~``.

    Asked about a tree, ``predicate(params)``, it answers with the tree of bools, the mask that other libraries take. Optax looks for the leaves
    of a mask, and a predicate is a pytree without any: give it that tree, or ``mask=lambda params: predicate(params)``.

    Raises:
      TypeError: ``and``, ``or`` or ``not`` between predicates, which Python would answer by itself.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> decayed = gk.by_rank(2) & ~gk.by_path("embedding")
      >>> assert decayed("dense.kernel", jnp.zeros((2, 2))) and not decayed("embedding", jnp.zeros((2, 2)))
      >>> assert decayed({"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}) == {"kernel": True, "bias": False}
    """

    __slots__ = ()

    @overload
    def __call__(self, tree: Any, /) -> Any: ...
    @overload
    def __call__(self, path: str, leaf: Any) -> bool: ...
    def __call__(self, path: Any, leaf: Any = _TREE) -> Any:
        """Whether the leaf at the dotted ``path`` is meant; of a tree of parameters, the tree of the answers."""
        if leaf is not _TREE:
            return bool(self.body(path, leaf))
        if isinstance(path, str):
            check.fail(
                "needs a path and a leaf, or a tree of parameters",
                f"the path {path!r} alone",
                path=repr(self),
                error=TypeError,
            )
        return _by_leaf(self, path)

    def __bool__(self) -> bool:  # noqa: PLE0304  fail never returns
        mend = "Write a & b for a and b, a | b for a or b, ~a for not a"
        check.fail(
            "needs &, | or ~ to be combined",
            "and, or, not or if, which ask for its truth",
            mend,
            path=repr(self),
            error=TypeError,
        )

    def __and__(self, other: "Predicate") -> "Predicate":
        return every(self, other)

    def __or__(self, other: "Predicate") -> "Predicate":
        return some(self, other)

    def __invert__(self) -> "Predicate":
        return outside(self)


def predicate(function: Callable[P, Callable[[str, Any], bool]]) -> Callable[P, Predicate]:
    """Turn a function that returns ``(path, leaf) -> bool`` into a factory of predicates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> @gk.predicate
      ... def square():
      ...     return lambda path, leaf: leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1]
      >>> assert square()("w", jnp.zeros((3, 3))) and (~square())("w", jnp.zeros((3, 2)))
    """
    made = factory(function, Predicate)
    made.makes = Predicate
    return cast(Callable[P, Predicate], made)


@predicate
def by_path(*patterns: str, regex: bool = False) -> Callable[[str, Any], bool]:
    """Leaves whose dotted path ends in one of some patterns.

    **Rule** a glob (``*`` any text, ``?`` one character) that fits the whole path or its end after a dot; or a regular expression found anywhere.

    Args:
      patterns: ``"bias"``, ``"layers.*.kernel"``, ...; a leaf is meant when any of them fits.
      regex: read ``patterns`` as regular expressions.

    Raises:
      TypeError: no pattern, or one that is no string.

    Example:
      >>> import gradkit as gk
      >>> plain = gk.by_path("bias", "norm.*")
      >>> assert plain("layers.0.bias", None) and plain("bias", None) and plain("norm.scale", None)
      >>> assert not plain("layers.0.unbiased_bias_scale", None)
    """
    mend = "Such as by_path('dense.*', 'norm.*')"
    if not patterns:
        check.fail("needs at least one pattern", "none", mend, path="patterns", error=TypeError)
    for i, pattern in enumerate(patterns):
        if not isinstance(pattern, str):
            mend = f"Write regex={pattern}" if isinstance(pattern, bool) else mend
            check.fail(
                "needs patterns that are strings",
                repr(pattern),
                mend,
                path=f"patterns[{i}]",
                error=TypeError,
            )
    expressions = [
        re.compile(pattern if regex else rf"(?:.*\.)?(?:{fnmatch.translate(pattern)})")
        for pattern in patterns
    ]
    fits = [expression.search if regex else expression.match for expression in expressions]
    return lambda path, leaf: any(fit(path) for fit in fits)


@predicate
def by_rank(at_least: int = 0, at_most: int | None = None) -> Callable[[str, Any], bool]:
    """Leaves of a rank: ``by_rank(2)`` is every matrix and above, so no bias and no scale of a norm.

    **Rule** at_least ≤ ndim ≤ at_most.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.by_rank(2)("w", jnp.zeros((2, 2))) and not gk.by_rank(2)("b", jnp.zeros(2)) and gk.by_rank(1, 1)("b", jnp.zeros(2))
    """
    check.integer(0, at_least=at_least)
    return lambda path, leaf: at_least <= np.ndim(leaf) <= (np.inf if at_most is None else at_most)


@predicate
def by_size(at_least: int = 0, at_most: int | None = None) -> Callable[[str, Any], bool]:
    """Leaves of a size, in numbers held.

    **Rule** at_least ≤ size ≤ at_most.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.by_size(4)("w", jnp.zeros((2, 2))) and not gk.by_size(5)("w", jnp.zeros((2, 2)))
    """
    check.integer(0, at_least=at_least)
    return lambda path, leaf: at_least <= np.size(leaf) <= (np.inf if at_most is None else at_most)


@predicate
def by_dtype(dtype: Any) -> Callable[[str, Any], bool]:
    """Leaves of a dtype, or of a kind of dtypes (``jnp.complexfloating``).

    **Rule** issubdtype(leaf.dtype, dtype).

    Raises:
      TypeError: neither a dtype nor a kind of dtypes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.by_dtype(jnp.bfloat16)("w", jnp.zeros(1, jnp.bfloat16)) and not gk.by_dtype(jnp.bfloat16)("w", jnp.zeros(1))
    """
    if not _is_kind(dtype):
        mend = check.nearest(dtype, _DTYPES) if isinstance(dtype, str) else "Such as 'bfloat16'"
        check.fail(
            "needs a dtype or a kind of dtypes", repr(dtype), mend, path="dtype", error=TypeError
        )
    return lambda path, leaf: bool(jnp.issubdtype(jax.dtypes.result_type(leaf), dtype))


@predicate
def by_function(function: Callable[[str, Any], bool]) -> Callable[[str, Any], bool]:
    """Leaves chosen by any function of path and leaf.

    **Rule** function(path, leaf).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.by_function(lambda path, leaf: leaf.shape == (2,))("b", jnp.zeros(2))
    """
    question(function=function)
    return function


@predicate
def every(*predicates: Predicate) -> Callable[[str, Any], bool]:
    """Leaves that all predicates mean: ``a & b``.

    **Rule** Λ p_i(path, leaf).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert (gk.by_path("w") & gk.by_rank(1))("w", jnp.zeros(1)) and not (gk.by_path("w") & gk.by_rank(1))("w", jnp.zeros(()))
    """
    question(**{f"predicates[{i}]": p for i, p in enumerate(predicates)})
    return lambda path, leaf: all(p(path, leaf) for p in predicates)


@predicate
def some(*predicates: Predicate) -> Callable[[str, Any], bool]:
    """Leaves that any predicate means: ``a | b``.

    **Rule** V p_i(path, leaf).

    Example:
      >>> import gradkit as gk
      >>> assert (gk.by_path("a") | gk.by_path("b"))("b", None) and not (gk.by_path("a") | gk.by_path("b"))("c", None)
    """
    question(**{f"predicates[{i}]": p for i, p in enumerate(predicates)})
    return lambda path, leaf: any(p(path, leaf) for p in predicates)


@predicate
def outside(inner: Predicate) -> Callable[[str, Any], bool]:
    """Leaves that a predicate does not mean: ``~a``.

    **Rule** ¬ p(path, leaf).

    Example:
      >>> import gradkit as gk
      >>> assert (~gk.by_path("a"))("b", None) and not (~gk.by_path("a"))("a", None)
    """
    question(inner=inner)
    return lambda path, leaf: not inner(path, leaf)


def _is_kind(dtype: Any) -> bool:
    try:
        jnp.issubdtype(jnp.bool_, dtype)
    except TypeError:
        return False
    return dtype is not None  # which NumPy reads as float64


def question(**values: Any) -> None:
    """Predicates or functions of ``(path, leaf)``, where leaves are asked for."""
    for name, value in values.items():
        called(value, name)
        if not callable(value):
            check.fail(
                "needs a predicate, or a function of (path, leaf)",
                repr(value),
                "Such as by_rank(2)",
                path=name,
                error=TypeError,
            )


def called(value: Any, path: str) -> None:
    """A factory of predicates is none itself."""
    if getattr(value, "makes", None) is Predicate:
        check.fail(
            "needs a predicate",
            f"the function {value.__name__}",
            f"Call it: {value.__name__}(...)",
            path=path,
            error=TypeError,
        )


def resolve(mask: Any, params: Any) -> Any:
    """A mask as a tree of bools like ``params``.

    ``mask`` is a tree of bools (a prefix of params will do), a `Predicate`, a function of the params that returns such a tree, or a
    function of ``(path, leaf)``. A tree that happens to be callable is still a tree.
    """
    if isinstance(mask, Predicate):
        found = _by_leaf(mask, params)
    elif callable(mask) and jax.tree_util.all_leaves([mask]):
        called(mask, "mask")
        found = _by_leaf(mask, params) if _takes_two(mask) else _bools(mask(params), params)
    else:
        found = _bools(mask, params)
    if jax.tree.leaves(params) and not any(jax.tree.leaves(found)):
        paths = ", ".join(_paths(params)[:8])
        check.fail(
            "needs a mask that means at least one leaf",
            f"{mask!r}, which means none of {paths}",
            hint(mask, params),
            path="mask",
        )
    return found


def hint(mask: Any, params: Any) -> str:
    """``Did you mean by_path('x.*')?``, where a pattern in a mask fits no leaf of ``params``, and would with wildcards; or nothing."""
    if not isinstance(mask, Predicate):
        return ""
    if (
        mask.factory is by_path
        and not mask.regex
        and not any(mask(path, None) for path in _paths(params))
    ):
        wider = _widened(mask.patterns, params)
        return f"Did you mean {wider!r}?" if wider != mask else ""
    return next((found for part in mask.children().values() if (found := hint(part, params))), "")


def _widened(patterns: Iterable[str], params: Any) -> Predicate:
    """The ``by_path`` of some patterns, each with the wildcards without which it fits no leaf."""
    paths = _paths(params)

    def widened(pattern: str) -> str:
        for form in ("{}", "{}.*", "*{}", "*{}.*", "{}*", "*{}*"):
            wide = by_path(form.format(pattern))
            if any(wide(path, None) for path in paths):
                return form.format(pattern)
        return pattern

    return by_path(*map(widened, patterns))


def labels(given: Any, tree: Any) -> Any:
    """Labels as a tree like ``tree``: from a tree (a prefix will do), a function of the tree, or a function of ``(path, leaf)``."""
    if callable(given) and jax.tree_util.all_leaves([given]):
        if _takes_two(given):
            return jax.tree_util.tree_map_with_path(
                lambda path, leaf: given(check.keystr(path), leaf), tree
            )
        given = given(tree)
    return _spread(given, tree, "labels")


def _by_leaf(asked: Callable[[str, Any], bool], params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: bool(asked(check.keystr(path), leaf)), params
    )


def _paths(tree: Any) -> list[str]:
    return [check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _bools(given: Any, params: Any) -> Any:
    """A tree that is to be a mask, spread over the params: whatever is no bool is refused, for Python would read it as True."""
    leaves = jax.tree_util.tree_leaves_with_path(given, is_leaf=lambda x: isinstance(x, Predicate))
    for path, one in leaves:
        if isinstance(one, (bool, np.bool_)) or (
            isinstance(one, (np.ndarray, jax.Array)) and one.ndim == 0 and one.dtype == bool
        ):
            continue
        mend, got = "", f"{type(one).__name__} {one!r}"
        if isinstance(one, str):
            mend = f"Did you mean {_widened([word for _, word in leaves if isinstance(word, str)], params)!r}?"
        elif isinstance(one, Predicate):
            mend, got = (
                "A predicate is a whole mask: join it with by_path for a part of the parameters",
                repr(one),
            )
        elif isinstance(one, (np.ndarray, jax.Array)) and one.ndim:
            mend, got = (
                "A mask has one bool for a leaf, not one for a number",
                check.shape_dtype(one),
            )
        elif isinstance(one, (int, float, np.generic, np.ndarray, jax.Array)):
            mend = "Compare, as in x.ndim >= 2, or write by_rank(2)"
        needed = "needs a mask: a tree of bools like the parameters or a prefix of it, a function of them, or a predicate"
        check.fail(
            needed,
            got,
            mend,
            path=f"mask.{check.keystr(path)}" if path else "mask",
            error=TypeError,
        )
    return jax.tree.map(bool, _spread(given, params, "mask"))


def _spread(given: Any, params: Any, what: str) -> Any:
    """A prefix tree spread over the leaves below each of its own."""
    try:
        return jax.tree.map(lambda one, below: jax.tree.map(lambda _: one, below), given, params)
    except (ValueError, TypeError) as error:
        check.fail(
            f"needs {what} in a tree like params",
            f"{jax.tree.structure(given)}",
            str(error).splitlines()[0],
            path=what,
        )


def _takes_two(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)
    return (
        code is not None
        and code.co_argcount - len(getattr(function, "__defaults__", None) or ()) == 2
        and not hasattr(function, "__self__")
    )
