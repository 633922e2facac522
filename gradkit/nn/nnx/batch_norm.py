"""Batch normalization layers for Flax NNX, and their folding into the layer before.

`BatchNorm` is a subclass of Flax's: arguments, parameters, statistics and their shapes are Flax's,
and a Flax checkpoint loads. Only the call is replaced, by `gradkit.nn.functional`.
``use_fast_variance`` is accepted and has no effect: the moments are always exact.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import describe, result_dtype
from gradkit.nn.functional.batch_norm import check_bounds
from gradkit.nn.functional.options import check_options
from gradkit.nn.nnx.base import (
    NormLayer,
    inputs_of,
    options_of,
    resolve_flag,
    value_of,
)


class BatchNorm(NormLayer, nnx.BatchNorm):
    """Batch normalization layer: normalize every channel by the batch, or by running statistics.

    **Value** y = γ (x − μ) / √(σ² + ε) + β over all axes but ``axis``; R ← m R + (1 − m) B with m =
    ``momentum``, torch's 1 − m. At inference μ and σ² are the running statistics R.

    **State** ``scale``, ``bias`` (Param, in ``param_dtype``) and ``mean``, ``var`` (BatchStat,
    float32), each of shape [num_features].

    Args: those of ``flax.nnx.BatchNorm``, and
      unbiased_running_var: divide the running variance by count − 1, as torch does, instead of by
        count, as Flax does.

    Raises:
      ValueError: an argument out of range; in training, a batch of one value per channel.
      TypeError: no ``rngs``, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.BatchNorm(1, momentum=0.5, epsilon=0.0, rngs=nnx.Rngs(0))
      >>> assert layer(jnp.array([[1.0], [3.0]])).ravel().tolist() == [-1.0, 1.0]
      >>> assert layer.mean[...] == 1.0  # half of 0 and half of 2
      >>> assert layer(jnp.array([[2.0]]), use_running_average=True) == 1.0

    **Differs from Flax**: exact moments, also under a mask and over devices with unequal counts;
    arithmetic in float32 or wider whatever ``dtype``; a fully masked batch leaves the running
    statistics unchanged.

    Reference: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """

    def __init__(
        self,
        num_features: int,
        *,
        unbiased_running_var: bool = False,
        rngs: nnx.Rngs | None = None,
        **flax: Any,
    ) -> None:
        with check.inside(type(self).__name__):
            check_options(unbiased_running_var=unbiased_running_var)
        super().__init__(num_features, rngs=rngs, **flax)
        self.unbiased_running_var = unbiased_running_var

    def _train(
        self, x: jax.Array, scale: Any, bias: Any, **options: Any
    ) -> tuple[jax.Array, F.Moments]:
        return F.batch_norm(x, scale, bias, **options)

    def __call__(
        self,
        x: jax.Array,
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        with check.inside(type(self).__name__):
            inference = resolve_flag(self, "use_running_average", use_running_average)
            arrays = inputs_of(self, x, self.mean, self.var, self.scale, self.bias)
            x, mean, var, scale, bias = arrays
            dtype = result_dtype(*arrays, dtype=self.dtype)
            if inference:
                options: dict[str, Any] = {
                    "axis": self.axis,
                    "epsilon": self.epsilon,
                    "dtype": dtype,
                }
                return F.apply_statistics(x, mean, var, scale, bias, **options)
            options = options_of(self, "axis", dtype=dtype, mask=mask)
            y, batch = self._train(x, scale, bias, **options)
            statistics = F.running(
                self.mean[...],
                self.var[...],
                jax.lax.stop_gradient(batch),
                self.momentum,
                unbiased=self.unbiased_running_var,
            )
        for variable, value in zip((self.mean, self.var), statistics, strict=True):
            variable.set_value(value)  # not variable[...]: the mean of complex values is complex
        return y


class BatchRenorm(BatchNorm):
    """Batch renormalization layer: batch norm whose training agrees with its inference.

    **Value** y = γ (x̂ r + d) + β; r and d correct the statistics of the batch towards the running
    ones, see ``functional.batch_renorm``.

    **State** that of `BatchNorm`.

    Args: those of `BatchNorm`, and
      r_max: bound of the scale correction, >= 1.
      d_max: bound of the shift correction, >= 0.

    Raises:
      ValueError: a bound out of range; otherwise as `BatchNorm`.
      TypeError: as `BatchNorm`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.BatchRenorm(1, rngs=nnx.Rngs(0))
      >>> x = jnp.array([[1.0], [2.0]])  # unchanged by running mean 0 and variance 1
      >>> assert jnp.allclose(layer(x), x, atol=1e-4)

    Reference: Ioffe 2017, https://arxiv.org/abs/1702.03275.
    """

    def __init__(
        self,
        num_features: int,
        *,
        r_max: ArrayLike = 3.0,
        d_max: ArrayLike = 5.0,
        rngs: nnx.Rngs | None = None,
        **flax: Any,
    ) -> None:
        with check.inside(type(self).__name__):
            check_bounds(r_max, d_max)
        super().__init__(num_features, rngs=rngs, **flax)
        self.r_max, self.d_max = r_max, d_max

    def _train(
        self, x: jax.Array, scale: Any, bias: Any, **options: Any
    ) -> tuple[jax.Array, F.Moments]:
        running = self.mean[...], self.var[...]
        return F.batch_renorm(
            x, *running, scale, bias, r_max=self.r_max, d_max=self.d_max, **options
        )


class GhostBatchNorm(BatchNorm):
    """Ghost batch normalization layer: normalize sub-batches by their own statistics.

    **Value** as `BatchNorm` for each ``ghost_batch_size`` consecutive examples; the running
    statistics are updated with the moments of the whole batch.

    **State** that of `BatchNorm`.

    Args: those of `BatchNorm` without ``axis_name``, and
      ghost_batch_size: examples per sub-batch, >= 1; divides the batch.

    Raises:
      ValueError: an ``axis_name``, a size that does not divide the batch; otherwise as `BatchNorm`.
      TypeError: as `BatchNorm`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.GhostBatchNorm(1, ghost_batch_size=2, epsilon=0.0, rngs=nnx.Rngs(0))
      >>> x = jnp.array([[1.0], [3.0], [10.0], [30.0]])
      >>> assert layer(x).ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Hoffer, Hubara and Soudry 2017, https://arxiv.org/abs/1705.08741.
    """

    def __init__(
        self,
        num_features: int,
        *,
        ghost_batch_size: int,
        rngs: nnx.Rngs | None = None,
        **flax: Any,
    ) -> None:
        with check.inside(type(self).__name__):
            check.integer(1, ghost_batch_size=ghost_batch_size)
        super().__init__(num_features, rngs=rngs, **flax)
        self.ghost_batch_size = ghost_batch_size

    def _check(self, num_features: Any = None, *args: Any, **options: Any) -> None:
        super()._check(num_features, *args, **options)
        if options.get("axis_name") is not None:
            problem = f"axis_name={describe(options['axis_name'])} cannot be used with sub-batches"
            fix = "Use BatchNorm for statistics over devices"
            check.refuse(problem, expected="axis_name=None", fix=fix)

    def _train(
        self, x: jax.Array, scale: Any, bias: Any, **options: Any
    ) -> tuple[jax.Array, F.Moments]:
        del options["axis_name"], options["axis_index_groups"]
        return F.ghost_batch_norm(x, scale, bias, ghost_batch_size=self.ghost_batch_size, **options)


class FrozenBatchNorm(nnx.Module):
    """Frozen batch normalization layer: statistics and parameters are constants.

    **Value** y = γ (x − μ_R) / √(σ_R² + ε) + β.

    **State** ``scale``, ``bias``, ``mean``, ``var`` of shape [num_features], all BatchStat, so that
    an optimizer of Params does not update them. ``nnx.update(frozen, nnx.state(batch_norm))`` loads
    the state of a `BatchNorm`.

    Args:
      num_features: number of channels, >= 1.
      axis: the axis of the channels.
      epsilon: ε >= 0, added to the variance.
      dtype: floating dtype of the result; by default the promoted dtype of input and parameters.
      param_dtype: dtype of ``scale`` and ``bias``.
      use_bias: add β.
      use_scale: multiply by γ.
      rngs: accepted as in other layers; nothing here is random.

    Raises:
      ValueError: an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.FrozenBatchNorm(1, epsilon=0.0)
      >>> layer.mean[...] = jnp.array([3.0])
      >>> assert layer(jnp.array([[5.0]])) == 2
      >>> assert not nnx.to_flat_state(nnx.state(layer, nnx.Param))

    Reference: He et al. 2017, https://arxiv.org/abs/1703.06870 (frozen while detectors are
    fine-tuned).
    """

    def __init__(
        self,
        num_features: int,
        *,
        axis: int = -1,
        epsilon: float = 1e-5,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        with check.inside("FrozenBatchNorm"):
            check_options(num_features=num_features, axis=axis, epsilon=epsilon)
            check_options(dtype=dtype, param_dtype=param_dtype)
            check_options(use_bias=use_bias, use_scale=use_scale)
        ones, zeros = jnp.ones(num_features, param_dtype), jnp.zeros(num_features, param_dtype)
        self.mean = nnx.BatchStat(jnp.zeros(num_features))
        self.var = nnx.BatchStat(jnp.ones(num_features))
        self.scale = nnx.BatchStat(ones) if use_scale else nnx.data(None)
        self.bias = nnx.BatchStat(zeros) if use_bias else nnx.data(None)
        self.num_features, self.axis, self.epsilon, self.dtype = num_features, axis, epsilon, dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        variables = (self.mean, self.var, self.scale, self.bias)
        with check.inside("FrozenBatchNorm"):
            constants = jax.lax.stop_gradient([value_of(variable) for variable in variables])
            options: dict[str, Any] = {
                "axis": self.axis,
                "epsilon": self.epsilon,
                "dtype": self.dtype,
            }
            return F.apply_statistics(x, *constants, **options)


_FOLDABLE = (nnx.Linear, nnx.LinearGeneral, nnx.Conv, nnx.ConvTranspose)


def fold_batch_norm(layer: nnx.Module, batch_norm: nnx.Module) -> nnx.Module:
    """Fold an inference batch normalization into the dense or convolution layer before it.

    **Value** a = γ / √(σ_R² + ε); W' = W a, b' = (b − μ_R) a + β.

    Args:
      layer: ``nnx.Linear``, ``nnx.Conv``, ``nnx.ConvTranspose`` without ``transpose_kernel``, or
        ``nnx.LinearGeneral`` with one output axis and no batch axis. For other layers there is
        ``functional.fold_batch_norm``.
      batch_norm: a `BatchNorm` or `FrozenBatchNorm` (gradkit's or Flax's) over the last axis.

    Returns:
      A new layer with a bias; both arguments are unchanged.

    Raises:
      TypeError: a layer that uses its kernel in another way, or another normalization.
      ValueError: widths that do not match, or another axis than the last.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> dense = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
      >>> norm = gnn.BatchNorm(2, momentum=0.0, rngs=nnx.Rngs(0))
      >>> x = jax.random.normal(jax.random.key(0), (8, 3))
      >>> _ = norm(dense(x))
      >>> wanted = norm(dense(x), use_running_average=True)
      >>> assert jnp.allclose(gnn.fold_batch_norm(dense, norm)(x), wanted, atol=1e-5)

    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2.
    """
    with check.inside("fold_batch_norm"):
        _check_foldable(layer, batch_norm)
        statistics = [
            value_of(getattr(batch_norm, name)) for name in ("mean", "var", "scale", "bias")
        ]
        kernel, bias = F.fold_batch_norm(
            value_of(layer.kernel), value_of(layer.bias), *statistics, epsilon=batch_norm.epsilon
        )
    folded = nnx.clone(layer)
    folded.kernel = layer.kernel.replace(kernel)
    folded.bias = nnx.Param(bias) if layer.bias is None else layer.bias.replace(bias)
    folded.use_bias = True
    return folded


def _check_foldable(layer: Any, batch_norm: Any) -> None:
    """Refuse layers that kernel and bias do not describe."""
    # A subclass with a __call__ of its own uses its kernel in another way.
    calls = [kind.__call__ for kind in _FOLDABLE]
    if getattr(type(layer), "__call__", None) not in calls:  # noqa: B004
        known = ", ".join(f"nnx.{kind.__name__}" for kind in _FOLDABLE)
        problem = f"layer of type {type(layer).__name__} cannot be folded"
        fix = (
            "The normalization is the second argument; for the arrays of other layers use "
            "functional.fold_batch_norm"
        )
        check.refuse(problem, expected=f"one of {known}", fix=fix, error=TypeError)
    if not isinstance(batch_norm, (nnx.BatchNorm, FrozenBatchNorm)):
        problem = f"batch_norm of type {type(batch_norm).__name__} is not a batch normalization"
        check.refuse(problem, expected="a BatchNorm or a FrozenBatchNorm", error=TypeError)
    outputs, batch = getattr(layer, "out_features", None), dict(getattr(layer, "batch_axis", {}))
    if isinstance(layer, nnx.LinearGeneral) and (len(layer.out_features) != 1 or batch):
        problem = f"layer has out_features={outputs} and batch_axis={batch}"
        check.refuse(problem, expected="one output axis and no batch axis")
    if batch_norm.axis != -1:
        problem = f"batch_norm has axis={describe(batch_norm.axis)}"
        check.refuse(problem, expected="axis=-1, the outputs of the kernel")
    if getattr(layer, "transpose_kernel", False):
        problem = "layer has transpose_kernel=True"
        check.refuse(problem, expected="outputs on the last axis of the kernel")
