"""Batches of images, keys and sizes, checked; random rectangles."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.data._sharding import along_batch


def one_key(key: Any) -> jax.Array:
    """One typed random key."""
    if key is None:
        expected = "a seed or a random key"
        fix = "In a training step pass jax.random.fold_in(key, step)"
        check.refuse("key is None", expected=expected, fix=fix, error=TypeError)
    key = numerics.as_key(key)
    if key.ndim:
        problem, fix = f"key is {check.shape_dtype(key)}", "Map over several with jax.vmap"
        check.refuse(problem, expected="one random key", fix=fix)
    return key


def array(name: str, value: Any) -> jax.Array:
    """Real numbers in an array with a batch axis."""
    try:
        found = jnp.asarray(value)
    except (TypeError, ValueError):
        found = None
    if found is None or not (
        jnp.issubdtype(found.dtype, jnp.floating) or jnp.issubdtype(found.dtype, jnp.integer)
    ):
        problem = f"{name} is {check.kind_of(value)}"
        check.refuse(problem, expected="an array of real numbers", error=TypeError)
    if not found.ndim:
        check.refuse(f"{name} is {check.shape_dtype(found)}", expected="a batch")
    return found


def images(value: Any) -> jax.Array:
    """A batch of images with channels."""
    found = array("images", value)
    if found.ndim != 4:
        fix = "Add the axis of channels: x[..., None]" if found.ndim == 3 else ""
        expected = "shape [batch, height, width, channels]"
        check.refuse(f"images is {check.shape_dtype(found)}", expected=expected, fix=fix)
    return found


def floating(name: str, value: Any) -> jax.Array:
    """Floating numbers in a batch."""
    found = array(name, value)
    if not jnp.issubdtype(found.dtype, jnp.floating):
        fix = (
            "Of labels, pass jax.nn.one_hot(labels, num_classes)"
            if name == "labels"
            else "Convert the images first: x.astype(jnp.float32) / 255"
        )
        problem = f"{name} is {check.shape_dtype(found)}"
        check.refuse(problem, expected="floating numbers", fix=fix, error=TypeError)
    return found


def extent(name: str, size: Any, least: int, most: tuple[int, ...]) -> tuple[int, int]:
    """(height, width), each from ``least`` to ``most``."""
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2:
        problem = f"{name}={check.shown(size)} is not a height and a width"
        check.refuse(problem, expected="one integer or two", error=TypeError)
    for value in pair:
        if isinstance(value, jax.core.Tracer):
            fix = "Make it static: an int that jit does not trace"
            check.refuse(f"{name} is traced", expected="an integer", fix=fix, error=TypeError)
        check.integer(least, **{name: value})
    height, width = (int(value) for value in pair)
    if height > most[0] or width > most[1]:
        problem = f"{name}={check.shown(size)} is more than the images have room for"
        check.refuse(problem, expected=f"at most {most[0]} by {most[1]}")
    return height, width


def boxes(key: jax.Array, x: jax.Array, height: Any, width: Any) -> jax.Array:
    """Bools [batch, height, width, 1]: a rectangle about a random pixel, clipped to the image."""
    count, rows, columns, _ = x.shape
    inside = []
    for part, side, length in zip(
        jax.random.split(key), (height, width), (rows, columns), strict=True
    ):
        size = jnp.broadcast_to(jnp.asarray(side, jnp.int32), (count,))
        first = jax.random.randint(part, (count,), 0, length, jnp.int32) - size // 2
        start, end = (along_batch(place, x)[:, None] for place in (first, first + size))
        place = jnp.arange(length, dtype=jnp.int32)[None, :]
        inside.append((place >= start) & (place < end))
    down, across = inside
    return down[:, :, None, None] & across[:, None, :, None]
