"""LARS: momentum SGD whose gradient is scaled in each leaf by the trust ratio ‖θ‖ / ‖u‖.

Δθ_t = ρ Δθ_{t−1} − α_t · κ ‖θ‖ / ‖u_t‖ · u_t        u_t = g_t + λ θ

φ = ``latest``, no ψ; then the trust ratio, the learning rate, and a ``trace`` of the steps.
"""

from gradkit._chain import chain, identity
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import trace
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.trust_ratio import scale_by_trust_ratio
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate
from gradkit.wrappers.partition import masked


@transform
def lars(
    learning_rate: Rate,
    weight_decay: Rate = 0.0,
    weight_decay_mask: Mask | bool = True,
    trust_coefficient: Rate = 0.001,
    eps: Rate = 0.0,
    trust_ratio_mask: Mask | bool = True,
    momentum: Rate = 0.9,
    nesterov: bool = False,
) -> Transform:
    """LARS: momentum SGD with a layer-wise trust ratio, for large batches.

    **Update rule** Δθ_t = ρ Δθ_{t−1} − α κ ‖θ‖ / (‖u‖ + ε) u, u = g + λ θ, norms per leaf. The
    ratio is 1 where a norm is zero.

    **State** ``trace``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      weight_decay: λ ≥ 0, coupled: λ θ is added to the gradient.
      weight_decay_mask: Leaves that decay: see `gradkit.masks`. True for all, False for none.
      trust_coefficient: κ > 0.
      eps: ε ≥ 0, added to the norm of the update.
      trust_ratio_mask: Leaves that are scaled by the trust ratio: see `gradkit.masks`. True for
        all, False for none. ``by_rank(2)`` leaves out biases and norms, as is usual.
      momentum: ρ in [0, 1].
      nesterov: use Nesterov's form of momentum.

    Raises:
      ValueError: an argument out of range, a mask that does not match the tree, or no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.lars(0.5, trust_coefficient=0.1), jnp.array([3.0, 4.0])
      >>> updates, _ = tx.update(jnp.array([0.0, 7.0]), tx.init(w), w)
      >>> assert jnp.allclose(updates, jnp.array([0.0, -0.25]))  # −0.5 · 0.1 · 5

    Reference: You et al. 2017, https://arxiv.org/abs/1708.03888.
    """
    trust = scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
    if isinstance(trust_ratio_mask, bool):
        scaled = trust if trust_ratio_mask else identity()
    else:
        scaled = masked(trust, trust_ratio_mask)
    decay_mask = None if weight_decay_mask is True else weight_decay_mask
    decayed = identity() if decay_mask is False else add_decayed_weights(weight_decay, decay_mask)
    return chain(decayed, scaled, scale_by_learning_rate(learning_rate), trace(momentum, nesterov))
