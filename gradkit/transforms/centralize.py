"""Centralize."""

from typing import Any

import jax.numpy as jnp

from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform


@transform
def centralize() -> Rule:
    """Take the mean out of every slice of a matrix or a higher array.

    **Rule** u ← g − mean(g over all axes but the first), for leaves of rank 2 and more; others pass.

    **Remembers** nothing.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.centralize()
      >>> assert tx.update(jnp.array([[1.0, 3.0]]), tx.init(jnp.zeros((1, 2))))[0].tolist() == [[-1.0, 1.0]]

    **Differs** from the paper, whose mean runs over all axes but the output channel: for Flax's kernels, whose last axis is the output,
    that is another slice. The slice here is optax's.

    Reference: Yong et al. 2020, https://arxiv.org/abs/2004.01461.
    """

    def leaf(u: Any) -> Any:
        if u.ndim < 2 or not u.size:
            return u
        return u - jnp.mean(u, axis=tuple(range(1, u.ndim)), keepdims=True)

    return stateless(lambda updates, params: tree.map(leaf, updates))
