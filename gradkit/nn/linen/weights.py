"""Wrappers for Flax Linen that normalize the weights of a layer at each call."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import Axes, as_axes, describe
from gradkit.nn.linen.base import check_fields, inside


def name_of(path: Any) -> str:
    """``Dense_0/kernel`` for the path of a variable."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def selects(variable_filter: Any, path: Any) -> bool:
    """Whether a part of the filter is in the name of the variable."""
    sequence = isinstance(variable_filter, Collection) and not isinstance(variable_filter, str)
    if not sequence or not all(isinstance(part, str) for part in variable_filter):
        problem = f"variable_filter={describe(variable_filter)} is not a filter"
        expected = "a sequence of parts of names, such as ('kernel',)"
        check.refuse(problem, expected=expected, error=TypeError)
    return any(part in name_of(path) for part in variable_filter)


def call_with_weights(
    layer: Any,
    change: Callable[[Any, jax.Array], jax.Array],
    *args: Any,
    init: bool,
    **kwargs: Any,
) -> Any:
    """Call a layer with ``change(path, value)`` as its params."""
    if not isinstance(layer, linen.Module):
        problem = f"layer_instance={describe(layer)} is not a layer"
        check.refuse(problem, expected="a linen.Module", error=TypeError)
    swap = lambda params: jax.tree_util.tree_map_with_path(change, params)
    call = lambda inner: inner(*args, **kwargs)
    return linen.map_variables(call, trans_in_fn=swap, init=init, mutable=False)(layer)


class WeightNorm(linen.WeightNorm):
    """Weight normalization wrapper: weights are a direction times a learned length.

    **Value** w = γ v / √(‖v‖² + ε), the norm over all axes but ``feature_axes``.

    **State** params ``<path>/scale`` (in ``param_dtype``), beside those of the layer.

    Args: those of ``flax.linen.WeightNorm``.

    Raises:
      ValueError: an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import linen
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.WeightNorm(linen.Dense(1, kernel_init=linen.initializers.ones))
      >>> y, _ = layer.init_with_output(jax.random.key(0), jnp.array([[1.0, 0.0, 0.0, 0.0]]))
      >>> assert y == 0.5  # 1 / √4

    Reference: Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868.
    """

    def _l2_normalize(self, path: Any, vs: jax.Array) -> jax.Array:  # Flax calls it per variable
        name = f"{self.layer_instance.name}/{name_of(path[1:])}"
        if self.variable_filter and not any(part in name for part in self.variable_filter):
            return vs
        with inside(self):
            check_fields(self)
            scale = None
            if self.use_scale:
                axes = () if self.feature_axes is None else self.feature_axes
                shape = tuple(vs.shape[axis] for axis in as_axes(vs.ndim, axes, "feature_axes"))
                scale = self.param(f"{name}/scale", self.scale_init, shape, self.param_dtype)
            options: dict[str, Any] = {"epsilon": self.epsilon, "dtype": self.dtype}
            return F.weight_norm(vs, scale, feature_axes=self.feature_axes, **options)


class SpectralNorm(linen.SpectralNorm):
    """Spectral normalization wrapper: weights have the largest singular value one.

    **Value** w = W / σ, σ ≈ σ₁(W) after ``n_steps`` power iterations per call, see
    ``functional.spectral_norm``.

    **State** batch_stats ``<path>/u`` [1, outputs] and ``<path>/sigma`` [], beside the params of
    the layer.

    Args: those of ``flax.linen.SpectralNorm``; the call takes ``update_stats``.

    Raises:
      ValueError: a weight of more than two axes with ``error_on_non_matrix``, an argument out of
        range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import linen
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.SpectralNorm(linen.Dense(2, use_bias=False), n_steps=50)
      >>> w, _ = layer.init_with_output(jax.random.key(0), jnp.eye(2), update_stats=True)
      >>> assert abs(float(jnp.linalg.svd(w)[1][0]) - 1) < 1e-5

    Reference: Miyato et al. 2018, https://arxiv.org/abs/1802.05957.
    """

    def _spectral_normalize(self, path: Any, vs: jax.Array, update_stats: bool) -> jax.Array:
        # Flax calls it per variable.
        with inside(self):
            check_fields(self)
            check.integer(0, n_steps=self.n_steps)
            if vs.ndim <= 1 or self.n_steps < 1:
                return vs
            if vs.ndim > 2 and self.error_on_non_matrix:
                problem = f"{name_of(path[1:])} has the shape {list(vs.shape)}"
                fix = "Pass error_on_non_matrix=False to flatten the leading axes"
                check.refuse(problem, expected="a matrix", fix=fix)
            name, shape = f"{self.layer_instance.name}/{name_of(path[1:])}", (1, vs.shape[-1])
            normal = lambda: jax.random.normal(self.make_rng("params"), shape, self.param_dtype)
            one = lambda: jnp.ones((), self.param_dtype)
            u = self.variable(self.collection_name, f"{name}/u", normal)
            sigma = self.variable(self.collection_name, f"{name}/sigma", one)
            options: dict[str, Any] = {"n_steps": self.n_steps, "epsilon": self.epsilon}
            w, new_u, new_sigma = F.spectral_norm(vs, u.value, **options, dtype=self.dtype)
            if update_stats:
                u.value = new_u.astype(self.param_dtype)
                sigma.value = new_sigma.astype(self.param_dtype)
            return w


class WeightStandardization(linen.Module):
    """Weight standardization wrapper: mean 0 and variance 1 over the inputs of each output.

    **Value** w = (W − μ) / √(σ² + ε), moments over all axes but ``feature_axes``.

    **State** none beside that of the layer.

    Args:
      layer_instance: the layer.
      feature_axes: the axis (or axes) of the outputs of a weight.
      epsilon: ε >= 0, added to the variance.
      dtype: floating dtype of the weights in the call; by default that of the param.
      variable_filter: parts of names; a param whose name contains one of them is standardized.

    Raises:
      ValueError: an argument out of range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import linen
      >>> from gradkit.nn import linen as gnn
      >>> layer = gnn.WeightStandardization(linen.Dense(3, use_bias=False))
      >>> w, _ = layer.init_with_output(jax.random.key(0), jnp.eye(5))
      >>> assert jnp.allclose(w.mean(0), 0, atol=1e-6) and jnp.allclose(w.std(0), 1, atol=1e-5)

    Reference: Qiao et al. 2019, https://arxiv.org/abs/1903.10520.
    """

    layer_instance: linen.Module
    feature_axes: Axes = -1
    epsilon: float = 1e-10
    dtype: DTypeLike | None = None
    variable_filter: Sequence[str] = ("kernel",)

    @linen.compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        def change(path: Any, value: jax.Array) -> jax.Array:
            if not selects(self.variable_filter, path):
                return value
            options: dict[str, Any] = {"epsilon": self.epsilon, "dtype": self.dtype}
            return F.standardize_weight(value, feature_axes=self.feature_axes, **options)

        with inside(self):
            check_fields(self)
            init = self.is_initializing()
            return call_with_weights(self.layer_instance, change, *args, init=init, **kwargs)
