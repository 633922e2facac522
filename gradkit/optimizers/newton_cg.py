"""Newton-CG: Newton's direction by conjugate gradients on Hessian-vector products.

    Δθ_t = −α_t · u_t        (H_t + λI) u_t ≈ g_t,  ‖u_t‖ ≤ r_t

A few products of the cost of a gradient replace the matrix, so it works for many elements.
Directions of negative curvature end the inner iteration: they are followed to the edge of the trust
region r, or left out without one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.curvature._arguments import scalar_function
from gradkit.optimizers._search import BACKTRACKING, with_linesearch
from gradkit.typing import Rate


@transform
def scale_by_newton_cg(
    damping: Rate = 0.0, trust_radius: float | None = None, max_iterations: int | None = None
) -> Rule:
    """Solve Newton's equation by truncated conjugate gradients, in a trust region (Steihaug).

    **Update rule** u ≈ (H + λ I)⁻¹ g, by conjugate gradients until the residual is at most
    min(½, √‖g‖) ‖g‖. At a direction of negative curvature they end: with a trust region at its
    edge ‖u‖ = r along that direction, without one at the last iterate, or if it is the first
    direction at g ‖g‖² / |gᵀ(H + λ I) g|. −u descends in each case. Derivatives do not pass through
    the iterations.

    After a step the radius adapts to ratio = (actual decrease) / (predicted decrease):
    r ← ‖u‖ / 4 below ¼, and r ← 2 r above ¾ if u was at the edge.

    **State** ``products``, the number of Hessian-vector products of the last update; with a trust
    region also ``radius``, ``value`` (the last one), ``predicted`` (the decrease that the quadratic
    model predicts) and ``length`` (‖u‖): scalars. Needs params, and the extra arguments
    ``value_fn``, the loss as a function of params, and with a trust region ``value``.

    Args:
      damping: λ ≥ 0, added to the Hessian.
      trust_radius: the first r > 0, or None for no trust region.
      max_iterations: the most inner iterations, at least 1; None for the number of elements.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: no loss function, no ``value`` for a trust region, or complex updates.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> bowl = lambda x: 3 * jnp.sum(x**2)
      >>> tx, x = gk.scale_by_newton_cg(), jnp.array([4.0, 3.0])
      >>> u, _ = tx.update(jax.grad(bowl)(x), tx.init(x), x, value_fn=bowl)
      >>> assert jnp.allclose(u, x)  # exact: the Hessian is 6 I

    Reference: Nocedal and Wright 2006, Numerical Optimization, algorithms 7.1 and 7.2; Steihaug
    1983, https://doi.org/10.1137/0720042.
    """
    check.non_negative(damping=damping)
    if trust_radius is not None:
        check.positive(trust_radius=trust_radius)
    if max_iterations is not None:
        check.integer(1, max_iterations=max_iterations)

    def init(params: Any) -> Any:
        products = {"products": jnp.zeros((), jnp.int32)}
        if trust_radius is None:
            return products
        start = {"radius": trust_radius, "value": 0.0, "predicted": 0.0, "length": 0.0}
        return {**{name: tree.scalar(value, params) for name, value in start.items()}, **products}

    def update(
        updates: Any,
        state: Any,
        params: Any,
        *,
        value_fn: Callable[..., Any],
        value: Any = None,
        step: Any,
    ) -> Any:
        check.params(params)
        check.real_leaves(updates)
        check.function(value_fn=value_fn)
        if trust_radius is None:
            radius = tree.scalar(jnp.inf, params)
        else:
            value = numerics.loss_like(value, params)
            radius = jnp.where(step > 0, _adapted(state, value), state["radius"])
        # A loop without a fixed length has no reverse derivative, so u is a constant to it.
        point, g, added = lax.stop_gradient((params, updates, damping))
        loss = scalar_function(value_fn, point, (), "value_fn")
        along = jax.linearize(jax.grad(loss), point)[1]

        def product(v: Any) -> Any:
            return _plus(along(v), added, v)

        most = tree.count(params) if max_iterations is None else max_iterations
        u, curved, products = _truncated_cg(product, g, lax.stop_gradient(radius), most)
        if trust_radius is None:
            return u, {"products": products}
        return u, {
            "radius": radius,
            "value": value,
            "predicted": tree.dot(g, u) - tree.dot(u, curved) / 2,
            "length": tree.norm(u),
            "products": products,
        }

    return Rule(init, update, held_fixed="the direction")


def _adapted(state: Any, value: Any) -> Any:
    """The trust radius after a step that led to ``value``."""
    radius, length = state["radius"], state["length"]
    ratio = numerics.divide(state["value"] - value, state["predicted"])
    at_edge = length > 0.99 * radius
    larger = jnp.where((ratio > 0.75) & at_edge, 2 * radius, radius)
    return jnp.where((ratio < 0.25) & (length > 0), length / 4, larger)


def _plus(x: Any, factor: Any, y: Any) -> Any:
    """``x + factor * y`` on trees."""
    return tree.map(lambda a, b: a + tree.factor_like(factor, a) * b, x, y)


def _truncated_cg(
    product: Callable[[Any], Any], g: Any, radius: Any, most: int
) -> tuple[Any, Any, Any]:
    """Solve A u = g approximately within ‖u‖ ≤ radius; u, A u, and the number of products."""
    size = tree.norm(g)
    goal = jnp.minimum(0.5, numerics.sqrt(size)) * size

    def more(carry: Any) -> Any:
        _, _, r, _, count, ended = carry
        return (tree.norm(r) > goal) & (count < most) & ~ended

    def iterate(carry: Any) -> Any:
        u, au, r, d, count, _ = carry
        ad = product(d)
        rr, curvature = tree.sq_norm(r), tree.dot(d, ad)
        # Below this, u would not be changed by rounding errors alone.
        negative = curvature <= jnp.finfo(rr.dtype).eps * tree.norm(d) * tree.norm(ad)
        length = rr / jnp.where(negative, 1, curvature)
        outside = tree.norm(_plus(u, length, d)) >= radius
        # Without a trust region: back to u, or along g with the size of the curvature.
        first = count == 0
        fallback = numerics.divide(rr, jnp.abs(curvature))
        fallback = jnp.where(first, jnp.where(fallback > 0, fallback, 1), 0)
        edge = jnp.where(jnp.isinf(radius), fallback, _to_edge(u, d, radius))
        length = jnp.where(negative | outside, edge, length)
        r_new = _plus(r, -length, ad)
        beta = tree.sq_norm(r_new) / rr
        ended = negative | outside
        return (
            _plus(u, length, d),
            _plus(au, length, ad),
            r_new,
            _plus(r_new, beta, d),
            count + 1,
            ended,
        )

    zero = tree.zeros_like(g)
    start = (zero, zero, g, g, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    u, au, _, _, count, _ = lax.while_loop(more, iterate, start)
    # A zero gradient, or one that is not finite, passes.
    u = tree.map(lambda u, g: jnp.where(count == 0, g, u), u, g)
    return u, au, count


def _to_edge(u: Any, d: Any, radius: Any) -> Any:
    """The τ ≥ 0 with ‖u + τ d‖ = radius."""
    a, b, c = tree.sq_norm(d), tree.dot(u, d), tree.sq_norm(u) - radius**2
    root = numerics.sqrt(jnp.maximum(b * b - a * c, 0))
    return numerics.divide(-c, b + root)


@transform
def newton_cg(
    learning_rate: Rate | None = None,
    damping: Rate = 0.0,
    trust_radius: float | None = None,
    max_iterations: int | None = None,
    linesearch: Transform | None = BACKTRACKING,
) -> Transform:
    """Newton-CG (truncated Newton): second-order optimization by Hessian-vector products.

    **Update rule** Δθ = −α u, u as in ``scale_by_newton_cg``, α from a line search.

    **State** the scalars of ``scale_by_newton_cg``, and the state of the line search. Needs params
    and the extra arguments ``value``, ``grad`` and ``value_fn``, the loss as a function of params
    (``minimize`` and ``make_step`` pass them).

    Args:
      learning_rate: a factor of the direction before the line search; None for 1.
      damping: λ ≥ 0, added to the Hessian.
      trust_radius: the first radius of the trust region, which then adapts; None for none.
      max_iterations: the most inner iterations, at least 1; None for the number of elements.
      linesearch: the transform that finds α, or None for α = 1.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: a ``linesearch`` that is not a transform, no ``value_fn``, or complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> rosenbrock = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
      >>> result = gk.minimize(rosenbrock, jnp.array([-1.2, 1.0]), gk.newton_cg())
      >>> assert result.converged and jnp.allclose(result.x, 1.0, atol=1e-2)

    Reference: Nocedal and Wright 2006, Numerical Optimization, section 7.1.
    """
    direction = scale_by_newton_cg(damping, trust_radius, max_iterations)
    return with_linesearch(direction, learning_rate, linesearch)
