"""The sign of the updates."""

import jax.numpy as jnp

from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import stateless, transform


@transform
def scale_by_sign() -> Rule:
    """Replace every element of the updates by its sign.

    **Update rule** u ← sign(g); g / |g| for complex g; 0 for g = 0.

    **State** none.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_sign()
      >>> updates, _ = tx.update(jnp.array([-3.0, 0.0, 0.1]), tx.init(jnp.zeros(3)))
      >>> assert updates.tolist() == [-1.0, 0.0, 1.0]

    Reference: Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """
    return stateless(lambda updates, params: tree.map(jnp.sign, updates), scope="element")
