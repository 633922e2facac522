"""Normalization layers of each example for Flax Linen.

Where Flax has the layer, gradkit's is a subclass with the same fields, so names, shapes and
checkpoints are Flax's. Only the call is replaced, by `gradkit.nn.functional`. ``use_fast_variance``
and ``force_float32_reductions`` are accepted; the arithmetic is always exact and in float32 or
wider.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jax.typing import DTypeLike

from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import as_array, as_axes
from gradkit.nn.linen.base import Initializer, affine, inside, options_of


class LayerNorm(linen.LayerNorm):
    """Layer normalization layer: normalize every example over its features.

    **Value** y = γ (x − μ) / √(σ² + ε) + β over ``reduction_axes``.

    **State** params ``scale``, ``bias`` (in ``param_dtype``) of the shape of ``feature_axes``.

    Args: those of ``flax.linen.LayerNorm``.

    Raises:
      ValueError: an argument out of range, an axis that does not exist.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> x = jnp.array([[10000.0, 10002.0]])
      >>> y, _ = gnn.LayerNorm(epsilon=0.0).init_with_output(jax.random.key(0), x)
      >>> assert y.tolist() == [[-1.0, 1.0]]

    **Differs from Flax**: exact moments; a backward pass that keeps x and three numbers per
    example.

    Reference: Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450.
    """

    @linen.compact
    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with inside(self):
            x = as_array(x)
            parameters = affine(self, x, self.feature_axes)
            options = options_of(self, "reduction_axes", "feature_axes", mask=mask)
            return F.layer_norm(x, *parameters, **options)


class RMSNorm(linen.RMSNorm):
    """RMS normalization layer: divide every example by the root mean square of its features.

    **Value** y = γ x / √(mean |x|² + ε) over ``reduction_axes``.

    **State** params ``scale`` (in ``param_dtype``) of the shape of ``feature_axes``.

    Args: those of ``flax.linen.RMSNorm``.

    Raises:
      ValueError: an argument out of range, an axis that does not exist.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> x = jnp.array([[1.0, 7.0]])
      >>> y, _ = gnn.RMSNorm(epsilon=0.0).init_with_output(jax.random.key(0), x)
      >>> assert jnp.allclose(y, jnp.array([[0.2, 1.4]]))

    **Differs from Flax**: a backward pass that keeps x and one number per example.

    Reference: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
    """

    @linen.compact
    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with inside(self):
            x = as_array(x)
            scale, _ = affine(self, x, self.feature_axes)
            return F.rms_norm(
                x, scale, **options_of(self, "reduction_axes", "feature_axes", mask=mask)
            )


class GroupNorm(linen.GroupNorm):
    """Group normalization layer: normalize every example over groups of its channels.

    **Value** y = γ (x − μ) / √(σ² + ε) + β over the positions and the channels of a group.

    **State** params ``scale``, ``bias`` (in ``param_dtype``) of shape [channels].

    Args: those of ``flax.linen.GroupNorm``.

    Raises:
      ValueError: groups that do not divide the channels, an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer, x = gnn.GroupNorm(num_groups=2, epsilon=0.0), jnp.array([[0.0, 2.0, 10.0, 30.0]])
      >>> y, _ = layer.init_with_output(jax.random.key(0), x)
      >>> assert jnp.allclose(y, jnp.array([[-1.0, 1.0, -1.0, 1.0]]))

    Reference: Wu and He 2018, https://arxiv.org/abs/1803.08494.
    """

    @linen.compact
    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with inside(self):
            x = as_array(x)
            options = options_of(self, "num_groups", "group_size", "reduction_axes", mask=mask)
            return F.group_norm(x, *affine(self, x, -1, "axis"), **options)


class InstanceNorm(linen.InstanceNorm):
    """Instance normalization layer: normalize every channel of every example over its positions.

    **Value** y = γ (x − μ) / √(σ² + ε) + β over the positions.

    **State** params ``scale``, ``bias`` (in ``param_dtype``) of the shape of ``feature_axes``.

    Args: those of ``flax.linen.InstanceNorm``.

    Raises:
      ValueError: the batch among the feature axes, an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> x = jnp.array([[[1.0], [3.0]], [[10.0], [30.0]]])
      >>> y, _ = gnn.InstanceNorm(epsilon=0.0).init_with_output(jax.random.key(0), x)
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Ulyanov, Vedaldi and Lempitsky 2016, https://arxiv.org/abs/1607.08022.
    """

    @linen.compact
    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with inside(self):
            x = as_array(x)
            options = options_of(self, "feature_axes", mask=mask)
            return F.instance_norm(x, *affine(self, x, self.feature_axes), **options)


class FilterResponseNorm(linen.Module):
    """Filter response normalization layer: divide by the RMS over positions, then threshold.

    **Value** y = max(γ x / √(mean x² + ε) + β, τ) per channel and example. The threshold replaces
    the activation.

    **State** params ``scale``, ``bias``, ``threshold`` (in ``param_dtype``) of shape [channels],
    initialized to 1, 0 and 0.

    Args:
      axis: the axis of the channels, not the first.
      epsilon: ε >= 0, added to the mean square.
      dtype: floating dtype of the result; by default the promoted dtype of input and parameters.
      param_dtype: dtype of the parameters.
      use_bias: add β.
      use_scale: multiply by γ.
      use_threshold: apply τ.
      scale_init: initializer of γ.
      bias_init: initializer of β.

    Raises:
      ValueError: the batch as the axis, an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> x = jnp.array([[[1.0], [-7.0]]])
      >>> y, _ = gnn.FilterResponseNorm(epsilon=0.0).init_with_output(jax.random.key(0), x)
      >>> assert jnp.allclose(y.ravel(), jnp.array([0.2, 0.0]))

    Reference: Singh and Krishnan 2019, https://arxiv.org/abs/1911.09737.
    """

    axis: int = -1
    epsilon: float = 1e-6
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    use_threshold: bool = True
    scale_init: Initializer = linen.initializers.ones
    bias_init: Initializer = linen.initializers.zeros

    @linen.compact
    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with inside(self):
            x = as_array(x)
            scale, bias = affine(self, x, self.axis, "axis")
            threshold = None
            if self.use_threshold:
                shape = tuple(x.shape[axis] for axis in as_axes(x.ndim, self.axis))
                zeros = linen.initializers.zeros
                threshold = self.param("threshold", zeros, shape, self.param_dtype)
            options: dict[str, Any] = {"axis": self.axis, "epsilon": self.epsilon, "mask": mask}
            return F.filter_response_norm(x, scale, bias, threshold, **options, dtype=self.dtype)


class GlobalResponseNorm(linen.Module):
    """Global response normalization layer (ConvNeXt V2): channels compete by their norms.

    **Value** y = x + γ x G / (mean G + ε) + β, G = ‖x_c‖₂ over positions.

    **State** params ``scale``, ``bias`` (in ``param_dtype``) of shape [channels], initialized to 0,
    so that the layer starts as the identity.

    Args:
      axis: the axis of the channels, not the first.
      epsilon: ε >= 0, added to the mean norm.
      dtype: floating dtype of the result; by default the promoted dtype of input and parameters.
      param_dtype: dtype of the parameters.
      use_bias: add β.
      use_scale: multiply by γ.
      scale_init: initializer of γ.
      bias_init: initializer of β.

    Raises:
      ValueError: the batch as the axis, an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> params = {"params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)}}
      >>> y = gnn.GlobalResponseNorm(epsilon=0.0).apply(params, jnp.array([[[1.0, 3.0]]]))
      >>> assert jnp.allclose(y, jnp.array([[[1.5, 7.5]]]))

    Reference: Woo et al. 2023, https://arxiv.org/abs/2301.00808.
    """

    axis: int = -1
    epsilon: float = 1e-6
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    scale_init: Initializer = linen.initializers.zeros
    bias_init: Initializer = linen.initializers.zeros

    @linen.compact
    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        with inside(self):
            x = as_array(x)
            parameters = affine(self, x, self.axis, "axis")
            options: dict[str, Any] = {"axis": self.axis, "epsilon": self.epsilon, "mask": mask}
            return F.global_response_norm(x, *parameters, **options, dtype=self.dtype)
