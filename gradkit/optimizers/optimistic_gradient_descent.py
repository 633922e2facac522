"""Optimistic gradient descent: extrapolate the gradient by its last change.

Δθ_t = −η_t (α g_t + β (g_t − g_{t−1})),  Δθ_1 = −η_1 α g_1

φ = ``latest`` plus the change since the previous gradient, no ψ. The same change enters Optimistic
Adam (after Adam's direction), Adan (as an average of its own, and in ψ) and MARS (before AdamW).
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate


def _change(updates: Any, previous: Any, step: Any) -> Any:
    """Return g_t − g_{t−1}, and zero at step 0, which has no previous gradient."""
    return tree.map(
        lambda g, old: jnp.where(step == 0, jnp.zeros_like(g), g - old), updates, previous
    )


@transform
def scale_by_optimistic_gradient(alpha: Rate = 1.0, beta: Rate = 1.0) -> Rule:
    """Add an extrapolation term β (g_t − g_{t−1}) to the gradient.

    **Update rule** u_t = α g_t + β (g_t − g_{t−1}), u_1 = α g_1.

    **State** ``previous``: g_{t−1} (float32 or wider; 4 bytes per parameter).

    Args:
      alpha: α, finite, the factor of the gradient, or a schedule.
      beta: β, finite, the factor of its change, or a schedule.

    Raises:
      ValueError: an α or β that is not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_optimistic_gradient()
      >>> first, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 3.0 and tx.update(jnp.full(1, 5.0), state)[0][0] == 5.0 + 2.0

    **Differs from optax**: α and β may be schedules.

    Reference: Mokhtari et al. 2020, https://arxiv.org/abs/1901.08511.
    """
    check.finite(alpha=alpha, beta=beta)

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        change = _change(updates, state["previous"], step)

        def leaf(g: Any, difference: Any) -> Any:
            return tree.factor_like(alpha, g) * g + tree.factor_like(beta, g) * difference

        return tree.map(leaf, updates, change), {"previous": updates}

    init = lambda params: {"previous": tree.zeros_like(params)}
    return Rule(init, update, scope="element")


@transform
def optimistic_gradient_descent(
    learning_rate: Rate, alpha: Rate = 1.0, beta: Rate = 1.0
) -> Transform:
    """Optimistic gradient descent (OGD), which converges on min-max games where SGD circles.

    **Update rule** Δθ_t = −η (α g_t + β (g_t − g_{t−1})), η the learning rate; the first step is
    −η α g_1.

    **State** ``scale_by_optimistic_gradient.previous``: 4 bytes per parameter.

    Args:
      learning_rate: η ≥ 0, or a schedule.
      alpha: α, finite, the factor of the gradient, or a schedule.
      beta: β, finite, the factor of its change, or a schedule.

    Raises:
      ValueError: a negative learning rate, or an α or β that is not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> def play(tx, steps=400):  # min over x, max over y, of x y
      ...     z, state = jnp.ones(2), tx.init(jnp.ones(2))
      ...     for _ in range(steps):
      ...         z, state = tx.apply(z, state, jnp.array([z[1], -z[0]]))
      ...     return float(jnp.abs(z).max())
      >>> assert play(gk.optimistic_gradient_descent(0.3)) < 1e-3 and play(gk.sgd(0.3), 40) > 3.0

    **Differs from optax**: α and β may be schedules.

    Reference: Mokhtari et al. 2020, https://arxiv.org/abs/1901.08511.
    """
    return chain(scale_by_optimistic_gradient(alpha, beta), scale_by_learning_rate(learning_rate))
