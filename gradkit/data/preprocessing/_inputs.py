"""Samples, weights and splits, checked: by shape and kind always, by value where known."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics


class Given(NamedTuple):
    """Samples, which of them to take, and how much they count; None for all, and for alike."""

    x: jax.Array
    where: jax.Array | None = None
    sample_weight: jax.Array | None = None
    rows: jax.Array | None = None
    rows_where: jax.Array | None = None

    def taken(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The samples, their mask, and their weights."""
        x, mask, weight = self.x, self.where, self.sample_weight
        mask = jnp.ones(len(x), bool) if mask is None else mask
        weight = jnp.ones(len(x)) if weight is None else weight
        if self.rows is not None:
            x, mask, weight = x[self.rows], mask[self.rows], weight[self.rows]
        if self.rows_where is not None:
            mask = mask & self.rows_where.reshape(-1, *[1] * (mask.ndim - 1))
        return x, mask, weight

    def batch(self, dtype: Any = None) -> tuple[jax.Array, jax.Array, Any]:
        """The samples in a floating dtype, at least float32, weights of their rank, and a verdict.

        The weight is zero of what is left out. The verdict is three bools: whether what is used is
        finite, whether the weights are, and ≥ 0, and whether anything is used.
        """
        x, mask, weight = self.taken()
        x = x.astype(numerics.wide(x.dtype) if dtype is None else dtype)
        weight = weight.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
        mask = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
        weight = jnp.where(mask, weight, jnp.zeros((), weight.dtype))
        finite = jnp.all(jnp.isfinite(x) | (weight == 0))
        right = jnp.all(jnp.isfinite(weight) & (weight >= 0))
        return x, weight, (finite, right, jnp.any(weight != 0))


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


def given(x: Any, where: Any, sample_weight: Any, split: Any, *, elements: bool) -> Given:
    """Samples along the first axis, checked by shape and kind.

    Args:
      x: samples.
      where: bools for samples, or for elements.
      sample_weight: weights of the samples.
      split: the samples to take; None for all.
      elements: whether single elements may be left out, and x may be integers.
    """
    if x.ndim == 0:
        check.refuse(f"x is {check.shape_dtype(x)}", expected="samples along the first axis")
    if not x.size:
        expected = "at least one sample, with features"
        check.refuse(f"x is {check.shape_dtype(x)}", expected=expected)
    mask, weight = _mask(where, x, elements), _weight(sample_weight, x.shape[0])
    rows, rows_where = (None, None) if split is None else _rows(split, x.shape[0])
    return Given(x, mask, weight, rows, rows_where)


def judge(verdict: Any, elements: bool) -> None:
    """Refuse samples and weights by value, where the verdict is known."""
    if not known(*verdict):
        return
    finite, right, some = map(bool, verdict)
    if not some:
        problem = "where and sample_weight leave no sample"
        check.refuse(problem, expected="at least one sample")
    if not right:
        problem = "sample_weight has negative numbers, infinity or NaN"
        check.refuse(problem, expected="weights >= 0")
    if not finite:
        missing = "where=jnp.isfinite(x)" if elements else "where=jnp.isfinite(x).all(axis=1)"
        fix = f"Leave missing values out with {missing}"
        check.refuse("x has NaN or infinity", expected="finite numbers", fix=fix)


def _mask(where: Any, x: jax.Array, elements: bool) -> jax.Array | None:
    if where is None:
        return None
    mask = jnp.asarray(where)
    if mask.dtype != bool:
        problem = f"where is {check.shape_dtype(mask)}"
        check.refuse(problem, expected="a mask of bools", error=TypeError)
    if mask.shape != x.shape[:1] and not (elements and mask.shape == x.shape):
        shapes = f"shape [{x.shape[0]}]"
        shapes += f" for samples, or {list(x.shape)} for elements" if elements else " for samples"
        check.refuse(f"where is {check.shape_dtype(mask)}", expected=shapes)
    return mask


def _weight(sample_weight: Any, count: int) -> jax.Array | None:
    if sample_weight is None:
        return None
    weight = array("sample_weight", sample_weight, integers=True)
    if weight.shape != (count,):
        problem = f"sample_weight is {check.shape_dtype(weight)} for {count} samples"
        check.refuse(problem, expected=f"shape [{count}]")
    return weight


def _parts(split: Any) -> dict[str, Any]:
    """The indices of each part by name."""
    if isinstance(split, dict):
        return split
    if hasattr(split, "_asdict"):
        return dict(split._asdict())
    if isinstance(split, (tuple, list)) and split and np.ndim(split[0]):
        return {"train": split[0]} | {f"part {i}": split[i] for i in range(1, len(split))}
    return {"train": split} if hasattr(split, "dtype") else {}


def _rows(split: Any, count: int) -> tuple[jax.Array, jax.Array | None]:
    """The training samples of a split and which of them count, after a check of the split."""
    parts = _parts(split)
    if "train" not in parts:
        problem = f"split={check.shown(split)} has no training part"
        expected = "indices, a tuple of them with those to fit on first, or a field train"
        fix = "Make it with gk.data.split or gk.metrics.k_fold"
        check.refuse(problem, expected=expected, fix=fix, error=TypeError)
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
                problem = f"sample {both[0]} is in both train and {name} of the split"
                check.refuse(problem, expected=f"{name} samples apart from those to fit on")
    mask = used["train"]
    return train, None if mask is None else jnp.asarray(mask)
