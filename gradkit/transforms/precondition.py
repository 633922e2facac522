"""The formula of adaptive optimizers, Δθ_t = −α_t · M_t / √(G_t + ε), without the rate α."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.typing import Rate


@transform
def precondition(
    moment: Transform,
    preconditioner: Transform | None,
    eps: Rate = 0.0,
    eps_root: Rate = 0.0,
    *,
    order: int = 2,
) -> Rule:
    """Divide an average of the gradient by the root of an average of its square.

    **Update rule** M / (√(G + ε_root) + ε) with M = moment(g), G = preconditioner(|g|²). With
    ``order=1``: M / (G + ε), G = preconditioner(|g|). Where the denominator is zero the result is
    zero. Without a preconditioner: M.

    **State** ``moment`` and ``preconditioner``, the states of the two averages.

    Args:
      moment: φ, an average of the gradient.
      preconditioner: ψ, an average of |g|^order, or None. It may take ``gradient`` (g) and
        ``moment`` (M) as extra arguments.
      eps: ε ≥ 0, added to the root; a number or a schedule.
      eps_root: ε_root ≥ 0, added under the root; a number or a schedule.
      order: 2, or 1 for a preconditioner of magnitudes.

    Raises:
      ValueError: a negative epsilon, an order other than 1 or 2.
      TypeError: ``moment`` or ``preconditioner`` is not a transform, ``order`` is not an int.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> adagrad = gk.precondition(gk.averages.latest(), gk.averages.running_sum())
      >>> _, state = adagrad.update(jnp.array([3.0, 0.0]), adagrad.init(jnp.zeros(2)))
      >>> updates, _ = adagrad.update(jnp.array([4.0, 0.0]), state)
      >>> assert jnp.allclose(updates, jnp.array([4 / 5, 0.0]))  # √(3² + 4²) = 5

    Reference: Goodfellow et al. 2016, Deep Learning, section 8.5; Kingma and Ba 2015,
    https://arxiv.org/abs/1412.6980.
    """
    check.non_negative(eps=eps, eps_root=eps_root)
    if order not in (1, 2):
        check.refuse(f"order={order!r} is out of range", expected="1 or 2")
    first = Part("moment", moment)
    if preconditioner is None:
        return moment.rule
    second = Part("preconditioner", preconditioner)

    def init(params: Any, *, context: Any) -> Any:
        magnitudes = tree.magnitudes_like(params)
        return {
            "moment": first.init(params, context=context),
            "preconditioner": second.init(magnitudes, context=context),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        moments, kept_moment = first.update(updates, state["moment"], params, context=context)
        size = numerics.abs_sq if order == 2 else jnp.abs
        inside = context.extend(gradient=updates, moment=moments)
        magnitudes, kept = tree.map(size, updates), state["preconditioner"]
        preconditioners, kept = second.update(magnitudes, kept, params, context=inside)

        def leaf(m: Any, g: Any) -> Any:
            root = numerics.sqrt(g + tree.factor_like(eps_root, g)) if order == 2 else g
            return numerics.divide(m, root + tree.factor_like(eps, g))

        return tree.map(leaf, moments, preconditioners), {
            "moment": kept_moment,
            "preconditioner": kept,
        }

    return Rule(init, update, parts=(first, second), scope="element")
