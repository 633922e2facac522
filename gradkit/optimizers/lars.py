"""Lars."""

from typing import Any

from gradkit._transform import Transform, chain, identity, transform
from gradkit.averages.accumulators import trace
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.trust_ratio import scale_by_trust_ratio
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.wrappers.partition import masked


@transform
def lars(
    learning_rate: Any,
    weight_decay: Any = 0.0,
    weight_decay_mask: Any = True,
    trust_coefficient: Any = 0.001,
    eps: Any = 0.0,
    trust_ratio_mask: Any = True,
    momentum: Any = 0.9,
    nesterov: bool = False,
) -> Transform:
    """LARS: gradient descent whose rate is set for each leaf by its norm, with momentum.

    **Rule** Δθ_t = ρ Δθ_{t−1} − α κ ‖θ‖ / (‖u‖ + ε) u, u = g + λ θ, norms per leaf; ratio 1 where a norm is zero.

    **Remembers** ``trace``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      weight_decay: λ ≥ 0, a number or a schedule.
      weight_decay_mask: which leaves decay; True for all, False for none.
      trust_coefficient: κ > 0.
      eps: ε ≥ 0, added to the norm of the update.
      trust_ratio_mask: which leaves are scaled; True for all, False for none. Biases and norms are often left out: ``by_rank(2)``.
      momentum: ρ in [0, 1].
      nesterov: look one step ahead.

    Raises:
      ValueError: arguments out of range, masks that do not fit, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.lars(0.5, trust_coefficient=0.1), jnp.array([3.0, 4.0])
      >>> assert jnp.allclose(tx.update(jnp.array([0.0, 7.0]), tx.init(w), w)[0], jnp.array([0.0, -0.25]))  # −0.5 · 0.1 · 5

    Reference: You et al. 2017, https://arxiv.org/abs/1708.03888.
    """
    trust = scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
    scaled = (
        {True: trust, False: identity()}[trust_ratio_mask]
        if isinstance(trust_ratio_mask, bool)
        else masked(trust, trust_ratio_mask)
    )
    decay_mask = None if weight_decay_mask is True else weight_decay_mask
    decayed = identity() if decay_mask is False else add_decayed_weights(weight_decay, decay_mask)
    return chain(decayed, scaled, scale_by_learning_rate(learning_rate), trace(momentum, nesterov))
