"""Connectionist temporal classification: the loss of a label sequence without an alignment."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.losses import _arrays as arrays
from gradkit.losses import _softmax as softmax


@explained()
def ctc_loss(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: ArrayLike = -1e5,
) -> jax.Array:
    """CTC loss of label sequences without alignment: −log of the sum over all alignments.

    **Value** −log Σ_π Π_t p_t(π_t), π the sequences of T symbols that give the labels when
    repetitions are merged and blanks are removed.

    Args:
      logits: floats of shape [batch, T, classes]; the classes include the blank.
      logit_paddings: 1 where a frame is padding, else 0, of shape [batch, T].
      labels: integers in [0, classes) other than the blank, of shape [batch, N].
      label_paddings: 1 where a label is padding, else 0, of shape [batch, N]; padding is on the
        right.
      blank_id: the class of the blank.
      log_epsilon: the finite stand-in for log 0. Labels that no alignment can give (more labels
        than frames) have a loss of about −``log_epsilon``.

    Returns:
      losses ≥ 0 of shape [batch], at least float32.

    Raises:
      TypeError: logits that are not floating, labels that are not integers.
      ValueError: shapes that do not match, ``blank_id`` out of range, and, where they are not
        traced, labels out of range, labels that are the blank, paddings that are not on the right.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> logits, frames = jnp.zeros((1, 2, 2)), jnp.zeros((1, 2))
      >>> loss = jax.jit(gk.ctc_loss)(logits, frames, jnp.array([[1]]), jnp.zeros((1, 1)))
      >>> assert jnp.allclose(loss, -jnp.log(0.75))  # 11, 01 and 10 of the four sequences

    **Differs from optax**: the loss is not negative where rounding would make it so; padded frames
    may be NaN; half-precision logits are computed in float32; the blank among the labels and
    padding on the left are refused.

    Reference: Graves et al. 2006, https://doi.org/10.1145/1143844.1143891.
    """
    return _ctc(logits, logit_paddings, labels, label_paddings, blank_id, log_epsilon)[0]


@explained()
def ctc_loss_with_forward_probs(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: ArrayLike = -1e5,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """CTC loss with the forward probabilities of its alignments.

    **Value** α_blank(t, n), α_label(t, n): the probability of the first n labels after t frames,
    that end in a blank, or in label n.

    Args:
      logits: floats of shape [batch, T, classes].
      logit_paddings: 1 where a frame is padding, else 0, of shape [batch, T].
      labels: integers in [0, classes) other than the blank, of shape [batch, N].
      label_paddings: 1 where a label is padding, else 0, of shape [batch, N].
      blank_id: the class of the blank.
      log_epsilon: the finite stand-in for log 0.

    Returns:
      the losses of ``ctc_loss``, log α_blank of shape [T, batch, N + 1] and log α_label of shape
      [T, batch, N]. As in optax, the last row of log α_blank includes the paths that end in a
      label.

    Raises:
      TypeError, ValueError: as ``ctc_loss``.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> logits, frames = jnp.zeros((1, 2, 2)), jnp.zeros((1, 2))
      >>> loss, blank, label = jax.jit(gk.ctc_loss_with_forward_probs)(
      ...     logits, frames, jnp.array([[1]]), jnp.zeros((1, 1))
      ... )
      >>> assert jnp.allclose(jnp.exp(label[:, 0, 0]), jnp.array([0.5, 0.5]))

    **Differs from optax** as ``ctc_loss`` does.

    Reference: Graves et al. 2006, https://doi.org/10.1145/1143844.1143891.
    """
    return _ctc(logits, logit_paddings, labels, label_paddings, blank_id, log_epsilon)


def _ctc(
    logits: Any, logit_paddings: Any, labels: Any, label_paddings: Any, blank: int, log_zero: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x = arrays.floating("logits", logits)
    frames, padded = (
        arrays.real(name, value)
        for name, value in (("logit_paddings", logit_paddings), ("label_paddings", label_paddings))
    )
    if x.ndim != 3:
        check.refuse(f"logits is {check.shape_dtype(x)}", expected="the shape [batch, T, classes]")
    batch, classes = x.shape[0], x.shape[2]
    if frames.shape != x.shape[:2]:
        problem = f"logit_paddings is {check.shape_dtype(frames)}"
        check.refuse(problem, expected=f"the shape {x.shape[:2]}")
    if padded.ndim != 2 or len(padded) != batch:
        problem = f"label_paddings is {check.shape_dtype(padded)}"
        check.refuse(problem, expected=f"the shape ({batch}, N)")
    check.integer(0, blank_id=blank)
    if blank >= classes:
        check.refuse(f"blank_id={blank} is out of range", expected=f"0 <= blank_id < {classes}")
    y = arrays.labels_of("labels", labels, padded.shape, classes, padded == 0)
    _refuse_labels(y, padded, blank)
    x = x.astype(numerics.wide(x.dtype))
    gone = (frames != 0).T[..., None]  # [T, batch, 1]
    x = jnp.where(gone, 0, x.transpose(1, 0, 2))
    zero = arrays.number("log_epsilon", log_zero, x)
    m, rest = softmax.largest_and_rest(x)
    log_p = (x - m) - jnp.log1p(rest)
    count = y.shape[1]
    index = jnp.broadcast_to(jnp.where(padded == 0, y, 0), (len(x), *y.shape))
    of_label = jnp.take_along_axis(log_p, index, axis=-1)
    of_blank = log_p[..., blank : blank + 1]
    # Between two equal labels there is a blank.
    again = jnp.pad(y[:, :-1] == y[:, 1:], ((0, 0), (0, min(count, 1))))[:, :count]
    after_equal = jnp.where(again, zero, 0)
    after_other = jnp.where(again, 0, zero)

    def enter(blanks: jax.Array, more: jax.Array) -> jax.Array:
        return jnp.concatenate([blanks[:, :1], jnp.logaddexp(blanks[:, 1:], more)], axis=1)

    def frame(carry: Any, now: Any) -> Any:
        blanks, emitted = carry
        label, empty, skip = now
        ready = enter(blanks, emitted + after_equal)
        new_emitted = jnp.logaddexp(ready[:, :-1], emitted) + label
        new_blanks = enter(ready + empty, emitted + empty + after_other)
        carry = jnp.where(skip, blanks, new_blanks), jnp.where(skip, emitted, new_emitted)
        return carry, carry

    begin = jnp.full((batch, count + 1), zero).at[:, 0].set(0)
    start = (begin, jnp.full((batch, count), zero))
    last, (blanks, emitted) = lax.scan(frame, start, (of_label, of_blank, gone))
    final = enter(*last)
    if len(blanks):
        blanks = blanks.at[-1].set(final)
    length = jnp.sum(padded == 0, axis=1)
    loss = -jnp.take_along_axis(final, length[:, None], axis=1)[:, 0]
    # A probability rounded above 1; the gradient stays.
    return loss + lax.stop_gradient(jnp.maximum(-loss, 0)), blanks, emitted


def _refuse_labels(labels: jax.Array, padded: jax.Array, blank: int) -> None:
    if not arrays.known(padded):
        return
    gone = np.asarray(padded) != 0
    if (gone[:, :-1] & ~gone[:, 1:]).any():
        problem = "label_paddings has a label to the right of padding"
        check.refuse(problem, expected="padding on the right only")
    if arrays.known(labels) and (np.asarray(labels)[~gone] == blank).any():
        fix = "Pad with label_paddings, or give the class of the blank as blank_id"
        check.refuse(f"labels has the blank, blank_id={blank}", expected="other classes", fix=fix)
