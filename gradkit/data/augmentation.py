"""Augmentation of images in the training step: functions of a key and a batch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.ndimage import map_coordinates
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.data import _images as inputs
from gradkit.data._sharding import along_batch
from gradkit.typing import Key, Scalar

Augmentation: TypeAlias = Callable[[jax.Array, jax.Array], ArrayLike]


@explained()
def augment(key: Key, images: ArrayLike, functions: Sequence[Augmentation]) -> jax.Array:
    """Apply augmentations to a batch of images in turn, each with a random key of its own.

    Args:
      key: a seed or a random key, such as ``jax.random.fold_in(key, step)``.
      images: a batch of images.
      functions: functions ``f(key, images)`` such as ``random_flip``; arguments are set with
        ``functools.partial``. One that is added at the end leaves the draws of the others alone.

    Returns:
      the augmented images.

    Raises:
      TypeError: what is not a function of a key and images.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> from functools import partial
      >>> functions = [gk.data.random_flip, partial(gk.data.random_shift, max_shift=2)]
      >>> def loss_fn(w, key, x, y):
      ...     x = gk.data.augment(key, x, functions)
      ...     return jnp.mean((x.reshape(len(x), -1) @ w - y) ** 2)
      >>> tx = gk.sgd(0.1)
      >>> step = gk.make_step(loss_fn, tx)
      >>> w, x, y = jnp.zeros(64), jnp.ones((2, 8, 8, 1)), jnp.ones(2)
      >>> w, state, loss = step(w, tx.init(w), jax.random.key(0), x, y)
      >>> assert loss == 1 and jnp.isclose(w.reshape(8, 8)[4, 4], 0.2)
    """
    key, images = inputs.one_key(key), inputs.array("images", images)
    if not isinstance(functions, (list, tuple)):
        problem = f"functions={check.shown(functions)} is not a list"
        check.refuse(problem, expected="functions of a key and images", error=TypeError)
    for i, function in enumerate(functions):
        name = f"functions[{i}]"
        check.arity(2, "a key and images", **{name: function})
        images = jnp.asarray(function(jax.random.fold_in(key, i), images))
    return images


@explained()
def per_image(function: Augmentation) -> Augmentation:
    """Map a function of a random key and one image over a batch, such as those of dm-pix.

    Args:
      function: ``function(key, image)``.

    Returns:
      a function of a key and a batch of images, in which each image has its own key.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> def brightness(key, image):
      ...     return image + jax.random.uniform(key)
      >>> bright = gk.data.per_image(brightness)(0, jnp.zeros((3, 2, 2, 1)))
      >>> assert jnp.unique(bright).size == 3
    """
    check.arity(2, "a key and an image", function=function)

    def mapped(key: Key, images: ArrayLike) -> jax.Array:
        with check.inside("per_image"):
            key, images = inputs.one_key(key), inputs.array("images", images)
        keys = along_batch(jax.random.split(key, images.shape[0]), images)
        return jnp.asarray(jax.vmap(function)(keys, images))

    return mapped


@explained(numbers="probability")
def random_flip(
    key: Key, images: ArrayLike, probability: Scalar = 0.5, *, axis: int = 2
) -> jax.Array:
    """Flip each image from left to right with a probability (data augmentation).

    Args:
      key: a seed or a random key.
      images: images [batch, height, width, channels] of any dtype, which is kept.
      probability: of a flip, 0 to 1.
      axis: 2 flips from left to right, 1 from top to bottom.

    Returns:
      images of the same shape and dtype.

    Raises:
      ValueError: another rank, a probability outside [0, 1].

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> x = jnp.arange(6).reshape(1, 2, 3, 1)
      >>> flipped = gk.data.random_flip(0, x, 1.0)
      >>> assert flipped[0, 0, :, 0].tolist() == [2, 1, 0]
      >>> assert (gk.data.random_flip(1, flipped, 1.0) == x).all()
    """
    images = inputs.images(images)
    check.probability(probability=probability)
    if axis not in (1, 2):
        check.refuse(f"axis={check.shown(axis)} is not an axis of pixels", expected="1 or 2")
    return _flipped(inputs.one_key(key), images, probability, axis)


@explained()
def random_crop(key: Key, images: ArrayLike, size: int | tuple[int, int]) -> jax.Array:
    """Crop each image to a window of a fixed size at a random place (data augmentation).

    Args:
      key: a seed or a random key.
      images: images [batch, height, width, channels] of any dtype, which is kept.
      size: (height, width) of the windows, at most those of the images; one number for squares.

    Returns:
      images [batch, *size, channels].

    Raises:
      ValueError: another rank, a window larger than the images.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> crop = gk.data.random_crop(0, jnp.arange(25).reshape(1, 5, 5, 1), 2)[0, :, :, 0]
      >>> assert (crop - crop[0, 0]).tolist() == [[0, 1], [5, 6]]
    """
    images = inputs.images(images)
    height, width = inputs.extent("size", size, 1, images.shape[1:3])
    return _windows(inputs.one_key(key), images, height, width)


@explained()
def random_shift(
    key: Key, images: ArrayLike, max_shift: int | tuple[int, int], *, mode: str = "constant"
) -> jax.Array:
    """Shift each image by a random number of pixels (pad and crop; data augmentation).

    Args:
      key: a seed or a random key.
      images: images [batch, height, width, channels] of any dtype, which is kept.
      max_shift: the most pixels along (height, width), in either direction; one number for both.
        All shifts in whole pixels are equally likely.
      mode: what moves in: "constant" zeros, "edge" the pixels at the edge, "reflect" the image
        mirrored at the pixels of its edge, "wrap" the opposite side.

    Returns:
      images of the same shape and dtype.

    Raises:
      ValueError: another rank, a shift as large as the images, an unknown mode.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> x = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)
      >>> assert gk.data.random_shift(0, x, 2).sum() == 1  # wherever the point is now

    Reference: He et al. 2016, section 4.2, https://arxiv.org/abs/1512.03385.
    """
    images = inputs.images(images)
    height, width = images.shape[1:3]
    down, right = inputs.extent("max_shift", max_shift, 0, (height - 1, width - 1))
    check.one_of(("constant", "edge", "reflect", "wrap"), mode=mode)
    return _windows(inputs.one_key(key), images, height, width, (down, right), mode)


@explained(numbers="max_degrees fill")
def random_rotation(
    key: Key, images: ArrayLike, max_degrees: Scalar, *, fill: Scalar = 0.0
) -> jax.Array:
    """Rotate each image about its center by a random angle (data augmentation).

    **Value** the pixels of a rotated image are bilinear interpolations, computed in float32 or
    wider; integers are rounded.

    Args:
      key: a seed or a random key.
      images: images [batch, height, width, channels] of any dtype, which is kept.
      max_degrees: the angles are uniform within ± this, 0 to 180.
      fill: the value of pixels from outside the image.

    Returns:
      images of the same shape and dtype.

    Raises:
      ValueError: another rank, an angle outside [0, 180].

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> x = jnp.zeros((4, 9, 9, 1)).at[:, 4, 8].set(1.0)  # a point at the right edge
      >>> turned = gk.data.random_rotation(0, x, 30.0)
      >>> assert (turned[:, :2].sum() == 0) and (turned[:, :, :6].sum() == 0)
    """
    images = inputs.images(images)
    check.number("0 <= x <= 180", lambda v: (v >= 0) & (v <= 180), max_degrees=max_degrees)
    check.finite(fill=fill)
    return _rotated(inputs.one_key(key), images, max_degrees, fill)


@explained(numbers="stddev")
def gaussian_noise(key: Key, images: ArrayLike, stddev: Scalar) -> jax.Array:
    """Add Gaussian noise to inputs (data augmentation).

    Args:
      key: a seed or a random key.
      images: floating numbers of any shape; their dtype is kept.
      stddev: the standard deviation of the noise ≥ 0, in the units of the inputs.

    Returns:
      an array of the same shape and dtype.

    Raises:
      TypeError: integers, to which small noise cannot be added.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> noisy = gk.data.gaussian_noise(0, jnp.zeros((100, 100)), 0.1)
      >>> assert jnp.isclose(noisy.std(), 0.1, rtol=0.05)
    """
    images = inputs.floating("images", images)
    check.non_negative(stddev=stddev)
    return _noisy(inputs.one_key(key), images, stddev)


@explained(numbers="fill")
def cutout(
    key: Key, images: ArrayLike, size: int | tuple[int, int], *, fill: Scalar = 0
) -> jax.Array:
    """Mask a random rectangle of each image (cutout, a form of random erasing).

    **Value** the center of the rectangle is uniform over the pixels, so that part of it may be
    outside the image.

    Args:
      key: a seed or a random key.
      images: images [batch, height, width, channels] of any dtype, which is kept.
      size: (height, width) of the rectangle, at most those of the images; one number for a square.
      fill: the value of the masked pixels.

    Returns:
      images of the same shape and dtype.

    Raises:
      ValueError: another rank, a rectangle larger than the images.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> masked = gk.data.cutout(0, jnp.ones((8, 6, 6, 3)), 2)
      >>> counts = (masked == 0).all(axis=-1).sum(axis=(1, 2))
      >>> assert set(counts.tolist()) <= {1, 2, 4}  # 1 in a corner, 2 at an edge

    Reference: DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552.
    """
    images = inputs.images(images)
    height, width = inputs.extent("size", size, 1, images.shape[1:3])
    check.finite(fill=fill)
    return _masked(inputs.one_key(key), images, height, width, fill)


@partial(jax.jit, static_argnums=3)
def _flipped(key: jax.Array, images: jax.Array, probability: Any, axis: int) -> jax.Array:
    draws = jax.random.bernoulli(key, probability, (images.shape[0], 1, 1, 1))
    return jnp.where(draws, jnp.flip(images, axis), images)


@jax.jit
def _rotated(key: jax.Array, images: jax.Array, max_degrees: Scalar, fill: Scalar) -> jax.Array:
    integer = jnp.issubdtype(images.dtype, jnp.integer)
    dtype = jnp.dtype(jnp.float32) if integer else numerics.wide(images.dtype)
    count, height, width, _ = images.shape
    bound = jnp.deg2rad(jnp.asarray(max_degrees, dtype))
    angles = bound * jax.random.uniform(key, (count,), dtype, -1, 1)
    y = (jnp.arange(height, dtype=dtype) - (height - 1) / 2)[:, None]
    x = (jnp.arange(width, dtype=dtype) - (width - 1) / 2)[None, :]
    background = jnp.asarray(fill, dtype)

    def rotated(image: jax.Array, angle: jax.Array) -> jax.Array:
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        places = [cos * y - sin * x + (height - 1) / 2, sin * y + cos * x + (width - 1) / 2]

        def channel(plane: jax.Array) -> jax.Array:
            return map_coordinates(plane - background, places, order=1) + background

        return jax.vmap(channel, -1, -1)(image)

    found = jax.vmap(rotated)(images.astype(dtype), along_batch(angles, images))
    return (jnp.round(found) if integer else found).astype(images.dtype)


@jax.jit
def _noisy(key: jax.Array, images: jax.Array, stddev: Scalar) -> jax.Array:
    dtype = numerics.wide(images.dtype)
    noise = jnp.asarray(stddev, dtype) * jax.random.normal(key, images.shape, dtype)
    return (images.astype(dtype) + noise).astype(images.dtype)


@jax.jit
def _masked(key: jax.Array, images: jax.Array, height: int, width: int, fill: Scalar) -> jax.Array:
    inside = inputs.boxes(key, images, height, width)
    return jnp.where(inside, jnp.asarray(fill).astype(images.dtype), images)


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _windows(
    key: jax.Array,
    images: jax.Array,
    height: int,
    width: int,
    padding: tuple[int, int] = (0, 0),
    mode: str = "constant",
) -> jax.Array:
    """A window of each padded image, all places equally likely."""
    widths: Any = ((0, 0), *((side, side) for side in padding), (0, 0))
    images = jnp.pad(images, widths, mode=mode)
    count, rows, columns, channels = images.shape
    first, second = jax.random.split(key)
    top = jax.random.randint(first, (count,), 0, rows - height + 1)
    left = jax.random.randint(second, (count,), 0, columns - width + 1)

    def window(image: jax.Array, top: jax.Array, left: jax.Array) -> jax.Array:
        return lax.dynamic_slice(image, (top, left, 0), (height, width, channels))

    return jax.vmap(window)(images, along_batch(top, images), along_batch(left, images))
