"""Configurations of a search space: sampled, on a grid, narrowed about the best."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.search._forms import Batch, join, split
from gradkit.search._trials import Trials
from gradkit.search.distributions import Choice, Distribution, Integers
from gradkit.search.spaces import Dimension, dimensions, exchange, fill, needed
from gradkit.typing import Key, PyTree

METHODS = ("random", "sobol", "halton", "latin_hypercube")


class Group(NamedTuple):
    """Configurations of one structure, as one tree of arrays.

    Args:
      indices: the places of the configurations among all.
      config: the space filled with arrays, one value for each configuration.
      axes: the ``in_axes`` of ``vmap`` for ``config``.
    """

    indices: np.ndarray
    config: PyTree
    axes: PyTree


class Configs:
    """Keep configurations of a search space: as values by path, and as batches for ``vmap``.

    ``configs[i]`` is the space filled with one configuration. ``configs.batched`` is the space
    filled with all of them; where they differ in structure (a choice of optimizers, integers),
    ``configs.groups`` are the batches, one for each structure.

    Args:
      space: a transform with distributions among its arguments, or any tree with distributions and
        such transforms at its leaves.
      values: for each configuration path -> value; of a choice the label of an option.

    Raises:
      ValueError: a path that the space lacks, or a path without a value.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> space = gk.sgd(gk.search.uniform(0.0, 1.0))
      >>> rates = [{"learning_rate": 0.25}, {"learning_rate": 0.5}]
      >>> configs = gk.search.Configs(space, rates)
      >>> def step(tx):
      ...     return tx.update(jnp.ones(()), tx.init(jnp.ones(())))[0]
      >>> tx = configs.batched
      >>> updates = jax.vmap(step, in_axes=(tx.vmap_axes(),))(tx)
      >>> assert updates.tolist() == [-0.25, -0.5] and configs[1] == gk.sgd(0.5)
    """

    def __init__(self, space: PyTree, values: Sequence[Mapping[str, Any]]) -> None:
        with check.inside("Configs"):
            known = needed(space)
            self.space = space
            self.values: tuple[dict[str, Any], ...] = tuple(_kept(known, v) for v in values)
            if not self.values:
                check.refuse("values is empty", expected="at least one configuration")
        self._batches: list[Batch] | None = None

    def __len__(self) -> int:
        """How many configurations there are."""
        return len(self.values)

    def __getitem__(self, i: int) -> PyTree:
        """The space filled with one configuration."""
        return fill(self.space, self.values[i])

    def __iter__(self) -> Iterator[PyTree]:
        """The space filled with each configuration."""
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Configs({self.space!r}, {len(self)} configurations)"

    @property
    def batched(self) -> PyTree:
        """The space filled with all configurations, which must have one structure."""
        if len(self.groups) > 1:
            problem = f"the {len(self)} configurations have {len(self.groups)} structures"
            fix = "Use .groups, a batch for each structure"
            check.refuse(f"Configs: {problem}", fix=fix)
        return self.groups[0].config

    @property
    def groups(self) -> tuple[Group, ...]:
        """The configurations as batches, one for each structure."""
        return tuple(
            Group(b.indices, b.form.config(b.leaves), _axes(b)) for b in self._by_structure()
        )

    def _by_structure(self) -> list[Batch]:
        if self._batches is None:
            self._batches = _batches(self.space, self.values)
        return self._batches


def _kept(known: list[Dimension], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a configuration that count, as the distributions read them."""
    if not isinstance(values, Mapping):
        problem = f"values={check.shown(values)} is not a dict of values by path"
        check.refuse(problem, error=TypeError)
    paths = [dimension.path for dimension in known]
    for path in values:
        if path not in paths:
            check.refuse(
                f"{path!r} is no path of a distribution", fix=check.nearest(str(path), paths)
            )
    found: dict[str, Any] = {}
    for path, distribution, _ in (d for d in known if d.counts(found)):
        if path not in values:
            check.refuse(f"{path!r} has no value", expected=f"one of {check.shown(distribution)}")
        with check.inside(path):
            value = distribution.accepted(values[path])
        is_array = isinstance(value, (np.generic, np.ndarray, jax.Array))
        found[path] = value.item() if is_array else value
    return found


def _batches(space: PyTree, values: Sequence[dict[str, Any]]) -> list[Batch]:
    """Configurations with the same options and integers are filled at once, as arrays.

    Their results are joined where integers and options turn out to be numbers like any other.
    """
    counted = {d.path: d.distribution.count is not None for d in dimensions(space)}
    alike: dict[Any, list[int]] = {}
    for i, config in enumerate(values):
        key = tuple((p, type(v), v) if counted[p] else (p,) for p, v in config.items())
        alike.setdefault(key, []).append(i)
    found: dict[Any, list[Batch]] = {}
    for rows in alike.values():
        first = values[rows[0]]
        columns = {
            path: value
            if counted[path]
            else jnp.asarray([values[i][path] for i in rows], jnp.result_type(float))
            for path, value in first.items()
        }
        _, single = split(fill(space, first))
        form, leaves = split(fill(space, columns))
        axes = tuple(
            None if np.ndim(many) == np.ndim(one) else 0
            for one, many in zip(single, leaves, strict=True)
        )
        # The numbers of the rows, which the form leaves aside, so that one leaf has the axis.
        leaves.append(jnp.arange(len(rows)))
        found.setdefault(form, []).append(Batch(form, np.array(rows), leaves, (*axes, 0)))
    return [join(batches) for batches in found.values()]


def _axes(batch: Batch) -> PyTree:
    """The tree of axes: that of the configuration with an axis or None for each leaf."""
    return batch.form.config(batch.axes, structure=False)


# ---- points of the unit cube --------------------------------------------------------------------


@explained()
def from_unit(space: PyTree, u: ArrayLike) -> Configs:
    """Convert points of the unit cube into configurations.

    **Value** the coordinate j of a point is mapped by the quantile function of the j-th
    distribution.

    Args:
      space: as for ``distributions``.
      u: numbers in [0, 1], shape (n, d) for d distributions.

    Returns:
      n ``Configs``. Coordinates inside options that were not chosen are left aside.

    Raises:
      ValueError: a shape that is not (n, d), a space without distributions.

    Example:
      >>> import gradkit as gk
      >>> space = gk.sgd(gk.search.uniform(0.0, 2.0))
      >>> configs = gk.search.from_unit(space, [[0.25], [1.0]])
      >>> assert configs.values == ({"learning_rate": 0.5}, {"learning_rate": 2.0})
    """
    known = needed(space)
    points = np.asarray(u, np.float64)
    if points.ndim != 2 or points.shape[1] != len(known):
        problem = f"u has the shape {list(points.shape)}"
        check.refuse(problem, expected=f"[n, {len(known)}], a column for each distribution")
    columns = [_values(d.distribution, points[:, j]) for j, d in enumerate(known)]
    return Configs(space, [_active(known, row) for row in zip(*columns, strict=True)])


@explained()
def to_unit(space: PyTree, configs: Configs | Trials | Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Convert configurations into points of the unit cube.

    **Value** the coordinate j is the value of the j-th distribution's cumulative distribution
    function; of an integer or an option the middle of its interval, and 0.5 for a distribution
    that a configuration does not have.

    Args:
      space: as for ``distributions``.
      configs: ``Configs``, ``Trials``, or dicts path -> value.

    Returns:
      an array (n, d) in float64 for n configurations and d distributions.

    Raises:
      ValueError: a space without distributions.

    Example:
      >>> import gradkit as gk
      >>> space = gk.sgd(gk.search.uniform(0.0, 2.0))
      >>> assert gk.search.to_unit(space, [{"learning_rate": 0.5}]).tolist() == [[0.25]]
    """
    known = needed(space)
    return np.array(
        [
            [d.distribution.place(c[d.path]) if d.path in c else 0.5 for d in known]
            for c in _dicts(configs)
        ],
        np.float64,
    ).reshape(-1, len(known))


def _dicts(configs: Configs | Trials | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if isinstance(configs, Configs):
        return list(configs.values)
    return list(configs.configs if isinstance(configs, Trials) else configs)


def _values(distribution: Distribution, u: np.ndarray) -> list[Any]:
    found = np.asarray(distribution.quantile(u)).tolist()
    if not isinstance(distribution, Choice):
        return found
    labels = distribution.labels
    return [labels[i] for i in found]


def _active(known: list[Dimension], row: Sequence[Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for dimension, value in zip(known, row, strict=True):
        if dimension.counts(config):
            config[dimension.path] = value
    return config


# ---- sample, grid, refine -----------------------------------------------------------------------


@explained()
def sample(space: PyTree, key: Key, n: int, *, method: str = "random") -> Configs:
    """Sample configurations of a search space, as a batched transform.

    **Value** each distribution's quantile function at points of the unit cube.

    Args:
      space: a transform with distributions among its arguments, or any tree with distributions and
        such transforms at its leaves.
      key: a random key or a seed.
      n: how many, ≥ 1.
      method: ``"random"``, or points that leave smaller gaps: ``"sobol"`` (best for n a power of
        two), ``"halton"``, ``"latin_hypercube"`` (each of n equal parts of every axis has one).

    Returns:
      ``Configs``: ``.batched`` for ``vmap``, ``.groups`` where structures differ, ``.values`` as
      dicts.

    Raises:
      ValueError: a space without distributions, n < 1, an unknown method.

    Example:
      >>> import gradkit as gk
      >>> space = gk.sgd(gk.search.log_uniform(1e-3, 1.0), momentum=gk.search.uniform(0.0, 0.9))
      >>> configs = gk.search.sample(space, 0, 256)
      >>> tx = configs.batched
      >>> assert tx.learning_rate.shape == tx.momentum.shape == (256,)
      >>> assert 0.4 < (tx.learning_rate < 0.0316).mean() < 0.6  # half below the middle of the logs

    Reference:
      J. Bergstra, Y. Bengio, "Random Search for Hyper-Parameter Optimization", 2012.
    """
    check.integer(1, n=n)
    check.one_of(METHODS, method=method)
    count, dims = int(n), len(needed(space))
    key = numerics.as_key(key)
    if method == "random":
        u = np.asarray(jax.random.uniform(key, (count, dims), jnp.float32), np.float64)
        return from_unit(space, u)
    from scipy.stats import qmc  # noqa: PLC0415  what JAX depends on, and slow to import

    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    engines = {"sobol": qmc.Sobol, "halton": qmc.Halton, "latin_hypercube": qmc.LatinHypercube}
    engine = engines[method](d=dims, rng=rng)
    if method == "sobol":  # whole powers of two, which are balanced
        return from_unit(space, engine.random_base2(int(np.ceil(np.log2(count))))[:count])
    return from_unit(space, engine.random(count))


@explained()
def grid(space: PyTree, n: int | Mapping[str, Any] = 5) -> Configs:
    """Make the grid of a search space: all combinations of a few values of each distribution.

    **Value** n values of a range at equal distances, its ends included, on the distribution's own
    scale; every option of a choice, and of integers all of them or n.

    Args:
      space: as for ``sample``.
      n: how many values of each range, ≥ 1; or for each path how many, or a list of the values.

    Returns:
      ``Configs``, the last distribution varying fastest. Options are combined with what is inside
      them alone.

    Raises:
      ValueError: a path that the space lacks or that ``n`` leaves out, n < 1, an empty list.

    Example:
      >>> import gradkit as gk
      >>> space = gk.sgd(gk.search.log_uniform(1e-3, 1.0), momentum=gk.search.uniform(0.0, 0.9))
      >>> rates = {"learning_rate": [0.01, 0.1, 0.5, 1.0], "momentum": 2}
      >>> configs = gk.search.grid(space, rates)
      >>> assert len(configs) == 8
      >>> assert configs.values[1] == {"learning_rate": 0.01, "momentum": 0.9}
    """
    known = needed(space)
    if isinstance(n, Mapping):
        paths = [dimension.path for dimension in known]
        for path in n:
            if path not in paths:
                check.refuse(
                    f"{path!r} is no path of a distribution", fix=check.nearest(path, paths)
                )
    else:
        check.integer(1, n=n)
    partial: list[dict[str, Any]] = [{}]
    for dimension in known:
        values = _grid_values(dimension, n)
        partial = [
            longer
            for config in partial
            for longer in (
                [config | {dimension.path: value} for value in values]
                if dimension.counts(config)
                else [config]
            )
        ]
    return Configs(space, partial)


def _grid_values(dimension: Dimension, n: Any) -> list[Any]:
    path, distribution, _ = dimension
    if isinstance(n, Mapping):
        if path not in n and not isinstance(distribution, Choice):
            fix = f"Pass how many, or a list of values: {{{path!r}: 5}}"
            check.refuse(f"n has no entry for {path!r}", fix=fix)
        n = n.get(path, 1)
    if isinstance(n, Sequence) and not isinstance(n, str):
        if not n:
            check.refuse(f"n[{path!r}]=[] is empty", expected="at least one value")
        return list(n)
    check.integer(1, **{f"n[{path!r}]": n})
    if isinstance(distribution, Choice):
        return list(distribution.labels)
    count = int(n)
    if distribution.count is not None and distribution.count <= count:
        return list(range(distribution.low, distribution.high + 1))
    u = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
    return list(dict.fromkeys(_values(distribution, u)))


@explained()
def refine(
    space: PyTree,
    trials: Trials | Sequence[Mapping[str, Any]],
    *,
    keep: float = 0.1,
    widen: float = 0.1,
) -> PyTree:
    """Narrow a search space about its best trials: the next, finer round of a search.

    **Value** each range becomes that of the best trials, from the lowest to the highest value, and
    is widened on both sides by a part of the old one, on the distribution's own scale, but never
    beyond its ends, which are rounded to three digits. Choices stay.

    Args:
      space: as for ``sample``.
      trials: the ``Trials`` of a search, or the best configurations as dicts path -> value.
      keep: the part of the trials that counts as best, in (0, 1]; two at least. Not for dicts.
      widen: the margin on each side, as a part of the old range, > 0.

    Returns:
      the space with narrower distributions.

    Raises:
      ValueError: no trial that did not fail, ``keep`` or ``widen`` out of range.

    Example:
      >>> import gradkit as gk
      >>> space = gk.sgd(gk.search.log_uniform(1e-4, 1.0))
      >>> best = [{"learning_rate": 0.01}, {"learning_rate": 0.1}]
      >>> finer = gk.search.refine(space, best, widen=0.125)
      >>> finer
      sgd(search.log_uniform(0.00316, 0.316))
    """
    known = needed(space)
    check.number("0 < x <= 1", lambda v: (v > 0) & (v <= 1), keep=keep)
    check.number("0 < x < inf", lambda v: (v > 0) & np.isfinite(v), widen=widen)
    best = _dicts(trials)
    if isinstance(trials, Trials):
        order = [i for i in trials.ranking() if np.isfinite(trials.scores[i])]
        best = [best[i] for i in order[: max(2, int(np.ceil(keep * len(best))))]]
    if not best:
        check.refuse("trials has no trial with a finite score", expected="at least one")
    new: dict[str, Any] = {}
    for path, distribution, _ in known:
        places = [distribution.place(config[path]) for config in best if path in config]
        if places and not isinstance(distribution, Choice):
            new[path] = _narrowed(distribution, min(places) - widen, max(places) + widen)
    return exchange(space, new)


def _narrowed(distribution: Distribution, first: float, last: float) -> Distribution:
    place = distribution.place
    low, high = (distribution.read(u) for u in (max(first, 0.0), min(last, 1.0)))
    if isinstance(distribution, Integers):
        if low == high:
            low, high = max(low - 1, distribution.low), min(high + 1, distribution.high)
        return distribution.replace(low=low, high=high)
    # To three digits, where that changes little: so that the space reads well.
    low_3, high_3 = (_rounded(distribution, x) for x in (low, high))
    shift = max(abs(place(low_3) - place(low)), abs(place(high_3) - place(high)))
    if shift < 0.1 * (place(high) - place(low)):
        low, high = max(low_3, distribution.low), min(high_3, distribution.high)
    return distribution.replace(low=low, high=high)


def _rounded(distribution: Distribution, x: float) -> float:
    if distribution.arguments.get("complement"):
        return round(1 - float(f"{1 - x:.3g}"), 15)
    return float(f"{x:.3g}")
