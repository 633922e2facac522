"""Bayesian optimization: a Gaussian process says which configurations to try next."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.search import _files
from gradkit.search import _programs as programs
from gradkit.search._cube import Cube
from gradkit.search._journal import Journal
from gradkit.search._progress import progress_bar
from gradkit.search._trials import Trials
from gradkit.search.configs import Configs, from_unit, sample, to_unit
from gradkit.search.population import evaluated, resumed, table
from gradkit.search.processes import (
    KERNELS,
    _condition,
    _fit,
    expected_improvement,
    upper_confidence_bound,
)
from gradkit.typing import Key, PyTree

Acquisition = Callable[..., jax.Array]
ACQUISITIONS: dict[str, Acquisition] = {
    "expected_improvement": expected_improvement,
    "upper_confidence_bound": lambda mean, std, best: upper_confidence_bound(mean, std),
}
ROUNDS, TOP = 6, 8  # how often the maximum is closed in on, from how many points
DRAWN = 64  # points around each of them, and as many anywhere
APART = 0.02  # how far two points of a batch differ in some coordinate


def ask(
    space: PyTree,
    trials: Trials | None,
    key: Key,
    n: int = 1,
    *,
    acquisition: str | Acquisition = "expected_improvement",
    kernel: str = "matern52",
) -> Configs:
    """Ask Bayesian optimization which configurations to try next, after the trials so far.

    A Gaussian process is fitted to the scores on the unit cube, where every distribution is
    uniform; the configurations are those with the largest acquisition. A batch is chosen one after
    the other: each is entered with the best score so far before the next is chosen (the constant
    liar), and two of a batch differ by 0.02 in some coordinate. Without trials with finite scores,
    the configurations are a Latin hypercube sample.

    Scores above the median are replaced by the normal quantiles of their ranks, so that the worse
    half is as wide as the better one; trials that diverged rank last. Trials that were stopped
    before their full budget do not count. Standard errors of scores enter as noise. Options of a
    choice are one coordinate each; what belongs to an option that was not chosen is at the middle
    of its range.

    Args:
      space: the space: a transform, or any tree, with distributions in it.
      trials: the trials so far, or None.
      key: a key, or an int. The same key gives the same configurations.
      n: how many configurations, ≥ 1.
      acquisition: ``"expected_improvement"``, ``"upper_confidence_bound"`` (κ = 2), or a function
        of (mean, std, best) whose largest value is best.
      kernel: ``"matern52"`` or ``"rbf"``, with one lengthscale for each coordinate.

    Returns:
      n ``Configs``, for ``run``: ``.values`` as dicts.

    Raises:
      ValueError: a space without distributions, ``n`` < 1, trials of another space.

    Example:
      >>> import gradkit as gk
      >>> space = {"x": gk.search.uniform(0.0, 1.0)}
      >>> configs = [{"x": x} for x in (0.1, 0.5, 0.9)]
      >>> trials = gk.search.Trials(space, configs, [(c["x"] - 0.4) ** 2 for c in configs])
      >>> config, *_ = gk.search.ask(space, trials, key=0, n=4).values
      >>> assert 0.2 < config["x"] < 0.6

    Reference: Snoek, Larochelle & Adams 2012, arXiv:1206.2944; Ginsbourger, Le Riche & Carraro
    2010 (the constant liar); Song et al. 2024, arXiv:2408.11527 (the worse half by rank).
    """
    with check.inside("ask"):
        check.integer(1, n=n)
        check.one_of(KERNELS, kernel=kernel)
        function = _acquisition(acquisition)
        cube = Cube(space)
        if trials is not None and not isinstance(trials, Trials):
            check.refuse(f"trials={check.shown(trials)} is not a Trials", error=TypeError)
        if trials is not None:
            _files.same_space(_files.fingerprint(trials.space), space)
        key = numerics.as_key(key)
    counts = [] if trials is None else [i for i, s in enumerate(trials.status) if s != "stopped"]
    if trials is None or not np.isfinite(trials.scores[counts]).any():
        return sample(space, key, int(n), method="latin_hypercube")
    used = trials[counts]
    # The programs are compiled for the next power of two of trials.
    room = 2 ** int(np.ceil(np.log2(max(len(used) + int(n), 16))))
    u = np.full((room, len(cube)), 0.5)
    u[: len(used)] = to_unit(space, used)
    scores, errors = np.zeros(room), np.zeros(room)
    known = np.nan_to_num(used.errors, posinf=0.0)
    scores[: len(used)], errors[: len(used)] = _warped(used.scores, known)
    data = [jnp.asarray(v, float) for v in (u, scores, errors)]
    where = jnp.arange(room) < len(used)
    process = _fit(kernel, True, _features(cube, data[0]), *data[1:], where)
    points = _propose(cube, function, int(n), process, *data, where, key)
    return from_unit(space, points)


def bayesian(
    objective: Callable[..., Any],
    space: PyTree,
    key: Key = 0,
    *,
    rounds: int = 8,
    batch: int = 8,
    seeds: int = 1,
    acquisition: str | Acquisition = "expected_improvement",
    kernel: str = "matern52",
    mesh: Mesh | None = None,
    progress: bool = True,
    path: str | os.PathLike[str] | None = None,
) -> Trials:
    """Search by Bayesian optimization: a Gaussian process chooses batches of configurations.

    **Value** the first batch is a Latin hypercube sample; each further one is what ``ask`` gives
    after all trials so far. A batch is trained as one program for each structure, as ``run`` does.

    Args:
      objective: ``objective(config, key)``, pure: the loss, or the curve of losses, whose last
        value counts.
      space: the search space.
      key: a random key or a seed.
      rounds: how many batches, ≥ 1.
      batch: how many configurations are trained at once, ≥ 1. Fewer, larger batches take less time,
        and more trials for the same score.
      seeds: how often each is trained, ≥ 1; with several, the standard errors enter as noise.
      acquisition: as in ``ask``.
      kernel: as in ``ask``.
      mesh: spread the trials of a batch over the first axis of a mesh.
      progress: show a bar of the trials, where rich is installed.
      path: a file to which the trials of each batch are added, as JSON Lines. A search with the
        same arguments goes on after the batches in the file.

    Returns:
      ``Trials``, in the order of the batches.

    Raises:
      ValueError: a space without distributions, ``rounds``, ``batch`` or ``seeds`` below 1, a file
        with trials of another space.
      TypeError: an objective that returns no real number and no vector of them.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> def objective(tx, key):  # one step on x², from 1
      ...     x = tx.apply(jnp.float32(1), tx.init(jnp.float32(1)), jnp.float32(2))[0]
      ...     return x**2
      >>> space = gk.sgd(gk.search.log_uniform(1e-3, 10.0))  # best at 0.5
      >>> trials = gk.search.bayesian(objective, space, rounds=3, batch=4, progress=False)
      >>> assert len(trials) == 12 and 0.4 < trials.best().config["learning_rate"] < 0.6

    Reference: Snoek, Larochelle & Adams 2012, arXiv:1206.2944.
    """
    with check.inside("bayesian"):
        check.arity(2, "(config, key)", objective=objective)
        check.integer(1, rounds=rounds, batch=batch, seeds=seeds)
        check.boolean(progress=progress)
        place = programs.Place.of(mesh)
        for_configs, for_seeds = jax.random.split(numerics.as_key(key))
        keys = jax.random.split(for_seeds, int(seeds))
        journal = None if path is None else Journal(path, space)
    done = 0 if journal is None else len(journal) // int(batch) * int(batch)
    trials = journal.trials[:done] if journal is not None and journal.trials and done else None
    options: dict[str, Any] = {"acquisition": acquisition, "kernel": kernel}
    with progress_bar("bayesian", int(rounds) * int(batch), progress) as report:
        if trials is not None:
            report(done, trials.scores)
        for i in range(done // int(batch), int(rounds)):
            own = jax.random.fold_in(for_configs, i)
            configs = ask(space, trials, own, int(batch), **options)
            if journal is None:
                found = evaluated(objective, configs, keys, None, place, report)
                new = table(configs, found.values, found.curves)
            else:
                new = resumed(objective, configs, keys, None, place, report, journal)
            trials = new if trials is None else trials + new
    assert trials is not None
    return trials


def _acquisition(acquisition: Any) -> Acquisition:
    if callable(acquisition):
        check.arity(3, "(mean, std, best)", acquisition=acquisition)
        return acquisition
    check.one_of(ACQUISITIONS, acquisition=acquisition)
    return ACQUISITIONS[acquisition]


def _warped(scores: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores whose worse half is as wide as the better one, and their errors.

    A score above the median becomes the normal quantile of its rank, in units of the better half.
    """
    from scipy import special  # noqa: PLC0415  what JAX depends on

    fine = np.isfinite(scores)
    middle = np.median(scores[fine])
    good = scores <= middle
    width = np.sqrt(np.mean((scores[good] - middle) ** 2))
    width = width if width > 0 else max(abs(middle), 1.0) * 1e-3
    order = (np.searchsorted(np.sort(scores), scores, "left") + 0.5) / len(scores)
    quantiles = special.ndtri(np.clip(order, 0.5, None))
    return np.where(good, scores, middle + width * quantiles), np.where(good, errors, 0.0)


@functools.partial(jax.jit, static_argnums=0)
def _features(cube: Cube, u: jax.Array) -> jax.Array:
    return cube.features(u)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _propose(
    cube: Cube, acquisition: Acquisition, n: int, process: Any, u: Any, scores: Any, errors: Any,
    where: Any, key: Any,
) -> jax.Array:  # fmt: skip
    """Points of the cube to try next, (n, D)."""
    scales, amplitude, mean = process.lengthscales, process.amplitude, process.mean
    # A lie has as little noise as rounding allows: the next point must not be the same.
    errors, least = jnp.sqrt(errors**2 + process.noise**2), 1e-2 * amplitude
    lie = jnp.min(jnp.where(where, scores, jnp.inf))
    # With noise the lowest score is partly luck: the lowest mean among the trials is not.
    believed = jnp.where(where, process.predict(cube.features(u))[0], jnp.inf)
    best = jnp.min(believed)
    centers, real = u[jax.lax.top_k(-believed, TOP)[1]], where

    widths = jnp.asarray([0.3 * 0.4**i for i in range(ROUNDS)], u.dtype)

    def one(carry: Any, at_and_key: Any) -> Any:
        u, scores, errors, where = carry
        at, key = at_and_key
        x = cube.features(u)
        now = _condition(process.kernel, x, scores, errors, where, scales, amplitude, least, mean)

        def closer(i: Any, top: Any) -> Any:
            """The best of points around those that are best so far."""
            points = _around(jax.random.fold_in(key, i), top, widths[i])
            points = jnp.concatenate([top, points])
            seen = cube.features(points)
            value = acquisition(*now.predict(seen), best)
            apart = jnp.max(jnp.abs(seen[:, None] - x[None]), axis=-1)
            near = jnp.any((apart < APART) & (where & ~real)[None], axis=1)
            return points[jax.lax.top_k(jnp.where(near, -jnp.inf, value), TOP)[1]]

        top = jax.lax.fori_loop(0, ROUNDS, closer, centers)
        u, scores = u.at[at].set(top[0]), scores.at[at].set(lie)
        return (u, scores, errors.at[at].set(0.0), where.at[at].set(True)), top[0]

    places = jnp.sum(where) + jnp.arange(n)
    keys = jax.random.split(key, n)
    return jax.lax.scan(one, (u, scores, errors, where), (places, keys))[1]


def _around(key: Any, centers: jax.Array, width: Any) -> jax.Array:
    """Points near each center, where each coordinate moves with probability one half; and others.

    One drawing serves all: it is what takes long to compile.
    """
    count, d = centers.shape
    drawn = jax.random.uniform(key, (2, DRAWN, count, d), centers.dtype)
    moved = width * jax.scipy.special.ndtri(jnp.clip(2 * drawn[0] - 1, 1e-3, 1 - 1e-3))
    near = centers[None] + jnp.where(drawn[0] > 0.5, moved, 0.0)
    return jnp.clip(jnp.concatenate([near, drawn[1]]), 0.0, 1.0).reshape(-1, d)
