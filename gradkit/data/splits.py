"""Hold-out and train/dev/test splits, as indices."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.metrics import _inputs as inputs
from gradkit.typing import Key


@explained()
def split(
    y: int | ArrayLike,
    key: Key | None,
    fractions: tuple[float, ...] | Mapping[str, float] = (0.8, 0.1, 0.1),
    *,
    stratify: bool = False,
    groups: ArrayLike | None = None,
) -> Any:
    """Split samples into training, development and test parts, plain, by class, or by group.

    **Value** parts whose sizes are the fractions of the samples, rounded; with two fractions a
    hold-out. Each sample is in one part. ``gk.metrics.k_fold`` makes the splits of
    cross-validation.

    Args:
      y: the labels of the samples, or how many samples there are.
      key: a seed or a random key; None keeps the order of the samples, the first part first, as for
        time series.
      fractions: the share of each part, positive, with the sum 1: a tuple, or a dict of names.
      stratify: give every part its share of every class, to within one sample.
      groups: a label for each sample; the samples of a group stay together. The groups come in
        random order, each to the part that lacks the most samples, so that sizes differ from the
        fractions by as much as a group.

    Returns:
      int32 indices of each part, increasing: a tuple, or a dict with the names of ``fractions``.

    Raises:
      ValueError: fractions with another sum than 1, a part without samples, a class with fewer
        samples than parts.
      TypeError: labels that are no integers for ``stratify``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> train, dev, test = gk.data.split(50, 0)
      >>> assert [len(part) for part in (train, dev, test)] == [40, 5, 5]
      >>> y = jnp.arange(12) % 3
      >>> parts = gk.data.split(y, 0, {"train": 0.75, "test": 0.25}, stratify=True)
      >>> assert sorted(y[parts["test"]].tolist()) == [0, 1, 2]
    """
    check.boolean(stratify=stratify)
    names, shares = _shares(fractions)
    labels, count = inputs.samples(y)
    order = np.arange(count)
    if key is not None:
        order = np.asarray(jax.random.permutation(numerics.as_key(key), count))
    if groups is not None:
        if stratify:
            fix = "Pass scikit-learn's StratifiedGroupKFold to gk.metrics.as_folds"
            check.refuse("groups and stratify are both given", fix=fix)
        part = _by_group(np.asarray(groups), order, shares)
    elif stratify:
        if labels is None or labels.dtype.kind not in "iub" or labels.ndim != 1:
            problem = f"stratify=True with y={check.shown(y)}"
            check.refuse(problem, expected="a vector of integer labels", error=TypeError)
        part = _by_class(labels, order, shares)
    else:
        part = np.zeros(count, int)
        part[order] = np.repeat(np.arange(len(shares)), _sizes(count, shares))
    parts = [jnp.asarray(np.flatnonzero(part == i), jnp.int32) for i in range(len(shares))]
    for i, found in enumerate(parts):
        if not found.size:
            name = i if names is None else repr(names[i])
            problem = f"part {name} has no samples: {shares[i]:g} of {count}"
            check.refuse(problem, expected="at least one sample in each part")
    return tuple(parts) if names is None else dict(zip(names, parts, strict=True))


def _shares(fractions: Any) -> tuple[list[str] | None, np.ndarray]:
    """The names of the parts, and their fractions."""
    names = list(fractions) if isinstance(fractions, Mapping) else None
    values = list(fractions.values()) if names is not None else fractions
    if not isinstance(values, (tuple, list)):
        problem = f"fractions={check.shown(fractions)} are not fractions"
        check.refuse(problem, expected="a tuple such as (0.8, 0.1, 0.1)", error=TypeError)
    for i, value in enumerate(values):
        name = f"fractions[{i if names is None else repr(names[i])}]"
        check.number("0 < x < 1", lambda v: (v > 0) & (v < 1), **{name: value})
    shares = np.asarray(values, float)
    if abs(shares.sum() - 1) > 1e-6:
        problem = f"fractions={check.shown(fractions)} sum to {shares.sum():g}"
        check.refuse(problem, expected="the sum 1")
    return names, shares


def _sizes(count: int, shares: np.ndarray, missing: Any = 0.0) -> np.ndarray:
    """Whole sizes with the sum ``count``; what is left over goes where most is missing."""
    exact = count * shares
    sizes = np.floor(exact + 1e-9).astype(int)
    lacks = exact - sizes
    # A part whose share is whole gets no more.
    order = np.argsort(-np.where(lacks > 1e-9, lacks + missing, -np.inf), kind="stable")
    sizes[order[: count - sizes.sum()]] += 1
    return sizes


def _by_class(labels: np.ndarray, order: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The parts of stratified samples. The roundings of one class are made up for in the next."""
    part, missing = np.zeros(len(labels), int), np.zeros(len(shares))
    for label, size in zip(*np.unique(labels, return_counts=True), strict=True):
        if size < len(shares):
            problem = f"class {label} has {size} samples for {len(shares)} parts"
            fix = "Merge classes, or leave its samples out"
            check.refuse(problem, expected="a sample of each class for each part", fix=fix)
        sizes = _sizes(size, shares, missing)
        missing += size * shares - sizes
        part[order[labels[order] == label]] = np.repeat(np.arange(len(shares)), sizes)
    return part


def _by_group(groups: np.ndarray, order: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The parts of samples that stay together."""
    count = len(order)
    if groups.shape != (count,):
        problem = f"groups is {check.shape_dtype(groups)} for {count} samples"
        check.refuse(problem, expected=f"shape [{count}]")
    names, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < len(shares):
        check.refuse(f"{len(shares)} parts are more than the {len(names)} groups")
    code_in_order = code[order]
    _, first = np.unique(code_in_order, return_index=True)
    lacks, place = count * shares, np.zeros(len(names), int)
    for group in np.argsort(first):  # as each first comes up in the order of the samples
        place[group] = lacks.argmax()
        lacks[place[group]] -= size[group]
    return place[code]
