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
ROUNDS, TOP = 6, 8  # how often the maximum is closed in on, from how many points
DRAWN = 64  # points around each of them, and as many anywhere


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
        known = np.nan_to_num(used.errors, posinf=0.0)
        scores[: len(used)], errors[: len(used)] = _warped(used.scores, known)
        data = [jnp.asarray(v, float) for v in (u, scores, errors)]
        where = jnp.arange(room) < len(used)
        process = _fit(kernel, True, _features(cube, data[0]), *data[1:], where)
        points = _propose(cube, function, int(n), process, *data, where, key)
    return [cube.config(u) for u in np.asarray(points)]


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


def _latin(key: Any, n: int, d: int) -> jax.Array:
    """Points of which each nth of every coordinate holds one."""
    places, shifts = jax.random.split(key)
    order = jax.vmap(lambda k: jax.random.permutation(k, n))(jax.random.split(places, d)).T
    return (order + jax.random.uniform(shifts, (n, d))) / n


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
    centers = u[jax.lax.top_k(-believed, TOP)[1]]

    def one(carry: Any, at_and_key: Any) -> Any:
        u, scores, errors, where = carry
        at, key = at_and_key
        x = cube.features(u)
        now = _condition(process.kernel, x, scores, errors, where, scales, amplitude, least, mean)

        def closer(i: Any, top: Any) -> Any:
            """The best of points around those that are best so far."""
            points = _around(jax.random.fold_in(key, i), top, 0.3 * 0.4**i)
            points = jnp.concatenate([top, points])
            value = acquisition(*now.predict(cube.features(points)), best)
            return points[jax.lax.top_k(value, TOP)[1]]

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
