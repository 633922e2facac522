"""Fenchel-Young losses, and those of the sparsemax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit._explain import explained
from gradkit.losses import _arrays as arrays
from gradkit.projections import projection_simplex


@explained()
def make_fenchel_young_loss(max_fun: Callable[..., ArrayLike]) -> Callable[..., jax.Array]:
    """Make a Fenchel-Young loss from a max function, such as the logistic loss from logsumexp.

    **Value** max_fun(scores) − ⟨targets, scores⟩ along the last axis.

    Args:
      max_fun: ``max_fun(scores, *args, **kwargs)``, a convex function of a vector to a number.

    Returns:
      ``loss(scores, targets, *args, **kwargs)``, of arrays [..., classes] to [...], at least
      float32.

    Raises:
      TypeError: a ``max_fun`` that is not a function.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> loss = gk.losses.make_fenchel_young_loss(jax.nn.logsumexp)
      >>> value = loss(jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]]))
      >>> assert jnp.allclose(value, jnp.log(2.0))

    **Differs from optax**: shapes that do not match are refused; half-precision scores are computed
    in float32.

    Reference: Blondel et al. 2020, https://www.jmlr.org/papers/v21/19-021.html.
    """
    if not callable(max_fun):
        problem = f"max_fun={check.shown(max_fun)} is not a function"
        check.refuse(problem, expected="a function such as jax.nn.logsumexp", error=TypeError)

    def fenchel_young_loss(
        scores: ArrayLike, targets: ArrayLike, *args: Any, **kwargs: Any
    ) -> jax.Array:
        with check.inside("fenchel_young_loss"):
            x, y = arrays.pair("scores", scores, "targets", targets)
        largest = jnp.vectorize(lambda row: max_fun(row, *args, **kwargs), signature="(n)->()")(x)
        return largest - jnp.sum(x * y, axis=-1)

    return fenchel_young_loss


@explained()
def sparsemax_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Sparsemax loss of binary labels, elementwise: exactly 0 beyond a margin of 1.

    **Value** z = −x for the label 1 and x for 0: 0 where z ≤ −1, z where z ≥ 1, else (z + 1)² / 4.

    Args:
      logits: x, floats of any shape.
      labels: 0 and 1, or booleans, like x.
      where: booleans like x; the loss and its gradient are 0 where False.
      weights: factors of the losses.

    Returns:
      losses of the shape of x, at least float32.

    Raises:
      TypeError: logits that are not floating.
      ValueError: shapes that do not match, labels other than 0 and 1 (where they are not traced).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = gk.losses.sparsemax_loss(jnp.array([2.0, 0.0, 2.0]), jnp.array([1, 1, 0]))
      >>> assert loss.tolist() == [0, 0.25, 2]

    **Differs from optax**: labels other than 0 and 1, such as −1, are refused; arrays of different
    rank are refused; half precision is computed in float32; ``where`` and ``weights``.

    Reference: Blondel et al. 2020, https://www.jmlr.org/papers/v21/19-021.html, section 4.4.
    """
    x, y = arrays.pair("logits", logits, "labels", labels)
    kept = arrays.mask(where, x.shape, "logits")
    if arrays.known(y) and (kept is None or arrays.known(kept)):
        values = np.asarray(y)
        wrong = (values != 0) & (values != 1)
        if kept is not None:
            wrong &= np.asarray(kept)
        if wrong.any():
            problem = f"labels has the value {float(values[wrong][0]):g}"
            check.refuse(problem, expected="0 or 1")
    x, y = arrays.keep(kept, x, y)
    z = jnp.where(y != 0, -x, x)
    inside = jnp.clip(z, -1, 1)
    return arrays.weigh(jnp.where(z >= 1, z, (inside + 1) ** 2 / 4), kept, weights)


@explained()
def multiclass_sparsemax_loss(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Sparsemax loss of integer labels: a cross entropy whose probabilities may be exactly zero.

    **Value** ⟨p, f − f_y⟩ + ½ (1 − ‖p‖²), p the projection of f onto the simplex; its gradient is
    p − e_y.

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
      >>> f = jnp.array([[3.0, 1.0], [0.0, 0.0]])
      >>> assert gk.losses.multiclass_sparsemax_loss(f, jnp.array([0, 0])).tolist() == [0, 0.25]

    **Differs from optax**: any number of leading axes; labels out of range are refused; half
    precision is computed in float32; ``where`` and ``weights``.

    Reference: Martins and Astudillo 2016, https://arxiv.org/abs/1602.02068.
    """
    f, y, kept, good = arrays.scored("scores", scores, labels, where)
    p = jnp.vectorize(projection_simplex, signature="(n)->(n)")(f)
    chosen = arrays.is_label(y, f.shape)
    above = f - jnp.sum(jnp.where(chosen, f, 0), axis=-1, keepdims=True)
    above = jnp.where(p > 0, above, 0)
    loss = jnp.sum(p * above, axis=-1) + (1 - jnp.sum(p * p, axis=-1)) / 2
    return arrays.weigh(jnp.where(good, loss, jnp.nan), kept, weights)
