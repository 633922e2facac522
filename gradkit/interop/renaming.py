"""The leaves of a saved state under new paths."""

from collections.abc import Mapping
from typing import Any

from gradkit import _checks as check
from gradkit.interop.places import Found, joined
from gradkit.interop.report import RestoreReport, Row
from gradkit.interop.slots import MISSING


def renamed(
    found: dict[str, Found],
    decoded: dict[str, tuple[Found, list[str]]],
    rename: Any,
    counts: set[str],
    clocks: set[str],
) -> tuple[dict[str, Found], dict[str, tuple[Found, list[str]]], list[Row]]:
    """The leaves under their new paths, and a row for each leaf that was dropped by name.

    ``counts`` are the paths of the counts in the saved state, ``clocks`` those of the new clocks. A
    count goes to the nearest clock around its new place.
    """
    if rename is None:
        return found, decoded, []
    if not isinstance(rename, Mapping):
        problem = f"rename={check.shown(rename)} is not a dict"
        check.refuse(problem, expected="a dict from old paths to new ones", error=TypeError)
    for start in rename:
        if start and not any(begins(path, start) for path in found):
            problem = f"rename={start!r} matches nothing in the saved state"
            check.refuse(problem, fix=check.nearest(start, _beginnings(found)))

    def target(path: str) -> str | None:
        starts = [start for start in rename if begins(path, start)]
        if not starts:
            return path
        start = max(starts, key=len)
        new = rename[start]
        if new is None:
            return None
        new = joined(new, path[len(start) :].lstrip("."))
        if path not in counts:
            return new
        clock = new.rpartition(".")[0]
        while clock not in clocks:
            clock = clock.rpartition(".")[0]
        return joined(clock, "step")

    rows, after = [], {}
    taken: dict[str, str] = {}
    # The count of the outermost clock gives way to that of a wrapper's part that takes its place.
    for path in sorted(found, key=lambda path: path == "step"):
        new = target(path)
        if new is None or (path == "step" and new in after):
            note = "by rename" if new is None else f"{taken['step']} takes its place"
            rows.append(Row("dropped", path, "", note))
        elif new in after:
            problem = f"the saved leaves {taken[new]!r} and {path!r} are both {new!r}"
            check.refuse(problem, fix="Drop one with rename={path: None}")
        else:
            after[new], taken[new] = found[path], path
    moved = {
        new: (one, [name for p in paths if (name := target(p)) is not None])
        for path, (one, paths) in decoded.items()
        if (new := target(path)) is not None
    }
    return after, moved, rows


def begins(path: str, start: str) -> bool:
    return not start or path == start or path.startswith(f"{start}.")


def _beginnings(found: dict[str, Found]) -> set[str]:
    parts = [path.split(".") for path in found]
    return {".".join(p[:k]) for p in parts for k in (1, 2, 3)}


def suggestions(report: RestoreReport) -> list[str]:
    """The rename under which all leaves of a transform that are dropped find a place."""
    fields = dict(zip((row.path for row in report.rows), report.fields, strict=True))
    fresh = {row.path for row in report.fresh if row.note == MISSING}
    dropped = [row.path for row in report.dropped]
    for old in dropped[:1]:
        parts = old.split(".")
        for k in range(len(fields[old].split("."))):  # what is kept has the same name
            before, tail = ".".join(parts[:k]), ".".join(parts[k:])
            for new in sorted(path for path in fresh if path.endswith(f".{tail}") or path == tail):
                after = new.removesuffix(tail).rstrip(".")
                under = [path for path in dropped if begins(path, before)]
                moved = {joined(after, path[len(before) :].lstrip(".")) for path in under}
                if moved <= fresh:
                    return [f"pass rename={ {before: after}!r}"]
    return []
