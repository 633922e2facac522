"""A progress bar, where rich is installed."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Report = Callable[[int, Any], None]
"""``report(done, scores)``: how many more are done, and their scores."""


@contextlib.contextmanager
def progress_bar(label: str, total: int, enabled: bool) -> Iterator[Report]:
    """A bar with the best score so far; silent where rich is missing or it is not wanted."""
    try:
        from rich import progress  # noqa: PLC0415  not a dependency
    except ImportError:
        enabled = False
    if not enabled:
        yield lambda done, scores: None
        return
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.fields[best]}"),
    )
    with progress.Progress(*columns) as bar:
        task, best = bar.add_task(label, total=total, best=""), np.inf

        def report(done: int, scores: Any) -> None:
            nonlocal best
            finite = np.asarray(scores)[np.isfinite(scores)]
            best = min(best, float(finite.min()) if finite.size else np.inf)
            said = f"best {best:.4g}" if np.isfinite(best) else ""
            bar.update(task, advance=done, best=said)

        yield report
