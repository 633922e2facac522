"""How far two trajectories are apart."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit.parity.trajectory import Trajectory


def leaf_dtypes(params: Any) -> dict[str, Any]:
    return {
        check.keystr(path) if path else "": leaf.dtype
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


def differences(
    ours: Trajectory, theirs: Trajectory, dtypes: dict[str, Any], rtol: float, atol: float
) -> Any:
    """``(first step, its path), (largest absolute, relative, ulp difference)``."""
    first: tuple[int | None, str | None] = (None, None)
    largest = [0.0, 0.0, 0.0]
    for name in ours.keys() & theirs.keys():  # a torch optimizer shows its parameters only
        b = theirs[name]
        if not b.size:
            continue
        away, size = _distance(ours[name], b), np.abs(b)
        relative = np.divide(
            away, size, out=np.where(away > 0, np.inf, 0.0), where=(size > 0) & np.isfinite(size)
        )
        info, scale = (
            jnp.finfo(dtypes[name.partition(".")[2]]),
            float(np.max(size, initial=0.0, where=np.isfinite(size))),
        )
        spacing = math.ldexp(float(info.eps), math.frexp(max(scale, float(info.tiny)))[1] - 1)
        with np.errstate(over="ignore"):
            ulps = away / spacing if scale > 0 else np.where(away > 0, np.inf, 0.0)
        largest = [
            max(old, float(np.max(new)))
            for old, new in zip(largest, (away, relative, ulps), strict=True)
        ]
        if math.isinf(rtol):
            continue
        beyond = np.nonzero(
            (away > atol + rtol * np.where(np.isfinite(size), size, 0.0))
            .reshape(len(b), -1)
            .any(axis=1)
        )[0]
        if len(beyond) and (
            first[0] is None or (beyond[0], _order(name)) < (first[0], _order(first[1]))
        ):
            first = (int(beyond[0]), name)
    return first, largest


def _order(path: str | None) -> tuple[bool, str]:
    """Updates before the parameters that they change."""
    return not str(path).startswith("updates"), str(path)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a − b|, zero where both are the same infinity or both NaN, infinite where only one is."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf, posinf=np.inf))


def rounding_error(side: Trajectory, truth: Trajectory, names: list[str]) -> float:
    """The relative distance of a side from the truth: root mean square over steps and leaves.

    An average, for the largest single error of two equally exact sides is a matter of luck.
    """
    shares = []
    for name in names:
        t = truth[name]
        scale = float(np.sum(np.abs(np.where(np.isfinite(t), t, 0.0)) ** 2))
        if t.size:
            away = float(np.sum(_distance(side[name], t) ** 2))
            shares.append(away / scale if scale > 0 else (0.0 if away == 0 else math.inf))
    return math.sqrt(sum(shares) / len(shares)) if shares else 0.0
