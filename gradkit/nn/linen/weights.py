"""Flax Linen wrappers that normalize a layer's weights on the way in."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.moments import axes_of


def spelled(path: Any) -> str:
    """``Dense_0/kernel`` for the path of a variable."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def with_weights(
    layer: Any, change: Any, *args: Any, init: bool, mutable: bool = False, **kwargs: Any
) -> Any:
    """Call ``layer`` with ``change(path, value)`` in place of its params."""
    swap = lambda params: jax.tree_util.tree_map_with_path(change, params)
    return linen.map_variables(
        lambda inner: inner(*args, **kwargs), trans_in_fn=swap, init=init, mutable=mutable
    )(layer)


class WeightNorm(linen.WeightNorm):
    """A layer whose weights are a direction times a learned length.

    **Rule** w = γ v / √(‖v‖² + ε), the norm over all axes but ``feature_axes``.

    **Remembers** params ``<path>/scale``, beside those of the layer.

    Args: those of ``flax.linen.WeightNorm``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import linen
      >>> from gradkit.nn import linen as gnn
      >>> ones = linen.initializers.ones
      >>> y, _ = gnn.WeightNorm(linen.Dense(1, kernel_init=ones)).init_with_output(jax.random.key(0), jnp.array([[1.0, 0.0, 0.0, 0.0]]))
      >>> assert y == 0.5  # 1 / √4

    Reference: Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868.
    """

    def _l2_normalize(self, path: Any, vs: Any) -> Any:  # called by Flax for every variable
        name = f"{self.layer_instance.name}/{spelled(path[1:])}"
        if self.variable_filter and not any(part in name for part in self.variable_filter):
            return vs
        scale = None
        if self.use_scale:
            features = () if self.feature_axes is None else axes_of(vs.ndim, self.feature_axes)
            scale = self.param(
                f"{name}/scale",
                self.scale_init,
                tuple(vs.shape[axis] for axis in features),
                self.param_dtype,
            )
        return F.weight_norm(
            vs, scale, feature_axes=self.feature_axes, epsilon=self.epsilon, dtype=self.dtype
        )


class SpectralNorm(linen.SpectralNorm):
    """A layer whose weights have largest singular value one.

    **Rule** w = W / σ, σ ≈ σ₁(W) after ``n_steps`` steps of power iteration per call, see ``functional.spectral_norm``.

    **Remembers** batch_stats ``<path>/u`` [1, outputs] and ``<path>/sigma`` [], beside the params of the layer.

    Args: those of ``flax.linen.SpectralNorm``; the call takes ``update_stats``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import linen
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.SpectralNorm(linen.Dense(2, use_bias=False), n_steps=50)
      >>> w, _ = layer.init_with_output(jax.random.key(0), jnp.eye(2), update_stats=True)
      >>> assert abs(float(jnp.linalg.svd(w)[1][0]) - 1) < 1e-5

    Reference: Miyato et al. 2018, https://arxiv.org/abs/1802.05957.
    """

    def _spectral_normalize(
        self, path: Any, vs: Any, update_stats: bool
    ) -> Any:  # called by Flax for every variable
        if vs.ndim <= 1 or self.n_steps < 1:
            return vs
        if vs.ndim > 2 and self.error_on_non_matrix:
            check.fail(
                "needs matrices",
                check.shape_dtype(vs),
                "Pass error_on_non_matrix=False to flatten the leading axes",
                path=spelled(path[1:]),
            )
        name = f"{self.layer_instance.name}/{spelled(path[1:])}"
        shape = (1, vs.shape[-1])
        u = self.variable(
            self.collection_name,
            f"{name}/u",
            lambda: jax.random.normal(self.make_rng("params"), shape, self.param_dtype),
        )
        sigma = self.variable(
            self.collection_name, f"{name}/sigma", lambda: jnp.ones((), self.param_dtype)
        )
        w, new_u, new_sigma = F.spectral_norm(
            vs, u.value, n_steps=self.n_steps, epsilon=self.epsilon, dtype=self.dtype
        )
        if update_stats:
            u.value, sigma.value = (
                new_u.astype(self.param_dtype),
                new_sigma.astype(self.param_dtype),
            )
        return w


class WeightStandardization(linen.Module):
    """A layer whose weights have mean 0 and variance 1 over what enters each output.

    **Rule** w = (W − μ) / √(σ² + ε), moments over all axes but the last.

    **Remembers** nothing beside the params of the layer.

    Args: those of `gradkit.nn.WeightStandardization`; ``variable_filter`` holds parts of names.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import linen
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.WeightStandardization(linen.Dense(3, use_bias=False))
      >>> w, _ = layer.init_with_output(jax.random.key(0), jnp.eye(5))
      >>> assert jnp.allclose(w.mean(0), 0, atol=1e-6) and jnp.allclose(w.std(0), 1, atol=1e-5)

    Reference: Qiao et al. 2019, https://arxiv.org/abs/1903.10520.
    """

    layer_instance: Any
    feature_axes: Any = -1
    epsilon: float = 1e-10
    dtype: Any = None
    variable_filter: Any = ("kernel",)

    @linen.compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        def change(path: Any, value: Any) -> Any:
            if not any(part in spelled(path) for part in self.variable_filter):
                return value
            return F.standardize_weight(
                value, feature_axes=self.feature_axes, epsilon=self.epsilon, dtype=self.dtype
            )

        return with_weights(
            self.layer_instance, change, *args, init=self.is_initializing(), **kwargs
        )
