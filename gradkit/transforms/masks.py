"""Which leaves: predicates on a leaf's path and value, and the one place that turns a mask into a tree of bools."""

import fnmatch
import re
from collections.abc import Callable
from typing import Any, ParamSpec, cast

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit._call import Call, factory

P = ParamSpec("P")


class Predicate(Call):
    """A question about a leaf, ``predicate(path, leaf) -> bool``; predicates combine with ``&``, ``|`` and ``~``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> decayed = gk.by_rank(2) & ~gk.by_path("embedding")
      >>> assert decayed("dense.kernel", jnp.zeros((2, 2))) and not decayed("embedding", jnp.zeros((2, 2)))
    """

    __slots__ = ()

    def __call__(self, path: str, leaf: Any) -> bool:
        """Whether the leaf at the dotted ``path`` is meant."""
        return bool(self.body(path, leaf))

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
    return cast(Callable[P, Predicate], factory(function, Predicate))


@predicate
def by_path(pattern: str, regex: bool = False) -> Callable[[str, Any], bool]:
    """Leaves whose dotted path ends in a pattern.

    **Rule** a glob (``*`` any text, ``?`` one character) that fits the whole path or its end after a dot; or a regular expression found anywhere.

    Args:
      pattern: ``"bias"``, ``"layers.*.kernel"``, ...
      regex: read ``pattern`` as a regular expression.

    Example:
      >>> import gradkit as gk
      >>> bias = gk.by_path("bias")
      >>> assert bias("layers.0.bias", None) and bias("bias", None) and not bias("layers.0.unbiased_bias_scale", None)
    """
    expression = re.compile(pattern if regex else rf"(?:.*\.)?(?:{fnmatch.translate(pattern)})")
    fits = expression.search if regex else expression.match
    # A Flax nnx Variable is a node of its own, whose only leaf is its value: that is not a part of the name.
    return lambda path, leaf: fits(path.removesuffix(".value")) is not None


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

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.by_dtype(jnp.bfloat16)("w", jnp.zeros(1, jnp.bfloat16)) and not gk.by_dtype(jnp.bfloat16)("w", jnp.zeros(1))
    """
    return lambda path, leaf: bool(jnp.issubdtype(jax.dtypes.result_type(leaf), dtype))


@predicate
def by(function: Callable[[str, Any], bool]) -> Callable[[str, Any], bool]:
    """Leaves chosen by any function of path and leaf.

    **Rule** function(path, leaf).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.by(lambda path, leaf: leaf.shape == (2,))("b", jnp.zeros(2))
    """
    return function


@predicate
def every(*predicates: Predicate) -> Callable[[str, Any], bool]:
    """Leaves that all predicates mean: ``a & b``.

    **Rule** Λ p_i(path, leaf).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert (gk.by_path("w") & gk.by_rank(1))("w", jnp.zeros(1)) and not (gk.by_path("w") & gk.by_rank(1))("w", jnp.zeros(()))
    """
    return lambda path, leaf: all(p(path, leaf) for p in predicates)


@predicate
def some(*predicates: Predicate) -> Callable[[str, Any], bool]:
    """Leaves that any predicate means: ``a | b``.

    **Rule** V p_i(path, leaf).

    Example:
      >>> import gradkit as gk
      >>> assert (gk.by_path("a") | gk.by_path("b"))("b", None) and not (gk.by_path("a") | gk.by_path("b"))("c", None)
    """
    return lambda path, leaf: any(p(path, leaf) for p in predicates)


@predicate
def outside(inner: Predicate) -> Callable[[str, Any], bool]:
    """Leaves that a predicate does not mean: ``~a``.

    **Rule** ¬ p(path, leaf).

    Example:
      >>> import gradkit as gk
      >>> assert (~gk.by_path("a"))("b", None) and not (~gk.by_path("a"))("a", None)
    """
    return lambda path, leaf: not inner(path, leaf)


def resolve(mask: Any, params: Any) -> Any:
    """A mask as a tree of bools like ``params``.

    ``mask`` is a tree of bools (a prefix of params will do), a `Predicate`, a function of the params that returns such a tree, or a
    function of ``(path, leaf)``. A tree that happens to be callable is still a tree.
    """
    if isinstance(mask, Predicate):
        found = _by_leaf(mask, params)
    elif callable(mask) and jax.tree_util.all_leaves([mask]):
        found = _by_leaf(mask, params) if _takes_two(mask) else _spread(mask(params), params, "mask")
    else:
        found = _spread(mask, params, "mask")
    found = jax.tree.map(bool, found)
    if jax.tree.leaves(params) and not any(jax.tree.leaves(found)):
        paths = ", ".join(check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)[:8])
        check.fail("needs a mask that means at least one leaf", f"{mask!r}, which means none of {paths}", path="mask")
    return found


def labels(given: Any, tree: Any) -> Any:
    """Labels as a tree like ``tree``: from a tree (a prefix will do), a function of the tree, or a function of ``(path, leaf)``."""
    if callable(given) and jax.tree_util.all_leaves([given]):
        if _takes_two(given):
            return jax.tree_util.tree_map_with_path(lambda path, leaf: given(check.keystr(path), leaf), tree)
        given = given(tree)
    return _spread(given, tree, "labels")


def _by_leaf(question: Callable[[str, Any], bool], params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, leaf: bool(question(check.keystr(path), leaf)), params)


def _spread(given: Any, params: Any, what: str) -> Any:
    """A prefix tree spread over the leaves below each of its own."""
    try:
        return jax.tree.map(lambda one, below: jax.tree.map(lambda _: one, below), given, params)
    except (ValueError, TypeError) as error:
        check.fail(f"needs {what} in a tree like params", f"{jax.tree.structure(given)}", str(error).splitlines()[0], path=what)


def _takes_two(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and code.co_argcount - len(getattr(function, "__defaults__", None) or ()) == 2 and not hasattr(function, "__self__")
