"""Sign sgd."""

from typing import Any

from gradkit._transform import Transform, chain, transform
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.sign import scale_by_sign


@transform
def sign_sgd(learning_rate: Any) -> Transform:
    """Gradient descent along the signs.

    **Rule** Δθ = −α sign(g).

    **Remembers** nothing.

    Args:
      learning_rate: α ≥ 0, a number or a schedule: the length of every step of every parameter.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sign_sgd(0.5)
      >>> assert tx.update(jnp.array([-3.0, 0.1]), tx.init(jnp.zeros(2)))[0].tolist() == [0.5, -0.5]

    Reference: Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))
