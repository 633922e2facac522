"""Stochastic pooling for Flax NNX."""

from collections.abc import Sequence
from typing import Any

import jax

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import describe
from gradkit.nn.functional.pooling import Padding, as_sizes
from gradkit.nn.nnx.base import NoiseLayer


class StochasticPool(NoiseLayer):
    """Stochastic pooling layer: draw one activation per window; at inference take its mean.

    **Value** y = a_i with probability a_i / Σ a; at inference Σ a² / Σ a.

    **State** the key and count of its random stream.

    Args:
      window_shape: the size of the window along each axis of positions, >= 1.
      strides: the distance between windows along each axis, >= 1; by default 1.
      padding: "VALID", "SAME", or a pair (before, after) >= 0 per axis of positions.
      deterministic: True at inference.
      rng_collection: the name of the random stream.
      rngs: the source of keys; may be passed to the call instead.

    Raises:
      ValueError: a window, strides or padding that do not fit the axes of positions.
      TypeError: no ``rngs`` in training, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.StochasticPool((2,), rngs=nnx.Rngs(0))
      >>> x = jnp.array([1.0, 3.0]).reshape(1, 2, 1)
      >>> assert layer(x).item() in (1.0, 3.0)
      >>> assert layer(x, deterministic=True).item() == 2.5

    Reference: Zeiler and Fergus 2013, https://arxiv.org/abs/1301.3557.
    """

    def __init__(
        self,
        window_shape: Sequence[int],
        strides: Sequence[int] | None = None,
        padding: Padding = "VALID",
        **common: Any,
    ) -> None:
        with check.inside("StochasticPool"):
            window = as_sizes(window_shape, "window_shape")
            steps = None if strides is None else as_sizes(strides, "strides")
            pads: Any = padding
            if isinstance(padding, str):
                check.one_of(("VALID", "SAME"), padding=padding)
            else:
                try:
                    pads = tuple((before, after) for before, after in padding)
                except (TypeError, ValueError):
                    problem = f"padding={describe(padding)} is not a padding"
                    expected = "'VALID', 'SAME', or a pair (before, after) >= 0 per axis"
                    check.refuse(problem, expected=expected, error=TypeError)
        super().__init__(0.5, **common)  # a rate that needs a key: every training call draws
        self.window_shape, self.strides, self.padding = window, steps, pads

    def _noisy(self, x: jax.Array, rate: Any, key: Any) -> jax.Array:
        return F.stochastic_pool(x, self.window_shape, self.strides, self.padding, key=key)

    def _silent(self, x: jax.Array, rate: Any) -> jax.Array:
        shapes = self.window_shape, self.strides, self.padding
        return F.stochastic_pool(x, *shapes, deterministic=True)
