"""Losses of differences, elementwise: squared, Huber, log-cosh; and the zero-one loss."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit._explain import explained
from gradkit.losses import _arrays as arrays


@explained()
def squared_error(
    predictions: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Squared error of predictions, elementwise: its mean is the mean squared error.

    **Value** (x − y)².

    Args:
      predictions: x, floats of any shape.
      targets: y, a number or of the shape of x (axes of length 1 are broadcast); None for 0.
      where: booleans like ``predictions``; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of ``predictions``, at least float32.

    Raises:
      TypeError: predictions that are not floating.
      ValueError: shapes that do not match, such as (8,) and (8, 1).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.squared_error(jnp.array([1.0, 3.0]), jnp.array([0.0, 1.0])).tolist() == [1, 4]

    **Differs from optax**: half-precision predictions are computed in float32; ``where`` and
    ``weights``.
    """
    errors, kept = _errors(predictions, targets, where)
    return arrays.weigh(errors * errors, kept, weights)


@explained()
def l2_loss(
    predictions: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Half the squared error, elementwise: the quadratic loss, whose derivative is the error.

    **Value** ½ (x − y)².

    Args:
      predictions: x, floats of any shape.
      targets: y, a number or of the shape of x (axes of length 1 are broadcast); None for 0.
      where: booleans like ``predictions``; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of ``predictions``, at least float32.

    Raises:
      TypeError: predictions that are not floating.
      ValueError: shapes that do not match, such as (8,) and (8, 1).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.l2_loss(jnp.array([1.0, 3.0]), jnp.array([0.0, 1.0])).tolist() == [0.5, 2]

    **Differs from optax**: half-precision predictions are computed in float32; ``where`` and
    ``weights``.
    """
    errors, kept = _errors(predictions, targets, where)
    return arrays.weigh(0.5 * errors * errors, kept, weights)


@explained()
def huber_loss(
    predictions: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    delta: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Huber loss, elementwise: quadratic for small errors, linear for large ones.

    **Value** ½ e² where |e| ≤ δ, else δ (|e| − ½ δ), with e = x − y. Its gradient is that of
    ``l2_loss``, clipped to [−δ, δ].

    Args:
      predictions: x, floats of any shape.
      targets: y, a number or of the shape of x (axes of length 1 are broadcast); None for 0.
      delta: δ ≥ 0, in the units of x.
      where: booleans like ``predictions``; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of ``predictions``, at least float32.

    Raises:
      TypeError: predictions that are not floating.
      ValueError: shapes that do not match, or δ < 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.huber_loss(jnp.array([0.5, -3.0]), delta=1.0).tolist() == [0.125, 2.5]

    **Differs from optax**: arrays of different rank are refused, not broadcast; half-precision
    predictions are computed in float32; ``where`` and ``weights``.

    Reference: Huber 1964, https://doi.org/10.1214/aoms/1177703732.
    """
    errors, kept = _errors(predictions, targets, where)
    arrays.within("delta", delta, 0, np.inf)
    bound = arrays.number("delta", delta, errors)
    size = jnp.abs(errors)
    near = jnp.minimum(size, bound)
    return arrays.weigh(0.5 * near * near + bound * (size - near), kept, weights)


@explained()
def log_cosh(
    predictions: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Log-cosh loss, elementwise: a smooth Huber loss, whose derivative is tanh of the error.

    **Value** log cosh(x − y): about ½ e² for small errors, |e| − log 2 for large ones.

    Args:
      predictions: x, floats of any shape.
      targets: y, a number or of the shape of x (axes of length 1 are broadcast); None for 0.
      where: booleans like ``predictions``; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of ``predictions``, at least float32.

    Raises:
      TypeError: predictions that are not floating.
      ValueError: shapes that do not match.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = gk.log_cosh(jnp.array([1e-3, 1e4]))
      >>> assert jnp.allclose(loss, jnp.array([0.5e-6, 1e4 - jnp.log(2.0)]), atol=0)

    **Differs from optax**: small errors keep their digits (in float32 optax gives 0 for 1e-4);
    arrays of different rank are refused, not broadcast; ``where`` and ``weights``.

    Reference: Chen et al. 2019, https://openreview.net/forum?id=rkglvsC9Ym.
    """
    errors, kept = _errors(predictions, targets, where)
    size = jnp.abs(errors)
    small = size < 1
    # cosh e = 1 + 2 sinh²(e/2) has no cancellation near zero, and overflows for large e.
    half = jnp.sinh(jnp.where(small, errors, 0) / 2)
    large = jnp.where(small, 1, size)
    far = large + jnp.log1p(jnp.exp(-2 * large)) - np.log(2).astype(large.dtype)
    return arrays.weigh(jnp.where(small, jnp.log1p(2 * half * half), far), kept, weights)


@explained()
def zero_one_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Zero-one loss, elementwise: 1 for a wrong prediction, 0 for a right one; no gradient.

    **Value** 0 where prediction = target, else 1: the mean is the error rate.

    Args:
      predictions: classes, integers or floats, such as ``jnp.argmax(logits, axis=-1)``.
      targets: the true classes, a number or of the shape of ``predictions`` (axes of length 1 are
        broadcast).
      where: booleans like ``predictions``; the loss is 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of ``predictions``, at least float32.

    Raises:
      ValueError: shapes that do not match.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = gk.losses.zero_one_loss(jnp.array([2, 0, 1]), jnp.array([2, 1, 1]))
      >>> assert loss.tolist() == [0, 1, 0]

    Reference: Goodfellow et al. 2016, section 8.1.2.
    """
    x, y = arrays.real("predictions", predictions), arrays.real("targets", targets)
    y = arrays.fit("targets", y, x.shape, "predictions")
    dtype = arrays.common(x, y)
    kept = arrays.mask(where, x.shape, "predictions")
    wrong = x.astype(dtype) != y.astype(dtype)
    return arrays.weigh(wrong.astype(arrays.loss_dtype(x, y)), kept, weights)


def _errors(
    predictions: ArrayLike, targets: ArrayLike | None, where: ArrayLike | None
) -> tuple[jax.Array, jax.Array | None]:
    x, y = arrays.pair("predictions", predictions, "targets", 0.0 if targets is None else targets)
    kept = arrays.mask(where, x.shape, "predictions")
    x, y = arrays.keep(kept, x, y)
    return x - y, kept
