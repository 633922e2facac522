"""Accumulators: metrics over batches, devices and processes, as pytrees that add."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.metrics import _accumulator as base
from gradkit.metrics import _inputs as inputs
from gradkit.metrics import _tally as tally
from gradkit.metrics import calibration
from gradkit.metrics._accumulator import Accumulator, accumulator


@accumulator()
class Mean(Accumulator):
    """Accumulate a weighted mean, such as that of a loss, over batches and devices.

    **Value** Σ w x / Σ w.

    **State** ``total`` and ``weight``, two scalars.

    Args:
      total: Σ w x.
      weight: Σ w.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> mean = gk.metrics.Mean.init()
      >>> mean = mean.update(jnp.array([1.0, 2.0, 3.0])).update(jnp.array([6.0]))
      >>> assert mean.compute() == 3.0  # of four values, not of two batches
    """

    _rank: ClassVar[int] = 0
    total: jax.Array
    weight: jax.Array

    @classmethod
    def init(cls) -> "Mean":
        """Return the accumulator of no sample.

        Returns:
          a ``Mean`` in the default float dtype.
        """
        return cls(jnp.zeros((), float), jnp.zeros((), float))

    def update(
        self,
        values: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> "Mean":
        """Add the values of a batch.

        Args:
          values: real numbers of any shape.
          sample_weight: weights ≥ 0 of the same shape; 1 by default.
          where: bools of the same shape; False leaves a value out, NaN too.

        Returns:
          a new accumulator.
        """
        self._single()
        with check.inside("Mean.update"):
            found = inputs.array("values", values, "real numbers")
            if not numerics.is_number(found) or jnp.iscomplexobj(found):
                problem = f"values is {check.shape_dtype(found)}"
                check.refuse(problem, expected="real numbers", error=TypeError)
            weight = inputs.weights(sample_weight, where, found).astype(self.weight.dtype)
        found = jnp.where(weight == 0, 0, found.astype(self.total.dtype))
        return Mean(self.total + jnp.sum(found * weight), self.weight + jnp.sum(weight))

    def compute(self) -> jax.Array:
        """Return the mean; NaN of no sample.

        Returns:
          a scalar.
        """
        self._single()
        return self.total / self.weight


@accumulator()
class Confusion(Accumulator):
    """Accumulate a confusion matrix: accuracy, precision, recall and F-scores of a stream, exact.

    **Value** C_ij = Σ w [y_true = i] [y_pred = j]. The readings are those of the functions
    ``accuracy``, ``precision``, ``recall`` and ``fbeta`` of all samples at once.

    **State** ``counts`` (C, C) and ``out_of_range``, integers: exact up to 2³¹ − 1 samples in
    32 bits. With ``weighted=True`` floating numbers, exact up to rounding.

    Args:
      counts: the confusion matrix.
      out_of_range: the weight of the samples with a label outside 0, ..., C − 1. Under jit they
        cannot be refused; then all readings are NaN.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> step = jax.jit(lambda seen, t, p: seen.update(t, p))
      >>> seen = gk.metrics.Confusion.init(num_classes=2)
      >>> seen = step(seen, jnp.array([0, 1, 1]), jnp.array([0, 1, 0]))
      >>> seen = step(seen, jnp.array([1, 0, 0]), jnp.array([1, 0, 0]))
      >>> assert jnp.allclose(seen.accuracy(), 5 / 6) and jnp.allclose(seen.recall(), 2 / 3)
    """

    _rank: ClassVar[int] = 2
    counts: jax.Array
    out_of_range: jax.Array

    @classmethod
    def init(cls, num_classes: int, *, weighted: bool = False) -> "Confusion":
        """Return the accumulator of no sample.

        Args:
          num_classes: C ≥ 1.
          weighted: whether samples will have weights.

        Returns:
          a ``Confusion`` of zeros.
        """
        with check.inside("Confusion.init"):
            check.integer(1, num_classes=num_classes)
            zero = base.zeros((), weighted)
        return cls(jnp.zeros((int(num_classes),) * 2, zero.dtype), zero)

    def update(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> "Confusion":
        """Add the labels of a batch.

        Args:
          y_true: the true labels, integers or bools of any shape.
          y_pred: the predicted labels, of the same shape.
          sample_weight: weights ≥ 0 of that shape, after ``init(..., weighted=True)``.
          where: bools of that shape; False leaves a sample out, such as the padding of a batch.

        Returns:
          a new accumulator.
        """
        self._single()
        with check.inside("Confusion.update"):
            true, pred = inputs.pair(y_true, y_pred)
            weight = inputs.weights(sample_weight, where, true)
            count = self.counts.shape[-1]
            inputs.in_range(count, weight, y_true=true, y_pred=pred)
            counts, outside = tally.tally(true, pred, weight, count=count)
            return Confusion(base.add(self.counts, counts), base.add(self.out_of_range, outside))

    def accuracy(self) -> jax.Array:
        """Return the fraction of labels that are predicted right.

        Returns:
          a scalar; NaN of no sample.
        """
        self._single()
        return tally.accuracy(self.counts, self.out_of_range)

    def precision(
        self,
        *,
        pos_label: int = 1,
        average: str | None = "binary",
        zero_division: float = 0.0,
    ) -> jax.Array:
        """Return the precision, as ``gk.metrics.precision`` does.

        Args:
          pos_label: the class to report for ``average="binary"``.
          average: ``"binary"``, ``"macro"``, ``"micro"``, ``"weighted"`` or None for every class.
          zero_division: the value of a class that is never predicted.

        Returns:
          a scalar, or an array (C,).
        """
        return self._reading(tally.precision, average, pos_label, zero_division)

    def recall(
        self,
        *,
        pos_label: int = 1,
        average: str | None = "binary",
        zero_division: float = 0.0,
    ) -> jax.Array:
        """Return the recall, as ``gk.metrics.recall`` does.

        Args:
          pos_label: the class to report for ``average="binary"``.
          average: ``"binary"``, ``"macro"``, ``"micro"``, ``"weighted"`` or None for every class.
          zero_division: the value of a class without samples.

        Returns:
          a scalar, or an array (C,).
        """
        return self._reading(tally.recall, average, pos_label, zero_division)

    def fbeta(
        self,
        *,
        beta: float = 1.0,
        pos_label: int = 1,
        average: str | None = "binary",
        zero_division: float = 0.0,
    ) -> jax.Array:
        """Return the F-score, as ``gk.metrics.fbeta`` does.

        Args:
          beta: how many times as much the recall counts as the precision.
          pos_label: the class to report for ``average="binary"``.
          average: ``"binary"``, ``"macro"``, ``"micro"``, ``"weighted"`` or None for every class.
          zero_division: the value of a class without samples and predictions.

        Returns:
          a scalar, or an array (C,).
        """
        return self._reading(tally.fbeta, average, pos_label, zero_division, beta=beta)

    def _reading(
        self, read: Any, average: Any, pos_label: Any, zero_division: Any, **options: Any
    ) -> jax.Array:
        self._single()
        with check.inside(f"Confusion.{read.__name__}"):
            options |= {"average": average, "pos_label": pos_label, "zero_division": zero_division}
            return read(self.counts, self.out_of_range, **options)


@accumulator()
class Calibration(Accumulator):
    """Accumulate the bins of a reliability diagram, and read the calibration error of a stream.

    **Value** that of ``calibration_error`` of all samples at once, up to rounding.

    **State** ``weight``, ``hits`` and ``probability``, each (n_bins,), floating numbers.

    Args:
      weight: Σ w of each bin.
      hits: Σ w y of each bin, of the outcomes y, 0 or 1.
      probability: Σ w p of each bin.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> seen = gk.metrics.Calibration.init(n_bins=5)
      >>> seen = seen.update(jnp.array([0, 1]), jnp.array([0.2, 0.2]))
      >>> seen = seen.update(jnp.array([1, 1]), jnp.array([0.9, 0.9]))
      >>> assert jnp.allclose(seen.compute(), 0.2)  # (0.3 + 0.1) / 2
    """

    _rank: ClassVar[int] = 1
    weight: jax.Array
    hits: jax.Array
    probability: jax.Array

    @classmethod
    def init(cls, n_bins: int = 15) -> "Calibration":
        """Return the accumulator of no sample.

        Args:
          n_bins: the number of bins of equal width, ≥ 1.

        Returns:
          a ``Calibration`` of zeros.
        """
        with check.inside("Calibration.init"):
            check.integer(1, n_bins=n_bins)
        return cls(*(jnp.zeros(int(n_bins), float) for _ in range(3)))

    def update(
        self,
        y_true: ArrayLike,
        y_prob: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> "Calibration":
        """Add a batch.

        Args:
          y_true: the true labels, integers or bools of any shape.
          y_prob: the probability of label 1, of the same shape, or probabilities with a last axis
            of classes.
          sample_weight: weights ≥ 0, of the shape of ``y_true``; 1 by default.
          where: bools of the shape of ``y_true``; False leaves a sample out.

        Returns:
          a new accumulator.
        """
        self._single()
        with check.inside("Calibration.update"):
            given = calibration.outcomes(y_true, y_prob, sample_weight, where)
        batch = calibration.sums(*given, n_bins=self.weight.shape[-1])
        totals = (self.weight, self.hits, self.probability)
        return Calibration(*(base.add(a, b) for a, b in zip(totals, batch, strict=True)))

    def compute(self, *, norm: str = "l1") -> jax.Array:
        """Return the calibration error, as ``calibration_error`` does.

        Args:
          norm: ``"l1"``, ``"l2"`` or ``"max"``.

        Returns:
          a scalar; NaN of no sample.
        """
        self._single()
        with check.inside("Calibration.compute"):
            check.one_of(calibration.NORMS, norm=norm)
        return calibration.error(self.weight, self.hits, self.probability, norm=norm)

    def curve(self) -> tuple[jax.Array, jax.Array]:
        """Return the points of a reliability diagram.

        Returns:
          (mean outcome, mean probability) of each bin, as ``sklearn.calibration.calibration_curve``
          has them; NaN of an empty bin.
        """
        self._single()
        return calibration.curve(self.weight, self.hits, self.probability)
