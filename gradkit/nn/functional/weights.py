"""Normalization of weights.

| | weight |
|---|---|
| ``weight_norm`` | w = γ v / ‖v‖₂, the norm per output |
| ``spectral_norm`` | w = W / σ₁(W), by power iteration |
| ``standardize_weight`` | w = γ (W − μ) / √(σ² + ε), moments per output |

Kernels have Flax's layout: the last axis is the output.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.arguments import (
    Axes,
    as_array,
    as_axes,
    as_epsilon,
    as_parameter,
    compute_dtype,
    result_dtype,
)
from gradkit.nn.functional.standardize import standardize


def normalize(x: jax.Array, axes: tuple[int, ...], epsilon: Any) -> jax.Array:
    """``x`` / √(Σ |x|² + ε) over ``axes``."""
    squares = jnp.sum(numerics.abs_sq(x), axis=axes, keepdims=True)
    return x * lax.rsqrt(squares + epsilon).astype(x.dtype)


def weight_norm(
    kernel: jax.Array,
    scale: jax.Array | None = None,
    *,
    feature_axes: Axes | None = -1,
    epsilon: ArrayLike = 1e-12,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Apply weight normalization: the direction of a weight times a learned length.

    **Value** w = γ v / √(‖v‖² + ε), the norm over all axes but ``feature_axes``.

    Args:
      kernel: v, of any shape with the outputs on ``feature_axes``.
      scale: γ, of the shape of ``feature_axes``, or None (1).
      feature_axes: the axes that keep a norm of their own; None for one norm of the whole weight.
      epsilon: ε >= 0, added to the squared norm; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``kernel`` and
        ``scale``.

    Returns:
      w, of the shape of ``kernel``.

    Raises:
      ValueError: an axis that does not exist or is repeated, a scale of another shape.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> w = F.weight_norm(jnp.array([[3.0], [4.0]]), jnp.array([10.0]))
      >>> assert jnp.allclose(w, jnp.array([[6.0], [8.0]]))

    Reference: Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868.
    """
    with check.inside("weight_norm"):
        kernel = as_array(kernel, "kernel")
        features = as_axes(
            kernel.ndim, () if feature_axes is None else feature_axes, "feature_axes"
        )
        gamma = as_parameter(scale, kernel, features, "scale")
        work = compute_dtype(kernel, gamma)
        added = as_epsilon(epsilon, work)
        result = result_dtype(kernel, gamma, dtype=dtype)
    axes = tuple(a for a in range(kernel.ndim) if a not in features)
    w = normalize(numerics.cast(kernel, work), axes, added)
    w = w if gamma is None else w * gamma.astype(work)
    return w.astype(result)


def spectral_norm(
    kernel: jax.Array,
    u: jax.Array,
    *,
    n_steps: int = 1,
    epsilon: ArrayLike = 1e-12,
    dtype: DTypeLike | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Apply spectral normalization: divide a weight by its largest singular value.

    **Value** n times v ← u Wᵀ / ‖u Wᵀ‖, u ← v W / ‖v W‖; σ = v W uᵀ; w = W / σ (W itself where σ =
    0). u and v are constants to the gradient.

    Args:
      kernel: W, of shape [..., outputs] with two axes or more; it is reshaped to a matrix [product,
        outputs].
      u: the vector of the power iteration, of shape [1, outputs].
      n_steps: iterations per call, >= 0.
      epsilon: ε >= 0, added to the squared norms of u and v.
      dtype: floating dtype of w; by default that of ``kernel``.

    Returns:
      w, of the shape of ``kernel``; the next ``u``; σ, a scalar.

    Raises:
      ValueError: a kernel of fewer than two axes, a ``u`` of another shape, a negative number of
        steps.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> kernel = jnp.diag(jnp.array([4.0, 1.0]))
      >>> w, u, sigma = F.spectral_norm(kernel, jnp.ones((1, 2)), n_steps=20)
      >>> assert abs(float(sigma) - 4) < 1e-5
      >>> assert jnp.allclose(w, jnp.diag(jnp.array([1.0, 0.25])))

    Reference: Miyato et al. 2018, https://arxiv.org/abs/1802.05957.
    """
    with check.inside("spectral_norm"):
        check.integer(0, n_steps=n_steps)
        kernel, u = as_array(kernel, "kernel"), as_array(u, "u")
        if kernel.ndim < 2:
            problem = f"kernel has the shape {list(kernel.shape)}"
            check.refuse(problem, expected="two axes or more, the outputs last")
        if u.shape != (1, kernel.shape[-1]):
            problem = f"u has the shape {list(u.shape)}"
            expected = f"[1, {kernel.shape[-1]}] for a kernel of shape {list(kernel.shape)}"
            check.refuse(problem, expected=expected)
        work = compute_dtype(kernel)
        added = as_epsilon(epsilon, work)
        result = result_dtype(kernel, dtype=dtype)
    matrix = jnp.reshape(numerics.cast(kernel, work), (-1, kernel.shape[-1]))
    frozen = lax.stop_gradient(matrix)
    product = lambda a, b: jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
    u = lax.stop_gradient(jnp.asarray(u, work))
    v = normalize(product(u, frozen.T), (0, 1), added)
    for step in range(int(n_steps)):
        v = v if step == 0 else normalize(product(u, frozen.T), (0, 1), added)
        u = normalize(product(v, frozen), (0, 1), added)
    sigma = product(product(v, matrix), u.T)[0, 0]
    w = matrix / jnp.where(sigma != 0, sigma, jnp.ones_like(sigma))
    return jnp.reshape(w, kernel.shape).astype(result), u, sigma


def standardize_weight(
    kernel: jax.Array,
    scale: jax.Array | None = None,
    *,
    feature_axes: Axes = -1,
    epsilon: ArrayLike = 1e-10,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Apply weight standardization: mean 0 and variance 1 over the inputs of each output.

    **Value** w = γ (W − μ) / √(σ² + ε), moments over all axes but ``feature_axes``.

    Args:
      kernel: W, of any shape with the outputs on ``feature_axes``.
      scale: γ, of the shape of ``feature_axes``, or None (1).
      feature_axes: the axis (or axes) of the outputs.
      epsilon: ε >= 0, added to the variance; may be traced.
      dtype: floating dtype of the result; by default the promoted dtype of ``kernel`` and
        ``scale``.

    Returns:
      w, of the shape of ``kernel``.

    Raises:
      ValueError: an axis that does not exist or is repeated, a scale of another shape.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> w = F.standardize_weight(jnp.array([[1.0], [3.0]]))
      >>> assert jnp.allclose(w, jnp.array([[-1.0], [1.0]]))

    Reference: Qiao et al. 2019, https://arxiv.org/abs/1903.10520.
    """
    with check.inside("standardize_weight"):
        kernel = as_array(kernel, "kernel")
        features = as_axes(kernel.ndim, feature_axes, "feature_axes")
        gamma = as_parameter(scale, kernel, features, "scale")
        axes = tuple(a for a in range(kernel.ndim) if a not in features)
        return standardize(kernel, gamma, None, axes, epsilon, dtype=dtype)[0]
