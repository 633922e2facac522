"""What the figures of a search share: scales, colors, ticks."""

import itertools
from typing import Any

import numpy as np

from gradkit.search.distributions import Choice, Integers

ACCENT = "#d1495b"  # the best trial
GRAY = "0.55"


class Colors:
    """Score -> color: dark for low scores, on viridis, which the color-blind read."""

    def __init__(self, trials: Any) -> None:
        from matplotlib import cm  # noqa: PLC0415
        from matplotlib.colors import ListedColormap, LogNorm, Normalize  # noqa: PLC0415

        fine = trials.scores[np.isfinite(trials.scores)]
        low, high = fine.min(), np.quantile(fine, 0.9)
        high = high if high > low else low + max(abs(low), 1.0) * 1e-3
        kind = LogNorm if low > 0 and high > 10 * low else Normalize
        shades = cm.viridis(np.linspace(0.0, 0.93, 256))  # the lightest is lost on white
        self.axis = ScoreAxis(low, high, kind is LogNorm)
        self.extend = "max" if fine.max() > high else "neither"
        self.mappable = cm.ScalarMappable(kind(low, high, clip=True), ListedColormap(shades))

    def __call__(self, scores: Any) -> Any:
        """The color of a score, or of each of several."""
        return self.mappable.to_rgba(scores)

    def bar(self, figure: Any, ax: Any) -> None:
        """Draw the scale of the colors beside a plot."""
        bar = figure.colorbar(self.mappable, ax=ax, pad=0.02, aspect=30, extend=self.extend)
        bar.set_ticks([value for value, _ in self.axis.values()], minor=False)
        bar.set_ticklabels([text for _, text in self.axis.values()], fontsize=8)
        bar.ax.minorticks_off()
        bar.set_label("score (loss)")
        bar.outline.set_visible(False)


def loss_limits(values: np.ndarray) -> tuple[float, float, bool]:
    """Limits of an axis that shows the low losses well, and whether it is logarithmic."""
    fine = values[np.isfinite(values)]
    if not fine.size:
        return 0.0, 1.0, False
    low, middle, high = fine.min(), np.median(fine), fine.max()
    if low > 0 and high > 20 * low:
        high = min(high, max(1e4 * low, 10 * middle))
        return float(low / 1.25), float(high * 1.25), True
    if high - low > 30 * max(middle - low, 1e-12):
        high = low + 30 * max(middle - low, 1e-12)
    room = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    return float(low - room), float(high + room), False


def tidy(ax: Any) -> None:
    """No frame, a light grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="0.9", lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8)


class Axis:
    """The scale of one hyperparameter: a value -> a number to plot, or a height in [0, 1]."""

    def __init__(self, path: str, distribution: Any) -> None:
        self.path, self.distribution = path, distribution
        is_choice = isinstance(distribution, Choice)
        self.options = list(distribution.labels) if is_choice else []
        arguments = {} if is_choice else distribution.arguments
        name = distribution.factory.__name__
        self.log = name == "log_uniform" or arguments.get("log", False)
        # What approaches 1 is shown by its distance from 1.
        self.complement = bool(arguments.get("complement", False))
        self.whole = isinstance(distribution, Integers)
        self.low, self.high = 0.0, max(len(self.options) - 1.0, 1.0)
        if not is_choice:
            self.low, self.high = float(arguments["low"]), float(arguments["high"])
        if self.complement:
            self.low, self.high = 1 - self.high, 1 - self.low
        above, _, name = path.rpartition(".")
        self.label = ("1 − " if self.complement else "") + name + (f"\n{above}" if above else "")

    def place(self, value: Any) -> float:
        """Where a value is on the axis of a plot."""
        if not self.options:
            return 1 - float(value) if self.complement else float(value)
        return float(self.distribution.index(value))

    def height(self, value: Any) -> float:
        """Where a value is between the ends, 0 to 1."""
        return _height(self.place(value), self.low, self.high, self.log)

    def ticks(self) -> list[tuple[float, str]]:
        """Heights and labels."""
        if self.options:
            return [(self.height(label), str(label)[:16]) for label in self.options]
        values = _log_values if self.log else lambda low, high: _values(low, high, self.whole)
        return [
            (_height(value, self.low, self.high, self.log), text)
            for value, text in values(self.low, self.high)
        ]

    def set_x(self, ax: Any) -> None:
        """The scale and the ticks of a plot's horizontal axis."""
        if self.options:
            ax.set_xticks(range(len(self.options)), [str(label)[:16] for label in self.options])
            ax.set_xlim(-0.5, len(self.options) - 0.5)
        elif self.log:
            ax.set_xscale("log")
            room = (self.high / self.low) ** 0.04
            ax.set_xlim(self.low / room, self.high * room)
        else:
            room = 0.04 * (self.high - self.low)
            ax.set_xlim(self.low - room, self.high + room)


class ScoreAxis:
    """The scale of the scores."""

    def __init__(self, low: float, high: float, log: bool) -> None:
        self.low, self.high, self.log = low, high, log

    def height(self, value: float) -> float:
        """Where a score is between the ends."""
        return _height(value, self.low, self.high, self.log)

    def values(self) -> list[tuple[float, str]]:
        """The scores that have a tick, and their labels."""
        return _log_values(self.low, self.high) if self.log else _values(self.low, self.high)

    def ticks(self) -> list[tuple[float, str]]:
        """Heights and labels."""
        return [(self.height(value), text) for value, text in self.values()]


def _height(value: float, low: float, high: float, log: bool) -> float:
    if log:
        value, low, high = np.log([value, low, high])
    return float((value - low) / (high - low)) if high > low else 0.5


def _values(low: float, high: float, whole: bool = False) -> list[tuple[float, str]]:
    """Round values in a range."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    values = MaxNLocator(5, integer=whole).tick_values(low, high)
    return [(float(v), f"{v:.4g}") for v in values if low <= v <= high]


def _log_values(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten; for few decades also 2 and 5 times them."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    few = np.log10(high / low) <= 2
    every = max((last - first) // 7 + 1, 1)
    values = [m * 10.0**k for k in range(first, last + 1, every) for m in (1, 2, 5)[: 3 * few or 1]]
    inside = [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
    plain = low >= 1e-3 and high <= 1e4
    name = lambda v: f"{v:g}" if few or plain else rf"$10^{{{round(np.log10(v))}}}$"
    return [(v, name(v)) for v in inside] or _values(low, high)


def smooth(heights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """A curve through the points, level at each axis; it passes over axes that have none."""
    t = np.linspace(0.0, 1.0, 25)
    ease = t**2 * (3 - 2 * t)
    known = [(j, height) for j, height in enumerate(heights) if np.isfinite(height)]
    pairs = list(itertools.pairwise(known))
    x = np.concatenate([i + (j - i) * t for (i, _), (j, _) in pairs])
    y = np.concatenate([a + (b - a) * ease for (_, a), (_, b) in pairs])
    return x, y
