"""Metrics of scores: ROC and precision-recall curves, the areas under them, exact with ties."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit._explain import explained
from gradkit.metrics import _curves as curves
from gradkit.metrics import _inputs as inputs

_MEANS = ("macro", "micro", "weighted")


@explained()
def roc_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    pos_label: int = 1,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compute the ROC curve: the true positive rate against the false positive rate.

    **Value** fpr_t = Σ_negatives w [s ≥ t] / Σ_negatives w, tpr_t the same of the positives, for
    every score as the threshold t, from the highest down.

    Args:
      y_true: the true labels, integers or bools of any shape with n elements.
      y_score: the score of the positive class, of the same shape; higher is more positive.
      pos_label: the positive label; all others are negative.
      sample_weight: w ≥ 0, of the shape of ``y_true``; 1 by default.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its score.

    Returns:
      (fpr, tpr, thresholds), each of length n + 1, so that the shapes are the same under jit. The
      first point is (0, 0, ∞). Equal scores repeat one point, and samples that are left out repeat
      the last one. Under jit, NaN where one class is missing or a score is NaN.

    Raises:
      ValueError: other shapes, one class only, three or more classes, NaN, negative weights.
      TypeError: labels that are not integers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_score = jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.4, 0.8])
      >>> fpr, tpr, thresholds = gk.metrics.roc_curve(y_true, y_score)
      >>> assert fpr.tolist() == [0, 0, 0.5, 0.5, 1] and tpr.tolist() == [0, 0.5, 1, 1, 1]

    **Differs from scikit-learn**: repeated points are kept, as is every point on a straight line
    (``drop_intermediate=False``).
    """
    true, score, weight = _binary(y_true, y_score, pos_label, sample_weight, where)
    return curves.roc(curves.above(true, score, weight))


@explained()
def precision_recall_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    pos_label: int = 1,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compute the precision-recall curve over all thresholds of a score.

    **Value** P_t = TP_t / (TP_t + FP_t) and R_t = TP_t / TP, of the samples with a score ≥ t, for
    every score as the threshold t, from the lowest up.

    Args:
      y_true: the true labels, integers or bools of any shape with n elements.
      y_score: the score of the positive class, of the same shape; higher is more positive.
      pos_label: the positive label; all others are negative.
      sample_weight: weights ≥ 0, of the shape of ``y_true``; 1 by default.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its score.

    Returns:
      (precision, recall, thresholds), of length n + 1, n + 1 and n, so that the shapes are the same
      under jit. The last point is (1, 0), without a threshold. Equal scores repeat one point, and
      samples that are left out repeat the first one. Under jit, NaN where there is no positive or a
      score is NaN.

    Raises:
      ValueError: other shapes, no positive, three or more classes, NaN, negative weights.
      TypeError: labels that are not integers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_score = jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])
      >>> precision, recall, thresholds = gk.metrics.precision_recall_curve(y_true, y_score)
      >>> assert recall.tolist() == [1, 1, 0.5, 0.5, 0] and precision.tolist()[-2:] == [1, 1]

    **Differs from scikit-learn**: repeated points are kept.
    """
    given = _binary(y_true, y_score, pos_label, sample_weight, where, negatives=False)
    return curves.precision_recall(curves.above(*given))


@explained()
def roc_auc(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: str | None = "macro",
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Compute the exact area under the ROC curve (AUC, AUROC), with ties.

    **Value** P(s_positive > s_negative) + P(s_positive = s_negative) / 2, of a positive and a
    negative sample drawn by their weights (the Mann–Whitney statistic).

    Args:
      y_true: the true labels, integers or bools of any shape; 1 is positive where there are two.
      y_score: the score of the positive class, of the same shape; or a score for each class, with
        a last axis of classes, each of which is then compared with the rest.
      average: over several classes: ``"macro"`` is their mean, ``"weighted"`` their mean weighted
        by the true samples of each, ``"micro"`` counts all classes together; None reports every
        class.
      sample_weight: weights ≥ 0, of the shape of ``y_true``; 1 by default.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its score.

    Returns:
      a scalar, or an array (C,). Under jit, NaN where one class is missing or a score is NaN.

    Raises:
      ValueError: other shapes, one class only, a class without samples, NaN, negative weights.
      TypeError: labels that are not integers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_score = jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.4, 0.8])
      >>> assert gk.metrics.roc_auc(y_true, y_score) == 0.875

    **Differs from scikit-learn** (``roc_auc_score``): several classes are always
    ``multi_class="ovr"``, and their scores need not sum to 1; there is no ``max_fpr``.

    Reference: Fawcett 2006, https://doi.org/10.1016/j.patrec.2005.10.010.
    """
    return _measure(y_true, y_score, 1, average, sample_weight, where, kind="area")


@explained()
def average_precision(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: str | None = "macro",
    pos_label: int = 1,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Compute the average precision (AP), the area under the precision-recall curve as steps.

    **Value** Σ_t (R_t − R_{t−1}) P_t, over the thresholds t in descending order.

    Args:
      y_true: the true labels, integers or bools of any shape.
      y_score: the score of the positive class, of the same shape; or a score for each class, with
        a last axis of classes, each of which is then compared with the rest.
      average: over several classes, ``"macro"``, ``"weighted"``, ``"micro"`` or None, as in
        ``roc_auc``.
      pos_label: the positive label of a problem with two classes.
      sample_weight: weights ≥ 0, of the shape of ``y_true``; 1 by default.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its score.

    Returns:
      a scalar, or an array (C,). Under jit, NaN where there is no positive or a score is NaN.

    Raises:
      ValueError: other shapes, no positive, a class without samples, NaN, negative weights.
      TypeError: labels that are not integers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_score = jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])
      >>> ap = gk.metrics.average_precision(y_true, y_score)  # ½ · 1 + ½ · ⅔
      >>> assert jnp.allclose(ap, 5 / 6)

    **Differs from scikit-learn** (``average_precision_score``): a problem without a positive is
    refused.
    """
    return _measure(y_true, y_score, pos_label, average, sample_weight, where, kind="precision")


# ---- what the compiled programs compute ---------------------------------------------------------


@jax.jit
def _areas(positive: Any, score: Any, weight: Any) -> dict[str, jax.Array]:
    """Both areas: the sort that they share takes the time."""
    steps = curves.above(positive, score, weight)
    return {"area": curves.area(steps), "precision": curves.mean_precision(steps)}


@jax.jit
def _of_each(true: Any, score: Any, weight: Any) -> tuple[dict[str, jax.Array], jax.Array]:
    """The areas of every class beside the rest, and the weights of the classes."""
    positive, weight = one_hot(true, score), weight.ravel()
    score = score.reshape(positive.shape)
    share = jnp.sum(jnp.where(positive, weight[:, None], jnp.zeros((), weight.dtype)), axis=0)
    return jax.vmap(_areas, in_axes=(1, 1, None))(positive, score, weight), share


@functools.partial(jax.jit, static_argnames=("average",))
def _averaged(each: Any, share: Any, *, average: Any) -> jax.Array:
    if average is None:
        return each
    share = share.astype(each.dtype) if average == "weighted" else jnp.ones_like(each)
    return jnp.sum(each * share) / jnp.sum(share)


@jax.jit
def _of_all(true: Any, score: Any, weight: Any) -> dict[str, jax.Array]:
    """The areas of all classes counted together."""
    positive = one_hot(true, score)
    return _areas(positive.ravel(), score.ravel(), jnp.repeat(weight.ravel(), score.shape[-1]))


def one_hot(true: Any, score: Any) -> jax.Array:
    """Whether each sample is of each class, as a matrix."""
    classes = jnp.arange(score.shape[-1], dtype=true.dtype)
    return true.ravel()[:, None] == classes[None]


# ---- what is refused ----------------------------------------------------------------------------


def _measure(
    y_true: Any,
    y_score: Any,
    pos_label: Any,
    average: Any,
    sample_weight: Any,
    where: Any,
    kind: Any,
) -> jax.Array:
    if average is not None:
        check.one_of(_MEANS, average=average)
    true = inputs.labels("y_true", y_true)
    if jnp.ndim(inputs.array("y_score", y_score, "an array of real scores")) <= true.ndim:
        given = _binary(y_true, y_score, pos_label, sample_weight, where, negatives=kind == "area")
        return _areas(*given)[kind]
    weight = inputs.weights(sample_weight, where, true)
    score = inputs.scores("y_score", y_score, true, weight, classes=True)
    inputs.some(weight)
    inputs.in_range(score.shape[-1], weight, y_true=true)
    _every_class(true, weight, score.shape[-1])
    outside = jnp.any(((true < 0) | (true >= score.shape[-1])) & (weight != 0))
    if average == "micro":
        found = _of_all(true, score, weight)[kind]
    else:
        each, share = _of_each(true, score, weight)
        found = _averaged(each[kind], share, average=average)
    return jnp.where(outside, jnp.nan, found)


def _binary(
    y_true: Any,
    y_score: Any,
    pos_label: Any,
    sample_weight: Any,
    where: Any,
    *,
    negatives: bool = True,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whether each sample is positive, its score and its weight, as vectors."""
    check.integer(None, pos_label=pos_label)
    true = inputs.labels("y_true", y_true)
    weight = inputs.weights(sample_weight, where, true)
    score = inputs.scores("y_score", y_score, true, weight, classes=False)
    inputs.some(weight)
    values, used = inputs.known(true), inputs.known(weight)
    if values is not None and used is not None:
        found = np.unique(values[used != 0])
        if len(found) > 2:
            fix = "Pass y_true == label"
            check.refuse(f"y_true has {len(found)} classes", expected="two classes", fix=fix)
        positive = pos_label in found
        if not positive or (negatives and len(found) < 2):
            missing = "negative" if positive else "positive"
            problem = f"y_true has no {missing} sample: its only label is {found[0]}"
            if len(found) == 2:
                problem = f"pos_label={pos_label} is none of the labels {found[0]} and {found[1]}"
            expected = "samples of both classes" if negatives else "a positive sample"
            check.refuse(problem, expected=expected)
    return (true == pos_label).ravel(), score.ravel(), weight.ravel()


def _every_class(true: Any, weight: Any, count: int) -> None:
    """Refuse scores of classes that no sample has, and a problem of one class."""
    values, used = inputs.known(true), inputs.known(weight)
    if count < 2:
        check.refuse("y_score has one class", expected="two or more")
    if values is None or used is None:
        return
    missing = np.setdiff1d(np.arange(count), values[used != 0])
    if missing.size:
        fix = "Evaluate more samples, or the classes that have some, each by y_true == label"
        problem = f"y_true has no sample of class {missing[0]}"
        check.refuse(problem, expected=f"samples of each of the {count} classes", fix=fix)
