"""Normalization of each example: every function is a choice of axes of one engine.

    y = γ (x − μ) / √(σ² + ε) + β

| | moments over | γ, β per |
|---|---|---|
| ``layer_norm`` | the last axis, or the given ones | feature |
| ``rms_norm`` | the same, about zero: y = γ x / √(mean |x|² + ε) | feature |
| ``group_norm`` | all axes but the batch, within a group of channels | channel |
| ``instance_norm`` | all axes but the batch and the channels | channel |
| ``filter_response_norm`` | positions, about zero; then max(y, τ) | channel |
| ``global_response_norm`` | positions: x · ‖x_c‖ / mean ‖x_c‖, added to x | channel |

``batch_norm`` and its relatives are in ``gradkit.nn.functional.batch_norm``, the engine in
``gradkit.nn.functional.standardize``.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.arguments import (
    Axes,
    as_axes,
    as_epsilon,
    as_parameter,
    channel_axes,
    compute_dtype,
    describe,
    group_sizes,
    result_dtype,
)
from gradkit.nn.functional.moments import hide, hide_not_finite
from gradkit.nn.functional.standardize import devices_of, prepare, standardize


def layer_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    reduction_axes: Axes = -1,
    feature_axes: Axes = -1,
    epsilon: ArrayLike = 1e-6,
    dtype: DTypeLike | None = None,
    mask: jax.Array | None = None,
    axis_name: Any = None,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
) -> jax.Array:
    """Apply layer normalization: normalize every example over its features.

    **Value** y = γ (x − μ) / √(σ² + ε) + β, μ and σ² over ``reduction_axes``.

    Args:
      x: the input, of any shape with at least one axis.
      scale: γ, of the shape of ``feature_axes``, or None (1).
      bias: β, of the same shape, or None (0).
      reduction_axes: the axes of the moments.
      feature_axes: the axes of γ and β.
      epsilon: ε >= 0, added to the variance; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x``, ``scale`` and
        ``bias``. The arithmetic is in float32 or wider.
      mask: booleans that broadcast to ``x``; a value counts for the moments where it is True.
      axis_name: a mapped axis (shard_map, vmap, pmap) over whose devices the reduced axes are
        split.
      axis_index_groups: groups of devices within that axis; each has its own moments.

    Returns:
      y, of the shape of ``x``.

    Raises:
      ValueError: an axis that does not exist or is repeated, shapes that do not match.
      TypeError: an argument of the wrong kind, such as a mask that is not boolean.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = 100 + 0.01 * jax.random.normal(jax.random.key(0), (8, 512))
      >>> assert abs(float(jnp.std(F.layer_norm(x))) - 1) < 1e-2  # E[x²] − E[x]² would give about 8

    Reference: Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450.
    """
    with check.inside("layer_norm"):
        x, scale, bias, _, mask = prepare(x, scale, bias, feature_axes, mask)
        axes = _reduction_axes(x, reduction_axes)
        devices = devices_of(axis_name, axis_index_groups)
        options: dict[str, Any] = {"mask": mask, "dtype": dtype, "devices": devices}
        return standardize(x, scale, bias, axes, epsilon, **options)[0]


def rms_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    *,
    reduction_axes: Axes = -1,
    feature_axes: Axes = -1,
    epsilon: ArrayLike = 1e-6,
    dtype: DTypeLike | None = None,
    mask: jax.Array | None = None,
    axis_name: Any = None,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
) -> jax.Array:
    """Apply RMS normalization: divide every example by the root mean square of its features.

    **Value** y = γ x / √(mean |x|² + ε).

    Args:
      x: the input, of any shape with at least one axis.
      scale: γ, of the shape of ``feature_axes``, or None (1).
      reduction_axes: the axes of the mean square.
      feature_axes: the axes of γ.
      epsilon: ε >= 0, added to the mean square; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x`` and ``scale``. The
        arithmetic is in float32 or wider.
      mask: booleans that broadcast to ``x``; a value counts for the mean square where it is True.
      axis_name: a mapped axis (shard_map, vmap, pmap) over whose devices the reduced axes are
        split.
      axis_index_groups: groups of devices within that axis; each has its own mean square.

    Returns:
      y, of the shape of ``x``.

    Raises:
      ValueError: an axis that does not exist or is repeated, shapes that do not match.
      TypeError: an argument of the wrong kind, such as a mask that is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> assert jnp.allclose(F.rms_norm(jnp.array([1.0, 7.0]), epsilon=0.0), jnp.array([0.2, 1.4]))

    Reference: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
    """
    with check.inside("rms_norm"):
        x, scale, _, _, mask = prepare(x, scale, None, feature_axes, mask)
        axes = _reduction_axes(x, reduction_axes)
        devices = devices_of(axis_name, axis_index_groups)
        return standardize(
            x, scale, None, axes, epsilon, mask=mask, dtype=dtype, use_mean=False, devices=devices
        )[0]


def _reduction_axes(x: jax.Array, reduction_axes: Axes) -> tuple[int, ...]:
    axes = as_axes(x.ndim, reduction_axes, "reduction_axes")
    if not axes:
        check.refuse("reduction_axes=() is empty", expected="at least one axis of the input")
    return axes


def group_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    num_groups: int | None = 32,
    group_size: int | None = None,
    reduction_axes: Axes | None = None,
    epsilon: ArrayLike = 1e-6,
    dtype: DTypeLike | None = None,
    mask: jax.Array | None = None,
    axis_name: Any = None,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
) -> jax.Array:
    """Apply group normalization: normalize every example over groups of its channels.

    **Value** y = γ (x − μ) / √(σ² + ε) + β, μ and σ² over all axes but the first and over the
    channels of a group.

    Args:
      x: the input, of shape [batch, ..., channels].
      scale: γ, of shape [channels], or None (1).
      bias: β, of shape [channels], or None (0).
      num_groups: number of groups of consecutive channels, >= 1; divides the channels.
      group_size: channels per group, instead of ``num_groups`` (which is then None).
      reduction_axes: the axes of the moments, including the last one; by default all but the first.
      epsilon: ε >= 0, added to the variance; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x``, ``scale`` and
        ``bias``. The arithmetic is in float32 or wider.
      mask: booleans that broadcast to ``x``; a value counts for the moments where it is True.
      axis_name: a mapped axis (shard_map, vmap, pmap) over whose devices the reduced axes are
        split.
      axis_index_groups: groups of devices within that axis; each has its own moments.

    Returns:
      y, of the shape of ``x``.

    Raises:
      ValueError: groups that do not divide the channels, reduction axes without the last one.
      TypeError: an argument of the wrong kind, such as a mask that is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.group_norm(jnp.array([[0.0, 2.0, 10.0, 30.0]]), num_groups=2, epsilon=0.0)
      >>> assert jnp.allclose(y, jnp.array([[-1.0, 1.0, -1.0, 1.0]]))

    Reference: Wu and He 2018, https://arxiv.org/abs/1803.08494.
    """
    with check.inside("group_norm"):
        x, scale, bias, _, mask = prepare(x, scale, bias, -1, mask, "axis")
        if reduction_axes is None and x.ndim == 1:
            problem = f"x has the shape {list(x.shape)}"
            check.refuse(
                problem, expected="[batch, ..., channels]", fix="Add a batch axis: x[None]"
            )
        _, group = group_sizes(x.shape[-1], num_groups, group_size)
        chosen = range(1, x.ndim) if reduction_axes is None else reduction_axes
        axes = as_axes(x.ndim, chosen, "reduction_axes")
        if x.ndim - 1 not in axes:
            problem = f"reduction_axes={describe(reduction_axes)} lacks the last axis, the channels"
            check.refuse(problem, expected="-1 among them", fix="Add -1")
        # Sums of single channels first, then of groups: the input is never reshaped into groups,
        # which would split the memory it is read from.
        devices = devices_of(axis_name, axis_index_groups)
        options: dict[str, Any] = {"mask": mask, "dtype": dtype, "group": group, "devices": devices}
        return standardize(x, scale, bias, axes[:-1], epsilon, **options)[0]


def instance_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    feature_axes: Axes = -1,
    epsilon: ArrayLike = 1e-6,
    dtype: DTypeLike | None = None,
    mask: jax.Array | None = None,
    axis_name: Any = None,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
) -> jax.Array:
    """Apply instance normalization: normalize every channel of every example over its positions.

    **Value** y = γ (x − μ) / √(σ² + ε) + β, μ and σ² over all axes but the first and those of the
    channels.

    Args:
      x: the input, of shape [batch, ..., channels] or with the channels on another axis but the
        first.
      scale: γ, of shape [channels], or None (1).
      bias: β, of shape [channels], or None (0).
      feature_axes: the axis (or axes) of the channels, not the first.
      epsilon: ε >= 0, added to the variance; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x``, ``scale`` and
        ``bias``. The arithmetic is in float32 or wider.
      mask: booleans that broadcast to ``x``; a value counts for the moments where it is True.
      axis_name: a mapped axis (shard_map, vmap, pmap) over whose devices the reduced axes are
        split.
      axis_index_groups: groups of devices within that axis; each has its own moments.

    Returns:
      y, of the shape of ``x``.

    Raises:
      ValueError: the batch among the feature axes, shapes that do not match.
      TypeError: an argument of the wrong kind, such as a mask that is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jnp.array([[[1.0], [3.0]], [[10.0], [30.0]]])
      >>> y = F.instance_norm(x, epsilon=0.0)
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Ulyanov, Vedaldi and Lempitsky 2016, https://arxiv.org/abs/1607.08022.
    """
    with check.inside("instance_norm"):
        x, scale, bias, _, mask = prepare(x, scale, bias, feature_axes, mask)
        axes = _positions(x, feature_axes, "feature_axes")
        devices = devices_of(axis_name, axis_index_groups)
        options: dict[str, Any] = {"mask": mask, "dtype": dtype, "devices": devices}
        return standardize(x, scale, bias, axes, epsilon, **options)[0]


def _positions(x: jax.Array, channels: Axes, name: str = "axis") -> tuple[int, ...]:
    """All axes but the batch and the channels."""
    features = channel_axes(x.ndim, channels, name)
    return tuple(axis for axis in range(1, x.ndim) if axis not in features)


def filter_response_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    threshold: jax.Array | None = None,
    *,
    axis: Axes = -1,
    epsilon: ArrayLike = 1e-6,
    dtype: DTypeLike | None = None,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Apply filter response normalization: divide by the RMS over positions, then threshold.

    **Value** y = γ x / √(mean x² + ε) + β, then max(y, τ), per channel and example.

    Args:
      x: the input, of shape [batch, ..., channels] or with the channels on another axis but the
        first.
      scale: γ, of shape [channels], or None (1).
      bias: β, of shape [channels], or None (0).
      threshold: τ, of shape [channels], or None (no threshold).
      axis: the axis (or axes) of the channels, not the first.
      epsilon: ε >= 0, added to the mean square; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x``, ``scale`` and
        ``bias``.
      mask: booleans that broadcast to ``x``; a value counts for the mean square where it is True.

    Returns:
      y, of the shape of ``x``.

    Raises:
      ValueError: the batch as the axis, shapes that do not match.
      TypeError: an argument of the wrong kind, such as a mask that is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jnp.array([[[1.0], [-7.0]]])
      >>> y = F.filter_response_norm(x, threshold=jnp.zeros(1), epsilon=0.0)
      >>> assert jnp.allclose(y.ravel(), jnp.array([0.2, 0.0]))

    Reference: Singh and Krishnan 2019, https://arxiv.org/abs/1911.09737.
    """
    with check.inside("filter_response_norm"):
        x, scale, bias, features, mask = prepare(x, scale, bias, axis, mask, "axis")
        axes = _positions(x, axis)
        lowest = as_parameter(threshold, x, features, "threshold")
        y, _ = standardize(x, scale, bias, axes, epsilon, mask=mask, dtype=dtype, use_mean=False)
    return y if lowest is None else jnp.maximum(y, lowest.astype(y.dtype))


def global_response_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    axis: Axes = -1,
    epsilon: ArrayLike = 1e-6,
    dtype: DTypeLike | None = None,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Apply global response normalization: channels of an example compete by their norms.

    **Value** y = x + γ x N + β, N_c = G_c / (mean_c G + ε), G_c = ‖x_c‖₂ over positions.

    Args:
      x: the input, of shape [batch, ..., channels] or with the channels on another axis but the
        first.
      scale: γ, of shape [channels], or None (1). ConvNeXt V2 initializes it to 0.
      bias: β, of shape [channels], or None (0).
      axis: the axis (or axes) of the channels, not the first.
      epsilon: ε >= 0, added to the mean norm; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``x``, ``scale`` and
        ``bias``.
      mask: booleans that broadcast to ``x``; a value counts for the norm where it is True.

    Returns:
      y, of the shape of ``x``.

    Raises:
      ValueError: the batch as the axis, shapes that do not match.
      TypeError: an argument of the wrong kind, such as a mask that is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.global_response_norm(jnp.array([[[1.0, 3.0]]]), epsilon=0.0)
      >>> assert jnp.allclose(y, jnp.array([[[1.5, 7.5]]]))  # norms 1 and 3, mean 2

    Reference: Woo et al. 2023, https://arxiv.org/abs/2301.00808.
    """
    with check.inside("global_response_norm"):
        x, scale, bias, features, mask = prepare(x, scale, bias, axis, mask, "axis")
        axes = _positions(x, axis)
        work = compute_dtype(x, scale, bias)
        added = as_epsilon(epsilon, work)
        result = result_dtype(x, scale, bias, dtype=dtype)
    wide = numerics.cast(hide_not_finite(x, mask), work)
    squares = numerics.abs_sq(hide(wide, mask))
    norm = numerics.sqrt(jnp.sum(squares, axis=axes, keepdims=True))
    mean_norm = jnp.mean(norm, axis=features, keepdims=True)
    share = numerics.divide(norm, mean_norm + added).astype(work)
    y = wide * share if scale is None else wide * (share * scale.astype(work))
    y = wide + y if bias is None else wide + y + bias.astype(work)
    return y.astype(result)
