"""The cross entropy of a language model's output layer, without its logits in full."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.losses import _arrays as arrays
from gradkit.losses import _softmax as softmax


@explained()
def linear_softmax_cross_entropy(
    hidden: ArrayLike,
    kernel: ArrayLike,
    labels: ArrayLike,
    *,
    chunk_size: int = 4096,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    precision: Any = None,
) -> jax.Array:
    """Softmax cross entropy from hidden states and the output matrix, in chunks of the vocabulary.

    **Value** −log softmax(h W)_y: that of ``softmax_cross_entropy_with_integer_labels(h @ W, y)``.

    Neither logits nor probabilities exist in full: each pass computes [examples, chunk_size] logits
    at a time, in at least float32. The backward pass computes them again, so the loss and its
    gradient cost four matrix products in place of three. It is a ``jax.custom_vjp``: reverse mode
    and first derivatives only.

    Args:
      hidden: h, floats of shape [..., features].
      kernel: W, floats of shape [features, classes]; for tied embeddings the transpose of the
        table.
      labels: y, integers in [0, classes), of shape [...].
      chunk_size: the number of classes computed at a time, ≥ 1.
      where: booleans like ``labels``; the loss and its gradient are 0 where False, and labels may
        be out of range.
      weights: factors of the losses, like ``labels``.
      precision: that of the matrix products, as in ``jax.numpy.matmul``.

    Returns:
      losses of shape [...], at least float32; NaN for traced labels out of range.

    Raises:
      TypeError: hidden states or a kernel that are not floating, labels that are not integers.
      ValueError: shapes that do not match, labels out of range (where they are not traced), or
        ``chunk_size`` < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> h, kernel = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0, 3.0], [0.0, 1.0, -1.0]])
      >>> labels = jnp.array([2])
      >>> loss = gk.losses.linear_softmax_cross_entropy(h, kernel, labels, chunk_size=2)
      >>> plain = gk.softmax_cross_entropy_with_integer_labels(h @ kernel, labels)
      >>> assert jnp.allclose(loss, plain)

    **Differs from optax**, which has no such loss. For half-precision arguments the derivative with
    respect to the logits is rounded to their dtype before it is multiplied, as in the backward pass
    of ``h @ W``; sums are float32.

    Reference: Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867; Wijmans et al. 2025,
    https://arxiv.org/abs/2411.09009.
    """
    h, matrix = arrays.floating("hidden", hidden), arrays.floating("kernel", kernel)
    if not h.ndim or matrix.ndim != 2 or matrix.shape[0] != h.shape[-1] or not matrix.shape[1]:
        problem = f"kernel is {check.shape_dtype(matrix)}, and hidden {check.shape_dtype(h)}"
        check.refuse(problem, expected="the shapes [features, classes] and [..., features]")
    check.integer(1, chunk_size=chunk_size)
    kept = arrays.mask(where, h.shape[:-1], "labels")
    y = arrays.labels_of("labels", labels, h.shape[:-1], matrix.shape[1], kept)
    good = arrays.in_range(y, matrix.shape[1])
    if kept is not None:
        h, y, good = jnp.where(kept[..., None], h, 0), jnp.where(kept, y, 0), good | ~kept
    dtype = numerics.wider(h.dtype, matrix.dtype)
    rows = h.reshape(-1, h.shape[-1]).astype(dtype)
    chunk = min(int(chunk_size), matrix.shape[1])
    loss = _chunked(rows, matrix.astype(dtype), y.reshape(-1), chunk, precision)
    loss = jnp.where(good, loss.reshape(y.shape), jnp.nan)
    return arrays.weigh(loss, kept, weights)


def _forward(
    h: jax.Array, kernel: jax.Array, y: jax.Array, chunk: int, precision: Any
) -> tuple[jax.Array, jax.Array]:
    """The losses, and the logarithms of the sums of exponentials as m and log(1 + s)."""
    classes = kernel.shape[1]

    def join(carry: Any, start: Any, width: int) -> Any:
        m, rest, own = carry
        x = _logits(h, kernel, start, width, precision)
        own = own + _own(x, y - start)
        top, others = (a[:, 0] for a in softmax.largest_and_rest(x))
        # The larger of two maxima is counted as 1, and the other one with the rest.
        new = top > m
        high, low = jnp.where(new, top, m), jnp.where(new, m, top)
        factor = jnp.exp(jnp.where(low == high, 0, low - high))
        a, b = jnp.where(new, others, rest), jnp.where(new, rest, others)
        return high, a + (1 + b) * factor, own

    # The first chunk begins the sums: no infinity to begin with.
    first = _logits(h, kernel, 0, chunk, precision)
    m, rest = (a[:, 0] for a in softmax.largest_and_rest(first))
    m, rest, own = _over(classes, chunk, join, (m, rest, _own(first, y)), skip=1)
    log_rest = jnp.log1p(rest)
    return (m - own) + log_rest, jnp.stack([m, log_rest])


def _own(x: jax.Array, y: jax.Array) -> jax.Array:
    """The elements that labels name, and 0 for a label of another chunk."""
    here = arrays.in_range(y, x.shape[1])
    own = jnp.take_along_axis(x, jnp.where(here, y, 0)[:, None], axis=-1)[:, 0]
    return jnp.where(here, own, 0)


def _over(classes: int, chunk: int, body: Any, carry: Any, skip: int = 0) -> Any:
    """``body(carry, start, width)`` for every chunk of the classes, the last one narrower."""
    whole = classes // chunk
    if whole > skip:
        carry = lax.fori_loop(skip, whole, lambda i, c: body(c, i * chunk, chunk), carry)
    return body(carry, whole * chunk, classes % chunk) if classes % chunk else carry


def _logits(h: jax.Array, kernel: jax.Array, start: Any, width: int, precision: Any) -> jax.Array:
    part = lax.dynamic_slice_in_dim(kernel, start, width, axis=1)
    return jnp.matmul(h, part, precision=precision, preferred_element_type=numerics.wide(h.dtype))


def _backward(chunk: int, precision: Any, kept: Any, slope: jax.Array) -> Any:
    h, kernel, y, loss, (m, log_rest) = kept
    dtype = numerics.wide(h.dtype)

    def add(carry: Any, start: Any, width: int) -> Any:
        dh, dkernel = carry
        x = _logits(h, kernel, start, width, precision)
        p = jnp.exp((x - m[:, None]) - log_rest[:, None])
        # p − 1 of the label from the loss, which has its digits where p is nearly 1.
        p = jnp.where(arrays.is_label(y - start, x.shape), jnp.expm1(-loss)[:, None], p)
        d = (p * slope[:, None]).astype(h.dtype)
        part = lax.dynamic_slice_in_dim(kernel, start, width, axis=1)
        product = {"precision": precision, "preferred_element_type": dtype}
        dh = dh + jnp.matmul(d, part.T, **product)
        dpart = jnp.matmul(h.T, d, **product).astype(kernel.dtype)
        return dh, lax.dynamic_update_slice_in_dim(dkernel, dpart, start, axis=1)

    dh = jnp.zeros(h.shape, dtype)
    dh, dkernel = _over(kernel.shape[1], chunk, add, (dh, jnp.zeros_like(kernel)))
    return dh.astype(h.dtype), dkernel, None


def _chunked_value(
    h: jax.Array, kernel: jax.Array, y: jax.Array, chunk: int, precision: Any
) -> jax.Array:
    return _forward(h, kernel, y, chunk, precision)[0]


def _chunked_forward(
    h: jax.Array, kernel: jax.Array, y: jax.Array, chunk: int, precision: Any
) -> Any:
    loss, parts = _forward(h, kernel, y, chunk, precision)
    return loss, (h, kernel, y, loss, parts)


_chunked = jax.custom_vjp(_chunked_value, nondiff_argnums=(3, 4))
_chunked.defvjp(_chunked_forward, _backward)
