"""Normalization of weights, and a batch normalization folded into them.

| | weight |
|---|---|
| ``weight_norm`` | w = γ v / ‖v‖₂, the norm per output |
| ``spectral_norm`` | w = W / σ₁(W), by power iteration |
| ``standardize_weight`` | w = γ (W − μ) / √(σ² + ε), moments per output |
| ``fold_batch_norm`` | W γ / √(σ_R² + ε), and the bias to match |

Kernels are Flax's: the last axis is the output.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.moments import axes_of, compute_dtype
from gradkit.nn.functional.norm import per_feature, result_dtype, standardize


def unit(x: Any, axes: tuple[int, ...], epsilon: Any) -> Any:
    """X / √(Σ |x|² + ε)."""
    squares = jnp.sum(numerics.abs_sq(x), axis=axes, keepdims=True)
    return x * lax.rsqrt(squares + epsilon).astype(x.dtype)


def weight_norm(kernel: Any, scale: Any = None, *, feature_axes: Any = -1, epsilon: float = 1e-12, dtype: Any = None) -> Any:
    """A weight's direction times a learned length.

    **Rule** w = γ v / √(‖v‖² + ε), the norm over all axes but ``feature_axes``.

    Args:
      kernel: v.
      scale: γ, of the shape of ``feature_axes``, or None (1).
      feature_axes: the axes that keep their own norm; None for one norm of the whole.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``kernel`` and ``scale`` promote to.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> assert jnp.allclose(F.weight_norm(jnp.array([[3.0], [4.0]]), jnp.array([10.0])), jnp.array([[6.0], [8.0]]))

    Reference: Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868.
    """
    with check.inside("weight_norm"):
        check.non_negative(epsilon=epsilon)
        kernel = jnp.asarray(kernel)
        features = () if feature_axes is None else axes_of(kernel.ndim, feature_axes, "feature_axes")
        scale = per_feature(scale, kernel, features, "scale")
    work = compute_dtype(kernel, scale)
    w = unit(numerics.cast(kernel, work), tuple(a for a in range(kernel.ndim) if a not in features), epsilon)
    w = w if scale is None else w * scale.astype(work)
    return w.astype(result_dtype(kernel, scale, dtype=dtype))


def spectral_norm(kernel: Any, u: Any, *, n_steps: int = 1, epsilon: float = 1e-12, dtype: Any = None) -> tuple[Any, Any, Any]:
    """A weight divided by its largest singular value; returns also the next ``u`` and σ.

    **Rule** n times v ← u Wᵀ / ‖u Wᵀ‖, u ← v W / ‖v W‖; σ = v W uᵀ; w = W / σ (W itself where σ = 0). u and v are constants to the gradient.

    Args:
      kernel: W; more than two axes are seen as a matrix [all others, last].
      u: [1, outputs], where the iteration stands.
      n_steps: steps of power iteration per call.
      epsilon: ε >= 0 under the roots of the norms.
      dtype: dtype of the result; by default that of ``kernel``.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> w, u, sigma = F.spectral_norm(jnp.diag(jnp.array([4.0, 1.0])), jnp.ones((1, 2)), n_steps=20)
      >>> assert abs(float(sigma) - 4) < 1e-5 and jnp.allclose(w, jnp.diag(jnp.array([1.0, 0.25])))

    Reference: Miyato et al. 2018, https://arxiv.org/abs/1802.05957.
    """
    with check.inside("spectral_norm"):
        check.non_negative(epsilon=epsilon)
        check.integer(0, n_steps=n_steps)
        kernel = jnp.asarray(kernel)
        if kernel.ndim < 2 or jnp.shape(u) != (1, kernel.shape[-1]):
            wanted = f"a kernel of two axes or more and u of shape [1, {kernel.shape[-1] if kernel.ndim else '?'}]"
            check.fail(f"needs {wanted}", f"{check.shape_dtype(kernel)} and {check.shape_dtype(u)}", path="u")
    work = compute_dtype(kernel)
    matrix = jnp.reshape(numerics.cast(kernel, work), (-1, kernel.shape[-1]))
    frozen = lax.stop_gradient(matrix)
    product = lambda a, b: jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
    u = lax.stop_gradient(jnp.asarray(u, work))
    v = unit(product(u, frozen.T), (0, 1), epsilon)
    for step in range(n_steps):
        v = v if step == 0 else unit(product(u, frozen.T), (0, 1), epsilon)
        u = unit(product(v, frozen), (0, 1), epsilon)
    sigma = product(product(v, matrix), u.T)[0, 0]
    w = matrix / jnp.where(sigma != 0, sigma, jnp.ones_like(sigma))
    return jnp.reshape(w, kernel.shape).astype(result_dtype(kernel, dtype=dtype)), u, sigma


def standardize_weight(kernel: Any, scale: Any = None, *, feature_axes: Any = -1, epsilon: float = 1e-10, dtype: Any = None) -> Any:
    """A weight with mean 0 and variance 1 over what enters each output.

    **Rule** w = γ (W − μ) / √(σ² + ε), moments over all axes but ``feature_axes``.

    Args:
      kernel: W.
      scale: γ, of the shape of ``feature_axes``, or None (1).
      feature_axes: the output's axis.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the result; by default what ``kernel`` and ``scale`` promote to.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> assert jnp.allclose(F.standardize_weight(jnp.array([[1.0], [3.0]])), jnp.array([[-1.0], [1.0]]))

    Reference: Qiao et al. 2019, https://arxiv.org/abs/1903.10520.
    """
    with check.inside("standardize_weight"):
        kernel = jnp.asarray(kernel)
        features = axes_of(kernel.ndim, feature_axes, "feature_axes")
        scale = per_feature(scale, kernel, features, "scale")
        axes = tuple(a for a in range(kernel.ndim) if a not in features)
        return standardize(kernel, scale, None, axes, epsilon, dtype=dtype)[0]


def fold_batch_norm(kernel: Any, bias: Any, mean: Any, var: Any, scale: Any = None, shift: Any = None, *, epsilon: float = 1e-5) -> tuple[Any, Any]:
    """The kernel and bias of one layer that does what a layer and the inference batch normalization after it do.

    **Rule** a = γ / √(σ² + ε); W' = W a, b' = (b − μ) a + β.

    Args:
      kernel: W of a dense or convolution layer, outputs last.
      bias: b, or None (0).
      mean: the running mean μ.
      var: the running variance σ².
      scale: γ, or None (1).
      shift: β, the normalization's bias, or None (0).
      epsilon: the normalization's ε.

    Example:
      >>> import jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> kernel, bias = F.fold_batch_norm(jnp.eye(1), None, jnp.array([1.0]), jnp.array([4.0]), epsilon=0.0)
      >>> assert 5 * kernel[0, 0] + bias[0] == 2  # (5 − 1) / 2

    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2.
    """
    with check.inside("fold_batch_norm"):
        check.non_negative(epsilon=epsilon)
        kernel = jnp.asarray(kernel)
        for name, array in {"bias": bias, "mean": mean, "var": var, "scale": scale, "shift": shift}.items():
            if array is not None and jnp.shape(array) != kernel.shape[-1:]:
                check.fail(f"needs one value per output of the kernel {list(kernel.shape)}", check.shape_dtype(array), path=name)
    work = compute_dtype(kernel, bias, mean, var, scale, shift)
    wide = lambda x, default: jnp.full(kernel.shape[-1:], default, work) if x is None else jnp.asarray(x, work)
    factor = wide(scale, 1) * lax.rsqrt(wide(var, 1) + epsilon)
    folded = (wide(bias, 0) - wide(mean, 0)) * factor + wide(shift, 0)
    out = jax.dtypes.result_type(kernel)
    wider = factor.reshape((1,) * (kernel.ndim - 1) + factor.shape)
    return (numerics.cast(kernel, work) * wider).astype(out), folded.astype(out if bias is None else jax.dtypes.result_type(bias))
