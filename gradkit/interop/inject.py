"""Hyperparameters in the state, for frameworks that hold the transform as structure."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._call import Call, factory
from gradkit._chain import chain
from gradkit._part import Part
from gradkit._rule import Context, Rule, State
from gradkit._schedule import Schedule, function_schedule
from gradkit._transform import Transform
from gradkit.typing import OptState, Params, Updates

_NAME = "inject_hyperparams"


class InjectHyperparamsState(NamedTuple):
    """The state of a transform made by `inject_hyperparams`, with optax's names.

    ``step`` counts completed updates; ``hyperparams`` holds the values that the last update used
    (before the first, those that it will use); ``inner_state`` is the state of the inner transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> state = gk.inject_hyperparams(gk.sgd)(learning_rate=0.5).init(jnp.zeros(1))
      >>> assert isinstance(state, gk.InjectHyperparamsState) and state.count == 0
    """

    step: Any
    hyperparams: dict[str, Any]
    inner_state: Any

    @property
    def count(self) -> Any:
        """``step``, by optax's name."""
        return self.step

    @property
    def inner(self) -> dict[str, Any]:
        """The same by the name of the transform, as in `State`."""
        return {_NAME: {"hyperparams": self.hyperparams, "inner": self.inner_state}}


class Injected(Transform):
    """A transform whose hyperparameters are part of its state."""

    __slots__ = ()

    def init(self, params: Params) -> Any:
        return _outward(super().init(params))

    def update(
        self, updates: Updates, state: OptState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, Any]:
        updates, after = super().update(updates, self._inward(state), params, **extras)
        return updates, _outward(after)

    def apply(
        self, params: Params, state: OptState, grads: Updates, **extras: Any
    ) -> tuple[Params, Any]:
        params, after = super().apply(params, self._inward(state), grads, **extras)
        return params, _outward(after)

    def _inward(self, state: Any) -> Any:
        """A state in optax's form as a `State`, its names checked here: the user writes to them."""
        state = _inward(state)
        if isinstance(state, State) and isinstance(state.inner.get(_NAME), dict):
            own = self.arguments
            with check.inside(_NAME):
                held = state.inner[_NAME].get("hyperparams", {})
                _check_names(held, _moving(own["arguments"], own["static_args"]))
        return state

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name not in ("factory", "leaves", "spec"):
            given = self.arguments["arguments"]
            if name in given:
                return given[name]
        return super().__getattr__(name)

    def __repr__(self) -> str:
        own = self.arguments
        extra = "".join(
            f", {name}={own[name]!r}" for name in ("static_args", "hyperparam_dtype") if own[name]
        )
        inner = getattr(own["inner_factory"], "__name__", repr(own["inner_factory"]))
        given = ", ".join(
            f"{name}={value!r}"
            for name, value in own["arguments"].items()
            if _shown(own["inner_factory"], name, value)
        )
        return f"{_NAME}({inner}{extra})({given})"


def _shown(function: Any, name: str, value: Any) -> bool:
    default = inspect.signature(function).parameters[name].default
    return not (default is value or (isinstance(value, (int, float, str)) and default == value))


def _outward(state: State) -> InjectHyperparamsState:
    step, inner = state
    return InjectHyperparamsState(step, inner[_NAME]["hyperparams"], inner[_NAME]["inner"])


def _inward(state: Any) -> Any:
    if isinstance(state, dict) and state.keys() == set(InjectHyperparamsState._fields):
        state = InjectHyperparamsState(**state)  # restored from a checkpoint without a target
    return State(state.step, state.inner) if isinstance(state, InjectHyperparamsState) else state


def inject_hyperparams(
    inner_factory: Callable[..., Any],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: Any = None,
) -> Callable[..., Transform]:
    """Keep hyperparameters in the state, so that they change without a new compilation.

    For code that holds the transform as structure (``TrainState``, ``nnx.Optimizer``, a closure).
    Where the transform is passed to the compiled function, ``tx.replace(learning_rate=...)`` does
    the same without it; schedules work everywhere without it.

    **State** ``InjectHyperparamsState(step, hyperparams, inner_state)``: ``hyperparams`` maps each
    name to a scalar array. Write to it (``state.hyperparams["learning_rate"] = 1e-4``) or replace
    it (``state._replace(hyperparams=...)``). Inside a ``chain`` the same dict is found under
    ``state.inner["inject_hyperparams"]["hyperparams"]``.

    Args:
      inner_factory: a function that returns a transform: a factory (``gk.adam``), one of optax's,
        or your own.
      static_args: names of arguments to leave as they are.
      hyperparam_dtype: dtype of the values. None is float32, or float64 when the parameters are.

    Returns:
      a function with the arguments of ``inner_factory`` that makes the transform. Floats, scalar
      arrays and schedules among them become hyperparameters. The value of a schedule is computed at
      each step and stored; writing to it has no effect.

    Raises:
      ValueError: ``static_args`` with a name that ``inner_factory`` does not have.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.inject_hyperparams(gk.sgd)(learning_rate=1.0)
      >>> state = tx.init(jnp.zeros(1))
      >>> updates, state = tx.update(jnp.ones(1), state)
      >>> state.hyperparams["learning_rate"] = 0.25
      >>> updates, state = tx.update(jnp.ones(1), state)
      >>> assert updates[0] == -0.25 and state.hyperparams["learning_rate"] == 0.25

    **Differs from optax**: values are float32 also for bfloat16 parameters, where optax's b2 =
    0.999 becomes 1; integers are data only where the factory's default is a float; a function is a
    schedule only where a number is expected, so ``mask`` needs no ``static_args``; stateful
    schedules are refused.
    """
    with check.inside(_NAME):
        if not callable(inner_factory):
            check.refuse(
                f"inner_factory={inner_factory!r} is not a function",
                expected="a factory such as adam",
                error=TypeError,
            )
        if not isinstance(static_args, Iterable) or not all(
            isinstance(n, str) for n in static_args
        ):
            problem = f"static_args={check.shown(static_args)} is not a list of names"
            check.refuse(problem, error=TypeError)
        if hyperparam_dtype is not None:
            check.floating_dtype(hyperparam_dtype=hyperparam_dtype)
        names = (static_args,) if isinstance(static_args, str) else tuple(static_args)
        known = inspect.signature(inner_factory).parameters
        for name in names:
            if name not in known:
                check.refuse(
                    f"static_args={names!r} has no parameter {name!r}",
                    fix=check.nearest(name, known),
                )

    @functools.wraps(inner_factory)
    def make(*args: Any, **kwargs: Any) -> Transform:
        bound = _bound(inner_factory, args, kwargs)
        made = _inject(
            inner_factory, _as_data(inner_factory, bound, names), names, hyperparam_dtype
        )
        return cast(Transform, made)

    for mark in (
        "makes",
        "convert",
        "movable",
    ):  # of a factory of ours: this one makes something else
        vars(make).pop(mark, None)
    return make


def _bound(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        with check.inside(_NAME):
            known = inspect.signature(function).parameters
            unknown = next((name for name in kwargs if name not in known), None)
            check.refuse(
                str(error), fix=check.nearest(unknown, known) if unknown else "", error=TypeError
            )
    bound.apply_defaults()
    return dict(bound.arguments)


def _as_data(function: Any, arguments: dict[str, Any], static: tuple[str, ...]) -> dict[str, Any]:
    """The arguments: where a number is expected, integers as floats and functions as schedules."""
    parameters = inspect.signature(function).parameters

    def one(name: str, value: Any) -> Any:
        parameter = parameters[name]
        if name in static or isinstance(value, bool) or not _expects_number(parameter):
            return value
        if (
            callable(getattr(value, "init", None))
            and callable(getattr(value, "update", None))
            and not isinstance(value, Transform)
        ):
            with check.inside(_NAME):
                check.refuse(
                    f"{name}={value!r} is a schedule with a state",
                    expected="a number or a function of the step",
                )
        if type(value) is int and (
            isinstance(parameter.default, float) or "Rate" in str(parameter.annotation)
        ):
            return float(value)
        if callable(value) and not isinstance(value, Call) and not check.uncalled(value):
            return function_schedule(value)
        return value

    return {name: one(name, value) for name, value in arguments.items()}


def _expects_number(parameter: inspect.Parameter) -> bool:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        return False
    if parameter.annotation in (inspect.Parameter.empty, Any):
        return parameter.default is inspect.Parameter.empty or isinstance(parameter.default, float)
    said = str(parameter.annotation)
    return any(
        word in said for word in ("Rate", "ScalarOrSchedule", "Schedule", "float", "ArrayLike")
    )


def _is_hyperparameter(value: Any) -> bool:
    if isinstance(value, Schedule):
        return True
    if isinstance(value, (float, np.floating)):
        return True
    return (
        isinstance(value, (np.ndarray, jax.Array))
        and jnp.issubdtype(value.dtype, jnp.inexact)
        and np.ndim(value) == 0
    )


def _moving(arguments: dict[str, Any], static_args: tuple[str, ...]) -> dict[str, Any]:
    """The arguments that are hyperparameters."""
    return {
        name: value
        for name, value in arguments.items()
        if name not in static_args and _is_hyperparameter(value)
    }


def _inject_rule(
    inner_factory: Callable[..., Any],
    arguments: dict[str, Any],
    static_args: tuple[str, ...],
    hyperparam_dtype: Any,
) -> Rule:
    """The rule: the inner transform, made anew from the hyperparameters in the state."""
    moving = _moving(arguments, static_args)
    signature = inspect.signature(inner_factory)

    def inner(values: dict[str, Any]) -> Transform:
        bound = inspect.BoundArguments(signature, {**arguments, **values})
        made = inner_factory(*bound.args, **bound.kwargs)
        return made if isinstance(made, Transform) else chain(made)

    def values_at(step: Any, held: dict[str, Any], like: Any) -> dict[str, Any]:
        dtype = (
            numerics.scalar_dtype(like) if hyperparam_dtype is None else jnp.dtype(hyperparam_dtype)
        )
        current = {
            name: value(step) if isinstance(value, Schedule) else held[name]
            for name, value in moving.items()
        }
        return {
            name: jnp.asarray(value).astype(_kind(value, dtype)) for name, value in current.items()
        }

    def part(values: dict[str, Any]) -> Part:
        with check.unjudged():  # under jit these values are traced and cannot be judged
            return Part("inner", inner(values))

    def init(params: Any, *, context: Context) -> Any:
        held = values_at(context.step, moving, params)
        return {"hyperparams": held, "inner": part(held).init(params, context=context)}

    def update(updates: Any, state: Any, params: Any, *, context: Context) -> Any:
        held = values_at(context.step, state["hyperparams"], updates)
        inside = part(held)
        updates, after = inside.update(updates, state["inner"], params, context=context)
        return updates, {"hyperparams": held, "inner": after}

    if hyperparam_dtype is not None:
        # The values as they are stored: bfloat16 rounds b2 = 0.999 to 1, which is refused here.
        narrow = jnp.dtype(hyperparam_dtype)
        inner({k: float(np.asarray(v, narrow)) for k, v in moving.items() if isinstance(v, float)})
    return Rule(init, update, parts=(Part("inner", inner({})),), name=_NAME)


# Messages show the name; pickle finds the function by its qualified name.
_inject_rule.__name__, _inject_rule.__qualname__ = _NAME, "_inject"
_inject = factory(_inject_rule, Injected)


def _kind(value: Any, dtype: Any) -> Any:
    """A complex value stays complex."""
    return numerics.wider(dtype, jnp.complex64) if jnp.iscomplexobj(value) else dtype


def _check_names(held: Any, moving: dict[str, Any]) -> None:
    for name in sorted(held.keys() - moving.keys()):
        check.refuse(
            f"state.hyperparams has no {name!r}", fix=check.nearest(name, moving), error=KeyError
        )
    for name in sorted(moving.keys() - held.keys()):
        check.refuse(
            f"state.hyperparams lacks {name!r}",
            fix="Change values, and keep the names",
            error=KeyError,
        )
