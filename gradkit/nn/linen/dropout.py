"""The dropout family for Flax Linen: keys from the ``dropout`` collection, noise from `gradkit.nn.functional`."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.dropout import check_flag
from gradkit.nn.linen.norm import chosen
from gradkit.nn.linen.weights import spelled, with_weights


def key_of(layer: Any, rng: Any, rate: Any) -> Any:
    """The key of this call; None where a rate of 0 or 1 needs none."""
    if rng is not None or (isinstance(rate, (int, float)) and rate in {0, 1}):
        return rng
    if not layer.has_rng(layer.rng_collection):
        name = layer.rng_collection
        mend = f"Call apply(..., rngs={{'{name}': jax.random.key(0)}}), or pass deterministic=True"
        check.fail(f"needs a key of the collection '{name}'", "none", mend, path="rngs", error=TypeError)
    return layer.make_rng(layer.rng_collection)


def silent(layer: Any, given: Any) -> bool:
    """The flag of the call or of the layer, which is a bool."""
    flag = chosen(layer, "deterministic", given)
    check_flag(flag)
    return bool(flag)


class _Noise(linen.Module):
    """When a layer is silent, and where its key comes from. Second in place is what a layer has of its own, as in Flax's Dropout."""

    rate: Any
    deterministic: bool | None = dataclasses.field(default=None, kw_only=True)
    rng_collection: str = dataclasses.field(default="dropout", kw_only=True)

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        raise NotImplementedError

    def _silent(self, x: Any, rate: Any) -> Any:
        return x

    @linen.compact
    def __call__(self, inputs: Any, deterministic: bool | None = None, rng: Any = None, *, rate: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            rate = self.rate if rate is None else rate
            inputs = jnp.asarray(inputs)
            if silent(self, deterministic):
                return self._silent(inputs, rate)
            return self._noisy(inputs, rate, key_of(self, rng, rate))


class Dropout(linen.Dropout):
    """Set a random share of the input to zero.

    **Rule** y = x m / (1 − p), m ~ Bernoulli(1 − p), and x at inference; ``classic``: y = x m, and x (1 − p) at inference.

    **Remembers** nothing.

    Args: those of ``flax.linen.Dropout``, and
      classic: scale at inference instead of in training. The call takes ``rate``, which may be traced.

    Raises:
      ValueError: a rate outside [0, 1].
      TypeError: no key of the collection.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y = gnn.Dropout(0.75).apply({}, jnp.ones(100), deterministic=False, rngs={"dropout": jax.random.key(0)})
      >>> assert set(y.tolist()) == {0.0, 4.0}

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    classic: bool = False

    @linen.compact
    def __call__(self, inputs: Any, deterministic: bool | None = None, rng: Any = None, *, rate: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            rate = self.rate if rate is None else rate
            quiet = silent(self, deterministic)
            key = None if quiet else key_of(self, rng, rate)
            return F.dropout(inputs, rate, key, broadcast_dims=self.broadcast_dims, deterministic=quiet, classic=self.classic)


class DropPath(_Noise):
    """Drop whole examples of a residual branch: stochastic depth.

    **Rule** y = x m / (1 − p), one m ~ Bernoulli(1 − p) per example.

    **Remembers** nothing.

    Args:
      rate: p in [0, 1].
      deterministic: inference; here or in the call.
      rng_collection: the collection of keys.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y = gnn.DropPath(0.5, deterministic=False).apply({}, jnp.ones((6, 3)), rngs={"dropout": jax.random.key(0)})
      >>> assert all(row in ([0.0] * 3, [2.0] * 3) for row in y.tolist())

    Reference: Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.drop_path(x, rate, key)


class DropBlock(_Noise):
    """Drop blocks of neighbouring positions.

    **Rule** see ``functional.drop_block``.

    **Remembers** nothing.

    Args: those of `DropPath`, and
      block_size: the side of a block.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y = gnn.DropBlock(0.2, deterministic=False, block_size=3).apply({}, jnp.ones((4, 16, 16, 2)), rngs={"dropout": jax.random.key(0)})
      >>> assert abs(float(y.mean()) - 1) < 1e-3 and 0.1 < float((y == 0).mean()) < 0.3

    Reference: Ghiasi, Lin and Le 2018, https://arxiv.org/abs/1810.12890.
    """

    block_size: int = 7

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.drop_block(x, rate, key, block_size=self.block_size)


class AlphaDropout(_Noise):
    """Dropout for SELU networks: a dropped unit saturates, and mean 0 and variance 1 stay.

    **Rule** y = a (m ? x : α') + b, see ``functional.alpha_dropout``.

    **Remembers** nothing.

    Args: those of `DropPath`, and
      broadcast_dims: axes that share a mask.

    Example:
      >>> import jax
      >>> from gradkit.nn import linen as gnn
      >>> x = jax.random.normal(jax.random.key(0), (20000,))
      >>> y = gnn.AlphaDropout(0.5, deterministic=False).apply({}, x, rngs={"dropout": jax.random.key(0)})
      >>> assert abs(float(y.mean())) < 0.05 and abs(float(y.std()) - 1) < 0.05

    Reference: Klambauer et al. 2017, https://arxiv.org/abs/1706.02515.
    """

    broadcast_dims: Sequence[int] = ()

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.alpha_dropout(x, rate, key, broadcast_dims=self.broadcast_dims)


class GaussianDropout(_Noise):
    """Multiply by normal noise with dropout's mean and variance.

    **Rule** y = x (1 + √(p / (1 − p)) z), z ~ N(0, 1).

    **Remembers** nothing.

    Args: those of `DropPath`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y = gnn.GaussianDropout(0.2, deterministic=False).apply({}, jnp.ones(20000), rngs={"dropout": jax.random.key(0)})
      >>> assert abs(float(y.mean()) - 1) < 0.02 and abs(float(y.std()) - 0.5) < 0.02

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html, section 10.
    """

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        return F.gaussian_dropout(x, rate, key)


class GaussianNoise(_Noise):
    """Add normal noise, to the inputs of a network for example.

    **Rule** y = x + σ z, z ~ N(0, 1); σ stands where the others have their rate.

    **Remembers** nothing.

    Args: those of `DropPath`, with
      rate: σ >= 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y = gnn.GaussianNoise(0.1, deterministic=False).apply({}, jnp.zeros(20000), rngs={"dropout": jax.random.key(0)})
      >>> assert abs(float(y.std()) - 0.1) < 0.005

    Reference: Bishop 1995, Training with noise is equivalent to Tikhonov regularization.
    """

    def _noisy(self, x: Any, rate: Any, key: Any) -> Any:
        needless = isinstance(rate, (int, float)) and rate == 0
        return F.gaussian_noise(x, rate, key if needless else key_of(self, key, None))


class StochasticPool(linen.Module):
    """Pool by drawing one activation from each window, in proportion to its size; at inference, by its mean.

    **Rule** y = a_i with probability a_i / Σ a; at inference Σ a² / Σ a.

    **Remembers** nothing.

    Args:
      window_shape: the window over the positions.
      strides: its steps; by default 1 everywhere.
      padding: "VALID", "SAME" or pairs per position axis.
      deterministic: inference; here or in the call.
      rng_collection: the collection of keys.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> x = jnp.array([1.0, 3.0]).reshape(1, 2, 1)
      >>> assert gnn.StochasticPool((2,)).apply({}, x, deterministic=True).item() == 2.5

    Reference: Zeiler and Fergus 2013, https://arxiv.org/abs/1301.3557.
    """

    window_shape: Sequence[int]
    strides: Sequence[int] | None = None
    padding: Any = "VALID"
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @linen.compact
    def __call__(self, inputs: Any, deterministic: bool | None = None, rng: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            quiet = silent(self, deterministic)
            key = None if quiet else key_of(self, rng, None)
            return F.stochastic_pool(inputs, self.window_shape, self.strides, self.padding, key=key, deterministic=quiet)


class DropConnect(linen.Module):
    """Dropout on the weights of a layer, one mask per call.

    **Rule** w = W m / (1 − p), m ~ Bernoulli(1 − p) per weight; W at inference.

    **Remembers** nothing beside the params of the layer.

    Args:
      layer_instance: the layer.
      rate: p in [0, 1].
      deterministic: inference; here or in the call.
      rng_collection: the collection of keys.
      variable_filter: parts of the names of the params that are meant.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import linen
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.DropConnect(linen.Dense(4, kernel_init=linen.initializers.ones), 0.5)
      >>> variables = layer.init(jax.random.key(0), jnp.eye(4), deterministic=True)
      >>> y = layer.apply(variables, jnp.eye(4), deterministic=False, rngs={"dropout": jax.random.key(1)})
      >>> assert set(y.ravel().tolist()) == {0.0, 2.0}

    Reference: Wan et al. 2013, https://proceedings.mlr.press/v28/wan13.html.
    """

    layer_instance: Any
    rate: Any
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    variable_filter: Any = ("kernel",)

    @linen.compact
    def __call__(self, *args: Any, deterministic: bool | None = None, rng: Any = None, rate: Any = None, **kwargs: Any) -> Any:
        with check.inside(self.name or type(self).__name__):
            rate = self.rate if rate is None else rate
            quiet = silent(self, deterministic)

            def change(path: Any, value: Any) -> Any:
                if quiet or not any(part in spelled(path) for part in self.variable_filter):
                    return value
                return F.dropout(value, rate, key_of(self, rng, rate))

            return with_weights(self.layer_instance, change, *args, init=self.is_initializing(), **kwargs)
