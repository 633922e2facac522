"""Wrappers for Flax NNX that normalize the weights of a layer at each call.

The wrapped layer keeps its own parameters; each call runs a copy that shares everything but the
changed weights.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes, initializers
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import Axes, as_axes, axis_integers, check_flag, describe
from gradkit.nn.functional.options import check_options
from gradkit.nn.nnx.base import require_rngs, show_signature

KERNELS = nnx.PathContains("kernel")


def parameters_of(layer: Any, variable_filter: Any) -> dict[tuple[Any, ...], Any]:
    """The parameters of a layer that the filter selects, by path."""
    if not isinstance(layer, nnx.Module):
        problem = f"layer_instance={describe(layer)} is not a layer"
        check.refuse(problem, expected="an nnx.Module", error=TypeError)
    try:
        selects = nnx.filterlib.to_predicate(variable_filter)
    except (TypeError, ValueError):
        problem = f"variable_filter={describe(variable_filter)} is not a filter"
        expected = "an nnx filter, such as nnx.PathContains('kernel')"
        check.refuse(problem, expected=expected, error=TypeError)
    flat = nnx.to_flat_state(nnx.state(layer, nnx.Param))
    selected = {path: variable for path, variable in flat if selects(path, variable)}
    if not selected:
        paths = ", ".join(".".join(map(str, path)) for path, _ in flat) or "none"
        problem = f"variable_filter={describe(variable_filter)} selects no parameter"
        expected = f"a filter of those of {type(layer).__name__}: {paths}"
        check.refuse(problem, expected=expected)
    return selected


def call_with_weights(
    layer: nnx.Module,
    change: Callable[[tuple[Any, ...], jax.Array], jax.Array],
    variable_filter: Any = KERNELS,
) -> Any:
    """A copy of a layer with ``change(path, value)`` as weights; other variables are shared."""
    graph, state = nnx.split(layer)
    flat = dict(nnx.to_flat_state(state))
    for path, variable in parameters_of(layer, variable_filter).items():
        flat[path] = variable.replace(change(path, variable[...]))
    return nnx.merge(graph, nnx.from_flat_state(flat))


class WeightNorm(nnx.Module):
    """Weight normalization wrapper: weights are a direction times a learned length.

    **Value** w = γ v / √(‖v‖² + ε), the norm over all axes but ``feature_axes``; v is the parameter
    of the wrapped layer.

    **State** ``scales`` {path: γ} (Param, in ``param_dtype``), beside the state of the layer.

    Args:
      layer_instance: the layer.
      feature_axes: the axes of a weight that keep a norm of their own; None for one norm of the
        whole weight.
      use_scale: learn γ; otherwise it is 1.
      scale_init: initializer of γ.
      epsilon: ε >= 0, added to the squared norm.
      dtype: floating dtype of the weights in the call; by default the promoted dtype of v and γ.
      param_dtype: dtype of γ.
      variable_filter: an ``nnx`` filter that selects the parameters to normalize.
      promote_dtype: accepted as in ``flax.nnx.WeightNorm``; the arithmetic is in float32 or wider.
      rngs: the source of keys for ``scale_init``.

    Raises:
      ValueError: an argument out of range, a filter that selects no parameter.
      TypeError: no ``rngs``, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.WeightNorm(nnx.Linear(2, 1, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
      >>> layer.layer_instance.kernel[...] = jnp.array([[3.0], [4.0]])
      >>> assert abs(float(layer(jnp.array([[1.0, 0.0]]))[0, 0]) - 0.6) < 1e-6

    **Differs from Flax**: γ is a Param, so it is trained; v is not overwritten by w at each call.

    Reference: Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868.
    """

    def __init__(
        self,
        layer_instance: nnx.Module,
        *,
        feature_axes: Axes | None = -1,
        use_scale: bool = True,
        scale_init: Callable[..., jax.Array] = initializers.ones,
        epsilon: float = 1e-12,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        variable_filter: Any = KERNELS,
        promote_dtype: Any = dtypes.promote_dtype,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        with check.inside("WeightNorm"):
            check_options(feature_axes=feature_axes, use_scale=use_scale, epsilon=epsilon)
            check_options(dtype=dtype, param_dtype=param_dtype, scale_init=scale_init)
            axes = () if feature_axes is None else feature_axes
            shapes = {
                path: tuple(v.shape[axis] for axis in as_axes(v.ndim, axes, "feature_axes"))
                for path, v in parameters_of(layer_instance, variable_filter).items()
            }
            if use_scale:
                require_rngs(rngs)
        self.layer_instance, self.feature_axes = layer_instance, feature_axes
        self.use_scale, self.epsilon, self.dtype = use_scale, epsilon, dtype
        self.variable_filter = variable_filter
        scales = None
        if use_scale and rngs is not None:
            init = lambda shape: nnx.Param(scale_init(rngs.params(), shape, param_dtype))
            scales = {path: init(shape) for path, shape in shapes.items()}
        self.scales = nnx.data(scales)

    def _weight(self, path: Any, v: jax.Array) -> jax.Array:
        scale = self.scales[path][...] if self.use_scale else None
        options: dict[str, Any] = {
            "feature_axes": self.feature_axes,
            "epsilon": self.epsilon,
            "dtype": self.dtype,
        }
        return F.weight_norm(v, scale, **options)

    def __call__(self, x: jax.Array, *args: Any, **kwargs: Any) -> Any:
        with check.inside("WeightNorm"):
            layer = call_with_weights(self.layer_instance, self._weight, self.variable_filter)
            return layer(x, *args, **kwargs)


@show_signature
class SpectralNorm(nnx.SpectralNorm):
    """Spectral normalization wrapper: weights have the largest singular value one.

    **Value** w = W / σ, σ ≈ σ₁(W) after ``n_steps`` power iterations per call, see
    ``functional.spectral_norm``.

    **State** ``batch_stats`` {path + u: [1, outputs], path + sigma: []} (BatchStat), beside the
    state of the layer.

    Args: those of ``flax.nnx.SpectralNorm``.

    Raises:
      ValueError: an argument out of range, a layer without weights of two axes or more.
      TypeError: no ``rngs``, or an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> dense = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
      >>> layer = gnn.SpectralNorm(dense, n_steps=30, rngs=nnx.Rngs(0))
      >>> layer.layer_instance.kernel[...] = jnp.diag(jnp.array([4.0, 1.0]))
      >>> assert jnp.allclose(layer(jnp.eye(2)), jnp.diag(jnp.array([1.0, 0.25])), atol=1e-6)

    **Differs from Flax**: W is not overwritten by w at each call. As in Flax, all parameters of two
    axes or more are normalized.

    Reference: Miyato et al. 2018, https://arxiv.org/abs/1802.05957.
    """

    def __init__(
        self, layer_instance: nnx.Module, *, rngs: nnx.Rngs | None = None, **flax: Any
    ) -> None:
        with check.inside("SpectralNorm"):
            require_rngs(rngs)
            check.integer(1, n_steps=flax.get("n_steps", 1))
            check_options(**flax)
            parameters_of(layer_instance, _matrices)
        super().__init__(layer_instance, rngs=rngs, **flax)

    def __call__(self, x: jax.Array, update_stats: bool | None = None) -> Any:
        def weight(path: Any, kernel: jax.Array) -> jax.Array:
            u, sigma = self.batch_stats[(*path, "u")], self.batch_stats[(*path, "sigma")]
            options: dict[str, Any] = {
                "n_steps": self.n_steps,
                "epsilon": self.epsilon,
                "dtype": self.dtype,
            }
            w, new_u, new_sigma = F.spectral_norm(kernel, u[...], **options)
            if update:
                u[...], sigma[...] = new_u.astype(u.dtype), new_sigma.astype(sigma.dtype)
            return w

        with check.inside("SpectralNorm"):
            check_flag(update_stats, "update_stats", optional=True)
            update = not self.use_running_average if update_stats is None else bool(update_stats)
            return call_with_weights(self.layer_instance, weight, _matrices)(x)


def _matrices(path: Any, variable: Any) -> bool:
    """The filter of parameters with two axes or more."""
    return variable.ndim > 1


class WeightStandardization(nnx.Module):
    """Weight standardization wrapper: mean 0 and variance 1 over the inputs of each output.

    **Value** w = (W − μ) / √(σ² + ε), moments over all axes but ``feature_axes``.

    **State** none beside that of the layer.

    Args:
      layer_instance: the layer.
      feature_axes: the axis (or axes) of the outputs of a weight.
      epsilon: ε >= 0, added to the variance.
      dtype: floating dtype of the weights in the call; by default that of the parameter.
      variable_filter: an ``nnx`` filter that selects the parameters to standardize.

    Raises:
      ValueError: an argument out of range, a filter that selects no parameter.
      TypeError: an argument of the wrong kind.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.WeightStandardization(nnx.Linear(2, 1, rngs=nnx.Rngs(0)))
      >>> layer.layer_instance.kernel[...] = jnp.array([[1.0], [3.0]])
      >>> assert jnp.allclose(layer(jnp.eye(2)), jnp.array([[-1.0], [1.0]]))

    Reference: Qiao et al. 2019, https://arxiv.org/abs/1903.10520.
    """

    def __init__(
        self,
        layer_instance: nnx.Module,
        *,
        feature_axes: Axes = -1,
        epsilon: float = 1e-10,
        dtype: DTypeLike | None = None,
        variable_filter: Any = KERNELS,
    ) -> None:
        with check.inside("WeightStandardization"):
            axis_integers(feature_axes, "feature_axes")
            check_options(epsilon=epsilon, dtype=dtype)
            for v in parameters_of(layer_instance, variable_filter).values():
                as_axes(v.ndim, feature_axes, "feature_axes")
        self.layer_instance, self.feature_axes = layer_instance, feature_axes
        self.epsilon, self.dtype, self.variable_filter = epsilon, dtype, variable_filter

    def _weight(self, path: Any, kernel: jax.Array) -> jax.Array:
        options: dict[str, Any] = {
            "feature_axes": self.feature_axes,
            "epsilon": self.epsilon,
            "dtype": self.dtype,
        }
        return F.standardize_weight(kernel, **options)

    def __call__(self, x: jax.Array, *args: Any, **kwargs: Any) -> Any:
        with check.inside("WeightStandardization"):
            layer = call_with_weights(self.layer_instance, self._weight, self.variable_filter)
            return layer(x, *args, **kwargs)
