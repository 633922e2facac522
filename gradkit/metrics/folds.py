"""Cross-validation: folds as arrays of indices with masks, over which a fit is mapped."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.metrics import _inputs as inputs
from gradkit.typing import Key


class Folds(NamedTuple):
    """Keep the training and test samples of each split, as rectangular arrays to map over.

    Folds differ in size by a sample or more; shorter rows end in index 0 under a False of the mask.

    Args:
      train: indices (splits, samples) of the training samples.
      train_where: bools of that shape; False for what fills a row.
      test: indices of the test samples.
      test_where: bools of that shape.
    """

    train: jax.Array
    train_where: jax.Array
    test: jax.Array
    test_where: jax.Array


@explained()
def k_fold(
    y: int | ArrayLike,
    n_splits: int = 5,
    *,
    stratify: bool = False,
    groups: ArrayLike | None = None,
    key: Key | None = None,
) -> Folds:
    """Split samples for k-fold cross-validation, plain, stratified by class, or by group.

    **Value** each sample is in the test part of one split and in the training part of the others.
    Without ``key`` the folds are those of scikit-learn's ``KFold``, ``StratifiedKFold`` and
    ``GroupKFold`` without shuffling.

    Args:
      y: the labels of the samples, or how many samples there are.
      n_splits: k ≥ 2.
      stratify: give every fold the same share of every class, to within one sample.
      groups: a label for each sample; the samples of a group stay together. Groups go to the
        smallest fold, the largest first.
      key: shuffles the samples (in their class); None keeps their order. Not for groups.

    Returns:
      a ``Folds``, with k rows.

    Raises:
      ValueError: more folds than samples, than samples of a class, or than groups.
      TypeError: labels that are no integers for ``stratify``.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> y = jnp.array([1.0, 3.0, 2.0, 6.0])
      >>> def error(fold):  # of the mean, on the samples that it was not fitted to
      ...     mean = y[fold.train].mean(where=fold.train_where)
      ...     return jnp.abs(y[fold.test] - mean).mean(where=fold.test_where)
      >>> assert jax.vmap(error)(gk.metrics.k_fold(y, 2)).tolist() == [2.0, 2.0]
    """
    check.integer(2, n_splits=n_splits)
    check.boolean(stratify=stratify)
    labels, count = inputs.samples(y)
    k = int(n_splits)
    if k > count:
        problem = f"n_splits={k} is more than the {count} samples"
        check.refuse(problem, expected=f"2 <= n_splits <= {count}")
    if groups is not None:
        if stratify or key is not None:
            other = "stratify" if stratify else "key"
            fix = "Pass scikit-learn's StratifiedGroupKFold or GroupShuffleSplit to as_folds"
            check.refuse(f"groups and {other} are both given", fix=fix)
        place = _by_group(np.asarray(groups), count, k)
    elif stratify:
        if labels is None or labels.dtype.kind not in "iub":
            problem = f"stratify=True with y={check.shown(y)}"
            check.refuse(problem, expected="integer labels", error=TypeError)
        place = _by_class(labels, k, key)
    else:
        place = _blocks(count, k)
        if key is not None:
            place = place[_permutation(key, count)]
    every = np.arange(count)
    return _rectangular([(every[place != i], every[place == i]) for i in range(k)])


@explained()
def as_folds(
    splits: Any, y: int | ArrayLike | None = None, groups: ArrayLike | None = None
) -> Folds:
    """Convert the splits of a scikit-learn splitter into arrays of indices with masks.

    **Value** row i has the indices of split i.

    Args:
      splits: a splitter of scikit-learn, or any pairs (training indices, test indices).
      y: the labels of the samples, or how many there are, for a splitter.
      groups: the groups of the samples, for a splitter.

    Returns:
      a ``Folds``, with a row for each split.

    Raises:
      ValueError: a sample in both parts of a split, an empty part, no split.
      TypeError: what is neither a splitter nor pairs.

    Example:
      >>> import gradkit as gk
      >>> folds = gk.metrics.as_folds([([0, 1], [2]), ([2], [0, 1])])
      >>> assert folds.test.tolist() == [[2, 0], [0, 1]]
      >>> assert folds.test_where.tolist() == [[True, False], [True, True]]
    """
    if hasattr(splits, "split"):
        labels, count = inputs.samples(y)
        splits = splits.split(np.zeros((count, 1)), labels, groups)
    if not isinstance(splits, Iterable) or isinstance(splits, (str, bytes)):
        problem = f"splits={check.shown(splits)} has no splits"
        check.refuse(problem, expected="a splitter, or pairs of indices", error=TypeError)
    pairs = []
    for i, pair in enumerate(splits):
        try:
            train, test = (np.asarray(part) for part in pair)
        except (TypeError, ValueError):
            train = test = np.zeros(0)
        if any(
            part.ndim != 1 or part.dtype.kind not in "iu" or not part.size for part in (train, test)
        ):
            check.refuse(f"split {i} is not a pair of indices", expected="two integer vectors")
        if min(train.min(), test.min()) < 0:
            check.refuse(f"split {i} has a negative index", expected="indices >= 0")
        both = np.intersect1d(train, test)
        if both.size:
            problem = f"sample {both[0]} is in both parts of split {i}"
            check.refuse(problem, expected="test samples apart from the training samples")
        pairs.append((train, test))
    if not pairs:
        check.refuse("splits is empty", expected="at least one split")
    return _rectangular(pairs)


def _permutation(key: Any, count: int) -> np.ndarray:
    return np.asarray(jax.random.permutation(numerics.as_key(key), count))


def _blocks(count: int, k: int) -> np.ndarray:
    """Folds of samples in a row, the first ones longer by one where they must be."""
    return np.repeat(np.arange(k), count // k + (np.arange(k) < count % k))


def _by_class(labels: np.ndarray, k: int, key: Any) -> np.ndarray:
    """The folds of stratified samples."""
    if labels.ndim != 1:
        problem = f"y is {check.shape_dtype(labels)}"
        check.refuse(problem, expected="a vector of labels")
    classes, first, code, size = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    if size.min() < k:
        few = classes[size.argmin()]
        problem = f"class {few} has {size.min()} samples for n_splits={k}"
        fix = "Take fewer folds, or merge classes"
        check.refuse(problem, expected="a sample of each class for each fold", fix=fix)
    code = np.argsort(np.argsort(first))[code]  # classes in the order of their first samples
    ordered, place = np.sort(code), np.zeros(len(labels), int)
    shares = np.stack([np.bincount(ordered[i::k], minlength=len(classes)) for i in range(k)])
    order = np.arange(len(labels)) if key is None else _permutation(key, len(labels))
    for c in range(len(classes)):
        place[order[code[order] == c]] = np.repeat(np.arange(k), shares[:, c])
    return place


def _by_group(groups: np.ndarray, count: int, k: int) -> np.ndarray:
    """The folds of samples that stay together."""
    if groups.shape != (count,):
        problem = f"groups is {check.shape_dtype(groups)} for {count} samples"
        check.refuse(problem, expected=f"shape [{count}]")
    names, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < k:
        problem = f"n_splits={k} is more than the {len(names)} groups"
        check.refuse(problem, expected=f"2 <= n_splits <= {len(names)}")
    total, place = np.zeros(k, int), np.zeros(len(names), int)
    for group in np.argsort(size)[::-1]:
        place[group] = total.argmin()
        total[place[group]] += size[group]
    return place[code]


def _rectangular(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Folds:
    fields = []
    for part in (0, 1):
        rows = [pair[part] for pair in pairs]
        most = max(map(len, rows))
        fields.append(np.stack([np.pad(row, (0, most - len(row))) for row in rows]))
        fields.append(np.stack([np.arange(most) < len(row) for row in rows]))
    return Folds(*(jnp.asarray(x if x.dtype == bool else x.astype(np.int32)) for x in fields))
