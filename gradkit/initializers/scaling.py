"""Initial weights whose variance is scaled by the fans of their layer."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.nn.initializers as of_jax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit.initializers._wide import wide
from gradkit.initializers.gain import gain

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
DISTRIBUTIONS = ("normal", "truncated_normal", "uniform")

Axes = int | Sequence[int]


def fans(
    shape: Sequence[int],
    *,
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
) -> tuple[float, float]:
    """Count the inputs and outputs of a unit: fan_in and fan_out of a weight, also a convolution's.

    **Value** (in · r, out · r), with r the product of the axes named by none of the three: the
    receptive field of a convolution.

    Args:
      shape: of the weight, at least two axes.
      in_axis: the axes of input features.
      out_axis: the axes of output features.
      batch_axis: axes along which independent weights are stacked.

    Returns:
      ``(fan_in, fan_out)``.

    Raises:
      ValueError: fewer than two axes, an axis that the shape does not have, or a fan of zero.

    Example:
      >>> import gradkit as gk
      >>> gk.initializers.fans((3, 3, 16, 32))
      (144.0, 288.0)
      >>> assert gk.initializers.fans((8, 5, 7), batch_axis=0) == (5.0, 7.0)
    """
    with check.inside("fans"):
        return _fans(shape, in_axis, out_axis, batch_axis)


def _fans(
    shape: Sequence[int], in_axis: Axes, out_axis: Axes, batch_axis: Axes
) -> tuple[float, float]:
    shape = tuple(shape)
    sizes = []
    for name, axes in (("in_axis", in_axis), ("out_axis", out_axis), ("batch_axis", batch_axis)):
        chosen = (axes,) if isinstance(axes, int) else tuple(axes)
        for axis in chosen:
            if not -len(shape) <= axis < len(shape):
                problem = f"{name}={axes} is no axis of shape={shape}"
                check.refuse(problem, fix="Use constant(0.0) for biases")
        sizes.append(math.prod(shape[axis] for axis in chosen))
    if not math.prod(shape):
        check.refuse(f"shape={shape} has no elements", expected="fans of at least 1")
    inputs, outputs, batch = sizes
    field = math.prod(shape) / (inputs * outputs * batch)
    return inputs * field, outputs * field


def _scaled(
    name: str,
    scale: float,
    mode: str,
    distribution: str,
    in_axis: Axes,
    out_axis: Axes,
    batch_axis: Axes,
    dtype: DTypeLike | None,
) -> Initializer:
    """JAX's draw of variance scale / fan."""
    check.one_of(MODES, mode=mode)
    check.one_of(DISTRIBUTIONS, distribution=distribution)
    draw = of_jax.variance_scaling(
        scale,
        mode,  # type: ignore[arg-type]
        distribution,  # type: ignore[arg-type]
        in_axis=in_axis,
        out_axis=out_axis,
        batch_axis=batch_axis,
    )

    def judged(key: Any, shape: Sequence[int], dtype: Any, **sharding: Any) -> Any:
        _fans(shape, in_axis, out_axis, batch_axis)
        return draw(key, shape, dtype, **sharding)

    return wide(name, judged, dtype, least_rank=2)


def lecun(
    distribution: str = "normal",
    *,
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Initialize weights with the variance 1 / fan_in (LeCun), for linear layers and SELU.

    **Value** N(0, 1 / fan_in), or uniform in [−r, r] with r = √(3 / fan_in).

    Args:
      distribution: "normal", "truncated_normal" (at two standard deviations) or "uniform".
      in_axis: the axes of input features, as in ``fans``.
      out_axis: the axes of output features.
      batch_axis: axes along which independent weights are stacked.
      dtype: of the weights, where the call names none.

    Returns:
      an initializer, ``initializer(key, shape, dtype)``.

    Raises:
      ValueError: an unknown distribution; by the initializer, a shape of fewer than two axes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> w = gk.initializers.lecun()(0, (400, 100))
      >>> assert jnp.isclose(w.std(), 1 / 20, rtol=0.02)

    **Differs from JAX**: ``lecun_normal`` is the truncated one; narrow weights are drawn in float32
    and rounded once.

    Reference: LeCun et al. 1998 (Efficient BackProp), https://doi.org/10.1007/3-540-49430-8_2.
    """
    with check.inside("lecun"):
        axes = (in_axis, out_axis, batch_axis)
        return _scaled("lecun", 1.0, "fan_in", distribution, *axes, dtype)


def xavier(
    activation: str | Callable[[jax.Array], jax.Array] = "tanh",
    distribution: str = "normal",
    *,
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Initialize weights as Xavier (Glorot), for tanh and, with the factor 4, for logistic units.

    **Value** N(0, 2 a² / (fan_in + fan_out)), or uniform in [−r, r] with
    r = a √(6 / (fan_in + fan_out)); a = 1 / |f′(0)| is 1 for tanh and 4 for the logistic function.

    Args:
      activation: the activation f after the layer, by name or as a function; a = ``gain(activation,
        method="slope")``.
      distribution: "normal", "truncated_normal" (at two standard deviations) or "uniform".
      in_axis: the axes of input features, as in ``fans``.
      out_axis: the axes of output features.
      batch_axis: axes along which independent weights are stacked.
      dtype: of the weights, where the call names none.

    Returns:
      an initializer, ``initializer(key, shape, dtype)``.

    Raises:
      ValueError: an activation without a slope at 0, such as ReLU; an unknown distribution; by the
        initializer, a shape of fewer than two axes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> w = gk.initializers.xavier("logistic", "uniform")(0, (200, 400))
      >>> assert 0.39 < jnp.abs(w).max() <= 0.4  # 4 √(6 / 600)

    **Differs from JAX**: ``glorot_normal`` is truncated, and has no factor for the activation;
    narrow weights are drawn in float32 and rounded once.

    Reference: Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.
    """
    with check.inside("xavier"):
        if activation in ("relu", "leaky_relu"):
            fix = "Use he(), or variance_preserving(activation)"
            problem = f"activation={activation!r} is not linear around 0"
            check.refuse(problem, expected="an activation with a slope at 0", fix=fix)
        scale = gain(activation, method="slope") ** 2
        axes = (in_axis, out_axis, batch_axis)
        return _scaled("xavier", scale, "fan_avg", distribution, *axes, dtype)


def he(
    negative_slope: float = 0.0,
    distribution: str = "normal",
    *,
    mode: str = "fan_in",
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Initialize weights as He (Kaiming), for ReLU and leaky ReLU.

    **Value** N(0, 2 / ((1 + a²) fan_in)), or uniform in [−r, r] with r = √(6 / ((1 + a²) fan_in)),
    a the negative slope.

    Args:
      negative_slope: the slope a of the activation below zero; 0 for ReLU.
      distribution: "normal", "truncated_normal" (at two standard deviations) or "uniform".
      mode: "fan_in" keeps the variance of the signals, "fan_out" that of the gradients; "fan_avg"
        and "fan_geo_avg" are their means.
      in_axis: the axes of input features, as in ``fans``.
      out_axis: the axes of output features.
      batch_axis: axes along which independent weights are stacked.
      dtype: of the weights, where the call names none.

    Returns:
      an initializer, ``initializer(key, shape, dtype)``.

    Raises:
      ValueError: an unknown distribution or mode; by the initializer, a shape of fewer than two
        axes.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> x = jax.random.normal(jax.random.key(1), (100, 400))
      >>> z = x @ gk.initializers.he()(0, (400, 400))
      >>> assert jnp.isclose(jnp.mean(jax.nn.relu(z) ** 2), 1.0, rtol=0.05)

    **Differs from JAX**: ``he_normal`` is truncated, and has no negative slope; narrow weights are
    drawn in float32 and rounded once.

    Reference: He et al. 2015, https://arxiv.org/abs/1502.01852.
    """
    with check.inside("he"):
        check.finite(negative_slope=negative_slope)
        scale = 2 / (1 + negative_slope**2)
        return _scaled("he", scale, mode, distribution, in_axis, out_axis, batch_axis, dtype)


def variance_preserving(
    activation: str | Callable[[jax.Array], jax.Array],
    distribution: str = "normal",
    *,
    mode: str = "fan_in",
    method: str = "second_moment",
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Initialize weights so that any activation keeps the variance of its inputs through depth.

    **Value** variance gain² / fan, with the gain of the activation, computed where no closed form
    is known. He's for ReLU, LeCun's for linear layers.

    Args:
      activation: by name or as a function, as in ``gain``.
      distribution: "normal", "truncated_normal" (at two standard deviations) or "uniform".
      mode: "fan_in", "fan_out", "fan_avg" or "fan_geo_avg".
      method: what the gain keeps: "second_moment" (signals), "gradient", or "slope".
      in_axis: the axes of input features, as in ``fans``.
      out_axis: the axes of output features.
      batch_axis: axes along which independent weights are stacked.
      dtype: of the weights, where the call names none.

    Returns:
      an initializer, ``initializer(key, shape, dtype)``.

    Raises:
      ValueError: an unknown activation, distribution, mode or method; by the initializer, a shape
        of fewer than two axes.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> w = gk.initializers.variance_preserving("gelu")(0, (400, 400))
      >>> z = jax.random.normal(jax.random.key(1), (100, 400))  # the inputs of one layer
      >>> assert jnp.isclose(jnp.var(jax.nn.gelu(z) @ w), 1.0, rtol=0.1)  # and of the next

    Reference: Schoenholz et al. 2017 (mean field theory), https://arxiv.org/abs/1611.01232.
    """
    with check.inside("variance_preserving"):
        scale = gain(activation, method=method) ** 2
        axes = (in_axis, out_axis, batch_axis)
        return _scaled("variance_preserving", scale, mode, distribution, *axes, dtype)
