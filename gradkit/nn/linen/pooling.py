"""Stochastic pooling for Flax Linen."""

from collections.abc import Sequence

import jax
from flax import linen

from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.pooling import Padding
from gradkit.nn.linen.base import inside, key_of, resolve_flag


class StochasticPool(linen.Module):
    """Stochastic pooling layer: draw one activation per window; at inference take its mean.

    **Value** y = a_i with probability a_i / Σ a; at inference Σ a² / Σ a.

    **State** none.

    Args:
      window_shape: the size of the window along each axis of positions, >= 1.
      strides: the distance between windows along each axis, >= 1; by default 1.
      padding: "VALID", "SAME", or a pair (before, after) >= 0 per axis of positions.
      deterministic: True at inference; as a field or in the call.
      rng_collection: the name of the collection of keys.

    Raises:
      ValueError: a window, strides or padding that do not fit the axes of positions.
      TypeError: no key of the collection in training, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> x = jnp.array([1.0, 3.0]).reshape(1, 2, 1)
      >>> assert gnn.StochasticPool((2,)).apply({}, x, deterministic=True).item() == 2.5

    Reference: Zeiler and Fergus 2013, https://arxiv.org/abs/1301.3557.
    """

    window_shape: Sequence[int]
    strides: Sequence[int] | None = None
    padding: Padding = "VALID"
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @linen.compact
    def __call__(
        self,
        inputs: jax.Array,
        deterministic: bool | None = None,
        rng: jax.Array | None = None,
    ) -> jax.Array:
        with inside(self):
            silent = resolve_flag(self, "deterministic", deterministic)
            key = None if silent else key_of(self, rng)
            shapes = self.window_shape, self.strides, self.padding
            return F.stochastic_pool(inputs, *shapes, key=key, deterministic=silent)
