"""Tables of trials as JSON Lines: a line for the space, then one for each trial."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gradkit import _checks as check
from gradkit._version import __version__
from gradkit.search.spaces import dimensions
from gradkit.typing import PyTree

KIND = "gradkit.search.Trials"


def paths(space: PyTree) -> dict[str, Any]:
    """Path -> distribution, of all parts of a space."""
    return {dimension.path: dimension.distribution for dimension in dimensions(space)}


def fingerprint(space: PyTree) -> dict[str, str]:
    """Path -> code of the distribution: what two spaces must share to share trials."""
    # A function among the options prints its address, which differs between processes.
    address = re.compile(r" at 0x[0-9a-f]+")
    return {path: address.sub("", repr(value)) for path, value in paths(space).items()}


def same_space(theirs: dict[str, str], space: PyTree) -> None:
    """Refuse trials of another space, by the first distribution that differs."""
    ours = fingerprint(space)
    for path in [*ours, *theirs]:
        if ours.get(path) != theirs.get(path):
            check.refuse(
                f"the trials are of another space: {path!r} was {theirs.get(path, 'absent')} and "
                f"is {ours.get(path, 'absent')}",
                expected="trials of the same distributions",
            )


# ---- one trial as one line ----------------------------------------------------------------------


def line(trials: Any, i: int) -> str:
    """One trial."""
    row = {
        "config": trials.configs[i],
        "score": float(trials.scores[i]),
        "error": float(trials.errors[i]),
        "repeats": int(trials.repeats[i]),
        "budget": float(trials.budgets[i]),
        "status": trials.status[i],
        "curve": None if trials.curves[i] is None else trials.curves[i].tolist(),
    }
    return json.dumps(row)


def heading(space: PyTree) -> str:
    """The first line of a file."""
    about = {"kind": KIND, "version": __version__, "space": fingerprint(space)}
    return json.dumps(about)


# ---- files --------------------------------------------------------------------------------------


def save(path: str | os.PathLike[str], trials: Any) -> None:
    """Write a whole table, in one step for whoever reads the file meanwhile."""
    rows = (line(trials, i) for i in range(len(trials)))
    whole = "".join(f"{text}\n" for text in [heading(trials.space), *rows])
    partial = Path(f"{os.fspath(path)}.partial")
    partial.write_text(whole, encoding="utf-8")
    partial.replace(path)


def append(path: str | os.PathLike[str], trials: Any) -> None:
    """Add trials to a file, which is begun where it is not there; on disk when this returns."""
    new = not Path(path).exists() or not Path(path).stat().st_size
    with open(path, "a", encoding="utf-8") as file:
        texts = [heading(trials.space)] * new
        texts += [line(trials, i) for i in range(len(trials))]
        file.write("".join(f"{text}\n" for text in texts))
        file.flush()
        os.fsync(file.fileno())


def trim(path: str | os.PathLike[str]) -> None:
    """Remove a last line that a crash cut off, so that lines can be added."""
    content = Path(path).read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        partial = Path(f"{os.fspath(path)}.partial")
        partial.write_bytes(whole)
        partial.replace(path)


def load(path: str | os.PathLike[str], space: PyTree) -> dict[str, Any]:
    """The arguments of ``Trials``, without the space."""
    content = Path(path).read_text(encoding="utf-8")
    texts = content.split("\n")[:-1]  # without a line that was cut off
    about, rows = None, []
    try:
        about, *rows = map(json.loads, texts)
    except ValueError:
        about = None
    if not isinstance(about, dict) or about.get("kind") != KIND:
        problem = f"the file {os.fspath(path)!r} holds no trials"
        check.refuse(problem, expected="a file written by Trials.save or a search")
    same_space(about["space"], space)
    return columns(rows)


def columns(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The rows of a file as columns."""
    rows = list(rows)
    return {
        "configs": [r["config"] for r in rows],
        "scores": np.array([r["score"] for r in rows], np.float64),
        "errors": np.array([r["error"] for r in rows], np.float64),
        "repeats": np.array([r["repeats"] for r in rows], np.float64),
        "budgets": np.array([r["budget"] for r in rows], np.float64),
        "status": [r["status"] for r in rows],
        "curves": [r["curve"] for r in rows],
    }
