"""Normalization layers of each example for Flax NNX.

Where Flax has the layer, gradkit's is a subclass: arguments, parameters and their shapes are
Flax's, and a Flax checkpoint loads. Only the call is replaced, by `gradkit.nn.functional`.
``use_fast_variance`` is accepted and has no effect: the moments are always exact.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import group_sizes
from gradkit.nn.functional.options import check_options
from gradkit.nn.nnx.base import NormLayer, inputs_of, options_of, value_of


class LayerNorm(NormLayer, nnx.LayerNorm):
    """Layer normalization layer: normalize every example over its features.

    **Value** y = γ (x − μ) / √(σ² + ε) + β over ``reduction_axes``.

    **State** ``scale``, ``bias`` (Param, in ``param_dtype``) of shape [num_features].

    Args: those of ``flax.nnx.LayerNorm``.

    Raises:
      ValueError: an argument out of range, an input of another width.
      TypeError: no ``rngs``, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.LayerNorm(2, epsilon=0.0, rngs=nnx.Rngs(0))
      >>> assert layer(jnp.array([[10000.0, 10002.0]])).tolist() == [[-1.0, 1.0]]

    **Differs from Flax**: exact moments; a backward pass that keeps x and three numbers per
    example.

    Reference: Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450.
    """

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with check.inside("LayerNorm"):
            x, scale, bias = inputs_of(self, x, self.scale, self.bias)
            options = options_of(self, "reduction_axes", "feature_axes", mask=mask)
            return F.layer_norm(x, scale, bias, **options)


class RMSNorm(NormLayer, nnx.RMSNorm):
    """RMS normalization layer: divide every example by the root mean square of its features.

    **Value** y = γ x / √(mean |x|² + ε) over ``reduction_axes``.

    **State** ``scale`` (Param, in ``param_dtype``) of shape [num_features].

    Args: those of ``flax.nnx.RMSNorm``.

    Raises:
      ValueError: an argument out of range, an input of another width.
      TypeError: no ``rngs``, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.RMSNorm(2, epsilon=0.0, rngs=nnx.Rngs(0))(jnp.array([[1.0, 7.0]]))
      >>> assert jnp.allclose(y, jnp.array([[0.2, 1.4]]))

    **Differs from Flax**: a backward pass that keeps x and one number per example.

    Reference: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
    """

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        with check.inside("RMSNorm"):
            x, scale = inputs_of(self, x, self.scale)
            return F.rms_norm(
                x, scale, **options_of(self, "reduction_axes", "feature_axes", mask=mask)
            )


class GroupNorm(NormLayer, nnx.GroupNorm):
    """Group normalization layer: normalize every example over groups of its channels.

    **Value** y = γ (x − μ) / √(σ² + ε) + β over the positions and the channels of a group.

    **State** ``scale``, ``bias`` (Param, in ``param_dtype``) of shape [num_features].

    Args: those of ``flax.nnx.GroupNorm``.

    Raises:
      ValueError: groups that do not divide the channels, an argument out of range.
      TypeError: no ``rngs``, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.GroupNorm(4, num_groups=2, epsilon=0.0, rngs=nnx.Rngs(0))
      >>> y = layer(jnp.array([[0.0, 2.0, 10.0, 30.0]]))
      >>> assert jnp.allclose(y, jnp.array([[-1.0, 1.0, -1.0, 1.0]]))

    Reference: Wu and He 2018, https://arxiv.org/abs/1803.08494.
    """

    def _check(
        self,
        num_features: Any = None,
        num_groups: int | None = 32,
        group_size: int | None = None,
        **options: Any,
    ) -> None:
        super()._check(num_features, **options)
        group_sizes(num_features, num_groups, group_size)

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with check.inside("GroupNorm"):
            x, scale, bias = inputs_of(self, x, self.scale, self.bias)
            options = options_of(self, "num_groups", "reduction_axes", mask=mask)
            return F.group_norm(x, scale, bias, **options)


class InstanceNorm(NormLayer, nnx.InstanceNorm):
    """Instance normalization layer: normalize every channel of every example over its positions.

    **Value** y = γ (x − μ) / √(σ² + ε) + β over the positions.

    **State** ``scale``, ``bias`` (Param, in ``param_dtype``) of shape [num_features].

    Args: those of ``flax.nnx.InstanceNorm``.

    Raises:
      ValueError: an argument out of range, an input of another width.
      TypeError: no ``rngs``, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.InstanceNorm(1, epsilon=0.0, rngs=nnx.Rngs(0))
      >>> y = layer(jnp.array([[[1.0], [3.0]], [[10.0], [30.0]]]))
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Ulyanov, Vedaldi and Lempitsky 2016, https://arxiv.org/abs/1607.08022.
    """

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with check.inside("InstanceNorm"):
            x, scale, bias = inputs_of(self, x, self.scale, self.bias)
            options = options_of(self, "feature_axes", mask=mask)
            return F.instance_norm(x, scale, bias, **options)


class FilterResponseNorm(nnx.Module):
    """Filter response normalization layer: divide by the RMS over positions, then threshold.

    **Value** y = max(γ x / √(mean x² + ε) + β, τ) per channel and example. The threshold replaces
    the activation.

    **State** ``scale``, ``bias``, ``threshold`` (Param, in ``param_dtype``) of shape
    [num_features], initialized to 1, 0 and 0.

    Args:
      num_features: number of channels, >= 1.
      axis: the axis of the channels, not the first.
      epsilon: ε >= 0, added to the mean square.
      dtype: floating dtype of the result; by default the promoted dtype of input and parameters.
      param_dtype: dtype of the parameters.
      use_bias: add β.
      use_scale: multiply by γ.
      use_threshold: apply τ.
      rngs: accepted as in other layers; nothing here is random.

    Raises:
      ValueError: an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> import gradkit.nn as gnn
      >>> y = gnn.FilterResponseNorm(1, epsilon=0.0)(jnp.array([[[1.0], [-7.0]]]))
      >>> assert jnp.allclose(y.ravel(), jnp.array([0.2, 0.0]))

    Reference: Singh and Krishnan 2019, https://arxiv.org/abs/1911.09737.
    """

    def __init__(
        self,
        num_features: int,
        *,
        axis: int = -1,
        epsilon: float = 1e-6,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        use_threshold: bool = True,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        with check.inside("FilterResponseNorm"):
            check_options(num_features=num_features, axis=axis, epsilon=epsilon)
            check_options(dtype=dtype, param_dtype=param_dtype)
            check_options(use_bias=use_bias, use_scale=use_scale, use_threshold=use_threshold)
        ones, zeros = jnp.ones(num_features, param_dtype), jnp.zeros(num_features, param_dtype)
        self.scale = nnx.Param(ones) if use_scale else nnx.data(None)
        self.bias = nnx.Param(zeros) if use_bias else nnx.data(None)
        self.threshold = nnx.Param(jnp.array(zeros)) if use_threshold else nnx.data(None)
        self.axis, self.epsilon, self.dtype = axis, epsilon, dtype

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with check.inside("FilterResponseNorm"):
            parameters = map(value_of, (self.scale, self.bias, self.threshold))
            options: dict[str, Any] = {
                "axis": self.axis,
                "epsilon": self.epsilon,
                "dtype": self.dtype,
            }
            return F.filter_response_norm(x, *parameters, mask=mask, **options)


class GlobalResponseNorm(nnx.Module):
    """Global response normalization layer (ConvNeXt V2): channels compete by their norms.

    **Value** y = x + γ x G / (mean G + ε) + β, G = ‖x_c‖₂ over positions.

    **State** ``scale``, ``bias`` (Param, in ``param_dtype``) of shape [num_features], initialized
    to 0, so that the layer starts as the identity.

    Args:
      num_features: number of channels, >= 1.
      axis: the axis of the channels, not the first.
      epsilon: ε >= 0, added to the mean norm.
      dtype: floating dtype of the result; by default the promoted dtype of input and parameters.
      param_dtype: dtype of the parameters.
      rngs: accepted as in other layers; nothing here is random.

    Raises:
      ValueError: an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> import gradkit.nn as gnn
      >>> layer, x = gnn.GlobalResponseNorm(2, epsilon=0.0), jnp.array([[[1.0, 3.0]]])
      >>> assert layer(x).tolist() == [[[1.0, 3.0]]]
      >>> layer.scale[...] = jnp.ones(2)
      >>> assert jnp.allclose(layer(x), jnp.array([[[1.5, 7.5]]]))

    Reference: Woo et al. 2023, https://arxiv.org/abs/2301.00808.
    """

    def __init__(
        self,
        num_features: int,
        *,
        axis: int = -1,
        epsilon: float = 1e-6,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        with check.inside("GlobalResponseNorm"):
            check_options(num_features=num_features, axis=axis, epsilon=epsilon)
            check_options(dtype=dtype, param_dtype=param_dtype)
        self.scale = nnx.Param(jnp.zeros(num_features, param_dtype))
        self.bias = nnx.Param(jnp.zeros(num_features, param_dtype))
        self.axis, self.epsilon, self.dtype = axis, epsilon, dtype

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with check.inside("GlobalResponseNorm"):
            options: dict[str, Any] = {
                "axis": self.axis,
                "epsilon": self.epsilon,
                "dtype": self.dtype,
            }
            parameters = self.scale[...], self.bias[...]
            return F.global_response_norm(x, *parameters, mask=mask, **options)
