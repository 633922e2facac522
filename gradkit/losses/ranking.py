"""The softmax loss of a ranking."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit._explain import explained
from gradkit.losses import _arrays as arrays
from gradkit.losses import _softmax as softmax


@explained()
def ranking_softmax_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: Callable[..., jax.Array] | None = jnp.mean,
) -> jax.Array:
    """Ranking loss of lists: softmax cross entropy of scores with relevances (ListNet).

    **Value** −Σ y_i log softmax(s)_i of a list, reduced over lists.

    Args:
      logits: s, floats of shape [..., list_size].
      labels: y, relevances like ``logits``.
      where: booleans like ``logits``: the items that there are. Lists without items do not count.
      weights: factors of the items' relevances, like ``logits``.
      reduce_fn: ``reduce_fn(losses, where=lists)``, such as ``jnp.mean`` and ``jnp.sum``; None for
        the losses of the lists.

    Returns:
      one number, or losses of shape [...], at least float32. The mean of no lists is 0.

    Raises:
      TypeError: scores that are not floating.
      ValueError: shapes that do not match.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = gk.losses.ranking_softmax_loss(jnp.zeros(2), jnp.array([1.0, 0.0]))
      >>> assert jnp.allclose(loss, jnp.log(2.0))

    **Differs from optax**: gradients are finite where items are masked; half-precision scores are
    computed in float32.

    Reference: Cao et al. 2007, https://doi.org/10.1145/1273496.1273513.
    """
    x, y = arrays.pair("logits", logits, "labels", labels)
    kept = arrays.mask(where, x.shape, "logits")
    if weights is not None:
        w = arrays.real("weights", weights).astype(x.dtype)
        y = y * arrays.fit("weights", w, x.shape, "logits")
    x, y = arrays.keep(kept, x, y)
    loss = softmax.cross_entropy(softmax.only(x, kept), y)
    lists = None if kept is None else jnp.any(kept, axis=-1)
    if lists is not None:
        loss = jnp.where(lists, loss, 0)
    if reduce_fn is None:
        return loss
    if reduce_fn is jnp.mean:
        count = loss.size if lists is None else jnp.sum(lists)
        return jnp.sum(loss) / jnp.maximum(count, 1).astype(loss.dtype)
    return reduce_fn(loss, where=lists)
