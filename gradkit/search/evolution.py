"""Population-based training: hyperparameters that change while a population is trained."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._call import Call
from gradkit.search._trials import Trials
from gradkit.search.configs import sample, to_unit
from gradkit.search.spaces import Dimension, fill, needed
from gradkit.search.tasks import Task
from gradkit.typing import Key, PyTree


class Population(NamedTuple):
    """Hold what population-based training returns: a table, schedules, and the trained members.

    Attributes:
      trials: one row for each member: the hyperparameters of its last round, its score, and the
        losses of all steps along its line of ancestors.
      schedules: path -> values (population, rounds): what the member and its ancestors were trained
        with, round by round.
      parents: for each round and member, the member whose state it went on from (rounds,
        population).
      carries: the carries of the task after the last step, with an axis of members in front:
        trained parameters and optimizer states.
    """

    trials: Trials
    schedules: dict[str, np.ndarray]
    parents: np.ndarray
    carries: PyTree


def population_based(
    task: Task,
    space: PyTree,
    key: Key = 0,
    *,
    steps: int,
    rounds: int = 10,
    population: int = 16,
    fraction: float = 0.25,
    perturbation: float = 0.1,
    resample: float = 0.1,
) -> Population:
    """Train a population that copies its best members and perturbs their hyperparameters.

    **Value** after each round of ``steps`` the members are ranked by their score. The worst
    ``fraction`` of them exploit: each takes the state and the hyperparameters of a member drawn
    from the best ``fraction``. Then they explore: each hyperparameter moves by ± ``perturbation``
    of its range, on the scale of its distribution, or is drawn anew with the probability
    ``resample``. After the last round nobody exploits. A member whose score is not finite ranks
    last.

    All rounds are one compiled program, in which a state is copied as a pytree of arrays: the state
    of the optimizer with the weights. Calls with the same ``task`` and an equal space share it.

    Args:
      task: the training, from ``training`` or of your own.
      space: the search space, whose distributions are ranges of numbers: ``uniform``,
        ``log_uniform``.
      key: a random key or a seed. Members start from different keys.
      steps: how many steps between two rankings, ≥ 1.
      rounds: how many rankings, ≥ 1; a member is trained for ``rounds * steps`` steps.
      population: how many members, ≥ 2.
      fraction: the part that is replaced, and the part that is copied, 0 < fraction ≤ 0.5.
      perturbation: how far a hyperparameter moves, as a part of its range, ≥ 0.
      resample: the probability that it is drawn anew instead, in [0, 1].

    Returns:
      a ``Population``: ``.trials.best()``, ``.schedules``, ``.carries``.

    Raises:
      TypeError: ``task`` is not a ``Task``.
      ValueError: ``steps``, ``rounds`` or ``population`` too small, a space with a choice or
        integers: members of different structures cannot copy each other.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> task = gk.search.training(
      ...     lambda w, batch: (w * batch - 1) ** 2, lambda key: jnp.float32(0), jnp.ones(1)
      ... )
      >>> space = gk.sgd(gk.search.log_uniform(1e-4, 0.5))
      >>> found = gk.search.population_based(task, space, steps=2, rounds=4, population=8)
      >>> assert found.schedules["learning_rate"].shape == (8, 4)
      >>> assert found.trials.best().score == found.trials.scores.min() < 0.5

    Reference: Jaderberg et al. 2017, Population Based Training of Neural Networks,
    arXiv:1711.09846.
    """
    with check.inside("population_based"):
        if not isinstance(task, Task):
            fix = "Make one of a loss: search.training(loss_fn, init_params, batches)"
            check.refuse(f"task={check.shown(task)} is not a Task", fix=fix, error=TypeError)
        check.integer(1, steps=steps, rounds=rounds)
        check.integer(2, population=population)
        check.number("0 < x <= 0.5", lambda v: (v > 0) & (v <= 0.5), fraction=fraction)
        check.non_negative(perturbation=perturbation)
        check.probability(resample=resample)
        known = needed(space)
        for path, law, _ in known:
            if law.count is not None:
                fix = "Search each structure by itself, or use run, successive_halving or bayesian"
                problem = f"{path}={check.shown(law)} is structure, which members cannot copy"
                check.refuse(problem, expected="uniform or log_uniform", fix=fix)
        for_configs, for_members, for_rounds = jax.random.split(numerics.as_key(key), 3)
    n, length = int(population), int(rounds)
    first = sample(space, for_configs, n, method="latin_hypercube")
    u = jnp.asarray(to_unit(space, first), float)
    count = max(1, math.floor(float(fraction) * n))
    keys = jax.random.split(for_members, n)
    amounts = (jnp.asarray(perturbation, u.dtype), jnp.asarray(resample, u.dtype))
    carries, history = _evolve(
        task, _Still(space), (int(steps), length, count), u, keys, for_rounds, *amounts
    )
    return _population(space, known, carries, *map(np.asarray, history))


class _Still:
    """A space as a static argument, equal to one of the same distributions and constants."""

    def __init__(self, space: PyTree) -> None:
        self.space = space
        leaves, tree = jax.tree.flatten(space, is_leaf=lambda leaf: isinstance(leaf, Call))
        self._identity = (tree, tuple((type(leaf), leaf) for leaf in leaves))
        try:
            hash(self._identity)
        except TypeError:  # arrays among the leaves
            self._identity = (id(space), ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Still) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _evolve(
    task: Task, still: _Still, sizes: tuple[int, int, int], u: Any, keys: Any, key: Any,
    perturbation: Any, resample: Any,
) -> tuple[PyTree, tuple[jax.Array, ...]]:  # fmt: skip
    """All rounds; the history: parents, points, losses and scores by round."""
    steps, rounds, count = sizes
    known, n = needed(still.space), u.shape[0]
    config = lambda point: fill(
        still.space, {d.path: d.distribution.quantile(point[j]) for j, d in enumerate(known)}
    )
    dtype = jnp.result_type(float)

    def train(point: Any, carry: Any) -> Any:
        tx = config(point)

        def step(carry: Any, _: None) -> Any:
            carry, loss = task.step(tx, carry)
            return carry, loss.astype(dtype)

        carry, losses = lax.scan(step, carry, None, steps)
        score = losses[-1] if task.evaluate is None else task.evaluate(tx, carry).astype(dtype)
        return carry, losses, jnp.where(jnp.isfinite(score), score, jnp.inf)

    def explore(key: Any, points: Any) -> Any:
        draws = jax.random.uniform(key, (3, *points.shape), points.dtype)
        moved = jnp.where(draws[0] < 0.5, points - perturbation, points + perturbation)
        return jnp.where(draws[1] < resample, draws[2], jnp.clip(moved, 0.0, 1.0))

    def select(key: Any, scores: Any, points: Any) -> Any:
        """Which member each goes on from, and with which hyperparameters."""
        drawing, moving = jax.random.split(key)
        order = jnp.argsort(scores)
        chosen = order[jax.random.randint(drawing, (count,), 0, count)]
        parents = jnp.arange(n).at[order[n - count :]].set(chosen)
        worst = jnp.zeros((n,), bool).at[order[n - count :]].set(True)
        points = points[parents]
        return parents, jnp.where(worst[:, None], explore(moving, points), points)

    def one(state: Any, given: Any) -> Any:
        points, carries, scores = state
        i, key = given
        parents, changed = select(key, scores, points)
        parents = jnp.where(i > 0, parents, jnp.arange(n))
        points = jnp.where(i > 0, changed, points)
        carries = jax.tree.map(lambda leaf: leaf[parents], carries)
        carries, losses, scores = jax.vmap(train)(points, carries)
        return (points, carries, scores), (parents, points, losses, scores)

    carries = jax.vmap(lambda point, key: task.init(config(point), key))(u, keys)
    state = (u, carries, jnp.zeros((n,), dtype))
    given = (jnp.arange(rounds), jax.random.split(key, rounds))
    (_, carries, _), history = lax.scan(one, state, given)
    return carries, history


def _population(
    space: PyTree, known: list[Dimension], carries: PyTree, parents: np.ndarray,
    points: np.ndarray, losses: np.ndarray, scores: np.ndarray,
) -> Population:  # fmt: skip
    """The table, with the schedules and curves along the lines of ancestors."""
    rounds, n, steps = losses.shape
    line = np.arange(n)
    u, curves = np.empty((n, rounds, len(known))), np.empty((n, rounds, steps))
    for i in reversed(range(rounds)):
        u[:, i], curves[:, i] = points[i, line], losses[i, line]
        line = parents[i, line]
    schedules = {
        d.path: np.asarray(d.distribution.quantile(u[:, :, j].astype(np.float64)))
        for j, d in enumerate(known)
    }
    configs = [{path: float(values[m, -1]) for path, values in schedules.items()} for m in range(n)]
    budgets = np.full(n, rounds * steps)
    trials = Trials(space, configs, scores[-1], None, list(curves.reshape(n, -1)), budgets)
    return Population(trials, schedules, parents, carries)
