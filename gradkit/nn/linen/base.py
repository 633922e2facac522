"""What the Linen layers share: names in errors, modes, parameters, options and random keys."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import linen
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit.nn.functional.arguments import as_array, as_axes, check_flag
from gradkit.nn.functional.options import check_options

Initializer = Callable[..., jax.Array]


def inside(layer: linen.Module) -> contextlib.AbstractContextManager[None]:
    """Let errors name the layer."""
    return check.inside(layer.name or type(layer).__name__)


def resolve_flag(layer: linen.Module, name: str, given: Any) -> bool:
    """The flag of the call or that of the layer; exactly one of them is given."""
    own = getattr(layer, name)
    if (own is None) == (given is None):
        problem = (
            f"{name} is given {'neither' if own is None else 'both'} to the layer and to the call"
        )
        if own is None:
            problem = f"{name} is given neither to the layer nor to the call"
        fix = f"Pass {name}=True or False in one of the two places"
        check.refuse(problem, expected="exactly one of the two", fix=fix)
    flag = own if given is None else given
    check_flag(flag, name)
    return bool(flag)


def check_fields(layer: linen.Module) -> None:
    """Check the fields of a layer that have a meaning shared by all layers."""
    fields = [
        field.name for field in dataclasses.fields(layer) if field.name not in ("parent", "name")
    ]
    check_options(**{name: getattr(layer, name) for name in fields})


def affine(layer: Any, x: jax.Array, axes: Any, name: str = "feature_axes") -> tuple[Any, Any]:
    """γ and β of a layer, None where its fields switch them off."""
    check_fields(layer)
    shape = tuple(x.shape[axis] for axis in as_axes(x.ndim, axes, name))
    scale = bias = None
    if layer.use_scale:
        scale = layer.param("scale", layer.scale_init, shape, layer.param_dtype)
    if getattr(layer, "use_bias", False):
        bias = layer.param("bias", layer.bias_init, shape, layer.param_dtype)
    return scale, bias


def options_of(layer: Any, *own: str, **more: Any) -> dict[str, Any]:
    """The keyword arguments that all functions of Flax's layers take, and the layer's own."""
    axis_name = None if layer.is_initializing() else layer.axis_name  # init is not mapped
    return {
        "epsilon": layer.epsilon,
        "dtype": layer.dtype,
        "axis_name": axis_name,
        "axis_index_groups": None if axis_name is None else layer.axis_index_groups,
        **{name: getattr(layer, name) for name in own},
        **more,
    }


def needs_key(rate: Any) -> bool:
    """Whether a rate needs a draw: not if it is the number 0 or 1."""
    return not (isinstance(rate, (int, float)) and rate in {0, 1})


def key_of(layer: Any, rng: Any, *, needed: bool = True) -> Any:
    """The key of this call; None where none is needed."""
    if rng is not None or not needed:
        return rng
    if not layer.has_rng(layer.rng_collection):
        name = layer.rng_collection
        problem = f"rngs has no key of the collection {name!r}"
        fix = f"Call apply(..., rngs={{{name!r}: jax.random.key(0)}}), or pass deterministic=True"
        check.refuse(problem, expected=f"a key named {name!r}", fix=fix, error=TypeError)
    return layer.make_rng(layer.rng_collection)


class NoiseLayer(linen.Module):
    """Base class of the noise layers: their mode and keys.

    Flags are keyword-only, so that the second positional field is one of the layer's own, as in
    Flax's Dropout.
    """

    rate: ArrayLike
    deterministic: bool | None = dataclasses.field(default=None, kw_only=True)
    rng_collection: str = dataclasses.field(default="dropout", kw_only=True)

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        raise NotImplementedError

    def _needs_key(self, rate: Any) -> bool:
        return needs_key(rate)

    @linen.compact
    def __call__(
        self,
        inputs: jax.Array,
        deterministic: bool | None = None,
        rng: jax.Array | None = None,
        *,
        rate: ArrayLike | None = None,
    ) -> jax.Array:
        with inside(self):
            chosen = self.rate if rate is None else rate
            x = as_array(inputs)
            if resolve_flag(self, "deterministic", deterministic):
                return x
            key = key_of(self, rng, needed=self._needs_key(chosen))
            return self._noisy(x, chosen, key)
