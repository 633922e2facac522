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
def scale_by_nonlinear_cg(method: str = "polak_ribiere", scale_by_decrease: bool = False) -> Rule:
    """Compute the conjugate gradient direction, with one of four formulas for β.

    **Update rule** u = γ d, d = g + β d', d' and g' the direction and the gradient of the last
    step, y = g − g', γ = 1, and β by the method:

    - ``fletcher_reeves``: gᵀg / g'ᵀg'
    - ``polak_ribiere``: max(0, gᵀy / g'ᵀg'), known as PR+
    - ``hestenes_stiefel``: max(0, −gᵀy / d'ᵀy)
    - ``dai_yuan``: −gᵀg / d'ᵀy

    (d' points uphill, hence the signs.) β = 0, a restart, where the denominator is zero, at the
    first step, and where −d would not descend: gᵀd ≤ 0.

    The length of d says little. With ``scale_by_decrease`` γ = 2.02 (f' − f) / gᵀd, f' the last
    value: for a quadratic function −u then leads to its least value along d, if that is as much
    lower as the last step was. At first γ = 1.01 / ‖g‖, and where f has not decreased γ = 1.

    **State** ``updates`` and ``direction``: g' and d', 8 bytes per parameter, float32 or wider;
    with ``scale_by_decrease`` also ``value``: f', which takes the extra argument ``value``.

    Args:
      method: one of the four names.
      scale_by_decrease: scale the direction, for a line search that begins with a step of 1.

    Raises:
      ValueError: another method.
      TypeError: no ``value`` where it is needed.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_nonlinear_cg("fletcher_reeves")
      >>> _, state = tx.update(jnp.array([2.0, 0.0]), tx.init(jnp.zeros(2)))
      >>> u, _ = tx.update(jnp.array([0.0, 1.0]), state)
      >>> assert u.tolist() == [0.5, 1.0]  # β = 1 / 4

    Reference: Nocedal and Wright 2006, Numerical Optimization, section 5.2; Dai and Yuan 1999,
    https://doi.org/10.1137/S1052623497318992.
    """
    check.one_of(METHODS, method=method)

    def init(params: Any) -> Any:
        state = {"updates": tree.zeros_like(params), "direction": tree.zeros_like(params)}
        return {**state, "value": tree.scalar(0.0, params)} if scale_by_decrease else state

    def update(updates: Any, state: Any, params: Any, *, value: Any = None, step: Any) -> Any:
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
        after = {"updates": updates, "direction": new}
        if not scale_by_decrease:
            return new, after
        value = numerics.loss_like(value, updates)
        decrease = jnp.where(step > 0, state["value"] - value, tree.norm(updates) / 2)
        factor = numerics.divide(2.02 * decrease, tree.inner(updates, new))
        return tree.scale(new, jnp.where(factor > 0, factor, 1)), {**after, "value": value}

    return Rule(init, update)


@transform
def nonlinear_cg(
    learning_rate: Rate | None = None,
    method: str = "polak_ribiere",
    linesearch: Transform | None = EXACT,
) -> Transform:
    """Nonlinear conjugate gradients (CG), by Fletcher–Reeves, Polak–Ribière+ or others.

    **Update rule** Δθ = −α u, u as in ``scale_by_nonlinear_cg``, scaled by the last decrease if
    there is a line search for α. It needs less state than ``lbfgs`` and mostly more evaluations.

    **State** that of ``scale_by_nonlinear_cg``, 8 bytes per parameter, and that of the line search.
    Needs params and the extra arguments of the line search: ``value``, ``grad``, ``value_fn``, the
    loss as a function of params (``minimize`` and ``make_step`` pass them).

    Args:
      learning_rate: a factor of the direction before the line search; None for 1.
      method: ``fletcher_reeves``, ``polak_ribiere``, ``hestenes_stiefel`` or ``dai_yuan``.
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
    direction = scale_by_nonlinear_cg(method, scale_by_decrease=linesearch is not None)
    return with_linesearch(direction, learning_rate, linesearch)
