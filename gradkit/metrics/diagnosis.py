"""Bias or variance: what the errors on training and development data say."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit._explain import explained


class BiasVariance(NamedTuple):
    """Report the bias and the variance of a model, the numbers they come from, and what is high.

    Args:
      bias: the training error minus the target.
      variance: the development error minus the training error.
      train_error: the error on the training data.
      dev_error: the error on the development data.
      target: the error that can be reached.
      tolerance: what a gap must exceed to be high.
    """

    bias: float
    variance: float
    train_error: float
    dev_error: float
    target: float
    tolerance: float

    @property
    def high_bias(self) -> bool:
        """Whether the model underfits."""
        return self.bias > self.tolerance

    @property
    def high_variance(self) -> bool:
        """Whether the model overfits."""
        return self.variance > self.tolerance

    def __str__(self) -> str:
        """Say what is high, with the numbers."""
        high = self.high_bias * ["high bias"] + self.high_variance * ["high variance"]
        return (
            f"{' and '.join(high) or 'low bias and low variance'}: "
            f"bias {self.bias:.4g} = training error {self.train_error:.4g} − target "
            f"{self.target:.4g}, variance {self.variance:.4g} = development error "
            f"{self.dev_error:.4g} − training error {self.train_error:.4g}; "
            f"high is above {self.tolerance:.4g}"
        )


@explained()
def bias_variance(
    train_error: ArrayLike,
    dev_error: ArrayLike,
    target: float = 0.0,
    *,
    tolerance: float = 0.02,
    last: int = 1,
) -> BiasVariance:
    """Diagnose underfitting and overfitting: read bias and variance from learning curves.

    **Value** bias = E_train − E_target, variance = E_dev − E_train; each is high above
    ``tolerance``. These gaps of errors are estimates, not the terms of the decomposition of the
    squared error.

    Args:
      train_error: the error on the training data, or a learning curve, of which the end counts.
      dev_error: the error on development data that the model was not trained on, likewise.
      target: the error that can be reached, such as that of people or of the best known model.
      tolerance: the gap that is not worth work, ≥ 0, in the unit of the errors; 0.02 are two
        percentage points of an error rate.
      last: how many points at the end of a curve are averaged, ≥ 1.

    Returns:
      a ``BiasVariance``; ``str`` gives the reading in words.

    Raises:
      ValueError: errors that are not finite, ``tolerance`` < 0, ``last`` beyond the curve.
      TypeError: traced values; the reading is for people.

    Example:
      >>> import gradkit as gk
      >>> reading = gk.metrics.bias_variance([0.30, 0.08, 0.01], [0.32, 0.15, 0.11])
      >>> assert reading.high_variance and not reading.high_bias
      >>> str(reading).partition(":")[0]
      'high variance'

    Reference: Ng 2018, Machine Learning Yearning, chapters 20 to 22.
    """
    check.finite(target=target)
    check.non_negative(tolerance=tolerance)
    check.integer(1, last=last)
    train = _end("train_error", train_error, int(last))
    dev = _end("dev_error", dev_error, int(last))
    goal, gap = float(target), float(tolerance)
    return BiasVariance(train - goal, dev - train, train, dev, goal, gap)


def _end(name: str, value: Any, last: int) -> float:
    """The mean of the last points of a curve."""
    if isinstance(value, jax.core.Tracer):
        fix = "Call bias_variance outside jit"
        check.refuse(f"{name} is traced", expected="known numbers", fix=fix, error=TypeError)
    try:
        found = np.atleast_1d(np.asarray(value, np.float64))
    except (TypeError, ValueError):
        problem = f"{name}={check.shown(value)} is not an error or a curve"
        check.refuse(problem, expected="a number or a vector of numbers", error=TypeError)
    if found.ndim > 1 or found.size == 0:
        problem = f"{name} is {check.shape_dtype(value)}"
        check.refuse(problem, expected="a number or a vector of numbers")
    if np.ndim(value) and last > found.size:
        problem = f"last={last} is more than the {found.size} points of {name}"
        check.refuse(problem, expected=f"1 <= last <= {found.size}")
    if not np.isfinite(found[-last:]).all():
        check.refuse(f"{name}={check.shown(float(found[-1]))} is not finite")
    return float(np.mean(found[-last:]))
