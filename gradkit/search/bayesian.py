"""Bayesian optimization: a Gaussian process says which configurations to try next."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit.search import _files
from gradkit.search._cube import Cube
from gradkit.search._trials import Trials
from gradkit.search.gaussian_process import (
    KERNELS,
    _condition,
    _fit,
    expected_improvement,
    upper_confidence_bound,
)
from gradkit.typing import Key, PyTree

Acquisition = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
ACQUISITIONS: dict[str, Acquisition] = {
    "expected_improvement": expected_improvement,
    "upper_confidence_bound": lambda mean, std, best: upper_confidence_bound(mean, std),
}
CANDIDATES, NEAR, ROUNDS = 1024, 64, 3  # drawn; around each of eight; how often it closes in


def ask(
    space: PyTree,
    trials: Trials | None,
    key: Key,
    n: int = 1,
    *,
    acquisition: str | Acquisition = "expected_improvement",
    kernel: str = "matern52",
) -> list[dict[str, Any]]:
    """Ask Bayesian optimization which configurations to try next, after the trials so far.

    A Gaussian process is fitted to the scores on the unit cube, where every distribution is
    uniform; the configurations are those with the largest acquisition. A batch is chosen one after
    the other: each is entered with the best score so far before the next is chosen (the constant
    liar), so that they differ. Without trials with finite scores, the configurations are a Latin
    hypercube sample.

    Scores above median + 3 (median − lowest) count as that, and so do trials that diverged: how bad
    is of no use to the fit. Trials that were stopped before their full budget do not count.
    Standard errors of scores enter as noise. Options of a choice are one coordinate each; what
    belongs to an option that was not chosen is at the middle of its range.

    Args:
      space: the space: a transform, or any tree, with distributions in it.
      trials: the trials so far, or None.
      key: a key, or an int. The same key gives the same configurations.
      n: how many configurations, ≥ 1.
      acquisition: ``"expected_improvement"``, ``"upper_confidence_bound"`` (κ = 2), or a function
        of (mean, std, best) whose largest value is best.
      kernel: ``"matern52"`` or ``"rbf"``, with one lengthscale for each coordinate.

    Returns:
      n configurations, dicts path -> value, for ``fill`` or ``run``.

    Raises:
      ValueError: a space without distributions, ``n`` < 1, trials of another space.

    Example:
      >>> import gradkit as gk
      >>> space = {"x": gk.search.uniform(0.0, 1.0)}
      >>> configs = [{"x": x} for x in (0.1, 0.5, 0.9)]
      >>> trials = gk.search.Trials(space, configs, [(c["x"] - 0.4) ** 2 for c in configs])
      >>> [config] = gk.search.ask(space, trials, key=0)
      >>> assert 0.2 < config["x"] < 0.6

    Reference: Snoek, Larochelle & Adams 2012, arXiv:1206.2944; Ginsbourger, Le Riche & Carraro
    2010 (the constant liar).
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
        key = jax.random.key(key) if isinstance(key, int) else key
    counts = [] if trials is None else [i for i, s in enumerate(trials.status) if s != "stopped"]
    if trials is None or not np.isfinite(trials.scores[counts]).any():
        points = _latin(key, int(n), len(cube))
    else:
        used = trials[counts]
        # The program is compiled for the next power of two of trials.
        room = 2 ** int(np.ceil(np.log2(max(len(used) + int(n), 16))))
        u = np.full((room, len(cube)), 0.5)
        u[: len(used)] = [cube.place(config) for config in used.configs]
        scores, errors = np.zeros(room), np.zeros(room)
        scores[: len(used)] = _clipped(used.scores)
        errors[: len(used)] = np.nan_to_num(used.errors, posinf=0.0)
        data = (jnp.asarray(v, float) for v in (u, scores, errors))
        points = _propose(cube, kernel, function, int(n), *data, jnp.asarray(len(used)), key)
    return [cube.config(u) for u in np.asarray(points)]


def _acquisition(acquisition: Any) -> Acquisition:
    if callable(acquisition):
        check.arity(3, "(mean, std, best)", acquisition=acquisition)
        return acquisition
    check.one_of(ACQUISITIONS, acquisition=acquisition)
    return ACQUISITIONS[acquisition]


def _clipped(scores: np.ndarray) -> np.ndarray:
    fine = scores[np.isfinite(scores)]
    middle = np.median(fine)
    most = middle + 3 * (middle - fine.min())
    return np.minimum(scores, min(most, fine.max()) if most > middle else fine.max())


def _latin(key: Any, n: int, d: int) -> jax.Array:
    """n points, one in each nth of every coordinate."""
    places, shifts = jax.random.split(key)
    order = jax.vmap(lambda k: jax.random.permutation(k, n))(jax.random.split(places, d)).T
    return (order + jax.random.uniform(shifts, (n, d))) / n


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _propose(
    cube: Cube, kernel: str, acquisition: Acquisition, n: int, u: Any, scores: Any, errors: Any,
    count: Any, key: Any,
) -> jax.Array:  # fmt: skip
    """The n points of the cube to try next, (n, D)."""
    rows = jnp.arange(u.shape[0])
    process = _fit(kernel, True, cube.features(u), scores, errors, rows < count)
    found = (process.lengthscales, process.amplitude, process.noise, process.mean)

    def one(carry: Any, key: Any) -> Any:
        u, scores, count = carry
        where, x = rows < count, cube.features(u)
        process = _condition(kernel, x, scores, errors, where, *found)
        # With noise the lowest score is partly luck: the lowest mean among the trials is not.
        believed = jnp.where(where, process.predict(x)[0], jnp.inf)
        best = jnp.min(believed)
        value = lambda points: acquisition(*process.predict(cube.features(points)), best)
        keys = jax.random.split(key, ROUNDS + 2)
        points = jax.random.uniform(keys[0], (CANDIDATES, u.shape[1]), u.dtype)
        centers = u[jax.lax.top_k(-believed, 4)[1]]
        points = jnp.concatenate([points, _around(keys[1], centers, 0.1)])
        for i in range(ROUNDS):
            top = points[jax.lax.top_k(value(points), 8)[1]]
            points = jnp.concatenate([top, _around(keys[2 + i], top, 0.1 * 0.3**i)])
        chosen = points[jnp.argmax(value(points))]
        lie = jnp.min(jnp.where(where, scores, jnp.inf))
        return (u.at[count].set(chosen), scores.at[count].set(lie), count + 1), chosen

    return jax.lax.scan(one, (u, scores, count), jax.random.split(key, n))[1]


def _around(key: Any, centers: jax.Array, width: float) -> jax.Array:
    """Points near each center, where each coordinate moves with probability one half."""
    moves, which = jax.random.split(key)
    shape = (NEAR, *centers.shape)
    shifts = width * jax.random.normal(moves, shape, centers.dtype)
    shifts = jnp.where(jax.random.bernoulli(which, 0.5, shape), shifts, 0.0)
    return jnp.clip(centers[None] + shifts, 0.0, 1.0).reshape(-1, centers.shape[1])
