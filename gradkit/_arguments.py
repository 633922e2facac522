"""How the arguments of a factory are read, by their annotations.

An argument annotated ``int``, ``bool``, ``Rate``, ``Mask``, ... is converted once, when the factory
is called, or refused by name. Each module registers the types it defines.
"""

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Union

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check

# How an argument is read, by its annotation: ``convert(name, value) -> value``, which refuses what
# cannot be read. Each module registers its own types.
CONVERTERS: dict[Any, Callable[[str, Any], Any]] = {}


def is_movable(annotation: Any) -> bool:
    """Whether a schedule given for the argument is evaluated at each step.

    So it is for a ``Rate``, and for an argument without a type.
    """
    if (
        annotation in (inspect.Parameter.empty, Any)
        or getattr(annotation, "__name__", "") == "Rate"
    ):
        return True
    if isinstance(annotation, str):
        return "Rate" in annotation or annotation == "Any"
    return any(is_movable(a) for a in typing.get_args(annotation) if _is_union(annotation))


def is_scalar(annotation: Any) -> bool:
    """Whether the argument is one number: a ``Rate``, a ``Scalar`` or a float, or None."""
    if _is_union(annotation):
        rest = [a for a in typing.get_args(annotation) if a is not type(None)]
        return all(map(is_scalar, rest))
    return annotation is float or getattr(annotation, "__name__", "") in ("Rate", "Scalar")


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (Union, types.UnionType)


def converter(function: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
    """``convert(name, value)`` for the arguments of a function."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    by_name: dict[str, Any] = {}

    def convert(name: str, value: Any) -> Any:
        parameter = signature.parameters[name]
        if name not in by_name:
            by_name[name] = _reader(resolved(parameter.annotation, function))
        read = by_name[name]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and read is not None:
            return {
                key: each if _is_distribution(each) else read(key, _as_number(each))
                for key, each in value.items()
            }
        if parameter.kind in variadic or _is_distribution(value):
            return value
        value = _as_number(value)
        if read is not None:
            return read(name, plain(value))
        # 0 where the default is 0.0 is a float too, and data like it.
        return float(value) if type(value) is int and type(parameter.default) is float else value

    return convert


def resolved(annotation: Any, function: Callable[..., Any]) -> Any:
    """The annotation itself, where ``from __future__ import annotations`` left a string."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))
    except Exception:  # a name that exists for type checkers only
        return Any


def _reader(annotation: Any) -> Callable[[str, Any], Any] | None:
    """How a value is read by an annotation; None where anything may be passed."""
    if _is_union(annotation):
        return _union_reader(typing.get_args(annotation))
    origin = typing.get_origin(annotation)
    if annotation is Callable or origin in (Callable, typing.get_origin(Callable[[], None])):
        return _as_function
    try:
        return CONVERTERS.get(annotation)
    except TypeError:  # not hashable
        return None


def _union_reader(annotations: tuple[Any, ...]) -> Callable[[str, Any], Any] | None:
    optional = type(None) in annotations
    kept = [a for a in annotations if a is not type(None)]
    # Beside a number of another kind, a whole float is that number and no integer.
    exact = any(is_scalar(a) for a in kept)
    readers = [_as_exact_integer if a is int and exact else _reader(a) for a in kept]
    if any(reader is None for reader in readers):
        return None

    # The last one words the refusal; "is not a function" would say nothing of the numbers allowed.
    ordered = sorted(
        typing.cast(list[Callable[[str, Any], Any]], readers), key=lambda r: r is not _as_function
    )

    def read(name: str, value: Any) -> Any:
        if optional and value is None:
            return None
        *others, last = ordered
        for reader in others:
            try:
                return reader(name, value)
            except (TypeError, ValueError):
                continue
        return last(name, value)

    return read


def _is_distribution(value: Any) -> bool:
    """Whether a distribution of ``gradkit.search`` stands in the place of a value."""
    return getattr(value, "kind", None) == "distribution"


def _as_function(name: str, value: Any) -> Any:
    check.function(**{name: value})
    return value


def _as_bool(name: str, value: Any) -> Any:
    check.boolean(**{name: value})
    return value


def _as_string(name: str, value: Any) -> Any:
    check.string(**{name: value})
    return value


def _as_exact_integer(name: str, value: Any) -> Any:
    """An integer, where a float is another kind of argument."""
    check.integer(None, **{name: value})
    if not isinstance(value, (int, np.integer)):
        check.refuse(f"{name}={check.shown(value)} is not an integer", error=TypeError)
    return int(value)


def _as_integer(name: str, value: Any) -> Any:
    if isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)) or np.ndim(value):
        return value
    check.integer(None, **{name: value})
    return int(value)


CONVERTERS[float] = check.as_number
CONVERTERS[bool] = _as_bool
CONVERTERS[str] = _as_string
CONVERTERS[int] = _as_integer


def plain(value: Any) -> Any:
    """A plain value: scalars as Python's, dtypes by name.

    NumPy scalars would promote, and names of dtypes print and pickle.
    """
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return value.item()
    if isinstance(value, np.dtype) or (
        isinstance(value, type) and isinstance(getattr(value, "dtype", None), np.dtype)
    ):
        return jnp.dtype(value).name
    if isinstance(value, type) and issubclass(value, np.generic) and not value.__subclasses__():
        return np.dtype(value).name  # not the kinds of dtypes, such as np.floating
    if _is_concrete_scalar(value):
        return bool(value) if value.dtype == bool else value
    return value


def _as_number(value: Any) -> Any:
    """The number that a scalar array holds: a transform without arrays may be a static attribute.

    ``nnx.Optimizer`` needs that. Where arrays are not judged, an array stays one.
    """
    if check.judging() and _is_concrete_scalar(value) and jnp.issubdtype(value.dtype, jnp.inexact):
        return value.item()
    return value


def _is_concrete_scalar(value: Any) -> bool:
    if isinstance(value, jax.core.Tracer) or not isinstance(value, (np.ndarray, jax.Array)):
        return False
    return value.ndim == 0 and getattr(value, "is_fully_addressable", True)
