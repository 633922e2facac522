"""Learning curves: errors against the number of training examples, in one vmapped program."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _plot
from gradkit._explain import explained
from gradkit.metrics.diagnosis import BiasVariance, bias_variance
from gradkit.metrics.validation import (
    Samples,
    batch_size_of,
    hashable,
    mapped,
    mean,
    samples,
    standard_error,
    takes_key,
)
from gradkit.typing import Key, PyTree


class LearningCurve(NamedTuple):
    """Report the errors of models trained on more and more examples.

    Args:
      sizes: the numbers of training examples (sizes,).
      train_errors: the errors on those examples (repeats, sizes).
      dev_errors: the errors on the development data (repeats, sizes).
    """

    sizes: jax.Array
    train_errors: jax.Array
    dev_errors: jax.Array

    @property
    def train_error(self) -> jax.Array:
        """The mean over the repeats, for each size."""
        return mean(self.train_errors)

    @property
    def dev_error(self) -> jax.Array:
        """The mean over the repeats, for each size."""
        return mean(self.dev_errors)

    @property
    def train_standard_error(self) -> jax.Array:
        """The standard error of ``train_error``; NaN of one repeat."""
        return standard_error(self.train_errors)

    @property
    def dev_standard_error(self) -> jax.Array:
        """The standard error of ``dev_error``; NaN of one repeat."""
        return standard_error(self.dev_errors)

    def bias_variance(self, target: float = 0.0, *, tolerance: float = 0.02) -> BiasVariance:
        """Read bias and variance at the largest size.

        Args:
          target: the error that can be reached.
          tolerance: the gap that is not worth work.

        Returns:
          what ``bias_variance`` returns.
        """
        return bias_variance(self.train_error, self.dev_error, target, tolerance=tolerance)


@explained()
def learning_curve(
    train_and_score: Callable[..., tuple[jax.Array, jax.Array]],
    train: PyTree,
    dev: PyTree,
    sizes: Sequence[int],
    *,
    key: Key | None = None,
    repeats: int = 1,
    batch_size: int | None = None,
) -> LearningCurve:
    """Compute a learning curve: train and dev error against the number of training examples.

    **Value** the errors of ``train_and_score(train, dev)``, where the mask of ``train`` is True for
    m of its samples, for each m of ``sizes``; all sizes and repeats are one vmapped program. Where
    the errors meet above the target, more data will not help (bias); where a gap remains, they may
    (variance).

    Args:
      train_and_score: a pure function of two ``Samples(data, where)``, ``(train, dev)`` or
        ``(train, dev, key)``, that returns ``(train_error, dev_error)``. It uses only samples of
        ``train`` whose ``where`` is True.
      train: a tree of arrays with a leading axis of samples.
      dev: likewise; the models are not trained on it.
      sizes: the numbers of training examples, increasing, from 1 to the samples of ``train``.
      key: shuffles the samples for each repeat; a function with an argument of this name is given a
        key of the repeat. None takes the first m.
      repeats: how many times the curve is computed with other samples, ≥ 1.
      batch_size: how many models are trained at once, ≥ 1; None trains all.

    Returns:
      a ``LearningCurve``.

    Raises:
      ValueError: ``sizes`` that do not increase or exceed the samples of ``train``, arrays of
        different lengths, ``repeats`` without ``key``, errors that are not two numbers.
      TypeError: what is not a function, sizes that are not integers, no key for a function that
        takes one.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> def errors(train, dev):  # of the mean
      ...     guess = jnp.mean(train.data, where=train.where)
      ...     return tuple(jnp.mean((s.data - guess) ** 2, where=s.where) for s in (train, dev))
      >>> y, sizes = jax.random.normal(jax.random.key(0), (300,)), [2, 20, 200]
      >>> curve = gk.metrics.learning_curve(errors, y[:200], y[200:], sizes, key=1, repeats=9)
      >>> gap = curve.dev_error - curve.train_error
      >>> assert gap[0] > 10 * abs(gap[2]) and abs(curve.train_error[2] - 1.0) < 0.2

    **Differs from scikit-learn** (``learning_curve``): one development set in place of folds, and
    errors in place of scores.

    Reference: Ng 2018, Machine Learning Yearning, chapters 28 to 32.
    """
    check.function(train_and_score=train_and_score)
    count = samples("train", train)
    samples("dev", dev)
    chosen = _sizes(sizes, count)
    check.integer(1, repeats=repeats)
    if repeats > 1 and key is None:
        fix = "Pass key=, a seed"
        check.refuse(f"repeats={repeats} without a key would be the same", fix=fix)
    fun, batch = hashable(train_and_score), batch_size_of(batch_size)
    keyed = takes_key(train_and_score, key)
    keys = None if key is None else jax.random.split(numerics.one_key(key), int(repeats))
    found = _by_size(fun, train, dev, chosen, keys, keyed, batch)
    shape = (int(repeats), len(chosen))
    return LearningCurve(chosen, *(x.reshape(shape) for x in found))


@functools.partial(jax.jit, static_argnums=(0, 5, 6))
def _by_size(
    fun: Any,
    train: Any,
    dev: Any,
    sizes: jax.Array,
    keys: Any,
    keyed: bool,
    batch_size: int | None,
) -> Any:
    count = len(jax.tree.leaves(train)[0])
    whole = Samples(dev, jnp.ones(len(jax.tree.leaves(dev)[0]), bool))

    def one(row: Any) -> Any:
        size, key = row
        rank = jnp.arange(count, dtype=sizes.dtype)
        if key is not None:
            shuffle, key = jax.random.split(key)
            rank = jax.random.permutation(shuffle, rank)
        part = Samples(train, rank < size)
        return _pair(fun(part, whole, key=key) if keyed else fun(part, whole))

    repeats = 1 if keys is None else len(keys)
    tiled = jnp.tile(sizes, repeats)
    if keys is not None:
        keys = jnp.repeat(keys, len(sizes))
    return mapped(one, (tiled, keys), batch_size)


def _pair(found: Any) -> tuple[jax.Array, jax.Array]:
    """The errors on training and development data."""
    expected = "the pair (train_error, dev_error)"
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        problem = f"train_and_score returned {check.kind_of(found)}"
        check.refuse(problem, expected=expected, error=TypeError)
    for error in found:
        if check.dtype_of(error) is None or np.shape(error) or jnp.iscomplexobj(error):
            problem = f"train_and_score returned {check.kind_of(error)} for an error"
            check.refuse(problem, expected="two real numbers")
    return jnp.asarray(found[0]), jnp.asarray(found[1])


def _sizes(sizes: Any, count: int) -> jax.Array:
    try:
        found = np.asarray(sizes)
    except (TypeError, jax.errors.JAXTypeError):
        found = np.zeros(0)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not found.size:
        problem = f"sizes={check.shown(sizes)} is not a list of sizes"
        check.refuse(problem, expected="increasing integers", error=TypeError)
    if (np.diff(found.astype(np.int64)) <= 0).any() or found[0] < 1:
        problem = f"sizes={check.shown(found.tolist())} does not increase from 1 on"
        check.refuse(problem, expected="increasing integers >= 1")
    if found[-1] > count:
        problem = f"sizes has {found[-1]}, more than the {count} samples of train"
        check.refuse(problem, expected=f"1 <= size <= {count}")
    return jnp.asarray(found, jnp.int32)


def plot_learning_curve(
    curve: LearningCurve,
    *,
    target: float | None = None,
    ax: Any = None,
    xlabel: str = "training examples",
    ylabel: str = "error",
) -> Any:
    """Plot a learning curve with matplotlib: train and dev error, with bands of standard errors.

    Args:
      curve: of ``learning_curve``.
      target: the error that can be reached, drawn as a line; None draws none.
      ax: the matplotlib axes to draw into, or None for a new figure.
      xlabel: the name of the horizontal axis.
      ylabel: the name of the vertical axis.

    Returns:
      The axes, for titles, scales and ``ax.figure.savefig``.

    Raises:
      ImportError: matplotlib is missing.
      TypeError: what is not a ``LearningCurve``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp, pytest
      >>> pyplot = pytest.importorskip("matplotlib.pyplot")
      >>> pyplot.switch_backend("agg")
      >>> curve = gk.metrics.LearningCurve(jnp.array([1, 9]), jnp.eye(2), 2 * jnp.eye(2))
      >>> ax = gk.metrics.plot_learning_curve(curve, target=0.25)
      >>> pyplot.close(ax.figure)
      >>> assert ax.lines[1].get_ydata().tolist() == [1.0, 1.0]
    """
    with check.inside("plot_learning_curve"):
        if not isinstance(curve, LearningCurve):
            problem = f"curve={check.shown(curve)} is not a LearningCurve"
            check.refuse(problem, fix="Pass what learning_curve returns", error=TypeError)
        if target is not None:
            check.finite(target=target)
        pyplot = _plot.pyplot()
    if ax is None:
        _, ax = pyplot.subplots(layout="constrained")
    sizes = np.asarray(curve.sizes)
    lines = {
        "training": (curve.train_error, curve.train_standard_error),
        "development": (curve.dev_error, curve.dev_standard_error),
    }
    for label, pair in lines.items():
        middle, band = map(np.asarray, pair)
        (line,) = ax.plot(sizes, middle, marker="o", markersize=3, label=label)
        if len(curve.train_errors) > 1:
            color = line.get_color()
            ax.fill_between(sizes, middle - band, middle + band, color=color, alpha=0.2, lw=0)
    if target is not None:
        ax.axhline(target, color="0.5", linestyle="--", linewidth=1, label="target")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend(fontsize="small")
    return ax
