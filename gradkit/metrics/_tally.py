"""Readings of a confusion matrix: rows are true classes, columns predicted ones."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics

AVERAGES = ("binary", "macro", "micro", "weighted")


@functools.partial(jax.jit, static_argnames=("count",))
def tally(true: Any, pred: Any, weight: Any, *, count: int) -> tuple[jax.Array, jax.Array]:
    """The confusion matrix, and the weight of the labels that are out of range."""
    true, pred, weight = true.ravel(), pred.ravel(), weight.ravel()
    inside = (true >= 0) & (true < count) & (pred >= 0) & (pred < count)
    place = jnp.where(inside, true * count + pred, count * count)
    flat = jnp.zeros(count * count, weight.dtype).at[place].add(weight, mode="drop")
    outside = jnp.sum(jnp.where(inside, jnp.zeros((), weight.dtype), weight))
    return flat.reshape(count, count), outside


def real(x: Any) -> jax.Array:
    """Counts as floating numbers."""
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


@jax.jit
def accuracy(counts: Any, outside: Any) -> jax.Array:
    """The fraction of the diagonal; NaN of an empty matrix, or with labels out of range."""
    total = jnp.where(outside != 0, jnp.nan, real(jnp.sum(counts)))
    return real(jnp.trace(counts)) / total


def check_average(average: Any, count: int, pos_label: Any, zero_division: Any) -> None:
    """Refuse what ``average``, ``pos_label`` and ``zero_division`` cannot be."""
    if average is not None:
        check.one_of(AVERAGES, average=average)
    if isinstance(zero_division, jax.core.Tracer):
        check.refuse("zero_division is traced", expected="0.0, 1.0 or nan", error=TypeError)
    check.as_number("zero_division", zero_division)
    if not (zero_division in (0, 1) or math.isnan(zero_division)):
        problem = f"zero_division={check.shown(zero_division)} is out of range"
        check.refuse(problem, expected="0.0, 1.0 or nan")
    if average == "binary":
        check.integer(0, pos_label=pos_label)
        if count > 2:
            fix = "Pass average='macro', 'micro' or 'weighted', or None for every class"
            problem = f"average='binary' with num_classes={count}"
            check.refuse(problem, expected="two classes", fix=fix)
        if pos_label >= count:
            problem = f"pos_label={check.shown(pos_label)} is out of range"
            check.refuse(problem, expected=f"a label from 0 to {count - 1}")


def precision(counts: Any, outside: Any, **options: Any) -> jax.Array:
    return _reading(counts, outside, (1.0, 0.0, 1.0), **options)


def recall(counts: Any, outside: Any, **options: Any) -> jax.Array:
    return _reading(counts, outside, (1.0, 1.0, 0.0), **options)


def fbeta(counts: Any, outside: Any, *, beta: Any, **options: Any) -> jax.Array:
    if isinstance(beta, jax.core.Tracer):
        check.refuse("beta is traced", expected="a number >= 0", error=TypeError)
    check.number("x >= 0", lambda v: v >= 0, beta=beta)
    square = float(beta) ** 2
    if math.isinf(square):
        return recall(counts, outside, **options)
    return _reading(counts, outside, (1 + square, square, 1.0), **options)


def _reading(
    counts: Any, outside: Any, parts: Any, *, average: Any, pos_label: Any, zero_division: Any
) -> jax.Array:
    """``a hits / (b true + c predicted)`` for ``parts = (a, b, c)``."""
    check_average(average, counts.shape[0], pos_label, zero_division)
    place = int(pos_label) if average == "binary" else 0
    return _measure(counts, outside, parts, float(zero_division), average=average, pos_label=place)


@functools.partial(jax.jit, static_argnames=("average", "pos_label"))
def _measure(
    counts: Any, outside: Any, parts: Any, zero_division: Any, *, average: Any, pos_label: int
) -> jax.Array:
    hits, true, pred = jnp.diagonal(counts), jnp.sum(counts, axis=1), jnp.sum(counts, axis=0)
    if average == "micro":
        hits, true, pred = (jnp.sum(x, keepdims=True) for x in (hits, true, pred))
    hits, true, pred = real(hits), real(true), real(pred)
    a, b, c, zero_division = (jnp.asarray(x, true.dtype) for x in (*parts, zero_division))
    below = b * true + c * pred
    each = jnp.where(below == 0, zero_division, numerics.divide(a * hits, below))
    each = jnp.where(outside != 0, jnp.nan, each)
    if average is None:
        return each
    if average == "binary":
        return each[pos_label]
    return _mean(each, true if average == "weighted" else jnp.ones_like(true))


def _mean(each: Any, weight: Any) -> jax.Array:
    """The mean without NaN, of NaN alone NaN; the plain one where all weights are zero."""
    left_out = jnp.isnan(each)
    weight = jnp.where(left_out, 0, weight)
    plain = jnp.where(left_out, 0, jnp.ones_like(weight))
    weight = jnp.where(jnp.sum(weight) == 0, plain, weight)
    return jnp.sum(jnp.where(left_out, 0, each) * weight) / jnp.sum(weight)


@functools.partial(jax.jit, static_argnames=("normalize",))
def normalized(counts: Any, *, normalize: str) -> jax.Array:
    """Fractions of the rows, the columns or the whole; zeros of what is empty."""
    counts = real(counts)
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    total = jnp.sum(counts, axis=axis, keepdims=True)
    return numerics.divide(counts, jnp.broadcast_to(total, counts.shape))
