"""Whether predicted probabilities are frequencies: the calibration error."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.metrics import _curves as curves
from gradkit.metrics import _inputs as inputs
from gradkit.metrics import _tally as tally

NORMS = ("l1", "l2", "max")


@explained()
def calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    n_bins: int = 15,
    norm: str = "l1",
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Compute the expected calibration error (ECE): how far probabilities are from frequencies.

    **Value** Σ_b (W_b / W) |y_b − p_b| for ``norm="l1"``, over bins b of equal width, with the mean
    outcome y_b, the mean probability p_b and the weight W_b of a bin; √(Σ_b (W_b / W)
    (y_b − p_b)²) for ``"l2"``; max_b |y_b − p_b| for ``"max"``.

    Args:
      y_true: the true labels, integers or bools of any shape.
      y_prob: the probability of label 1, of the same shape; or probabilities with a last axis of
        classes, of which the largest and whether its class is right are compared.
      n_bins: the number of bins (b/n, (b+1)/n] of [0, 1], ≥ 1; 0 belongs to the first.
      norm: ``"l1"`` (the expected error), ``"l2"`` or ``"max"`` (the maximum error).
      sample_weight: weights ≥ 0, of the shape of ``y_true``; 1 by default.
      where: bools of the shape of ``y_true``; False leaves a sample out, whatever its probability.

    Returns:
      a scalar. Under jit, NaN where no sample is left or a probability is NaN.

    Raises:
      ValueError: other shapes, probabilities outside [0, 1], labels out of range, no sample.
      TypeError: labels that are not integers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> y_true, y_prob = jnp.array([0, 1, 1, 1]), jnp.array([0.2, 0.2, 0.9, 0.9])
      >>> error = gk.metrics.calibration_error(y_true, y_prob, n_bins=5)  # (0.3 + 0.1) / 2
      >>> assert jnp.allclose(error, 0.2)

    **Differs from scikit-learn**, which has the bins as ``calibration_curve``, not their error.

    Reference: Naeini et al. 2015, https://doi.org/10.1609/aaai.v29i1.9602; Guo et al. 2017,
    https://arxiv.org/abs/1706.04599.
    """
    check.one_of(NORMS, norm=norm)
    check.integer(1, n_bins=n_bins)
    right, prob, weight = outcomes(y_true, y_prob, sample_weight, where)
    inputs.some(weight)
    return error(*sums(right, prob, weight, n_bins=int(n_bins)), norm=norm)


def outcomes(
    y_true: Any, y_prob: Any, sample_weight: Any, where: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whether the event of each sample occurred, its probability, and its weight."""
    true = inputs.labels("y_true", y_true)
    weight = inputs.weights(sample_weight, where, true)
    prob = inputs.scores("y_prob", y_prob, true, weight, classes=None)
    if not jnp.issubdtype(prob.dtype, jnp.floating):
        prob = prob.astype(float)
    classes = prob.shape[-1] if prob.ndim > true.ndim else 2
    values, used = inputs.known(prob), inputs.known(weight)
    if values is not None and used is not None:
        values = values[used != 0]
        slack = 4 * float(jnp.finfo(prob.dtype).eps)  # the rounding error of a softmax
        wrong = values[(values < 0) | (values > 1 + slack)]
        if wrong.size:
            fix = "Of logits, pass jax.nn.softmax(logits) or jax.nn.sigmoid(logits)"
            problem = f"y_prob has the value {wrong[0]}"
            check.refuse(problem, expected="probabilities from 0 to 1", fix=fix)
    inputs.in_range(classes, weight, y_true=true)
    if prob.ndim > true.ndim:
        guess = jnp.argmax(prob, axis=-1).astype(true.dtype)
        return true == guess, jnp.max(prob, axis=-1), weight
    return true == 1, prob, weight


@functools.partial(jax.jit, static_argnames=("n_bins",))
def sums(
    right: Any, prob: Any, weight: Any, *, n_bins: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of each bin the weight, and the weighted sums of outcomes and of probabilities."""
    prob, weight = prob.ravel(), weight.ravel()
    edges = jnp.asarray(np.linspace(0, 1, n_bins + 1)[1:-1], prob.dtype)
    place = jnp.searchsorted(edges, prob, side="left")
    zero = jnp.zeros((), weight.dtype)
    used = weight != 0
    shares = jnp.where(used, prob, 0) * weight.astype(prob.dtype)
    each = [weight, jnp.where(right.ravel(), weight, zero), shares]
    total, hits, means = (jnp.zeros(n_bins, x.dtype).at[place].add(x) for x in each)
    return total, hits, means


@functools.partial(jax.jit, static_argnames=("norm",))
def error(total: Any, hits: Any, means: Any, *, norm: str) -> jax.Array:
    """The error of bins."""
    dtype = numerics.wider(jnp.float32, means.dtype)
    total, hits = total.astype(dtype), hits.astype(dtype)
    gaps = jnp.abs(numerics.divide(hits - means, total))
    gaps = jnp.where(jnp.isnan(means), jnp.nan, gaps)
    share = total / jnp.sum(total)
    if norm == "max":
        return jnp.max(gaps) + 0 * jnp.sum(share)  # NaN of no sample
    if norm == "l2":
        return jnp.sqrt(curves.total(share * gaps**2))
    return curves.total(share * gaps)


@jax.jit
def curve(total: Any, hits: Any, means: Any) -> tuple[jax.Array, jax.Array]:
    """The mean outcome and the mean probability of each bin; NaN of an empty one."""
    total = tally.real(total).astype(means.dtype)
    empty = jnp.where(total == 0, jnp.nan, total)
    return hits.astype(means.dtype) / empty, means / empty
