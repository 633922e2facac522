"""What `plan` found: plain data, a table, a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradkit import _checks as check
from gradkit import _plot

_SHOWN = 10  # leaves that are not donated
# Columns of the table and colors of the picture; what is smaller is summed.
_MOST_GROUPS = 5
_OTHERS = "others"
_COLORS = ("#3b5bdb", "#e08214", "#1b7837", "#9c36b5", "#c2255c", "#0b7285", "0.6")


@dataclass(frozen=True)
class PlanRow:
    """The bytes of one group of parameters, its gradients, or its state in one transform.

    Attributes:
      what: "parameters", "gradients" or "state".
      path: of state, the dotted path of the transform that keeps it, as in ``gk.inspect.walk``;
        "step" for the outermost clock.
      group: the top-level key of the parameters; "" for what belongs to no single parameter, such
        as counters, and what ``stacked`` or ``flatten`` joined. "params" for a tree that is a
        single array.
      bytes: its size, of all shards together where it is sharded.
    """

    what: str
    path: str
    group: str
    bytes: int


@dataclass(frozen=True)
class PlanDevice:
    """What one device of the mesh holds.

    Attributes:
      device: its name.
      param_bytes: of parameters.
      grad_bytes: of their gradients.
      state_bytes: of the state.
    """

    device: str
    param_bytes: int
    grad_bytes: int
    state_bytes: int


@dataclass(frozen=True)
class NotDonated:
    """A leaf of the parameters or the state that the step does not update in place.

    Attributes:
      path: of the leaf, which begins with "params" or "state".
      bytes: its size on one device; it exists twice while the step runs.
      reason: why.
    """

    path: str
    bytes: int
    reason: str


@dataclass(frozen=True)
class Plan:
    """What `plan` found; ``print`` it. Everything compiled is of one device.

    Attributes:
      transform: the transform, as a string.
      platform: what the step is compiled for, such as "cpu".
      count: how many numbers the parameters are.
      param_bytes: of the parameters, and
      grad_bytes: of the gradients, and
      state_bytes: of the state, with its clock; of all devices' shards together.
      temp_bytes: the buffers the compiled step needs besides its arguments and results; None where
        the compiler does not say. With ``loss_fn`` the gradients are among them.
      peak_bytes: arguments, temporaries and the results that are not in place of an argument.
      flops: floating-point operations of the compiled step.
      traffic_bytes: what its kernels read and write. Between two kernels everything counts, also
        what a cache keeps.
      loops: how many loops are in the compiled step. XLA counts the body of each once, so with
        loops ``flops``, ``traffic_bytes`` and ``predicted_seconds`` are too low, unless they are
        those of transforms that run at most once, such as ``MultiSteps``.
      predicted_seconds: the sum of ``parts``.
      measured_seconds: the median time of a step; None without ``measure``.
      parts: the predicted seconds of "traffic", "arithmetic" and "calls".
      rates: what they were predicted from: ``copy`` (bytes/s), ``matmul`` (flops/s), ``launch`` (s
        for each array in or out, and each kernel) and ``call`` (s).
      rows: the bytes by transform and group.
      not_donated: the leaves that are not updated in place.
      devices: what each device of a mesh holds; empty without one.
    """

    transform: str
    platform: str
    count: int
    param_bytes: int
    grad_bytes: int
    state_bytes: int
    temp_bytes: int | None
    peak_bytes: int | None
    flops: float
    traffic_bytes: float
    loops: int
    predicted_seconds: float
    measured_seconds: float | None
    parts: Mapping[str, float]
    rates: Mapping[str, float]
    rows: tuple[PlanRow, ...]
    not_donated: tuple[NotDonated, ...]
    devices: tuple[PlanDevice, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as dicts, lists, strings and numbers, as for ``json.dumps``."""
        return {
            name: [dataclasses.asdict(row) for row in value]
            if isinstance(value, tuple)
            else dict(value)
            if isinstance(value, Mapping)
            else value
            for name, value in vars(self).items()
        }

    def __str__(self) -> str:
        lines = [f"{self.transform}, {self.count:,} parameters"]
        lines += [f"  {line}" for line in _aligned(self._table())]
        of_step = [f"{_number(self.flops)}flop", f"traffic {_size(self.traffic_bytes)}"]
        if self.temp_bytes is not None and self.peak_bytes is not None:
            temporary = f"temporaries {_size(self.temp_bytes)}, peak {_size(self.peak_bytes)}"
            of_step = [temporary, *of_step]
        lines.append(f"step on {self.platform}: {', '.join(of_step)}")
        if self.loops:
            noun = "loop, its body" if self.loops == 1 else "loops, the body of each"
            lines.append(f"  {self.loops} {noun} counted once")
        parts = ", ".join(f"{name} {_time(value)}" for name, value in self.parts.items())
        predicted = f"time: predicted {_time(self.predicted_seconds)} ({parts})"
        if self.measured_seconds is not None:
            predicted += f", measured {_time(self.measured_seconds)}"
        lines.append(predicted)
        if not self.not_donated:
            lines.append("donation: every leaf is updated in place")
        else:
            lost = sum(leaf.bytes for leaf in self.not_donated)
            lines.append(f"donation: {_size(lost)} not updated in place")
            shown = [(leaf.path, _size(leaf.bytes), leaf.reason) for leaf in self.not_donated]
            lines += [f"  {line}" for line in _aligned(shown[:_SHOWN], left=(0, 2))]
            if len(shown) > _SHOWN:
                lines.append(f"  and {len(shown) - _SHOWN} more leaves")
        lines += self._by_device()
        return "\n".join(lines)

    def _by_device(self) -> list[str]:
        """What the devices hold; one line for those that hold the same."""
        alike: dict[tuple[int, int, int], list[str]] = {}
        for held in self.devices:
            sizes = held.param_bytes, held.grad_bytes, held.state_bytes
            alike.setdefault(sizes, []).append(held.device)
        lines = []
        for (params, grads, state), names in alike.items():
            who = names[0] if len(names) == 1 else f"each of {len(names)} devices"
            each = f"parameters {_size(params)}, gradients {_size(grads)}, state {_size(state)}"
            lines.append(f"{who}: {each}")
        return lines

    def _matrix(self) -> tuple[list[str], list[tuple[str, dict[str, int]]]]:
        """The groups, largest first, and the bytes of each line by group."""
        totals: dict[str, int] = {}
        lines: dict[str, dict[str, int]] = {}
        for row in self.rows:
            totals[row.group] = totals.get(row.group, 0) + row.bytes
        shared = totals.pop("", 0)
        named = sorted(totals, key=lambda name: -totals[name])
        kept = named if len(named) <= _MOST_GROUPS + 1 else named[:_MOST_GROUPS]
        columns = [*kept, *([_OTHERS] if len(kept) < len(named) or shared else [])]
        for row in self.rows:
            line = lines.setdefault(row.path if row.what == "state" else row.what, {})
            column = row.group if row.group in kept else _OTHERS
            line[column] = line.get(column, 0) + row.bytes
        return columns, list(lines.items())

    def _table(self) -> list[tuple[str, ...]]:
        columns, lines = self._matrix()
        table = [("", *columns, "total", "bytes a parameter")]
        for name, sizes in lines:
            label = name if name in ("parameters", "gradients") else f"state {name}"
            total = sum(sizes.values())
            cells = [_size(sizes[column]) if column in sizes else "" for column in columns]
            table.append((label, *cells, _size(total), f"{total / max(self.count, 1):.2f}"))
        return table

    def plot(self, ax: Any = None) -> Any:
        """Plot the bytes as bars with matplotlib: one for each transform, a color for each group.

        Args:
          ax: the matplotlib axes to draw into, or None for a new figure.

        Returns:
          the axes.

        Raises:
          ImportError: matplotlib is missing.
        """
        with check.inside("plot"):
            pyplot = _plot.pyplot()
        columns, lines = self._matrix()
        lines = [(name, sizes) for name, sizes in lines if name != "step"]  # four bytes
        if self.temp_bytes:
            lines.append(("temporaries", {_OTHERS: self.temp_bytes}))
            columns = columns if _OTHERS in columns else [*columns, _OTHERS]
        most = max((sum(sizes.values()) for _, sizes in lines), default=0)
        unit, symbol = _unit(most)
        if ax is None:
            _, ax = pyplot.subplots(figsize=(7.2, 0.9 + 0.36 * len(lines)), layout="constrained")
        left = [0.0] * len(lines)
        for i, column in enumerate(columns):
            width = [sizes.get(column, 0) / unit for _, sizes in lines]
            color = _COLORS[-1] if column == _OTHERS else _COLORS[i]
            ax.barh(range(len(lines)), width, left=left, label=column, color=color)
            left = [a + b for a, b in zip(left, width, strict=True)]
        for i, (_, sizes) in enumerate(lines):
            ax.text(left[i], i, f" {_size(sum(sizes.values()))}", va="center", fontsize="small")
        ax.set_yticks(range(len(lines)), [name for name, _ in lines])
        ax.invert_yaxis()
        ax.set_xlabel(f"{symbol}B")
        ax.spines[["top", "right"]].set_visible(False)
        ax.margins(x=0.12)
        ax.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return ax


def _aligned(table: Sequence[tuple[str, ...]], left: tuple[int, ...] = (0,)) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def _unit(value: float) -> tuple[float, str]:
    """The power of a thousand to write a number in, and its symbol."""
    for unit, symbol in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return unit, symbol
    return 1.0, ""


def _number(value: float) -> str:
    unit, symbol = _unit(value)
    return (
        f"{value / unit:.3g} {symbol}" if value < 999.5 * unit else f"{value / unit:.0f} {symbol}"
    )


def _size(value: float) -> str:
    return f"{_number(value)}B"


def _time(seconds: float) -> str:
    for unit, symbol in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {symbol}"
    return f"{1e6 * seconds:.3g} µs"
