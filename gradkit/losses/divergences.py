"""Kullback-Leibler divergences of distributions, from logarithms of the predictions."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit._explain import explained
from gradkit.losses import _arrays as arrays

Axis = int | tuple[int, ...] | None


@explained()
def kl_divergence(
    log_predictions: ArrayLike,
    targets: ArrayLike,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Kullback-Leibler divergence of predicted log probabilities from target distributions.

    **Value** Σ t (log t − log p), with 0 log 0 = 0.

    Args:
      log_predictions: log p, floats of shape [..., classes].
      targets: t ≥ 0 like ``log_predictions``.
      axis: the axis or axes of the classes; None for all.
      where: booleans like ``log_predictions``, or like the result; elements left out add nothing to
        the value and the gradient.
      weights: factors of the losses, like the result.

    Returns:
      divergences of the shape of ``log_predictions`` without ``axis``, at least float32.

    Raises:
      TypeError: log probabilities that are not floating.
      ValueError: shapes that do not match, or an axis out of range.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> log_p, t = jnp.array([0.0, -jnp.inf]), jnp.array([1.0, 0.0])
      >>> assert gk.kl_divergence(log_p, t) == 0
      >>> assert jnp.allclose(gk.kl_divergence(jnp.log(jnp.array([0.5, 0.5])), t), jnp.log(2.0))

    **Differs from optax**: predictions of −∞ with the target 0 add 0, not NaN; gradients with
    respect to targets of 0 are finite; half precision is computed in float32; ``weights``.

    Reference: Goodfellow et al. 2016, section 3.13.
    """
    log_p, t, _, per_row = _rows(log_predictions, targets, axis, where, "targets")
    return arrays.weigh(jnp.sum(_terms(log_p, t), axis=-1), per_row, weights)


@explained()
def kl_divergence_with_log_targets(
    log_predictions: ArrayLike,
    log_targets: ArrayLike,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Kullback-Leibler divergence where predictions and targets are log probabilities.

    **Value** Σ exp(log t) (log t − log p), with 0 log 0 = 0.

    Args:
      log_predictions: log p, floats of shape [..., classes].
      log_targets: log t like ``log_predictions``; −∞ for the probability 0.
      axis: the axis or axes of the classes; None for all.
      where: booleans like ``log_predictions``, or like the result; elements left out add nothing.
      weights: factors of the losses, like the result.

    Returns:
      divergences of the shape of ``log_predictions`` without ``axis``, at least float32.

    Raises:
      TypeError: log probabilities that are not floating.
      ValueError: shapes that do not match, or an axis out of range.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> log_p, log_t = jnp.log(jnp.array([0.5, 0.5])), jnp.array([0.0, -jnp.inf])
      >>> loss = gk.losses.kl_divergence_with_log_targets(log_p, log_t)
      >>> assert jnp.allclose(loss, jnp.log(2.0))

    **Differs from optax**: log targets of −∞ add 0, not NaN; half precision is computed in float32;
    ``weights``.
    """
    log_p, log_t, _, per_row = _rows(log_predictions, log_targets, axis, where, "log_targets")
    never = jnp.isneginf(log_t)
    log_t, log_p = jnp.where(never, 0, log_t), jnp.where(never, 0, log_p)
    terms = jnp.where(never, 0, jnp.exp(log_t) * (log_t - log_p))
    return arrays.weigh(jnp.sum(terms, axis=-1), per_row, weights)


@explained()
def generalized_kl_divergence(
    log_predictions: ArrayLike,
    targets: ArrayLike,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Kullback-Leibler divergence of measures that need not add up to one.

    **Value** Σ t (log t − log p) + Σ (p − t): the Bregman divergence of x log x − x.

    Args:
      log_predictions: log p, floats of shape [..., classes].
      targets: t ≥ 0 like ``log_predictions``.
      axis: the axis or axes of the classes; None for all.
      where: booleans like ``log_predictions``, or like the result; elements left out add nothing.
      weights: factors of the losses, like the result.

    Returns:
      divergences of the shape of ``log_predictions`` without ``axis``, at least float32.

    Raises:
      TypeError: log predictions that are not floating.
      ValueError: shapes that do not match, or an axis out of range.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = gk.generalized_kl_divergence(jnp.zeros(2), jnp.array([1.0, 0.0]))
      >>> assert loss == 1

    **Differs from optax**: predictions of −∞ with the target 0 add 0, not NaN; gradients with
    respect to targets of 0 are finite; half precision is computed in float32; ``weights``.

    Reference: Boyd and Vandenberghe 2004, https://web.stanford.edu/~boyd/cvxbook/, page 90.
    """
    log_p, t, kept, per_row = _rows(log_predictions, targets, axis, where, "targets")
    masses = jnp.exp(log_p) - t
    masses = masses if kept is None else jnp.where(kept, masses, 0)
    return arrays.weigh(jnp.sum(_terms(log_p, t) + masses, axis=-1), per_row, weights)


def _terms(log_p: jax.Array, t: jax.Array) -> jax.Array:
    zero = t == 0
    log_t = jnp.log(jnp.where(zero, 1, t))
    return t * (log_t - jnp.where(zero & jnp.isneginf(log_p), 0, log_p))


def _rows(
    log_predictions: ArrayLike, targets: ArrayLike, axis: Axis, where: ArrayLike | None, name: str
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]:
    log_p, t = arrays.pair("log_predictions", log_predictions, name, targets)
    along = arrays.axes(axis, log_p.ndim)
    kept = arrays.row_mask(where, log_p.shape, along, "log_predictions")
    log_p, t = arrays.keep(kept, arrays.flat(log_p, along), arrays.flat(t, along))
    return log_p, t, kept, None if kept is None else jnp.any(kept, axis=-1)


convex_kl_divergence = generalized_kl_divergence
