"""What all losses do with their arguments: check, widen, mask, weight."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics

Axis = int | tuple[int, ...] | None


def real(name: str, value: Any) -> jax.Array:
    """An array of real numbers, which may be integers."""
    try:
        array = None if isinstance(value, (str, bytes)) else jnp.asarray(value)
    except (TypeError, ValueError):
        array = None
    if array is None:
        problem = f"{name}={check.shown(value)} is not an array"
        check.refuse(problem, expected="an array of real numbers", error=TypeError)
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        problem = f"{name} is {check.shape_dtype(array)}"
        check.refuse(problem, expected="real numbers", error=TypeError)
    return array


def floating(name: str, value: Any) -> jax.Array:
    """An array of floats, in its own dtype."""
    array = real(name, value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        fix = f"Convert it: {name}.astype(jnp.float32)"
        problem = f"{name} is {check.shape_dtype(array)}"
        check.refuse(problem, expected="a floating dtype", fix=fix, error=TypeError)
    return array


def integers(name: str, value: Any) -> jax.Array:
    """An array of integers."""
    array = real(name, value)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        problem = f"{name} is {check.shape_dtype(array)}"
        fix = "Labels that are probabilities or one-hot belong to softmax_cross_entropy"
        check.refuse(problem, expected="an integer dtype", fix=fix, error=TypeError)
    return array


def fit(name: str, array: jax.Array, shape: tuple[int, ...], of: str) -> jax.Array:
    """An array in a shape: a number, or one whose axes are as long, or of length 1."""
    if array.shape == shape:
        return array
    same_rank = array.ndim == len(shape)
    if array.ndim and not (same_rank and all(a in (1, b) for a, b in zip(array.shape, shape))):
        problem = f"{name} is {check.shape_dtype(array)}, and {of} has the shape {shape}"
        fix = "An array of another rank is not broadcast; reshape it"
        check.refuse(problem, expected="one shape, axes of length 1 aside", fix=fix)
    return jnp.broadcast_to(array, shape)


def pair(first: str, x: Any, second: str, y: Any) -> tuple[jax.Array, jax.Array]:
    """Two arrays of one shape and one dtype of at least float32; the first one is floating."""
    x, y = floating(first, x), real(second, y)
    kinds = [a.dtype for a in (x, y) if jnp.issubdtype(a.dtype, jnp.floating)]
    dtype = numerics.wide(numerics.wider(*kinds))
    return x.astype(dtype), fit(second, y.astype(dtype), x.shape, first)


def number(name: str, value: Any, like: jax.Array) -> jax.Array:
    """One real number in the dtype of an array."""
    array = real(name, value)
    if array.ndim:
        check.refuse(f"{name} is {check.shape_dtype(array)}", expected="one number")
    return array.astype(like.dtype)


def mask(where: Any, shape: tuple[int, ...], of: str) -> jax.Array | None:
    """A mask in a shape, or None."""
    if where is None:
        return None
    array = real("where", where)
    if not jnp.issubdtype(array.dtype, jnp.bool_):
        if jnp.issubdtype(array.dtype, jnp.floating):
            problem = f"where is {check.shape_dtype(array)}"
            fix = "Numbers that scale the loss are weights="
            check.refuse(problem, expected="booleans", fix=fix, error=TypeError)
        array = array != 0
    return fit("where", array, shape, of)


def keep(kept: jax.Array | None, *arrays: jax.Array) -> list[jax.Array]:
    """The arrays with zeros where a mask leaves elements out, so that no NaN is computed with."""
    if kept is None:
        return list(arrays)
    return [jnp.where(kept, x, jnp.zeros_like(x)) for x in arrays]


def weigh(loss: jax.Array, kept: jax.Array | None, weights: Any) -> jax.Array:
    """The losses times their weights, zero where masked."""
    if weights is not None:
        loss = loss * fit(
            "weights", real("weights", weights).astype(loss.dtype), loss.shape, "loss"
        )
    return loss if kept is None else jnp.where(kept, loss, jnp.zeros_like(loss))


def axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes, counted from the front, in their order."""
    found = numerics.as_axes(axis)
    if found is None:
        return tuple(range(ndim))
    if any(not -ndim <= a < ndim for a in found):
        problem = f"axis={axis!r} is out of range"
        check.refuse(problem, expected=f"an axis of an array of rank {ndim}")
    result = tuple(a % ndim for a in found)
    if len(set(result)) < len(result):
        check.refuse(f"axis={axis!r} names an axis twice", expected="different axes")
    return result


def flat(x: jax.Array, axis: tuple[int, ...]) -> jax.Array:
    """An array with the axes named, flattened in their order, as its last axis."""
    if axis == (x.ndim - 1,):
        return x
    batch = [i for i in range(x.ndim) if i not in axis]
    return x.transpose(*batch, *axis).reshape(*(x.shape[i] for i in batch), -1)


def row_mask(where: Any, shape: tuple[int, ...], axis: tuple[int, ...], of: str) -> Any:
    """A mask of elements, flattened as they are; a mask of rows is one of their elements."""
    if where is None:
        return None
    batch = tuple(n for i, n in enumerate(shape) if i not in axis)
    if np.ndim(where) != len(shape):
        per_row = mask(where, batch, "loss")
        width = int(np.prod([shape[i] for i in axis]))
        return None if per_row is None else _repeat(per_row, width)
    kept = mask(where, shape, of)
    return None if kept is None else flat(kept, axis)


def _repeat(x: jax.Array, width: int) -> jax.Array:
    return jnp.broadcast_to(x[..., None], (*x.shape, width))


def labels_of(name: str, value: Any, shape: tuple[int, ...], classes: int, kept: Any) -> jax.Array:
    """Integer labels of a shape; those known now, and not masked, are in range."""
    labels = integers(name, value)
    if labels.shape != shape:
        problem = f"{name} is {check.shape_dtype(labels)}"
        check.refuse(problem, expected=f"the shape {shape}")
    if known(labels) and (kept is None or known(kept)):
        values = np.asarray(labels)
        wrong = (values < 0) | (values >= classes)
        if kept is not None:
            wrong &= np.asarray(kept)
        if wrong.any():
            problem = f"{name} has the label {int(values[wrong][0])}, which is out of range"
            fix = "Leave elements out with where="
            check.refuse(problem, expected=f"0 <= label < {classes}", fix=fix)
    # int8 cannot count the classes it names.
    return labels.astype(numerics.wider(labels.dtype, jnp.int32))


def known(x: Any) -> bool:
    """Whether the values of an array may be looked at now."""
    if isinstance(x, jax.core.Tracer) or not check.judging():
        return False
    return not isinstance(x, jax.Array) or x.is_fully_addressable


def is_label(labels: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Which element of a row its label names; none where it is out of range."""
    index = lax.broadcasted_iota(labels.dtype, shape, len(shape) - 1)
    return index == labels[..., None]


def in_range(labels: jax.Array, classes: int) -> jax.Array:
    """Whether labels name one of the classes."""
    return (labels >= 0) & (labels < classes)


def within(name: str, value: Any, low: float, high: float) -> None:
    """Refuse a number that is known now and is outside [low, high]."""
    if known(value) and numerics.fails(value, lambda v: (v >= low) & (v <= high)):
        problem = f"{name}={check.shown(value)} is out of range"
        check.refuse(
            problem, expected=f"{low} <= {name}" + (f" <= {high}" if high < np.inf else "")
        )


def common(*values: jax.Array) -> Any:
    """The common dtype of arrays, whatever promotion mode the user has set."""
    return numerics.wider(*(x.dtype for x in values))


def loss_dtype(*values: jax.Array) -> Any:
    """float32, or float64 where an array is."""
    kinds = [x.dtype for x in values if jnp.issubdtype(x.dtype, jnp.floating)]
    return numerics.wide(numerics.wider(jnp.float32, *kinds))


def scored(name: str, scores: Any, labels: Any, where: Any) -> tuple[Any, Any, Any, Any]:
    """Wide scores with the classes last, integer labels, a mask of rows, which labels are good."""
    given = floating(name, scores)
    if not given.ndim:
        check.refuse(f"{name} is {check.shape_dtype(given)}", expected="the shape [..., classes]")
    kept = mask(where, given.shape[:-1], "labels")
    y = labels_of("labels", labels, given.shape[:-1], given.shape[-1], kept)
    f = given.astype(numerics.wide(given.dtype))
    good = in_range(y, f.shape[-1])
    if kept is None:
        return f, y, None, good
    return jnp.where(kept[..., None], f, 0), y, kept, good | ~kept


def refuse_outside(name: str, x: jax.Array, kept: jax.Array | None, fix: str) -> None:
    """Refuse elements, known now and not masked, that are no probabilities (but for rounding)."""
    if not known(x) or (kept is not None and not known(kept)):
        return
    values = np.asarray(x)
    wrong = (values < -1e-5) | (values > 1 + 1e-5)
    if kept is not None:
        wrong &= np.asarray(kept)
    if wrong.any():
        problem = f"{name} has the value {float(values[wrong][0]):g}"
        check.refuse(problem, expected=f"0 <= {name} <= 1", fix=fix)
