"""Dropout layers for Flax Linen: keys from the ``dropout`` collection, noise by `functional`.

Every layer takes ``deterministic`` as a field or in its call, and ``rate`` in its call too, where
it may be traced: a schedule of rates compiles once.
"""

from collections.abc import Sequence
from typing import Any

import jax
from flax import linen
from jax.typing import ArrayLike

from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import as_array
from gradkit.nn.linen.base import NoiseLayer, inside, key_of, needs_key, resolve_flag
from gradkit.nn.linen.weights import call_with_weights, selects


class Dropout(linen.Dropout):
    """Dropout layer: set each element to zero with probability ``rate``.

    **Value** y = x m / (1 − p), m ~ Bernoulli(1 − p), and x at inference; ``classic``: y = x m, and
    x (1 − p) at inference.

    **State** none.

    Args: those of ``flax.linen.Dropout``, and
      classic: scale at inference instead of in training.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no key of the collection, or an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer, rngs = gnn.Dropout(0.75), {"dropout": jax.random.key(0)}
      >>> y = layer.apply({}, jnp.ones(100), deterministic=False, rngs=rngs)
      >>> assert set(y.tolist()) == {0.0, 4.0}

    **Differs from Flax**: other masks from the same key (half the random bits where the last axis
    is even); a rate may be traced; bfloat16 is divided in float32.

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    classic: bool = False

    @linen.compact
    def __call__(
        self,
        inputs: jax.Array,
        deterministic: bool | None = None,
        rng: jax.Array | None = None,
        *,
        rate: ArrayLike | None = None,
    ) -> jax.Array:
        with inside(self):
            chosen = self.rate if rate is None else rate
            x = as_array(inputs)
            silent = resolve_flag(self, "deterministic", deterministic)
            key = None if silent else key_of(self, rng, needed=needs_key(chosen))
            options: dict[str, Any] = {
                "broadcast_dims": self.broadcast_dims,
                "classic": self.classic,
            }
            return F.dropout(x, chosen, key, deterministic=silent, **options)


class DropPath(NoiseLayer):
    """Stochastic depth (drop path) layer: drop whole examples of a residual branch.

    **Value** y = x m / (1 − p), one m ~ Bernoulli(1 − p) per example.

    **State** none.

    Args:
      rate: p in [0, 1].
      deterministic: True at inference; as a field or in the call.
      rng_collection: the name of the collection of keys.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no key of the collection, or an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer, rngs = gnn.DropPath(0.5, deterministic=False), {"dropout": jax.random.key(0)}
      >>> y = layer.apply({}, jnp.ones((6, 3)), rngs=rngs)
      >>> assert all(row in ([0.0] * 3, [2.0] * 3) for row in y.tolist())

    Reference: Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.drop_path(x, rate, key)


class DropBlock(NoiseLayer):
    """DropBlock layer: drop blocks of neighbouring positions.

    **Value** see ``functional.drop_block``.

    **State** none.

    Args: those of `DropPath`, and
      block_size: the side of a block, in positions, >= 1.

    Raises:
      ValueError: a rate outside [0, 1], a block size below 1.
      TypeError: no key of the collection, or an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.DropBlock(0.2, deterministic=False, block_size=3)
      >>> y = layer.apply({}, jnp.ones((4, 16, 16, 2)), rngs={"dropout": jax.random.key(0)})
      >>> assert abs(float(y.mean()) - 1) < 1e-3 and 0.1 < float((y == 0).mean()) < 0.3

    Reference: Ghiasi, Lin and Le 2018, https://arxiv.org/abs/1810.12890.
    """

    block_size: int = 7

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.drop_block(x, rate, key, block_size=self.block_size)


class AlphaDropout(NoiseLayer):
    """Alpha dropout layer, for SELU networks: a dropped unit saturates; mean and variance are kept.

    **Value** y = a (m ? x : α') + b, see ``functional.alpha_dropout``.

    **State** none.

    Args: those of `DropPath`, and
      broadcast_dims: axes that share a mask.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no key of the collection, or an argument of the wrong kind.

    Example:
      >>> import jax
      >>> from gradkit.nn import linen as gnn
      >>> x = jax.random.normal(jax.random.key(0), (20000,))
      >>> layer, rngs = gnn.AlphaDropout(0.5, deterministic=False), {"dropout": jax.random.key(0)}
      >>> y = layer.apply({}, x, rngs=rngs)
      >>> assert abs(float(y.mean())) < 0.05 and abs(float(y.std()) - 1) < 0.05

    Reference: Klambauer et al. 2017, https://arxiv.org/abs/1706.02515.
    """

    broadcast_dims: Sequence[int] = ()

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.alpha_dropout(x, rate, key, broadcast_dims=self.broadcast_dims)


class GaussianDropout(NoiseLayer):
    """Gaussian dropout layer: multiply by normal noise with the mean and variance of dropout.

    **Value** y = x (1 + √(p / (1 − p)) z), z ~ N(0, 1).

    **State** none.

    Args: those of `DropPath`.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no key of the collection, or an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.GaussianDropout(0.2, deterministic=False)
      >>> y = layer.apply({}, jnp.ones(20000), rngs={"dropout": jax.random.key(0)})
      >>> assert abs(float(y.mean()) - 1) < 0.02 and abs(float(y.std()) - 0.5) < 0.02

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html, section 10.
    """

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.gaussian_dropout(x, rate, key)


class GaussianNoise(NoiseLayer):
    """Gaussian noise layer: add normal noise, for example to the inputs of a network.

    **Value** y = x + σ z, z ~ N(0, 1). The field ``rate`` is σ.

    **State** none.

    Args: those of `DropPath`, with
      rate: the standard deviation σ >= 0.

    Raises:
      ValueError: a negative standard deviation.
      TypeError: no key of the collection, or an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer, rngs = gnn.GaussianNoise(0.1, deterministic=False), {"dropout": jax.random.key(0)}
      >>> y = layer.apply({}, jnp.zeros(20000), rngs=rngs)
      >>> assert abs(float(y.std()) - 0.1) < 0.005

    Reference: Bishop 1995, Training with noise is equivalent to Tikhonov regularization.
    """

    def _needs_key(self, rate: Any) -> bool:
        return not (isinstance(rate, (int, float)) and rate == 0)

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.gaussian_noise(x, rate, key)


class DropConnect(linen.Module):
    """DropConnect wrapper: dropout on the weights of a layer, one mask per call.

    **Value** w = W m / (1 − p), m ~ Bernoulli(1 − p) per weight; W at inference.

    **State** none beside that of the layer.

    Args:
      layer_instance: the layer.
      rate: p in [0, 1].
      deterministic: True at inference; as a field or in the call.
      rng_collection: the name of the collection of keys.
      variable_filter: parts of names; a param whose name contains one of them is dropped.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no key of the collection, or an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import linen
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.DropConnect(linen.Dense(4, kernel_init=linen.initializers.ones), 0.5)
      >>> variables = layer.init(jax.random.key(0), jnp.eye(4), deterministic=True)
      >>> rngs = {"dropout": jax.random.key(1)}
      >>> y = layer.apply(variables, jnp.eye(4), deterministic=False, rngs=rngs)
      >>> assert set(y.ravel().tolist()) == {0.0, 2.0}  # drops weights, not outputs

    Reference: Wan et al. 2013, https://proceedings.mlr.press/v28/wan13.html.
    """

    layer_instance: linen.Module
    rate: ArrayLike
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    variable_filter: Sequence[str] = ("kernel",)

    @linen.compact
    def __call__(
        self,
        *args: Any,
        deterministic: bool | None = None,
        rng: jax.Array | None = None,
        rate: ArrayLike | None = None,
        **kwargs: Any,
    ) -> Any:
        with inside(self):
            chosen = self.rate if rate is None else rate
            silent = resolve_flag(self, "deterministic", deterministic)

            def change(path: Any, value: jax.Array) -> jax.Array:
                if silent or not selects(self.variable_filter, path):
                    return value
                return F.dropout(value, chosen, key_of(self, rng, needed=needs_key(chosen)))

            init = self.is_initializing()
            return call_with_weights(self.layer_instance, change, *args, init=init, **kwargs)
