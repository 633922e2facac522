"""A check that what evaluates a model was not fitted on."""

from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit.data.preprocessing import _inputs as inputs
from gradkit.data.preprocessing import _rows as sketch
from gradkit.data.preprocessing.base import Fitted
from gradkit.data.preprocessing.pipeline import FittedPipeline

_hashes = jax.jit(jax.vmap(sketch.hashes))


def check_held_out(
    fitted: Fitted,
    x: ArrayLike,
    *,
    where: ArrayLike | None = None,
    allowed: float = 0.0,
) -> None:
    """Raise where held-out samples were among those that a step was fitted on (a leak).

    A fit keeps hashes of the values of its samples: of all up to 1024, beyond that the 1024
    smallest, which are a random sample. So of n samples in the fit, m that leak are found with a
    probability of at least 1 − (1 − 1024/n)^m: a few leaks of many may be missed, a fit on all of
    the data is not. Equal samples in both parts are found too, wherever they are from.

    Args:
      fitted: a fitted step or pipeline; or several, stacked by ``vmap`` over folds.
      x: the samples that evaluate the model, as they are before the step; for several steps, those
        of each.
      where: bools for the samples; False leaves one out, such as padding.
      allowed: the share of samples that may be equal to one of the fit, for data with duplicates.

    Raises:
      ValueError: samples of the fit among ``x``; a step that has none, such as ``rescale``.
      TypeError: under ``jit``, where nothing can be raised.

    Example:
      >>> import gradkit as gk, jax
      >>> x = jax.random.normal(jax.random.key(0), (10, 2))
      >>> fitted = gk.data.standardize().fit(x[:8])
      >>> gk.data.check_held_out(fitted, x[8:])
      >>> try:
      ...     gk.data.check_held_out(gk.data.standardize().fit(x), x[8:])
      ...     leaks = False
      ... except ValueError:
      ...     leaks = True
      >>> assert leaks
    """
    with check.inside("check_held_out"):
        if not isinstance(fitted, Fitted):
            problem = f"fitted={check.shown(fitted)} is not a fitted step"
            check.refuse(problem, expected="what step.fit(x) returns", error=TypeError)
        check.probability(allowed=allowed)
        found = inputs.array("x", x, integers=True)
        traced = (isinstance(leaf, jax.core.Tracer) for leaf in (fitted.seen, found, where))
        if any(traced):
            fix = "Call it once, outside jit"
            check.refuse(
                "the samples are traced", expected="known values", fix=fix, error=TypeError
            )
        if isinstance(fitted, FittedPipeline) and not fitted.seen.shape[-2]:
            for part in fitted.parts:  # those without a fit come first
                if part.seen.shape[-2]:
                    fitted = part
                    break
                found = part.transform(found)
        if not fitted.seen.shape[-2]:
            check.refuse(f"{fitted.step!r} has nothing to fit", expected="a step that was fitted")
        stacked = fitted.seen.ndim == 3
        if stacked and (found.ndim < 2 or len(found) != len(fitted.seen)):
            problem = f"x is {check.shape_dtype(found)} for {len(fitted.seen)} fits"
            check.refuse(problem, expected="the samples of each fit, such as x[folds.test]")
        rows = found if stacked else found[None]
        records = np.asarray(fitted.seen if stacked else fitted.seen[None])
        used = _used(where, rows.shape[:2])
        samples = np.asarray(fitted.samples).reshape(-1)
        hashes = np.asarray(_hashes(rows))
        for i, record in enumerate(records):
            leaked = np.isin(_joined(hashes[i]), _joined(record)) & used[i]
            if leaked.sum() > allowed * used[i].sum():
                _refuse(leaked, used[i], int(samples[i]), f"fit {i}" if stacked else "")


def _used(where: Any, shape: tuple[int, ...]) -> np.ndarray:
    if where is None:
        return np.ones(shape, bool)
    mask = np.asarray(where)
    if mask.dtype != bool or mask.size != shape[0] * shape[1]:
        problem = f"where is {check.shape_dtype(mask)}"
        check.refuse(problem, expected="a bool for each sample")
    return mask.reshape(shape)


def _joined(hashes: np.ndarray) -> np.ndarray:
    return hashes[:, 0].astype(np.uint64) << np.uint64(32) | hashes[:, 1]


def _refuse(leaked: np.ndarray, used: np.ndarray, samples: int, path: str) -> None:
    first = int(np.flatnonzero(leaked)[0])
    problem = f"{leaked.sum()} of {used.sum()} held-out samples, first {first}, were fitted on"
    if samples > sketch.MOST:
        problem += f" (of its {samples} samples {sketch.MOST} are compared)"
    fix = (
        "Fit to the training samples only: fit(x, split). For duplicates in the data, pass allowed"
    )
    check.refuse(problem, expected="samples apart from those of the fit", fix=fix, path=path)
