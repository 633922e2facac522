"""Mean and variance: the one algorithm under every normalization.

    n = Σ m        s = Σ m x / n        d = x − s        o = Σ m d / n        σ² = Σ m |d|² / n − |o|²        μ = s + o

The shift s is the mean as far as the dtype can say it; o is what rounding left of it. So |o| is at most a rounding of s, the
subtraction in σ² cancels nothing, and d − o is the deviation from the true mean also where the mean is 10⁶ deviations away. Of several devices the
three sums and the count are added first, so unequal counts weigh as they should.

On a CPU large inputs are looked at first: where no mean is further than two deviations from zero, and the squares neither overflow nor vanish,
σ² = Σ |x|² / n − |s|² loses at most two bits, o is nothing, and a pass over memory is saved.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics

_LARGE = 1 << 16  # below so many numbers a choice takes as long as the pass that it may save


class Moments(NamedTuple):
    """How many values, their mean, and their variance around it (divided by the count, not by count − 1)."""

    count: Any
    mean: Any
    var: Any

    @property
    def unbiased_var(self) -> Any:
        """N / (n − 1) · σ²; of a single value the variance stays 0."""
        count = jnp.asarray(self.count, self.var.dtype)
        return self.var * (count / jnp.maximum(count - 1, 1))


class Shifted(NamedTuple):
    """Moments before the last rounding: mean = shift + offset, reduced axes kept with size one."""

    count: Any
    shift: Any
    offset: Any
    var: Any


def axes_of(ndim: int, axes: Any, name: str = "axis") -> tuple[int, ...]:
    """Sorted, non-negative, without repeats; refused where there is no such axis."""
    axes = tuple(axes) if isinstance(axes, Iterable) else (axes,)
    for axis in axes:
        if not -ndim <= axis < ndim:
            check.fail(
                f"needs axes of an input of {ndim} dimensions, from {-ndim} to {ndim - 1}",
                f"{axis}",
                path=name,
            )
    return tuple(sorted({axis % ndim for axis in axes}))


def as_mask(mask: Any, x: Any) -> Any:
    """A boolean mask with as many axes as ``x``, each of size one or as in ``x``."""
    if mask is None:
        return None
    mask = jnp.asarray(mask)
    if mask.dtype != jnp.bool_ and not jnp.issubdtype(mask.dtype, jnp.number):
        check.fail(
            "needs a mask of booleans", check.shape_dtype(mask), path="mask", error=TypeError
        )
    aligned = (1,) * (x.ndim - mask.ndim) + mask.shape
    if len(aligned) != x.ndim or any(
        size not in {1, full} for size, full in zip(aligned, x.shape, strict=True)
    ):
        mend = "Axes align from the right, as in NumPy: a mask of positions wants a trailing axis, mask[..., None]"
        check.fail(
            f"needs a mask that broadcasts to the input's shape {list(x.shape)}",
            check.shape_dtype(mask),
            mend,
            path="mask",
        )
    return mask.reshape(aligned).astype(jnp.bool_)


def compute_dtype(*arrays: Any) -> Any:
    """At least float32, wide enough for all of the arrays."""
    dtype = numerics.wider(*(jax.dtypes.result_type(x) for x in arrays if x is not None))
    return numerics.wide(dtype) if jnp.issubdtype(dtype, jnp.inexact) else jnp.dtype(jnp.float32)


def summed(xs: tuple[Any, ...], axis_name: Any, groups: Any) -> tuple[Any, ...]:
    """Sums over the devices of an axis, in one collective."""
    return xs if axis_name is None else lax.psum(xs, axis_name, axis_index_groups=groups)


def total(values: Any, axes: tuple[int, ...], group: int = 1) -> Any:
    """Sums over ``axes``, kept with size one, then over runs of ``group`` channels of the last axis, each channel with the sum of its group."""
    sums = jnp.sum(values, axis=axes, keepdims=True)
    if group == 1:
        return sums
    parts = jnp.reshape(sums, (*sums.shape[:-1], sums.shape[-1] // group, group))
    return jnp.reshape(
        jnp.broadcast_to(jnp.sum(parts, axis=-1, keepdims=True), parts.shape), sums.shape
    )


def shown(x: Any, mask: Any) -> Any:
    """``x`` with zero in place of what the mask hides. Only so is NaN gone from derivatives too: it is hidden before anything multiplies by it."""
    return x if mask is None else jnp.where(mask, x, jnp.zeros_like(x))


def numbers(x: Any, mask: Any) -> Any:
    """``x`` with zero in place of what is not finite under the mask; the rest of what it hides stays."""
    return x if mask is None else jnp.where(mask | jnp.isfinite(x), x, jnp.zeros_like(x))


def count_of(
    mask: Any, shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any, group: int = 1
) -> Any:
    """How many values each mean is of: a number where nothing is masked."""
    if mask is None:
        return float(group * math.prod(shape[axis] for axis in axes))
    repeats = math.prod(shape[axis] for axis in axes if mask.shape[axis] != shape[axis])
    if mask.shape[-1] != shape[-1]:
        repeats, group = repeats * group, 1
    return total(mask.astype(dtype), axes, group) * repeats


def shifted(
    x: Any,
    axes: tuple[int, ...],
    mask: Any = None,
    axis_name: Any = None,
    groups: Any = None,
    *,
    dtype: Any,
    use_mean: bool = True,
    group: int = 1,
) -> Shifted:
    """The algorithm at the top of this file, in ``dtype``; without ``use_mean`` the moments about zero."""
    real = numerics.real(dtype)

    def about(x: Any, shift: Any) -> tuple[Any, Any]:
        deviation = shown(numerics.cast(shown(x, mask), dtype) - shift, mask)
        values, squares = summed(
            (total(deviation, axes, group), total(numerics.abs_sq(deviation), axes, group)),
            axis_name,
            groups,
        )
        offset = values / at_least_one.astype(dtype)
        return offset, jnp.maximum(squares / at_least_one.astype(real) - numerics.abs_sq(offset), 0)

    wide, count = numerics.cast(shown(x, mask), dtype), count_of(mask, x.shape, axes, real, group)
    if not use_mean:
        count, squares = summed(
            (count, total(numerics.abs_sq(wide), axes, group)), axis_name, groups
        )
        nothing = jnp.zeros_like(squares, dtype=dtype)
        return Shifted(count, nothing, nothing, squares / jnp.maximum(count, 1).astype(real))
    count, values = summed((count, total(wide, axes, group)), axis_name, groups)
    at_least_one = jnp.maximum(count, 1)
    shift = values / at_least_one.astype(dtype)
    if axis_name is not None or x.size < _LARGE or jax.default_backend() != "cpu":
        return Shifted(count, shift, *about(x, shift))
    plain = total(numerics.abs_sq(wide), axes, group) / at_least_one.astype(real) - numerics.abs_sq(
        shift
    )
    vanishing = (
        2 * jnp.finfo(real).tiny / jnp.finfo(real).eps
    )  # below it, squares that vanished would show in the last bit
    close = (4 * plain >= numerics.abs_sq(shift)) & (plain >= vanishing)
    clear = jnp.all(
        jnp.isfinite(plain) & (close | (shift == 0))
    )  # about a shift of zero both roads compute the same
    if not isinstance(clear, jax.core.Tracer):
        return Shifted(
            count, shift, *((jnp.zeros_like(shift), plain) if clear else about(x, shift))
        )
    return Shifted(
        count,
        shift,
        *lax.cond(clear, lambda x, shift: (jnp.zeros_like(shift), plain), about, x, shift),
    )


def moments(
    x: Any,
    axes: Any,
    *,
    mask: Any = None,
    axis_name: Any = None,
    axis_index_groups: Any = None,
    keepdims: bool = False,
) -> Moments:
    """Count, mean and variance of ``x`` over ``axes``, float32 or wider, exact under a mask and across devices.

    **Rule** at the top of ``gradkit.nn.functional.moments``; the variance is Σ |x − μ|² / n.

    Args:
      x: any numbers; below float32 they are widened first.
      axes: the axes to reduce, an int or several.
      mask: True where a value counts; broadcasts to ``x``. NaN where it is False is not seen. All False: mean 0, variance 0, count 0.
      axis_name: a mapped axis (shard_map, vmap, pmap) to reduce over as well.
      axis_index_groups: groups of devices within that axis, each with its own moments.
      keepdims: keep the reduced axes with size one.

    Raises:
      ValueError: an axis that ``x`` lacks, a mask that does not broadcast.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> count, mean, var = F.moments(jnp.array([1.0, 3.0, jnp.nan]), 0, mask=jnp.array([True, True, False]))
      >>> assert (float(count), float(mean), float(var)) == (2, 2, 1)
    """
    with check.inside("moments"):
        x = jnp.asarray(x)
        axes = axes_of(x.ndim, axes)
        mask = as_mask(mask, x)
    of = shifted(x, axes, mask, axis_name, axis_index_groups, dtype=compute_dtype(x))
    found = Moments(jnp.asarray(of.count, of.var.dtype), of.shift + of.offset, of.var)
    return found if keepdims else squeezed(found, axes)


def squeezed(of: Moments, axes: tuple[int, ...]) -> Moments:
    """Without the reduced axes. (A count that is one number for all has none.)"""
    return Moments(
        jnp.squeeze(of.count, axes) if jnp.ndim(of.count) else of.count,
        jnp.squeeze(of.mean, axes),
        jnp.squeeze(of.var, axes),
    )


def merge(parts: Moments, axis: int = 0) -> Moments:
    """The moments of the union of several sets, from the moments of each (Chan's merge).

    **Rule** n = Σ n_i, μ = Σ n_i μ_i / n, σ² = Σ n_i (σ_i² + |μ_i − μ|²) / n.

    Args:
      parts: moments whose arrays are stacked along ``axis``; a count of 0 weighs nothing.
      axis: the axis of the parts.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jnp.arange(6.0)
      >>> parts = F.moments(x.reshape(3, 2), 1)
      >>> assert jnp.allclose(F.merge(parts).var, F.moments(x, 0).var)

    Reference: Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
    """
    mean, var = parts.mean, parts.var
    counts = jnp.asarray(parts.count, var.dtype)
    if counts.ndim < var.ndim:  # one count for all channels of a part, or for all parts
        counts = counts.reshape([-1 if at == axis % var.ndim else 1 for at in range(var.ndim)])
        counts = jnp.broadcast_to(
            counts, [var.shape[axis] if at == axis % var.ndim else 1 for at in range(var.ndim)]
        )
    count = jnp.sum(counts, axis=axis, keepdims=True)
    weight = counts / jnp.maximum(count, 1)
    shift = jnp.sum(
        weight.astype(mean.dtype) * mean, axis=axis, keepdims=True
    )  # what the means have in common does not round
    offset = jnp.sum(weight.astype(mean.dtype) * (mean - shift), axis=axis, keepdims=True)
    spread = jnp.sum(weight * (var + numerics.abs_sq((mean - shift) - offset)), axis=axis)
    return Moments(
        jnp.squeeze(count) if count.size == 1 else jnp.squeeze(count, axis),
        jnp.squeeze(shift + offset, axis),
        spread,
    )


def running(
    mean: Any, var: Any, batch: Moments, momentum: Any, *, unbiased: bool = False
) -> tuple[Any, Any]:
    """Running statistics after one more batch.

    **Rule** R ← m R + (1 − m) B for the mean and the variance. Flax's momentum m is the weight of the past (0.99); torch's is the weight of the
    batch, 1 − m (0.01 there says the same). A batch that is masked altogether changes nothing.

    Args:
      mean: the running mean.
      var: the running variance.
      batch: the moments of the batch.
      momentum: m in [0, 1].
      unbiased: take the batch's variance with count − 1 below, as torch does; Flax takes count.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> mean, var = F.running(jnp.zeros(1), jnp.ones(1), F.moments(jnp.array([[1.0], [3.0]]), 0), 0.9, unbiased=True)
      >>> assert abs(float(mean[0]) - 0.2) < 1e-6 and abs(float(var[0]) - 1.1) < 1e-6
    """
    kept = jnp.asarray(momentum, numerics.real(jax.dtypes.result_type(var)))
    kept = jnp.where(
        jnp.asarray(batch.count) > 0, kept, jnp.ones_like(kept)
    )  # what the batch lacks (all masked) leaves the past alone

    def step(old: Any, new: Any) -> Any:
        dtype = (
            numerics.wider(old.dtype, new.dtype) if jnp.iscomplexobj(new) else old.dtype
        )  # the mean of complex values is complex
        moved = kept.astype(dtype) * old.astype(dtype) + (1 - kept).astype(dtype) * new.astype(
            dtype
        )
        return _placed_as(old, moved)

    return step(mean, batch.mean), step(var, batch.unbiased_var if unbiased else batch.var)


def _placed_as(old: Any, new: Any) -> Any:
    """The past's sharding, where shardings are part of the type (explicit axes of a mesh): statistics keep their type from step to step."""
    sharding = jax.typeof(old).sharding
    explicit = any(kind == jax.sharding.AxisType.Explicit for kind in sharding.mesh.axis_types)
    return (
        jax.sharding.reshard(new, sharding)
        if explicit and jax.typeof(new).sharding != sharding
        else new
    )
