"""Gradient centralization."""

from typing import Any

import jax.numpy as jnp

from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import stateless, transform


@transform
def centralize() -> Rule:
    """Gradient centralization: subtract the mean from every slice of a matrix or higher array.

    **Update rule** u ← g − mean(g over all axes but the first), for leaves of rank 2 and more;
    other leaves pass.

    **State** none.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.centralize()
      >>> updates, _ = tx.update(jnp.array([[1.0, 3.0]]), tx.init(jnp.zeros((1, 2))))
      >>> assert updates.tolist() == [[-1.0, 1.0]]

    **Differs from the paper**, whose mean runs over all axes but the output channel. Flax kernels
    have the output on the last axis, so that is another slice. The slice here is that of optax.

    Reference: Yong et al. 2020, https://arxiv.org/abs/2004.01461.
    """

    def leaf(u: Any) -> Any:
        if u.ndim < 2 or not u.size:
            return u
        return u - jnp.mean(u, axis=tuple(range(1, u.ndim)), keepdims=True)

    return stateless(lambda updates, params: tree.map(leaf, updates), scope="leaf")
