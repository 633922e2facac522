"""DP-SGD: differentially private gradient descent.

Δθ_t = −α_t · M_t        M = ``latest`` or ``trace`` of the private mean of the examples' gradients

The private mean is ``differentially_private_aggregate``; there is no ψ.
"""

from gradkit import _checks as check
from gradkit._chain import chain, identity
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import trace
from gradkit.transforms.privacy import differentially_private_aggregate
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Key, Rate


@transform
def dpsgd(
    learning_rate: Rate,
    l2_norm_clip: Rate,
    noise_multiplier: Rate,
    seed: Key,
    momentum: Rate | None = None,
    nesterov: bool = False,
) -> Transform:
    """Differentially private SGD: clip each example's gradient, add noise, average, descend.

    **Update rule** Δθ = −α M, where M is the private mean of
    ``differentially_private_aggregate``, or its ``trace`` with momentum.

    **State** ``differentially_private_aggregate.key``; with momentum ``trace``, 4 bytes per
    parameter.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      l2_norm_clip: C ≥ 0, the bound on the joint norm of each example's gradient.
      noise_multiplier: σ ≥ 0, the standard deviation of the noise divided by C.
      seed: a seed or a random key.
      momentum: ρ in [0, 1], or None.
      nesterov: use Nesterov's form of momentum.

    Raises:
      ValueError: an argument out of range, or gradients without a common leading axis.
      TypeError: ``seed=None``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.dpsgd(0.5, l2_norm_clip=1.0, noise_multiplier=0.0, seed=0)
      >>> updates, _ = tx.update(jnp.array([[3.0, 4.0], [0.0, 0.0]]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(updates, jnp.array([-0.15, -0.2]))

    Reference: Abadi et al. 2016, https://arxiv.org/abs/1607.00133.
    """
    if momentum is not None:
        check.probability(momentum=momentum)
    return chain(
        differentially_private_aggregate(l2_norm_clip, noise_multiplier, seed),
        identity() if momentum is None else trace(momentum, nesterov),
        scale_by_learning_rate(learning_rate),
    )
