"""Accumulators of scores: the area under the ROC curve of a stream, by bins or exact."""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit.metrics import _accumulator as base
from gradkit.metrics import _curves as curves
from gradkit.metrics import _inputs as inputs
from gradkit.metrics._accumulator import Accumulator, accumulator


@accumulator("low", "high")
class BinnedScores(Accumulator):
    """Accumulate scores by bins: the ROC AUC of any number of samples, with a bound of its error.

    **Value** that of ``roc_auc`` and ``average_precision`` of all samples at once, if the scores in
    a bin were equal. Exact where every bin has one score, as with scores of 8 bits.

    **State** ``positive`` and ``negative``, each (n_bins,), integers, with ``weighted=True``
    floating numbers; ``invalid``, the number of scores that were NaN.

    Args:
      positive: the positives of each bin.
      negative: the negatives of each bin.
      invalid: how many scores were NaN. Under jit they cannot be refused; then all readings are
        NaN.
      low: the lower edge of the first bin.
      high: the upper edge of the last bin.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> seen = gk.metrics.BinnedScores.init(n_bins=10)
      >>> seen = seen.update(jnp.array([0, 1]), jnp.array([0.15, 0.45]))
      >>> seen = seen.update(jnp.array([0, 1]), jnp.array([0.41, 0.85]))
      >>> assert seen.roc_auc() == 0.875 and seen.roc_auc_error() == 0.125  # 0.41 and 0.45 tie
    """

    _rank: ClassVar[int] = 1
    positive: jax.Array
    negative: jax.Array
    invalid: jax.Array
    low: float
    high: float

    @classmethod
    def init(
        cls, n_bins: int = 1024, *, low: float = 0.0, high: float = 1.0, weighted: bool = False
    ) -> "BinnedScores":
        """Return the accumulator of no sample.

        Args:
          n_bins: the number of bins of equal width, ≥ 1.
          low: scores below are in the first bin.
          high: scores above are in the last bin.
          weighted: whether samples will have weights.

        Returns:
          a ``BinnedScores`` of zeros.
        """
        with check.inside("BinnedScores.init"):
            check.integer(1, n_bins=n_bins)
            check.finite(low=low, high=high)
            check.ordered(low=low, high=high)
            zero = base.zeros(int(n_bins), weighted)
        return cls(zero, zero, jnp.zeros((), int), float(low), float(high))

    def update(
        self,
        y_true: ArrayLike,
        y_score: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> "BinnedScores":
        """Add a batch.

        Args:
          y_true: the true labels, 1 or True for positive, of any shape.
          y_score: the score of the positive class, of the same shape.
          sample_weight: weights ≥ 0 of that shape, after ``init(..., weighted=True)``.
          where: bools of that shape; False leaves a sample out.

        Returns:
          a new accumulator.
        """
        self._single()
        with check.inside("BinnedScores.update"):
            positive, score, weight = _batch(y_true, y_score, sample_weight, where)
            batch = _histograms(
                positive, score, weight, self.low, self.high, bins=self.positive.shape[-1]
            )
            positives, negatives = (
                base.add(self.positive, batch[0]),
                base.add(self.negative, batch[1]),
            )
        return BinnedScores(positives, negatives, self.invalid + batch[2], self.low, self.high)

    def _steps(self) -> curves.Steps:
        self._single()
        edges = jnp.linspace(self.low, self.high, self.positive.size + 1, dtype=float)[:-1]
        return curves.of_bins(self.positive, self.negative, edges, self.invalid != 0)

    def roc_auc(self) -> jax.Array:
        """Return the area under the ROC curve, with the scores in a bin as ties.

        Returns:
          a scalar; NaN where one class is missing.
        """
        return curves.area(self._steps())

    def roc_auc_error(self) -> jax.Array:
        """Return how far ``roc_auc`` can be from the exact area: half of the pairs that tie.

        Returns:
          a scalar ≥ 0.
        """
        self._single()
        return curves.ties(self.positive, self.negative)

    def average_precision(self) -> jax.Array:
        """Return the average precision, with the scores in a bin as ties.

        Returns:
          a scalar; NaN where there is no positive.
        """
        return curves.mean_precision(self._steps())

    def roc_curve(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the ROC curve at the lower edges of the bins.

        Returns:
          (fpr, tpr, thresholds), each of length n_bins + 1, from the point (0, 0, ∞).
        """
        return curves.roc(self._steps())


@accumulator()
class Scores(Accumulator):
    """Accumulate scores themselves: the exact ROC AUC and average precision of a stream.

    **Value** ``roc_auc`` and ``average_precision`` of all samples at once.

    **State** ``positive``, ``score`` and ``weight``, each (capacity,), in the order of arrival;
    ``count``, how many there are; ``dropped``, how many found no room.

    Args:
      positive: whether each sample is positive.
      score: the scores.
      weight: the weights; zero where there is room.
      count: the samples kept.
      dropped: the samples not kept. Readings are then NaN, not those of a part of the samples.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> seen = gk.metrics.Scores.init(capacity=8)
      >>> seen = seen.update(jnp.array([0, 1]), jnp.array([0.15, 0.45]))
      >>> more = gk.metrics.Scores.init(capacity=8)
      >>> more = more.update(jnp.array([0, 1]), jnp.array([0.41, 0.85]))
      >>> assert (seen + more).roc_auc() == 1.0
    """

    _rank: ClassVar[int] = 1
    positive: jax.Array
    score: jax.Array
    weight: jax.Array
    count: jax.Array
    dropped: jax.Array

    @classmethod
    def init(cls, capacity: int) -> "Scores":
        """Return the accumulator of no sample.

        Args:
          capacity: for how many samples there is room, ≥ 1.

        Returns:
          a ``Scores`` without samples.
        """
        with check.inside("Scores.init"):
            check.integer(1, capacity=capacity)
        none, zeros = jnp.zeros((), int), jnp.zeros(int(capacity), float)
        return cls(jnp.zeros(int(capacity), bool), zeros, zeros, none, none)

    def update(
        self,
        y_true: ArrayLike,
        y_score: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> "Scores":
        """Add a batch. Samples of weight zero take no room.

        Args:
          y_true: the true labels, 1 or True for positive, of any shape.
          y_score: the score of the positive class, of the same shape.
          sample_weight: weights ≥ 0 of that shape; 1 by default.
          where: bools of that shape; False leaves a sample out.

        Returns:
          a new accumulator.

        Raises:
          ValueError: no room, where that is known.
        """
        self._single()
        with check.inside("Scores.update"):
            given = _batch(y_true, y_score, sample_weight, where)
            made = _put(self, *given)
            dropped = inputs.known(made.dropped)
            if dropped is not None and dropped > 0:
                problem = f"capacity={self.score.size} is too small by {dropped}"
                check.refuse(problem, fix="Begin with a larger Scores.init(capacity)")
        return made

    def merge(self, other: "Scores") -> "Scores":
        """Return the samples of both, with the room of both.

        Args:
          other: another ``Scores``; its capacity may differ.

        Returns:
          a new accumulator.
        """
        with check.inside("Scores.merge"):
            if not isinstance(other, Scores):
                check.refuse(f"other={check.shown(other)} is not a Scores", error=TypeError)
        parts = jax.tree.map(jnp.atleast_1d, (self, other))
        return _compact(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *parts))

    def psum(self, axis_name: Any) -> "Scores":
        """Gather the samples of all devices along an axis of a mesh, inside ``shard_map``.

        Args:
          axis_name: the name of a mapped axis, or several.

        Returns:
          the accumulator of all samples, on every device, with the room of all.
        """
        size, mine = lax.axis_size(axis_name), lax.axis_index(axis_name)

        def gather(x: Any) -> Any:
            # Unlike the result of all_gather, a sum is known to be the same on all devices.
            number = x.astype(int) if x.dtype == bool else x
            rows = jnp.zeros((size, *x.shape), number.dtype).at[mine].set(number)
            return lax.psum(rows, axis_name).astype(x.dtype)

        return jax.tree.map(gather, self).collapse()

    def collapse(self) -> "Scores":
        """Merge accumulators stacked along a first axis.

        Returns:
          an accumulator with the room of all.
        """
        return _compact(jax.tree.map(jnp.ravel, self))

    def roc_auc(self) -> jax.Array:
        """Return the exact area under the ROC curve.

        Returns:
          a scalar; NaN where one class is missing or a sample was dropped.
        """
        return curves.area(self._steps())

    def average_precision(self) -> jax.Array:
        """Return the exact average precision.

        Returns:
          a scalar; NaN where there is no positive or a sample was dropped.
        """
        return curves.mean_precision(self._steps())

    def _steps(self) -> curves.Steps:
        self._single()
        steps = curves.above(self.positive, self.score, self.weight)
        return curves.invalid_if(self.dropped != 0, *steps)


def _batch(
    y_true: Any, y_score: Any, sample_weight: Any, where: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    true = inputs.labels("y_true", y_true)
    weight = inputs.weights(sample_weight, where, true)
    score = inputs.scores("y_score", y_score, true, weight, classes=False)
    inputs.in_range(2, weight, y_true=true)
    return (true == 1).ravel(), score.ravel().astype(float), weight.ravel()


@functools.partial(jax.jit, static_argnames=("bins",))
def _histograms(
    positive: Any, score: Any, weight: Any, low: Any, high: Any, *, bins: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The weights of positives and of negatives in each bin, and the number of NaN."""
    nan = jnp.isnan(score)
    place = jnp.clip((score - low) / (high - low), 0, 1) * bins
    place = jnp.minimum(jnp.where(nan, 0, place).astype(int), bins - 1)
    zero = jnp.zeros((), weight.dtype)
    both = jnp.stack([jnp.where(positive, weight, zero), jnp.where(positive, zero, weight)])
    counts = jnp.zeros((2, bins), weight.dtype).at[:, place].add(both)
    return counts[0], counts[1], jnp.sum(nan & (weight != 0), dtype=int)


@jax.jit
def _put(seen: Scores, positive: Any, score: Any, weight: Any) -> Scores:
    """Write samples to the first free places."""
    used = weight != 0
    place = seen.count + jnp.cumsum(used, dtype=seen.count.dtype) - 1
    place = jnp.where(used, place, seen.score.size)
    new = jnp.sum(used, dtype=seen.count.dtype)
    kept = jnp.minimum(seen.count + new, seen.score.size)
    return Scores(
        seen.positive.at[place].set(positive, mode="drop"),
        seen.score.at[place].set(score, mode="drop"),
        seen.weight.at[place].set(weight.astype(seen.weight.dtype), mode="drop"),
        kept,
        seen.dropped + seen.count + new - kept,
    )


@jax.jit
def _compact(parts: Scores) -> Scores:
    """Parts one after the other as one, the samples that are used first."""
    order = jnp.argsort(parts.weight == 0, stable=True)
    positive, score, weight = (x[order] for x in (parts.positive, parts.score, parts.weight))
    return Scores(positive, score, weight, jnp.sum(parts.count), jnp.sum(parts.dropped))
