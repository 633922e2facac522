"""Arguments that may be scheduled: how one is read, and its value at a step."""

import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit._arguments import CONVERTERS
from gradkit._call import Call
from gradkit._schedule import Schedule, function_schedule
from gradkit.typing import Rate, Scalar


def as_rate(name: str, value: Any) -> Any:
    """Read a ``Rate``: a number, a scalar array, a schedule, or a function of the step."""
    if fix := check.uncalled(value):
        check.refuse(f"{name}={value.__name__} is a factory", fix=fix, error=TypeError)
    if callable(value) and not isinstance(value, Call):
        check.arity(1, "the step", **{name: value})
        _try_function(name, value)
        return function_schedule(value)
    return value if isinstance(value, Schedule) else check.as_number(name, value, schedule=True)


def _try_function(name: str, function: Callable[[Any], Any]) -> None:
    """Refuse a function of the step that fails, or does not return one real number."""
    probe = _probe if isinstance(function, Hashable) else _probe.__wrapped__
    failure, result = probe(function)
    if failure:
        problem = f"{name}={check.shown(function)} fails at a step: {failure}"
        check.refuse(
            problem, expected="a function of the step", argument=(name, function), error=TypeError
        )
    if not _is_real_number(result):
        problem = f"{name}={check.shown(function)} returns {result} for a step"
        expected = "one real number"
        check.refuse(problem, expected=expected, argument=(name, function), error=TypeError)


@functools.lru_cache(maxsize=128)
def _probe(function: Callable[[Any], Any]) -> tuple[str, Any]:
    """How a function of the step fails, or else the type that it returns."""
    try:
        return "", jax.eval_shape(function, jax.ShapeDtypeStruct((), jnp.int32))
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
        return "", jax.ShapeDtypeStruct((), jnp.float32)  # only a run can tell
    except Exception as error:
        return (str(error).splitlines() or [type(error).__name__])[0], None


def _is_real_number(shape: Any) -> bool:
    dtype = getattr(shape, "dtype", None)
    real = dtype is not None and (
        jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    )
    return real and getattr(shape, "shape", None) == ()


def as_scalar(name: str, value: Any) -> Any:
    """A number, as it is: an integer may be a length, which is structure."""
    check.as_number(name, value)
    return value


def value_now(name: str, value: Any, step: Any, dtype: Any) -> Any:
    """A scheduled or array argument at a step, as a scalar of ``dtype``."""
    current = value(step) if isinstance(value, Schedule) else value
    kind = jax.dtypes.result_type(current)
    real = jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)
    if np.shape(current) != () or not real:
        problem = f"{name}={value!r} gives {check.shape_dtype(current)} at a step"
        check.refuse(problem, expected="one real number", error=TypeError)
    return jnp.asarray(current, dtype)


def promotes(value: Any) -> bool:
    """A scalar array that would promote what it multiplies, unlike one that is weakly typed."""
    if not isinstance(value, (np.ndarray, jax.Array)) or value.ndim:
        return False
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return False
    return isinstance(value, np.ndarray) or not value.weak_type


CONVERTERS[Rate] = as_rate
CONVERTERS[Scalar] = as_scalar
