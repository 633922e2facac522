"""Mean and variance: the algorithm under every normalization.

    n = Σ m        s = Σ m x / n        d = x − s
    o = Σ m d / n        σ² = Σ m |d|² / n − |o|²        μ = s + o

The shift s is the mean, rounded to the dtype; the offset o is the rounding error of s. Because |o|
is at most one rounding of s, the subtraction in σ² cancels nothing, and d − o is the deviation from
the exact mean even if the mean is 10⁶ standard deviations away from zero. Over several devices the
three sums and the count are added before the division, so devices with unequal counts are weighted
correctly.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._xla import one_pass_pays
from gradkit.nn.functional.arguments import (
    Axes,
    as_array,
    as_axes,
    as_groups,
    as_mask,
    check_flag,
    check_number,
    compute_dtype,
    describe,
)


class Moments(NamedTuple):
    """The count of values, their mean, and their variance (divided by the count, not count − 1)."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count
    mean: jax.Array
    var: jax.Array

    @property
    def unbiased_var(self) -> jax.Array:
        """The variance n / (n − 1) · σ²; of a single value it is 0."""
        count = jnp.asarray(self.count, self.var.dtype)
        return self.var * (count / jnp.maximum(count - 1, 1))


class ShiftedMoments(NamedTuple):
    """Moments before the last rounding: mean = shift + offset; reduced axes have size one."""

    count: Any
    shift: jax.Array
    offset: jax.Array
    var: jax.Array


def sum_over_devices(arrays: tuple[Any, ...], axis_name: Any, groups: Any) -> tuple[Any, ...]:
    """Sums over the devices of a mapped axis, in one collective."""
    return arrays if axis_name is None else lax.psum(arrays, axis_name, axis_index_groups=groups)


def grouped_sum(values: jax.Array, axes: tuple[int, ...], group: int = 1) -> jax.Array:
    """Sums over ``axes`` (kept with size one), then over groups of the last axis.

    A group is ``group`` consecutive channels; each channel receives the sum of its group.
    """
    sums = jnp.sum(values, axis=axes, keepdims=True)
    if group == 1:
        return sums
    groups = jnp.reshape(sums, (*sums.shape[:-1], sums.shape[-1] // group, group))
    totals = jnp.sum(groups, axis=-1, keepdims=True)
    return jnp.reshape(jnp.broadcast_to(totals, groups.shape), sums.shape)


def hide(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """``x`` with zero where the mask is False.

    The zeros come before any product, so a hidden NaN does not reach the derivatives either.
    """
    return x if mask is None else jnp.where(mask, x, jnp.zeros_like(x))


def hide_not_finite(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """``x`` with zero where the mask is False and ``x`` is not finite."""
    return x if mask is None else jnp.where(mask | jnp.isfinite(x), x, jnp.zeros_like(x))


def count_values(
    mask: jax.Array | None, shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any, group: int
) -> Any:
    """How many values each mean is taken over: a Python number without a mask."""
    if mask is None:
        return float(group * math.prod(shape[axis] for axis in axes))
    repeats = math.prod(shape[axis] for axis in axes if mask.shape[axis] != shape[axis])
    if mask.shape[-1] != shape[-1]:
        repeats, group = repeats * group, 1
    return grouped_sum(mask.astype(dtype), axes, group) * repeats


def shifted_moments(
    x: jax.Array,
    axes: tuple[int, ...],
    mask: jax.Array | None = None,
    axis_name: Any = None,
    groups: Any = None,
    *,
    dtype: Any,
    use_mean: bool = True,
    group: int = 1,
) -> ShiftedMoments:
    """The algorithm at the top of this file, in ``dtype``; without ``use_mean`` about zero."""
    real = numerics.real(dtype)
    wide = numerics.cast(hide(x, mask), dtype)
    count = count_values(mask, x.shape, axes, real, group)
    if not use_mean:
        squares = grouped_sum(numerics.abs_sq(wide), axes, group)
        count, squares = sum_over_devices((count, squares), axis_name, groups)
        zero = jnp.zeros_like(squares, dtype=dtype)
        return ShiftedMoments(count, zero, zero, squares / jnp.maximum(count, 1).astype(real))
    count, sums = sum_over_devices((count, grouped_sum(wide, axes, group)), axis_name, groups)
    divisor = jnp.maximum(count, 1)
    shift = sums / divisor.astype(dtype)

    def exact(x: jax.Array, shift: jax.Array) -> tuple[jax.Array, jax.Array]:
        deviation = hide(numerics.cast(hide(x, mask), dtype) - shift, mask)
        parts = (
            grouped_sum(deviation, axes, group),
            grouped_sum(numerics.abs_sq(deviation), axes, group),
        )
        values, squares = sum_over_devices(parts, axis_name, groups)
        offset = values / divisor.astype(dtype)
        return offset, jnp.maximum(squares / divisor.astype(real) - numerics.abs_sq(offset), 0)

    if not one_pass_pays(x, axis_name):
        return ShiftedMoments(count, shift, *exact(x, shift))
    mean_square = grouped_sum(numerics.abs_sq(wide), axes, group) / divisor.astype(real)
    one_pass = mean_square - numerics.abs_sq(shift)
    accurate = is_accurate(one_pass, shift)
    zero = jnp.zeros_like(shift)
    if not isinstance(accurate, jax.core.Tracer):
        return ShiftedMoments(count, shift, *((zero, one_pass) if accurate else exact(x, shift)))
    branches = (lambda x, shift: (zero, one_pass)), exact
    return ShiftedMoments(count, shift, *lax.cond(accurate, *branches, x, shift))


def is_accurate(one_pass: jax.Array, shift: jax.Array) -> jax.Array:
    """Whether Σ|x|²/n − |s|² has lost at most two bits of every variance.

    That holds where no mean is more than two standard deviations away from zero, and where the
    squares neither overflow nor underflow. For a mean of exactly zero both formulas are the same.
    """
    info = jnp.finfo(one_pass.dtype)
    above_underflow = one_pass >= 2 * info.tiny / info.eps  # below, lost squares reach the last bit
    near_zero = 4 * one_pass >= numerics.abs_sq(shift)
    return jnp.all(jnp.isfinite(one_pass) & ((near_zero & above_underflow) | (shift == 0)))


def moments(
    x: jax.Array,
    axes: Axes,
    *,
    mask: jax.Array | None = None,
    axis_name: Any = None,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
    keepdims: bool = False,
) -> Moments:
    """Compute count, mean and variance over axes, exactly, also under a mask and across devices.

    **Value** n = Σ m, μ = Σ m x / n, σ² = Σ m |x − μ|² / n, by the algorithm at the top of
    ``gradkit.nn.functional.moments``.

    Args:
      x: numbers of any shape; a dtype narrower than float32 is widened first.
      axes: the axes to reduce: an integer or several.
      mask: booleans that broadcast to ``x``; a value counts where it is True. NaN where it is False
        has no effect. Where all are False, mean, variance and count are 0.
      axis_name: a mapped axis (shard_map, vmap, pmap) to reduce over as well.
      axis_index_groups: groups of devices within that axis; each has its own moments.
      keepdims: keep the reduced axes with size one.

    Returns:
      `Moments` in float32 or wider, of the shape of ``x`` without ``axes``; an unmasked count is a
      scalar.

    Raises:
      ValueError: an axis that ``x`` does not have or that is repeated, a mask that does not
        broadcast.
      TypeError: a mask that is not boolean, an ``x`` that is not an array of numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> count, mean, var = F.moments(
      ...     jnp.array([1.0, 3.0, jnp.nan]), 0, mask=jnp.array([True, True, False]))
      >>> assert (float(count), float(mean), float(var)) == (2, 2, 1)
    """
    with check.inside("moments"):
        x = as_array(x)
        reduced = as_axes(x.ndim, axes, "axes")
        mask = as_mask(mask, x)
        groups = as_groups(axis_name, axis_index_groups)
        check_flag(keepdims, "keepdims")
    result = shifted_moments(x, reduced, mask, axis_name, groups, dtype=compute_dtype(x))
    count = jnp.asarray(result.count, result.var.dtype)
    full = Moments(count, result.shift + result.offset, result.var)
    return full if keepdims else squeeze(full, reduced)


def squeeze(moments: Moments, axes: tuple[int, ...]) -> Moments:
    """Moments without the reduced axes. A count shared by all channels has no axes to remove."""
    count, mean, var = moments
    count = jnp.squeeze(count, axes) if jnp.ndim(count) else count
    return Moments(count, jnp.squeeze(mean, axes), jnp.squeeze(var, axes))


def merge(parts: Moments, axis: int = 0) -> Moments:
    """Merge the moments of several sets into the moments of their union (Chan's formula).

    **Value** n = Σ n_i, μ = Σ n_i μ_i / n, σ² = Σ n_i (σ_i² + |μ_i − μ|²) / n.

    Args:
      parts: `Moments` whose arrays are stacked along ``axis``; a part of count 0 has no weight.
      axis: the axis of the parts.

    Returns:
      `Moments` without ``axis``.

    Raises:
      TypeError: parts that are not `Moments`.
      ValueError: an axis that the moments do not have.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jnp.arange(6.0)
      >>> parts = F.moments(x.reshape(3, 2), 1)
      >>> assert jnp.allclose(F.merge(parts).var, F.moments(x, 0).var)

    Reference: Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for
    computing sample variances.
    """
    with check.inside("merge"):
        check_moments(parts, "parts")
        mean, var = as_array(parts.mean, "parts.mean"), as_array(parts.var, "parts.var")
        (axis,) = as_axes(var.ndim, axis)
    counts = jnp.asarray(parts.count, var.dtype)
    if counts.ndim < var.ndim:  # one count for all channels of a part, or for all parts
        counts = counts.reshape([-1 if a == axis else 1 for a in range(var.ndim)])
        shape = [var.shape[axis] if a == axis else 1 for a in range(var.ndim)]
        counts = jnp.broadcast_to(counts, shape)
    count = jnp.sum(counts, axis=axis, keepdims=True)
    weight = counts / jnp.maximum(count, 1)
    share = weight.astype(mean.dtype)
    shift = jnp.sum(share * mean, axis=axis, keepdims=True)  # large equal means cancel exactly
    offset = jnp.sum(share * (mean - shift), axis=axis, keepdims=True)
    spread = jnp.sum(weight * (var + numerics.abs_sq((mean - shift) - offset)), axis=axis)
    count = jnp.squeeze(count) if count.size == 1 else jnp.squeeze(count, axis)
    return Moments(count, jnp.squeeze(shift + offset, axis), spread)


def check_moments(value: Any, name: str) -> None:
    """A `Moments`, and not another tuple."""
    if not isinstance(value, Moments):
        problem = f"{name}={describe(value)} is not a Moments"
        check.refuse(problem, expected="what moments or batch_norm returns", error=TypeError)


def running(
    mean: jax.Array,
    var: jax.Array,
    batch: Moments,
    momentum: ArrayLike,
    *,
    unbiased: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Update running statistics with the moments of one more batch.

    **Value** R ← m R + (1 − m) B for the mean and the variance. As in Flax, the momentum m is the
    weight of the past (0.99); in torch it is the weight of the batch, 1 − m (0.01). A fully masked
    batch changes nothing.

    Args:
      mean: the running mean, of any shape.
      var: the running variance, of the same shape.
      batch: the moments of the batch, of the same shape.
      momentum: m in [0, 1].
      unbiased: divide the variance of the batch by count − 1, as torch does, instead of by count,
        as Flax does.

    Returns:
      The new running mean and variance.

    Raises:
      ValueError: a momentum outside [0, 1], a shape that differs from that of the batch.
      TypeError: a batch that is not a `Moments`.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> batch = F.moments(jnp.array([[1.0], [3.0]]), 0)
      >>> mean, var = F.running(jnp.zeros(1), jnp.ones(1), batch, 0.9, unbiased=True)
      >>> assert abs(float(mean[0]) - 0.2) < 1e-6 and abs(float(var[0]) - 1.1) < 1e-6
    """
    with check.inside("running"):
        check_moments(batch, "batch")
        check_number(momentum, "momentum", check.probability)
        check_flag(unbiased, "unbiased")
        mean, var = as_array(mean, "mean"), as_array(var, "var")
        for name, old, new in (("mean", mean, batch.mean), ("var", var, batch.var)):
            if old.shape != jnp.shape(new):
                problem = f"{name} has the shape {list(old.shape)}"
                expected = f"{list(jnp.shape(new))}, the shape of the moments of the batch"
                check.refuse(problem, expected=expected)
    past = jnp.asarray(momentum, numerics.real(jax.dtypes.result_type(var)))
    past = jnp.where(jnp.asarray(batch.count) > 0, past, jnp.ones_like(past))

    def step(old: jax.Array, new: jax.Array) -> jax.Array:
        dtype = old.dtype
        if jnp.iscomplexobj(new):  # the mean of complex values is complex
            dtype = numerics.wider(old.dtype, new.dtype)
        moved = past.astype(dtype) * old.astype(dtype) + (1 - past).astype(dtype) * new.astype(
            dtype
        )
        return _reshard_like(old, moved)

    return step(mean, batch.mean), step(var, batch.unbiased_var if unbiased else batch.var)


def _reshard_like(old: jax.Array, new: jax.Array) -> jax.Array:
    """Keep the sharding of running statistics where it is part of their type (explicit axes)."""
    sharding = jax.typeof(old).sharding
    explicit = jax.sharding.AxisType.Explicit in sharding.mesh.axis_types
    if not explicit or jax.typeof(new).sharding == sharding:
        return new
    return jax.sharding.reshard(new, sharding)
