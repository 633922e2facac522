"""The lecture formula: Δθ_t = −α_t · M_t / √(G_t + ε)."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import transform


@transform
def precondition(
    moment: Any, preconditioner: Any, eps: Any = 0.0, eps_root: Any = 0.0, *, order: int = 2
) -> Rule:
    """Divide an average of the gradient by the root of an average of its square.

    **Rule** M / (√(G + ε_root) + ε) with M = moment(g), G = preconditioner(|g|²). With ``order=1``: M / (G + ε), G = preconditioner(|g|).
    Where the denominator is zero the result is zero. Without a preconditioner: M.

    **Remembers** ``moment`` and ``preconditioner``: what the two averages remember.

    Args:
      moment: φ, an average fed the gradient.
      preconditioner: ψ, an average fed |g|^order, or None. It may ask for ``gradient`` (g) and ``moment`` (M) by name.
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      order: 2, or 1 for a preconditioner of magnitudes.

    Raises:
      ValueError: a negative epsilon, an order other than 1 or 2.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> adagrad = gk.precondition(gk.latest(), gk.running_sum())
      >>> _, state = adagrad.update(jnp.array([3.0, 0.0]), adagrad.init(jnp.zeros(2)))
      >>> updates, _ = adagrad.update(jnp.array([4.0, 0.0]), state)
      >>> assert jnp.allclose(updates, jnp.array([4 / 5, 0.0]))  # √(3² + 4²) = 5

    Reference: the lectures; Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
    """
    check.non_negative(eps=eps, eps_root=eps_root)
    if order not in (1, 2):
        check.fail("needs order 1 or 2", repr(order), path="order")
    check.part(moment=moment)
    phi = moment.rule
    if preconditioner is None:
        return phi
    check.part(preconditioner=preconditioner)
    psi = preconditioner.rule

    def init(params: Any) -> Any:
        return {
            "moment": phi.init(params),
            "preconditioner": psi.init(tree.magnitudes_like(params)),
        }

    def update(updates: Any, state: Any, params: Any, **extras: Any) -> Any:
        moments, kept_moment = phi.update(updates, state["moment"], params, **extras)
        size = numerics.abs_sq if order == 2 else jnp.abs
        extras = {**extras, "gradient": updates, "moment": moments}
        preconditioners, kept_metric = psi.update(
            tree.map(size, updates), state["preconditioner"], params, **extras
        )

        def leaf(m: Any, g: Any) -> Any:
            root = numerics.sqrt(g + tree.factor_like(eps_root, g)) if order == 2 else g
            return numerics.divide(m, root + tree.factor_like(eps, g))

        return tree.map(leaf, moments, preconditioners), {
            "moment": kept_moment,
            "preconditioner": kept_metric,
        }

    return Rule(init, update)
