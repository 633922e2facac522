"""Checks of the arguments that the layers share: arrays, axes, masks, dtypes, numbers, flags, keys.

Each function returns its argument in the form that the arithmetic needs, or raises an error that
names the argument, the value and what was expected.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics

Axes = int | Sequence[int]


def describe(value: Any) -> str:
    """``float32[2, 3]`` for an array, else the first 60 characters of ``repr``."""
    if isinstance(value, (jax.Array, np.ndarray)) and value.ndim:
        return check.shape_dtype(value)
    words = " ".join(repr(value).split())
    return words if len(words) <= 60 else f"{words[:57]}..."


def as_array(x: Any, name: str = "x", *, floating: bool = False) -> jax.Array:
    """The argument as an array of numbers; with ``floating`` integers are refused too."""
    try:
        array = jnp.asarray(x)
        number = jnp.issubdtype(array.dtype, jnp.number) or array.dtype == jnp.bool_
    except (TypeError, ValueError, OverflowError):
        number = False
    if x is None or not number:
        problem = f"{name}={describe(x)} is not an array of numbers"
        check.refuse(problem, expected="a jax.Array or a NumPy array", error=TypeError)
    if floating and not jnp.issubdtype(array.dtype, jnp.inexact):
        problem = f"{name} has the dtype {array.dtype}"
        fix = f"Cast it first: {name}.astype(jnp.float32)"
        check.refuse(problem, expected="a floating dtype", fix=fix, error=TypeError)
    return array


def axis_integers(axes: Any, name: str = "axis") -> list[int]:
    """The axes as integers, in the order given."""
    several = isinstance(axes, Iterable) and not isinstance(axes, (str, bytes, dict))
    given: list[Any] = list(axes) if several else [axes]
    try:
        integers = [None if isinstance(axis, bool) else operator.index(axis) for axis in given]
    except TypeError:
        integers = [None]
    if None in integers:
        problem = f"{name}={describe(axes)} is not an axis"
        expected = "an integer, or a sequence of integers"
        check.refuse(problem, expected=expected, error=TypeError)
    return [axis for axis in integers if axis is not None]


def as_axes(ndim: int, axes: Any, name: str = "axis") -> tuple[int, ...]:
    """Axes of an array of ``ndim`` dimensions, non-negative and in order, each named once."""
    given = axis_integers(axes, name)
    for axis in given:
        if not -ndim <= axis < ndim:
            expected = f"{-ndim} <= {name} < {ndim}" if ndim else "an input with at least one axis"
            problem = f"{name}={axis} is out of range for an input of {ndim} dimensions"
            check.refuse(problem, expected=expected)
    positions = {axis % ndim for axis in given}
    if len(positions) < len(given):
        problem = f"{name}={tuple(given)} names an axis twice"
        check.refuse(problem, expected=f"distinct axes of the {ndim} of the input")
    return tuple(sorted(positions))


def channel_axes(ndim: int, axes: Any, name: str = "axis") -> tuple[int, ...]:
    """Axes of the channels of an input whose first axis is the batch."""
    channels = as_axes(ndim, axes, name)
    if 0 in channels:
        problem = f"{name}={describe(axes)} is the first axis, which is the batch"
        check.refuse(problem, expected="another axis", fix="Move the batch to the front")
    return channels


def as_mask(mask: Any, x: jax.Array) -> jax.Array | None:
    """A boolean mask with as many axes as ``x``, each of size one or as in ``x``."""
    if mask is None:
        return None
    mask = as_array(mask, "mask")
    if mask.dtype != jnp.bool_:
        fix = "Compare it first, such as mask > 0"
        problem = f"mask has the dtype {mask.dtype}"
        check.refuse(problem, expected="booleans", fix=fix, error=TypeError)
    aligned = (1,) * (x.ndim - mask.ndim) + mask.shape
    if len(aligned) != x.ndim or any(
        size not in {1, full} for size, full in zip(aligned, x.shape, strict=True)
    ):
        problem = f"mask of shape {list(mask.shape)} does not broadcast to the input"
        fix = (
            "Axes align from the right: a mask of positions needs a trailing axis, mask[..., None]"
        )
        check.refuse(problem, expected=f"a shape that broadcasts to {list(x.shape)}", fix=fix)
    return mask.reshape(aligned)


def as_parameter(
    parameter: Any, x: jax.Array, axes: tuple[int, ...], name: str
) -> jax.Array | None:
    """A parameter of the sizes of ``axes`` of ``x``, reshaped to the rank of ``x``."""
    if parameter is None:
        return None
    parameter = as_array(parameter, name)
    wanted = tuple(x.shape[axis] for axis in axes)
    if parameter.shape != wanted:
        problem = f"{name} has the shape {list(parameter.shape)}"
        expected = f"{list(wanted)} for an input of shape {list(x.shape)}"
        fix = "Its axes are the feature axes of the input, in order"
        check.refuse(problem, expected=expected, fix=fix)
    shape = tuple(x.shape[axis] if axis in axes else 1 for axis in range(x.ndim))
    return jnp.reshape(parameter, shape)


def required_parameter(parameter: Any, x: jax.Array, axes: tuple[int, ...], name: str) -> jax.Array:
    """`as_parameter` of an argument that may not be None."""
    array = as_parameter(as_array(parameter, name), x, axes, name)
    assert array is not None
    return array


# ---- dtypes ----------------------------------------------------------------------------------


def compute_dtype(*arrays: ArrayLike | None) -> Any:
    """The dtype of the arithmetic: at least float32, and wide enough for all of the arrays."""
    dtype = numerics.wider(*(jax.dtypes.result_type(x) for x in arrays if x is not None))
    return numerics.wide(dtype) if jnp.issubdtype(dtype, jnp.inexact) else jnp.dtype(jnp.float32)


def as_dtype(dtype: Any, name: str = "dtype") -> Any:
    """A floating or complex dtype."""
    try:
        known = jnp.dtype(dtype)
    except TypeError:
        known = None
    if dtype is None or known is None or not jnp.issubdtype(known, jnp.inexact):
        problem = f"{name}={describe(dtype)} is not a floating dtype"
        check.refuse(problem, expected="such as jnp.float32 or jnp.bfloat16", error=TypeError)
    return known


def result_dtype(*arrays: ArrayLike | None, dtype: DTypeLike | None = None) -> Any:
    """Flax's rule: ``dtype`` if given, else the promoted dtype of the arrays, always floating."""
    if dtype is not None:
        return as_dtype(dtype)
    promoted = numerics.wider(*(jax.dtypes.result_type(x) for x in arrays if x is not None))
    return promoted if jnp.issubdtype(promoted, jnp.inexact) else jnp.dtype(jnp.float32)


# ---- numbers, flags, keys --------------------------------------------------------------------


def is_static(rate: Any, value: float) -> bool:
    """Whether a rate is this Python number, so that no computation depends on it."""
    return isinstance(rate, (int, float)) and rate == value


def check_number(value: Any, name: str, within: Callable[..., None]) -> None:
    """A number or an array of numbers in the range that ``within`` checks; no schedule."""
    if not numerics.is_number(value):
        schedule = callable(value) or hasattr(value, "leaves")
        fix = f"Evaluate the schedule at the step: {name}=schedule(step)" if schedule else ""
        kind = "a schedule" if schedule else "not a number"
        check.refuse(
            f"{name}={describe(value)} is {kind}",
            expected="a number or an array of numbers",
            fix=fix,
            error=TypeError,
        )
    within(**{name: value})


def as_epsilon(epsilon: Any, work: Any) -> Any:
    """ε as data in the dtype of a variance: one number >= 0, traced or not."""
    check_number(epsilon, "epsilon", check.non_negative)
    if jnp.ndim(epsilon):
        problem = f"epsilon has the shape {list(jnp.shape(epsilon))}"
        check.refuse(problem, expected="one number >= 0")
    real = numerics.real(work)
    return epsilon.astype(real) if isinstance(epsilon, jax.Array) else np.asarray(epsilon, real)


def check_flag(flag: Any, name: str, *, optional: bool = False) -> None:
    """A bool that is known while tracing; with ``optional`` None is accepted too."""
    if isinstance(flag, jax.core.Tracer):
        fix = f"Make it a static argument, or pass rate=jnp.where({name}, 0.0, rate)"
        problem = f"{name} is a traced value"
        check.refuse(problem, expected="True or False", fix=fix, error=TypeError)
    known = isinstance(flag, bool) or (
        np.shape(flag) == () and getattr(flag, "dtype", None) == np.bool_
    )
    if not known and not (optional and flag is None):
        problem = f"{name}={describe(flag)} is not a bool"
        check.refuse(problem, expected="True or False", error=TypeError)


def as_key(key: Any, use: str = "the mask") -> jax.Array:
    """One typed random key, from a typed key, the data of one, or a seed."""
    fix = "Pass key=jax.random.key(seed), a different key at each step"
    if key is None:
        check.refuse(f"key=None: {use} needs a random key", fix=fix, error=TypeError)
    if isinstance(key, (jax.Array, np.ndarray)):
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        data = jnp.issubdtype(key.dtype, jnp.unsignedinteger) and key.ndim
        valid = typed or data or (jnp.issubdtype(key.dtype, jnp.integer) and key.ndim == 0)
    else:
        valid = isinstance(key, (int, np.integer)) and not isinstance(key, bool)
    if not valid:
        problem = f"key={describe(key)} is not a random key"
        check.refuse(problem, expected="a random key or a seed", fix=fix, error=TypeError)
    try:
        typed_key = numerics.as_key(key)
    except (TypeError, ValueError, OverflowError):
        problem = f"key={describe(key)} is not the data of a random key"
        check.refuse(problem, expected="a random key or a seed", fix=fix)
    if typed_key.ndim:
        problem = f"key holds {typed_key.size} keys"
        check.refuse(problem, expected="one key", fix="Pass one of them, or jax.vmap over all")
    return typed_key


# ---- devices ---------------------------------------------------------------------------------


def as_groups(axis_name: Any, groups: Any) -> tuple[tuple[int, ...], ...] | None:
    """``axis_index_groups`` as nested tuples, after a check that ``axis_name`` is mapped here."""
    if axis_name is None:
        if groups is not None:
            problem = f"axis_index_groups={describe(groups)} has no axis to divide"
            check.refuse(problem, expected="axis_name as well", fix="Pass axis_name")
        return None
    try:
        lax.axis_size(axis_name)
    except (NameError, TypeError, ValueError):
        expected = "the name of an axis of an enclosing shard_map, vmap or pmap"
        check.refuse(f"axis_name={describe(axis_name)} is not a mapped axis", expected=expected)
    if groups is None:
        return None
    try:
        return tuple(tuple(operator.index(device) for device in group) for group in groups)
    except TypeError:
        problem = f"axis_index_groups={describe(groups)} is not a list of groups"
        check.refuse(problem, expected="such as [[0, 1], [2, 3]]", error=TypeError)


def group_sizes(channels: int, num_groups: int | None, group_size: int | None) -> tuple[int, int]:
    """The number of groups and the channels of each."""
    if (num_groups is None) == (group_size is None):
        problem = f"num_groups={num_groups!r} and group_size={group_size!r} do not fit together"
        fix = "With group_size, pass num_groups=None"
        check.refuse(problem, expected="one of the two", fix=fix)
    name, given = ("group_size", group_size)
    if num_groups is not None:
        name, given = ("num_groups", num_groups)
    check.integer(1, **{name: given})
    size = int(given or 1)
    if channels % size:
        divisors = ", ".join(str(n) for n in range(1, channels + 1) if channels % n == 0)
        problem = f"{name}={size} does not divide the {channels} channels"
        check.refuse(problem, expected=f"one of {divisors}")
    return (channels // size, size) if num_groups is None else (size, channels // size)
