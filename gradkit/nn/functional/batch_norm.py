"""Batch normalization: by the batch, by running statistics, renormalized, by sub-batches, folded.

| | moments |
|---|---|
| ``batch_norm`` | over all axes but the channel's |
| ``apply_statistics`` | given: batch normalization at inference |
| ``batch_renorm`` | as ``batch_norm``, then corrected towards the running statistics: x̂ r + d |
| ``ghost_batch_norm`` | as ``batch_norm``, within each sub-batch |
| ``fold_batch_norm`` | given, and folded into the kernel and bias of the layer before |
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.arguments import (
    Axes,
    as_array,
    as_epsilon,
    channel_axes,
    check_number,
    compute_dtype,
    describe,
    required_parameter,
    result_dtype,
)
from gradkit.nn.functional.moments import Moments, merge, squeeze
from gradkit.nn.functional.standardize import (
    Devices,
    devices_of,
    prepare,
    require_values,
    standardize,
)


def batch_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    axis: Axes = -1,
    epsilon: ArrayLike = 1e-5,
    dtype: DTypeLike | None = None,
    mask: jax.Array | None = None,
    axis_name: Any = None,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
) -> tuple[jax.Array, Moments]:
    """Apply batch normalization in training: normalize every channel over the batch.

    **Value** y = γ (x − μ) / √(σ² + ε) + β, μ and σ² over all axes but ``axis``.

    Args:
      x: the input, of any shape with an axis of channels.
      scale: γ, of shape [channels], or None (1).
      bias: β, of shape [channels], or None (0).
      axis: the axis (or axes) of the channels.
      epsilon: ε >= 0, added to the variance; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x``, ``scale`` and
        ``bias``. The arithmetic is in float32 or wider.
      mask: booleans that broadcast to ``x``; a value counts for the moments where it is True. Every
        position is normalized.
      axis_name: a mapped axis (shard_map, vmap, pmap) to take the moments over as well.
      axis_index_groups: groups of devices within that axis; each has its own moments.

    Returns:
      y, of the shape of ``x``, and the `Moments` of the batch, of shape [channels], for `running`.

    Raises:
      ValueError: an axis that does not exist or is repeated, shapes that do not match, one value
        per channel.
      TypeError: an argument of the wrong kind, such as a mask that is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y, batch = F.batch_norm(jnp.array([[1.0], [3.0]]), epsilon=0.0)
      >>> assert y.ravel().tolist() == [-1.0, 1.0] and batch.mean.tolist() == [2.0]

    Reference: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """
    with check.inside("batch_norm"):
        x, scale, bias, features, mask = prepare(x, scale, bias, axis, mask, "axis")
        axes = tuple(a for a in range(x.ndim) if a not in features)
        devices = devices_of(axis_name, axis_index_groups)
        require_values(x.shape, axes, devices)
        y, batch = standardize(
            x, scale, bias, axes, epsilon, mask=mask, dtype=dtype, devices=devices
        )
    return y, squeeze(batch, axes)


def apply_statistics(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    axis: Axes = -1,
    epsilon: ArrayLike = 1e-5,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Apply batch normalization at inference: normalize with given statistics.

    **Value** y = (x − μ) · γ / √(σ² + ε) + β.

    Args:
      x: the input, of any shape with an axis of channels.
      mean: μ, of shape [channels].
      var: σ², of shape [channels].
      scale: γ, of shape [channels], or None (1).
      bias: β, of shape [channels], or None (0).
      axis: the axis (or axes) of the channels.
      epsilon: ε >= 0, added to the variance; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x``, ``scale`` and
        ``bias``.

    Returns:
      y, of the shape of ``x``.

    Raises:
      ValueError: an axis that does not exist or is repeated, shapes that do not match.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> mean, var = jnp.array([1.0]), jnp.array([4.0])
      >>> y = F.apply_statistics(jnp.array([[5.0]]), mean, var, epsilon=0.0)
      >>> assert y[0, 0] == 2
    """
    with check.inside("apply_statistics"):
        x, scale, bias, features, _ = prepare(x, scale, bias, axis, None, "axis")
        mean = required_parameter(mean, x, features, "mean")
        var = required_parameter(var, x, features, "var")
        work = compute_dtype(x, scale, bias, mean, var)
        added = as_epsilon(epsilon, work)
        result = result_dtype(x, scale, bias, dtype=dtype)
    factor = lax.rsqrt(numerics.cast(var, numerics.real(work)) + added).astype(work)
    factor = factor if scale is None else factor * numerics.cast(scale, work)
    y = (numerics.cast(x, work) - numerics.cast(mean, work)) * factor
    y = y if bias is None else y + numerics.cast(bias, work)
    return y.astype(result)


def batch_renorm(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    r_max: ArrayLike = 3.0,
    d_max: ArrayLike = 5.0,
    axis: Axes = -1,
    epsilon: ArrayLike = 1e-5,
    dtype: DTypeLike | None = None,
    mask: jax.Array | None = None,
    axis_name: Any = None,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
) -> tuple[jax.Array, Moments]:
    """Apply batch renormalization: batch norm whose training agrees with its inference.

    **Value** y = γ (x̂ r + d) + β, x̂ = (x − μ) / σ, r = clip(σ / σ_R, 1 / r_max, r_max),
    d = clip((μ − μ_R) / σ_R, −d_max, d_max), with σ = √(variance + ε) and running statistics R. r
    and d are constants to the gradient. Within the bounds y = γ (x − μ_R) / σ_R + β.

    Args:
      x: the input, of any shape with an axis of channels.
      mean: μ_R, the running mean, of shape [channels].
      var: the running variance, of shape [channels].
      scale: γ, of shape [channels], or None (1).
      bias: β, of shape [channels], or None (0).
      r_max: bound of r, >= 1; 1 (with d_max=0) is batch normalization. It may be traced: the paper
        increases it during training.
      d_max: bound of d, >= 0; may be traced.
      axis: the axis (or axes) of the channels.
      epsilon: ε >= 0, added to the variances; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x``, ``scale`` and
        ``bias``.
      mask: booleans that broadcast to ``x``; a value counts for the moments where it is True.
      axis_name: a mapped axis (shard_map, vmap, pmap) to take the moments over as well.
      axis_index_groups: groups of devices within that axis; each has its own moments.

    Returns:
      y, of the shape of ``x``, and the `Moments` of the batch, of shape [channels], for `running`.

    Raises:
      ValueError: an axis that does not exist or is repeated, shapes that do not match, one value
        per channel, a bound out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jnp.array([[1.0], [3.0]])
      >>> y, _ = F.batch_renorm(x, jnp.array([1.0]), jnp.array([4.0]), epsilon=0.0)
      >>> assert jnp.allclose(y, (x - 1) / 2)  # the result of inference

    Reference: Ioffe 2017, https://arxiv.org/abs/1702.03275.
    """
    with check.inside("batch_renorm"):
        check_bounds(r_max, d_max)
        x, scale, bias, features, mask = prepare(x, scale, bias, axis, mask, "axis")
        axes = tuple(a for a in range(x.ndim) if a not in features)
        devices = devices_of(axis_name, axis_index_groups)
        require_values(x.shape, axes, devices)
        mean = required_parameter(mean, x, features, "mean")
        var = required_parameter(var, x, features, "var")
        work = compute_dtype(x, scale, bias)
        result = result_dtype(x, scale, bias, dtype=dtype)
        x_hat, batch = standardize(
            x, None, None, axes, epsilon, mask=mask, dtype=work, devices=devices
        )
        added = as_epsilon(epsilon, work)
    real = numerics.real(work)
    inverse = lax.rsqrt(var.astype(real) + added)
    largest_r, largest_d = jnp.asarray(r_max, real), jnp.asarray(d_max, real)
    ratio = jnp.sqrt(batch.var.astype(real) + added) * inverse
    difference = (batch.mean.astype(real) - mean.astype(real)) * inverse
    r = lax.stop_gradient(jnp.clip(ratio, 1 / largest_r, largest_r)).astype(work)
    d = lax.stop_gradient(jnp.clip(difference, -largest_d, largest_d)).astype(work)
    y = x_hat * r + d
    y = y if scale is None else y * scale.astype(work)
    y = y if bias is None else y + bias.astype(work)
    return y.astype(result), squeeze(batch, axes)


def check_bounds(r_max: ArrayLike, d_max: ArrayLike) -> None:
    """The bounds of batch renormalization, where they are known."""
    check_number(r_max, "r_max", check.positive)
    check_number(d_max, "d_max", check.non_negative)
    if not isinstance(r_max, jax.core.Tracer) and not np.all(np.asarray(r_max) >= 1):
        fix = "r_max=1 with d_max=0 is batch normalization"
        check.refuse(f"r_max={describe(r_max)} is out of range", expected="r_max >= 1", fix=fix)


def ghost_batch_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    ghost_batch_size: int,
    axis: Axes = -1,
    epsilon: ArrayLike = 1e-5,
    dtype: DTypeLike | None = None,
    mask: jax.Array | None = None,
) -> tuple[jax.Array, Moments]:
    """Apply ghost batch normalization: normalize every sub-batch by its own moments.

    **Value** as ``batch_norm`` for each ``ghost_batch_size`` consecutive examples of the first
    axis.

    Args:
      x: the input, of shape [batch, ..., channels] or with the channels on another axis but the
        first.
      scale: γ, of shape [channels], or None (1).
      bias: β, of shape [channels], or None (0).
      ghost_batch_size: examples per sub-batch, >= 1; divides the batch.
      axis: the axis (or axes) of the channels, not the first.
      epsilon: ε >= 0, added to the variance; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x``, ``scale`` and
        ``bias``.
      mask: booleans that broadcast to ``x``; a value counts for the moments where it is True.

    Returns:
      y, of the shape of ``x``, and the `Moments` of the whole batch (the merged ones of the
      sub-batches), of shape [channels], for `running`.

    Raises:
      ValueError: a size that does not divide the batch, one value per channel, shapes that do not
        match.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jnp.array([[1.0], [3.0], [10.0], [30.0]])
      >>> y, whole = F.ghost_batch_norm(x, ghost_batch_size=2, epsilon=0.0)
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0] and whole.mean.tolist() == [11.0]

    Reference: Hoffer, Hubara and Soudry 2017, https://arxiv.org/abs/1705.08741.
    """
    with check.inside("ghost_batch_norm"):
        x, scale, bias, features, mask = prepare(x, scale, bias, axis, mask, "axis")
        channel_axes(x.ndim, axis)
        check.integer(1, ghost_batch_size=ghost_batch_size)
        size = int(ghost_batch_size)
        if x.shape[0] % size:
            problem = f"ghost_batch_size={size} does not divide the batch of {x.shape[0]}"
            fix = "Pad the batch under a mask, or change the size"
            check.refuse(problem, expected=f"a divisor of {x.shape[0]}", fix=fix)

        def split(a: jax.Array | None) -> Any:  # [sub-batches, size, ...]
            if a is None:
                return None
            sizes = (x.shape[0] // size, size) if a.shape[0] == x.shape[0] else (1, 1)
            return jnp.reshape(a, sizes + a.shape[1:])

        lead = lambda parameter: None if parameter is None else parameter[None]
        inner = tuple(a for a in range(1, x.ndim + 1) if a - 1 not in features)
        require_values((1, size, *x.shape[1:]), inner, Devices())
        y, parts = standardize(
            split(x), lead(scale), lead(bias), inner, epsilon, mask=split(mask), dtype=dtype
        )
    return jnp.reshape(y, x.shape), merge(squeeze(parts, inner))


def fold_batch_norm(
    kernel: jax.Array,
    bias: jax.Array | None,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
    *,
    epsilon: ArrayLike = 1e-5,
) -> tuple[jax.Array, jax.Array]:
    """Fold an inference batch normalization into the kernel and bias of the layer before it.

    **Value** a = γ / √(σ² + ε); W' = W a, b' = (b − μ) a + β.

    Args:
      kernel: W of a dense or convolution layer, of shape [..., outputs].
      bias: b, of shape [outputs], or None (0).
      mean: the running mean μ, of shape [outputs].
      var: the running variance σ², of shape [outputs].
      scale: γ, of shape [outputs], or None (1).
      shift: β, the bias of the normalization, of shape [outputs], or None (0).
      epsilon: ε >= 0 of the normalization.

    Returns:
      W' in the dtype of ``kernel``, and b' in the dtype of ``bias`` (of ``kernel`` without one).

    Raises:
      ValueError: shapes that do not match the outputs of the kernel.
      TypeError: an argument that is not an array.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> statistics = jnp.array([1.0]), jnp.array([4.0])
      >>> kernel, bias = F.fold_batch_norm(jnp.eye(1), None, *statistics, epsilon=0.0)
      >>> assert 5 * kernel[0, 0] + bias[0] == 2  # (5 − 1) / 2

    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2.
    """
    with check.inside("fold_batch_norm"):
        kernel = as_array(kernel, "kernel")
        mean, var = as_array(mean, "mean"), as_array(var, "var")
        arrays = {"bias": bias, "mean": mean, "var": var, "scale": scale, "shift": shift}
        for name, array in arrays.items():
            if array is None:
                continue
            shape = as_array(array, name).shape
            if not kernel.ndim or shape != kernel.shape[-1:]:
                expected = f"one value per output of the kernel {list(kernel.shape)}"
                check.refuse(f"{name} has the shape {list(shape)}", expected=expected)
        work = compute_dtype(kernel, bias, mean, var, scale, shift)
        added = as_epsilon(epsilon, work)

    def wide(x: jax.Array | None, default: int) -> jax.Array:
        return jnp.full(kernel.shape[-1:], default, work) if x is None else jnp.asarray(x, work)

    factor = wide(scale, 1) * lax.rsqrt(wide(var, 1) + added)
    folded = (wide(bias, 0) - wide(mean, 0)) * factor + wide(shift, 0)
    aligned = factor.reshape((1,) * (kernel.ndim - 1) + factor.shape)
    bias_dtype = kernel.dtype if bias is None else jax.dtypes.result_type(bias)
    return (numerics.cast(kernel, work) * aligned).astype(kernel.dtype), folded.astype(bias_dtype)
