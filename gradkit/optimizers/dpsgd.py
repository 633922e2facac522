"""Dpsgd."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, identity, transform
from gradkit.averages.accumulators import trace
from gradkit.transforms.privacy import differentially_private_aggregate
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def dpsgd(
    learning_rate: Any,
    l2_norm_clip: Any,
    noise_multiplier: Any,
    seed: Any,
    momentum: Any = None,
    nesterov: bool = False,
) -> Transform:
    """Differentially private gradient descent.

    **Rule** Δθ = −α M, M the ``trace`` (or the latest) of the private mean of ``differentially_private_aggregate``.

    **Remembers** ``differentially_private_aggregate.key``; with momentum 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      l2_norm_clip: C ≥ 0, the bound on the joint norm of an example's gradient.
      noise_multiplier: σ ≥ 0, the standard deviation of the noise over C.
      seed: a seed or a random key.
      momentum: ρ in [0, 1], or None.
      nesterov: the momentum looks one step ahead.

    Raises:
      ValueError: gradients without a common leading axis, a number out of range.

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
