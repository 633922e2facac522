"""Cross entropies: of binary labels, of distributions over classes, of integer labels."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.losses import _arrays as arrays
from gradkit.losses import _softmax as softmax

Axis = int | tuple[int, ...] | None
_SIGNS = "For the targets -1 and 1 there is gk.losses.logistic_loss"


@explained()
def sigmoid_binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Binary cross entropy of logits with the labels 0 and 1, or probabilities, elementwise.

    **Value** y log(1 + exp(−x)) + (1 − y) log(1 + exp(x)), x logits, y labels.

    Args:
      logits: floats of any shape.
      labels: in [0, 1], integers or floats; a number, or the shape of ``logits`` (axes of length 1
        are broadcast).
      where: booleans like ``logits``; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of ``logits``, at least float32.

    Raises:
      TypeError: logits that are not floating.
      ValueError: shapes that do not match, labels outside [0, 1] (where they are not traced).

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> x, y = jnp.array([1e4, -1e4, 0.0]), jnp.array([1, 1, 0])
      >>> loss = gk.sigmoid_binary_cross_entropy(x, y)
      >>> assert jnp.allclose(loss, jnp.array([0.0, 1e4, jnp.log(2.0)]))

    **Differs from optax**: half-precision logits are computed in float32; arrays of different rank
    and labels outside [0, 1] are refused; ``where`` and ``weights``.

    Reference: Goodfellow et al. 2016, section 6.2.2.
    """
    x, y = arrays.pair("logits", logits, "labels", labels)
    kept = arrays.mask(where, x.shape, "logits")
    arrays.refuse_outside("labels", y, kept, _SIGNS)
    x, y = arrays.keep(kept, x, y)
    return arrays.weigh(_binary(x, y), kept, weights)


def _binary(x: jax.Array, y: jax.Array) -> jax.Array:
    return _times(y, jax.nn.softplus(-x)) + _times(1 - y, jax.nn.softplus(x))


def _times(weight: jax.Array, loss: jax.Array) -> jax.Array:
    """The product, with 0 · ∞ = 0."""
    return weight * jnp.where((weight == 0) & jnp.isinf(loss), 0, loss)


@explained()
def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: ArrayLike | None = None,
    gamma: ArrayLike = 2.0,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Focal loss: the binary cross entropy with less weight for examples classified well.

    **Value** (1 − p_t)^γ · CE, where 1 − p_t = (1 − y) σ(x) + y σ(−x); with ``alpha`` also times
    α y + (1 − α)(1 − y).

    Args:
      logits: floats of any shape.
      labels: in [0, 1], like ``logits``.
      alpha: the weight in (0, 1) of the label 1; None for no weights.
      gamma: γ ≥ 0; 0 gives the cross entropy.
      where: booleans like ``logits``; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of ``logits``, at least float32.

    Raises:
      TypeError: logits that are not floating.
      ValueError: shapes that do not match, labels outside [0, 1] (where they are not traced).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = gk.sigmoid_focal_loss(jnp.zeros(1), jnp.ones(1), gamma=2.0)
      >>> assert jnp.allclose(loss, 0.25 * jnp.log(2.0))

    **Differs from optax**: gradients with respect to soft and certain labels are finite at any
    logit; half-precision logits are computed in float32; ``where`` and ``weights``.

    Reference: Lin et al. 2017, https://arxiv.org/abs/1708.02002.
    """
    x, y = arrays.pair("logits", logits, "labels", labels)
    power = arrays.number("gamma", gamma, x)
    kept = arrays.mask(where, x.shape, "logits")
    arrays.refuse_outside("labels", y, kept, _SIGNS)
    x, y = arrays.keep(kept, x, y)
    loss = _binary(x, y) * jnp.exp(power * _log_mix(x, y))
    if alpha is not None:
        share = arrays.number("alpha", alpha, x)
        loss = loss * (share * y + (1 - share) * (1 - y))
    return arrays.weigh(loss, kept, weights)


def _log_mix(x: jax.Array, y: jax.Array) -> jax.Array:
    """Log of (1 − y) σ(x) + y σ(−x), whose derivatives are finite where a term is not there."""
    log_p, log_q = -jax.nn.softplus(-x), -jax.nn.softplus(x)
    has_p, has_q = y != 1, y != 0
    top = jnp.maximum(jnp.where(has_p, log_p, -jnp.inf), jnp.where(has_q, log_q, -jnp.inf))
    p = jnp.exp(jnp.where(has_p, log_p - top, 0))
    q = jnp.exp(jnp.where(has_q, log_q - top, 0))
    return top + jnp.log((1 - y) * p + y * q)


@explained()
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Softmax cross entropy of logits with one-hot labels or distributions over classes.

    **Value** −Σ y_c log p_c, p = softmax(logits) along ``axis``, with 0 log 0 = 0.

    Args:
      logits: floats of shape [..., classes].
      labels: distributions like ``logits`` (axes of length 1 are broadcast).
      axis: the axis or axes of the classes; None for all.
      where: booleans like ``logits``, to leave classes out of the softmax, or like the result, to
        leave examples out: their loss and gradient are 0.
      weights: factors of the losses, like the result.

    Returns:
      losses of the shape of ``logits`` without ``axis``, at least float32.

    Raises:
      TypeError: logits that are not floating.
      ValueError: shapes that do not match, or an axis out of range.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> x, y = jnp.array([[1e4, -1e4, -jnp.inf]]), jnp.array([[1.0, 0.0, 0.0]])
      >>> loss, slope = jax.value_and_grad(lambda x: gk.softmax_cross_entropy(x, y).sum())(x)
      >>> assert loss == 0 and (slope == 0).all()

    **Differs from optax**: 0 log 0 is 0, as in optax's ``safe_softmax_cross_entropy``; small losses
    keep their digits; half-precision logits are computed in float32; ``weights``.

    Reference: Goodfellow et al. 2016, section 6.2.2.
    """
    x, y, kept, per_row = _rows(logits, labels, axis, where)
    return arrays.weigh(softmax.cross_entropy(softmax.only(x, kept), y), per_row, weights)


@explained()
def safe_softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> jax.Array:
    """Softmax cross entropy with 0 · log 0 = 0: ``softmax_cross_entropy`` by another name.

    **Value** −Σ y_c log p_c, p = softmax(logits) along the last axis.

    Args:
      logits: floats of shape [..., classes], −∞ for a class that is impossible.
      labels: distributions like ``logits``.

    Returns:
      losses of shape [...], at least float32.

    Raises:
      TypeError: logits that are not floating.
      ValueError: shapes that do not match.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = gk.safe_softmax_cross_entropy(jnp.array([-jnp.inf, 0.0]), jnp.array([0.0, 1.0]))
      >>> assert loss == 0

    **Differs from optax**: its forward-mode derivative is finite at logits of −∞.
    """
    x, y, _, _ = _rows(logits, labels, -1, None)
    return softmax.cross_entropy(x, y)


@explained()
def softmax_cross_entropy_with_integer_labels(
    logits: ArrayLike,
    labels: ArrayLike,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Softmax cross entropy of logits with integer labels, the loss of most classifiers.

    **Value** log Σ_c exp(x_c) − x_y, computed as (m − x_y) + log1p(Σ exp(x_c − m) of the others),
    m the largest logit: a loss of 1e-20 keeps its digits in float32.

    Args:
      logits: floats of shape [..., classes].
      labels: integers in [0, classes), of the shape of the result.
      axis: the axis of the classes; a tuple is one flattened axis, and labels are indices in it.
      where: booleans like the result, to leave examples out, or like ``logits``, to leave classes
        out of the softmax. An example whose label is left out has the loss 0. Labels of examples
        left out may be out of range, such as ``where=labels >= 0``.
      weights: factors of the losses, like the result.

    Returns:
      losses of the shape of ``logits`` without ``axis``, at least float32. Labels out of range give
      NaN where they are traced.

    Raises:
      TypeError: logits that are not floating, labels that are not integers.
      ValueError: shapes that do not match, labels out of range (where they are not traced).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> x = jnp.array([[50.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
      >>> loss = gk.softmax_cross_entropy_with_integer_labels(x, jnp.array([0, 2]))
      >>> assert jnp.allclose(loss, jnp.array([2 * jnp.exp(-50.0), jnp.log(3.0)]), atol=0)

    **Differs from optax**: masked examples have the gradient 0, also where the mask has the rank of
    ``logits``; labels out of range are refused; a label that ``where`` leaves out has the loss 0,
    as with one-hot labels; half-precision logits are computed in float32; ``weights``.

    Reference: Goodfellow et al. 2016, section 6.2.2.
    """
    logits = arrays.floating("logits", logits)
    along = arrays.axes(axis, logits.ndim)
    kept = arrays.row_mask(where, logits.shape, along, "logits")
    x = arrays.flat(logits, along)
    per_row = None if kept is None else jnp.any(kept, axis=-1)
    labels = arrays.labels_of("labels", labels, x.shape[:-1], x.shape[-1], per_row)

    good = arrays.in_range(labels, x.shape[-1])
    index = jnp.where(good, labels, 0)
    (x,) = arrays.keep(kept, x.astype(numerics.wide(x.dtype)))
    if kept is None:
        loss = softmax.integer_cross_entropy(x, index)
    else:
        chosen = jnp.take_along_axis(kept, index[..., None], axis=-1)[..., 0]
        # The label of a row that does not count is one that is kept, whose loss is finite.
        index = jnp.where(chosen, index, jnp.argmax(kept, axis=-1).astype(index.dtype))
        loss = softmax.integer_cross_entropy(softmax.only(x, kept), index)
        loss = jnp.where(chosen, loss, 0)
    if per_row is not None:
        good |= ~per_row
    return arrays.weigh(jnp.where(good, loss, jnp.nan), per_row, weights)


@explained()
def poly_loss_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: ArrayLike = 2.0,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """PolyLoss: the softmax cross entropy plus a multiple of the probability of being wrong.

    **Value** −Σ y_c log p_c + ε Σ y_c (1 − p_c).

    Args:
      logits: floats of shape [..., classes].
      labels: distributions like ``logits``.
      epsilon: ε; the paper takes 2 for ImageNet and −1 for detection.
      axis: the axis or axes of the classes; None for all.
      where: booleans like ``logits`` or like the result, as in ``softmax_cross_entropy``.
      weights: factors of the losses, like the result.

    Returns:
      losses of the shape of ``logits`` without ``axis``, at least float32.

    Raises:
      TypeError: logits that are not floating.
      ValueError: shapes that do not match.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> x, y = jnp.zeros(2), jnp.array([1.0, 0.0])
      >>> loss = gk.losses.poly_loss_cross_entropy(x, y, epsilon=2.0)
      >>> assert jnp.allclose(loss, jnp.log(2.0) + 1)

    **Differs from optax**: 0 log 0 is 0; half-precision logits are computed in float32; integer
    one-hot labels are accepted; ``weights``.

    Reference: Leng et al. 2022, https://arxiv.org/abs/2204.12511.
    """
    x, y, kept, per_row = _rows(logits, labels, axis, where)
    wrong = y * (1 - softmax.probabilities(x, kept))
    if kept is not None:
        wrong = jnp.where(kept, wrong, 0)
    factor = arrays.number("epsilon", epsilon, x)
    loss = softmax.cross_entropy(softmax.only(x, kept), y) + factor * jnp.sum(wrong, axis=-1)
    return arrays.weigh(loss, per_row, weights)


@explained()
def smooth_labels(
    labels: ArrayLike,
    alpha: ArrayLike,
    *,
    axis: Axis = -1,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Label smoothing: mix one-hot labels with the uniform distribution.

    **Value** (1 − α) y + α / C, C the number of classes (of those in ``where``).

    Args:
      labels: one-hot labels, floating, of shape [..., classes].
      alpha: the share of the uniform distribution, in [0, 1].
      axis: the axis or axes of the classes; None for all.
      where: booleans like ``labels``: the classes that there are. The others get 0.

    Returns:
      labels of the same shape and dtype.

    Raises:
      TypeError: labels that are not floating.
      ValueError: α outside [0, 1], or a mask that does not match.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> smooth = gk.smooth_labels(jnp.array([1.0, 0.0, 0.0, 0.0]), 0.25)
      >>> assert smooth.tolist() == [0.8125, 0.0625, 0.0625, 0.0625]

    **Differs from optax**: classes that ``where`` leaves out get 0, so that the labels add up to 1;
    α out of range is refused.

    Reference: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567; Müller et al. 2019,
    https://arxiv.org/abs/1906.02629.
    """
    given = arrays.floating("labels", labels)
    y = given.astype(numerics.wide(given.dtype))
    share = arrays.number("alpha", alpha, y)
    arrays.within("alpha", alpha, 0, 1)
    along = arrays.axes(axis, y.ndim)
    kept = arrays.mask(where, y.shape, "labels")
    if kept is None:
        count = 1
        for a in along:
            count *= y.shape[a]
        return ((1 - share) * y + share / max(count, 1)).astype(given.dtype)
    classes = jnp.maximum(jnp.sum(kept, axis=along, keepdims=True), 1).astype(y.dtype)
    return jnp.where(kept, (1 - share) * y + share / classes, 0).astype(given.dtype)


def _rows(
    logits: ArrayLike, labels: ArrayLike, axis: Axis, where: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]:
    """Logits and labels with the classes as the last axis, the mask, and which rows have any."""
    x, y = arrays.pair("logits", logits, "labels", labels)
    along = arrays.axes(axis, x.ndim)
    kept = arrays.row_mask(where, x.shape, along, "logits")
    x, y = arrays.keep(kept, arrays.flat(x, along), arrays.flat(y, along))
    return x, y, kept, None if kept is None else jnp.any(kept, axis=-1)
