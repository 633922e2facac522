"""The logarithm of a sum of exponentials, in two parts that keep the digits of small losses."""

import jax
import jax.numpy as jnp
from jax import lax


def largest_and_rest(x: jax.Array, kept: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """M and s, each of shape [..., 1], with log Σ exp(x) = m + log(1 + s).

    m is the largest element, and s = Σ exp(x − m) of the others: its derivative is a softmax whose
    sum does not cancel against a label of 1.
    """
    candidates = x if kept is None else jnp.where(kept, x, -jnp.inf)
    top = jnp.argmax(candidates, axis=-1, keepdims=True)
    is_top = lax.broadcasted_iota(top.dtype, x.shape, x.ndim - 1) == top
    m = jnp.sum(jnp.where(is_top, x, 0), axis=-1, keepdims=True)
    left_out = is_top if kept is None else is_top | ~kept
    # Not exp first: of an element left out it might be infinite, and its derivative NaN.
    rest = jnp.exp(jnp.where(left_out, 0, x - m))
    return m, jnp.sum(jnp.where(left_out, 0, rest), axis=-1, keepdims=True)


def probabilities(x: jax.Array, kept: jax.Array | None = None) -> jax.Array:
    """The softmax along the last axis, zero where masked."""
    m, rest = largest_and_rest(x, kept)
    shifted = x - m if kept is None else jnp.where(kept, x - m, 0)
    p = jnp.exp(shifted) / (1 + rest)
    return p if kept is None else jnp.where(kept, p, 0)


def cross_entropy(x: jax.Array, labels: jax.Array, kept: jax.Array | None = None) -> jax.Array:
    """−Σ labels · log softmax(x) along the last axis, with 0 · log 0 = 0."""
    m, rest = largest_and_rest(x, kept)
    below = m - x
    below = jnp.where((labels == 0) & jnp.isposinf(below), 0, below)
    if kept is not None:
        below, labels = jnp.where(kept, below, 0), jnp.where(kept, labels, 0)
    return jnp.sum(labels * below, axis=-1) + jnp.sum(labels, axis=-1) * jnp.log1p(rest[..., 0])
