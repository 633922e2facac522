"""Populations: all trials of a search trained as one program for each structure."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.search import _programs as programs
from gradkit.search._journal import Journal
from gradkit.search._progress import Report, progress_bar
from gradkit.search._trials import Trials
from gradkit.search.configs import Configs, sample
from gradkit.typing import Key, PyTree


class Outcome(NamedTuple):
    """The losses of trials by seed, and their curves where the objective returns them."""

    values: np.ndarray
    curves: list[np.ndarray] | None


@explained(functions={"objective": 2})
def run(
    objective: Callable[..., Any],
    space: PyTree | Configs,
    key: Key = 0,
    *,
    trials: int = 64,
    seeds: int = 1,
    method: str = "random",
    batch: int | None = None,
    mesh: Mesh | None = None,
    progress: bool = True,
    path: str | os.PathLike[str] | None = None,
) -> Trials:
    """Search by training all configurations at once: random search, or a grid, in one program.

    **Value** for each trial the mean of ``objective(config, key)`` over the seeds, and its standard
    error. Configurations of one structure are one ``vmap`` in one compiled program; searches of the
    same objective share it.

    Args:
      objective: ``objective(config, key)``, pure: the loss, or the curve of losses, whose last
        value counts. ``config`` is the space filled: numbers are traced, integers, strings and
        functions are what they are.
      space: the search space, or ``Configs`` from ``sample`` or ``grid``.
      key: a random key or a seed. Trial i of each seed gets the same key: all start alike.
      trials: how many configurations are sampled, ≥ 1; not for ``Configs``.
      seeds: how often each is trained, ≥ 1.
      method: as in ``sample``.
      batch: how many trials are trained at once, where all at once do not fit; None for all.
      mesh: spread the trials over the first axis of a mesh.
      progress: show a bar of the batches, where rich is installed.
      path: a file to which the trials of each batch are added when they are done, as JSON Lines. A
        search that goes on after a crash leaves out those in the file: the same configurations, as
        the same ``key`` samples them, with as many seeds. For one process; several share a
        ``run_study``.

    Returns:
      ``Trials``: ``best()`` is the one with the lowest upper confidence bound. A trial whose loss
      is not finite for some seed has the score inf and the status ``"failed"``.

    Raises:
      ValueError: a space without distributions, ``trials``, ``seeds`` or ``batch`` below 1.
      TypeError: an objective that returns no real number and no vector of them.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> def objective(tx, key):
      ...     x, state = jnp.float32(1), tx.init(jnp.float32(1))
      ...     for _ in range(3):
      ...         x, state = tx.apply(x, state, 2 * x)
      ...     return x**2
      >>> space = gk.sgd(gk.search.uniform(0.0, 2.0))  # diverges above 1
      >>> trials = gk.search.run(objective, space, trials=64, progress=False)
      >>> assert 0.4 < trials.best().config["learning_rate"] < 0.6
    """
    check.arity(2, "(config, key)", objective=objective)
    check.integer(1, trials=trials, seeds=seeds)
    if batch is not None:
        check.integer(1, batch=batch)
    check.boolean(progress=progress)
    for_configs, for_seeds = jax.random.split(numerics.as_key(key))
    configs = space
    if not isinstance(configs, Configs):
        configs = sample(space, for_configs, trials, method=method)
    place = programs.Place.of(mesh)
    with progress_bar("trials", len(configs), progress) as report:
        keys = jax.random.split(for_seeds, seeds)
        if path is not None:
            journal = Journal(path, configs.space)
            return resumed(objective, configs, keys, batch, place, report, journal)
        found = evaluated(objective, configs, keys, batch, place, report)
    return table(configs, found.values, found.curves)


def resumed(
    objective: Callable[..., Any],
    configs: Configs,
    keys: jax.Array,
    batch: int | None,
    place: programs.Place,
    report: Report,
    journal: Journal,
) -> Trials:
    """The trials of configurations, of which those in the file are not run."""
    rows = journal.rows(configs.values, len(keys))
    done = [row for row in rows if row is not None]
    if done and journal.trials is not None:
        report(len(done), journal.trials.scores[done])
    if len(done) < len(rows):
        missing = [config for row, config in zip(rows, configs.values, strict=True) if row is None]
        rest = Configs(configs.space, missing)

        def keep(indices: np.ndarray, made: np.ndarray) -> None:
            part = Configs(configs.space, [rest.values[i] for i in indices])
            curves = made.mean(axis=1) if made.ndim == 3 else None
            journal.add(table(part, made if made.ndim == 2 else made[..., -1], curves))

        evaluated(objective, rest, keys, batch, place, report, keep)
    assert journal.trials is not None
    found: Trials = journal.trials[np.array(journal.rows(configs.values, len(keys)))]
    return found


def evaluated(
    objective: Callable[..., Any],
    configs: Configs,
    keys: jax.Array,
    batch: int | None = None,
    place: programs.Place = programs.Place(),  # noqa: B008  a constant
    report: Report = lambda done, scores: None,
    keep: Callable[[np.ndarray, np.ndarray], None] = lambda indices, made: None,
) -> Outcome:
    """The objective of all configurations with all keys: values (n, seeds), and curves."""
    values = np.full((len(configs), len(keys)), np.inf)
    curves: list[Any] = [None] * len(configs)
    for group in configs._by_structure():
        count = len(group.indices)
        width = place.padded(min(count, batch or count))
        for first in range(0, count, width):
            rows = first + programs.rows_of(min(width, count - first), width)
            leaves = group.take(rows)
            made = np.asarray(
                programs.losses(objective, group.form, group.axes, place, leaves, keys), np.float64
            )[: min(width, count - first)]
            indices = group.indices[first : first + len(made)]
            values[indices] = made if made.ndim == 2 else made[..., -1]
            if made.ndim == 3:
                for i, curve in zip(indices, made.mean(axis=1), strict=True):
                    curves[i] = curve
            keep(indices, made)
            report(len(made), values[indices].mean(axis=1))
    return Outcome(values, None if all(curve is None for curve in curves) else curves)


def table(
    configs: Configs,
    values: np.ndarray,
    curves: Any = None,
    budgets: Any = None,
    status: list[str] | None = None,
) -> Trials:
    """The trials of losses (n, seeds): means, standard errors, what failed."""
    scores, errors = means(values)
    failed = ~np.isfinite(scores)
    if status is not None:
        status = ["failed" if bad else one for bad, one in zip(failed, status, strict=True)]
    repeats = np.full(len(scores), values.shape[1])
    return Trials(
        configs.space, configs.values, scores, errors, curves, budgets, status, repeats=repeats
    )


def means(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over seeds, inf where one is not finite, and its standard error, 0 for one seed."""
    fine = np.isfinite(values).all(axis=1)
    kept = np.where(fine[:, None], values, 0.0)
    scores = np.where(fine, kept.mean(axis=1), np.inf)
    seeds = values.shape[1]
    if seeds == 1:
        return scores, np.zeros(len(scores))
    return scores, np.where(fine, kept.std(axis=1, ddof=1) / np.sqrt(seeds), 0.0)
