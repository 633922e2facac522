"""What a gradient check found."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class GradientElement:
    """One element, or one direction, where the gradient and the difference quotients say more.

    Attributes:
      index: of the element in its leaf; of a complex leaf the last entry is "real" or "imag".
        ``()`` for a leaf of rank zero.
      gradient: the derivative that is checked.
      difference: the two-sided difference quotient.
      left: the one-sided quotient from below, and
      right: from above.
      reason: "differs", "kink", "discontinuous" or "not finite".
    """

    index: tuple[int | str, ...]
    gradient: float
    difference: float
    left: float
    right: float
    reason: str

    def __str__(self) -> str:
        at = ", ".join(map(str, self.index))
        at = f"[{at}]: " if at else ""
        if self.reason == "differs":
            return f"{at}gradient {self.gradient:.6g}, difference quotient {self.difference:.6g}"
        slopes = f"slopes {self.left:.4g} from below and {self.right:.4g} from above"
        return f"{at}{self.reason}, gradient {self.gradient:.4g}, {slopes}"


@dataclasses.dataclass(frozen=True)
class GradientRow:
    """The check of one leaf, or of the random directions.

    Attributes:
      path: the dotted path of the leaf; "(directions)" for random directions in the whole tree.
      shape: of the leaf.
      size: how many real numbers the leaf holds, and
      checked: how many of them were checked.
      relative_error: ‖d − g‖ / (‖d‖ + ‖g‖) over the elements checked, without kinks; g is the
        gradient, d the difference quotient.
      at_rounding: whether that is above the tolerance only by the rounding error of the quotients,
        as for a gradient next to zero.
      kinks: elements at which the loss has a kink and the gradient is one of its slopes or between.
      wrong: elements at which the gradient is wrong.
    """

    path: str
    shape: tuple[int, ...]
    size: int
    checked: int
    relative_error: float
    at_rounding: bool
    kinks: tuple[GradientElement, ...]
    wrong: tuple[GradientElement, ...]

    @property
    def passed(self) -> bool:
        """Whether no element is wrong."""
        return not self.wrong

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.wrong:
            return f"{len(self.wrong)} wrong"
        return "kink" if self.kinks else "agrees"


@dataclasses.dataclass(frozen=True)
class GradientReport:
    """The result of `check_gradient`: prints as a table, true when it passed.

    Attributes:
      rows: one `GradientRow` for each leaf, and one for the directions where there are any.
      loss: the loss at the parameters.
      eps: the step of the differences.
      tol: the relative tolerance.
    """

    rows: tuple[GradientRow, ...]
    loss: float
    eps: float
    tol: float

    @property
    def passed(self) -> bool:
        """Whether every element and direction checked agrees, or is a kink."""
        return all(row.passed for row in self.rows)

    @property
    def relative_error(self) -> float:
        """The largest relative error among the leaves that are not at the rounding error."""
        return max((row.relative_error for row in self.rows if not row.at_rounding), default=0.0)

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        wrong = [row.path for row in self.rows if not row.passed]
        verdict = f"wrong in {', '.join(wrong)}" if wrong else "agrees"
        lines = [
            f"check_gradient: {verdict} (loss {self.loss:.6g}, step {self.eps:g}, "
            f"tolerance {self.tol:g})"
        ]
        table = [("leaf", "shape", "checked", "relative error", "kinks", "verdict")]
        for row in self.rows:
            error = "rounding" if row.at_rounding else f"{row.relative_error:.1e}"
            shape = "" if row.path == "(directions)" else str(list(row.shape))
            checked = f"{row.checked} of {row.size}" if shape else str(row.checked)
            kinks = str(len(row.kinks)) if row.kinks else ""
            table.append((row.path, shape, checked, error, kinks, row.verdict))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in table
        ]
        for row in self.rows:
            for element in (*row.wrong[:_SHOWN], *row.kinks[:_SHOWN]):
                lines.append(f"  {row.path} {element}")
            hidden = max(len(row.wrong) - _SHOWN, 0) + max(len(row.kinks) - _SHOWN, 0)
            if hidden:
                lines.append(f"  {row.path}: and {hidden} more")
        return "\n".join(lines)

    def assert_passed(self) -> None:
        """Raise an AssertionError that shows the table, where the gradient is wrong.

        Raises:
          AssertionError: the check has not passed.
        """
        if not self.passed:
            raise AssertionError(str(self))

    def to_json(self) -> dict[str, Any]:
        """The report as a dict for ``json.dumps``; a number that is not finite becomes a string."""
        return {**_plain(dataclasses.asdict(self)), "passed": self.passed}


_SHOWN = 3


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
