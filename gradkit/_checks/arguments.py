"""Checks of arguments: numbers and their ranges, strings, functions, transforms.

Only concrete values are judged: a traced one passes, and so does a concrete one where jit would
trace it, so that eager and jit never differ.
"""

import inspect
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from gradkit._checks.messages import judging, nearest, refuse, shown, uncalled

_NUMBERS = (bool, int, float, complex, np.ndarray, np.generic, jax.Array)


def _concrete(value: Any) -> np.ndarray | None:
    """The value as a NumPy array, or None when it cannot be known yet (a tracer, a schedule)."""
    if isinstance(value, jax.core.Tracer) or not isinstance(value, _NUMBERS):
        return None
    if isinstance(value, (np.ndarray, jax.Array)) and not judging():
        return None
    return np.asarray(value)


def number(expected: str, is_right: Any, /, **values: Any) -> None:
    """Numbers in a range, which is written with ``x`` for the number: ``"x >= 4"``."""
    for name, value in values.items():
        if isinstance(value, jax.Array) and not _is_real_dtype(value.dtype):
            as_number(name, value, schedule=True)
        known = _concrete(value)
        if known is None:
            pending = isinstance(value, (*_NUMBERS, jax.core.Tracer, jax.ShapeDtypeStruct))
            if not pending and getattr(value, "kind", None) != "schedule":
                as_number(name, value, schedule=True)
            continue
        as_number(name, value, schedule=True)
        if known.dtype.kind in "iuf" or known.dtype.name in ("bfloat16", "float16"):
            if np.all(is_right(known.astype(np.float64))):
                continue
        elif known.dtype.kind == "V":
            continue
        problem = f"{name}={shown(value)} is out of range"
        refuse(problem, expected=expected.replace("x", name, 1), argument=(name, value))


def as_number(name: str, value: Any, *, schedule: bool = False) -> Any:
    """A real number as it is, an integer as a float; anything else is refused."""
    if isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)):
        return value
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        is_real = _is_real_dtype(value.dtype)
    if not is_real:
        expected = "a number, a scalar array or a schedule" if schedule else "a real number"
        problem = f"{name}={shown(value)} is not a number"
        refuse(
            problem, expected=expected, fix=uncalled(value), argument=(name, value), error=TypeError
        )
    return float(value) if isinstance(value, int) else value


def _is_real_dtype(dtype: Any) -> bool:
    kinds = (jax.numpy.floating, jax.numpy.integer)
    return any(jax.numpy.issubdtype(dtype, kind) for kind in kinds)


def positive(**values: Any) -> None:
    """Numbers > 0 (infinity allowed: a bound that never binds)."""
    number("x > 0", lambda v: v > 0, **values)


def non_negative(**values: Any) -> None:
    """Finite numbers >= 0: rates, epsilons, weight decays."""
    number("0 <= x < inf", lambda v: (v >= 0) & np.isfinite(v), **values)


def finite(**values: Any) -> None:
    """Finite numbers of any sign."""
    number("a finite x", np.isfinite, **values)


def decay(**values: Any) -> None:
    """Decays of an average, in [0, 1)."""
    number("0 <= x < 1", lambda v: (v >= 0) & (v < 1), **values)


def probability(**values: Any) -> None:
    """Numbers in [0, 1]."""
    number("0 <= x <= 1", lambda v: (v >= 0) & (v <= 1), **values)


def integer(at_least: int | None, fix: str = "", /, **values: Any) -> None:
    """Integers from ``at_least`` on, None for any (a whole float is accepted, as in optax)."""
    for name, value in values.items():
        if isinstance(value, jax.core.Tracer):
            continue
        expected = "" if at_least is None else f"an integer >= {at_least}"
        known = value
        if isinstance(value, (np.ndarray, np.generic, jax.Array)) and np.ndim(value) == 0:
            known = value.item()
        whole = isinstance(known, int) or (isinstance(known, float) and known.is_integer())
        if isinstance(known, bool) or not whole:
            problem = f"{name}={shown(value)} is not an integer"
            refuse(problem, expected=expected, fix=fix, argument=(name, value), error=TypeError)
        if at_least is not None and known < at_least:
            problem = f"{name}={shown(value)} is out of range"
            refuse(problem, expected=expected, fix=fix, argument=(name, value))


def ordered(**values: Any) -> None:
    """Two numbers, the first below the second."""
    (low_name, low), (high_name, high) = values.items()
    known_low, known_high = _concrete(low), _concrete(high)
    if known_low is None or known_high is None or np.all(known_low < known_high):
        return
    problem = f"{low_name}={shown(low)} is not below {high_name}={shown(high)}"
    refuse(problem, expected=f"{low_name} < {high_name}", argument=(low_name, low))


def boolean(**values: Any) -> None:
    """True or False."""
    for name, value in values.items():
        if not isinstance(value, (bool, np.bool_, jax.core.Tracer)):
            problem = f"{name}={shown(value)} is not a bool"
            refuse(problem, expected="True or False", argument=(name, value), error=TypeError)


def string(**values: Any) -> None:
    """Strings."""
    for name, value in values.items():
        if not isinstance(value, str):
            problem = f"{name}={shown(value)} is not a string"
            refuse(problem, argument=(name, value), error=TypeError)


def one_of(options: Iterable[str], **values: Any) -> None:
    """One of several strings."""
    for name, value in values.items():
        if not isinstance(value, str) or value not in options:
            problem = f"{name}={shown(value)} is not an option"
            expected = f"one of {', '.join(map(repr, options))}"
            refuse(problem, expected=expected, argument=(name, value))


def floating_dtype(**values: Any) -> Any:
    """The floating or complex dtype that an argument names."""
    ((name, value),) = values.items()
    try:
        kind = jax.numpy.dtype(value)
    except TypeError:
        kind = None
    if kind is None or value is None or not jax.numpy.issubdtype(kind, jax.numpy.inexact):
        words = nearest(value, _DTYPES) if isinstance(value, str) else ""
        problem = f"{name}={shown(value)} is not a floating dtype"
        refuse(problem, fix=words, argument=(name, value), error=TypeError)
    return kind


_DTYPES = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")


def function(**values: Any) -> None:
    """Functions."""
    for name, value in values.items():
        if not callable(value):
            problem = f"{name}={shown(value)} is not a function"
            refuse(problem, expected="a function", argument=(name, value), error=TypeError)


def arity(count: int, of: str, **values: Any) -> None:
    """Functions that can be called with ``count`` positional arguments."""
    for name, value in values.items():
        if not callable(value):
            problem = f"{name}={shown(value)} is not a function"
            refuse(problem, expected=f"a function of {of}", argument=(name, value), error=TypeError)
        if fix := uncalled(value):
            problem = f"{name}={shown(value)} is a factory"
            refuse(problem, fix=fix, argument=(name, value), error=TypeError)
        try:
            signature = inspect.signature(value)
            required = {  # extra arguments, which are passed by name
                p.name: None
                for p in signature.parameters.values()
                if p.kind is p.KEYWORD_ONLY and p.default is p.empty
            }
            signature.bind(*[None] * count, **required)
        except TypeError:
            problem = f"{name}={shown(value)} cannot be called with {count} positional argument"
            problem += "s" if count > 1 else ""
            refuse(problem, expected=f"a function of {of}", argument=(name, value), error=TypeError)
        except ValueError:  # a builtin without a signature
            continue


def part(**values: Any) -> None:
    """Transforms, where one is made of others."""
    for name, value in values.items():
        if getattr(value, "kind", None) != "transform":
            problem = f"{name}={shown(value)} is not a transform"
            fix = uncalled(value)
            expected = "" if fix else "a transform such as ema(0.9)"
            refuse(problem, expected=expected, fix=fix, argument=(name, value), error=TypeError)
