"""L-BFGS: the gradient times an inverse Hessian that the last steps imply.

    Δθ_t = −η_t H_t g_t        H_t from the last m pairs s = θ_t − θ_{t−1}, y = g_t − g_{t−1}

H is never formed: two loops over the pairs multiply by it. φ is ``latest``; the matrix H takes the
place of the quotient by √ψ.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain, identity
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.transforms.scale import scale, scale_by_learning_rate
from gradkit.transforms.zoom_linesearch import scale_by_zoom_linesearch
from gradkit.typing import Rate


@transform
def scale_by_lbfgs(memory_size: int = 10, scale_init_precond: bool = True) -> Rule:
    """Multiply the gradient by the inverse Hessian of L-BFGS, without applying a step size.

    **Update rule** u = H g. From H = γ I, for each pair (s, y) from the oldest to the newest,
    H ← (I − ρ s yᵀ) H (I − ρ y sᵀ) + ρ s sᵀ, with ρ = 1 / sᵀy; s and y are the differences of the
    parameters and of the gradients between two steps. γ = sᵀy / yᵀy of the newest pair;
    γ = min(1, 1 / ‖g‖) before the first one. A pair that shows no positive curvature,
    sᵀy ≤ ε ‖s‖ ‖y‖ with ε the precision of the dtype, is left out. All pairs are dropped, so that
    u = γ g, after a step that did not move the parameters (a search along u found none), and where
    rounding errors let u no longer be a direction of ascent. A second step in a row that did not
    move them drops γ too: γ = 1 / ‖g‖. In complex leaves real and imaginary parts are
    independent: sᵀy is Re Σ s̄ y.

    **State** ``params`` and ``updates`` (θ and g of the last step; like the parameters, at least
    float32), ``diff_params`` and ``diff_updates`` (m pairs, stacked on a first axis), ``weights``
    (m numbers ρ; 0 where there is no pair), ``newest`` (the index of the newest pair) and ``scale``
    (γ; 0 where there is none). 8 (m + 1) bytes per parameter: 88 with m = 10. Needs params.

    Args:
      memory_size: m ≥ 1, in pairs; 3 to 20 is common.
      scale_init_precond: False for γ = 1.

    Raises:
      ValueError: m < 1, or no params.
      TypeError: ``memory_size`` is not an integer.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> tx, grad = gk.scale_by_lbfgs(), jax.grad(lambda w: 2 * jnp.sum(w**2))
      >>> w, v = jnp.array([2.0, -1.0]), jnp.array([1.0, 3.0])
      >>> _, state = tx.update(grad(w), tx.init(w), w)
      >>> updates, _ = tx.update(grad(v), state, v)
      >>> assert jnp.allclose(updates, v)  # the Hessian is 4 I, so that H g = g / 4

    **Differs from optax**: pairs without positive curvature are left out, and failed searches
    restart the method. optax keeps them, after which u may point uphill.

    Reference: Liu and Nocedal 1989, https://doi.org/10.1007/BF01589116; Nocedal and Wright 2006,
    algorithm 7.4.
    """
    check.integer(1, memory_size=memory_size)
    m = memory_size

    def init(params: Any) -> Any:
        def stacked(p: Any) -> Any:
            return jnp.zeros((m, *p.shape), p.dtype)

        dtype = numerics.scalar_dtype(params)
        return {
            "params": tree.zeros_like(params),
            "updates": tree.zeros_like(params),
            "diff_params": jax.tree.map(stacked, params),
            "diff_updates": jax.tree.map(stacked, params),
            "weights": jnp.zeros(m, dtype),
            "newest": jnp.zeros((), jnp.int32),
            "scale": jnp.zeros((), dtype),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.params(params)
        s, y = (
            tree.map(jnp.subtract, now, before)
            for now, before in ((params, state["params"]), (updates, state["updates"]))
        )
        sy, ss, yy = tree.inner(s, y), tree.sq_norm(s), tree.sq_norm(y)
        limits = jnp.finfo(sy.dtype)
        noise = jnp.maximum(limits.eps * numerics.sqrt(ss) * numerics.sqrt(yy), limits.tiny)
        curved = (step > 0) & (sy > noise)
        newest = jnp.where(curved, (state["newest"] + 1) % m, state["newest"])

        def put(stack: Any, new: Any) -> Any:
            return stack.at[newest].set(jnp.where(curved, new, stack[newest]))

        pairs = tree.map(put, state["diff_params"], s), tree.map(put, state["diff_updates"], y)
        failed, paired = (step > 0) & (ss == 0), jnp.any(state["weights"] > 0)
        weights = jnp.where(failed, 0.0, state["weights"])
        weights = put(weights, 1 / jnp.where(curved, sy, 1.0))
        # γ outlives one failed search, as the pairs do not.
        held = jnp.where(failed & ~paired, 0.0, state["scale"])
        gamma = jnp.where(curved, sy / jnp.where(curved, yy, 1.0), held)
        size = tree.norm(updates)
        if scale_init_precond:
            # A step that did not move small parameters may have been too short.
            least = jnp.where(failed & (size > 0), size, jnp.maximum(size, 1.0))
            start = jnp.where(gamma > 0, gamma, 1 / least)
        else:
            start = jnp.ones_like(gamma)

        direction = apply_inverse_hessian(updates, *pairs, weights, newest, start)
        slope = tree.inner(updates, direction)
        lost = ~((slope > 0) & jnp.isfinite(slope)) & (size > 0) & jnp.isfinite(size)
        plain = tree.scale(updates, start)
        direction = tree.map(lambda p, d: jnp.where(lost, p, d), plain, direction)
        return direction, {
            "params": _copy(params),
            "updates": _copy(updates),
            "diff_params": pairs[0],
            "diff_updates": pairs[1],
            "weights": jnp.where(lost, 0.0, weights),
            "newest": newest,
            "scale": gamma,
        }

    return Rule(init, update)


def apply_inverse_hessian(
    vector: Any, diff_params: Any, diff_updates: Any, weights: Any, newest: Any, scale: Any
) -> Any:
    """H v by two loops over the stacked pairs; a pair of weight 0 has no effect."""
    m = weights.shape[0]

    def along(i: Any, stack: Any, v: Any) -> Any:
        return weights[i] * tree.inner(_at(stack, i), v)

    def from_newest(j: Any, carry: Any) -> Any:
        v, products = carry
        i = (newest - j) % m
        product = along(i, diff_params, v)
        return _add(v, -product, _at(diff_updates, i)), products.at[i].set(product)

    def from_oldest(j: Any, v: Any) -> Any:
        i = (newest + 1 + j) % m
        return _add(v, products[i] - along(i, diff_updates, v), _at(diff_params, i))

    v, products = lax.fori_loop(0, m, from_newest, (vector, jnp.zeros_like(weights)))
    return lax.fori_loop(0, m, from_oldest, tree.scale(v, scale))


def _copy(x: Any) -> Any:
    """Buffers of its own for the state: those of the parameters may be donated."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), x)


def _at(stack: Any, i: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], stack)


def _add(v: Any, factor: Any, w: Any) -> Any:
    return tree.map(lambda x, y: x + factor.astype(y.dtype) * y, v, w)


@transform
def lbfgs(
    learning_rate: Rate | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: Transform | None = scale_by_zoom_linesearch(  # noqa: B008  immutable
        20, initial_guess_strategy="one"
    ),
) -> Transform:
    """L-BFGS: a quasi-Newton method with a line search, for smooth losses on the whole data.

    **Update rule** Δθ = −α η H g, H as in ``scale_by_lbfgs``, η by the line search.

    **State** that of ``scale_by_lbfgs`` (88 bytes per parameter with m = 10) and of the line search
    (4 bytes per parameter). Needs params, and the extra arguments of the line search: ``value``,
    ``grad`` and ``value_fn``.

    ``value_and_grad_from_state`` saves one evaluation of the loss and its gradient a step. For
    complex parameters pass the conjugate of what ``jax.grad`` returns, as the gradient and as
    ``grad``.

    Args:
      learning_rate: α ≥ 0, by which the direction is multiplied before the search; a number, a
        schedule, or None for 1.
      memory_size: m ≥ 1, in pairs.
      scale_init_precond: begin H with γ I, γ = sᵀy / yᵀy, and not with I.
      linesearch: a transform of the updates −α H g, such as ``scale_by_zoom_linesearch`` or
        ``scale_by_backtracking_linesearch``; None for η = 1.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: no ``value``, ``grad`` or ``value_fn``; a ``linesearch`` that is not a transform.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> loss = lambda w: (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
      >>> tx, w = gk.lbfgs(), jnp.array([-1.2, 1.0])
      >>> step = gk.make_step(loss, tx)
      >>> state = tx.init(w)
      >>> for _ in range(50):
      ...     w, state, value = step(w, state)
      >>> assert jnp.allclose(w, 1.0, atol=1e-3)  # the minimum of Rosenbrock's function

    **Differs from optax** as ``scale_by_lbfgs`` and ``scale_by_zoom_linesearch`` do: the loss never
    rises beyond rounding, and a failed search restarts the method.

    Reference: Liu and Nocedal 1989, https://doi.org/10.1007/BF01589116.
    """
    return chain(
        scale_by_lbfgs(memory_size, scale_init_precond),
        scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate),
        identity() if linesearch is None else linesearch,
    )
