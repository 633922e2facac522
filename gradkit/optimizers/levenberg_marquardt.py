"""Gauss–Newton and Levenberg–Marquardt: second-order methods for sums of squares.

    Δθ_t = −(JᵀJ + λ_t D²)⁻¹ g_t        g = Jᵀr,  loss = ½‖r(θ)‖²,  J = ∂r/∂θ

JᵀJ is the Hessian without the curvature of the residuals, and needs first derivatives only. Time
O(m n²) a step for m residuals and n elements: for small problems.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._flat import Flat
from gradkit._rule import Rule
from gradkit._transform import Transform, stateless, transform
from gradkit.curvature import jacobian_matrix
from gradkit.optimizers._search import BACKTRACKING, with_linesearch
from gradkit.transforms.scale import scale
from gradkit.typing import Rate


@transform
def scale_by_gauss_newton(damping: Rate = 0.0) -> Rule:
    """Multiply the gradient by the inverse of the Gauss–Newton matrix JᵀJ.

    **Update rule** u = (JᵀJ + λ I)⁺ g, J the Jacobian of the residuals, by the singular values of
    J. ⁺ leaves out directions in which the residuals do not change, where λ = 0.

    **State** none. Needs params, and the extra argument ``residual_fn``: the residuals r as a
    function of params, of which the loss is ½‖r‖².

    Args:
      damping: λ ≥ 0.

    Raises:
      ValueError: λ < 0, or no params.
      TypeError: no residual function, or complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> residuals = lambda x: jnp.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
      >>> tx, x, r = gk.scale_by_gauss_newton(), jnp.array([1.0, 0.0]), jnp.array([-10.0, 0.0])
      >>> g = jnp.array([[-20.0, -1.0], [10.0, 0.0]]) @ r  # Jᵀ r
      >>> u, _ = tx.update(g, tx.init(x), x, residual_fn=residuals)
      >>> assert jnp.allclose(u, jnp.array([0.0, -1.0]), atol=1e-3)  # x − u = (1, 1)

    Reference: Nocedal and Wright 2006, Numerical Optimization, section 10.3.
    """
    check.non_negative(damping=damping)

    def update(updates: Any, params: Any, *, residual_fn: Callable[..., Any]) -> Any:
        flat, jacobian = _jacobian(updates, params, residual_fn)
        if not flat.size:
            return updates
        g, one = flat.ravel(updates), jnp.ones(flat.size, flat.dtype)
        return flat.unravel(_solve(_factors(jacobian, one), g, one, damping))

    return stateless(update)


@transform
def scale_by_levenberg_marquardt(damping: float = 1e-3, max_trials: int = 20) -> Rule:
    """Multiply the gradient by the inverse of the damped Gauss–Newton matrix, adaptively.

    **Update rule** u = (JᵀJ + λ D²)⁻¹ g, D the largest norms so far of the columns of J, so that
    the units of the parameters do not matter. λ grows (by 2, 4, 8, ...) until −u decreases the loss
    by at least 10⁻⁴ of the decrease that the linear model predicts; where no trial does, u = 0.
    After a step λ ← λ max(1/5, 1 − (2 ratio − 1)³), with ratio = (actual decrease) / (predicted
    decrease). Derivatives do not pass through the trials.

    **State** ``scale``: D as a vector, 4 bytes per parameter or more, and the scalars ``damping``,
    and ``evaluations``, the number of trials of the last update. Needs params, and the extra
    argument ``residual_fn``: the residuals r as a function of params, of which the loss is ½‖r‖².

    Args:
      damping: the first λ > 0.
      max_trials: the most trials in an update, at least 1.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: no residual function, or complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> residuals = lambda x: 3 * x - 6
      >>> tx, x = gk.scale_by_levenberg_marquardt(1.0), jnp.array([0.0])
      >>> u, _ = tx.update(jnp.array([-18.0]), tx.init(x), x, residual_fn=residuals)
      >>> assert jnp.allclose(u, -18 / (9 + 1.0 * 9))

    Reference: Marquardt 1963, https://doi.org/10.1137/0111030; Moré 1978,
    https://doi.org/10.1007/BFb0067700 (D); Madsen, Nielsen and Tingleff 2004, Methods for
    Non-Linear Least Squares Problems, algorithm 3.16 (λ).
    """
    check.positive(damping=damping)
    check.integer(1, max_trials=max_trials)

    def init(params: Any) -> Any:
        flat = Flat(params)
        return {
            "scale": jnp.zeros(flat.size, flat.dtype),
            "damping": tree.scalar(damping, params),
            "evaluations": jnp.zeros((), jnp.int32),
        }

    def update(updates: Any, state: Any, params: Any, *, residual_fn: Callable[..., Any]) -> Any:
        flat, jacobian = _jacobian(updates, params, residual_fn)
        if not flat.size:
            return updates, state
        g, at = flat.ravel(updates), flat.ravel(params)
        largest = jnp.maximum(state["scale"], jnp.sqrt(jnp.sum(jacobian**2, 0)))
        d = jnp.where(largest > 0, largest, 1)
        factors = _factors(jacobian, d)

        def value(x: Any) -> Any:
            return numerics.cast(tree.sq_norm(residual_fn(flat.unravel(x))) / 2, flat.dtype)

        fixed, start = lax.stop_gradient((g, value(at)))

        def more(trial: _Trial) -> Any:
            return ~(trial.actual >= 1e-4 * trial.predicted) & (trial.count < max_trials)

        def attempt(trial: _Trial) -> _Trial:
            grown = trial.damping * jnp.where(trial.count > 0, trial.growth, 1)
            u = _solve(factors, fixed, d, grown)
            predicted = (jnp.vdot(u, fixed) + grown * jnp.sum((d * u) ** 2)) / 2
            actual = start - value(at - u)
            growth = trial.growth * jnp.where(trial.count > 0, 2, 1)
            return _Trial(grown, growth, actual, predicted, trial.count + 1)

        one = jnp.ones((), flat.dtype)
        first = _Trial(lax.stop_gradient(state["damping"]), 2 * one, -one, one, jnp.int32(0))
        end = lax.while_loop(more, attempt, first)
        found = end.actual >= 1e-4 * end.predicted
        u = _solve(factors, g, d, end.damping) * jnp.where(found, one, 0)
        ratio = numerics.divide(end.actual, end.predicted)
        change = jnp.where(found, jnp.clip(1 - (2 * ratio - 1) ** 3, 0.2, 2), 1)
        kept = jnp.clip(end.damping * change, jnp.finfo(flat.dtype).eps ** 2, 1e12)
        kept = jnp.where(jnp.isfinite(kept), kept, state["damping"])
        return flat.unravel(u), {"scale": largest, "damping": kept, "evaluations": end.count}

    return Rule(init, update, held_fixed="the damping")


class _Trial(NamedTuple):
    """The λ that was tried last, its growth if it fails, and the decreases that it gave."""

    damping: Any
    growth: Any
    actual: Any
    predicted: Any
    count: Any


def _jacobian(updates: Any, params: Any, residual_fn: Any) -> tuple[Flat, Any]:
    check.params(params)
    check.real_leaves(updates)
    check.function(residual_fn=residual_fn)
    flat = Flat(params)
    return flat, numerics.cast(jacobian_matrix(residual_fn, params), flat.dtype)


def _factors(jacobian: Any, d: Any) -> tuple[Any, Any]:
    """The singular values and right singular vectors of J D⁻¹, where JᵀJ squares its condition."""
    _, values, right = jnp.linalg.svd(jacobian / d[None], full_matrices=False)
    return values, right


def _solve(factors: Any, g: Any, d: Any, damping: Any) -> Any:
    """(JᵀJ + λ D²)⁺ g."""
    values, right = factors
    damping = tree.factor_like(damping, g)
    rounding = jnp.finfo(g.dtype).eps * max(right.shape)
    kept = (values > rounding * jnp.max(values, initial=0)) | (jnp.asarray(damping) > 0)
    along = jnp.dot(right, g / d, precision="highest")
    along = jnp.where(kept, along / jnp.where(kept, values**2 + damping, 1), 0 * along)
    return jnp.dot(right.T, along, precision="highest") / d


@transform
def gauss_newton(
    learning_rate: Rate | None = None,
    damping: Rate = 0.0,
    linesearch: Transform | None = BACKTRACKING,
) -> Transform:
    """Gauss–Newton with a line search, for nonlinear least squares with small residuals.

    **Update rule** Δθ = −α (JᵀJ + λ I)⁺ g, as in ``scale_by_gauss_newton``, α from a line search.

    **State** that of the line search. Needs params and the extra arguments ``residual_fn``, the
    residuals as a function of params, and ``value``, ``grad`` and ``value_fn`` of the loss ½‖r‖²
    (``least_squares`` passes them).

    Args:
      learning_rate: a factor of the direction before the line search; None for 1.
      damping: λ ≥ 0.
      linesearch: the transform that finds α, or None for α = 1.

    Raises:
      ValueError: λ < 0, or no params.
      TypeError: a ``linesearch`` that is not a transform, no ``residual_fn``, or complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> line = lambda x: x[0] + x[1] * jnp.arange(3.0) - jnp.array([1.0, 3.0, 5.0])
      >>> result = gk.least_squares(line, jnp.zeros(2), gk.gauss_newton())
      >>> assert jnp.allclose(result.x, jnp.array([1.0, 2.0]), atol=1e-3)

    Reference: Nocedal and Wright 2006, Numerical Optimization, section 10.3.
    """
    return with_linesearch(scale_by_gauss_newton(damping), learning_rate, linesearch)


@transform
def levenberg_marquardt(damping: float = 1e-3, max_trials: int = 20) -> Transform:
    """Levenberg–Marquardt: damped Gauss–Newton for nonlinear least squares and curve fits.

    **Update rule** Δθ = −(JᵀJ + λ D²)⁻¹ g, λ and D as in ``scale_by_levenberg_marquardt``.

    **State** that of ``scale_by_levenberg_marquardt``, 4 bytes per parameter. Needs params, and the
    extra argument ``residual_fn``: the residuals r as a function of params, of which the loss is
    ½‖r‖² (``least_squares`` passes it).

    Args:
      damping: the first λ > 0.
      max_trials: the most trials in an update, at least 1.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: no ``residual_fn``, or complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> t, y = jnp.arange(4.0), 2 * jnp.exp(-0.5 * jnp.arange(4.0))
      >>> fit = lambda p: p["scale"] * jnp.exp(-p["rate"] * t) - y
      >>> start = {"scale": jnp.array(1.0), "rate": jnp.array(1.0)}
      >>> result = gk.least_squares(fit, start, gk.levenberg_marquardt())
      >>> assert jnp.allclose(result.x["rate"], 0.5, atol=1e-2)

    **Differs from MINPACK**: λ is chosen by the decrease of the loss, not from a trust radius.

    Reference: Marquardt 1963, https://doi.org/10.1137/0111030; Moré 1978,
    https://doi.org/10.1007/BFb0067700.
    """
    return chain(scale_by_levenberg_marquardt(damping, max_trials), scale(-1.0))
