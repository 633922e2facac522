"""The singular values of a matrix: the largest one, and a bound on all of them."""

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.linalg.orthogonalize import as_matrix
from gradkit.typing import Scalar


def spectral_norm(x: jax.Array) -> jax.Array:
    """Compute the spectral norm of a matrix, its largest singular value.

    **Value** ‖X‖₂ = √λ_max(X Xᴴ), by the eigenvalues of the Gram matrix of the shorter side.

    Args:
      x: a matrix, or a stack of matrices along leading axes; real or complex.

    Returns:
      An array of the leading axes, real, at least float32; zero of an empty matrix.

    Raises:
      ValueError: an array of rank below 2.
      TypeError: an array of integers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert jnp.allclose(gk.linalg.spectral_norm(jnp.array([[3.0, 0.0], [0.0, -4.0]])), 4.0)
    """
    with check.inside("spectral_norm"):
        x = as_matrix(x)
        wide = x.astype(numerics.wide(x.dtype))
        if not x.size:
            return jnp.zeros(x.shape[:-2], numerics.real(wide.dtype))
        peak = jnp.max(jnp.abs(wide), axis=(-2, -1), keepdims=True)
        scaled = numerics.divide(wide, peak.astype(wide.dtype))
        conjugate = scaled.mT.conj()
        short = (scaled, conjugate) if x.shape[-2] <= x.shape[-1] else (conjugate, scaled)
        top = jnp.linalg.eigvalsh(jnp.matmul(*short, precision="highest"))[..., -1]
        return numerics.sqrt(jnp.maximum(top, 0.0)) * peak[..., 0, 0]


def clip_singular_values(x: jax.Array, max_value: Scalar) -> jax.Array:
    """Bound every singular value of a matrix.

    **Value** X = U Σ Vᴴ ↦ U min(Σ, c) Vᴴ, by a singular value decomposition.

    Args:
      x: a matrix, or a stack of matrices along leading axes; real or complex.
      max_value: c > 0.

    Returns:
      An array of the shape and dtype of x.

    Raises:
      ValueError: an array of rank below 2, a bound that is not positive.
      TypeError: an array of integers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> clipped = gk.linalg.clip_singular_values(jnp.diag(jnp.array([3.0, 0.5])), 1.0)
      >>> assert jnp.allclose(clipped, jnp.diag(jnp.array([1.0, 0.5])), atol=1e-6)
    """
    with check.inside("clip_singular_values"):
        x = as_matrix(x)
        check.positive(max_value=max_value)
        if not x.size:
            return x
        wide = x.astype(numerics.wide(x.dtype))
        u, s, vh = jnp.linalg.svd(wide, full_matrices=False)
        s = jnp.minimum(s, jnp.asarray(max_value).astype(s.dtype)).astype(wide.dtype)
        return jnp.matmul(u * s[..., None, :], vh, precision="highest").astype(x.dtype)
