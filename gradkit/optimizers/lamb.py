"""LAMB: AdamW whose step is scaled in each leaf by the trust ratio ‖θ‖ / ‖u‖.

Δθ_t = −α_t · ‖θ‖ / ‖u_t‖ · u_t        u_t = Adam's direction + λ θ

φ = ``ema``, ψ = ``ema`` of g²; then decayed weights and the trust ratio.
"""

from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.optimizers.adam import scale_by_adam
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.trust_ratio import scale_by_trust_ratio
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate


@transform
def lamb(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-6,
    eps_root: Rate = 0.0,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """LAMB: AdamW with a layer-wise trust ratio, for very large batches.

    **Update rule** Δθ = −α ‖θ‖ / ‖u‖ u, u = m̂ / (√(v̂ + ε_root) + ε) + λ θ, norms per leaf. The
    ratio is 1 where a norm is zero.

    **State** ``scale_by_adam``: 8 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, or a schedule. It is the length of a step relative to the parameter.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: an argument out of range, or no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.lamb(0.5), jnp.array([3.0, 4.0])
      >>> updates, _ = tx.update(jnp.array([0.0, 7.0]), tx.init(w), w)
      >>> assert jnp.allclose(updates, jnp.array([0.0, -2.5]))  # −0.5 ‖θ‖

    Reference: You et al. 2020, https://arxiv.org/abs/1904.00962.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )
