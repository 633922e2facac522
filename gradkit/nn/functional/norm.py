"""Normalization of activations: one engine, and the layers that are choices of its axes.

    y = γ (x − μ) / √(σ² + ε) + β

| | moments over | γ, β per |
|---|---|---|
| ``batch_norm`` | all axes but the channel's | channel |
| ``layer_norm`` | the last axis, or those named | feature |
| ``rms_norm`` | the same, about zero: y = γ x / √(mean |x|² + ε) | feature |
| ``group_norm`` | all axes but the batch's, within a group of channels | channel |
| ``instance_norm`` | all axes but the batch's and the channel's | channel |

Derivative with x̂ = (x − μ) / √(σ² + ε), means over the same axes: dx̂ = (dx − mean dx − x̂ mean(x̂ dx)) / √(σ² + ε). It is given by hand: x̂ is built again
from x, so the backward pass keeps x in its own dtype and three numbers per mean, nothing else. Forward mode and higher orders work.
"""

import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.moments import Moments, Shifted, as_mask, axes_of, compute_dtype, numbers, shifted, shown, squeezed, summed, total

Axes = Any  # an int or several
_COLLECTIVE = ("axis_name", "axis_index_groups")


class How(NamedTuple):
    """What does not change from call to call, and so is no array."""

    axes: tuple[int, ...]
    dtype: Any  # of the result
    work: Any  # of the arithmetic
    axis_name: Any = None
    groups: Any = None
    use_mean: bool = True
    group: int = 1  # channels that share their moments


def _statistics(how: How, x: Any, mask: Any) -> Shifted:
    return shifted(x, how.axes, mask, how.axis_name, how.groups, dtype=how.work, use_mean=how.use_mean, group=how.group)


def _affine(how: How, x_hat: Any, scale: Any, bias: Any) -> Any:
    y = x_hat if scale is None else x_hat * numerics.cast(scale, how.work)
    return y if bias is None else y + numerics.cast(bias, how.work)


def _x_hat(how: How, x: Any, shift: Any, offset: Any, inverse: Any) -> Any:
    x, inverse = numerics.cast(x, how.work), inverse.astype(how.work)
    return (x - shift) * inverse - offset * inverse if how.use_mean else x * inverse


def _inverse(var: Any, epsilon: Any) -> Any:
    """1 / √(σ² + ε), zero where nothing varies and ε is zero: x̂ is then zero too."""
    square = var + epsilon
    return lax.rsqrt(jnp.where(square == 0, jnp.ones_like(square) / 0, square))  # the root last: XLA computes what follows it anew for every value


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _standardize(how: How, x: Any, scale: Any, bias: Any, mask: Any, epsilon: Any) -> tuple[Any, Any, Any, Any]:
    of = _statistics(how, x, mask)
    return _forward(how, x, scale, bias, mask, of, _inverse(of.var, epsilon))


def _forward(how: How, x: Any, scale: Any, bias: Any, mask: Any, of: Shifted, inverse: Any) -> tuple[Any, Any, Any, Any]:
    x_hat = _x_hat(how, numbers(x, mask), of.shift, of.offset, inverse)
    return _affine(how, x_hat, scale, bias).astype(how.dtype), jnp.asarray(of.count, of.var.dtype), of.shift + of.offset, of.var


@_standardize.defjvp
def _standardize_jvp(how: How, primals: Any, tangents: Any) -> Any:
    x, scale, bias, mask, epsilon = primals
    dx, dscale, dbias, _, depsilon = tangents
    of = _statistics(how, x, mask)
    inverse = _inverse(of.var, epsilon)
    out = _forward(how, x, scale, bias, mask, of, inverse)
    # checkpoint: what the tangent needs of x is built again in the backward pass; its inputs are all that is kept
    tangent = jax.checkpoint(functools.partial(_tangent, how), prevent_cse=False)
    dy, dmean, dvar = tangent(x, scale, mask, of.count, of.shift, of.offset, inverse, dx, dscale, dbias, depsilon)
    return out, (dy, jnp.zeros_like(out[1]), dmean, dvar)


def _tangent(
    how: How, x: Any, scale: Any, mask: Any, count: Any, shift: Any, offset: Any, inverse: Any, dx: Any, dscale: Any, dbias: Any, depsilon: Any
) -> Any:
    """The derivative at the top of this file, in the order whose transpose multiplies x̂ by the cotangent once."""
    x_hat, dx = _x_hat(how, numbers(x, mask), shift, offset, inverse), dx.astype(how.work)
    if mask is not None:  # what the mask hides may overflow; then it has no part in anybody's derivative
        kept = mask | (jnp.isfinite(x) & jnp.isfinite(x_hat))
        x_hat, dx = jnp.where(kept, x_hat, jnp.zeros_like(x_hat)), jnp.where(kept, dx, jnp.zeros_like(dx))
    seen = shown(dx, mask)
    along = jnp.real(jnp.conj(x_hat) * seen) if jnp.iscomplexobj(x_hat) else x_hat * seen
    sums = (total(along, how.axes, how.group), total(seen, how.axes, how.group)) if how.use_mean else (total(along, how.axes, how.group),)
    stretch, *drift = (each / jnp.maximum(count, 1).astype(each.dtype) for each in summed(sums, how.axis_name, how.groups))
    factor = inverse.astype(how.work)
    slope = -_affine(how, factor * (stretch + inverse * depsilon / 2).astype(how.work), scale, None)
    dy = _affine(how, factor, scale, None) * dx + x_hat * (slope if dscale is None else slope + dscale.astype(how.work))
    if drift:
        dy = dy - _affine(how, factor * drift[0], scale, None)
    dy = dy if dbias is None else dy + dbias.astype(how.work)
    return dy.astype(how.dtype), drift[0] if drift else jnp.zeros_like(shift), numerics.divide(2 * stretch, inverse)


def result_dtype(*arrays: Any, dtype: Any = None) -> Any:
    """Flax's rule: ``dtype`` if given, else what the arrays promote to, floating in any case."""
    if dtype is None:
        dtype = numerics.wider(*(jax.dtypes.result_type(x) for x in arrays if x is not None))
        return dtype if jnp.issubdtype(dtype, jnp.inexact) else jnp.dtype(jnp.float32)
    if not jnp.issubdtype(dtype, jnp.inexact):
        check.fail("needs a floating or complex dtype", str(dtype), path="dtype", error=TypeError)
    return jnp.dtype(dtype)


def as_epsilon(epsilon: Any, work: Any) -> Any:
    """ε as data, in the dtype of a variance: one number, traced or not."""
    check.non_negative(epsilon=epsilon)
    if jnp.ndim(epsilon):
        check.fail("needs one number", check.shape_dtype(epsilon), path="epsilon")
    return epsilon.astype(numerics.real(work)) if isinstance(epsilon, jax.Array) else np.asarray(epsilon, numerics.real(work))


def standardize(
    x: Any,
    scale: Any,
    bias: Any,
    axes: tuple[int, ...],
    epsilon: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
    use_mean: bool = True,
    group: int = 1,
    collective: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Any, Moments]:
    """The engine: ``x`` to mean 0 and variance 1 over ``axes``, then γ and β. Arrays have the rank of ``x`` here."""
    for name in collective:
        if name not in _COLLECTIVE:
            check.fail("needs arguments that it has", f"{name}={collective[name]!r}", check.nearest(name, _COLLECTIVE), path=name, error=TypeError)
    work, groups = compute_dtype(x, scale, bias), collective.get("axis_index_groups")
    groups = None if groups is None else tuple(map(tuple, groups))
    of = How(axes, result_dtype(x, scale, bias, dtype=dtype), work, collective.get("axis_name"), groups, use_mean, group)
    y, *of_batch = _standardize(of, x, scale, bias, mask, as_epsilon(epsilon, work))
    return y, Moments(*of_batch)


def per_feature(parameter: Any, x: Any, axes: tuple[int, ...], name: str) -> Any:
    """A parameter of the sizes of ``axes`` of ``x``, brought to the rank of ``x``."""
    if parameter is None:
        return None
    wanted = tuple(x.shape[axis] for axis in axes)
    if jnp.shape(parameter) != wanted:
        mend = "Its axes are the feature axes of the input, in order"
        check.fail(f"needs a parameter of shape {list(wanted)} for an input of shape {list(x.shape)}", check.shape_dtype(parameter), mend, path=name)
    return jnp.reshape(parameter, tuple(x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)))


def _enter(x: Any, scale: Any, bias: Any, features: Axes, mask: Any, name: str = "feature_axes") -> tuple[Any, ...]:
    x = jnp.asarray(x)
    features = axes_of(x.ndim, features, name)
    return x, per_feature(scale, x, features, "scale"), per_feature(bias, x, features, "bias"), features, as_mask(mask, x)


def batch_norm(
    x: Any, scale: Any = None, bias: Any = None, *, axis: Axes = -1, epsilon: Any = 1e-5, dtype: Any = None, mask: Any = None, **collective: Any
) -> tuple[Any, Moments]:
    """Normalize every channel over the batch, and return the moments for `running`.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β, μ and σ² over all axes but ``axis``.

    Args:
      x: the input, batch first or anywhere.
      scale: γ, one per channel, or None.
      bias: β, one per channel, or None.
      axis: the channel's axis (or axes).
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``x``, ``scale`` and ``bias`` promote to. The arithmetic is float32 or wider.
      mask: True where a value counts for the moments; broadcasts to ``x``. Every position is normalized all the same.
      **collective: ``axis_name`` and ``axis_index_groups``: take the moments over these devices too.

    Raises:
      ValueError: no such axis, shapes that do not match, or one value per channel (its variance says nothing).

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y, batch = F.batch_norm(jnp.array([[1.0], [3.0]]), epsilon=0.0)
      >>> assert y.ravel().tolist() == [-1.0, 1.0] and batch.mean.tolist() == [2.0]

    Reference: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """
    with check.inside("batch_norm"):
        x, scale, bias, features, mask = _enter(x, scale, bias, axis, mask, "axis")
        axes = tuple(a for a in range(x.ndim) if a not in features)
        enough_values(x.shape, axes, collective)
        y, batch = standardize(x, scale, bias, axes, epsilon, mask=mask, dtype=dtype, collective=collective)
    return y, squeezed(batch, axes)


def enough_values(shape: tuple[int, ...], axes: tuple[int, ...], collective: Mapping[str, Any] = MappingProxyType({})) -> None:
    """More than one value per channel, where the shapes can tell."""
    axis_name, groups = collective.get("axis_name"), collective.get("axis_index_groups")
    devices = 1 if axis_name is None else lax.axis_size(axis_name) if groups is None else min(map(len, groups))
    if devices * math.prod(shape[axis] for axis in axes) == 1:
        alone = "" if groups is None else " on a device that is a group of its own"
        mend = "Give a larger batch, or call with use_running_average=True"
        check.fail("needs more than one value per channel in training", f"an input of shape {list(shape)}{alone}", mend)


def apply_statistics(x: Any, mean: Any, var: Any, scale: Any = None, bias: Any = None, *, axis: Axes = -1, epsilon: Any = 1e-5, dtype: Any = None) -> Any:
    """Normalize with statistics that are given: batch normalization at inference.

    **Rule** y = (x − μ) · γ / √(σ² + ε) + β.

    Args:
      x: the input.
      mean: μ, one per channel.
      var: σ², one per channel.
      scale: γ, one per channel, or None.
      bias: β, one per channel, or None.
      axis: the channel's axis.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``x``, ``scale`` and ``bias`` promote to.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.apply_statistics(jnp.array([[5.0]]), jnp.array([1.0]), jnp.array([4.0]), epsilon=0.0)
      >>> assert y[0, 0] == 2
    """
    with check.inside("apply_statistics"):
        x, scale, bias, features, _ = _enter(x, scale, bias, axis, None, "axis")
        mean, var = per_feature(mean, x, features, "mean"), per_feature(var, x, features, "var")
        work = compute_dtype(x, scale, bias, mean, var)
        epsilon = as_epsilon(epsilon, work)
    factor = lax.rsqrt(numerics.cast(var, numerics.real(work)) + epsilon).astype(work)
    factor = factor if scale is None else factor * numerics.cast(scale, work)
    y = (numerics.cast(x, work) - numerics.cast(mean, work)) * factor
    y = y if bias is None else y + numerics.cast(bias, work)
    return y.astype(result_dtype(x, scale, bias, dtype=dtype))


def layer_norm(
    x: Any,
    scale: Any = None,
    bias: Any = None,
    *,
    reduction_axes: Axes = -1,
    feature_axes: Axes = -1,
    epsilon: Any = 1e-6,
    dtype: Any = None,
    mask: Any = None,
    **collective: Any,
) -> Any:
    """Normalize every example over its features.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β, μ and σ² over ``reduction_axes``.

    Args:
      x: the input.
      scale: γ, of the shape of ``feature_axes``, or None.
      bias: β, of the same shape, or None.
      reduction_axes: the axes of the moments.
      feature_axes: the axes of γ and β.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``x``, ``scale`` and ``bias`` promote to. The arithmetic is float32 or wider.
      mask: True where a value counts for the moments; broadcasts to ``x``.
      **collective: ``axis_name`` and ``axis_index_groups``, where the reduced axes are spread over devices.

    Raises:
      ValueError: no such axis, shapes that do not match.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = 100 + 0.01 * jax.random.normal(jax.random.key(0), (8, 512))
      >>> assert abs(float(jnp.std(F.layer_norm(x))) - 1) < 1e-2  # E[x²] − E[x]² would give about 8

    Reference: Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450.
    """
    with check.inside("layer_norm"):
        x, scale, bias, _, mask = _enter(x, scale, bias, feature_axes, mask)
        axes = axes_of(x.ndim, reduction_axes, "reduction_axes")
        return standardize(x, scale, bias, axes, epsilon, mask=mask, dtype=dtype, collective=collective)[0]


def rms_norm(
    x: Any,
    scale: Any = None,
    *,
    reduction_axes: Axes = -1,
    feature_axes: Axes = -1,
    epsilon: Any = 1e-6,
    dtype: Any = None,
    mask: Any = None,
    **collective: Any,
) -> Any:
    """Divide every example by the root mean square of its features.

    **Rule** y = γ x / √(mean |x|² + ε).

    Args:
      x: the input.
      scale: γ, of the shape of ``feature_axes``, or None.
      reduction_axes: the axes of the mean square.
      feature_axes: the axes of γ.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``x`` and ``scale`` promote to. The arithmetic is float32 or wider.
      mask: True where a value counts for the mean square; broadcasts to ``x``.
      **collective: ``axis_name`` and ``axis_index_groups``, where the reduced axes are spread over devices.

    Raises:
      ValueError: no such axis, shapes that do not match.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> assert jnp.allclose(F.rms_norm(jnp.array([1.0, 7.0]), epsilon=0.0), jnp.array([0.2, 1.4]))

    Reference: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
    """
    with check.inside("rms_norm"):
        x, scale, _, _, mask = _enter(x, scale, None, feature_axes, mask)
        axes = axes_of(x.ndim, reduction_axes, "reduction_axes")
        return standardize(x, scale, None, axes, epsilon, mask=mask, dtype=dtype, use_mean=False, collective=collective)[0]


def group_norm(
    x: Any,
    scale: Any = None,
    bias: Any = None,
    *,
    num_groups: int | None = 32,
    group_size: int | None = None,
    reduction_axes: Axes | None = None,
    epsilon: Any = 1e-6,
    dtype: Any = None,
    mask: Any = None,
    **collective: Any,
) -> Any:
    """Normalize every example over groups of its channels.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β, μ and σ² over the other axes but the first and over the channels of a group.

    Args:
      x: the input, channels last.
      scale: γ, one per channel, or None.
      bias: β, one per channel, or None.
      num_groups: how many groups the channels fall into.
      group_size: channels per group, in place of ``num_groups`` (then None).
      reduction_axes: the axes of the moments, the last one among them; by default all but the first.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``x``, ``scale`` and ``bias`` promote to. The arithmetic is float32 or wider.
      mask: True where a value counts for the moments; broadcasts to ``x``.
      **collective: ``axis_name`` and ``axis_index_groups``, where the reduced axes are spread over devices.

    Raises:
      ValueError: groups that do not divide the channels, reduction axes without the last.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.group_norm(jnp.array([[0.0, 2.0, 10.0, 30.0]]), num_groups=2, epsilon=0.0)
      >>> assert jnp.allclose(y, jnp.array([[-1.0, 1.0, -1.0, 1.0]]))

    Reference: Wu and He 2018, https://arxiv.org/abs/1803.08494.
    """
    with check.inside("group_norm"):
        x, scale, bias, _, mask = _enter(x, scale, bias, -1, mask)
        if reduction_axes is None and x.ndim == 1:
            check.fail("needs an input of two axes or more, batch first and channels last", check.shape_dtype(x), "Add a batch axis, x[None]", path="x")
        _, group = groups_of(x.shape[-1], num_groups, group_size)
        axes = axes_of(x.ndim, range(1, x.ndim) if reduction_axes is None else reduction_axes, "reduction_axes")
        if x.ndim - 1 not in axes:
            check.fail("needs the last axis, the channels, among its axes", f"{reduction_axes}", "Add -1", path="reduction_axes")
        # the sums of single channels first, then those of a group: the input is never cut into groups, which would break up the memory it is read in
        return standardize(x, scale, bias, axes[:-1], epsilon, mask=mask, dtype=dtype, group=group, collective=collective)[0]


def groups_of(channels: int, num_groups: int | None, group_size: int | None) -> tuple[int, int]:
    """How many groups of how many channels."""
    if (num_groups is None) == (group_size is None):
        mend = "With group_size, pass num_groups=None"
        check.fail("needs num_groups or group_size", f"num_groups={num_groups}, group_size={group_size}", mend, path="num_groups")
    name, given = ("group_size", group_size) if num_groups is None else ("num_groups", num_groups)
    check.integer(1, **{name: given})
    given = int(given or 1)
    if channels % given:
        divisors = ", ".join(str(n) for n in range(1, channels + 1) if channels % n == 0)
        check.fail(f"needs a divisor of the {channels} channels", f"{given}", f"Choose one of {divisors}", path=name)
    return (channels // given, given) if num_groups is None else (given, channels // given)


def instance_norm(
    x: Any, scale: Any = None, bias: Any = None, *, feature_axes: Axes = -1, epsilon: Any = 1e-6, dtype: Any = None, mask: Any = None, **collective: Any
) -> Any:
    """Normalize every channel of every example over its positions.

    **Rule** y = γ (x − μ) / √(σ² + ε) + β, μ and σ² over all axes but the first and the channel's.

    Args:
      x: the input, batch first.
      scale: γ, one per channel, or None.
      bias: β, one per channel, or None.
      feature_axes: the channel's axes; not the first.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``x``, ``scale`` and ``bias`` promote to. The arithmetic is float32 or wider.
      mask: True where a value counts for the moments; broadcasts to ``x``.
      **collective: ``axis_name`` and ``axis_index_groups``, where the reduced axes are spread over devices.

    Raises:
      ValueError: the batch axis among the feature axes, shapes that do not match.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.instance_norm(jnp.array([[[1.0], [3.0]], [[10.0], [30.0]]]), epsilon=0.0)
      >>> assert y.ravel().tolist() == [-1.0, 1.0, -1.0, 1.0]

    Reference: Ulyanov, Vedaldi and Lempitsky 2016, https://arxiv.org/abs/1607.08022.
    """
    with check.inside("instance_norm"):
        x, scale, bias, features, mask = _enter(x, scale, bias, feature_axes, mask)
        if 0 in features:
            check.fail("needs feature axes other than the first, which is the batch", f"{feature_axes}", "Move the batch to the front", path="feature_axes")
        axes = tuple(a for a in range(1, x.ndim) if a not in features)
        return standardize(x, scale, bias, axes, epsilon, mask=mask, dtype=dtype, collective=collective)[0]
