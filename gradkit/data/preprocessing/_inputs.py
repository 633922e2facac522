"""Samples, weights and splits, checked: by shape and kind always, by value where known."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics


class Batch(NamedTuple):
    """Samples with weights of the same rank; zero for what is left out."""

    x: jax.Array
    weight: jax.Array


def known(*values: Any) -> bool:
    """Whether arrays can be judged by value now."""
    return check.judging() and not any(
        isinstance(x, jax.core.Tracer) or (isinstance(x, jax.Array) and not x.is_fully_addressable)
        for x in values
    )


def array(name: str, value: Any, *, integers: bool = False) -> jax.Array:
    """Real floating numbers; integers too where they are converted."""
    try:
        if value is None:
            raise TypeError
        found = jnp.asarray(value)
    except (TypeError, ValueError):
        problem = f"{name}={check.shown(value)} is not an array of numbers"
        check.refuse(problem, error=TypeError)
    whole = jnp.issubdtype(found.dtype, jnp.integer) or found.dtype == bool
    if whole and not integers:
        fix = "Convert it: rescale(1 / 255) does for bytes, x.astype(float) for counts"
        problem = f"{name} is {check.shape_dtype(found)}"
        check.refuse(problem, expected="floating numbers", fix=fix, error=TypeError)
    if not whole and not jnp.issubdtype(found.dtype, jnp.floating):
        problem = f"{name} is {check.shape_dtype(found)}"
        check.refuse(problem, expected="real floating numbers", error=TypeError)
    return found


def batch(x: Any, where: Any, sample_weight: Any, *, elements: bool, split: Any = None) -> Batch:
    """Samples to fit on, at least float32.

    Args:
      x: samples along the first axis.
      where: bools for samples, or for elements.
      sample_weight: weights ≥ 0 of the samples.
      elements: whether single elements may be left out.
      split: the samples to take.
    """
    found = array("x", x)
    if found.ndim == 0:
        check.refuse(f"x is {check.shape_dtype(found)}", expected="samples along the first axis")
    if not found.size:
        check.refuse(f"x is {check.shape_dtype(found)}", expected="at least one sample")
    found, mask, weight = taken(found, split, where, sample_weight, elements=elements)
    found = found.astype(numerics.wide(found.dtype))
    weight = weight.reshape(-1, *[1] * (found.ndim - 1)).astype(found.dtype)
    mask = mask.reshape(*mask.shape, *[1] * (found.ndim - mask.ndim))
    weight = jnp.where(mask, weight, jnp.zeros((), weight.dtype))
    if known(found, weight):
        finite, least, any_used = _judge(found, weight)
        if not any_used:
            problem = "where and sample_weight leave no sample"
            check.refuse(problem, expected="at least one sample")
        if not least:
            problem = "sample_weight has negative numbers, infinity or NaN"
            check.refuse(problem, expected="weights >= 0")
        if not finite:
            missing = "where=jnp.isfinite(x)" if elements else "where=jnp.isfinite(x).all(axis=1)"
            fix = f"Leave missing values out with {missing}"
            check.refuse("x has NaN or infinity", expected="finite numbers", fix=fix)
    return Batch(found, weight)


def taken(
    x: jax.Array, split: Any, where: Any, sample_weight: Any, *, elements: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The samples of the training part of a split, with their mask and weights."""
    mask, weight = _mask(where, x, elements), _weight(sample_weight, x.shape[0])
    if split is None:
        return x, mask, weight
    rows, used = _rows(split, x.shape[0])
    mask = mask[rows] & used.reshape(-1, *[1] * (mask.ndim - 1))
    return x[rows], mask, weight[rows]


@jax.jit
def _judge(x: Any, weight: Any) -> Any:
    finite = jnp.all(jnp.isfinite(x) | (weight == 0))
    return finite, jnp.all(jnp.isfinite(weight) & (weight >= 0)), jnp.any(weight != 0)


def _mask(where: Any, x: jax.Array, elements: bool) -> jax.Array:
    if where is None:
        return jnp.ones(x.shape[0], bool)
    mask = jnp.asarray(where)
    if mask.dtype != bool:
        problem = f"where is {check.shape_dtype(mask)}"
        check.refuse(problem, expected="a mask of bools", error=TypeError)
    if mask.shape != x.shape[:1] and not (elements and mask.shape == x.shape):
        shapes = f"shape [{x.shape[0]}]"
        shapes += f" for samples, or {list(x.shape)} for elements" if elements else " for samples"
        check.refuse(f"where is {check.shape_dtype(mask)}", expected=shapes)
    return mask


def _weight(sample_weight: Any, count: int) -> jax.Array:
    if sample_weight is None:
        return jnp.ones(count)
    weight = array("sample_weight", sample_weight, integers=True)
    if weight.shape != (count,):
        problem = f"sample_weight is {check.shape_dtype(weight)} for {count} samples"
        check.refuse(problem, expected=f"shape [{count}]")
    return weight.astype(float)


def _rows(split: Any, count: int) -> tuple[jax.Array, jax.Array]:
    """The training samples of a split and which of them count, after a check of the split."""
    parts = split if isinstance(split, dict) else getattr(split, "_asdict", dict)()
    if "train" not in parts:
        problem = f"split={check.shown(split)} has no training part"
        fix = "Make it with gk.data.split or gk.metrics.k_fold"
        check.refuse(problem, expected="a field train of indices", fix=fix, error=TypeError)
    indices = {name: rows for name, rows in parts.items() if not name.endswith("_where")}
    used = {name: parts.get(f"{name}_where") for name in indices}
    rows = {name: jnp.asarray(value) for name, value in indices.items() if value is not None}
    train = rows["train"]
    if train.ndim == 2:
        problem = f"split.train is {check.shape_dtype(train)}: several splits"
        fix = "Map over them: jax.vmap(lambda fold: step.fit(x, fold))(folds)"
        check.refuse(problem, expected="one split", fix=fix)
    if train.ndim != 1 or not jnp.issubdtype(train.dtype, jnp.integer):
        problem = f"split.train is {check.shape_dtype(train)}"
        check.refuse(problem, expected="a vector of indices", error=TypeError)
    if known(*rows.values(), *(mask for mask in used.values() if mask is not None)):
        taken = {
            name: np.asarray(value)[... if used[name] is None else np.asarray(used[name])]
            for name, value in rows.items()
        }
        mine = taken.pop("train")
        if mine.size and not 0 <= mine.min() <= mine.max() < count:
            wrong = mine[(mine < 0) | (mine >= count)][0]
            problem = f"split.train has the index {wrong} for {count} samples"
            check.refuse(problem, expected=f"indices from 0 to {count - 1}")
        for name, value in taken.items():
            both = np.intersect1d(mine, value)
            if both.size:
                problem = f"sample {both[0]} is in both train and {name} of split"
                check.refuse(problem, expected=f"{name} samples apart from those to fit on")
    mask = used["train"]
    return train, jnp.ones(train.shape, bool) if mask is None else jnp.asarray(mask)
