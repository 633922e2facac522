"""Losses of margins: hinge, perceptron and logistic losses of a score and a sign or a class."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit._explain import explained
from gradkit.losses import _arrays as arrays


@explained()
def hinge_loss(
    predictor_outputs: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Hinge loss of a score with the targets −1 and 1, elementwise: the loss of linear SVMs.

    **Value** max(0, 1 − y f).

    Args:
      predictor_outputs: f, floats of any shape.
      targets: y, −1 or 1, like f.
      where: booleans like f; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of f, at least float32.

    Raises:
      TypeError: scores that are not floating.
      ValueError: targets other than −1 and 1 (where they are not traced), such as 0 and 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.hinge_loss(jnp.array([0.5, 2.0]), jnp.array([-1, 1])).tolist() == [1.5, 0]

    **Differs from optax**: targets of 0 and 1 are refused; arrays of different rank are refused;
    half-precision scores are computed in float32; ``where`` and ``weights``.

    Reference: Goodfellow et al. 2016, section 5.7.2; Cortes and Vapnik 1995,
    https://doi.org/10.1007/BF00994018.
    """
    f, y, kept = _signed(predictor_outputs, targets, where)
    return arrays.weigh(jnp.maximum(1 - y * f, 0), kept, weights)


@explained()
def perceptron_loss(
    predictor_outputs: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Perceptron loss of a score with the targets −1 and 1, elementwise.

    **Value** max(0, −y f).

    Args:
      predictor_outputs: f, floats of any shape.
      targets: y, −1 or 1, like f.
      where: booleans like f; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of f, at least float32.

    Raises:
      TypeError: scores that are not floating.
      ValueError: targets other than −1 and 1 (where they are not traced), such as 0 and 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = gk.losses.perceptron_loss(jnp.array([0.5, 2.0]), jnp.array([-1, 1]))
      >>> assert loss.tolist() == [0.5, 0]

    **Differs from optax**: targets of 0 and 1 are refused; half-precision scores are computed in
    float32; ``where`` and ``weights``.

    Reference: Rosenblatt 1958, https://doi.org/10.1037/h0042519.
    """
    f, y, kept = _signed(predictor_outputs, targets, where)
    return arrays.weigh(jnp.maximum(-y * f, 0), kept, weights)


@explained()
def logistic_loss(
    predictor_outputs: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Logistic loss of a score with the targets −1 and 1, elementwise: logistic regression.

    **Value** log(1 + exp(−y f)). With the targets 0 and 1 it is ``sigmoid_binary_cross_entropy``.

    Args:
      predictor_outputs: f, floats of any shape.
      targets: y, −1 or 1, like f.
      where: booleans like f; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of f, at least float32.

    Raises:
      TypeError: scores that are not floating.
      ValueError: targets other than −1 and 1 (where they are not traced), such as 0 and 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = gk.losses.logistic_loss(jnp.array([-1e4, 50.0]), jnp.array([1, 1]))
      >>> assert jnp.allclose(loss, jnp.array([1e4, jnp.exp(-50.0)]), atol=0)

    Reference: Goodfellow et al. 2016, section 6.2.2.2.
    """
    f, y, kept = _signed(predictor_outputs, targets, where)
    return arrays.weigh(jax.nn.softplus(-y * f), kept, weights)


@explained()
def multiclass_hinge_loss(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Multiclass hinge loss of scores with integer labels, by Crammer and Singer.

    **Value** max_c (f_c + 1[c ≠ y]) − f_y.

    Args:
      scores: f, floats of shape [..., classes].
      labels: y, integers in [0, classes), of shape [...].
      where: booleans like ``labels``; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of shape [...], at least float32; NaN for traced labels out of range.

    Raises:
      TypeError: scores that are not floating, labels that are not integers.
      ValueError: shapes that do not match, labels out of range (where they are not traced).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> f = jnp.array([[3.0, 1.0, 0.0], [3.0, 1.0, 0.0]])
      >>> assert gk.losses.multiclass_hinge_loss(f, jnp.array([0, 1])).tolist() == [0, 3]

    **Differs from optax**: labels out of range are refused; half-precision scores are computed in
    float32; ``where`` and ``weights``.

    Reference: Crammer and Singer 2001, https://www.jmlr.org/papers/v2/crammer01a.html.
    """
    return _largest(scores, labels, 1.0, where, weights)


@explained()
def multiclass_perceptron_loss(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Multiclass perceptron loss of scores with integer labels.

    **Value** max_c f_c − f_y.

    Args:
      scores: f, floats of shape [..., classes].
      labels: y, integers in [0, classes), of shape [...].
      where: booleans like ``labels``; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of shape [...], at least float32; NaN for traced labels out of range.

    Raises:
      TypeError: scores that are not floating, labels that are not integers.
      ValueError: shapes that do not match, labels out of range (where they are not traced).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> f = jnp.array([[3.0, 1.0, 0.0], [3.0, 1.0, 0.0]])
      >>> assert gk.losses.multiclass_perceptron_loss(f, jnp.array([0, 1])).tolist() == [0, 2]

    **Differs from optax**: labels out of range are refused; half-precision scores are computed in
    float32; ``where`` and ``weights``.

    Reference: Collins 2002, https://doi.org/10.3115/1118693.1118694.
    """
    return _largest(scores, labels, 0.0, where, weights)


def _signed(
    outputs: ArrayLike, targets: ArrayLike, where: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    f, y = arrays.pair("predictor_outputs", outputs, "targets", targets)
    kept = arrays.mask(where, f.shape, "predictor_outputs")
    if arrays.known(y) and (kept is None or arrays.known(kept)):
        values = np.asarray(y)
        wrong = np.abs(values) != 1
        if kept is not None:
            wrong &= np.asarray(kept)
        if wrong.any():
            problem = f"targets has the value {float(values[wrong][0]):g}"
            fix = "For the targets 0 and 1, write 2 * targets - 1"
            check.refuse(problem, expected="-1 or 1", fix=fix)
    f, y = arrays.keep(kept, f, y)
    return f, y, kept


def _largest(
    scores: ArrayLike,
    labels: ArrayLike,
    margin: float,
    where: ArrayLike | None,
    weights: ArrayLike | None,
) -> jax.Array:
    """max_c (f_c + margin of the classes that are not the label) − f_y."""
    f, y, kept, good = arrays.scored("scores", scores, labels, where)
    chosen = arrays.is_label(y, f.shape)
    score = jnp.sum(jnp.where(chosen, f, 0), axis=-1)
    loss = jnp.max(f + jnp.where(chosen, 0.0, margin).astype(f.dtype), axis=-1) - score
    return arrays.weigh(jnp.where(good, loss, jnp.nan), kept, weights)
