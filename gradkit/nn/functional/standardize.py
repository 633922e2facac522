"""The engine of the normalizations: y = γ (x − μ) / √(σ² + ε) + β, with its derivative.

With x̂ = (x − μ) / √(σ² + ε), and means over the axes of the moments:

    dx̂ = (dx − mean dx − x̂ mean(x̂ dx)) / √(σ² + ε)

The derivative is written out because it needs less memory than automatic differentiation: x̂ is
computed again from x, so the backward pass keeps x in its own dtype and at most three numbers per
mean. Forward mode and derivatives of any order work.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.arguments import (
    Axes,
    as_array,
    as_axes,
    as_epsilon,
    as_groups,
    as_mask,
    as_parameter,
    compute_dtype,
    result_dtype,
)
from gradkit.nn.functional.moments import (
    Moments,
    ShiftedMoments,
    grouped_sum,
    hide,
    hide_not_finite,
    shifted_moments,
    sum_over_devices,
)


class Devices(NamedTuple):
    """A mapped axis over which moments are taken, and the groups of devices within it."""

    axis_name: Any = None
    groups: tuple[tuple[int, ...], ...] | None = None


class Options(NamedTuple):
    """The static part of a call."""

    axes: tuple[int, ...]
    dtype: Any  # of the result
    work: Any  # of the arithmetic
    devices: Devices = Devices()
    use_mean: bool = True
    group: int = 1  # channels that share their moments


class Inputs(NamedTuple):
    """The checked arguments of a normalization, all of the rank of ``x``."""

    x: jax.Array
    scale: jax.Array | None
    bias: jax.Array | None
    features: tuple[int, ...]
    mask: jax.Array | None


def prepare(
    x: Any, scale: Any, bias: Any, features: Axes, mask: Any, name: str = "feature_axes"
) -> Inputs:
    """Check the arguments that all normalizations share. ``name`` is that of ``features``."""
    x = as_array(x)
    axes = as_axes(x.ndim, features, name)
    scale = as_parameter(scale, x, axes, "scale")
    bias = as_parameter(bias, x, axes, "bias")
    return Inputs(x, scale, bias, axes, as_mask(mask, x))


def devices_of(axis_name: Any, axis_index_groups: Any) -> Devices:
    """The checked arguments of a reduction over devices."""
    return Devices(axis_name, as_groups(axis_name, axis_index_groups))


def require_values(shape: tuple[int, ...], axes: tuple[int, ...], devices: Devices) -> None:
    """Refuse one value per channel, whose variance is zero, where the shapes can tell."""
    count = 1
    if devices.axis_name is not None:
        count = lax.axis_size(devices.axis_name)
        if devices.groups is not None:
            count = min(map(len, devices.groups))
    if count * math.prod(shape[axis] for axis in axes) == 1:
        alone = " on a device that is a group of its own" if devices.groups else ""
        problem = f"an input of shape {list(shape)}{alone} has one value per channel"
        fix = "Use a larger batch, or call the layer with use_running_average=True"
        check.refuse(problem, expected="more than one value per channel in training", fix=fix)


def standardize(
    x: jax.Array,
    scale: jax.Array | None,
    bias: jax.Array | None,
    axes: tuple[int, ...],
    epsilon: Any,
    *,
    mask: jax.Array | None = None,
    dtype: DTypeLike | None = None,
    use_mean: bool = True,
    group: int = 1,
    devices: Devices = Devices(),  # noqa: B008
) -> tuple[jax.Array, Moments]:
    """Normalize checked arrays of one rank over ``axes``; return the result and its moments."""
    work = compute_dtype(x, scale, bias)
    result = result_dtype(x, scale, bias, dtype=dtype)
    options = Options(axes, result, work, devices, use_mean, group)
    y, count, mean, var = _standardize(options, x, scale, bias, mask, as_epsilon(epsilon, work))
    return y, Moments(count, mean, var)


def _statistics(options: Options, x: jax.Array, mask: Any) -> ShiftedMoments:
    return shifted_moments(
        x,
        options.axes,
        mask,
        *options.devices,
        dtype=options.work,
        use_mean=options.use_mean,
        group=options.group,
    )


def _affine(options: Options, x_hat: Any, scale: Any, bias: Any) -> Any:
    y = x_hat if scale is None else x_hat * numerics.cast(scale, options.work)
    return y if bias is None else y + numerics.cast(bias, options.work)


def _x_hat(options: Options, x: Any, shift: Any, offset: Any, inverse: Any) -> Any:
    x, inverse = numerics.cast(x, options.work), inverse.astype(options.work)
    return (x - shift) * inverse - offset * inverse if options.use_mean else x * inverse


def _inverse(var: Any, epsilon: Any) -> Any:
    """1 / √(σ² + ε); zero where both are zero, so that x̂ is zero there.

    The root is the last operation, because XLA repeats what follows it for every element.
    """
    square = var + epsilon
    return lax.rsqrt(jnp.where(square == 0, jnp.ones_like(square) / 0, square))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _standardize(
    options: Options, x: Any, scale: Any, bias: Any, mask: Any, epsilon: Any
) -> tuple[Any, Any, Any, Any]:
    statistics = _statistics(options, x, mask)
    inverse = _inverse(statistics.var, epsilon)
    return _forward(options, x, scale, bias, mask, statistics, inverse)


def _forward(
    options: Options,
    x: Any,
    scale: Any,
    bias: Any,
    mask: Any,
    statistics: ShiftedMoments,
    inverse: Any,
) -> tuple[Any, Any, Any, Any]:
    count, shift, offset, var = statistics
    x_hat = _x_hat(options, hide_not_finite(x, mask), shift, offset, inverse)
    y = _affine(options, x_hat, scale, bias).astype(options.dtype)
    return y, jnp.asarray(count, var.dtype), shift + offset, var


@_standardize.defjvp
def _standardize_jvp(options: Options, primals: Any, tangents: Any) -> Any:
    x, scale, bias, mask, epsilon = primals
    dx, dscale, dbias, _, depsilon = tangents
    statistics = _statistics(options, x, mask)
    inverse = _inverse(statistics.var, epsilon)
    outputs = _forward(options, x, scale, bias, mask, statistics, inverse)
    # With checkpoint the backward pass keeps the inputs of the tangent and computes the rest again.
    tangent = jax.checkpoint(functools.partial(_tangent, options), prevent_cse=False)
    count, shift, offset, _ = statistics
    saved = (x, scale, mask, count, shift, offset, inverse)
    dy, dmean, dvar = tangent(*saved, dx, dscale, dbias, depsilon)
    return outputs, (dy, jnp.zeros_like(outputs[1]), dmean, dvar)


def _tangent(
    options: Options,
    x: Any,
    scale: Any,
    mask: Any,
    count: Any,
    shift: Any,
    offset: Any,
    inverse: Any,
    dx: Any,
    dscale: Any,
    dbias: Any,
    depsilon: Any,
) -> Any:
    """The derivative at the top of this file.

    The terms are ordered so that the transpose multiplies x̂ by the cotangent once.
    """
    work, devices = options.work, options.devices
    x_hat = _x_hat(options, hide_not_finite(x, mask), shift, offset, inverse)
    dx = dx.astype(work)
    if mask is not None:  # a hidden value may overflow x̂; it then has no part in any derivative
        finite = mask | (jnp.isfinite(x) & jnp.isfinite(x_hat))
        x_hat = jnp.where(finite, x_hat, jnp.zeros_like(x_hat))
        dx = jnp.where(finite, dx, jnp.zeros_like(dx))
    seen = hide(dx, mask)
    along = jnp.real(jnp.conj(x_hat) * seen) if jnp.iscomplexobj(x_hat) else x_hat * seen
    products = (along, seen) if options.use_mean else (along,)
    sums = tuple(grouped_sum(product, options.axes, options.group) for product in products)
    totals = sum_over_devices(sums, *devices)
    stretch, *mean_dx = (sum_ / jnp.maximum(count, 1).astype(sum_.dtype) for sum_ in totals)
    factor = inverse.astype(work)
    slope = -_affine(options, factor * (stretch + inverse * depsilon / 2).astype(work), scale, None)
    slope = slope if dscale is None else slope + dscale.astype(work)
    dy = _affine(options, factor, scale, None) * dx + x_hat * slope
    if mean_dx:
        dy = dy - _affine(options, factor * mean_dx[0], scale, None)
    dy = dy if dbias is None else dy + dbias.astype(work)
    dmean = mean_dx[0] if mean_dx else jnp.zeros_like(shift)
    return dy.astype(options.dtype), dmean, numerics.divide(2 * stretch, inverse)
