"""BFGS and DFP: quasi-Newton methods with a dense approximation of the inverse Hessian.

    Δθ_t = −α_t · H_t g_t        H_t y_{t−1} = s_{t−1}        s = θ_t − θ_{t−1},  y = g_t − g_{t−1}

H is a matrix over all elements, so these are methods for small problems; ``lbfgs`` keeps the last
pairs (s, y) instead.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._flat import Flat
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.optimizers._search import ZOOM, with_linesearch
from gradkit.typing import Rate


@transform
def scale_by_bfgs(scale_init_precond: bool = True) -> Rule:
    """Multiply the gradient by the BFGS approximation of the inverse Hessian.

    **Update rule** u = H g, H ← (I − ρ s yᵀ) H (I − ρ y sᵀ) + ρ s sᵀ, with s the change of the
    parameters, y that of the gradient since the last step, ρ = 1 / (sᵀ y). H stays as it is where
    sᵀ y is not positive, so that it stays positive definite, and starts anew after a step that did
    not move the parameters.

    **State** ``params`` and ``updates``: the last parameters and gradients; ``inverse_hessian``:
    H, n × n for n elements (two for a complex one), float32 or wider; ``changed``: whether H holds
    a pair (s, y). 4 n + 8 bytes per parameter. Needs params.

    Args:
      scale_init_precond: the first H is min(1, 1/‖g‖) I, and before its first change
        (sᵀ y / yᵀ y) I, an estimate of its scale; otherwise I.

    Raises:
      ValueError: no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_bfgs(), jnp.array([0.5, 0.0])
      >>> u, state = tx.update(jnp.array([0.5, 0.0]), tx.init(w), w)
      >>> w = jnp.array([0.0, 0.0])
      >>> _, state = tx.update(jnp.array([-1.0, 0.0]), state, w)  # s = -0.5, y = -1.5
      >>> assert jnp.allclose(state.inner["scale_by_bfgs"]["inverse_hessian"], jnp.eye(2) / 3)

    Reference: Nocedal and Wright 2006, Numerical Optimization, algorithm 6.1.
    """
    return _quasi_newton(_bfgs, scale_init_precond)


@transform
def scale_by_dfp(scale_init_precond: bool = True) -> Rule:
    """Multiply the gradient by the DFP (Davidon–Fletcher–Powell) inverse Hessian.

    **Update rule** u = H g, H ← H − (H y)(H y)ᵀ / (yᵀ H y) + s sᵀ / (sᵀ y), with s and y as in
    ``scale_by_bfgs``, and likewise left as it is where sᵀ y is not positive.

    **State** as ``scale_by_bfgs``.

    Args:
      scale_init_precond: as in ``scale_by_bfgs``.

    Raises:
      ValueError: no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_dfp(scale_init_precond=False), jnp.array([0.5, 0.0])
      >>> u, state = tx.update(jnp.array([0.5, 0.0]), tx.init(w), w)
      >>> w = jnp.array([0.0, 0.0])
      >>> _, state = tx.update(jnp.array([-1.0, 0.0]), state, w)  # s = -0.5, y = -1.5
      >>> inverse = state.inner["scale_by_dfp"]["inverse_hessian"]
      >>> assert jnp.allclose(inverse, jnp.diag(jnp.array([1 / 3, 1.0])))

    Reference: Nocedal and Wright 2006, Numerical Optimization, equation 6.15.
    """
    return _quasi_newton(_dfp, scale_init_precond)


def _quasi_newton(change: Callable[[Any, Any, Any, Any], Any], scaled: bool) -> Rule:
    """The rule that keeps H, and changes it by ``change(H, s, y, sᵀ y)``."""

    def init(params: Any) -> Any:
        flat = Flat(params)
        return {
            "params": tree.zeros_like(params),
            "updates": tree.zeros_like(params),
            "inverse_hessian": jnp.eye(flat.size, dtype=flat.dtype),
            "changed": jnp.zeros((), bool),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.params(params)
        flat = Flat(params)
        g, inverse, changed = flat.ravel(updates), state["inverse_hessian"], state["changed"]
        s = flat.ravel(params) - flat.ravel(state["params"])
        y = g - flat.ravel(state["updates"])
        sy = jnp.vdot(s, y)
        rounding = jnp.finfo(flat.dtype).eps * numerics.norm(s) * numerics.norm(y)
        usable = (sy > rounding) & (step > 0)
        # A step that did not move: a line search along the direction found none. H starts anew.
        failed = (step > 0) & ~jnp.any(s != 0)
        inverse = jnp.where(failed, jnp.eye(flat.size, dtype=flat.dtype), inverse)
        changed = changed & ~failed
        if scaled:
            estimate = numerics.divide(sy, jnp.vdot(y, y))
            inverse = inverse * jnp.where(usable & ~changed, estimate, 1)
        inverse = jnp.where(usable, change(inverse, s, y, jnp.where(usable, sy, 1)), inverse)
        changed = changed | usable
        direction = jnp.dot(inverse, g, precision="highest")
        if scaled:  # 1 / max(1, ‖g‖) has a finite derivative at g = 0, min(1, 1 / ‖g‖) has not
            direction = direction / jnp.where(changed, 1, jnp.maximum(1, numerics.norm(g)))
        after = {
            "params": tree.origin(params),
            "updates": updates,
            "inverse_hessian": inverse,
            "changed": changed,
        }
        return flat.unravel(direction), after

    return Rule(init, update)


def _bfgs(h: Any, s: Any, y: Any, sy: Any) -> Any:
    hy = jnp.dot(h, y, precision="highest")
    cross = jnp.outer(hy, s)
    return h + jnp.outer(s, s) * ((sy + jnp.vdot(y, hy)) / sy**2) - (cross + cross.T) / sy


def _dfp(h: Any, s: Any, y: Any, sy: Any) -> Any:
    hy = jnp.dot(h, y, precision="highest")
    fitted = numerics.divide(jnp.ones_like(sy), jnp.vdot(y, hy))
    return h + jnp.outer(s, s) / sy - jnp.outer(hy, hy * fitted)


@transform
def bfgs(
    learning_rate: Rate | None = None,
    scale_init_precond: bool = True,
    linesearch: Transform | None = ZOOM,
) -> Transform:
    """BFGS: the quasi-Newton method with a dense inverse Hessian, for up to a thousand elements.

    **Update rule** Δθ = −α H g, H as in ``scale_by_bfgs``, α from a line search.

    **State** that of ``scale_by_bfgs``, 4 n + 8 bytes per parameter, and that of the line search.
    Needs params and the extra arguments of the line search: ``value``, ``grad``, ``value_fn``, the
    loss as a function of params (``minimize`` and ``make_step`` pass them).

    Args:
      learning_rate: a factor of the direction before the line search; None for 1.
      scale_init_precond: scale the first H: see ``scale_by_bfgs``.
      linesearch: the transform that finds α, or None for α = 1.

    Raises:
      ValueError: no params.
      TypeError: a ``linesearch`` that is not a transform, or no ``value_fn``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> rosenbrock = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
      >>> result = gk.minimize(rosenbrock, jnp.array([-1.2, 1.0]), gk.bfgs())
      >>> assert result.converged and jnp.allclose(result.x, 1.0, atol=1e-2)

    Reference: Nocedal and Wright 2006, Numerical Optimization, algorithm 6.1.
    """
    return with_linesearch(scale_by_bfgs(scale_init_precond), learning_rate, linesearch)


@transform
def dfp(
    learning_rate: Rate | None = None,
    scale_init_precond: bool = True,
    linesearch: Transform | None = ZOOM,
) -> Transform:
    """DFP (Davidon–Fletcher–Powell): the first quasi-Newton method, for comparison with BFGS.

    **Update rule** Δθ = −α H g, H as in ``scale_by_dfp``, α from a line search. Less robust than
    ``bfgs`` against inexact line searches.

    **State** as ``bfgs``.

    Args:
      learning_rate: a factor of the direction before the line search; None for 1.
      scale_init_precond: scale the first H: see ``scale_by_bfgs``.
      linesearch: the transform that finds α, or None for α = 1.

    Raises:
      ValueError: no params.
      TypeError: a ``linesearch`` that is not a transform, or no ``value_fn``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> bowl = lambda x: (x[0] - 1) ** 2 + 10 * (x[1] + 2) ** 2
      >>> result = gk.minimize(bowl, jnp.zeros(2), gk.dfp())
      >>> assert result.converged and jnp.allclose(result.x, jnp.array([1.0, -2.0]), atol=1e-2)

    Reference: Fletcher and Powell 1963, https://doi.org/10.1093/comjnl/6.2.163.
    """
    return with_linesearch(scale_by_dfp(scale_init_precond), learning_rate, linesearch)
