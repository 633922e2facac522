"""Normalization layers for Flax Linen.

Where Flax has the layer, ours is a subclass of it with the same fields, so names, shapes and checkpoints are Flax's; only the call is replaced.
``use_fast_variance`` and ``force_float32_reductions`` are taken; the arithmetic is exact and wide either way.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.moments import axes_of


def chosen(layer: Any, name: str, given: Any) -> Any:
    """The flag of the call, or that of the layer; exactly one of them."""
    own = getattr(layer, name)
    if (own is None) == (given is None):
        got = "neither" if own is None else "both"
        check.fail(
            f"needs {name} from the layer or from the call",
            got,
            f"Pass {name}=True or False in one of the two places",
            path=name,
        )
    return own if given is None else given


def _affine(layer: Any, x: Any, axes: Any) -> tuple[Any, Any]:
    """γ and β as the fields of the layer ask for them."""
    shape = tuple(x.shape[axis] for axis in axes_of(x.ndim, axes, "feature_axes"))
    scale = (
        layer.param("scale", layer.scale_init, shape, layer.param_dtype)
        if layer.use_scale
        else None
    )
    bias = (
        layer.param("bias", layer.bias_init, shape, layer.param_dtype)
        if getattr(layer, "use_bias", False)
        else None
    )
    return scale, bias


def _options(layer: Any, **more: Any) -> dict[str, Any]:
    axis_name = (
        None if layer.is_initializing() else layer.axis_name
    )  # init runs outside of the mapped axis
    return {
        "epsilon": layer.epsilon,
        "dtype": layer.dtype,
        "axis_name": axis_name,
        "axis_index_groups": layer.axis_index_groups,
        **more,
    }


class BatchNorm(linen.BatchNorm):
    """Normalize every channel over the batch; at inference, by running statistics.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β over all axes but ``axis``; R ← m R + (1 − m) B with m = ``momentum``, torch's 1 − m.

    **Remembers** params ``scale``, ``bias`` and batch_stats ``mean``, ``var``, each of shape [channels].

    Args: those of ``flax.linen.BatchNorm``, and
      unbiased_running_var: divide the running variance by count − 1, as torch does; Flax, and the default, by count.

    Raises:
      ValueError: in training, a batch of one value per channel, or batch_stats that are not there or not mutable.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer, x = gnn.BatchNorm(momentum=0.5, epsilon=0.0), jnp.array([[1.0], [3.0]])
      >>> variables = layer.init(jax.random.key(0), x, use_running_average=False)
      >>> y, new = layer.apply(variables, x, use_running_average=False, mutable=["batch_stats"])
      >>> assert y.ravel().tolist() == [-1.0, 1.0] and new["batch_stats"]["mean"] == 1.0

    **Differs** from Flax: exact moments, also masked and over devices with unequal counts.

    Reference: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """

    unbiased_running_var: bool = False

    def _train(
        self, x: Any, mean: Any, var: Any, scale: Any, bias: Any, options: Any
    ) -> tuple[Any, F.Moments]:
        return F.batch_norm(x, scale, bias, **options)

    def _enough(self, shape: tuple[int, ...], channels: int) -> bool:
        """Whether moments can be taken; what initialization is given may be one example of zeros."""
        return math.prod(shape) > channels

    @linen.compact
    def __call__(self, x: Any, use_running_average: bool | None = None, *, mask: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            x = jnp.asarray(x)
            use_running_average = chosen(self, "use_running_average", use_running_average)
            check.probability(momentum=self.momentum)
            if not self.is_initializing():
                _statistics_there(self, training=not use_running_average)
            shape = tuple(x.shape[axis] for axis in axes_of(x.ndim, self.axis))
            dtype = jnp.float32 if self.force_float32_reductions else self.param_dtype
            mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(shape, dtype))
            var = self.variable("batch_stats", "var", lambda: jnp.ones(shape, dtype))
            scale, bias = _affine(self, x, self.axis)
            if use_running_average or (
                self.is_initializing() and not self._enough(x.shape, math.prod(shape))
            ):
                return F.apply_statistics(
                    x,
                    mean.value,
                    var.value,
                    scale,
                    bias,
                    axis=self.axis,
                    epsilon=self.epsilon,
                    dtype=self.dtype,
                )
            y, batch = self._train(
                x, mean.value, var.value, scale, bias, _options(self, axis=self.axis, mask=mask)
            )
        if not self.is_initializing():
            mean.value, var.value = F.running(
                mean.value, var.value, batch, self.momentum, unbiased=self.unbiased_running_var
            )
        return y


def _statistics_there(layer: Any, *, training: bool) -> None:
    if not layer.has_variable("batch_stats", "mean"):
        mend = "Pass the whole of what init returned: apply({'params': ..., 'batch_stats': ...}, x)"
        check.fail(
            "needs its running statistics",
            "no batch_stats among the variables",
            mend,
            path="batch_stats",
        )
    if training and not layer.is_mutable_collection("batch_stats"):
        mend = "Call apply(..., mutable=['batch_stats']) and keep what it returns, or use_running_average=True"
        check.fail(
            "needs running statistics that it may change",
            "batch_stats that are not mutable",
            mend,
            path="batch_stats",
        )


class BatchRenorm(BatchNorm):
    """Batch normalization whose training agrees with its inference, within bounds.

    **Rule** y = γ (x̂ r + d) + β, see ``functional.batch_renorm``.

    **Remembers** what `BatchNorm` does.

    Args: those of `BatchNorm`, and
      r_max: bound of the scale correction, >= 1.
      d_max: bound of the shift correction, >= 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer, x = gnn.BatchRenorm(use_running_average=False), jnp.array([[1.0], [2.0]])
      >>> y, _ = layer.apply(layer.init(jax.random.key(0), x), x, mutable=["batch_stats"])
      >>> assert jnp.allclose(y, x, atol=1e-4)  # running mean 0 and variance 1

    Reference: Ioffe 2017, https://arxiv.org/abs/1702.03275.
    """

    r_max: Any = 3.0
    d_max: Any = 5.0

    def _train(
        self, x: Any, mean: Any, var: Any, scale: Any, bias: Any, options: Any
    ) -> tuple[Any, F.Moments]:
        return F.batch_renorm(
            x, mean, var, scale, bias, r_max=self.r_max, d_max=self.d_max, **options
        )


class GhostBatchNorm(BatchNorm):
    """Batch normalization by the statistics of sub-batches.

    **Rule** as `BatchNorm` on each run of ``ghost_batch_size`` examples; the running statistics take the moments of the whole batch.

    **Remembers** what `BatchNorm` does.

    Args: those of `BatchNorm` without ``axis_name``, and
      ghost_batch_size: examples per sub-batch; divides the batch.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer, x = gnn.GhostBatchNorm(False, epsilon=0.0, ghost_batch_size=2), jnp.array([[1.0], [3.0], [10.0], [30.0]])
      >>> y, _ = layer.apply(layer.init(jax.random.key(0), x), x, mutable=["batch_stats"])
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Hoffer, Hubara and Soudry 2017, https://arxiv.org/abs/1705.08741.
    """

    ghost_batch_size: int = 32

    def _enough(self, shape: tuple[int, ...], channels: int) -> bool:
        return (
            shape[0] % self.ghost_batch_size == 0
            and math.prod(shape) * self.ghost_batch_size > channels * shape[0]
        )

    def _train(
        self, x: Any, mean: Any, var: Any, scale: Any, bias: Any, options: Any
    ) -> tuple[Any, F.Moments]:
        if self.axis_name is not None:
            check.fail(
                "needs no axis_name, for its batches are meant to be small",
                repr(self.axis_name),
                "Use BatchNorm",
                path="axis_name",
            )
        options = {name: value for name, value in options.items() if not name.startswith("axis_")}
        return F.ghost_batch_norm(x, scale, bias, ghost_batch_size=self.ghost_batch_size, **options)


class FrozenBatchNorm(linen.Module):
    """A batch normalization that has stopped learning: statistics and parameters are constants to the gradient.

    **Rule** y = γ (x − μ_R) / √(σ_R² + ε) + β.

    **Remembers** what `BatchNorm` does, under the same names, so its checkpoint loads. Mask params ``scale`` and ``bias`` out of a weight decay.

    Args: those of `BatchNorm` that inference uses.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.FrozenBatchNorm(epsilon=0.0)
      >>> variables = {"params": {"scale": jnp.ones(1), "bias": jnp.ones(1)}, "batch_stats": {"mean": jnp.ones(1), "var": jnp.ones(1)}}
      >>> assert layer.apply(variables, jnp.array([[5.0]])) == 5
      >>> assert jax.grad(lambda v: layer.apply(v, jnp.array([[5.0]])).sum())(variables)["params"]["scale"] == 0

    Reference: He et al. 2017, https://arxiv.org/abs/1703.06870 (fine-tuned detectors keep it frozen).
    """

    axis: int = -1
    epsilon: float = 1e-5
    dtype: Any = None
    param_dtype: Any = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    scale_init: Any = linen.initializers.ones
    bias_init: Any = linen.initializers.zeros

    @linen.compact
    def __call__(self, x: Any) -> Any:
        with check.inside(self.name or type(self).__name__):
            x = jnp.asarray(x)
            if not self.is_initializing():
                _statistics_there(self, training=False)
            shape = tuple(x.shape[axis] for axis in axes_of(x.ndim, self.axis))
            mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(shape, jnp.float32))
            var = self.variable("batch_stats", "var", lambda: jnp.ones(shape, jnp.float32))
            constants = jax.lax.stop_gradient((mean.value, var.value, *_affine(self, x, self.axis)))
            return F.apply_statistics(
                x, *constants, axis=self.axis, epsilon=self.epsilon, dtype=self.dtype
            )


class LayerNorm(linen.LayerNorm):
    """Normalize every example over its features.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β over ``reduction_axes``.

    **Remembers** params ``scale``, ``bias`` of the shape of ``feature_axes``.

    Args: those of ``flax.linen.LayerNorm``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y, _ = gnn.LayerNorm(epsilon=0.0).init_with_output(jax.random.key(0), jnp.array([[10000.0, 10002.0]]))
      >>> assert y.tolist() == [[-1.0, 1.0]]

    Reference: Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450.
    """

    @linen.compact
    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            x = jnp.asarray(x)
            axes = {"reduction_axes": self.reduction_axes, "feature_axes": self.feature_axes}
            return F.layer_norm(
                x, *_affine(self, x, self.feature_axes), **_options(self, mask=mask, **axes)
            )


class RMSNorm(linen.RMSNorm):
    """Divide every example by the root mean square of its features.

    **Rule** y = γ x / √(mean |x|² + ε) over ``reduction_axes``.

    **Remembers** params ``scale`` of the shape of ``feature_axes``.

    Args: those of ``flax.linen.RMSNorm``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y, _ = gnn.RMSNorm(epsilon=0.0).init_with_output(jax.random.key(0), jnp.array([[1.0, 7.0]]))
      >>> assert jnp.allclose(y, jnp.array([[0.2, 1.4]]))

    Reference: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
    """

    @linen.compact
    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            x = jnp.asarray(x)
            scale, _ = _affine(self, x, self.feature_axes)
            return F.rms_norm(
                x,
                scale,
                **_options(
                    self,
                    mask=mask,
                    reduction_axes=self.reduction_axes,
                    feature_axes=self.feature_axes,
                ),
            )


class GroupNorm(linen.GroupNorm):
    """Normalize every example over groups of its channels.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β over the positions and the channels of a group.

    **Remembers** params ``scale``, ``bias`` of shape [channels].

    Args: those of ``flax.linen.GroupNorm``.

    Raises:
      ValueError: groups that do not divide the channels.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y, _ = gnn.GroupNorm(num_groups=2, epsilon=0.0).init_with_output(jax.random.key(0), jnp.array([[0.0, 2.0, 10.0, 30.0]]))
      >>> assert jnp.allclose(y, jnp.array([[-1.0, 1.0, -1.0, 1.0]]))

    Reference: Wu and He 2018, https://arxiv.org/abs/1803.08494.
    """

    @linen.compact
    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            x = jnp.asarray(x)
            groups = {
                "num_groups": self.num_groups,
                "group_size": self.group_size,
                "reduction_axes": self.reduction_axes,
            }
            return F.group_norm(x, *_affine(self, x, -1), **_options(self, mask=mask, **groups))


class InstanceNorm(linen.InstanceNorm):
    """Normalize every channel of every example over its positions.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β over the positions.

    **Remembers** params ``scale``, ``bias`` of the shape of ``feature_axes``.

    Args: those of ``flax.linen.InstanceNorm``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y, _ = gnn.InstanceNorm(epsilon=0.0).init_with_output(jax.random.key(0), jnp.array([[[1.0], [3.0]], [[10.0], [30.0]]]))
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Ulyanov, Vedaldi and Lempitsky 2016, https://arxiv.org/abs/1607.08022.
    """

    @linen.compact
    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            x = jnp.asarray(x)
            return F.instance_norm(
                x,
                *_affine(self, x, self.feature_axes),
                **_options(self, mask=mask, feature_axes=self.feature_axes),
            )


class FilterResponseNorm(linen.Module):
    """Divide every channel of every example by its root mean square over positions; cut off below a learned threshold.

    **Rule** y = max(γ x / √(mean x² + ε) + β, τ).

    **Remembers** params ``scale``, ``bias``, ``threshold`` of shape [channels], starting at 1, 0, 0.

    Args: those of `gradkit.nn.FilterResponseNorm` without ``num_features``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> y, _ = gnn.FilterResponseNorm(epsilon=0.0).init_with_output(jax.random.key(0), jnp.array([[[1.0], [-7.0]]]))
      >>> assert jnp.allclose(y.ravel(), jnp.array([0.2, 0.0]))

    Reference: Singh and Krishnan 2019, https://arxiv.org/abs/1911.09737.
    """

    axis: int = -1
    epsilon: float = 1e-6
    dtype: Any = None
    param_dtype: Any = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    use_threshold: bool = True
    scale_init: Any = linen.initializers.ones
    bias_init: Any = linen.initializers.zeros

    @linen.compact
    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            x = jnp.asarray(x)
            scale, bias = _affine(self, x, self.axis)
            shape = (x.shape[self.axis],)
            threshold = (
                self.param("threshold", linen.initializers.zeros, shape, self.param_dtype)
                if self.use_threshold
                else None
            )
            return F.filter_response_norm(
                x,
                scale,
                bias,
                threshold,
                axis=self.axis,
                epsilon=self.epsilon,
                dtype=self.dtype,
                mask=mask,
            )


class GlobalResponseNorm(linen.Module):
    """Let channels compete by their norms over positions (GRN of ConvNeXt V2).

    **Rule** y = x + γ x G / (mean G + ε) + β, G = ‖x_c‖₂ over positions.

    **Remembers** params ``scale``, ``bias`` of shape [channels], starting at 0.

    Args: those of `gradkit.nn.GlobalResponseNorm` without ``num_features``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> params = {"params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)}}
      >>> assert jnp.allclose(gnn.GlobalResponseNorm(epsilon=0.0).apply(params, jnp.array([[[1.0, 3.0]]])), jnp.array([[[1.5, 7.5]]]))

    Reference: Woo et al. 2023, https://arxiv.org/abs/2301.00808.
    """

    axis: int = -1
    epsilon: float = 1e-6
    dtype: Any = None
    param_dtype: Any = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    scale_init: Any = linen.initializers.zeros
    bias_init: Any = linen.initializers.zeros

    @linen.compact
    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside(self.name or type(self).__name__):
            x = jnp.asarray(x)
            return F.global_response_norm(
                x,
                *_affine(self, x, self.axis),
                axis=self.axis,
                epsilon=self.epsilon,
                dtype=self.dtype,
                mask=mask,
            )


def fold_batch_norm(
    layer: Mapping[str, Any],
    norm: Mapping[str, Any],
    statistics: Mapping[str, Any],
    *,
    epsilon: Any = 1e-5,
    transpose_kernel: bool = False,
) -> dict[str, Any]:
    """The params of one layer that does what a layer and the inference batch normalization after it do.

    **Rule** a = γ / √(σ_R² + ε); W' = W a, b' = (b − μ_R) a + β.

    Args:
      layer: params of a ``Dense``, ``Conv``, ``ConvTranspose``, or ``DenseGeneral`` of one output axis: ``kernel``, and ``bias`` if it has one. Arrays do not
        tell of which layer they are: others (``Einsum``, several output axes) are not meant even where their shapes would do.
      norm: params of the normalization: ``scale``, ``bias``, or fewer.
      statistics: its batch_stats: ``mean``, ``var``.
      epsilon: its ε.
      transpose_kernel: as the ``ConvTranspose`` has it: True says that outputs are the kernel's last axis but one.

    Returns:
      ``kernel`` and ``bias`` for the layer with ``use_bias=True``.

    Raises:
      ValueError: other names among the params, widths that do not match.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> folded = gnn.fold_batch_norm({"kernel": jnp.eye(1)}, {}, {"mean": jnp.array([1.0]), "var": jnp.array([4.0])}, epsilon=0.0)
      >>> assert 5 * folded["kernel"][0, 0] + folded["bias"][0] == 2  # (5 − 1) / 2
    """
    with check.inside("fold_batch_norm"):
        _named("layer", layer, ("kernel",), ("bias",))
        _named("norm", norm, (), ("scale", "bias"))
        _named("statistics", statistics, ("mean", "var"), ())
    turn = (
        (lambda kernel: jnp.swapaxes(kernel, -1, -2))
        if transpose_kernel
        else (lambda kernel: kernel)
    )
    of_norm = (statistics["mean"], statistics["var"], norm.get("scale"), norm.get("bias"))
    kernel, bias = F.fold_batch_norm(
        turn(layer["kernel"]), layer.get("bias"), *of_norm, epsilon=epsilon
    )
    return {"kernel": turn(kernel), "bias": bias}


def _named(what: str, given: Any, needed: tuple[str, ...], more: tuple[str, ...]) -> None:
    """A collection of one layer has the names that it should, and no others."""
    if not isinstance(given, Mapping):
        check.fail(
            "needs the variables of one layer, by name",
            type(given).__name__,
            path=what,
            error=TypeError,
        )
    if not set(needed) <= set(given) <= {*needed, *more}:
        names = ", ".join(
            part
            for part in (" and ".join(needed), "at most " + " and ".join(more) if more else "")
            if part
        )
        mend = "Pass params and batch_stats of single layers, in the order layer, norm, statistics"
        check.fail(f"needs {names}", ", ".join(map(str, given)) or "nothing", mend, path=what)
