"""Optimistic gradient descent."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import as_rate
from gradkit._transform import Transform, chain, transform
from gradkit.transforms.scale import scale_by_learning_rate


def _change(updates: Any, before: Any, step: Any) -> Any:
    """The gradient less the one before; zero at the first step, which has none before."""
    return tree.map(
        lambda g, old: jnp.where(step == 0, jnp.zeros_like(g), g - old), updates, before
    )


@transform
def scale_by_optimistic_gradient(alpha: Any = 1.0, beta: Any = 1.0) -> Rule:
    """Add what the gradient has changed by, for it will go on so.

    **Rule** u_t = α g_t + β (g_t − g_{t−1}), u_1 = α g_1.

    **Remembers** ``previous``: g_{t−1} (float32 or wider; 4 bytes per parameter).

    Args:
      alpha: α, a finite number or a schedule.
      beta: β, a finite number or a schedule.

    Raises:
      ValueError: numbers that are not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_optimistic_gradient()
      >>> first, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 3.0 and tx.update(jnp.full(1, 5.0), state)[0][0] == 5.0 + 2.0

    **Differs** from optax: α and β may be schedules.

    Reference: Mokhtari et al. 2020, https://arxiv.org/abs/1901.08511.
    """
    check.finite(alpha=alpha, beta=beta)

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        change = _change(updates, state["previous"], step)
        ahead = tree.map(
            lambda g, c: tree.factor_like(alpha, g) * g + tree.factor_like(beta, g) * c,
            updates,
            change,
        )
        return ahead, {"previous": updates}

    return Rule(lambda params: {"previous": tree.zeros_like(params)}, update)


@transform
def optimistic_gradient_descent(learning_rate: Any, alpha: Any = 1.0, beta: Any = 1.0) -> Transform:
    """Optimistic gradient descent, for games: it does not circle the saddle of min-max problems.

    **Rule** Δθ_t = −η (α g_t + β (g_t − g_{t−1})), η the rate; the first step is −η α g_1.

    **Remembers** ``scale_by_optimistic_gradient.previous``: 4 bytes per parameter.

    Args:
      learning_rate: η ≥ 0, a number or a schedule.
      alpha: α, a number or a schedule.
      beta: β, a number or a schedule.

    Raises:
      ValueError: a negative rate, numbers that are not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> def play(tx, turns=400):  # min over x, max over y, of x y
      ...     z, state = jnp.ones(2), tx.init(jnp.ones(2))
      ...     for _ in range(turns):
      ...         z, state = tx.apply(z, state, jnp.array([z[1], -z[0]]))
      ...     return float(jnp.abs(z).max())
      >>> assert play(gk.optimistic_gradient_descent(0.3)) < 1e-3 and play(gk.sgd(0.3), 40) > 3.0

    **Differs** from optax: α and β may be schedules.

    Reference: Mokhtari et al. 2020, https://arxiv.org/abs/1901.08511.
    """
    return chain(
        scale_by_optimistic_gradient(as_rate(alpha), as_rate(beta)),
        scale_by_learning_rate(learning_rate),
    )
