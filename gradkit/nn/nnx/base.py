"""What the NNX layers share: argument checks, inputs, modes, and the keys of noise layers."""

import inspect
from typing import Any, TypeAlias, TypeVar

import jax
from flax import nnx
from flax.nnx.nn import dtypes
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit.nn.functional.arguments import as_array, check_flag, check_number, describe
from gradkit.nn.functional.options import check_options

Layer = TypeVar("Layer", bound=type)
Rngs: TypeAlias = nnx.Rngs | nnx.RngStream


def show_signature(cls: Layer) -> Layer:
    """Show in ``help`` the arguments that a constructor passes on to Flax beside its own."""
    shown: dict[str, inspect.Parameter] = {}
    positional = True  # until a constructor names all of them
    for constructor in (vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)):
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        kinds = {parameter.kind for parameter in parameters}
        for parameter in parameters:
            by_position = positional and parameter.kind == parameter.POSITIONAL_OR_KEYWORD
            if parameter.kind == parameter.KEYWORD_ONLY or by_position:
                shown.setdefault(parameter.name, parameter)
        positional = positional and inspect.Parameter.VAR_POSITIONAL in kinds
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    ordered = sorted(shown.values(), key=lambda parameter: parameter.kind)
    cls.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    return cls


class NormLayer:
    """Mixin of the subclasses of Flax's layers: checks arguments, and errors name the layer."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        show_signature(cls)

    def __init__(self, *args: Any, rngs: nnx.Rngs | None = None, **kwargs: Any) -> None:
        with check.inside(type(self).__name__):
            require_rngs(rngs)
            self._check(*args, **kwargs)
        super().__init__(*args, rngs=rngs, **kwargs)  # type: ignore[call-arg]

    def _check(self, num_features: Any = None, *args: Any, **options: Any) -> None:
        check_options(num_features=num_features, **options)


def require_rngs(rngs: Any) -> None:
    """Refuse to initialize parameters without ``nnx.Rngs``."""
    if not isinstance(rngs, nnx.Rngs):
        fix = "Pass rngs=nnx.Rngs(0)"
        if rngs is None:
            problem = "rngs=None: the parameters need random keys"
        else:
            problem = f"rngs={describe(rngs)} is not an nnx.Rngs"
        check.refuse(problem, expected="an nnx.Rngs", fix=fix, error=TypeError)


def value_of(variable: Any) -> Any:
    """The array of a variable; None for none."""
    return None if variable is None else variable[...]


def inputs_of(layer: Any, x: Any, *variables: Any) -> tuple[Any, ...]:
    """Input and parameters, which are rounded to ``dtype`` only by a user's ``promote_dtype``."""
    arrays = (as_array(x), *map(value_of, variables))
    if layer.promote_dtype is dtypes.promote_dtype:
        return arrays
    return tuple(layer.promote_dtype(arrays, dtype=layer.dtype))


def options_of(layer: Any, *own: str, **more: Any) -> dict[str, Any]:
    """The keyword arguments that all functions of Flax's layers take, and the layer's own."""
    names = ("epsilon", "dtype", "axis_name", "axis_index_groups", *own)
    return {name: getattr(layer, name) for name in names} | more


def resolve_flag(layer: Any, name: str, given: Any) -> bool:
    """The flag of the call, or that of the layer."""
    flag = getattr(layer, name) if given is None else given
    if flag is None:
        problem = f"{name}=None in the layer and in the call"
        fix = "Pass it to the layer or to the call, or call model.train() or model.eval()"
        check.refuse(problem, expected="True or False", fix=fix)
    check_flag(flag, name)
    return bool(flag)


def stream_of(rngs: nnx.Rngs, name: str) -> Any:
    """The stream of that name, or the default stream."""
    if name not in rngs and "default" not in rngs:
        streams = ", ".join(stream for stream, _ in rngs.items())
        problem = (
            f"rngs has no stream {name!r}, only {streams}" if streams else "rngs has no stream"
        )
        fix = f"Pass rngs=nnx.Rngs({name}=0)"
        check.refuse(
            problem, expected=f"a stream {name!r} or a default one", fix=fix, error=TypeError
        )
    return rngs[name]


class NoiseLayer(nnx.Dropout):
    """Base class of the noise layers: their mode and keys, as in Flax's Dropout."""

    def __init__(
        self,
        rate: ArrayLike,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Rngs | None = None,
    ) -> None:
        with check.inside(type(self).__name__):
            self._check(rate)
            check_flag(deterministic, "deterministic", optional=True)
            if not isinstance(rng_collection, str):
                problem = f"rng_collection={describe(rng_collection)} is not a name"
                check.refuse(problem, expected="the name of a stream", error=TypeError)
            if rngs is not None and not isinstance(rngs, (nnx.Rngs, nnx.RngStream)):
                problem = f"rngs={describe(rngs)} is not a source of keys"
                expected = "an nnx.Rngs or an nnx.RngStream"
                fix = "Pass rngs=nnx.Rngs(0)"
                check.refuse(problem, expected=expected, fix=fix, error=TypeError)
            if isinstance(rngs, nnx.Rngs):
                stream_of(rngs, rng_collection)
        super().__init__(
            rate, deterministic=deterministic, rng_collection=rng_collection, rngs=rngs
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        show_signature(cls)

    def _check(self, rate: Any) -> None:
        check_number(rate, "rate", check.probability)

    def _needs_key(self, rate: Any) -> bool:
        return not (isinstance(rate, (int, float)) and rate in {0, 1})

    def _key(self, rngs: Any, rate: Any) -> Any:
        """The key of this call; None where the rate needs no draw."""
        if not self._needs_key(rate):
            return None
        rngs = self.rngs if rngs is None else rngs
        if isinstance(rngs, nnx.Rngs):
            return stream_of(rngs, self.rng_collection)()
        if isinstance(rngs, nnx.RngStream):
            return rngs()
        if rngs is None:
            fix = "Pass rngs=nnx.Rngs(0) to the layer, or rngs to the call, or deterministic=True"
            problem = f"rngs=None: the {self.rng_collection} mask needs a random key"
            expected = "an nnx.Rngs, an nnx.RngStream or a key"
            check.refuse(problem, expected=expected, fix=fix, error=TypeError)
        if not isinstance(rngs, jax.Array):
            problem = f"rngs={describe(rngs)} is not a source of keys"
            expected = "an nnx.Rngs, an nnx.RngStream or a key"
            fix = "Pass rngs=jax.random.key(0)"
            check.refuse(problem, expected=expected, fix=fix, error=TypeError)
        return rngs

    def _noisy(self, x: jax.Array, rate: ArrayLike, key: Any) -> jax.Array:
        raise NotImplementedError

    def _silent(self, x: jax.Array, rate: ArrayLike) -> jax.Array:
        return x

    def __call__(
        self,
        inputs: jax.Array,
        *,
        deterministic: bool | None = None,
        rngs: Rngs | jax.Array | None = None,
        rate: ArrayLike | None = None,
    ) -> jax.Array:
        with check.inside(type(self).__name__):
            rate = self.rate if rate is None else rate
            x = as_array(inputs)
            if resolve_flag(self, "deterministic", deterministic):
                return self._silent(x, rate)
            return self._noisy(x, rate, self._key(rngs, rate))
