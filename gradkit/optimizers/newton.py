"""Newton's method with the exact Hessian, modified where it is not positive definite.

    Δθ_t = −α_t · |H_t + λI|⁻¹ g_t        H = ∇²L(θ_t) = Q Λ Qᵀ,  |H| = Q |Λ| Qᵀ

Time O(n³) and n Hessian-vector products a step for n elements: for small problems.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._flat import Flat
from gradkit._rule import Rule
from gradkit._transform import Transform, stateless, transform
from gradkit.curvature import hessian_matrix
from gradkit.optimizers._search import BACKTRACKING, with_linesearch
from gradkit.typing import Rate


@transform
def scale_by_newton(damping: Rate = 0.0, min_curvature: Rate = 0.0, *, modify: bool = True) -> Rule:
    """Multiply the gradient by the inverse of the exact Hessian, made positive definite.

    **Update rule** u = Q |Λ + λ|⁻¹ Qᵀ g, for H = Q Λ Qᵀ. Absolute eigenvalues make −u a descent
    direction that leaves saddle points; those below δ max |Λ + λ| are raised to it, and a zero H
    counts as I. With ``modify=False`` u = (H + λ I)⁻¹ g, which may be no descent direction.

    **State** none. Time O(n³) for n elements. Needs params, and the loss as a function of params in
    the extra argument ``value_fn``.

    Args:
      damping: λ ≥ 0, added to the eigenvalues.
      min_curvature: δ ≥ 0, the smallest curvature relative to the largest; at least the precision
        of the dtype is used.
      modify: use absolute eigenvalues.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: no loss function, complex updates, or a loss that is not one real number.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> saddle = lambda x: 2 * x[0] ** 2 - x[1] ** 2
      >>> tx, x = gk.scale_by_newton(), jnp.array([1.0, 1.0])
      >>> u, _ = tx.update(jax.grad(saddle)(x), tx.init(x), x, value_fn=saddle)
      >>> assert jnp.allclose(u, jnp.array([1.0, -1.0]))  # −u goes down along both axes

    Reference: Nocedal and Wright 2006, Numerical Optimization, section 3.4; Dauphin et al. 2014,
    https://arxiv.org/abs/1406.2572.
    """
    check.non_negative(damping=damping, min_curvature=min_curvature)

    def update(updates: Any, params: Any, *, value_fn: Callable[..., Any]) -> Any:
        check.params(params)
        check.real_leaves(updates)
        check.function(value_fn=value_fn)
        flat = Flat(params)
        if not flat.size:
            return updates
        values, vectors = jnp.linalg.eigh(hessian_matrix(value_fn, params))
        values = values + tree.factor_like(damping, values)
        if modify:
            size, largest = jnp.abs(values), jnp.max(jnp.abs(values))
            least = jnp.maximum(tree.factor_like(min_curvature, size), jnp.finfo(size.dtype).eps)
            # A zero Hessian counts as the identity.
            values = jnp.where(largest > 0, jnp.maximum(size, least * largest), 1)
        along = jnp.dot(vectors.T, flat.ravel(updates), precision="highest")
        return flat.unravel(jnp.dot(vectors, along / values, precision="highest"))

    return stateless(update)


@transform
def newton(
    learning_rate: Rate | None = None,
    damping: Rate = 0.0,
    min_curvature: Rate = 0.0,
    linesearch: Transform | None = BACKTRACKING,
    *,
    modify: bool = True,
) -> Transform:
    """Newton's method with the exact Hessian and a line search, for up to some hundred elements.

    **Update rule** Δθ = −α |H + λ I|⁻¹ g, as in ``scale_by_newton``, α from a line search. The
    error is squared at each step near a minimum.

    **State** that of the line search. Needs params and the extra arguments ``value``, ``grad`` and
    ``value_fn``, the loss as a function of params (``minimize`` and ``make_step`` pass them).

    Args:
      learning_rate: a factor of the direction before the line search; None for 1.
      damping: λ ≥ 0, added to the eigenvalues.
      min_curvature: δ ≥ 0, the smallest curvature relative to the largest; at least the precision
        of the dtype is used.
      linesearch: the transform that finds α, or None for α = 1.
      modify: use absolute eigenvalues, so that the direction descends. ``minimize`` ends with the
        reason ``no descent`` where it does not.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: a ``linesearch`` that is not a transform, no ``value_fn``, or complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> bowl = lambda x: (x[0] - 1) ** 2 + 10 * (x[1] + 2) ** 2
      >>> result = gk.minimize(bowl, jnp.zeros(2), gk.newton())
      >>> assert result.steps == 1 and jnp.allclose(result.x, jnp.array([1.0, -2.0]))

    Reference: Nocedal and Wright 2006, Numerical Optimization, section 3.4.
    """
    direction = scale_by_newton(damping, min_curvature, modify=modify)
    return with_linesearch(direction, learning_rate, linesearch)
