"""Nonlinear conjugate gradients: the gradient, and a multiple β of the last direction.

    Δθ_t = −α_t · d_t        d_t = g_t + β_t d_{t−1}

The methods differ in β. Two trees of state; for a quadratic function and an exact line search all
are the linear conjugate gradient method.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.optimizers._search import EXACT, with_linesearch
from gradkit.typing import Rate

METHODS = ("fletcher_reeves", "polak_ribiere", "hestenes_stiefel", "dai_yuan")


@transform
def scale_by_nonlinear_cg(method: str = "polak_ribiere", scale_init_precond: bool = True) -> Rule:
    """Compute the conjugate gradient direction, with one of four formulas for β.

    **Update rule** u = γ d, d = g + β d', d' and g' the direction and the gradient of the last
    step, y = g − g', γ = min(1, 1 / ‖g₀‖) with the first gradient g₀, and β by the method:

    - ``fletcher_reeves``: gᵀg / g'ᵀg'
    - ``polak_ribiere``: max(0, gᵀy / g'ᵀg'), known as PR+
    - ``hestenes_stiefel``: max(0, −gᵀy / d'ᵀy)
    - ``dai_yuan``: −gᵀg / d'ᵀy

    (d' points uphill, hence the signs.) β = 0, a restart, where the denominator is zero, at the
    first step, and where −d would not descend: gᵀd ≤ 0.

    **State** ``updates`` and ``direction``: g' and d', 8 bytes per parameter, float32 or wider;
    ``scale``: γ.

    Args:
      method: one of the four names.
      scale_init_precond: False for γ = 1, as without a line search, which finds the step size.

    Raises:
      ValueError: another method.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_nonlinear_cg("fletcher_reeves", scale_init_precond=False)
      >>> _, state = tx.update(jnp.array([2.0, 0.0]), tx.init(jnp.zeros(2)))
      >>> u, _ = tx.update(jnp.array([0.0, 1.0]), state)
      >>> assert u.tolist() == [0.5, 1.0]  # β = 1 / 4

    Reference: Nocedal and Wright 2006, Numerical Optimization, section 5.2; Dai and Yuan 1999,
    https://doi.org/10.1137/S1052623497318992.
    """
    check.one_of(METHODS, method=method)

    def init(params: Any) -> Any:
        zeros, one = tree.zeros_like(params), jnp.ones((), numerics.scalar_dtype(params))
        return {"updates": zeros, "direction": tree.zeros_like(params), "scale": one}

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        last, direction = state["updates"], state["direction"]
        change = tree.map(jnp.subtract, updates, last)
        # With a zero direction or gradient before, as at the first step, β = 0.
        if method in ("fletcher_reeves", "polak_ribiere"):
            below = tree.sq_norm(last)
        else:
            below = -tree.inner(direction, change)
        if method in ("fletcher_reeves", "dai_yuan"):
            above = tree.sq_norm(updates)
        else:
            above = tree.inner(updates, change)
        beta = numerics.divide(above, below)
        if method in ("polak_ribiere", "hestenes_stiefel"):
            beta = jnp.maximum(0, beta)
        # gᵀu = gᵀg + β gᵀu'
        descends = tree.sq_norm(updates) + beta * tree.inner(updates, direction) > 0
        beta = jnp.where(descends | jnp.isnan(beta), beta, 0)
        new = tree.map(lambda g, u: g + tree.factor_like(beta, g) * u, updates, direction)
        gamma = state["scale"]
        if scale_init_precond:
            gamma = jnp.where(step == 0, 1 / jnp.maximum(1, tree.norm(updates)), gamma)
        after = {"updates": updates, "direction": new, "scale": gamma}
        return tree.scale(new, gamma), after

    return Rule(init, update)


@transform
def nonlinear_cg(
    learning_rate: Rate | None = None,
    method: str = "polak_ribiere",
    scale_init_precond: bool = True,
    linesearch: Transform | None = EXACT,
) -> Transform:
    """Nonlinear conjugate gradients (CG), by Fletcher–Reeves, Polak–Ribière+ or others.

    **Update rule** Δθ = −α u, u as in ``scale_by_nonlinear_cg``, α from a line search. It needs
    less state than ``lbfgs`` and mostly more evaluations.

    **State** that of ``scale_by_nonlinear_cg``, 8 bytes per parameter, and that of the line search.
    Needs params and the extra arguments of the line search: ``value``, ``grad``, ``value_fn``, the
    loss as a function of params (``minimize`` and ``make_step`` pass them).

    Args:
      learning_rate: a factor of the direction before the line search; None for 1.
      method: ``fletcher_reeves``, ``polak_ribiere``, ``hestenes_stiefel`` or ``dai_yuan``.
      scale_init_precond: the first step that the line search tries has at most the length 1.
      linesearch: the transform that finds α, or None for α = 1. The default is more exact than
        that of quasi-Newton methods: the strong Wolfe conditions with c₂ = 0.4. With c₂ < ½ the
        directions of Fletcher and Reeves descend.

    Raises:
      ValueError: another method, or no params.
      TypeError: a ``linesearch`` that is not a transform, or no ``value_fn``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> bowl = lambda x: (x[0] - 1) ** 2 + 10 * (x[1] + 2) ** 2
      >>> result = gk.minimize(bowl, jnp.zeros(2), gk.nonlinear_cg(method="dai_yuan"))
      >>> assert result.converged and jnp.allclose(result.x, jnp.array([1.0, -2.0]), atol=1e-2)

    Reference: Nocedal and Wright 2006, Numerical Optimization, section 5.2.
    """
    direction = scale_by_nonlinear_cg(method, scale_init_precond)
    return with_linesearch(direction, learning_rate, linesearch)
