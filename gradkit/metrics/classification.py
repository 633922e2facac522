"""Metrics of predicted labels: accuracy, precision, recall, F-scores, the confusion matrix."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit._explain import explained
from gradkit.metrics import _inputs as inputs
from gradkit.metrics import _tally as tally


@explained()
def accuracy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Compute the accuracy of a classifier: the fraction of labels that are predicted right.

    **Value** Σ w [y_true = y_pred] / Σ w.

    Args:
      y_true: the true labels, integers or bools of any shape.
      y_pred: the predicted labels, of the same shape.
      normalize: False gives the sum Σ w [y_true = y_pred], without weights the integer count.
      sample_weight: w ≥ 0, of the shape of ``y_true``; 1 by default.
      where: bools of the shape of ``y_true``; False leaves a sample out.

    Returns:
      a scalar. Under jit, NaN where no sample is left.

    Raises:
      ValueError: other shapes, no sample, negative weights.
      TypeError: labels that are not integers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_pred = jnp.array([0, 1, 2, 2]), jnp.array([0, 2, 2, 2])
      >>> assert gk.metrics.accuracy(y_true, y_pred) == 0.75

    **Differs from scikit-learn** (``accuracy_score``): labels have any shape, and ``where`` leaves
    samples out.
    """
    true, pred = inputs.pair(y_true, y_pred)
    weight = inputs.weights(sample_weight, where, true)
    inputs.some(weight)
    check.boolean(normalize=normalize)
    return _fraction(true == pred, weight, normalize=bool(normalize))


@explained()
def top_k_accuracy(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    k: int = 2,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Compute the top-k accuracy: the fraction of labels among the k classes scored highest.

    **Value** Σ w [rank of y_true < k] / Σ w; the rank is the number of classes with a higher score,
    or with the same score and a larger index.

    Args:
      y_true: the true labels, integers of any shape.
      y_score: a score for each class: the shape of ``y_true`` and a last axis of classes.
      k: the number of guesses, ≥ 1; from the number of classes on every sample is a hit.
      normalize: False gives the sum of the weights of the hits.
      sample_weight: w ≥ 0, of the shape of ``y_true``; 1 by default.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its scores.

    Returns:
      a scalar. Under jit, NaN where no sample is left; a score that is NaN for the true class, and
      a label out of range, are no hit.

    Raises:
      ValueError: other shapes, labels out of range, NaN, no sample, k < 1.
      TypeError: labels that are not integers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_score = jnp.array([[0.5, 0.2, 0.3], [0.3, 0.4, 0.3], [0.2, 0.1, 0.7]])
      >>> assert gk.metrics.top_k_accuracy(jnp.array([1, 2, 2]), y_score, k=2) == 2 / 3

    **Differs from scikit-learn** (``top_k_accuracy_score``): the scores always have an axis of
    classes, two for a binary problem.
    """
    true = inputs.labels("y_true", y_true)
    weight = inputs.weights(sample_weight, where, true)
    score = inputs.scores("y_score", y_score, true, weight, classes=True)
    inputs.some(weight)
    inputs.in_range(score.shape[-1], weight, y_true=true)
    check.integer(1, k=k)
    check.boolean(normalize=normalize)
    hits = _is_in_top(true, score, k=int(k))
    return _fraction(hits, weight, normalize=bool(normalize))


@functools.partial(jax.jit, static_argnames=("normalize",))
def _fraction(hits: Any, weight: Any, *, normalize: bool) -> jax.Array:
    total = jnp.sum(jnp.where(hits, weight, jnp.zeros((), weight.dtype)))
    return tally.real(total) / tally.real(jnp.sum(weight)) if normalize else total


@functools.partial(jax.jit, static_argnames=("k",))
def _is_in_top(true: Any, score: Any, *, k: int) -> jax.Array:
    """Whether a label is among the first k in the order of scores; of equal ones the last wins."""
    count = score.shape[-1]
    index = jax.lax.broadcasted_iota(true.dtype, score.shape, score.ndim - 1)
    label = true[..., None]
    own = jnp.take_along_axis(score, jnp.clip(label, 0, count - 1), axis=-1)
    before = (score > own) | ((score == own) & (index > label))
    usable = (true >= 0) & (true < count) & (own[..., 0] == own[..., 0])
    return usable & (jnp.sum(before, axis=-1) < k)


@explained()
def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    num_classes: int | None = None,
    sample_weight: ArrayLike | None = None,
    normalize: str | None = None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Compute the confusion matrix: how often class i is predicted as class j.

    **Value** C_ij = Σ w [y_true = i] [y_pred = j].

    Args:
      y_true: the true labels 0, ..., C − 1, integers or bools of any shape.
      y_pred: the predicted labels, of the same shape.
      num_classes: C ≥ 1; by default the largest label plus one. Under jit it is required, and
        static.
      sample_weight: w ≥ 0, of the shape of ``y_true``; 1 by default.
      normalize: ``"true"`` divides rows by their sums, ``"pred"`` columns, ``"all"`` the whole
        matrix; what is empty stays zero.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its labels.

    Returns:
      an array (C, C): integers without weights and ``normalize``, else floating numbers. Under jit,
      samples with a label out of range are left out.

    Raises:
      ValueError: other shapes, labels out of range, no sample, negative weights.
      TypeError: labels that are not integers, ``num_classes`` missing under jit.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_pred = jnp.array([0, 1, 1, 1]), jnp.array([0, 0, 1, 1])
      >>> assert gk.metrics.confusion_matrix(y_true, y_pred).tolist() == [[1, 0], [1, 2]]

    **Differs from scikit-learn**: labels are 0, ..., C − 1, and ``num_classes`` replaces
    ``labels``; a class without samples has a row of zeros.
    """
    if normalize is not None:
        check.one_of(("true", "pred", "all"), normalize=normalize)
    counts, _ = _tally(y_true, y_pred, num_classes, sample_weight, where)
    return counts if normalize is None else tally.normalized(counts, normalize=normalize)


@explained()
def precision(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    num_classes: int | None = None,
    pos_label: int = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: float = 0.0,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Compute the precision: which fraction of the samples predicted as a class are of the class.

    **Value** P_i = C_ii / Σ_k C_ki, of the confusion matrix C.

    Args:
      y_true: the true labels 0, ..., C − 1, integers or bools of any shape.
      y_pred: the predicted labels, of the same shape.
      num_classes: C; by default 2 for ``average="binary"``, else the largest label plus one. Under
        jit it is required unless ``average="binary"``.
      pos_label: the class to report for ``average="binary"``.
      average: ``"binary"`` reports one of two classes; None every class; ``"macro"`` their mean;
        ``"weighted"`` their mean weighted by the true samples of each; ``"micro"`` counts all
        classes together.
      sample_weight: weights ≥ 0, of the shape of ``y_true``; 1 by default.
      zero_division: the value of a class that is never predicted: 0, 1, or NaN, which a mean leaves
        out.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its labels.

    Returns:
      a scalar, or with ``average=None`` an array (C,). Under jit, NaN where a label is out of
      range.

    Raises:
      ValueError: other shapes, labels out of range, no sample, more than two classes for
        ``average="binary"``.
      TypeError: labels that are not integers, ``num_classes`` missing under jit.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_pred = jnp.array([0, 1, 1, 0]), jnp.array([1, 1, 1, 0])
      >>> assert jnp.allclose(gk.metrics.precision(y_true, y_pred), 2 / 3)
      >>> each = gk.metrics.precision(y_true, y_pred, average=None)
      >>> assert jnp.allclose(each, jnp.array([1, 2 / 3]))

    **Differs from scikit-learn** (``precision_score``): ``num_classes`` replaces ``labels``, so
    that classes without samples count in a mean; ``zero_division`` is 0 without a warning.
    """
    matrix = _tally(y_true, y_pred, _binary(num_classes, average), sample_weight, where)
    return tally.precision(
        *matrix, average=average, pos_label=pos_label, zero_division=zero_division
    )


@explained()
def recall(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    num_classes: int | None = None,
    pos_label: int = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: float = 0.0,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Compute the recall (sensitivity): which fraction of the samples of a class are found.

    **Value** R_i = C_ii / Σ_k C_ik, of the confusion matrix C.

    Args:
      y_true: the true labels 0, ..., C − 1, integers or bools of any shape.
      y_pred: the predicted labels, of the same shape.
      num_classes: C, as in ``precision``.
      pos_label: the class to report for ``average="binary"``.
      average: ``"binary"``, ``"macro"``, ``"micro"``, ``"weighted"`` or None, as in ``precision``.
      sample_weight: weights ≥ 0, of the shape of ``y_true``; 1 by default.
      zero_division: the value of a class without samples: 0, 1, or NaN, which a mean leaves out.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its labels.

    Returns:
      a scalar, or with ``average=None`` an array (C,). Under jit, NaN where a label is out of
      range.

    Raises:
      ValueError: other shapes, labels out of range, no sample, more than two classes for
        ``average="binary"``.
      TypeError: labels that are not integers, ``num_classes`` missing under jit.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_pred = jnp.array([0, 1, 1, 1]), jnp.array([1, 1, 1, 0])
      >>> assert jnp.allclose(gk.metrics.recall(y_true, y_pred), 2 / 3)

    **Differs from scikit-learn** (``recall_score``): as ``precision`` does.
    """
    matrix = _tally(y_true, y_pred, _binary(num_classes, average), sample_weight, where)
    return tally.recall(*matrix, average=average, pos_label=pos_label, zero_division=zero_division)


@explained()
def fbeta(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    beta: float = 1.0,
    num_classes: int | None = None,
    pos_label: int = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: float = 0.0,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Compute the F-score, the weighted harmonic mean of precision and recall; F1 by default.

    **Value** F_i = (1 + β²) C_ii / (β² Σ_k C_ik + Σ_k C_ki) = (1 + β²) P R / (β² P + R), of the
    confusion matrix C.

    Args:
      y_true: the true labels 0, ..., C − 1, integers or bools of any shape.
      y_pred: the predicted labels, of the same shape.
      beta: β ≥ 0, how many times as much the recall counts as the precision; 0 is the precision,
        infinity the recall.
      num_classes: C, as in ``precision``.
      pos_label: the class to report for ``average="binary"``.
      average: ``"binary"``, ``"macro"``, ``"micro"``, ``"weighted"`` or None, as in ``precision``.
      sample_weight: weights ≥ 0, of the shape of ``y_true``; 1 by default.
      zero_division: the value of a class without samples and predictions: 0, 1, or NaN, which a
        mean leaves out.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its labels.

    Returns:
      a scalar, or with ``average=None`` an array (C,). Under jit, NaN where a label is out of
      range.

    Raises:
      ValueError: other shapes, labels out of range, no sample, β < 0, more than two classes for
        ``average="binary"``.
      TypeError: labels that are not integers, ``num_classes`` missing under jit.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_pred = jnp.array([0, 1, 1, 0]), jnp.array([1, 1, 1, 0])
      >>> f1 = gk.metrics.fbeta(y_true, y_pred)  # precision 2/3, recall 1
      >>> assert jnp.allclose(f1, 0.8)

    **Differs from scikit-learn** (``fbeta_score``): as ``precision`` does; β is 1 by default.
    """
    matrix = _tally(y_true, y_pred, _binary(num_classes, average), sample_weight, where)
    return tally.fbeta(
        *matrix, beta=beta, average=average, pos_label=pos_label, zero_division=zero_division
    )


def _binary(num_classes: int | None, average: Any) -> int | None:
    return 2 if num_classes is None and average == "binary" else num_classes


def _tally(
    y_true: Any, y_pred: Any, num_classes: Any, sample_weight: Any, where: Any
) -> tuple[jax.Array, jax.Array]:
    true, pred = inputs.pair(y_true, y_pred)
    weight = inputs.weights(sample_weight, where, true)
    inputs.some(weight)
    count = inputs.class_count(num_classes, weight, y_true=true, y_pred=pred)
    return tally.tally(true, pred, weight, count=count)
