"""Sums of exponentials, and the cross entropy, so that small losses and gradients keep digits.

XLA for CPU does not fuse ``select`` into a sum: on large vocabularies it would write arrays as
large as the logits. The sums here are of products.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_jvp
def others(z: jax.Array) -> jax.Array:
    """Σ exp(z) − 1 along the last axis, kept, for z ≤ 0 whose largest element is 0."""
    below = -jnp.sign(z)  # 0 at the largest, else 1
    ties = jnp.sum(1 - below, axis=-1, keepdims=True)
    return jnp.sum(below * jnp.exp(z), axis=-1, keepdims=True) + (ties - 1)


@others.defjvp
def _others_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (z,), (dz,) = primals, tangents
    return others(z), jnp.sum(jnp.exp(z) * dz, axis=-1, keepdims=True)


def largest_and_rest(x: jax.Array, kept: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """M and s, each of shape [..., 1], with log Σ exp(x) = m + log(1 + s).

    m is the largest element, a constant to the derivative, and s = Σ exp(x − m) − 1, added up
    without the 1. Of a row whose elements are all masked: of zeros.
    """
    x = only(x, kept)
    m = lax.stop_gradient(jnp.max(x, axis=-1, keepdims=True))
    return m, others(x - m)


def only(x: jax.Array, kept: jax.Array | None) -> jax.Array:
    """The elements that are kept, and −∞; zeros in a row where none is."""
    if kept is None:
        return x
    anything = jnp.any(kept, axis=-1, keepdims=True)
    return jnp.where(kept, x, jnp.where(anything, -jnp.inf, 0).astype(x.dtype))


def probabilities(x: jax.Array, kept: jax.Array | None = None) -> jax.Array:
    """The softmax along the last axis, zero where masked."""
    m, rest = largest_and_rest(x, kept)
    shifted = x - m if kept is None else jnp.where(kept, x - m, 0)
    p = jnp.exp(shifted) / (1 + rest)
    return p if kept is None else jnp.where(kept, p, 0)


@jax.custom_jvp
def cross_entropy(x: jax.Array, labels: jax.Array) -> jax.Array:
    """−Σ labels · log softmax(x) along the last axis, with 0 · log 0 = 0."""
    m, rest = largest_and_rest(x)
    return jnp.sum(labels * _below(m, x, labels), axis=-1) + (
        jnp.sum(labels, axis=-1) * jnp.log1p(rest[..., 0])
    )


def _below(m: jax.Array, x: jax.Array, labels: jax.Array) -> jax.Array:
    below = m - x
    return jnp.where((labels == 0) & jnp.isposinf(below), 0, below)


@cross_entropy.defjvp
def _cross_entropy_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x, y), (dx, dy) = primals, tangents
    m, rest = largest_and_rest(x)
    log_p = -_below(m, x, y) - jnp.log1p(rest)
    slope = _slope(jnp.exp(x - m), y, jnp.sum(y, axis=-1, keepdims=True), rest)
    return cross_entropy(x, y), jnp.sum(slope * dx, axis=-1) - jnp.sum(log_p * dy, axis=-1)


@jax.custom_jvp
def integer_cross_entropy(x: jax.Array, labels: jax.Array) -> jax.Array:
    """−log softmax(x) of one element of each row: labels in range."""
    m, rest = largest_and_rest(x)
    own = jnp.take_along_axis(x, labels[..., None], axis=-1)
    return ((m - own) + jnp.log1p(rest))[..., 0]


@integer_cross_entropy.defjvp
def _integer_cross_entropy_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x, labels), (dx, _) = primals, tangents
    m, rest = largest_and_rest(x)
    log_rest = jnp.log1p(rest)
    own = jnp.take_along_axis(x, labels[..., None], axis=-1)
    index = lax.broadcasted_iota(labels.dtype, x.shape, x.ndim - 1)
    # p − 1 of the label by expm1, which has its digits where p is nearly 1. The others from x
    # again: what is shared with the sum would be written.
    p = jnp.exp((x - m) - log_rest)
    slope = jnp.where(index == labels[..., None], jnp.expm1((own - m) - log_rest), p)
    return integer_cross_entropy(x, labels), jnp.sum(slope * dx, axis=-1)


def _slope(e: jax.Array, y: jax.Array, mass: jax.Array, rest: jax.Array) -> jax.Array:
    """(Σy) p − y, with p = e / (1 + rest). At the largest, e = 1, a label of 1 cancels exactly."""
    return ((mass * e - y) - y * rest) / (1 + rest)
