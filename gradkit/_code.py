"""Calls as code that makes them, and when two arguments are the same."""

import inspect
import sys
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit._arguments import plain

if TYPE_CHECKING:
    from gradkit._call import Call


def call_code(call: "Call") -> str:
    """A call as the code that makes it, without the arguments at their defaults."""
    parameters, parts, positional = call.factory.__signature__.parameters, [], True
    for name, value in call.arguments.items():
        kind, default = parameters[name].kind, parameters[name].default
        if kind is inspect.Parameter.VAR_POSITIONAL:
            parts += [code_of(item) for item in value]
        elif kind is inspect.Parameter.VAR_KEYWORD:
            parts += [f"{key}={code_of(item)}" for key, item in value.items()]
        elif (
            default is inspect.Parameter.empty
            and positional
            and kind is not inspect.Parameter.KEYWORD_ONLY
        ):
            parts.append(code_of(value))
        elif default is inspect.Parameter.empty or not same(plain(default), value):
            parts.append(f"{name}={code_of(value)}")
            positional = False
        else:
            positional = False
    return f"{_qualified(call.factory)}({', '.join(parts)})"


def _qualified(factory: Any) -> str:
    """The name under which ``gradkit`` has a function: ``adam``, ``masks.by_dtype``."""
    name, package = str(factory.__name__), sys.modules.get("gradkit")
    if package is None or vars(package).get(name) is factory:
        return name
    for room in ("averages", "masks", "projections", "schedules", "search", "stores"):
        if vars(vars(package)[room]).get(name) is factory:
            return f"{room}.{name}"
    return name


def code_of(value: Any) -> str:
    """``value`` as code that makes it, where there is such code."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return f"({', '.join(map(code_of, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(code_of, value))}]"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {code_of(item)}" for key, item in value.items()) + "}"
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return (
            "key"
            if isinstance(value, jax.core.Tracer)
            else f"wrap_key_data({code_of(jax.random.key_data(value))})"
        )
    if isinstance(value, (np.ndarray, jax.Array)) and not isinstance(value, jax.core.Tracer):
        return (
            repr(value.item())
            if value.ndim == 0 and value.dtype.kind in "fc"
            else f"array({np.array2string(np.asarray(value), separator=', ', threshold=8)})"
        )
    if inspect.isfunction(value):
        public = _qualified(value)
        return public if "." in public else value.__qualname__
    return repr(value)


def same(a: Any, b: Any) -> bool:
    """Whether two arguments are equal: arrays by what they hold, tracers by identity."""
    if isinstance(a, (jax.core.Tracer, jax.ShapeDtypeStruct)) or isinstance(
        b, (jax.core.Tracer, jax.ShapeDtypeStruct)
    ):
        return a is b
    if isinstance(a, (np.ndarray, jax.Array)) or isinstance(b, (np.ndarray, jax.Array)):
        return key_of(a) == key_of(b)
    return a is b or (type(a) is type(b) and bool(a == b))


def key_of(leaf: Any) -> Any:
    """What a leaf hashes by."""
    if isinstance(leaf, (np.ndarray, jax.Array)) and not isinstance(leaf, jax.core.Tracer):
        data = (
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        )
        return leaf.shape, str(leaf.dtype), np.asarray(data).tobytes()
    return id(leaf) if isinstance(leaf, jax.core.Tracer) else leaf
