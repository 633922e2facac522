"""Normalization layers for Flax NNX: Flax's layers, with the arithmetic of `gradkit.nn.functional`.

Where Flax has the layer, ours is a subclass of it: arguments, parameters, statistics and their shapes are Flax's own, and a Flax checkpoint loads. Only the
call is replaced. ``use_fast_variance`` is taken and changes nothing: the moments are always the exact ones.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.norm import groups_of, result_dtype
from gradkit.nn.functional.batch_norm import bounds


def show_signature(cls: Any) -> Any:
    """Let help and editors show the arguments that a constructor passes on, which are mostly Flax's, beside its own."""
    shown: dict[str, inspect.Parameter] = {}
    positional = True  # until a constructor names them all
    for maker in (vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)):
        parameters = list(inspect.signature(maker).parameters.values())[1:]
        kinds = {parameter.kind for parameter in parameters}
        for parameter in parameters:
            if parameter.kind == parameter.KEYWORD_ONLY or (positional and parameter.kind == parameter.POSITIONAL_OR_KEYWORD):
                shown.setdefault(parameter.name, parameter)
        positional = positional and inspect.Parameter.VAR_POSITIONAL in kinds
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    cls.__signature__ = inspect.Signature(sorted(shown.values(), key=lambda parameter: parameter.kind))
    return cls


class _Shell:
    """What every layer does on entry: ask for ``rngs`` in words, and let errors name the layer."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        show_signature(cls)

    def __init__(self, *args: Any, rngs: Any = None, **kwargs: Any) -> None:
        with check.inside(type(self).__name__):
            need_rngs(rngs)
            self._check(*args, **kwargs)
        super().__init__(*args, rngs=rngs, **kwargs)  # type: ignore[call-arg]

    def _check(self, num_features: Any = None, *args: Any, **kwargs: Any) -> None:
        check.integer(1, num_features=num_features)
        check.non_negative(epsilon=kwargs.get("epsilon", 0.0))


def need_rngs(rngs: Any) -> None:
    """A layer with parameters has where to take their keys from."""
    if not isinstance(rngs, nnx.Rngs):
        got = "rngs=None" if rngs is None else f"rngs of type {type(rngs).__name__}"
        check.fail("needs rngs to initialize its parameters", got, "Pass rngs=nnx.Rngs(0)", path="rngs", error=TypeError)


def _value(variable: Any) -> Any:
    return None if variable is None else variable[...]


def _inputs(layer: Any, x: Any, *variables: Any) -> tuple[Any, ...]:
    """Input and parameters. Nothing is rounded to ``dtype`` on the way in unless the user brought a ``promote_dtype`` of their own."""
    arrays = (jnp.asarray(x), *map(_value, variables))
    return arrays if layer.promote_dtype is dtypes.promote_dtype else tuple(layer.promote_dtype(arrays, dtype=layer.dtype))


def _options(layer: Any, **more: Any) -> dict[str, Any]:
    return {"epsilon": layer.epsilon, "dtype": layer.dtype, "axis_name": layer.axis_name, "axis_index_groups": layer.axis_index_groups, **more}


def _chosen(layer: Any, name: str, given: Any) -> Any:
    """The flag of the call, or that of the layer."""
    given = getattr(layer, name) if given is None else given
    if given is None:
        check.fail(f"needs {name}", "None", f"Pass {name}=True or False to the layer or to the call, or call model.train() or model.eval()", path=name)
    return given


class BatchNorm(_Shell, nnx.BatchNorm):
    """Normalize every channel over the batch; at inference, by running statistics.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β over all axes but ``axis``; R ← m R + (1 − m) B with m = ``momentum``, torch's 1 − m.

    **Remembers** ``scale``, ``bias`` (Param) and ``mean``, ``var`` (BatchStat, float32), each of shape [num_features].

    Args: those of ``flax.nnx.BatchNorm``, and
      unbiased_running_var: divide the running variance by count − 1, as torch does; Flax, and the default, by count.

    Raises:
      ValueError: in training, a batch of one value per channel.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.BatchNorm(1, momentum=0.5, epsilon=0.0, rngs=nnx.Rngs(0))
      >>> assert layer(jnp.array([[1.0], [3.0]])).ravel().tolist() == [-1.0, 1.0]
      >>> assert layer.mean[...] == 1.0  # half of 0, half of 2
      >>> assert layer(jnp.array([[2.0]]), use_running_average=True) == 1.0

    **Differs** from Flax: exact moments, also masked and over devices with unequal counts; arithmetic in float32 whatever ``dtype``; a batch
    that is masked altogether leaves the running statistics alone.

    Reference: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """

    def __init__(self, num_features: int, *, unbiased_running_var: bool = False, rngs: Any = None, **flax: Any) -> None:
        super().__init__(num_features, rngs=rngs, **flax)
        self.unbiased_running_var = unbiased_running_var

    def _check(self, num_features: Any = None, *args: Any, **kwargs: Any) -> None:
        super()._check(num_features, *args, **kwargs)
        check.probability(momentum=kwargs.get("momentum", 0.0))

    def _train(self, x: Any, scale: Any, bias: Any, **options: Any) -> tuple[Any, F.Moments]:
        return F.batch_norm(x, scale, bias, **options)

    def __call__(self, x: Any, use_running_average: bool | None = None, *, mask: Any = None) -> Any:
        with check.inside(type(self).__name__):
            use_running_average = _chosen(self, "use_running_average", use_running_average)
            x, mean, var, scale, bias = _inputs(self, x, self.mean, self.var, self.scale, self.bias)
            dtype = result_dtype(x, mean, var, scale, bias, dtype=self.dtype)
            if use_running_average:
                return F.apply_statistics(x, mean, var, scale, bias, axis=self.axis, epsilon=self.epsilon, dtype=dtype)
            y, batch = self._train(x, scale, bias, **_options(self, dtype=dtype, mask=mask, axis=self.axis))
        new = F.running(self.mean[...], self.var[...], jax.lax.stop_gradient(batch), self.momentum, unbiased=self.unbiased_running_var)
        for variable, value in zip((self.mean, self.var), new, strict=True):
            variable.set_value(value)  # not at [...]: the mean of complex values is complex
        return y


class BatchRenorm(BatchNorm):
    """Batch normalization whose training agrees with its inference, within bounds.

    **Rule** y = γ (x̂ r + d) + β; r and d lead from the batch's statistics to the running ones, see ``functional.batch_renorm``.

    **Remembers** what `BatchNorm` does.

    Args: those of `BatchNorm`, and
      r_max: bound of the scale correction, >= 1.
      d_max: bound of the shift correction, >= 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.BatchRenorm(1, rngs=nnx.Rngs(0))  # running mean 0 and variance 1: the input passes as it is
      >>> assert jnp.allclose(layer(jnp.array([[1.0], [2.0]])), jnp.array([[1.0], [2.0]]), atol=1e-4)

    Reference: Ioffe 2017, https://arxiv.org/abs/1702.03275.
    """

    def __init__(self, num_features: int, *, r_max: Any = 3.0, d_max: Any = 5.0, rngs: Any = None, **flax: Any) -> None:
        with check.inside(type(self).__name__):
            bounds(r_max, d_max)
        super().__init__(num_features, rngs=rngs, **flax)
        self.r_max, self.d_max = r_max, d_max

    def _train(self, x: Any, scale: Any, bias: Any, **options: Any) -> tuple[Any, F.Moments]:
        return F.batch_renorm(x, self.mean[...], self.var[...], scale, bias, r_max=self.r_max, d_max=self.d_max, **options)


class GhostBatchNorm(BatchNorm):
    """Batch normalization by the statistics of sub-batches: the noise of small batches in large ones.

    **Rule** as `BatchNorm` on each run of ``ghost_batch_size`` examples; the running statistics take the moments of the whole batch.

    **Remembers** what `BatchNorm` does.

    Args: those of `BatchNorm` without ``axis_name``, and
      ghost_batch_size: examples per sub-batch; divides the batch.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.GhostBatchNorm(1, ghost_batch_size=2, epsilon=0.0, rngs=nnx.Rngs(0))
      >>> assert layer(jnp.array([[1.0], [3.0], [10.0], [30.0]])).ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Hoffer, Hubara and Soudry 2017, https://arxiv.org/abs/1705.08741.
    """

    def __init__(self, num_features: int, *, ghost_batch_size: int, rngs: Any = None, **flax: Any) -> None:
        super().__init__(num_features, rngs=rngs, **flax)
        self.ghost_batch_size = ghost_batch_size

    def _check(self, num_features: Any = None, *args: Any, **kwargs: Any) -> None:
        super()._check(num_features, *args, **kwargs)
        if kwargs.get("axis_name") is not None:
            check.fail("needs no axis_name, for its batches are meant to be small", repr(kwargs["axis_name"]), "Use BatchNorm", path="axis_name")

    def _train(self, x: Any, scale: Any, bias: Any, **options: Any) -> tuple[Any, F.Moments]:
        options = {name: value for name, value in options.items() if not name.startswith("axis_")}
        return F.ghost_batch_norm(x, scale, bias, ghost_batch_size=self.ghost_batch_size, **options)


class FrozenBatchNorm(nnx.Module):
    """A batch normalization that has stopped learning: statistics and parameters are constants.

    **Rule** y = γ (x − μ_R) / √(σ_R² + ε) + β.

    **Remembers** ``scale``, ``bias``, ``mean``, ``var`` of shape [num_features], all BatchStat: no optimizer of Params sees them. The state of a
    `BatchNorm` goes in with ``nnx.update(frozen, nnx.state(batch_norm))``.

    Args: those of `BatchNorm` that inference uses.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.FrozenBatchNorm(1, epsilon=0.0)
      >>> layer.mean[...] = jnp.array([3.0])
      >>> assert layer(jnp.array([[5.0]])) == 2 and not nnx.to_flat_state(nnx.state(layer, nnx.Param))

    Reference: He et al. 2017, https://arxiv.org/abs/1703.06870 (fine-tuned detectors keep it frozen).
    """

    def __init__(
        self,
        num_features: int,
        *,
        axis: int = -1,
        epsilon: float = 1e-5,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        rngs: Any = None,
    ) -> None:
        with check.inside("FrozenBatchNorm"):
            check.integer(1, num_features=num_features)
            check.non_negative(epsilon=epsilon)
        self.mean, self.var = nnx.BatchStat(jnp.zeros(num_features)), nnx.BatchStat(jnp.ones(num_features))
        self.scale = nnx.BatchStat(jnp.ones(num_features, param_dtype)) if use_scale else nnx.data(None)
        self.bias = nnx.BatchStat(jnp.zeros(num_features, param_dtype)) if use_bias else nnx.data(None)
        self.num_features, self.axis, self.epsilon, self.dtype = num_features, axis, epsilon, dtype

    def __call__(self, x: Any) -> Any:
        with check.inside("FrozenBatchNorm"):
            constants = jax.lax.stop_gradient([_value(v) for v in (self.mean, self.var, self.scale, self.bias)])
            return F.apply_statistics(x, *constants, axis=self.axis, epsilon=self.epsilon, dtype=self.dtype)


class LayerNorm(_Shell, nnx.LayerNorm):
    """Normalize every example over its features.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β over ``reduction_axes``.

    **Remembers** ``scale``, ``bias`` (Param) of shape [num_features].

    Args: those of ``flax.nnx.LayerNorm``.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.LayerNorm(2, epsilon=0.0, rngs=nnx.Rngs(0))(jnp.array([[10000.0, 10002.0]]))
      >>> assert y.tolist() == [[-1.0, 1.0]]

    **Differs** from Flax: exact moments; a backward pass that keeps x and three numbers per example.

    Reference: Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450.
    """

    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside("LayerNorm"):
            x, scale, bias = _inputs(self, x, self.scale, self.bias)
            axes = {"reduction_axes": self.reduction_axes, "feature_axes": self.feature_axes}
            return F.layer_norm(x, scale, bias, **_options(self, mask=mask, **axes))


class RMSNorm(_Shell, nnx.RMSNorm):
    """Divide every example by the root mean square of its features.

    **Rule** y = γ x / √(mean |x|² + ε) over ``reduction_axes``.

    **Remembers** ``scale`` (Param) of shape [num_features].

    Args: those of ``flax.nnx.RMSNorm``.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.RMSNorm(2, epsilon=0.0, rngs=nnx.Rngs(0))(jnp.array([[1.0, 7.0]]))
      >>> assert jnp.allclose(y, jnp.array([[0.2, 1.4]]))

    **Differs** from Flax: a backward pass that keeps x and one number per example.

    Reference: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
    """

    def __call__(self, x: Any, mask: Any = None) -> Any:
        with check.inside("RMSNorm"):
            x, scale = _inputs(self, x, self.scale)
            axes = {"reduction_axes": self.reduction_axes, "feature_axes": self.feature_axes}
            return F.rms_norm(x, scale, **_options(self, mask=mask, **axes))


class GroupNorm(_Shell, nnx.GroupNorm):
    """Normalize every example over groups of its channels.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β over the positions and the channels of a group.

    **Remembers** ``scale``, ``bias`` (Param) of shape [num_features].

    Args: those of ``flax.nnx.GroupNorm``.

    Raises:
      ValueError: groups that do not divide the channels.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.GroupNorm(4, num_groups=2, epsilon=0.0, rngs=nnx.Rngs(0))(jnp.array([[0.0, 2.0, 10.0, 30.0]]))
      >>> assert jnp.allclose(y, jnp.array([[-1.0, 1.0, -1.0, 1.0]]))

    Reference: Wu and He 2018, https://arxiv.org/abs/1803.08494.
    """

    def _check(self, num_features: Any = None, num_groups: int | None = 32, group_size: int | None = None, **kwargs: Any) -> None:
        super()._check(num_features, **kwargs)
        groups_of(num_features, num_groups, group_size)

    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside("GroupNorm"):
            x, scale, bias = _inputs(self, x, self.scale, self.bias)
            return F.group_norm(x, scale, bias, num_groups=self.num_groups, **_options(self, mask=mask, reduction_axes=self.reduction_axes))


class InstanceNorm(_Shell, nnx.InstanceNorm):
    """Normalize every channel of every example over its positions.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β over the positions.

    **Remembers** ``scale``, ``bias`` (Param) of shape [num_features].

    Args: those of ``flax.nnx.InstanceNorm``.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> y = gnn.InstanceNorm(1, epsilon=0.0, rngs=nnx.Rngs(0))(jnp.array([[[1.0], [3.0]], [[10.0], [30.0]]]))
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Ulyanov, Vedaldi and Lempitsky 2016, https://arxiv.org/abs/1607.08022.
    """

    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside("InstanceNorm"):
            x, scale, bias = _inputs(self, x, self.scale, self.bias)
            return F.instance_norm(x, scale, bias, **_options(self, mask=mask, feature_axes=self.feature_axes))


class FilterResponseNorm(nnx.Module):
    """Divide every channel of every example by its root mean square over positions; cut off below a learned threshold.

    **Rule** y = max(γ x / √(mean x² + ε) + β, τ). No activation follows: the threshold is one.

    **Remembers** ``scale``, ``bias``, ``threshold`` (Param) of shape [num_features], starting at 1, 0, 0.

    Args:
      num_features: channels.
      axis: the channel's axis.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result.
      param_dtype: dtype of the parameters.
      use_bias: have β.
      use_scale: have γ.
      use_threshold: have τ.
      rngs: taken as other layers take it; nothing here is random.

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
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        use_threshold: bool = True,
        rngs: Any = None,
    ) -> None:
        with check.inside("FilterResponseNorm"):
            check.integer(1, num_features=num_features)
            check.non_negative(epsilon=epsilon)
        self.scale = nnx.Param(jnp.ones(num_features, param_dtype)) if use_scale else nnx.data(None)
        self.bias = nnx.Param(jnp.zeros(num_features, param_dtype)) if use_bias else nnx.data(None)
        self.threshold = nnx.Param(jnp.zeros(num_features, param_dtype)) if use_threshold else nnx.data(None)
        self.axis, self.epsilon, self.dtype = axis, epsilon, dtype

    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside("FilterResponseNorm"):
            parameters = [_value(v) for v in (self.scale, self.bias, self.threshold)]
            return F.filter_response_norm(x, *parameters, axis=self.axis, epsilon=self.epsilon, dtype=self.dtype, mask=mask)


class GlobalResponseNorm(nnx.Module):
    """Let channels compete by their norms over positions (GRN of ConvNeXt V2).

    **Rule** y = x + γ x G / (mean G + ε) + β, G = ‖x_c‖₂ over positions.

    **Remembers** ``scale``, ``bias`` (Param) of shape [num_features], starting at 0: the layer starts as the identity.

    Args:
      num_features: channels.
      axis: the channel's axis.
      epsilon: ε >= 0 beside the mean norm.
      dtype: dtype of the result.
      param_dtype: dtype of the parameters.
      rngs: taken as other layers take it; nothing here is random.

    Example:
      >>> import jax.numpy as jnp
      >>> import gradkit.nn as gnn
      >>> layer = gnn.GlobalResponseNorm(2, epsilon=0.0)
      >>> assert layer(jnp.array([[[1.0, 3.0]]])).tolist() == [[[1.0, 3.0]]]
      >>> layer.scale[...] = jnp.ones(2)
      >>> assert jnp.allclose(layer(jnp.array([[[1.0, 3.0]]])), jnp.array([[[1.5, 7.5]]]))

    Reference: Woo et al. 2023, https://arxiv.org/abs/2301.00808.
    """

    def __init__(
        self, num_features: int, *, axis: int = -1, epsilon: float = 1e-6, dtype: Any = None, param_dtype: Any = jnp.float32, rngs: Any = None
    ) -> None:
        with check.inside("GlobalResponseNorm"):
            check.integer(1, num_features=num_features)
            check.non_negative(epsilon=epsilon)
        self.scale, self.bias = nnx.Param(jnp.zeros(num_features, param_dtype)), nnx.Param(jnp.zeros(num_features, param_dtype))
        self.axis, self.epsilon, self.dtype = axis, epsilon, dtype

    def __call__(self, x: Any, *, mask: Any = None) -> Any:
        with check.inside("GlobalResponseNorm"):
            return F.global_response_norm(x, self.scale[...], self.bias[...], axis=self.axis, epsilon=self.epsilon, dtype=self.dtype, mask=mask)
