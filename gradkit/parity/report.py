"""What a comparison found."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of `compare`: prints as a few lines, true when it passed.

    Attributes:
      tx: what was tested, as text, and
      reference: what it was held against.
      dtype: of parameters and gradients.
      steps: how many were taken.
      rtol: the relative tolerance; None when the verdict is by rounding error (``error``).
      atol: the absolute tolerance.
      max_abs: the largest |a − b| over all numbers of the trajectory (a tested, b reference).
      max_rel: the largest |a − b| / |b|; infinite where b is zero and a is not.
      max_ulp: the largest |a − b| in units in the last place of the largest number that its leaf
        holds in b's trajectory. (The units of the number itself vanish where it crosses zero.)
        Infinite where b's leaf is zero at every step and a's is not.
      first_step: the first step (from 0) at which a number passes the tolerance, and
      first_path: its leaf, such as ``updates.layer.w``; None when all are within.
      error: the rounding error of ``tx``: its distance from the reference's float64 trajectory,
        relative to that, root mean square over the trajectory. None when the verdict is by
        tolerance.
      reference_error: the same of the reference.
      slack: the factor by which ``error`` may pass ``reference_error``.
    """

    tx: str
    reference: str
    dtype: str
    steps: int
    rtol: float | None
    atol: float
    max_abs: float
    max_rel: float
    max_ulp: float
    first_step: int | None
    first_path: str | None
    error: float | None = None
    reference_error: float | None = None
    slack: float = 1.0

    @property
    def passed(self) -> bool:
        """Whether the two agree; in low precision, whether ``tx`` is as exact as the reference."""
        if self.rtol is not None or self.error is None or self.reference_error is None:
            return self.first_step is None
        return no_larger(self.error, self.reference_error, self.slack, self.dtype)

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.rtol is not None or self.error is None:
            return "agrees" if self.passed else "differs"
        return "as exact" if self.passed else "less exact"

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        relative, ulps = difference(self)
        lines = [
            f"{self.tx} against {self.reference}: "
            f"{self.verdict} over {self.steps} steps in {self.dtype}",
            f"  largest difference: absolute {self.max_abs:.2g}, relative {relative}, {ulps}",
        ]
        if self.rtol is not None:
            lines.append(f"  tolerance: relative {self.rtol:g}, absolute {self.atol:g}")
        if self.error is not None:
            lines.append(
                f"  rounding error against float64: {self.error:.3g}, "
                f"the reference's {self.reference_error:.3g}"
            )
        if self.rtol is not None and self.first_step is not None:
            lines.append(f"  first beyond the tolerance: step {self.first_step}, {self.first_path}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The report as a dict for ``json.dumps``; a number that is not finite becomes a string."""
        found = {**dataclasses.asdict(self), "passed": self.passed, "verdict": self.verdict}
        return {
            key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in found.items()
        }


def difference(report: Report) -> tuple[str, str]:
    """``max_rel`` and ``max_ulp`` to read, ``-`` where they say nothing.

    A relative difference of one or more is found where the reference has a number next to zero. It
    matters when it breaks the tolerance. Where the verdict is by rounding error, or ``atol`` allows
    it, it says only that the trajectory crossed zero.
    """
    differs = report.verdict == "differs"
    relative = f"{report.max_rel:.1e}" if differs or report.max_rel < 1 else "-"
    return relative, f"{report.max_ulp:.3g} ulp" if differs or math.isfinite(
        report.max_ulp
    ) else "- ulp"


def no_larger(error: float, reference_error: float, slack: float, dtype: str) -> bool:
    # Arithmetic is float32: two of its units are the order of operations. The result is rounded
    # once more, to its dtype: half a unit.
    return error <= max(
        slack * reference_error,
        2 * float(jnp.finfo(np.float32).eps),
        float(jnp.finfo(jnp.dtype(dtype)).eps) / 2,
    )
