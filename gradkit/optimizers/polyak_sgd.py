"""Polyak sgd."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, stateless, transform
from gradkit.optimizers.sgd import sgd


@transform
def scale_by_polyak(
    f_min: Any = 0.0, max_learning_rate: Any = 1.0, eps: Any = 0.0, variant: str = "sps"
) -> Rule:
    """Multiply by Polyak's step size.

    **Rule** u = g · min((f(θ) − f*) / (‖g‖² + ε), γ_max), the norm over the whole tree; u = 0 for g = 0. ``variant="sps+"``: (f − f*)₊ instead.

    **Remembers** nothing. Needs the extra ``value``: the loss f(θ).

    Args:
      f_min: f*, a lower bound of the loss.
      max_learning_rate: γ_max > 0.
      eps: ε ≥ 0.
      variant: ``"sps"`` or ``"sps+"``.

    Raises:
      ValueError: arguments out of range, another variant.
      TypeError: no ``value``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_polyak(f_min=1.0)
      >>> assert jnp.allclose(tx.update(jnp.array([6.0, 8.0]), tx.init(jnp.zeros(2)), value=51.0)[0], jnp.array([3.0, 4.0]))

    **Differs** from optax, which takes every gradient shorter than 1.5e-8 for zero.

    Reference: Loizou et al. 2021, https://arxiv.org/abs/2002.10542; Garrigos et al. 2023, https://arxiv.org/abs/2307.14528.
    """
    check.finite(f_min=f_min)
    check.positive(max_learning_rate=max_learning_rate)
    check.non_negative(eps=eps)
    check.one_of(("sps", "sps+"), variant=variant)

    def update(updates: Any, params: Any, *, value: Any) -> Any:
        square = numerics.abs_sq(tree.norm(updates))
        gap = jnp.asarray(value, square.dtype) - f_min
        if variant == "sps+":
            gap = jnp.maximum(gap, 0.0)
        return tree.scale(
            updates,
            jnp.where(
                square == 0, 0.0, jnp.minimum(numerics.divide(gap, square + eps), max_learning_rate)
            ),
        )

    return stateless(update)


@transform
def polyak_sgd(
    max_learning_rate: Any = 1.0,
    scaling: Any = 1.0,
    f_min: Any = 0.0,
    eps: Any = 0.0,
    variant: str = "sps",
) -> Transform:
    """Gradient descent with Polyak's step size: as far as the loss could fall if it were linear.

    **Rule** Δθ = −s min((f(θ) − f*) / (‖g‖² + ε), γ_max) g.

    **Remembers** nothing. Needs the extra ``value``: the loss f(θ) (``make_step`` passes it).

    Args:
      max_learning_rate: γ_max > 0.
      scaling: s ≥ 0, a number or a schedule.
      f_min: f*, a lower bound of the loss.
      eps: ε ≥ 0.
      variant: ``"sps"``, or ``"sps+"`` which takes no steps uphill where the loss is below f*.

    Raises:
      ValueError: arguments out of range, another variant.
      TypeError: no ``value``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.polyak_sgd(scaling=0.5)
      >>> assert jnp.allclose(tx.update(jnp.array([6.0, 8.0]), tx.init(jnp.zeros(2)), value=50.0)[0], jnp.array([-1.5, -2.0]))

    **Differs** from optax, which scales the gradient before it measures its norm, so that half the ``scaling`` gives twice the step.

    Reference: Loizou et al. 2021, https://arxiv.org/abs/2002.10542; Garrigos et al. 2023, https://arxiv.org/abs/2307.14528.
    """
    return chain(scale_by_polyak(f_min, max_learning_rate, eps, variant), sgd(scaling))
