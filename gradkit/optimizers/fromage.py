"""Fromage."""

from typing import Any

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import Schedule, as_rate
from gradkit._transform import Transform, chain, stateless, transform
from gradkit.transforms.trust_ratio import scale_by_trust_ratio


@transform
def fromage(learning_rate: Any, min_norm: Any = 1e-6) -> Transform:
    """Fromage: steps of one length relative to each leaf, back onto the sphere after each.

    **Rule** θ ← (θ − α ‖θ‖ / ‖g‖ g) / √(1 + α²), both norms per leaf and at least ``min_norm``.

    **Remembers** nothing. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; about 0.01.
      min_norm: the least that a norm counts as, ≥ 0.

    Raises:
      ValueError: a negative rate or norm, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.fromage(0.75), jnp.array([2.0, 0.0])
      >>> assert jnp.allclose(w + tx.update(jnp.array([0.0, 0.1]), tx.init(w), w)[0], jnp.array([1.6, -1.2]))

    **Differs** from optax in rounding: 1 / √(1 + α²) − 1 is computed without the difference, which cancels for small α.

    Reference: Bernstein et al. 2020, https://arxiv.org/abs/2002.03432.
    """
    check.non_negative(min_norm=min_norm)
    return chain(scale_by_trust_ratio(min_norm), retract(learning_rate))


@transform
def retract(learning_rate: Any) -> Rule | Transform:
    """Step, then shrink, so that a step as long as the parameter and at right angles to it leaves its length alone: Fromage's last link.

    **Rule** u ← (θ − α g) / √(1 + α²) − θ.

    **Remembers** nothing. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.

    Raises:
      ValueError: α < 0, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.retract(0.75), jnp.array([2.0, 0.0])
      >>> moved = w + tx.update(jnp.array([0.0, 2.0]), tx.init(w), w)[0]
      >>> assert jnp.allclose(moved, jnp.array([1.6, -1.2]))  # still of length 2

    Reference: Bernstein et al. 2020, https://arxiv.org/abs/2002.03432.
    """
    rate = as_rate(learning_rate)
    if isinstance(rate, Schedule) and not isinstance(learning_rate, Schedule):
        return retract(rate)
    check.non_negative(learning_rate=learning_rate)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        length = (1 + learning_rate**2) ** 0.5
        # 1 / √(1 + α²) − 1, without the difference, which would cancel for small α.
        step, shrink = -learning_rate / length, -(learning_rate**2) / (length * (1 + length))
        return tree.map(
            lambda u, p: tree.factor_like(step, u) * u + tree.factor_like(shrink, p) * p,
            updates,
            params,
        )

    return stateless(update)
