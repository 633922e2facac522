"""Lamb."""

from typing import Any

from gradkit._transform import Transform, chain, transform
from gradkit.optimizers.adam import scale_by_adam
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.trust_ratio import scale_by_trust_ratio
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def lamb(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-6,
    eps_root: Any = 0.0,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """LAMB: AdamW with a trust ratio for every leaf, for very large batches.

    **Rule** Δθ = −α ‖θ‖ / ‖u‖ u, u = m̂ / (√(v̂ + ε_root) + ε) + λ θ, norms per leaf; ratio 1 where a norm is zero.

    **Remembers** ``scale_by_adam``: 8 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule: the length of a step relative to the parameter.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      weight_decay: λ ≥ 0, a number or a schedule.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.lamb(0.5), jnp.array([3.0, 4.0])
      >>> assert jnp.allclose(tx.update(jnp.array([0.0, 7.0]), tx.init(w), w)[0], jnp.array([0.0, -2.5]))

    Reference: You et al. 2020, https://arxiv.org/abs/1904.00962.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )
