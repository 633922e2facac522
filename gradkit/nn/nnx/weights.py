"""Flax NNX wrappers that change a layer's weights on the way in: normalized, standardized, dropped.

The wrapped layer keeps its own parameters; each call runs a copy that shares all but the changed weights.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes, initializers

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.moments import axes_of
from gradkit.nn.nnx.norm import FrozenBatchNorm, _chosen, need_rngs, show_signature
from gradkit.nn.nnx.dropout import Noise

KERNELS = nnx.PathContains("kernel")


def _parameters(layer: Any, which: Any) -> dict[tuple[Any, ...], Any]:
    """The layer's parameters that the filter takes, by path."""
    wanted = nnx.filterlib.to_predicate(which)
    found = {path: variable for path, variable in nnx.to_flat_state(nnx.state(layer, nnx.Param)) if wanted(path, variable)}
    if not found:
        check.fail("needs a layer with parameters that variable_filter takes", f"none in {type(layer).__name__}", path="variable_filter")
    return found


def with_weights(layer: Any, change: Callable[[tuple[Any, ...], Any], Any], which: Any = KERNELS) -> Any:
    """A copy of ``layer`` with ``change(path, value)`` in place of the weights; all other variables are the layer's own."""
    graph, state = nnx.split(layer)
    flat = dict(nnx.to_flat_state(state))
    for path, variable in _parameters(layer, which).items():
        flat[path] = variable.replace(change(path, variable[...]))
    return nnx.merge(graph, nnx.from_flat_state(flat))


class WeightNorm(nnx.Module):
    """A layer whose weights are a direction times a learned length.

    **Rule** w = γ v / √(‖v‖² + ε), the norm over all axes but ``feature_axes``; v is the wrapped layer's parameter.

    **Remembers** ``scales`` {path: γ} (Param), beside the parameters of the layer.

    Args: those of ``flax.nnx.WeightNorm``.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.WeightNorm(nnx.Linear(2, 1, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
      >>> layer.layer_instance.kernel[...] = jnp.array([[3.0], [4.0]])
      >>> assert abs(float(layer(jnp.array([[1.0, 0.0]]))[0, 0]) - 0.6) < 1e-6

    **Differs** from Flax: γ is a Param and so learns; v stays as it is instead of being overwritten by w at each call.

    Reference: Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868.
    """

    def __init__(
        self,
        layer_instance: Any,
        *,
        feature_axes: Any = -1,
        use_scale: bool = True,
        scale_init: Any = initializers.ones,
        epsilon: float = 1e-12,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        variable_filter: Any = KERNELS,
        promote_dtype: Any = dtypes.promote_dtype,
        rngs: Any = None,
    ) -> None:
        with check.inside("WeightNorm"):
            check.non_negative(epsilon=epsilon)
            found = _parameters(layer_instance, variable_filter)
            shapes = {path: tuple(v.shape[a] for a in axes_of(v.ndim, () if feature_axes is None else feature_axes)) for path, v in found.items()}
            if use_scale:
                need_rngs(rngs)
        self.layer_instance, self.feature_axes, self.use_scale, self.epsilon, self.dtype = layer_instance, feature_axes, use_scale, epsilon, dtype
        self.variable_filter = variable_filter
        self.scales = nnx.data({path: nnx.Param(scale_init(rngs.params(), shape, param_dtype)) for path, shape in shapes.items()} if use_scale else None)

    def _weight(self, path: Any, v: Any) -> Any:
        scale = self.scales[path][...] if self.use_scale else None
        return F.weight_norm(v, scale, feature_axes=self.feature_axes, epsilon=self.epsilon, dtype=self.dtype)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        with check.inside("WeightNorm"):
            return with_weights(self.layer_instance, self._weight, self.variable_filter)(x, *args, **kwargs)


@show_signature
class SpectralNorm(nnx.SpectralNorm):
    """A layer whose weights have largest singular value one.

    **Rule** w = W / σ, σ ≈ σ₁(W) after ``n_steps`` steps of power iteration per call, see ``functional.spectral_norm``.

    **Remembers** ``batch_stats`` {path + u: [1, outputs], path + sigma: []} (BatchStat), beside the parameters of the layer.

    Args: those of ``flax.nnx.SpectralNorm``.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.SpectralNorm(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), n_steps=30, rngs=nnx.Rngs(0))
      >>> layer.layer_instance.kernel[...] = jnp.diag(jnp.array([4.0, 1.0]))
      >>> assert jnp.allclose(layer(jnp.eye(2)), jnp.diag(jnp.array([1.0, 0.25])), atol=1e-6)

    **Differs** from Flax: W stays as it is instead of being overwritten by w at each call; all parameters of two axes or more are meant, as there.

    Reference: Miyato et al. 2018, https://arxiv.org/abs/1802.05957.
    """

    def __init__(self, layer_instance: Any, *, rngs: Any = None, **flax: Any) -> None:
        with check.inside("SpectralNorm"):
            need_rngs(rngs)
            check.integer(1, n_steps=flax.get("n_steps", 1))
        super().__init__(layer_instance, rngs=rngs, **flax)

    def __call__(self, x: Any, update_stats: bool | None = None) -> Any:
        update_stats = not self.use_running_average if update_stats is None else update_stats

        def weight(path: Any, kernel: Any) -> Any:
            u, sigma = self.batch_stats[(*path, "u")], self.batch_stats[(*path, "sigma")]
            w, new_u, new_sigma = F.spectral_norm(kernel, u[...], n_steps=self.n_steps, epsilon=self.epsilon, dtype=self.dtype)
            if update_stats:
                u[...], sigma[...] = new_u.astype(u.dtype), new_sigma.astype(sigma.dtype)
            return w

        with check.inside("SpectralNorm"):
            return with_weights(self.layer_instance, weight, lambda path, variable: variable.ndim > 1)(x)


class WeightStandardization(nnx.Module):
    """A layer whose weights have mean 0 and variance 1 over what enters each output.

    **Rule** w = (W − μ) / √(σ² + ε), moments over all axes but the last.

    **Remembers** nothing beside the parameters of the layer.

    Args:
      layer_instance: the layer.
      feature_axes: the output's axis of a weight.
      epsilon: ε >= 0 under the root.
      dtype: dtype of the weights in the call; by default their own.
      variable_filter: which parameters are meant.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.WeightStandardization(nnx.Linear(2, 1, rngs=nnx.Rngs(0)))
      >>> layer.layer_instance.kernel[...] = jnp.array([[1.0], [3.0]])
      >>> assert jnp.allclose(layer(jnp.eye(2)), jnp.array([[-1.0], [1.0]]))

    Reference: Qiao et al. 2019, https://arxiv.org/abs/1903.10520.
    """

    def __init__(self, layer_instance: Any, *, feature_axes: Any = -1, epsilon: float = 1e-10, dtype: Any = None, variable_filter: Any = KERNELS) -> None:
        with check.inside("WeightStandardization"):
            check.non_negative(epsilon=epsilon)
            _parameters(layer_instance, variable_filter)
        self.layer_instance, self.feature_axes, self.epsilon, self.dtype = layer_instance, feature_axes, epsilon, dtype
        self.variable_filter = variable_filter

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        def weight(path: Any, kernel: Any) -> Any:
            return F.standardize_weight(kernel, feature_axes=self.feature_axes, epsilon=self.epsilon, dtype=self.dtype)

        return with_weights(self.layer_instance, weight, self.variable_filter)(x, *args, **kwargs)


class DropConnect(Noise):
    """Dropout on the weights of a layer, one mask per call.

    **Rule** w = W m / (1 − p), m ~ Bernoulli(1 − p) per weight; W at inference.

    **Remembers** its key and count, beside the parameters of the layer.

    Args:
      layer_instance: the layer.
      rate: p in [0, 1].
      variable_filter: which parameters are meant.
      deterministic: inference.
      rng_collection: the stream of keys.
      rngs: where the keys come from; may be given to the call instead.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> layer = gnn.DropConnect(nnx.Linear(4, 4, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0)), 0.5, rngs=nnx.Rngs(0))
      >>> assert set(layer(jnp.eye(4)).ravel().tolist()) == {0.0, 2.0}  # weights are dropped, not outputs

    **Differs** from what some model collections call drop connect, which drops residual branches: that is `DropPath`.

    Reference: Wan et al. 2013, https://proceedings.mlr.press/v28/wan13.html.
    """

    def __init__(self, layer_instance: Any, rate: Any, *, variable_filter: Any = KERNELS, **common: Any) -> None:
        super().__init__(rate, **common)
        with check.inside("DropConnect"):
            _parameters(layer_instance, variable_filter)
        self.layer_instance, self.variable_filter = layer_instance, variable_filter

    def __call__(self, inputs: Any, *args: Any, deterministic: bool | None = None, rngs: Any = None, rate: Any = None, **kwargs: Any) -> Any:
        with check.inside("DropConnect"):
            if _chosen(self, "deterministic", deterministic):
                return self.layer_instance(inputs, *args, **kwargs)
            rate = self.rate if rate is None else rate
            weight = lambda path, kernel: F.dropout(kernel, rate, self._key(rngs, rate))
            return with_weights(self.layer_instance, weight, self.variable_filter)(inputs, *args, **kwargs)


def fold_batch_norm(layer: Any, batch_norm: Any) -> Any:
    """One layer that does what ``layer`` and the inference ``batch_norm`` after it do.

    **Rule** a = γ / √(σ_R² + ε); W' = W a, b' = (b − μ_R) a + β.

    Args:
      layer: ``nnx.Linear``, ``nnx.Conv``, ``nnx.ConvTranspose`` without ``transpose_kernel``, or ``nnx.LinearGeneral`` of one output axis and no batch axis.
        For a layer of your own there is ``functional.fold_batch_norm``.
      batch_norm: a `BatchNorm` or `FrozenBatchNorm` (ours or Flax's) over the last axis.

    Returns:
      A new layer with a bias; both arguments stay as they are.

    Raises:
      TypeError: a layer that computes something else with its kernel, or a normalization of another kind.
      ValueError: widths that do not match, or another axis than the last.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> dense, norm = nnx.Linear(3, 2, rngs=nnx.Rngs(0)), gnn.BatchNorm(2, momentum=0.0, rngs=nnx.Rngs(0))
      >>> x = jax.random.normal(jax.random.key(0), (8, 3))
      >>> _ = norm(dense(x))
      >>> assert jnp.allclose(gnn.fold_batch_norm(dense, norm)(x), norm(dense(x), use_running_average=True), atol=1e-5)
    """
    with check.inside("fold_batch_norm"):
        _foldable(layer, batch_norm)
        value = lambda owner, name: None if getattr(owner, name) is None else getattr(owner, name)[...]
        statistics = [value(batch_norm, name) for name in ("mean", "var", "scale", "bias")]
        kernel, bias = F.fold_batch_norm(value(layer, "kernel"), value(layer, "bias"), *statistics, epsilon=batch_norm.epsilon)
    folded = nnx.clone(layer)
    folded.kernel = layer.kernel.replace(kernel)
    folded.bias = nnx.Param(bias) if layer.bias is None else layer.bias.replace(bias)
    folded.use_bias = True
    return folded


_FOLDABLE = (nnx.Linear, nnx.LinearGeneral, nnx.Conv, nnx.ConvTranspose)


def _foldable(layer: Any, batch_norm: Any) -> None:
    """Refuse what two arrays cannot say."""
    if type(layer).__call__ not in [taken.__call__ for taken in _FOLDABLE]:  # a subclass with a call of its own does something else with its kernel
        known = ", ".join(f"nnx.{taken.__name__}" for taken in _FOLDABLE)
        mend = "The normalization comes second; the arrays of other layers go through functional.fold_batch_norm"
        check.fail(f"needs one of {known}", type(layer).__name__, mend, path="layer", error=TypeError)
    if not isinstance(batch_norm, (nnx.BatchNorm, FrozenBatchNorm)):
        check.fail("needs a BatchNorm or FrozenBatchNorm", type(batch_norm).__name__, path="batch_norm", error=TypeError)
    outputs, batch = getattr(layer, "out_features", None), getattr(layer, "batch_axis", {})
    if isinstance(layer, nnx.LinearGeneral) and (len(layer.out_features) != 1 or batch):
        check.fail("needs one output axis and no batch axis", f"out_features={outputs}, batch_axis={dict(batch)}", path="layer")
    if getattr(layer, "transpose_kernel", False) or batch_norm.axis != -1:
        got = "transpose_kernel=True" if batch_norm.axis == -1 else f"axis={batch_norm.axis}"
        check.fail("needs outputs on the last axis, of the kernel and of the normalization", got, path="layer")
