"""How a table of trials is printed."""

from typing import Any

import numpy as np


def as_table(trials: Any, most: int) -> str:
    """The first ``most`` trials of the ranking, in aligned columns under their names."""
    count = len(trials)
    if not count:
        return "Trials: none"
    shown = trials.ranking()[:most]
    columns = {"trial": [str(i) for i in shown], "score": _scores(trials, shown)}
    for path in trials.paths:
        values = [trials.configs[i].get(path, "") for i in shown]
        columns[path] = _aligned(values)
    if np.isfinite(trials.budgets).any():
        columns["budget"] = [f"{trials.budgets[i]:g}" for i in shown]
    if set(trials.status) != {"complete"}:
        columns["status"] = [trials.status[i] for i in shown]
    widths = {name: max(map(len, [name, *cells])) for name, cells in columns.items()}
    heading = "  ".join(name.rjust(widths[name]) for name in columns)
    lines = [
        "  ".join(cell.rjust(widths[name]) for name, cell in zip(columns, row))
        for row in zip(*columns.values())
    ]
    counts = ", ".join(
        f"{n} {status}" for status in ("stopped", "failed") if (n := trials.status.count(status))
    )
    plural = "trial" if count == 1 else "trials"
    title = f"Trials: {count} {plural}" + (f", {counts}" if counts else "") + ", best first"
    rest = [f"… {count - len(shown)} more"] if count > len(shown) else []
    return "\n".join([title, heading, *lines, *rest])


def _scores(trials: Any, shown: np.ndarray) -> list[str]:
    """Scores to the digits that their errors leave, or to five."""
    cells = []
    for i in shown:
        score, error = trials.scores[i], trials.errors[i]
        if np.isfinite(error) and error > 0 and np.isfinite(score):
            digits = min(max(1 - int(np.floor(np.log10(error))), 0), 12)
            cells.append(f"{score:.{digits}f} ± {error:.{digits}f}")
        else:
            cells.append(f"{score:.5g}")
    return cells


def _aligned(values: list[Any]) -> list[str]:
    return [
        f"{v:.4g}" if isinstance(v, float) else (v if isinstance(v, str) else _short(v))
        for v in values
    ]


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 32 else f"{text[:31]}…"
