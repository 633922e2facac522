"""Projections onto lines, hyperplanes and halfspaces."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _numerics as numerics
from gradkit import _tree
from gradkit._explain import explained
from gradkit.projections import _sets as sets
from gradkit.projections import _vectors as vectors
from gradkit.typing import Params, PyTree, Scalar


@explained(trees="x a")
def projection_vector(x: Params, a: PyTree) -> Params:
    """Project a pytree onto the line through the origin and another pytree.

    **Value** a ⟨a, x⟩ / ⟨a, a⟩; 0 for a = 0.

    Args:
      x: a tree of real or complex arrays, taken as one vector.
      a: the direction, a tree like ``x``.

    Returns:
      a tree like ``x``.

    Raises:
      ValueError: trees that do not fit.
      TypeError: integer leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_vector(jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0]))
      >>> assert p.tolist() == [1.5, 1.5]

    **Differs from optax**: complex vectors are projected onto the complex line, t a with complex t;
    a = 0 gives 0, not NaN.
    """
    wide = vectors.floats(x)
    direction = vectors.like_tree("a", a, wide)
    product = vectors.inner(direction, wide)
    if not all(map(jnp.iscomplexobj, jax.tree.leaves(wide))):
        product = jnp.real(product)
    factor = numerics.divide(product, _tree.sq_norm(direction))
    return vectors.narrow(_tree.scale(direction, factor), x)


@explained(trees="x a", numbers="b")
def projection_hyperplane(x: Params, a: PyTree, b: Scalar) -> Params:
    """Project a pytree onto a hyperplane ⟨a, p⟩ = b.

    **Value** x + a (b − ⟨a, x⟩) / ⟨a, a⟩. Of complex vectors ⟨a, x⟩ is the real part.

    Args:
      x: a tree of real or complex arrays, taken as one vector.
      a: the normal of the hyperplane, a tree like ``x``; not 0.
      b: the offset, a number.

    Returns:
      a tree like ``x``.

    Raises:
      ValueError: a = 0 with b ≠ 0, which no p satisfies; trees that do not fit.
      TypeError: integer leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> p = gk.projections.projection_hyperplane(jnp.array([1.0, 2.0]), jnp.ones(2), 1.0)
      >>> assert p.tolist() == [0.0, 1.0]

    **Differs from optax**: a = 0 with b = 0 gives x, not NaN.
    """
    sets.refuse_no_plane(a, b, "b = 0", lambda offset: offset == 0)
    return _shifted(x, a, b, lambda distance: distance)


@explained(trees="x a", numbers="b")
def projection_halfspace(x: Params, a: PyTree, b: Scalar) -> Params:
    """Project a pytree onto a halfspace ⟨a, p⟩ ≤ b.

    **Value** x + a min(0, b − ⟨a, x⟩) / ⟨a, a⟩. Of complex vectors ⟨a, x⟩ is the real part.

    Args:
      x: a tree of real or complex arrays, taken as one vector.
      a: the outward normal, a tree like ``x``; not 0.
      b: the offset, a number.

    Returns:
      a tree like ``x``; the same numbers where it is inside.

    Raises:
      ValueError: a = 0 with b < 0, which no p satisfies; trees that do not fit.
      TypeError: integer leaves.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> normal = jnp.array([1.0, 1.0])
      >>> p = gk.projections.projection_halfspace(jnp.array([1.0, 2.0]), normal, 1.0)
      >>> assert p.tolist() == [0.0, 1.0]

    **Differs from optax**: a = 0 with b ≥ 0 gives x, not NaN.
    """
    sets.refuse_no_plane(a, b, "b >= 0", lambda offset: offset >= 0)
    return _shifted(x, a, b, lambda distance: jnp.minimum(distance, 0))


def _shifted(x: Any, a: Any, b: Any, moved: Callable[[Any], Any]) -> Any:
    """``x`` moved along ``a`` until ⟨a, x⟩ has changed by ``moved(b − ⟨a, x⟩)``."""
    wide = vectors.floats(x)
    normal = vectors.like_tree("a", a, wide)
    distance = jnp.asarray(b, numerics.scalar_dtype(wide)) - jnp.real(vectors.inner(normal, wide))
    factor = numerics.divide(moved(distance), _tree.sq_norm(normal))
    return vectors.narrow(
        jax.tree.map(lambda v, along: v + along * _tree.factor_like(factor, along), wide, normal), x
    )
