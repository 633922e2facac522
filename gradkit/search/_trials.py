"""The table of trials that every search returns: configurations, scores, errors, curves."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gradkit import _checks as check
from gradkit.search import _files
from gradkit.search._table import as_table
from gradkit.search.spaces import fill
from gradkit.typing import PyTree

STATUS = ("complete", "stopped", "failed")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a search: a configuration with its score, a row of ``Trials``.

    Args:
      index: the place of the trial in the table it was read from.
      config: path -> value of every hyperparameter.
      score: the mean loss, lower is better; inf for a trial that diverged.
      error: the standard error of the score; NaN where it is not known.
      curve: the losses in the order of the steps, or None.
      budget: the steps that the trial was trained for; NaN where it is not known.
      status: ``"complete"``, ``"stopped"`` (before its full budget) or ``"failed"``.
      repeats: how many seeds the score is the mean of.
      space: the space that the configuration is of.
    """

    index: int
    config: dict[str, Any]
    score: float
    error: float
    curve: np.ndarray | None
    budget: float
    status: str
    repeats: int
    space: PyTree = dataclasses.field(repr=False)

    @property
    def transform(self) -> PyTree:
        """The space filled with the configuration: a transform, where the space is one."""
        return fill(self.space, self.config)


class Trials:
    """Keep the results of a hyperparameter search: a table with one row for each trial.

    ``trials[i]`` is a ``Trial``; ``trials[2:5]``, ``trials[mask]`` and ``trials[indices]`` are
    tables; ``trials + more`` joins two of one space; ``print(trials)`` shows the best first.

    Args:
      space: the space searched: a transform, or any tree, with distributions in it.
      configs: one dict path -> value for each trial. A path that a trial has no value for belongs
        to a part of the space that the trial did not choose.
      scores: the mean losses, lower is better. NaN counts as inf, a trial that diverged.
      errors: the standard errors of the scores; None or NaN where they are not known.
      curves: the losses of each trial in the order of the steps, or None for each or for all.
      budgets: the steps that each trial was trained for; None or NaN where they are not known.
      status: ``"complete"``, ``"stopped"`` or ``"failed"`` for each; None for ``"failed"`` where
        the score is not finite and ``"complete"`` elsewhere.
      repeats: how many seeds each score is the mean of, ≥ 1; None for 1.

    Raises:
      ValueError: columns of different lengths, a path that the space lacks, a negative error, a
        status that is not one of the three.

    Example:
      >>> import gradkit as gk
      >>> space = {"rate": gk.search.log_uniform(1e-4, 1.0)}
      >>> configs = [{"rate": 0.1}, {"rate": 0.01}]
      >>> trials = gk.search.Trials(space, configs, [0.30, 0.28], errors=[0.01, 0.05])
      >>> assert trials.best(confidence=None).config == {"rate": 0.01}
      >>> assert trials.best(confidence=0.95).config == {"rate": 0.1}  # 0.28 is less certain
    """

    def __init__(
        self,
        space: PyTree,
        configs: Sequence[Mapping[str, Any]],
        scores: ArrayLike,
        errors: ArrayLike | None = None,
        curves: Sequence[ArrayLike | None] | None = None,
        budgets: ArrayLike | None = None,
        status: Sequence[str] | None = None,
        repeats: ArrayLike | None = None,
    ) -> None:
        with check.inside("Trials"):
            self.space = space
            self.configs = _configs(space, configs)
            n = len(self.configs)
            scores = _column("scores", scores, n)
            self.scores = np.where(np.isnan(scores), np.inf, scores)
            self.errors = _column("errors", np.full(n, np.nan) if errors is None else errors, n)
            self.budgets = _column("budgets", np.full(n, np.nan) if budgets is None else budgets, n)
            self.repeats = _column("repeats", np.ones(n) if repeats is None else repeats, n)
            for name, low in (("errors", 0), ("budgets", 0), ("repeats", 1)):
                wrong = getattr(self, name) < low
                if wrong.any():
                    i = int(np.argmax(wrong))
                    problem = f"{name}[{i}]={getattr(self, name)[i]:g} is out of range"
                    check.refuse(problem, expected=f"x >= {low}")
            self.curves = _curves(curves, n)
            failed = ~(self.scores < np.inf)
            self.status = _status(
                np.where(failed, "failed", "complete").tolist() if status is None else status, n
            )

    # ---- as a sequence --------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many trials there are."""
        return len(self.configs)

    def __iter__(self) -> Iterator[Trial]:
        """The rows in order."""
        return (self._row(i) for i in range(len(self)))

    def __getitem__(self, which: Any) -> Any:
        """A row by its number; a table by a slice, a mask or numbers."""
        if isinstance(which, (int, np.integer)):
            if not -len(self) <= which < len(self):
                check.refuse(
                    f"Trials: the index {which} is out of range for {len(self)} trials",
                    error=IndexError,
                )
            return self._row(int(which) % len(self))
        return self._take(np.arange(len(self))[which])

    def __add__(self, other: "Trials") -> "Trials":
        """The trials of both tables, which must be of one space."""
        if not isinstance(other, Trials):
            return NotImplemented
        with check.inside("Trials"):
            _files.same_space(_files.fingerprint(self.space), other.space)
        joined = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("scores", "errors", "budgets", "repeats")
        }
        return Trials(
            self.space,
            self.configs + other.configs,
            curves=self.curves + other.curves,
            status=self.status + other.status,
            **joined,
        )

    def __eq__(self, other: object) -> bool:
        """Whether all columns and the space's distributions are equal."""
        if not isinstance(other, Trials):
            return NotImplemented
        return (
            _files.fingerprint(self.space) == _files.fingerprint(other.space)
            and self.configs == other.configs
            and self.status == other.status
            and all(
                np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True)
                for name in ("scores", "errors", "budgets", "repeats")
            )
            and all(
                (a is None) == (b is None) and (a is None or np.array_equal(a, b, equal_nan=True))  # type: ignore[arg-type]
                for a, b in zip(self.curves, other.curves, strict=True)
            )
        )

    __hash__ = None  # type: ignore[assignment]

    def _row(self, i: int) -> Trial:
        return Trial(
            i,
            self.configs[i],
            float(self.scores[i]),
            float(self.errors[i]),
            self.curves[i],
            float(self.budgets[i]),
            self.status[i],
            int(self.repeats[i]),
            self.space,
        )

    def _take(self, order: np.ndarray) -> "Trials":
        return Trials(
            self.space,
            [self.configs[i] for i in order],
            self.scores[order],
            self.errors[order],
            [self.curves[i] for i in order],
            self.budgets[order],
            [self.status[i] for i in order],
            self.repeats[order],
        )

    # ---- what is best ---------------------------------------------------------------------------

    def ranking(self) -> np.ndarray:
        """The indices, best first: complete trials by score, then stopped ones, then failed."""
        rank = [STATUS.index(status) for status in self.status]
        return np.lexsort((self.scores, np.array(rank, int)))

    def sorted(self) -> "Trials":
        """The same trials, best first, in the order of ``ranking``."""
        return self._take(self.ranking())

    def upper_bounds(self, confidence: float = 0.95) -> np.ndarray:
        """The one-sided upper confidence bound of each trial's mean loss.

        **Value** score + q · error, where q is the quantile of Student's t distribution with
        ``repeats`` − 1 degrees of freedom, and of the normal distribution where ``repeats`` is 1
        (an error that was given without seeds). A trial whose error is not known gets the largest
        known q · error; where none is known, the bounds are the scores.

        Args:
          confidence: how likely the mean is below its bound, 0.5 ≤ confidence < 1.

        Returns:
          an array (n,).
        """
        check.number("0.5 <= x < 1", lambda v: (v >= 0.5) & (v < 1), confidence=confidence)
        from scipy import special  # noqa: PLC0415  what JAX depends on

        freedom = np.maximum(self.repeats - 1, 1)
        margin = self.errors * np.where(
            self.repeats > 1, special.stdtrit(freedom, confidence), special.ndtri(confidence)
        )
        known = margin[np.isfinite(margin)]
        widest = known.max() if known.size else 0.0
        return self.scores + np.where(np.isnan(margin), widest, margin)

    def best(self, confidence: float | None = 0.95) -> Trial:
        """The complete trial with the lowest upper confidence bound of its mean loss.

        Args:
          confidence: that of ``upper_bounds``, or None for the lowest mean.

        Returns:
          a ``Trial``: ``best().config``, ``best().transform``.

        Raises:
          ValueError: no trial is complete with a finite score.
        """
        with check.inside("Trials.best"):
            bounds = self.scores if confidence is None else self.upper_bounds(confidence)
            fair = np.array([status == "complete" for status in self.status], bool)
            fair &= np.isfinite(self.scores)
            if not fair.any():
                counts = ", ".join(f"{self.status.count(s)} {s}" for s in STATUS)
                check.refuse(
                    f"of {len(self)} trials ({counts}) none is complete with a finite score",
                    expected="at least one",
                )
        return self._row(int(np.argmin(np.where(fair, bounds, np.inf))))

    def transform(self, i: int) -> PyTree:
        """The space filled with the configuration of a trial."""
        row: Trial = self[i]
        return row.transform

    def config(self, i: int) -> dict[str, Any]:
        """The configuration of a trial: path -> value."""
        return dict(self[i].config)

    # ---- as text, columns and files -------------------------------------------------------------

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the hyperparameters, in the order of the space."""
        given = set().union(*self.configs) if self.configs else set()
        return tuple(path for path in _files.paths(self.space) if path in given)

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns as lists, for ``pandas.DataFrame(trials.to_dict())``."""
        columns: dict[str, list[Any]] = {
            "score": self.scores.tolist(),
            "error": self.errors.tolist(),
            "repeats": self.repeats.astype(int).tolist(),
            "budget": self.budgets.tolist(),
            "status": list(self.status),
        }
        return columns | {path: [c.get(path) for c in self.configs] for path in self.paths}

    def records(self) -> list[dict[str, Any]]:
        """The rows as dicts, with the columns of ``to_dict``."""
        columns = self.to_dict()
        return [dict(zip(columns, row)) for row in zip(*columns.values())]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as JSON Lines: the space's distributions, then one line for each trial.

        Numbers are written so that ``load`` reads the same float64. A file that is there is
        replaced at once, when the new one is complete.

        Args:
          path: the file.
        """
        _files.save(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str], space: PyTree) -> "Trials":
        """Read a table that ``save`` or a search with ``path=`` wrote.

        A last line that a crash cut off is left out.

        Args:
          path: the file.
          space: the space that was searched.

        Returns:
          the trials.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: a file of another kind, or of a space with other distributions.
        """
        with check.inside("Trials.load"):
            return cls(space, **_files.load(path, space))

    def to_string(self, most: int = 10) -> str:
        """The table as text, best first.

        Args:
          most: how many rows are shown, ≥ 1.

        Returns:
          aligned columns: the index, the score with its error, the hyperparameters, the budget.
        """
        check.integer(1, most=most)
        return as_table(self, most)

    def __repr__(self) -> str:
        """The best rows, aligned."""
        return as_table(self, 10)


def _configs(space: PyTree, configs: Any) -> tuple[dict[str, Any], ...]:
    known = _files.paths(space)
    found = []
    for i, config in enumerate(configs):
        if not isinstance(config, Mapping):
            problem = f"configs[{i}]={check.shown(config)} is not a dict path -> value"
            check.refuse(problem, error=TypeError)
        for path in config:
            if path not in known:
                check.refuse(
                    f"configs[{i}] has the path {path!r}, which the space lacks",
                    fix=check.nearest(str(path), known),
                )
        found.append({path: _plain(config[path]) for path in known if path in config})
    return tuple(found)


def _plain(value: Any) -> Any:
    """A Python number for a scalar array."""
    is_array = hasattr(value, "dtype") and np.ndim(value) == 0
    return np.asarray(value).item() if is_array else value


def _column(name: str, values: Any, n: int) -> np.ndarray:
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        problem = f"{name}={check.shown(values)} is not a vector of numbers"
        check.refuse(problem, error=TypeError)
    if found.shape != (n,):
        problem = f"{name} has the shape {list(found.shape)}"
        check.refuse(problem, expected=f"[{n}], one number for each config")
    return found


def _curves(curves: Any, n: int) -> tuple[np.ndarray | None, ...]:
    if curves is None:
        return (None,) * n
    found = tuple(None if curve is None else np.asarray(curve, np.float64) for curve in curves)
    if len(found) != n:
        check.refuse(
            f"curves has the length {len(found)}", expected=f"{n}, one curve for each config"
        )
    for i, curve in enumerate(found):
        if curve is not None and curve.ndim != 1:
            problem = f"curves[{i}] has the shape {list(curve.shape)}"
            check.refuse(problem, expected="a vector of losses, or None")
    return found


def _status(status: Any, n: int) -> tuple[str, ...]:
    found = tuple(status)
    if len(found) != n:
        check.refuse(f"status has the length {len(found)}", expected=f"{n}, one for each config")
    for i, value in enumerate(found):
        check.one_of(STATUS, **{f"status[{i}]": value})
    return found
