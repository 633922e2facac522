"""Dropout layers for Flax NNX: keys and modes as in Flax, noise from `gradkit.nn.functional`.

Every layer takes ``deterministic`` and ``rngs`` in its constructor and in its call, and ``rate`` in
its call too, where it may be traced: a schedule of rates compiles once.
"""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import axis_integers, check_flag, check_number
from gradkit.nn.nnx.base import NoiseLayer, Rngs, resolve_flag
from gradkit.nn.nnx.weights import KERNELS, call_with_weights, parameters_of


class Dropout(NoiseLayer):
    """Dropout layer: set each element to zero with probability ``rate``.

    **Value** y = x m / (1 − p), m ~ Bernoulli(1 − p), and x at inference; ``classic``: y = x m, and
    x (1 − p) at inference.

    **State** the key and count of its random stream.

    Args: those of ``flax.nnx.Dropout``, and
      classic: scale at inference instead of in training.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no ``rngs`` where a key is needed, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.Dropout(0.75, rngs=nnx.Rngs(0))
      >>> assert set(layer(jnp.ones(100)).tolist()) == {0.0, 4.0}
      >>> assert layer(jnp.ones(3), deterministic=True).tolist() == [1.0, 1.0, 1.0]

    **Differs from Flax**: other masks from the same key (half the random bits where the last axis
    is even); a rate may be traced; bfloat16 is divided in float32.

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    def __init__(
        self,
        rate: ArrayLike,
        *,
        broadcast_dims: Sequence[int] = (),
        classic: bool = False,
        **common: Any,
    ) -> None:
        with check.inside(type(self).__name__):
            shared = tuple(axis_integers(broadcast_dims, "broadcast_dims"))
            check_flag(classic, "classic")
        super().__init__(rate, **common)
        self.broadcast_dims, self.classic = shared, classic

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        options: dict[str, Any] = {"broadcast_dims": self.broadcast_dims, "classic": self.classic}
        return F.dropout(x, rate, key, **options)

    def _silent(self, x: jax.Array, rate: ArrayLike) -> jax.Array:
        return F.dropout(x, rate, deterministic=True, classic=self.classic)


class DropPath(NoiseLayer):
    """Stochastic depth (drop path) layer: drop whole examples of a residual branch.

    **Value** y = x m / (1 − p), one m ~ Bernoulli(1 − p) per example.

    **State** the key and count of its random stream.

    Args:
      rate: p in [0, 1].
      deterministic: True at inference.
      rng_collection: the name of the random stream.
      rngs: the source of keys; may be passed to the call instead.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no ``rngs`` where a key is needed, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.DropPath(0.5, rngs=nnx.Rngs(0))(jnp.ones((6, 3)))
      >>> assert all(row in ([0.0] * 3, [2.0] * 3) for row in y.tolist())

    Reference: Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.drop_path(x, rate, key)


class DropBlock(NoiseLayer):
    """DropBlock layer: drop blocks of neighbouring positions.

    **Value** see ``functional.drop_block``.

    **State** the key and count of its random stream.

    Args: those of `DropPath`, and
      block_size: the side of a block, in positions, >= 1.

    Raises:
      ValueError: a rate outside [0, 1], a block size below 1.
      TypeError: no ``rngs`` where a key is needed, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.DropBlock(0.2, block_size=3, rngs=nnx.Rngs(0))(jnp.ones((4, 16, 16, 2)))
      >>> assert abs(float(y.mean()) - 1) < 1e-3 and 0.1 < float((y == 0).mean()) < 0.3

    Reference: Ghiasi, Lin and Le 2018, https://arxiv.org/abs/1810.12890.
    """

    def __init__(self, rate: ArrayLike, *, block_size: int, **common: Any) -> None:
        with check.inside("DropBlock"):
            check.integer(1, block_size=block_size)
        super().__init__(rate, **common)
        self.block_size = block_size

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.drop_block(x, rate, key, block_size=self.block_size)


class AlphaDropout(NoiseLayer):
    """Alpha dropout layer, for SELU networks: a dropped unit saturates; mean and variance are kept.

    **Value** y = a (m ? x : α') + b, see ``functional.alpha_dropout``.

    **State** the key and count of its random stream.

    Args: those of `Dropout` without ``classic``.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no ``rngs`` where a key is needed, or an argument of the wrong kind.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> x = jax.random.normal(jax.random.key(0), (20000,))
      >>> y = gnn.AlphaDropout(0.5, rngs=nnx.Rngs(0))(x)
      >>> assert abs(float(y.mean())) < 0.05 and abs(float(y.std()) - 1) < 0.05

    Reference: Klambauer et al. 2017, https://arxiv.org/abs/1706.02515.
    """

    def __init__(
        self, rate: ArrayLike, *, broadcast_dims: Sequence[int] = (), **common: Any
    ) -> None:
        with check.inside("AlphaDropout"):
            shared = tuple(axis_integers(broadcast_dims, "broadcast_dims"))
        super().__init__(rate, **common)
        self.broadcast_dims = shared

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.alpha_dropout(x, rate, key, broadcast_dims=self.broadcast_dims)


class GaussianDropout(NoiseLayer):
    """Gaussian dropout layer: multiply by normal noise with the mean and variance of dropout.

    **Value** y = x (1 + √(p / (1 − p)) z), z ~ N(0, 1).

    **State** the key and count of its random stream.

    Args: those of `DropPath`.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no ``rngs`` where a key is needed, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.GaussianDropout(0.2, rngs=nnx.Rngs(0))(jnp.ones(20000))
      >>> assert abs(float(y.mean()) - 1) < 0.02 and abs(float(y.std()) - 0.5) < 0.02

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html, section 10.
    """

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.gaussian_dropout(x, rate, key)


class GaussianNoise(NoiseLayer):
    """Gaussian noise layer: add normal noise, for example to the inputs of a network.

    **Value** y = x + σ z, z ~ N(0, 1). The argument ``rate`` is σ.

    **State** the key and count of its random stream.

    Args: those of `DropPath`, with
      rate: the standard deviation σ >= 0.

    Raises:
      ValueError: a negative standard deviation.
      TypeError: no ``rngs`` where a key is needed, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.GaussianNoise(0.1, rngs=nnx.Rngs(0))(jnp.zeros(20000))
      >>> assert abs(float(y.std()) - 0.1) < 0.005

    Reference: Bishop 1995, Training with noise is equivalent to Tikhonov regularization.
    """

    def _check(self, rate: Any) -> None:
        check_number(rate, "rate", check.non_negative)

    def _needs_key(self, rate: Any) -> bool:
        return not (isinstance(rate, (int, float)) and rate == 0)

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        return F.gaussian_noise(x, rate, key)


class DropConnect(NoiseLayer):
    """DropConnect wrapper: dropout on the weights of a layer, one mask per call.

    **Value** w = W m / (1 − p), m ~ Bernoulli(1 − p) per weight; W at inference.

    **State** the key and count of its random stream, beside the state of the layer.

    Args:
      layer_instance: the layer.
      rate: p in [0, 1].
      variable_filter: an ``nnx`` filter that selects the parameters to drop.
      deterministic: True at inference.
      rng_collection: the name of the random stream.
      rngs: the source of keys; may be passed to the call instead.

    Raises:
      ValueError: a rate outside [0, 1], a filter that selects no parameter.
      TypeError: no ``rngs`` where a key is needed, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> dense = nnx.Linear(4, 4, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0))
      >>> layer = gnn.DropConnect(dense, 0.5, rngs=nnx.Rngs(0))
      >>> assert set(layer(jnp.eye(4)).ravel().tolist()) == {0.0, 2.0}  # drops weights, not outputs

    **Differs from** some model collections, where "drop connect" drops residual branches: that is
    `DropPath`.

    Reference: Wan et al. 2013, https://proceedings.mlr.press/v28/wan13.html.
    """

    def __init__(
        self,
        layer_instance: nnx.Module,
        rate: ArrayLike,
        *,
        variable_filter: Any = KERNELS,
        **common: Any,
    ) -> None:
        with check.inside("DropConnect"):
            parameters_of(layer_instance, variable_filter)
        super().__init__(rate, **common)
        self.layer_instance, self.variable_filter = layer_instance, variable_filter

    def __call__(
        self,
        inputs: jax.Array,
        *args: Any,
        deterministic: bool | None = None,
        rngs: Rngs | jax.Array | None = None,
        rate: ArrayLike | None = None,
        **kwargs: Any,
    ) -> Any:
        with check.inside("DropConnect"):
            if resolve_flag(self, "deterministic", deterministic):
                return self.layer_instance(inputs, *args, **kwargs)
            chosen = self.rate if rate is None else rate
            drop = lambda path, kernel: F.dropout(kernel, chosen, self._key(rngs, chosen))
            weighted = call_with_weights(self.layer_instance, drop, self.variable_filter)
            return weighted(inputs, *args, **kwargs)
