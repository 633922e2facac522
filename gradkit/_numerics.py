"""Widening, roots and quotients with finite derivatives, the step counter, and random keys."""

import functools
import math
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _shards as shards

# What jax.typing.ArrayLike says (arrays, tracers, Python numbers), and ShapeDtypeStruct.
Array = Any


# Functions of one leaf. A nested jit that is inlined leaves no trace in the program, and is itself
# traced once for each shape, not once for each leaf.
_inlined = functools.partial(jax.jit, inline=True)


def _differentiated_as(safe: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Give a function the derivative of ``safe``, which equals it and is finite everywhere.

    What a safe derivative takes is then in no program that does not differentiate.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        plain = jax.custom_jvp(function)
        plain.defjvp(lambda primals, tangents: jax.jvp(safe, primals, tangents))
        return _inlined(functools.wraps(function)(lambda *args: plain(*args)))

    return decorate


@functools.cache
def wide(dtype: Any) -> Any:
    """The dtype to compute in: at least float32; float64 and complex stay."""
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        fix = "Remove random keys from the tree"
        check.refuse(
            "a leaf is a random key", expected="a floating dtype", fix=fix, error=TypeError
        )
    dtype = jnp.dtype(dtype)
    return (
        dtype
        if dtype.itemsize >= 4 or not jnp.issubdtype(dtype, jnp.floating)
        else jnp.dtype(jnp.float32)
    )


def wider(*dtypes: Any) -> Any:
    """The common dtype of all, whatever promotion mode the user has set."""
    first = dtypes[0]
    if isinstance(first, np.dtype) and all(dtype is first for dtype in dtypes):
        return first
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*dtypes)


def real(dtype: Any) -> Any:
    """The dtype of a magnitude: complex64 -> float32."""
    return jnp.finfo(dtype).dtype


def scalar_dtype(tree: Any) -> Any:
    """The dtype of a scalar that all leaves share: float64 when any leaf is."""
    return wider(
        jnp.float32, *(real(jax.dtypes.result_type(leaf)) for leaf in jax.tree.leaves(tree))
    )


def cast(x: Array, dtype: Any) -> Array:
    """``x`` in ``dtype``; no operation when it has that dtype already."""
    return x if isinstance(x, jax.Array) and x.dtype == dtype else jnp.asarray(x, dtype)


@_inlined
def abs_sq(x: Array) -> Array:
    """|x|², real also for complex x, with a finite gradient at zero."""
    return x * x if not jnp.iscomplexobj(x) else jnp.real(x) ** 2 + jnp.imag(x) ** 2


@_inlined
def _norm(x: Array) -> Array:
    return sqrt(jnp.sum(abs_sq(x)))


def norm(x: Array) -> Array:
    """The 2-norm √Σ|x|² of an array; its derivative at zero is zero."""
    return sqrt(shards.total(jnp.sum(abs_sq(x)))) if shards.active() else _norm(x)


@_inlined
def _rms(x: Array) -> Array:
    return sqrt(jnp.sum(abs_sq(x)) / max(x.size, 1))


def rms(x: Array) -> Array:
    """The root mean square √mean(|x|²) of an array; zero of an empty one."""
    if not shards.active():
        return _rms(x)
    return sqrt(shards.total(jnp.sum(abs_sq(x))) / max(shards.size(x), 1))


def _safe_sqrt(x: Array) -> Array:
    zero = x == 0
    return jnp.where(zero, jnp.zeros_like(x), lax.sqrt(jnp.where(zero, jnp.ones_like(x), x)))


@_differentiated_as(_safe_sqrt)
def sqrt(x: Array) -> Array:
    """√x whose derivative at zero is zero, not infinite."""
    return lax.sqrt(x)


@_inlined
def cbrt(x: Array) -> Array:
    """∛x of x ≥ 0 to within an ulp, whose derivative at zero is zero.

    By exp and log, which XLA vectorizes, where ``jnp.cbrt`` calls a library function for each
    element; one Newton step removes their rounding errors.
    """
    zero = x < jnp.finfo(x.dtype).tiny
    safe = jnp.where(zero, 1.0, x)
    root = jnp.exp(jnp.log(safe) / 3)
    root = root - (root - safe / (root * root)) / 3
    return jnp.where(zero, 0.0, jnp.where(jnp.isinf(x), x, root))


def _safe_divide(x: Array, by: Array) -> Array:
    zero = by == 0
    by = jnp.where(zero, jnp.ones_like(by), by).astype(x.dtype)
    return jnp.where(zero, jnp.zeros_like(x), x / by)


@_differentiated_as(_safe_divide)
def divide(x: Array, by: Array) -> Array:
    """``x / by``, zero (with a finite derivative) where ``by`` is zero; NaN stays NaN."""
    return jnp.where(by == 0, jnp.zeros_like(x), x / by.astype(x.dtype))


def broadcast_like(x: Array, like: Array) -> Array:
    """``x`` in the shape of ``like``, and in its sharding where that is part of its type."""
    if jax.sharding.AxisType.Explicit in jax.typeof(like).sharding.mesh.axis_types:
        return jnp.zeros_like(like, dtype=x.dtype) + x
    return jnp.broadcast_to(x, like.shape)


def gather(x: Array, keep: tuple[int, ...] = ()) -> Array:
    """``x`` with no axis but those of ``keep`` sharded, where the sharding is part of its type."""
    sharding = jax.typeof(x).sharding
    if jax.sharding.AxisType.Explicit not in sharding.mesh.axis_types:
        return x
    spec = [axis if i in keep else None for i, axis in enumerate(sharding.spec)]
    return jax.sharding.reshard(x, sharding.update(spec=jax.sharding.PartitionSpec(*spec)))


def shard_like(x: Array, like: Array) -> Array:
    """``x`` in the sharding of ``like``, where that is part of its type."""
    sharding = jax.typeof(like).sharding
    if jax.sharding.AxisType.Explicit not in sharding.mesh.axis_types:
        return x
    return jax.sharding.reshard(x, sharding)


def complement(decay: Any) -> Any:
    """1 − β, of a rate that is a number by the time a rule runs."""
    return 1 - decay


def negative(rate: Any) -> Any:
    """−x, of a number or a schedule."""
    return -rate


def log(decay: Array) -> Array:
    """Log β; for 0 it is −inf with a derivative of zero. A Python number is taken in float64."""
    if isinstance(decay, (int, float)):
        return math.log(decay) if decay > 0 else -math.inf
    positive = decay > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, decay, 1.0)), -jnp.inf)


def increment(step: Array) -> Array:
    """``step + 1``, which stays at the largest integer instead of wrapping around."""
    top = jnp.iinfo(jnp.result_type(step)).max
    return jnp.where(step < top, step + 1, top)


def as_key(key: Array) -> jax.Array:
    """A typed random key from a seed, a typed key or its data (or several, for ``vmap``)."""
    expected = _KEY
    if key is None:
        fix = "Noise without a key of its own could not be drawn again"
        check.refuse("key is None", expected=expected, fix=fix, error=TypeError)
    if not is_number(key):
        _no_key(key)
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    if not jnp.issubdtype(jnp.result_type(key), jnp.integer):
        _no_key(key)
    if not jnp.ndim(key):
        return jax.random.key(key)
    data = jax.eval_shape(jax.random.key_data, jax.eval_shape(jax.random.key, 0))
    if jnp.shape(key)[-1:] != data.shape or jnp.result_type(key) != data.dtype:
        fix = f"The data of a key of the default implementation is {check.shape_dtype(data)}"
        problem = f"key={check.shape_dtype(key)} is not the data of a key"
        check.refuse(problem, expected=expected, fix=fix, argument=("key", key))
    return jax.random.wrap_key_data(jnp.asarray(key))


def one_key(key: Array) -> jax.Array:
    """One typed random key; several are refused."""
    key = as_key(key)
    if key.ndim:
        problem, fix = f"key is {check.shape_dtype(key)}", "Map over several with jax.vmap"
        check.refuse(problem, expected="one random key", fix=fix)
    return key


_KEY = "a seed such as key=0, a random key, or the data of one"


def _no_key(key: Any) -> NoReturn:
    problem = f"key={check.shown(key)} is not a random key"
    check.refuse(problem, expected=_KEY, argument=("key", key), error=TypeError)


def key_data(key: Any) -> Any:
    """The data of a random key, for a state. A copy, because the state may be donated."""
    return jnp.array(jax.random.key_data(key), copy=True)


def split_key(data: Any, like: Any, number: int) -> tuple[Any, list[Any]]:
    """The key data to store next, and ``number`` keys to use now.

    ``like`` is a key of the same implementation.
    """
    following, *keys = jax.random.split(
        jax.random.wrap_key_data(data, impl=jax.random.key_impl(like)), number + 1
    )
    return jax.random.key_data(following), keys


def is_number(x: Any) -> bool:
    """Whether ``x`` is a Python or array number (a tracer counts)."""
    return isinstance(
        x, (int, float, complex, np.generic, np.ndarray, jax.Array)
    ) and not isinstance(x, bool)


def fails(value: Any, test: Callable[[Any], Any]) -> bool:
    """Whether a number that is known now (no tracer, no schedule) fails a test."""
    if not is_number(value) or isinstance(value, jax.core.Tracer):
        return False
    return not np.all(test(np.asarray(value)))


def as_axes(axis: Any, name: str = "axis") -> tuple[int, ...] | None:
    """Axes as a tuple of ints, or None, after a check that they are axes."""
    if axis is None:
        return None
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if not all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in axes):
        expected = "an int, a tuple of ints, or None"
        check.refuse(f"{name}={axis!r} is not an axis", expected=expected, error=TypeError)
    if len(set(axes)) < len(axes):
        check.refuse(f"{name}={axis!r} names an axis twice", expected="different axes")
    return tuple(int(a) for a in axes)


def is_key(x: Any) -> bool:
    """Whether ``x`` is a typed random key."""
    return isinstance(x, jax.Array) and bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))


def loss_like(value: Any, like: Any) -> Any:
    """The extra argument ``value`` as a scalar in the scalar dtype of a tree."""
    if value is None:
        fix = "Call update(grads, state, params, value=loss), with jax.value_and_grad"
        check.refuse("value=None is not a loss", fix=fix, error=TypeError)
    try:
        shape, kind = jnp.shape(value), jax.dtypes.result_type(value)
    except TypeError:
        problem = f"value={check.shown(value)} is not a loss"
        check.refuse(problem, expected="one real number", error=TypeError)
    if shape != ():
        problem = f"value is {check.shape_dtype(value)}"
        check.refuse(problem, expected="one number", fix="Take the mean over the batch")
    if jnp.issubdtype(kind, jnp.complexfloating):
        problem = f"value is {check.shape_dtype(value)}"
        check.refuse(problem, expected="one real number", error=TypeError)
    return jnp.asarray(value, scalar_dtype(like))


def strong(values: Any) -> Any:
    """Python numbers and weakly typed arrays as arrays of a fixed dtype; keys as they are."""

    def leaf(x: Any) -> Any:
        return x if is_key(x) else jnp.asarray(x, jax.dtypes.result_type(x))

    return jax.tree.map(leaf, values)
