"""Labels, scores, weights and masks, checked: by shape and kind always, by value where known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics

_NO_SAMPLES = "at least one sample"


def known(value: Any) -> np.ndarray | None:
    """An array as NumPy's; None for one that is traced, not judged, or on other processes too."""
    if isinstance(value, jax.core.Tracer) or not check.judging():
        return None
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        return None
    return np.asarray(value)


def array(name: str, value: Any, expected: str) -> jax.Array:
    """What is an array of numbers or bools, in JAX's dtypes."""
    try:
        if value is None:
            raise TypeError
        found = jnp.asarray(value)
    except (TypeError, ValueError):
        problem = f"{name}={check.shown(value)} is not an array of numbers"
        check.refuse(problem, expected=expected, error=TypeError)
    return numerics.gather(found)  # a sort needs all samples on each device


def labels(name: str, value: Any) -> jax.Array:
    """Integer labels of any shape; bools become 0 and 1."""
    found = array(name, value, "integer labels")
    if found.dtype == bool:
        return found.astype(jnp.int32)
    if not jnp.issubdtype(found.dtype, jnp.integer):
        problem, fix = f"{name} is {check.shape_dtype(found)}", ""
        if jnp.issubdtype(found.dtype, jnp.floating):
            fix = "Of scores, pass jnp.argmax(scores, axis=-1), or scores > 0"
        check.refuse(problem, expected="integer labels", fix=fix, error=TypeError)
    return found.astype(numerics.wider(jnp.int32, found.dtype))


def samples(y: Any) -> tuple[np.ndarray | None, int]:
    """The labels, None where only the number of samples is given, and that number."""
    if isinstance(y, jax.core.Tracer):
        fix = "Split outside jit, and pass the indices in"
        check.refuse("y is traced", expected="known labels", fix=fix, error=TypeError)
    if isinstance(y, (int, np.integer)) and not isinstance(y, bool):
        check.integer(1, y=y)
        return None, int(y)
    try:
        found = np.asarray(y)
    except (TypeError, ValueError):
        found = np.zeros((), object)
    if found.ndim == 0 or found.dtype == object:
        problem = f"y={check.shown(y)} has no samples"
        check.refuse(problem, expected="labels, or the number of samples", error=TypeError)
    return found, len(found)


def pair(y_true: Any, y_pred: Any) -> tuple[jax.Array, jax.Array]:
    """True and predicted labels of one shape and dtype."""
    true, pred = labels("y_true", y_true), labels("y_pred", y_pred)
    if true.shape != pred.shape:
        problem = f"y_pred is {check.shape_dtype(pred)} for y_true {check.shape_dtype(true)}"
        check.refuse(problem, expected="the same shape")
    dtype = numerics.wider(true.dtype, pred.dtype)
    return true.astype(dtype), pred.astype(dtype)


def scores(name: str, value: Any, true: jax.Array, used: Any, *, classes: bool | None) -> jax.Array:
    """Real scores for labels, without NaN among those that are used.

    Args:
      name: of the argument.
      value: the scores.
      true: the labels.
      used: weights whose zeros take samples out.
      classes: whether there is a last axis of classes; None where there may be one.
    """
    found = array(name, value, "an array of real scores")
    integer = jnp.issubdtype(found.dtype, jnp.integer) or found.dtype == bool
    if not (integer or jnp.issubdtype(found.dtype, jnp.floating)):
        problem = f"{name} is {check.shape_dtype(found)}"
        check.refuse(problem, expected="real scores", error=TypeError)
    several = found.ndim == true.ndim + 1 and found.shape[:-1] == true.shape and found.shape[-1] > 0
    if not ((several and classes is not False) or (found.shape == true.shape and not classes)):
        shape = ", ".join(map(str, true.shape))
        expected = {
            True: f"shape [{shape}, classes]",
            False: f"shape [{shape}], a score of the positive class for each label",
            None: f"shape [{shape}] or [{shape}, classes]",
        }[classes]
        problem = f"{name} is {check.shape_dtype(found)} for y_true {check.shape_dtype(true)}"
        check.refuse(problem, expected=expected)
    values, weight = known(found), known(used)
    if values is not None and weight is not None and not integer:
        values = values.astype(np.float64)[weight != 0]
        if np.isnan(values).any():
            fix = "Leave these samples out with where="
            check.refuse(f"{name} has NaN", expected="real scores", fix=fix)
    return found.astype(int if integer else numerics.wide(found.dtype))


def weights(sample_weight: Any, where: Any, true: jax.Array) -> jax.Array:
    """A weight for each label: integers 1 and 0 without ``sample_weight``, else real numbers."""
    mask, weight = None, jnp.ones(true.shape, int)
    if sample_weight is not None:
        weight = array("sample_weight", sample_weight, "an array of real weights")
        if jnp.issubdtype(weight.dtype, jnp.complexfloating):
            problem = f"sample_weight is {check.shape_dtype(weight)}"
            check.refuse(problem, expected="real weights", error=TypeError)
        _same_shape("sample_weight", weight, true)
        real = jnp.issubdtype(weight.dtype, jnp.floating)
        weight = weight.astype(numerics.wide(weight.dtype) if real else float)
    if where is not None:
        mask = array("where", where, "a mask of bools")
        if mask.dtype != bool:
            problem = f"where is {check.shape_dtype(mask)}"
            check.refuse(problem, expected="a mask of bools", error=TypeError)
        _same_shape("where", mask, true)
        weight = jnp.where(mask, weight, jnp.zeros((), weight.dtype))
    values = known(weight) if sample_weight is not None else None
    if values is not None and not (np.isfinite(values) & (values >= 0)).all():
        check.refuse("sample_weight has negative numbers, infinity or NaN", expected="weights >= 0")
    return weight


def some(weight: jax.Array) -> None:
    """Refuse an evaluation of no sample."""
    if not weight.size:
        check.refuse("y_true is empty", expected=_NO_SAMPLES)
    values = known(weight)
    if values is not None and not values.any():
        problem = "where and sample_weight leave no sample"
        check.refuse(problem, expected=_NO_SAMPLES)


def _same_shape(name: str, value: jax.Array, true: jax.Array) -> None:
    if value.shape != true.shape:
        problem = f"{name} is {check.shape_dtype(value)} for y_true {check.shape_dtype(true)}"
        check.refuse(problem, expected="the same shape")


def in_range(count: int, weight: Any, **given: Any) -> None:
    """Refuse labels of samples that are used outside 0, ..., count − 1."""
    used = known(weight)
    for name, value in given.items():
        values = known(value)
        if values is None or used is None:
            continue
        values = values[used != 0]
        wrong = values[(values < 0) | (values >= count)]
        if wrong.size:
            fix = "Leave padding out with where="
            problem = f"{name} has the label {wrong[0]}"
            check.refuse(problem, expected=f"labels from 0 to {count - 1}", fix=fix)


def class_count(num_classes: Any, weight: Any, **given: Any) -> int:
    """The number of classes, or one more than the largest label that is used."""
    if num_classes is not None:
        if isinstance(num_classes, jax.core.Tracer):
            fix = "Make it static: an int that jit does not trace"
            check.refuse("num_classes is traced", expected="an integer", fix=fix, error=TypeError)
        check.integer(1, num_classes=num_classes)
        in_range(int(num_classes), weight, **given)
        return int(num_classes)
    used, values = known(weight), [known(value) for value in given.values()]
    if used is None or any(value is None for value in values):
        fix = "Pass num_classes: under jit it fixes the shape of the result"
        check.refuse("num_classes=None, and the labels are traced", fix=fix, error=TypeError)
    found = 1 + max(int(v[used != 0].max(initial=0)) for v in values if v is not None)
    in_range(found, weight, **given)
    return found
