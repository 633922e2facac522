"""Batch normalization layers for Flax Linen, and their folding into the layer before.

`BatchNorm` is a subclass of Flax's with the same fields, so names, shapes and checkpoints are
Flax's. Only the call is replaced, by `gradkit.nn.functional`. ``use_fast_variance`` and
``force_float32_reductions`` are accepted; the arithmetic is always exact and in float32 or wider.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jax.typing import ArrayLike, DTypeLike

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import as_array, as_axes, check_flag, describe
from gradkit.nn.linen.base import (
    Initializer,
    affine,
    check_fields,
    inside,
    options_of,
    resolve_flag,
)


class BatchNorm(linen.BatchNorm):
    """Batch normalization layer: normalize every channel by the batch, or by running statistics.

    **Value** y = γ (x − μ) / √(σ² + ε) + β over all axes but ``axis``; R ← m R + (1 − m) B with m =
    ``momentum``, torch's 1 − m. At inference μ and σ² are the running statistics R.

    **State** params ``scale``, ``bias`` (in ``param_dtype``) and batch_stats ``mean``, ``var``
    (float32), each of shape [channels].

    Args: those of ``flax.linen.BatchNorm``, and
      unbiased_running_var: divide the running variance by count − 1, as torch does, instead of by
        count, as Flax does.

    Raises:
      ValueError: in training, a batch of one value per channel; batch_stats that are missing or not
        mutable.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.BatchNorm(use_running_average=False, momentum=0.5, epsilon=0.0)
      >>> x = jnp.array([[1.0], [3.0]])
      >>> y, new = layer.apply(layer.init(jax.random.key(0), x), x, mutable=["batch_stats"])
      >>> assert y.ravel().tolist() == [-1.0, 1.0] and new["batch_stats"]["mean"] == 1.0

    **Differs from Flax**: exact moments, also under a mask and over devices with unequal counts.

    Reference: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """

    unbiased_running_var: bool = False

    def _train(
        self, x: jax.Array, mean: Any, var: Any, scale: Any, bias: Any, options: dict[str, Any]
    ) -> tuple[jax.Array, F.Moments]:
        return F.batch_norm(x, scale, bias, **options)

    def _has_moments(self, shape: tuple[int, ...], channels: int) -> bool:
        """Whether the input has moments; initialization may be given one example."""
        return math.prod(shape) > channels

    @linen.compact
    def __call__(
        self,
        x: jax.Array,
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        with inside(self):
            x = as_array(x)
            check_fields(self)
            inference = resolve_flag(self, "use_running_average", use_running_average)
            if not self.is_initializing():
                _require_statistics(self, training=not inference)
            shape = tuple(x.shape[axis] for axis in as_axes(x.ndim, self.axis))
            dtype = jnp.float32 if self.force_float32_reductions else self.param_dtype
            mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(shape, dtype))
            var = self.variable("batch_stats", "var", lambda: jnp.ones(shape, dtype))
            scale, bias = affine(self, x, self.axis, "axis")
            has_moments = self._has_moments(x.shape, math.prod(shape))
            if inference or (self.is_initializing() and not has_moments):
                given: dict[str, Any] = {"axis": self.axis, "epsilon": self.epsilon}
                statistics = mean.value, var.value
                return F.apply_statistics(x, *statistics, scale, bias, **given, dtype=self.dtype)
            options = options_of(self, "axis", mask=mask)
            y, batch = self._train(x, mean.value, var.value, scale, bias, options)
            if not self.is_initializing():
                mean.value, var.value = F.running(
                    mean.value, var.value, batch, self.momentum, unbiased=self.unbiased_running_var
                )
        return y


def _require_statistics(layer: Any, *, training: bool) -> None:
    if not layer.has_variable("batch_stats", "mean"):
        fix = "Pass all that init returned: apply({'params': ..., 'batch_stats': ...}, x)"
        problem = "batch_stats are missing from the variables"
        check.refuse(problem, expected="the running statistics", fix=fix)
    if training and not layer.is_mutable_collection("batch_stats"):
        fix = "Call apply(..., mutable=['batch_stats']), or pass use_running_average=True"
        check.refuse("batch_stats are not mutable", expected="mutable ones in training", fix=fix)


class BatchRenorm(BatchNorm):
    """Batch renormalization layer: batch norm whose training agrees with its inference.

    **Value** y = γ (x̂ r + d) + β, see ``functional.batch_renorm``.

    **State** that of `BatchNorm`.

    Args: those of `BatchNorm`, and
      r_max: bound of the scale correction, >= 1.
      d_max: bound of the shift correction, >= 0.

    Raises:
      ValueError: a bound out of range; otherwise as `BatchNorm`.
      TypeError: as `BatchNorm`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer, x = gnn.BatchRenorm(use_running_average=False), jnp.array([[1.0], [2.0]])
      >>> y, _ = layer.apply(layer.init(jax.random.key(0), x), x, mutable=["batch_stats"])
      >>> assert jnp.allclose(y, x, atol=1e-4)  # running mean 0 and variance 1

    Reference: Ioffe 2017, https://arxiv.org/abs/1702.03275.
    """

    r_max: ArrayLike = 3.0
    d_max: ArrayLike = 5.0

    def _train(
        self, x: jax.Array, mean: Any, var: Any, scale: Any, bias: Any, options: dict[str, Any]
    ) -> tuple[jax.Array, F.Moments]:
        bounds: dict[str, Any] = {"r_max": self.r_max, "d_max": self.d_max}
        return F.batch_renorm(x, mean, var, scale, bias, **bounds, **options)


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
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.GhostBatchNorm(False, epsilon=0.0, ghost_batch_size=2)
      >>> x = jnp.array([[1.0], [3.0], [10.0], [30.0]])
      >>> y, _ = layer.apply(layer.init(jax.random.key(0), x), x, mutable=["batch_stats"])
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Hoffer, Hubara and Soudry 2017, https://arxiv.org/abs/1705.08741.
    """

    ghost_batch_size: int = 32

    def _has_moments(self, shape: tuple[int, ...], channels: int) -> bool:
        check.integer(1, ghost_batch_size=self.ghost_batch_size)
        divides = shape[0] % self.ghost_batch_size == 0
        return divides and math.prod(shape) * self.ghost_batch_size > channels * shape[0]

    def _train(
        self, x: jax.Array, mean: Any, var: Any, scale: Any, bias: Any, options: dict[str, Any]
    ) -> tuple[jax.Array, F.Moments]:
        if self.axis_name is not None:
            problem = f"axis_name={describe(self.axis_name)} cannot be used with sub-batches"
            fix = "Use BatchNorm for statistics over devices"
            check.refuse(problem, expected="axis_name=None", fix=fix)
        del options["axis_name"], options["axis_index_groups"]
        return F.ghost_batch_norm(x, scale, bias, ghost_batch_size=self.ghost_batch_size, **options)


class FrozenBatchNorm(linen.Module):
    """Frozen batch normalization layer: statistics and parameters are constants to the gradient.

    **Value** y = γ (x − μ_R) / √(σ_R² + ε) + β.

    **State** that of `BatchNorm`, under the same names, so its checkpoint loads. Mask params
    ``scale`` and ``bias`` out of a weight decay.

    Args:
      axis: the axis of the channels.
      epsilon: ε >= 0, added to the variance.
      dtype: floating dtype of the result; by default the promoted dtype of input and parameters.
      param_dtype: dtype of ``scale`` and ``bias``.
      use_bias: add β.
      use_scale: multiply by γ.
      scale_init: initializer of γ.
      bias_init: initializer of β.

    Raises:
      ValueError: batch_stats that are missing, an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> layer, ones, x = gnn.FrozenBatchNorm(epsilon=0.0), jnp.ones(1), jnp.array([[5.0]])
      >>> params, stats = {"scale": ones, "bias": ones}, {"mean": ones, "var": ones}
      >>> variables = {"params": params, "batch_stats": stats}
      >>> assert layer.apply(variables, x) == 5
      >>> gradient = jax.grad(lambda v: layer.apply(v, x).sum())(variables)
      >>> assert gradient["params"]["scale"] == 0

    Reference: He et al. 2017, https://arxiv.org/abs/1703.06870 (frozen while detectors are
    fine-tuned).
    """

    axis: int = -1
    epsilon: float = 1e-5
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    scale_init: Initializer = linen.initializers.ones
    bias_init: Initializer = linen.initializers.zeros

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        with inside(self):
            x = as_array(x)
            check_fields(self)
            if not self.is_initializing():
                _require_statistics(self, training=False)
            shape = tuple(x.shape[axis] for axis in as_axes(x.ndim, self.axis))
            mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(shape, jnp.float32))
            var = self.variable("batch_stats", "var", lambda: jnp.ones(shape, jnp.float32))
            arrays = mean.value, var.value, *affine(self, x, self.axis, "axis")
            options: dict[str, Any] = {"axis": self.axis, "epsilon": self.epsilon}
            constants = jax.lax.stop_gradient(arrays)
            return F.apply_statistics(x, *constants, **options, dtype=self.dtype)


def fold_batch_norm(
    layer: Mapping[str, Any],
    norm: Mapping[str, Any],
    statistics: Mapping[str, Any],
    *,
    epsilon: ArrayLike = 1e-5,
    transpose_kernel: bool = False,
) -> dict[str, jax.Array]:
    """Fold an inference batch normalization into the params of the layer before it.

    **Value** a = γ / √(σ_R² + ε); W' = W a, b' = (b − μ_R) a + β.

    Args:
      layer: params of a ``Dense``, ``Conv``, ``ConvTranspose``, or ``DenseGeneral`` of one output
        axis: ``kernel``, and ``bias`` if it has one. The arrays do not tell to which layer they
          belong: do not pass those of others (``Einsum``,
        several output axes), even if their shapes fit.
      norm: params of the normalization: ``scale`` and ``bias``, or fewer.
      statistics: its batch_stats: ``mean`` and ``var``.
      epsilon: its ε >= 0.
      transpose_kernel: that of the ``ConvTranspose``; True if the outputs are on the last axis but
        one of the kernel.

    Returns:
      ``kernel`` and ``bias`` for the layer with ``use_bias=True``.

    Raises:
      ValueError: other names among the params, widths that do not match.
      TypeError: arguments that are not dicts of arrays.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import linen as gnn
      >>> statistics = {"mean": jnp.array([1.0]), "var": jnp.array([4.0])}
      >>> folded = gnn.fold_batch_norm({"kernel": jnp.eye(1)}, {}, statistics, epsilon=0.0)
      >>> assert 5 * folded["kernel"][0, 0] + folded["bias"][0] == 2  # (5 − 1) / 2

    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2.
    """
    with check.inside("fold_batch_norm"):
        _check_names("layer", layer, ("kernel",), ("bias",))
        _check_names("norm", norm, (), ("scale", "bias"))
        _check_names("statistics", statistics, ("mean", "var"), ())
        check_flag(transpose_kernel, "transpose_kernel")
        kernel = as_array(layer["kernel"], "kernel")
        if transpose_kernel and kernel.ndim < 2:
            problem = f"kernel has the shape {list(kernel.shape)}"
            check.refuse(problem, expected="two axes or more with transpose_kernel=True")
    swap = lambda array: jnp.swapaxes(array, -1, -2) if transpose_kernel else array
    parameters = statistics["mean"], statistics["var"], norm.get("scale"), norm.get("bias")
    folded, bias = F.fold_batch_norm(swap(kernel), layer.get("bias"), *parameters, epsilon=epsilon)
    return {"kernel": swap(folded), "bias": bias}


def _check_names(
    argument: str, given: Any, required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    """The variables of one layer have these names and no others."""
    if not isinstance(given, Mapping):
        problem = f"{argument} is a {type(given).__name__}"
        check.refuse(problem, expected="the variables of one layer, by name", error=TypeError)
    if not set(required) <= set(given) <= {*required, *optional}:
        allowed = [" and ".join(required), f"at most {' and '.join(optional)}" if optional else ""]
        names = ", ".join(map(str, given)) or "no variables"
        fix = "Pass params and batch_stats of single layers, in the order layer, norm, statistics"
        problem = f"{argument} has {names}"
        check.refuse(problem, expected=", ".join(filter(None, allowed)), fix=fix)
