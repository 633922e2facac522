"""Hyperparameters that depend on the step, kept as the calls that made them."""

import operator
from collections.abc import Callable
from typing import Any, ClassVar, ParamSpec, cast

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._call import Call, factory
from gradkit._code import code_of
from gradkit.typing import Rate

P = ParamSpec("P")


class Schedule(Call):
    """Map a step to the value of a hyperparameter, and hold the numbers of the map as data.

    A schedule is a pytree whose leaves are its float and array arguments. It takes a step or an
    array of steps. ``+``, ``-``, ``*``, ``/`` and ``**`` combine it with numbers, functions of the
    step and other schedules; the result prints as the expression that made it. A quotient by a
    schedule that reaches 0 follows IEEE arithmetic. For every other operation (``abs``, ``min``)
    write a function of the step: ``function_schedule(lambda step: jnp.abs(rate(step)))``.

    Example:
      >>> import gradkit as gk
      >>> rate = 0.5 * gk.linear_schedule(1.0, 0.0, 10) + 0.25
      >>> assert float(rate(0)) == 0.75 and float(rate(10)) == 0.25
      >>> assert repr(rate) == "0.5 * linear_schedule(1.0, 0.0, 10) + 0.25"
    """

    kind = "schedule"

    __slots__ = ()
    __array_ufunc__: ClassVar[None] = None  # NumPy leaves np.float64(2) * schedule to __rmul__

    def __call__(self, step: Any) -> Any:
        """Return the value at ``step``, in the shape of ``step``.

        Args:
          step: the number of completed updates, from 0: an int, a float, or an array of either. A
            Python number below 0 is refused; in arrays, values below 0 count as 0.

        Returns:
          The value, in float32 (float64 when x64 is enabled).
        """
        with check.inside(_name(self)):
            _check_step(step)
            return self.body(step)

    def __repr__(self) -> str:
        if self.factory is _negative:
            return f"-{_operand_code(self.operand, _UNARY)}"
        if self.factory not in _BINARY:
            return super().__repr__()
        symbol, precedence = _BINARY[self.factory]
        # Of equal operators Python evaluates the left one first, of powers the right one.
        left, right = (precedence + 1, _UNARY) if symbol == "**" else (precedence, precedence + 1)
        return f"{_operand_code(self.left, left)} {symbol} {_operand_code(self.right, right)}"

    def __add__(self, other: Any) -> "Schedule":
        return _sum(self, _operand(other, "+"))

    def __radd__(self, other: Any) -> "Schedule":
        return _sum(_operand(other, "+"), self)

    def __sub__(self, other: Any) -> "Schedule":
        return _difference(self, _operand(other, "-"))

    def __rsub__(self, other: Any) -> "Schedule":
        return _difference(_operand(other, "-"), self)

    def __mul__(self, other: Any) -> "Schedule":
        return _product(self, _operand(other, "*"))

    def __rmul__(self, other: Any) -> "Schedule":
        return _product(_operand(other, "*"), self)

    def __truediv__(self, other: Any) -> "Schedule":
        if isinstance(other, (int, float)) and other == 0:
            check.refuse(f"{self!r} / {other!r} divides by zero", error=ZeroDivisionError)
        return _quotient(self, _operand(other, "/"))

    def __rtruediv__(self, other: Any) -> "Schedule":
        return _quotient(_operand(other, "/"), self)

    def __pow__(self, other: Any) -> "Schedule":
        # A Python int as an exponent is structure: its derivative exists at negative values too.
        whole = isinstance(other, int) and not isinstance(other, bool)
        return _power(self, other if whole else _operand(other, "**"))

    def __rpow__(self, other: Any) -> "Schedule":
        return _power(_operand(other, "**"), self)

    def __neg__(self) -> "Schedule":
        return _negative(self)


def schedule(function: Callable[P, Callable[[Any], Any]]) -> Callable[P, Schedule]:
    """Turn a function that returns ``step -> value`` into a factory of schedules.

    Args:
      function: takes the hyperparameters and returns a function of the step. Floats and arrays
        among the hyperparameters become data; everything else becomes structure.

    Returns:
      A factory with the arguments of ``function``, which returns a `Schedule`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> @gk.schedule
      ... def halving(init_value: float, every: int):
      ...     return lambda step: init_value * 0.5 ** jnp.floor_divide(step, every)
      >>> rate = halving(0.8, every=10)
      >>> assert float(rate(25)) == float(jnp.float32(0.2))
      >>> assert rate.replace(init_value=0.4)(25) == rate(25) / 2
    """
    return cast(Callable[P, Schedule], factory(function, Schedule))


@schedule
def function_schedule(function: Callable[[jax.Array], Any]) -> Callable[[Any], Any]:
    """Wrap a plain function of the step as a schedule.

    **Value** function(step). The constants of the function are structure, not data: another
    function compiles anew.

    Args:
      function: takes the step and returns a real number, or an array in the shape of the step.

    Raises:
      TypeError: ``function`` is not callable, is a factory that was not called, or returns
        something else.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert float(gk.schedules.function_schedule(lambda step: 1.0 / (step + 1))(3)) == 0.25
    """
    if not callable(function) or check.uncalled(function):
        check.refuse(
            f"function={function!r} is not a function of the step",
            expected="a function such as lambda step: 1.0 / (step + 1)",
            fix=check.uncalled(function),
            error=TypeError,
        )
    return lambda step: value_at(function, step)


def rate_at(rate: Any, step: Any) -> Any:
    """Return the value of a rate at ``step``; a number is returned unchanged."""
    return rate(step) if callable(rate) else rate


def value_at(rate: Any, step: Any) -> jax.Array:
    """Return the value of a rate at ``step``, in the default float dtype and the step's shape."""
    if not callable(rate) and np.ndim(rate):
        check.refuse(
            f"a number of the schedule has the shape {np.shape(rate)}",
            expected="an array of rank zero",
            fix="Run a population with jax.vmap(..., in_axes=(schedule.vmap_axes(), None))",
            error=TypeError,
        )
    value = rate_at(rate, step)
    shape = np.shape(step)
    if not is_real(value) or np.shape(value) not in ((), shape):
        shown = check.shape_dtype(value) if numerics.is_number(value) else repr(value)
        check.refuse(
            f"{_name(rate)} returned {shown} at a step of shape {shape}",
            expected="a real number, or an array in the shape of the step",
            error=TypeError,
        )
    return jnp.broadcast_to(jnp.asarray(value).astype(jnp.result_type(float)), shape)


def is_real(value: Any) -> bool:
    """Return whether a value is a real number, or an array of them; bools are none."""
    if not numerics.is_number(value):
        return False
    dtype = getattr(value, "dtype", type(value))
    return dtype in (int, float) or any(
        jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer)
    )


def as_rate(rate: Any) -> Any:
    """Return a number or a schedule unchanged, a plain function of the step as a schedule."""
    if check.uncalled(rate):
        check.refuse(
            f"{rate.__name__} is a factory that was not called",
            expected="a number, a schedule or a function of the step",
            fix=check.uncalled(rate),
            path="learning_rate",
            error=TypeError,
        )
    return function_schedule(rate) if callable(rate) and not isinstance(rate, Schedule) else rate


def _name(rate: Any) -> str:
    if isinstance(rate, Schedule):
        name = cast(str, rate.factory.__name__)
        return name if rate.factory not in _BINARY and name != "_negative" else "schedule"
    return getattr(rate, "__name__", None) or repr(rate)


def _check_step(step: Any) -> None:
    """Refuse what is no step. The values of arrays are not judged: eager and jitted runs agree."""
    if isinstance(step, (bool, complex, str, list, tuple)) or not numerics.is_number(step):
        shown = f"{type(step).__name__} {step!r}"
    elif isinstance(step, (int, float)) and not isinstance(step, np.generic):
        if not 0 <= step < float("inf"):
            check.refuse(f"step={step!r} is out of range", expected="step >= 0")
        return
    elif is_real(step):
        return
    else:
        shown = repr(step)
    check.refuse(
        f"step={shown} is not a step",
        expected="an integer, a number or an array of them",
        error=TypeError,
    )


# ---- operators ----------------------------------------------------------------------------------


def _operand(value: Any, symbol: str) -> Any:
    """Judge an operand: ints become floats, and so data; functions become schedules."""
    if isinstance(value, Schedule):
        return value
    if check.uncalled(value) or not (callable(value) or numerics.is_number(value)):
        check.refuse(
            f"{value!r} is not an operand of {symbol} for a schedule",
            expected="a number, a schedule or a function of the step",
            fix=check.uncalled(value),
            error=TypeError,
        )
    if callable(value):
        return function_schedule(value)
    if not is_real(value):
        check.refuse(
            f"{value!r} is not an operand of {symbol} for a schedule",
            expected="a real number",
            error=TypeError,
        )
    value = float(value) if isinstance(value, int) else value
    if isinstance(value, float) and not np.isfinite(value):
        check.refuse(f"{value!r} is out of range", expected=f"a finite operand of {symbol}")
    return value


def _combined(function: Callable[[Any, Any], Any], left: Any, right: Any) -> Callable[[Any], Any]:
    def operand(rate: Any, step: Any) -> Any:
        return rate if isinstance(rate, (int, float)) else value_at(rate, step)

    return lambda step: function(operand(left, step), operand(right, step))


@schedule
def _sum(left: Rate, right: Rate) -> Callable[[Any], Any]:
    return _combined(operator.add, left, right)


@schedule
def _difference(left: Rate, right: Rate) -> Callable[[Any], Any]:
    return _combined(operator.sub, left, right)


@schedule
def _product(left: Rate, right: Rate) -> Callable[[Any], Any]:
    return _combined(operator.mul, left, right)


@schedule
def _quotient(left: Rate, right: Rate) -> Callable[[Any], Any]:
    return _combined(operator.truediv, left, right)


@schedule
def _power(left: Rate, right: "int | Rate") -> Callable[[Any], Any]:
    return _combined(operator.pow, left, right)


@schedule
def _negative(operand: Rate) -> Callable[[Any], Any]:
    return lambda step: -value_at(operand, step)


_UNARY = 3  # Python's precedence of the unary minus, between * and **
_BINARY: dict[Any, tuple[str, int]] = {
    _sum: ("+", 1),
    _difference: ("-", 1),
    _product: ("*", 2),
    _quotient: ("/", 2),
    _power: ("**", 4),
}


def _operand_code(value: Any, at_least: int) -> str:
    """Return the code of an operand, in parentheses where it binds less tightly than needed."""
    code, precedence = code_of(value), 5
    if isinstance(value, Schedule) and value.factory in _BINARY:
        precedence = _BINARY[value.factory][1]
    elif code.startswith("-"):
        precedence = _UNARY
    return f"({code})" if precedence < at_least else code
