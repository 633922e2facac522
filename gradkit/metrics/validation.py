"""Cross-validation: every fold trained and scored in one vmapped program."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.metrics._inputs import known
from gradkit.metrics.folds import Folds, k_fold
from gradkit.typing import Key, PyTree


class Samples(NamedTuple):
    """Hold the samples that a fit or a score may use, with a mask.

    Where ``where`` is False, the data belong to other samples: leave them out by ``where=`` (of
    ``jnp.mean``, ``gk.losses``, ``gk.metrics``), or give them the weight 0.

    Args:
      data: a tree of arrays with a leading axis of samples.
      where: bools (samples,).
    """

    data: PyTree
    where: jax.Array


class CrossValidation(NamedTuple):
    """Report the scores of all folds.

    Args:
      scores: what was returned for each fold, with a leading axis of folds.
    """

    scores: PyTree

    @property
    def mean(self) -> PyTree:
        """The mean over the folds."""
        return jax.tree.map(mean, self.scores)

    @property
    def standard_error(self) -> PyTree:
        """The standard deviation over the folds (with k − 1) divided by √k; NaN of one fold.

        The folds share training samples, so that the error of the mean is larger.
        """
        return jax.tree.map(standard_error, self.scores)


@explained()
def cross_validate(
    train_and_score: Callable[..., PyTree],
    data: PyTree,
    folds: Folds | int = 5,
    *,
    key: Key | None = None,
    batch_size: int | None = None,
) -> CrossValidation:
    """Cross-validate a model: train and score it on every fold, in one vmapped program.

    **Value** the scores of ``train_and_score(train, dev)`` for each row of ``folds``; ``train`` and
    ``dev`` are ``Samples(data, where)``. Folds that differ in size are padded, and the masks say
    what counts. What is fitted to data, such as the mean of a feature, is fitted inside the
    function to ``train``, so that nothing of ``dev`` leaks into it.

    Args:
      train_and_score: a pure function of ``(train, dev)``, or ``(train, dev, key)``, that returns a
        score or a tree of them.
      data: a tree of arrays with a leading axis of samples, such as ``(x, y)``.
      folds: of ``k_fold(y, ...)`` or ``as_folds(splitter, y)``; a number of folds is
        ``k_fold(samples, n_splits)``.
      key: split into one key for each fold, for a function with an argument of this name.
      batch_size: how many folds are trained at once, ≥ 1, each on a copy of its samples; None
        trains all.

    Returns:
      a ``CrossValidation``: ``scores``, ``mean`` and ``standard_error``.

    Raises:
      ValueError: arrays of different lengths, more folds than samples, folds of more data.
      TypeError: what is not a function, folds of another kind, a key for a function that takes
        none, or none for one that does.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> def error(train, dev):  # of a line through the origin, by least squares
      ...     (x, y), where = train
      ...     slope = jnp.sum(x * y, where=where) / jnp.sum(x * x, where=where)
      ...     x, y = dev.data
      ...     return jnp.mean((y - slope * x) ** 2, where=dev.where)
      >>> x = jnp.arange(1.0, 8.0)
      >>> found = gk.metrics.cross_validate(error, (x, 3 * x), 3)
      >>> assert found.scores.shape == (3,) and found.mean < 1e-9

    **Differs from scikit-learn** (``cross_validate``): the model is one function, and the scores
    are what it returns; errors stay positive.
    """
    check.function(train_and_score=train_and_score)
    count = samples("data", data)
    if isinstance(folds, (int, np.integer)) and not isinstance(folds, bool):
        folds = k_fold(count, int(folds))
    if not isinstance(folds, Folds):
        fix = "Pass k_fold(y, n_splits), or as_folds(splitter, y) for one of scikit-learn"
        problem = f"folds={check.shown(folds)} is neither Folds nor a number"
        check.refuse(problem, fix=fix, error=TypeError)
    for name in ("train", "test"):
        indices = known(getattr(folds, name))
        if indices is not None and indices.max() >= count:
            problem = f"folds.{name} has the index {indices.max()} for {count} samples"
            check.refuse(problem, expected=f"indices below {count}")
    keys = None
    if takes_key(train_and_score, key):
        keys = jax.random.split(numerics.one_key(key), len(folds.train))
    elif key is not None:
        problem = f"key is given, and {check.shown(train_and_score)} takes no argument key"
        check.refuse(problem, expected="a function of (train, dev, key)", error=TypeError)
    batch = batch_size_of(batch_size)
    return CrossValidation(_by_fold(hashable(train_and_score), data, folds, keys, batch))


@functools.partial(jax.jit, static_argnums=(0, 4))
def _by_fold(fun: Any, data: Any, folds: Folds, keys: Any, batch_size: int | None) -> Any:
    def one(row: Any) -> Any:
        fold, key = row
        take = lambda indices: jax.tree.map(lambda x: jnp.asarray(x)[indices], data)
        train = Samples(take(fold.train), fold.train_where)
        dev = Samples(take(fold.test), fold.test_where)
        return fun(train, dev) if key is None else fun(train, dev, key=key)

    return mapped(one, (folds, keys), batch_size)


def mapped(fun: Callable[[Any], Any], rows: Any, batch_size: int | None) -> Any:
    """A function of each row, all at once or some at a time."""
    if batch_size is None:
        return jax.vmap(fun)(rows)
    return lax.map(fun, rows, batch_size=batch_size)


def hashable(fun: Any) -> Any:
    """The function as a static argument; by identity where it has no hash."""
    try:
        hash(fun)
    except TypeError:
        return functools.partial(fun)
    return fun


def takes_key(fun: Any, key: Any) -> bool:
    """Whether to pass a key to the function, which must be there where it takes one."""
    try:
        parameter = inspect.signature(fun).parameters.get("key")
    except (TypeError, ValueError):  # a builtin without a signature
        return False
    if parameter is not None and key is None and parameter.default is parameter.empty:
        problem = f"{check.shown(fun)} takes an argument key, and key=None"
        check.refuse(problem, fix="Pass key=, a seed", error=TypeError)
    return parameter is not None and key is not None


def batch_size_of(value: Any) -> int | None:
    if value is None:
        return None
    check.integer(1, batch_size=value)
    return int(value)


def samples(name: str, data: Any) -> int:
    """The length of the leading axis that all arrays share."""
    check.tree_of_arrays(data, name)
    first: tuple[str, int] | None = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        at = check.keystr(path) if path else ""
        if check.dtype_of(leaf) is None or not np.ndim(leaf):
            problem = f"this leaf of {name} is {check.kind_of(leaf)}"
            expected = "an array with a leading axis of samples"
            check.refuse(problem, expected=expected, path=at, error=TypeError)
        count = np.shape(leaf)[0]
        if first is None:
            first = (at, count)
        if count != first[1]:
            problem = f"this leaf of {name} has {count} samples, and {first[0]} has {first[1]}"
            check.refuse(problem, expected="one length of the leading axes", path=at)
    if first is None or not first[1]:
        check.refuse(f"{name} has no samples", expected="at least one")
    return first[1]


def mean(x: jax.Array) -> jax.Array:
    """The mean along the first axis."""
    return jnp.mean(_real(x), axis=0)


def standard_error(x: jax.Array) -> jax.Array:
    """The standard error of that mean; NaN of one row."""
    return jnp.std(_real(x), axis=0, ddof=1) / np.sqrt(len(x))


def _real(x: jax.Array) -> jax.Array:
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)
