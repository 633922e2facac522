"""Dice losses of segmentations: one minus the overlap of predicted and true regions."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.losses import _arrays as arrays
from gradkit.losses import _softmax as softmax


@explained()
def dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_weights: ArrayLike | None = None,
    smooth: ArrayLike = 1.0,
    alpha: ArrayLike = 0.5,
    beta: ArrayLike = 0.5,
    apply_softmax: bool = True,
    reduction: str = "mean",
    ignore_background: bool = False,
    axis: int | tuple[int, ...] | None = None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Dice loss of a segmentation; with other weights of its errors the Tversky loss.

    **Value** 1 − (I + s) / (I + α (P − I) + β (T − I) + s) of each class, with the sums over pixels
    I = Σ p t, P = Σ p, T = Σ t.

    Args:
      predictions: logits of shape [batch, ..., classes]; [..., 1], or without the last axis, for
        one class against the background.
      targets: t, one-hot or in [0, 1], like ``predictions``.
      class_weights: factors of the classes' losses, of shape [classes].
      smooth: s ≥ 0, which keeps empty regions finite.
      alpha: the weight of false positives.
      beta: the weight of false negatives.
      apply_softmax: whether predictions are logits, to which the softmax (of one class the
        sigmoid) is applied; False for probabilities.
      reduction: ``"mean"``, ``"sum"`` or ``"none"`` over classes.
      ignore_background: whether to leave class 0 out.
      axis: the axes of the pixels; None for all between the first and the last.
      where: booleans like ``predictions`` (axes of length 1 are broadcast): the pixels that there
        are.

    Returns:
      losses of shape [batch], or [batch, classes] without reduction, at least float32.

    Raises:
      TypeError: predictions that are not floating.
      ValueError: shapes that do not match, probabilities that do not add up to 1 (where they are
        not traced), or an unknown reduction.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = jnp.array([[[0.75, 0.25], [0.25, 0.75]]])
      >>> t = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
      >>> loss = gk.losses.dice_loss(p, t, apply_softmax=False, smooth=0.0)
      >>> assert jnp.allclose(loss, jnp.array([0.25]))

    **Differs from optax**: probabilities (``apply_softmax=False``) work under ``jit``, and for one
    class; a region empty in both gives 0 at s = 0, not NaN; half precision is computed in float32;
    ``where``.

    Reference: Milletari et al. 2016, https://arxiv.org/abs/1606.04797; Salehi et al. 2017,
    https://arxiv.org/abs/1706.05721.
    """
    check.one_of(("mean", "sum", "none"), reduction=reduction)
    x, t = arrays.floating("predictions", predictions), arrays.real("targets", targets)
    x = x[..., None] if x.ndim == t.ndim - 1 else x
    t = t[..., None] if t.ndim == x.ndim - 1 else t
    if x.shape != t.shape or x.ndim < 2:
        problem = f"targets is {check.shape_dtype(t)}, and predictions {check.shape_dtype(x)}"
        check.refuse(problem, expected="one shape [batch, ..., classes]")
    x, t = arrays.pair("predictions", x, "targets", t)
    kept = arrays.mask(where, x.shape, "predictions")
    x, t = arrays.keep(kept, x, t)
    if apply_softmax:
        x = jax.nn.sigmoid(x) if x.shape[-1] == 1 else softmax.probabilities(x)
    else:
        _refuse_no_probabilities(x, kept)
    if kept is not None:
        x = jnp.where(kept, x, 0)
    along = tuple(range(1, x.ndim - 1)) if axis is None else arrays.axes(axis, x.ndim)
    both, found, true = (jnp.sum(part, axis=along) for part in (x * t, x, t))
    s, false_found, missed = (
        arrays.number(name, value, x)
        for name, value in (("smooth", smooth), ("alpha", alpha), ("beta", beta))
    )
    whole = both + false_found * (found - both) + missed * (true - both) + s
    loss = jnp.where(whole == 0, 0, 1 - numerics.divide(both + s, whole))
    if class_weights is not None:
        factors = arrays.real("class_weights", class_weights).astype(loss.dtype)
        if factors.shape != loss.shape[-1:]:
            problem = f"class_weights is {check.shape_dtype(factors)}"
            check.refuse(problem, expected=f"the shape {loss.shape[-1:]}")
        loss = loss * jnp.broadcast_to(factors, loss.shape)
    if ignore_background and x.shape[-1] > 1:
        loss = loss[..., 1:]
    if reduction == "none":
        return loss
    return jnp.mean(loss, axis=-1) if reduction == "mean" else jnp.sum(loss, axis=-1)


@explained()
def multiclass_generalized_dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    apply_softmax: bool = True,
    ignore_background: bool = False,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Dice loss with classes weighted by the inverse square of how often they occur.

    **Value** the mean over batch and classes of w_c dice_c, w_c ∝ 1 / (n_c² + 1e-7) with the mean
    1, n_c the sum of the targets of class c in the whole batch.

    Args:
      predictions: logits of shape [batch, ..., classes].
      targets: one-hot, like ``predictions``.
      smooth: as in ``dice_loss``.
      apply_softmax: as in ``dice_loss``.
      ignore_background: whether to leave class 0 out.
      where: booleans like ``predictions`` (axes of length 1 are broadcast): the pixels that there
        are.

    Returns:
      one number, at least float32. A class that does not occur has by far the largest weight.

    Raises:
      TypeError: predictions that are not floating.
      ValueError: shapes that do not match.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> t = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
      >>> loss = gk.losses.multiclass_generalized_dice_loss(t, t, apply_softmax=False)
      >>> assert loss == 0

    **Differs from optax** as ``dice_loss`` does.

    Reference: Sudre et al. 2017, https://arxiv.org/abs/1707.03237.
    """
    x, t = arrays.pair("predictions", predictions, "targets", targets)
    kept = arrays.mask(where, x.shape, "predictions")
    (counted,) = arrays.keep(kept, t)
    often = jnp.sum(counted, axis=tuple(range(t.ndim - 1)))
    factors = 1 / (often * often + 1e-7)
    factors = factors / jnp.sum(factors) * factors.size
    return jnp.mean(
        dice_loss(
            x,
            t,
            class_weights=factors,
            smooth=smooth,
            apply_softmax=apply_softmax,
            reduction="none",
            ignore_background=ignore_background,
            where=kept,
        )
    )


@explained()
def binary_dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    apply_sigmoid: bool = True,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Dice loss of a segmentation into foreground and background.

    **Value** 1 − (Σ p t + s) / (½ Σ p + ½ Σ t + s), sums over pixels.

    Args:
      predictions: logits of shape [batch, ...] or [batch, ..., 1].
      targets: 0 and 1, like ``predictions``.
      smooth: s ≥ 0.
      apply_sigmoid: whether predictions are logits; False for probabilities.
      where: booleans like ``predictions``: the pixels that there are.

    Returns:
      losses of shape [batch], at least float32.

    Raises:
      TypeError: predictions that are not floating.
      ValueError: shapes that do not match, probabilities outside [0, 1] (where they are not
        traced).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p, t = jnp.array([[0.5, 0.5, 0.0]]), jnp.array([[1.0, 0.0, 0.0]])
      >>> loss = gk.losses.binary_dice_loss(p, t, apply_sigmoid=False, smooth=0.0)
      >>> assert loss.tolist() == [0.5]

    **Differs from optax** as ``dice_loss`` does.
    """
    x, t = arrays.pair("predictions", predictions, "targets", targets)
    kept = arrays.mask(where, x.shape, "predictions")
    if x.ndim and x.shape[-1] != 1:
        x, t, kept = x[..., None], t[..., None], None if kept is None else kept[..., None]
    return dice_loss(x, t, smooth=smooth, apply_softmax=apply_sigmoid, where=kept)


def _refuse_no_probabilities(x: jax.Array, kept: jax.Array | None) -> None:
    """Refuse what is known now and no distribution; one class only has to be in [0, 1]."""
    if not arrays.known(x) or (kept is not None and not arrays.known(kept)):
        return
    values = np.asarray(x, np.float64)
    fix = "Logits are converted by apply_softmax=True"
    if x.shape[-1] == 1:
        arrays.refuse_outside("predictions", x, kept, fix)
        return
    sums = values.sum(axis=-1)
    wrong = abs(sums - 1) > 1e-4
    if kept is not None:
        wrong &= np.asarray(kept).all(axis=-1)
    if wrong.any():
        problem = f"predictions has probabilities with the sum {sums[wrong][0]:g}"
        check.refuse(problem, expected="the sum 1 along the last axis", fix=fix)
