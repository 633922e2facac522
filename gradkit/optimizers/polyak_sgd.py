"""Polyak SGD: the step size is the gap between the loss and its lower bound, divided by ‖g‖².

Δθ_t = −s_t · min((f(θ_t) − f*) / (‖g_t‖² + ε), γ_max) · g_t        φ = ``latest``, no ψ
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, stateless, transform
from gradkit.optimizers.sgd import sgd
from gradkit.typing import Rate


@transform
def scale_by_polyak(
    f_min: Rate = 0.0, max_learning_rate: Rate = 1.0, eps: Rate = 0.0, variant: str = "sps"
) -> Rule:
    """Scale the gradient by Polyak's step size, computed from the loss.

    **Update rule** u = g · min((f(θ) − f*) / (‖g‖² + ε), γ_max), the norm over the whole tree;
    u = 0 for g = 0. ``variant="sps+"`` replaces f − f* by max(f − f*, 0).

    **State** None. Needs the extra argument ``value``: the loss f(θ).

    Args:
      f_min: f*, a lower bound of the loss.
      max_learning_rate: γ_max > 0.
      eps: ε ≥ 0, added to the squared norm.
      variant: ``"sps"`` or ``"sps+"``.

    Raises:
      ValueError: an argument out of range, or an unknown variant.
      TypeError: no ``value``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, g = gk.scale_by_polyak(f_min=1.0), jnp.array([6.0, 8.0])
      >>> updates, _ = tx.update(g, tx.init(jnp.zeros(2)), value=51.0)
      >>> assert jnp.allclose(updates, g / 2)  # (51 − 1) / 100

    **Differs from optax**, which treats every gradient shorter than 1.5e-8 as zero.

    Reference: Loizou et al. 2021, https://arxiv.org/abs/2002.10542; Garrigos et al. 2023,
    https://arxiv.org/abs/2307.14528.
    """
    check.finite(f_min=f_min)
    check.positive(max_learning_rate=max_learning_rate)
    check.non_negative(eps=eps)
    check.one_of(("sps", "sps+"), variant=variant)

    def update(updates: Any, params: Any, *, value: Any) -> Any:
        square = numerics.abs_sq(tree.norm(updates))
        like = tree.factor_like
        gap = numerics.loss_like(value, square) - like(f_min, square)
        if variant == "sps+":
            gap = jnp.maximum(gap, 0.0)
        size = numerics.divide(gap, square + like(eps, square))
        size = jnp.minimum(size, like(max_learning_rate, square))
        return tree.scale(updates, jnp.where(square == 0, 0.0, size))

    return stateless(update, sharded=True)


@transform
def polyak_sgd(
    max_learning_rate: Rate = 1.0,
    scaling: Rate = 1.0,
    f_min: Rate = 0.0,
    eps: Rate = 0.0,
    variant: str = "sps",
) -> Transform:
    """SGD with Polyak's step size, computed from the loss and its lower bound.

    **Update rule** Δθ = −s min((f(θ) − f*) / (‖g‖² + ε), γ_max) g.

    **State** None. Needs the extra argument ``value``: the loss f(θ) (``make_step`` passes it).

    Args:
      max_learning_rate: γ_max > 0.
      scaling: s ≥ 0, or a schedule.
      f_min: f*, a lower bound of the loss.
      eps: ε ≥ 0, added to the squared norm.
      variant: ``"sps"``, or ``"sps+"``, which takes no uphill steps where the loss is below f*.

    Raises:
      ValueError: an argument out of range, or an unknown variant.
      TypeError: no ``value``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, g = gk.polyak_sgd(scaling=0.5), jnp.array([6.0, 8.0])
      >>> updates, _ = tx.update(g, tx.init(jnp.zeros(2)), value=50.0)
      >>> assert jnp.allclose(updates, -g / 4)  # 0.5 · 50 / 100

    **Differs from optax**, which scales the gradient before it computes the norm, so that half the
    ``scaling`` gives twice the step.

    Reference: Loizou et al. 2021, https://arxiv.org/abs/2002.10542; Garrigos et al. 2023,
    https://arxiv.org/abs/2307.14528.
    """
    return chain(scale_by_polyak(f_min, max_learning_rate, eps, variant), sgd(scaling))
