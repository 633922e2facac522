"""signSGD: Δθ_t = −α_t · sign(g_t). φ = ``latest``, no ψ: the sign replaces the quotient."""

from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.sign import scale_by_sign
from gradkit.typing import Rate


@transform
def sign_sgd(learning_rate: Rate) -> Transform:
    """signSGD: gradient descent along the sign of each element.

    **Update rule** Δθ = −α sign(g).

    **State** None.

    Args:
      learning_rate: α ≥ 0, or a schedule. It is the length of every step of every element.

    Raises:
      ValueError: a negative learning rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sign_sgd(0.5)
      >>> updates, _ = tx.update(jnp.array([-3.0, 0.1]), tx.init(jnp.zeros(2)))
      >>> assert updates.tolist() == [0.5, -0.5]

    Reference: Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))
