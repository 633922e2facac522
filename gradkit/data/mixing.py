"""Augmentation that mixes pairs of samples and their labels: mixup and CutMix."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.data import _images as inputs
from gradkit.data._sharding import along_batch, rows_of
from gradkit.typing import Key, Scalar


@explained(numbers="alpha")
def mixup(
    key: Key, images: ArrayLike, labels: ArrayLike, alpha: Scalar = 0.2
) -> tuple[jax.Array, jax.Array]:
    """Mix each sample of a batch, and its label, with another one (mixup).

    **Value** λ x_i + (1 − λ) x_j and λ y_i + (1 − λ) y_j, with λ ~ Beta(α, α) drawn for each i, and
    j from a random permutation.

    Args:
      key: a seed or a random key.
      images: floating inputs [batch, ...] of any shape; their dtype is kept.
      labels: floating labels [batch, ...], one-hot or smoothed (``gk.smooth_labels``).
      alpha: α > 0. Small ones leave most samples nearly as they are, 1 is a uniform λ.

    Returns:
      the mixed inputs and labels, of the same shapes and dtypes.

    Raises:
      ValueError: labels and inputs of different batches, an alpha that is not positive.
      TypeError: integer labels or inputs.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> y = jax.nn.one_hot(jnp.arange(4), 4)
      >>> x, mixed = gk.data.mixup(0, 10 * y, y, alpha=1.0)
      >>> assert jnp.allclose(x, 10 * mixed) and jnp.allclose(mixed.sum(axis=1), 1)

    Reference: Zhang et al. 2018, https://arxiv.org/abs/1710.09412.
    """
    x, y = inputs.floating("images", images), _labels(labels, images)
    check.positive(alpha=alpha)
    first, second = jax.random.split(inputs.one_key(key))
    dtype = numerics.wider(numerics.wide(x.dtype), numerics.wide(y.dtype))
    return _mixed(second, x, y, _beta(first, alpha, x.shape[0], dtype))


@explained(numbers="alpha")
def cutmix(
    key: Key, images: ArrayLike, labels: ArrayLike, alpha: Scalar = 1.0
) -> tuple[jax.Array, jax.Array]:
    """Paste a random rectangle of another image into each, and mix the labels by area (CutMix).

    **Value** the rectangle has the sides √(1 − λ) of the image's, λ ~ Beta(α, α), about a uniform
    pixel, clipped to the image. The labels are mixed by the area that is left.

    Args:
      key: a seed or a random key.
      images: images [batch, height, width, channels] of any dtype, which is kept.
      labels: floating labels [batch, ...], one-hot or smoothed (``gk.smooth_labels``).
      alpha: α > 0.

    Returns:
      the mixed images and labels, of the same shapes and dtypes.

    Raises:
      ValueError: images of another rank, labels of another batch, an alpha that is not positive.
      TypeError: integer labels.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> y = jax.nn.one_hot(jnp.arange(4), 4)
      >>> x = jnp.broadcast_to(y[:, None, None], (4, 8, 8, 4))  # a channel for each class
      >>> x, mixed = gk.data.cutmix(0, x, y)
      >>> assert jnp.allclose(x.mean(axis=(1, 2)), mixed)

    Reference: Yun et al. 2019, https://arxiv.org/abs/1905.04899.
    """
    x, y = inputs.images(images), _labels(labels, images)
    check.positive(alpha=alpha)
    first, second = jax.random.split(inputs.one_key(key))
    return _pasted(second, x, y, _beta(first, alpha, x.shape[0], numerics.wide(y.dtype)))


@jax.jit
def _mixed(
    key: jax.Array, x: jax.Array, y: jax.Array, share: jax.Array
) -> tuple[jax.Array, jax.Array]:
    partner = jax.random.permutation(key, x.shape[0])
    return _blend(x, rows_of(x, partner), share), _blend(y, rows_of(y, partner), share)


@jax.jit
def _pasted(
    key: jax.Array, x: jax.Array, y: jax.Array, share: jax.Array
) -> tuple[jax.Array, jax.Array]:
    first, second = jax.random.split(key)
    height, width = (jnp.int32(jnp.sqrt(1 - share) * length) for length in x.shape[1:3])
    inside = inputs.boxes(first, x, height, width)
    left = 1 - inside.mean(axis=(1, 2, 3), dtype=share.dtype)
    partner = jax.random.permutation(second, x.shape[0])
    return jnp.where(inside, rows_of(x, partner), x), _blend(y, rows_of(y, partner), left)


def _labels(labels: ArrayLike, images: ArrayLike) -> jax.Array:
    found = inputs.floating("labels", labels)
    if found.shape[:1] != jnp.shape(images)[:1]:
        problem = f"labels is {check.shape_dtype(found)} for images {check.shape_dtype(images)}"
        check.refuse(problem, expected="a label for each image")
    return found


@partial(jax.jit, static_argnums=(2, 3))
def _beta(key: jax.Array, alpha: Scalar, count: int, dtype: jnp.dtype) -> jax.Array:
    alpha = jnp.asarray(alpha, dtype)
    return jax.random.beta(key, alpha, alpha, (count,), dtype)


def _blend(x: jax.Array, other: jax.Array, share: jax.Array) -> jax.Array:
    """The share of the one and the rest of the other, computed in float32 or wider."""
    dtype = numerics.wide(x.dtype)
    share = along_batch(share.astype(dtype), x).reshape((-1,) + (1,) * (x.ndim - 1))
    return (share * x.astype(dtype) + (1 - share) * other.astype(dtype)).astype(x.dtype)
