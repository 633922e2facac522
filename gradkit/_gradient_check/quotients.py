"""What difference quotients at two steps say of a derivative.

Every element is probed with the steps h and h/10. Of a smooth loss the quotients of both steps
agree to O(h²), and the slopes from below and from above differ by O(h). Where those slopes differ
more than the slopes of the two steps on the smoother side, there is a kink within the step.
"""

from typing import NamedTuple

import numpy as np

SHORTER = 0.1  # the second step, relative to the first
_EPS = float(np.finfo(np.float64).eps)


class Probes(NamedTuple):
    """Values of the loss beside the parameters, of each element and direction."""

    gradient: np.ndarray  # [n]
    step: np.ndarray  # [n]
    values: np.ndarray  # [n, 4]: at +h, −h, +h/10, −h/10


class Found(NamedTuple):
    """What the probes say of each element."""

    gradient: np.ndarray
    difference: np.ndarray
    left: np.ndarray
    right: np.ndarray
    floor: np.ndarray
    reason: np.ndarray  # "", "kink", "discontinuous", "not finite" or "differs"
    bad: np.ndarray

    def part(self, start: int, count: int) -> "Found":
        return Found(*(x[start : start + count] for x in self))


@np.errstate(all="ignore")
def judge(value: float, probes: Probes, tol: float) -> Found:
    """The reason and the verdict of every element."""
    g, h = probes.gradient, probes.step
    up, down, near_up, near_down = probes.values.T
    h2 = h * SHORTER
    right, left = (up - value) / h, (value - down) / h
    right2, left2 = (near_up - value) / h2, (value - near_down) / h2
    far, near = (right + left) / 2, (right2 + left2) / 2
    jump, jump2 = np.abs(right - left), np.abs(right2 - left2)

    # The rounding error of one value: that of its size, or more where the loss cancels inside. The
    # excess of the second difference over its share is that error. A quarter of the elements has
    # less; kinks exceed it, and the bound keeps it below them where most elements are kinks.
    unit = _EPS * max(abs(value), float(np.nanmax(np.abs(probes.values), initial=0.0)), 1e-300)
    excess = np.abs(jump2 - SHORTER * jump) * h2
    excess = excess[np.isfinite(excess)]
    typical = 3 * float(np.quantile(excess, 0.25)) if len(excess) else 0.0
    noise = min(max(unit, typical), 1e5 * unit)

    smoother = np.minimum(np.abs(right - right2), np.abs(left - left2))
    size2 = np.maximum(np.abs(right2), np.abs(left2))
    broken = jump2 > 2 * smoother + 100 * noise / h2 + 10 * tol * size2
    torn = broken & (size2 > 5 * np.maximum(np.abs(right), np.abs(left)))
    kink = broken & ~torn
    margin = 1e-3 * jump2 + 16 * noise / h2
    between = (g >= np.minimum(left2, right2) - margin) & (g <= np.maximum(left2, right2) + margin)

    floors = 16 * noise / h, 16 * noise / h2 + 0.03 * np.abs(far - near)
    use_near = np.abs(g - near) < np.abs(g - far)
    difference = np.where(use_near, near, far)
    close = [
        np.abs(g - d) <= tol * (np.abs(g) + np.abs(d)) + floor
        for d, floor in zip((far, near), floors)
    ]
    agrees = close[0] | close[1]
    finite = np.isfinite(g) & np.isfinite(probes.values).all(axis=1)
    # Far from a kink within the longer step, the shorter one sees a smooth loss.
    reason = np.select(
        [~finite, torn, kink, ~agrees],
        ["not finite", "discontinuous", "kink", "differs"],
        "",
    )
    bad = ~finite | torn | np.where(kink, ~between, ~agrees)
    floor = np.where(use_near, floors[1], floors[0])
    return Found(g, difference, left2, right2, floor, reason, bad)
