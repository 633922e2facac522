"""Early stopping of trials: successive halving, and Hyperband's brackets of it."""

import math
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.search import _programs as programs
from gradkit.search._forms import Batch
from gradkit.search._journal import Journal
from gradkit.search._progress import Report, progress_bar
from gradkit.search._trials import Trials
from gradkit.search.configs import Configs, sample
from gradkit.search.population import means, table
from gradkit.search.tasks import Task
from gradkit.typing import Key, PyTree


@explained()
def successive_halving(
    task: Task,
    space: PyTree | Configs,
    key: Key = 0,
    *,
    budget: int,
    trials: int = 64,
    factor: int = 2,
    seeds: int = 1,
    method: str = "random",
    mesh: Mesh | None = None,
    progress: bool = True,
    path: str | os.PathLike[str] | None = None,
) -> Trials:
    """Search by training many configurations briefly, and the best of them longer and longer.

    **Value** with n trials, a budget of B steps and the factor η there are T = ⌈log_η n⌉ rungs. In
    rung t = 0, ..., T − 1 the ⌊n / η^t⌋ best of the rung before are trained on for
    ⌊B / (T ⌊n / η^t⌋)⌋ steps each, from where they were.

    Every rung of one width is one compiled program, whatever its number of steps. Where structures
    differ, the survivors of each structure are filled up to the width of a rung.

    Args:
      task: the training, from ``training`` or of your own.
      space: the search space, or ``Configs`` from ``sample`` or ``grid``.
      key: a random key or a seed. All trials start from the same key for each seed.
      budget: the steps of all trials together, for one seed.
      trials: how many configurations are sampled, ≥ 2; not for ``Configs``.
      factor: one of how many survives a rung, ≥ 2.
      seeds: how often each trial is trained, ≥ 1; ranks are those of the means.
      method: as in ``sample``.
      mesh: spread the trials over the first axis of a mesh.
      progress: show a bar of the rungs, where rich is installed.
      path: a file to which the trials are added when they are done, as JSON Lines. A search whose
        trials are in the file reads them.

    Returns:
      ``Trials``: those of the last rung are ``"complete"``, the others ``"stopped"`` with the score
      they had then, or ``"failed"``. ``budgets`` are the steps each was trained for, ``curves`` the
      losses of these steps.

    Raises:
      ValueError: a budget that leaves a trial without a step, fewer than two trials.
      TypeError: ``task`` is not a ``Task``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> task = gk.search.training(
      ...     lambda w, batch: (w * batch - 1) ** 2, lambda key: jnp.float32(0), jnp.ones(1)
      ... )
      >>> space = gk.sgd(gk.search.log_uniform(1e-4, 1.0))
      >>> trials = gk.search.successive_halving(task, space, budget=96, trials=8, progress=False)
      >>> assert trials.budgets.sum() == 96 and trials.status.count("complete") == 2
      >>> assert trials.best().score == trials.scores.min()

    Reference:
      K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
      Optimization", 2016.
    """
    _check_task(task)
    check.integer(2, factor=factor)
    check.integer(1, budget=budget, seeds=seeds)
    check.boolean(progress=progress)
    for_configs, for_seeds = jax.random.split(numerics.as_key(key))
    configs = space
    if not isinstance(configs, Configs):
        check.integer(2, trials=trials)
        configs = sample(space, for_configs, trials, method=method)
    n = len(configs)
    rungs = max(1, math.ceil(math.log(n, factor) - 1e-9))
    widths = [n // factor**t for t in range(rungs)]
    steps = [int(budget) // (rungs * width) for width in widths]
    if steps[0] < 1:
        problem = f"budget={budget} is too small: {n} trials in {rungs} rungs"
        check.refuse(problem, expected=f"budget >= {n * rungs}, a step for each trial")
    keys = jax.random.split(for_seeds, seeds)
    place = programs.Place.of(mesh)
    with progress_bar("successive halving", sum(steps), progress) as report:
        journal = None if path is None else Journal(path, configs.space)
        targets = np.cumsum(steps).tolist()
        return _finished(journal, task, configs, keys, widths, targets, place, report)


@explained()
def hyperband(
    task: Task,
    space: PyTree,
    key: Key = 0,
    *,
    budget: int,
    factor: int = 3,
    seeds: int = 1,
    method: str = "random",
    mesh: Mesh | None = None,
    progress: bool = True,
    path: str | os.PathLike[str] | None = None,
) -> Trials:
    """Search by several rounds of successive halving, from many short trials to few long ones.

    **Value** with R steps at most for a trial and the factor η there are brackets
    s = s_max, ..., 0 with s_max = ⌊log_η R⌋. Bracket s samples n = ⌈(s_max + 1) η^s / (s + 1)⌉
    configurations; in its rung i = 0, ..., s the ⌊n η^−i⌋ best are trained up to R η^(i − s)
    steps. It hedges where losses after few steps say little of those after many.

    Args:
      task: the training, from ``training`` or of your own.
      space: the search space.
      key: a random key or a seed.
      budget: R, the most steps of one trial, ≥ ``factor``.
      factor: one of how many survives a rung, ≥ 2.
      seeds: as in ``successive_halving``.
      method: as in ``sample``.
      mesh: as in ``successive_halving``.
      progress: show a bar of the rungs, where rich is installed.
      path: a file to which the trials of each bracket are added when it is done, as JSON Lines. A
        search that goes on after a crash leaves out the brackets in the file.

    Returns:
      ``Trials`` of all brackets, one after the other. Those trained for R steps are ``"complete"``.

    Raises:
      ValueError: a budget smaller than ``factor``, which has no rungs.
      TypeError: ``task`` is not a ``Task``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> task = gk.search.training(
      ...     lambda w, batch: (w * batch - 1) ** 2, lambda key: jnp.float32(0), jnp.ones(1)
      ... )
      >>> space = gk.sgd(gk.search.log_uniform(1e-4, 1.0))
      >>> trials = gk.search.hyperband(task, space, budget=9, progress=False)
      >>> assert len(trials) == 9 + 5 + 3 and trials.budgets.max() == 9

    Reference:
      L. Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", 2018.
    """
    _check_task(task)
    check.integer(2, factor=factor)
    check.integer(1, budget=budget, seeds=seeds)
    check.boolean(progress=progress)
    if budget < factor:
        problem = f"budget={budget} is too small for rungs with factor={factor}"
        check.refuse(problem, expected=f"budget >= {factor}")
    most, top = int(budget), math.floor(math.log(budget, factor) + 1e-9)
    for_configs, for_seeds = jax.random.split(numerics.as_key(key))
    keys, place = jax.random.split(for_seeds, seeds), programs.Place.of(mesh)
    plans = []
    for s in range(top, -1, -1):
        n = math.ceil((top + 1) * factor**s / (s + 1) - 1e-9)
        widths = [max(1, n // factor**i) for i in range(s + 1)]
        targets = [max(1, most // factor ** (s - i)) for i in range(s + 1)]
        plans.append((widths, targets))
    found: Trials | None = None
    journal = None if path is None else Journal(path, space)
    with progress_bar("hyperband", sum(t[-1] for _, t in plans), progress) as report:
        for i, (widths, targets) in enumerate(plans):
            own = jax.random.fold_in(for_configs, i)
            configs = sample(space, own, widths[0], method=method)
            more = _finished(journal, task, configs, keys, widths, targets, place, report)
            found = more if found is None else found + more
    assert found is not None
    return found


def _check_task(task: Any) -> None:
    if not isinstance(task, Task):
        fix = "Make one of a loss: search.training(loss_fn, init_params, batches)"
        check.refuse(f"task={check.shown(task)} is not a Task", fix=fix, error=TypeError)


def _finished(
    journal: Journal | None, task: Task, configs: Configs, keys: jax.Array, widths: Sequence[int],
    targets: Sequence[int], place: programs.Place, report: Report,
) -> Trials:  # fmt: skip
    """The trials of a race; from the file, where all of them are in it."""
    rows = [] if journal is None else journal.rows(configs.values, len(keys))
    if journal is not None and journal.trials is not None and None not in rows:
        known: Trials = journal.trials[np.array(rows)]
        if known.budgets.max() == targets[-1]:
            report(targets[-1], known.scores)
            return known
    found = _race(task, configs, keys, widths, targets, place, report)
    if journal is not None:
        journal.add(found)
    return found


def _race(
    task: Task,
    configs: Configs,
    keys: jax.Array,
    widths: Sequence[int],
    targets: Sequence[int],
    place: programs.Place,
    report: Report,
) -> Trials:
    """Train ever fewer trials up to ever more steps."""
    n = len(configs)
    length = 1 << (targets[-1] - 1).bit_length()  # so that similar budgets share their programs
    values = np.full((n, len(keys)), np.inf)
    curves, budgets = np.full((n, targets[-1]), np.nan), np.zeros(n)
    status = ["stopped"] * n
    herds = [_Herd(task, batch, keys, widths, place, length) for batch in configs._by_structure()]
    alive, done = np.arange(n), 0
    for rung, target in enumerate(targets):
        for herd in herds:
            members, losses, scores = herd.advance(alive, target - done)
            values[members] = scores
            curves[members, done:target] = losses
        budgets[alive] = target
        report(target - done, means(values[alive])[0])
        done = target
        if rung == len(targets) - 1:
            break
        scores, _ = means(values[alive])
        order = alive[np.argsort(scores, kind="stable")][: widths[rung + 1]]
        alive = np.sort(order[np.isfinite(means(values[order])[0])])
        if not alive.size:
            break
    for i in alive:
        status[i] = "complete"
    rows = [curve[: int(budget)] for curve, budget in zip(curves, budgets, strict=True)]
    return table(configs, values, rows, budgets, status)


class _Herd:
    """The trials of one structure: which are left, and where their training is."""

    def __init__(
        self,
        task: Task,
        batch: Batch,
        keys: jax.Array,
        widths: Sequence[int],
        place: programs.Place,
        length: int,
    ) -> None:
        self.task, self.batch, self.place, self.length = task, batch, place, length
        self.widths, self.keys = sorted({place.padded(width) for width in widths}), keys
        self.left = np.arange(len(batch.indices))  # rows of the batch, in the order of the carries
        self.carries: Any = None

    def width(self, count: int) -> int:
        """The smallest width of a rung that holds so many trials."""
        return next(width for width in self.widths if width >= count)

    def advance(self, alive: np.ndarray, steps: int) -> tuple[np.ndarray, Any, Any]:
        """Train those alive: their numbers, mean losses of the steps, and scores by seed."""
        left = self.left[np.isin(self.batch.indices[self.left], alive)]
        seeds = len(self.keys)
        if not left.size:
            self.left = left
            return np.zeros(0, int), np.zeros((0, steps)), np.zeros((0, seeds))
        rows = programs.rows_of(len(left), self.width(len(left)))
        fixed = (self.task, self.batch.form, self.batch.axes, self.place)
        leaves = self.batch.take(left[rows])
        if self.carries is None:
            self.carries = programs.start(*fixed, leaves, self.keys)
        else:
            before = np.searchsorted(self.left, left)
            self.carries = programs.taken(self.carries, jnp.asarray(before[rows]))
        self.left = left
        self.carries, curves, scores = programs.advance(
            *fixed, self.length, leaves, self.carries, jnp.asarray(steps, jnp.int32)
        )
        mean = np.asarray(curves, np.float64)[: len(left), :, :steps].mean(axis=1)
        return self.batch.indices[left], mean, np.asarray(scores, np.float64)[: len(left)]
