"""Projections onto boxes: each element by itself."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit._explain import explained
from gradkit.projections import _sets as sets
from gradkit.projections import _vectors as vectors
from gradkit.typing import Params, PyTree, Scalar


@explained(trees="tree")
def projection_non_negative(tree: Params) -> Params:
    """Project a pytree onto the non-negative orthant: replace negative elements by zero.

    **Value** max(x, 0).

    Args:
      tree: a tree of real arrays.

    Returns:
      a tree like ``tree``.

    Raises:
      TypeError: integer or complex leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_non_negative({"w": jnp.array([-1.0, 2.0])})
      >>> assert p["w"].tolist() == [0.0, 2.0]
    """
    return vectors.narrow(jax.tree.map(jax.nn.relu, vectors.reals(tree)), tree)


@explained(trees="tree")
def projection_box(tree: Params, lower: PyTree, upper: PyTree) -> Params:
    """Project a pytree onto a box: clip every element to an interval.

    **Value** min(max(x, lower), upper).

    Args:
      tree: a tree of real arrays.
      lower: the lower bounds: one number, a tree like ``tree``, or a prefix of it; arrays broadcast
        to their leaves. −∞ is no bound.
      upper: the upper bounds, likewise; lower ≤ upper.

    Returns:
      a tree like ``tree``.

    Raises:
      ValueError: lower > upper somewhere, bounds that are NaN or do not fit the tree.
      TypeError: integer or complex leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> x = {"w": jnp.array([-3.0, 0.5]), "b": jnp.array(3.0)}
      >>> p = gk.projections.projection_box(x, -1.0, {"w": 1.0, "b": 2.0})
      >>> assert p["w"].tolist() == [-1.0, 0.5] and p["b"] == 2.0

    **Differs from optax**: one number serves all leaves; lower > upper is refused.
    """
    wide = vectors.reals(tree)
    low, high = vectors.spread("lower", lower, wide), vectors.spread("upper", upper, wide)
    for path, below, above in zip(vectors.paths(wide), low, high, strict=True):
        sets.refuse_empty_box(below, above, path)
    leaves, structure = jax.tree.flatten(wide)
    clipped = [
        jnp.minimum(jnp.maximum(x, vectors.like(below, x)), vectors.like(above, x))
        for x, below, above in zip(leaves, low, high, strict=True)
    ]
    return vectors.narrow(jax.tree.unflatten(structure, clipped), tree)


@explained(trees="tree")
def projection_hypercube(tree: Params, scale: PyTree = 1.0) -> Params:
    """Project a pytree onto the hypercube: clip every element to [0, scale].

    **Value** min(max(x, 0), scale).

    Args:
      tree: a tree of real arrays.
      scale: the length of the edges ≥ 0: one number, a tree like ``tree``, or a prefix of it.

    Returns:
      a tree like ``tree``.

    Raises:
      ValueError: scale < 0, or one that does not fit the tree.
      TypeError: integer or complex leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_hypercube(jnp.array([-1.0, 0.5, 2.0]))
      >>> assert p.tolist() == [0.0, 0.5, 1.0]

    **Differs from optax**: one number serves all leaves; scale < 0 is refused.
    """
    for edge in jax.tree.leaves(scale):
        sets.refuse_no_radius(edge)
    return projection_box(tree, 0.0, scale)


@explained(trees="tree", numbers="scale")
def projection_linf_ball(tree: Params, scale: Scalar = 1.0) -> Params:
    """Project a pytree onto the ball of the maximum norm: clip magnitudes to ``scale``.

    **Value** x min(1, scale / |x|), element by element.

    Args:
      tree: a tree of real or complex arrays.
      scale: the radius ≥ 0; infinity is no bound.

    Returns:
      a tree like ``tree``.

    Raises:
      ValueError: scale < 0.
      TypeError: integer leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_linf_ball(jnp.array([-3.0, 0.5]), 2.0)
      >>> assert p.tolist() == [-2.0, 0.5]

    **Differs from optax**: complex elements keep their phase; ``scale`` has the default of the
    other balls.
    """
    sets.refuse_no_radius(scale)

    def leaf(x: Any) -> Any:
        radius = vectors.real_like(scale, x)
        if not jnp.iscomplexobj(x):
            return jnp.clip(x, -radius, radius)
        size = vectors.magnitude(x)
        shorter = jnp.minimum(size, radius).astype(x.dtype)
        return jnp.where(size <= radius, x, vectors.phase(x, size) * shorter)

    return vectors.narrow(jax.tree.map(leaf, vectors.floats(tree)), tree)
