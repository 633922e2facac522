"""Empty sets, refused where their numbers are known."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics


def refuse_no_radius(scale: Any) -> None:
    """A radius that is negative or NaN; infinity is no bound."""
    check.number("x >= 0", lambda v: v >= 0, scale=scale)


def refuse_no_sum(scale: Any) -> None:
    """A sum or a radius that no point has."""
    check.non_negative(scale=scale)


def refuse_empty_box(lower: Any, upper: Any, path: str = "") -> None:
    """A lower bound above the upper one; bounds that are NaN."""
    check.number("a number x", lambda v: ~np.isnan(v), lower=lower, upper=upper)
    low, high = _known(lower), _known(upper)
    if low is not None and high is not None and not np.all(low <= high):
        problem = (
            f"lower={check.shown(lower)} is above upper={check.shown(upper)}: the box is empty"
        )
        check.refuse(problem, expected="lower <= upper", path=path)


def refuse_no_plane(a: Any, b: Any, expected: str, holds: Callable[[Any], Any]) -> None:
    """A normal of zeros with an offset that ⟨0, p⟩ = 0 does not satisfy."""
    check.finite(b=b)
    offset = _known(b)
    if offset is None or holds(offset):
        return
    normal = [_known(leaf) for leaf in jax.tree.leaves(a)]
    if all(leaf is not None and not np.any(leaf) for leaf in normal):
        problem = f"a is zero and b={check.shown(b)}: no point satisfies that"
        check.refuse(problem, expected=f"a direction, or {expected}")


def _known(value: Any) -> np.ndarray | None:
    """A number or an array as NumPy's; None for one that is traced, or that is not judged."""
    if isinstance(value, jax.core.Tracer) or not numerics.is_number(value):
        return None
    return np.asarray(value) if check.judging() or isinstance(value, (int, float)) else None
