"""Normalizations that are batch or RMS normalization with one thing changed.

| | changed |
|---|---|
| ``batch_renorm`` | x̂ is brought to where the running statistics would put it: x̂ r + d |
| ``ghost_batch_norm`` | moments of sub-batches |
| ``filter_response_norm`` | mean square over positions, then max(y, τ) |
| ``global_response_norm`` | channels compete: x · ‖x_c‖ / mean ‖x_c‖, added to x |
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.moments import Moments, axes_of, compute_dtype, merge, numbers, shown, squeezed
from gradkit.nn.functional.norm import _enter, as_epsilon, enough_values, per_feature, result_dtype, standardize


def batch_renorm(
    x: Any,
    mean: Any,
    var: Any,
    scale: Any = None,
    bias: Any = None,
    *,
    r_max: Any = 3.0,
    d_max: Any = 5.0,
    axis: Any = -1,
    epsilon: Any = 1e-5,
    dtype: Any = None,
    mask: Any = None,
    **collective: Any,
) -> tuple[Any, Moments]:
    """Batch normalization that agrees with its inference, within bounds; returns the batch's moments for `running`.

    **Rule** y = γ (x̂ r + d) + β, x̂ = (x − μ) / σ, r = clip(σ / σ_R, 1 / r_max, r_max), d = clip((μ − μ_R) / σ_R, −d_max, d_max), with
    σ = √(variance + ε) and R the running statistics. r and d are constants to the gradient. Within the bounds y = γ (x − μ_R) / σ_R + β.

    Args:
      x: the input.
      mean: μ_R, the running mean, one per channel.
      var: the running variance, one per channel.
      scale: γ, one per channel, or None.
      bias: β, one per channel, or None.
      r_max: bound of r, >= 1; 1 (with d_max 0) is batch normalization. May be traced: the paper raises it during training.
      d_max: bound of d, >= 0.
      axis: the channel's axis.
      epsilon: ε >= 0 under the roots.
      dtype: dtype of the result; by default what ``x``, ``scale`` and ``bias`` promote to.
      mask: True where a value counts for the moments; broadcasts to ``x``.
      **collective: ``axis_name`` and ``axis_index_groups``.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jnp.array([[1.0], [3.0]])
      >>> y, _ = F.batch_renorm(x, jnp.array([1.0]), jnp.array([4.0]), epsilon=0.0)
      >>> assert jnp.allclose(y, (x - 1) / 2)  # what inference gives

    Reference: Ioffe 2017, https://arxiv.org/abs/1702.03275.
    """
    with check.inside("batch_renorm"):
        bounds(r_max, d_max)
        x, scale, bias, features, mask = _enter(x, scale, bias, axis, mask, "axis")
        axes = tuple(a for a in range(x.ndim) if a not in features)
        enough_values(x.shape, axes, collective)
        mean, var = per_feature(mean, x, features, "mean"), per_feature(var, x, features, "var")
        work = compute_dtype(x, scale, bias)
        x_hat, batch = standardize(x, None, None, axes, epsilon, mask=mask, dtype=work, collective=collective)
        epsilon = as_epsilon(epsilon, work)
    real = numerics.real(work)
    inverse = lax.rsqrt(var.astype(real) + epsilon)
    r_max, d_max = jnp.asarray(r_max, real), jnp.asarray(d_max, real)
    r = jnp.clip(jnp.sqrt(batch.var.astype(real) + epsilon) * inverse, 1 / r_max, r_max)
    d = jnp.clip((batch.mean.astype(real) - mean.astype(real)) * inverse, -d_max, d_max)
    y = x_hat * lax.stop_gradient(r).astype(work) + lax.stop_gradient(d).astype(work)
    y = y if scale is None else y * scale.astype(work)
    y = y if bias is None else y + bias.astype(work)
    return y.astype(result_dtype(x, scale, bias, dtype=dtype)), squeezed(batch, axes)


def bounds(r_max: Any, d_max: Any) -> None:
    """The bounds of batch renormalization, where they are known."""
    check.positive(r_max=r_max)
    check.non_negative(d_max=d_max)
    if not isinstance(r_max, jax.core.Tracer) and not np.all(np.asarray(r_max) >= 1):
        check.fail("needs a number >= 1", repr(r_max), "1, with d_max=0, is batch normalization", path="r_max")


def ghost_batch_norm(
    x: Any, scale: Any = None, bias: Any = None, *, ghost_batch_size: int, axis: int = -1, epsilon: Any = 1e-5, dtype: Any = None, mask: Any = None
) -> tuple[Any, Moments]:
    """Batch normalization of every sub-batch by its own moments; returns the moments of the whole batch for `running`.

    **Rule** as ``batch_norm`` for each run of ``ghost_batch_size`` examples along the first axis; the moments returned are their Chan merge.

    Args:
      x: the input, batch first.
      scale: γ, one per channel, or None.
      bias: β, one per channel, or None.
      ghost_batch_size: examples per sub-batch; divides the batch.
      axis: the channel's axis, not the first.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``x``, ``scale`` and ``bias`` promote to.
      mask: True where a value counts for the moments; broadcasts to ``x``.

    Raises:
      ValueError: a size that does not divide the batch.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y, whole = F.ghost_batch_norm(jnp.array([[1.0], [3.0], [10.0], [30.0]]), ghost_batch_size=2, epsilon=0.0)
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0] and whole.mean.tolist() == [11.0]

    Reference: Hoffer, Hubara and Soudry 2017, https://arxiv.org/abs/1705.08741.
    """
    with check.inside("ghost_batch_norm"):
        x, scale, bias, features, mask = _enter(x, scale, bias, axis, mask, "axis")
        check.integer(1, ghost_batch_size=ghost_batch_size)
        size = int(ghost_batch_size)
        if 0 in features:
            check.fail("needs a channel axis other than the first, which is the batch", f"{axis}", "Move the batch to the front", path="axis")
        if x.shape[0] % size:
            check.fail(f"needs a divisor of the batch of {x.shape[0]}", f"{size}", "Pad the batch under a mask, or change the size", path="ghost_batch_size")

        def split(a: Any) -> Any:  # [parts, size, ...]
            return None if a is None else jnp.reshape(a, ((x.shape[0] // size, size) if a.shape[0] == x.shape[0] else (1, 1)) + a.shape[1:])

        inner = tuple(a for a in range(1, x.ndim + 1) if a - 1 not in features)
        enough_values((1, size, *x.shape[1:]), inner)
        y, parts = standardize(split(x), _lead(scale), _lead(bias), inner, epsilon, mask=split(mask), dtype=dtype)
    return jnp.reshape(y, x.shape), merge(squeezed(parts, inner))


def _lead(parameter: Any) -> Any:
    return None if parameter is None else parameter[None]


def filter_response_norm(
    x: Any, scale: Any = None, bias: Any = None, threshold: Any = None, *, axis: int = -1, epsilon: Any = 1e-6, dtype: Any = None, mask: Any = None
) -> Any:
    """Divide every channel of every example by its root mean square over positions, then cut off below a learned threshold.

    **Rule** y = γ x / √(mean x² + ε) + β, then max(y, τ).

    Args:
      x: the input, batch first.
      scale: γ, one per channel, or None.
      bias: β, one per channel, or None.
      threshold: τ, one per channel, or None for none.
      axis: the channel's axis, not the first.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``x``, ``scale`` and ``bias`` promote to.
      mask: True where a value counts for the mean square; broadcasts to ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.filter_response_norm(jnp.array([[[1.0], [-7.0]]]), threshold=jnp.zeros(1), epsilon=0.0)
      >>> assert jnp.allclose(y.ravel(), jnp.array([0.2, 0.0]))

    Reference: Singh and Krishnan 2019, https://arxiv.org/abs/1911.09737.
    """
    with check.inside("filter_response_norm"):
        x, scale, bias, features, mask = _enter(x, scale, bias, axis, mask, "axis")
        axes = _positions(x, features, axis)
        threshold = per_feature(threshold, x, features, "threshold")
        y, _ = standardize(x, scale, bias, axes, epsilon, mask=mask, dtype=dtype, use_mean=False)
    return y if threshold is None else jnp.maximum(y, threshold.astype(y.dtype))


def global_response_norm(x: Any, scale: Any = None, bias: Any = None, *, axis: int = -1, epsilon: Any = 1e-6, dtype: Any = None, mask: Any = None) -> Any:
    """Let the channels of every example compete by their norms over positions, and add that to the input.

    **Rule** y = x + γ x N + β, N_c = G_c / (mean_c G + ε), G_c = ‖x_c‖₂ over positions.

    Args:
      x: the input, batch first.
      scale: γ, one per channel, or None (1). ConvNeXt V2 starts it at 0.
      bias: β, one per channel, or None.
      axis: the channel's axis, not the first.
      epsilon: ε >= 0 beside the mean norm.
      dtype: dtype of the result; by default what ``x``, ``scale`` and ``bias`` promote to.
      mask: True where a value counts for the norm; broadcasts to ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.global_response_norm(jnp.array([[[1.0, 3.0]]]), epsilon=0.0)
      >>> assert jnp.allclose(y, jnp.array([[[1.5, 7.5]]]))  # norms 1 and 3, mean 2

    Reference: Woo et al. 2023, https://arxiv.org/abs/2301.00808.
    """
    with check.inside("global_response_norm"):
        x, scale, bias, features, mask = _enter(x, scale, bias, axis, mask, "axis")
        axes = _positions(x, features, axis)
        work = compute_dtype(x, scale, bias)
        epsilon = as_epsilon(epsilon, work)
    wide = numerics.cast(numbers(x, mask), work)
    norm = numerics.sqrt(jnp.sum(numerics.abs_sq(shown(wide, mask)), axis=axes, keepdims=True))
    share = numerics.divide(norm, jnp.mean(norm, axis=features, keepdims=True) + epsilon).astype(work)
    y = wide * share if scale is None else wide * (share * scale.astype(work))
    y = wide + y if bias is None else wide + y + bias.astype(work)
    return y.astype(result_dtype(x, scale, bias, dtype=dtype))


def _positions(x: Any, features: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    if 0 in features:
        check.fail("needs a channel axis other than the first, which is the batch", f"{axis}", "Move the batch to the front", path="axis")
    return axes_of(x.ndim, tuple(a for a in range(1, x.ndim) if a not in features))
