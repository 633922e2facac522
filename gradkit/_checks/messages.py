"""The error messages, in one style.

``<where>: <problem>. Expected <expected>. <fix>.``

``<where>`` is the path of the calls being built or run, outermost first (``adamw.scale_by_adam``),
and of the leaf.
"""

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NoReturn

import jax
import numpy as np

from gradkit._flax import without_value

_inside: ContextVar[tuple[tuple[str, Any], ...]] = ContextVar("gradkit_where", default=())
_judging: ContextVar[bool] = ContextVar("gradkit_judging", default=True)


@contextlib.contextmanager
def inside(name: str, arguments: Any = None) -> Iterator[None]:
    """Let the messages raised within name this call; ``arguments`` are those it was made with."""
    token = _inside.set((*_inside.get(), (name, arguments)))
    try:
        yield
    finally:
        _inside.reset(token)


@contextlib.contextmanager
def unjudged() -> Iterator[None]:
    """Let the values of arrays pass, as under jit, where they are traced."""
    token = _judging.set(False)
    try:
        yield
    finally:
        _judging.reset(token)


def judging() -> bool:
    """Whether the values of arrays are judged."""
    return _judging.get()


def refuse(
    problem: str,
    *,
    expected: str = "",
    fix: str = "",
    path: str = "",
    argument: tuple[str, Any] | None = None,
    error: type[Exception] = ValueError,
) -> NoReturn:
    """Raise an error in the style of this module.

    Args:
      problem: the offending value and what is wrong with it, such as ``b1=1.5 is out of range``.
      expected: what would be accepted, such as ``0 <= b1 < 1``.
      fix: what to write instead.
      path: the path of a leaf, an argument's position, or whatever narrows the place down.
      argument: the name and value of an argument, to name the outermost call that was given it.
      error: ValueError for a wrong value, TypeError for a value of the wrong kind.
    """
    count = None
    if argument is not None:
        name, value = argument
        count, known = _given(name, value)
        if known != name:  # as the user wrote it
            problem, expected = (
                re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w)", known, text)
                for text in (problem, expected)
            )
            fix = re.sub(rf"(?<![\w.]){re.escape(name)}(?==)", known, fix)
    where = ", ".join(part for part in (_where(count), path) if part)
    sentences = [problem, expected and f"Expected {expected}", fix]
    message = " ".join(text + ("" if text[-1] in ".?!" else ".") for text in sentences if text)
    if error is KeyError:
        error = _MissingError
    raise ours(error(f"{where}: {message}" if where else message))


class _MissingError(KeyError):
    """A KeyError whose message is printed as it is, not its repr."""

    __str__ = Exception.__str__


def ours(error: Exception) -> Exception:
    """Mark an error as one of ours: complete in its message."""
    error.gradkit = True  # type: ignore[attr-defined]
    return error


def is_ours(error: Exception) -> bool:
    return hasattr(error, "gradkit")


def name_of(default: str, value: Any) -> str:
    """The name that the outermost call gave to a value.

    That of a recipe's argument ``weight_decay_mask``, not of the ``mask`` of its part.
    """
    return _given(default, value)[1]


def _where(count: int | None = None) -> str:
    """The path of the calls, or of the outermost ``count`` of them."""
    return ".".join(name for name, _ in _inside.get()[:count] if name)


def _given(argument: str, value: Any) -> tuple[int, str]:
    """The number of calls down to the outermost one given a value, and the value's name there."""
    calls = _inside.get()
    for i, (_, arguments) in enumerate(calls):
        names = [name for name, given in (arguments or {}).items() if _is_same(given, value)]
        if argument in names or (names and not _is_common(value)):
            return i + 1, argument if argument in names else names[0]
    return len(calls), argument


def _is_same(given: Any, value: Any) -> bool:
    if type(given) is type(value) and isinstance(value, (dict, list, tuple)):
        try:
            return bool(given == value)
        except (TypeError, ValueError):  # arrays have no truth value
            return False
    return given is value


def _is_common(value: Any) -> bool:
    """Whether Python has one object for all equal values, so that identity says nothing."""
    return value is None or (isinstance(value, int) and -6 < value < 257)


# ---- how values are written in a message --------------------------------------------------------


# Arguments by the names other libraries give them.
_ALIASES = {
    "lr": "learning_rate",
    "alpha": "learning_rate",
    "wd": "weight_decay",
    "weight_decay_mask": "mask",
    "beta1": "b1",
    "beta_1": "b1",
    "beta2": "b2",
    "beta_2": "b2",
    "epsilon": "eps",
    "rho": "decay",
    "mu": "momentum",
}


def nearest(name: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` or the list of what there is."""
    known, name = sorted(known), str(name)
    close = (
        [_ALIASES[name]]
        if _ALIASES.get(name) in known
        else difflib.get_close_matches(name, known, n=1)
    )
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(known)}" if known else "None is known"


def keystr(path: Any) -> str:
    """A leaf's dotted path; that of a tree which is a single array says so."""
    path = without_value(path)
    return jax.tree_util.keystr(path, simple=True, separator=".") or "the tree's only leaf"


def shown(value: Any) -> str:
    """A value as it is named in a message, on one line."""
    if isinstance(value, (np.ndarray, jax.Array)) and not isinstance(value, jax.core.Tracer):
        return (
            repr(value.item())
            if value.ndim == 0 and getattr(value.dtype, "kind", "key") in "biufc"
            else shape_dtype(value)
        )
    text = getattr(value, "__name__", None) if callable(value) else None
    text = " ".join((text or repr(value)).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def shape_dtype(leaf: Any) -> str:
    """``float32[2, 3]``."""
    kind = dtype_of(leaf)  # JAX has no strings and no objects
    return f"{np.asarray(leaf).dtype if kind is None else kind}{list(np.shape(leaf))}"


def kind_of(value: Any) -> str:
    """``float32[3]`` for an array, else the name of the type."""
    return shape_dtype(value) if hasattr(value, "dtype") else type(value).__name__


def dtype_of(leaf: Any) -> Any:
    """The dtype of an array or a number; None for anything else, such as a dtype or its name."""
    if leaf is None or isinstance(leaf, (str, type, np.dtype)):
        return None
    try:
        return jax.dtypes.result_type(leaf)
    except TypeError:
        return None


def uncalled(value: Any) -> str:
    """The fix for a factory that was passed in place of what it returns."""
    return f"Call the factory: {value.__name__}(...)" if hasattr(value, "makes") else ""
