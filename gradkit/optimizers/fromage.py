"""Fromage: steps of fixed length relative to each leaf, then a rescaling that keeps its norm.

θ ← (θ − α ‖θ‖ / ‖g‖ g) / √(1 + α²)

φ is ``latest``, there is no ψ; then the trust ratio ‖θ‖ / ‖g‖ of each leaf, then the rescaling.
"""

from typing import Any

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, stateless, transform
from gradkit.transforms.trust_ratio import scale_by_trust_ratio
from gradkit.typing import Rate


@transform
def fromage(learning_rate: Rate, min_norm: Rate = 1e-6) -> Transform:
    """Fromage: take steps of fixed length relative to each leaf, and rescale to keep its norm.

    **Update rule** θ ← (θ − α ‖θ‖ / ‖g‖ g) / √(1 + α²), both norms per leaf and at least
    ``min_norm``.

    **State** None. Needs params.

    Args:
      learning_rate: α ≥ 0, or a schedule. Usually about 0.01.
      min_norm: ≥ 0, the least value of either norm.

    Raises:
      ValueError: a negative learning rate or norm, or no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.fromage(0.75), jnp.array([2.0, 0.0])
      >>> moved = w + tx.update(jnp.array([0.0, 0.1]), tx.init(w), w)[0]
      >>> assert jnp.allclose(moved, jnp.array([1.6, -1.2]))

    **Differs from optax** in rounding: 1 / √(1 + α²) − 1 is computed without the subtraction,
    which cancels for small α.

    Reference: Bernstein et al. 2020, https://arxiv.org/abs/2002.03432.
    """
    check.non_negative(min_norm=min_norm)
    return chain(scale_by_trust_ratio(min_norm), _fromage_step(learning_rate))


@transform
def _fromage_step(learning_rate: Rate) -> Rule:
    """Apply the step and rescale by 1/√(1+α²), which preserves ‖θ‖ for an orthogonal ‖u‖ = ‖θ‖.

    **Update rule** u ← (θ − α u) / √(1 + α²) − θ.

    **State** None. Needs params.
    """
    check.non_negative(learning_rate=learning_rate)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        alpha: Any = learning_rate
        length = (1 + alpha**2) ** 0.5
        # 1 / √(1 + α²) − 1 = −α² / (√(1 + α²) (1 + √(1 + α²))), which does not cancel.
        step, shrink = -alpha / length, -(alpha**2) / (length * (1 + length))

        def leaf(u: Any, p: Any) -> Any:
            return tree.factor_like(step, u) * u + tree.factor_like(shrink, p) * p

        return tree.map(leaf, updates, params)

    return stateless(update, scope="element")
