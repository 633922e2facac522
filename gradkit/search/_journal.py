"""Finished trials on disk, so that a search goes on after a crash."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradkit import _checks as check
from gradkit.search import _files
from gradkit.search._trials import Trials
from gradkit.typing import PyTree


class Journal:
    """The trials of a file, to which finished ones are added as they come.

    Attributes:
      trials: those of the file, in its order; None before the first.
    """

    def __init__(self, path: str | os.PathLike[str], space: PyTree) -> None:
        if not isinstance(path, (str, os.PathLike)):
            check.refuse(f"path={check.shown(path)} is not a path", error=TypeError)
        self.path, self.space = path, space
        self.trials: Trials | None = None
        if Path(path).exists():
            _files.trim(path)
            if Path(path).stat().st_size:
                self.trials = Trials.load(path, space)

    def __len__(self) -> int:
        return 0 if self.trials is None else len(self.trials)

    def add(self, trials: Trials) -> None:
        """Write trials; they are on disk when this returns."""
        _files.append(self.path, trials)
        self.trials = trials if self.trials is None else self.trials + trials

    def rows(self, configs: Sequence[Mapping[str, Any]], repeats: int) -> list[int | None]:
        """For each configuration the number of a trial of as many seeds, or None; each once."""
        free: dict[Any, list[int]] = {}
        for i in range(len(self)):
            assert self.trials is not None
            key = _key(self.trials.configs[i], int(self.trials.repeats[i]))
            free.setdefault(key, []).append(i)
        found = (free.get(_key(config, repeats)) for config in configs)
        return [rows.pop(0) if rows else None for rows in found]


def _key(config: Mapping[str, Any], repeats: int) -> Any:
    return repeats, tuple(sorted((path, repr(value)) for path, value in config.items()))
