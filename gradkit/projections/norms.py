"""Projections onto simplices, balls and spheres: a sum or a norm of the whole vector."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _tree
from gradkit._explain import explained
from gradkit.projections import _sets as sets
from gradkit.projections import _vectors as vectors
from gradkit.typing import Params, Scalar


@explained(trees="tree", numbers="scale")
def projection_simplex(tree: Params, scale: Scalar = 1.0) -> Params:
    """Project a pytree onto the simplex: non-negative elements with the sum ``scale``.

    **Value** max(x − τ, 0), with the threshold τ at which the sum is ``scale``, found by sorting.

    Args:
      tree: a tree of real arrays, taken as one vector of at least one element.
      scale: the sum ≥ 0; 1 for the probability simplex.

    Returns:
      a tree like ``tree``.

    Raises:
      ValueError: scale < 0.
      TypeError: integer or complex leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_simplex({"w": jnp.array([2.5, 3.25]), "b": 0.5})
      >>> assert p["w"].tolist() == [0.125, 0.875] and p["b"] == 0.0

    **Differs from optax**: the largest element is subtracted first, so large elements lose no
    digits; bfloat16 leaves are summed in float32; the simplex of scale 0 is the origin.

    Reference: Duchi et al. 2008, https://doi.org/10.1145/1390156.1390191.
    """
    sets.refuse_no_sum(scale)
    vector, back = vectors.as_vector(vectors.reals(tree))
    if not vector.size:
        return tree
    return vectors.narrow(back(_simplex(vector, vectors.real_like(scale, vector))), tree)


@explained(trees="tree", numbers="scale")
def projection_l1_sphere(tree: Params, scale: Scalar = 1.0) -> Params:
    """Project a pytree onto the sphere of the L1 norm: magnitudes with the sum ``scale``.

    **Value** sign(x) · P(|x|), P the projection onto the simplex of the same scale.

    Args:
      tree: a tree of real or complex arrays, taken as one vector of at least one element.
      scale: the radius ≥ 0.

    Returns:
      a tree like ``tree``.

    Raises:
      ValueError: scale < 0.
      TypeError: integer leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_l1_sphere(jnp.array([-0.25, 0.5]))
      >>> assert p.tolist() == [-0.375, 0.625]

    **Differs from optax**: a zero counts as positive, so the result is on the sphere also where
    elements of x are zero (the nearest point is not unique there).

    Reference: Duchi et al. 2008, https://doi.org/10.1145/1390156.1390191.
    """
    sets.refuse_no_sum(scale)
    vector, back = vectors.as_vector(vectors.floats(tree))
    if not vector.size:
        return tree
    size = vectors.magnitude(vector)
    near = _simplex(size, vectors.real_like(scale, size))
    return vectors.narrow(back(vectors.phase(vector, size) * near.astype(vector.dtype)), tree)


@explained(trees="tree", numbers="scale")
def projection_l1_ball(tree: Params, scale: Scalar = 1.0) -> Params:
    """Project a pytree onto the ball of the L1 norm, by a soft threshold: sparse results.

    **Value** x where Σ|x| ≤ scale, else sign(x) max(|x| − τ, 0) with the threshold τ at which the
    sum of magnitudes is ``scale``.

    Args:
      tree: a tree of real or complex arrays, taken as one vector.
      scale: the radius ≥ 0; infinity is no bound.

    Returns:
      a tree like ``tree``.

    Raises:
      ValueError: scale < 0.
      TypeError: integer leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_l1_ball(jnp.array([-2.0, 0.5, 1.5]), 1.5)
      >>> assert p.tolist() == [-1.0, 0.0, 0.5]

    **Differs from optax**: no NaN at scale 0; the digits kept are those of ``projection_simplex``.

    Reference: Duchi et al. 2008, https://doi.org/10.1145/1390156.1390191.
    """
    sets.refuse_no_radius(scale)
    vector, back = vectors.as_vector(vectors.floats(tree))
    size = vectors.magnitude(vector)
    radius = vectors.real_like(scale, size)
    if not vector.size:
        return tree

    def outside(vector: Any, size: Any, radius: Any) -> Any:
        return vectors.phase(vector, size) * _simplex(size, radius).astype(vector.dtype)

    # A branch, because most vectors are inside and sorting takes long.
    near = lax.cond(
        jnp.sum(size) <= radius, lambda vector, *_: vector, outside, vector, size, radius
    )
    return vectors.narrow(back(near), tree)


@explained(trees="tree", numbers="scale")
def projection_l2_sphere(tree: Params, scale: Scalar = 1.0) -> Params:
    """Project a pytree onto the sphere of the 2-norm: normalize it to the norm ``scale``.

    **Value** x scale / ‖x‖.

    Args:
      tree: a tree of real or complex arrays, taken as one vector.
      scale: the radius ≥ 0.

    Returns:
      a tree like ``tree``.

    Raises:
      ValueError: scale < 0.
      TypeError: integer leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_l2_sphere(jnp.array([6.0, 8.0]), 5.0)
      >>> assert p.tolist() == [3.0, 4.0]

    **Differs from optax**: from the origin, where every point of the sphere is nearest, it goes to
    the point of equal elements, not to NaN; squares do not overflow.
    """
    sets.refuse_no_sum(scale)
    wide = vectors.floats(tree)
    size, unit, _ = vectors.normalized(wide)

    def leaf(x: Any, direction: Any) -> Any:
        radius = vectors.real_like(scale, x)
        equal = radius / np.sqrt(max(_tree.count(wide), 1))
        return jnp.where(size == 0, equal.astype(x.dtype), direction * radius.astype(x.dtype))

    return vectors.narrow(jax.tree.map(leaf, wide, unit), tree)


@explained(trees="tree", numbers="scale")
def projection_l2_ball(tree: Params, scale: Scalar = 1.0) -> Params:
    """Project a pytree onto the ball of the 2-norm: scale it down to a norm of at most ``scale``.

    **Value** x min(1, scale / ‖x‖).

    Args:
      tree: a tree of real or complex arrays, taken as one vector.
      scale: the radius ≥ 0; infinity is no bound.

    Returns:
      a tree like ``tree``; the same numbers where it is inside.

    Raises:
      ValueError: scale < 0.
      TypeError: integer leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_l2_ball({"a": jnp.array(6.0), "b": jnp.array(8.0)}, 5.0)
      >>> assert p == {"a": 3.0, "b": 4.0}

    **Differs from optax**: no NaN at scale 0; squares neither overflow nor vanish.
    """
    sets.refuse_no_radius(scale)
    wide = vectors.floats(tree)
    size, unit, norm = vectors.normalized(wide)

    def leaf(x: Any, direction: Any) -> Any:
        inside = size * norm <= vectors.real_like(scale, size)
        radius = jnp.where(
            inside, 1, vectors.real_like(scale, x)
        )  # infinity has no finite derivative
        return jnp.where(inside, x, direction * radius.astype(x.dtype))

    return vectors.narrow(jax.tree.map(leaf, wide, unit), tree)


def _simplex(x: Any, scale: Any) -> Any:
    """The nearest point of the simplex to a real vector that is not empty."""
    # The set is symmetric under a shift of x along (1, …, 1). Below the largest element by more
    # than the scale nothing is kept, so what is summed after the shift is no larger than needed.
    x = x - lax.stop_gradient(jnp.max(x))
    fixed = lax.stop_gradient(x)
    falling = -jnp.sort(-fixed)
    count = jnp.arange(1, x.size + 1, dtype=x.dtype)
    excess = jnp.cumsum(falling) - lax.stop_gradient(scale)
    kept = jnp.maximum(jnp.sum(falling * count > excess), 1)
    # Not ``fixed > threshold``: NaN stays NaN.
    support = ~(fixed <= excess[kept - 1] / kept.astype(x.dtype))
    size = jnp.maximum(jnp.sum(support), 1).astype(x.dtype)
    threshold = (jnp.sum(jnp.where(support, x, 0)) - scale) / size
    return jnp.where(support, jax.nn.relu(x - threshold), 0)
