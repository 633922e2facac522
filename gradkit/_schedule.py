"""A hyperparameter that moves with the step, kept as the call that made it."""

from collections.abc import Callable
from typing import Any, ParamSpec, cast

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._call import Call, factory

P = ParamSpec("P")


class Schedule(Call):
    """A pure function of the step that is also data.

    A pytree whose leaves are its float and array arguments; it takes a step or an array of steps, and adds and multiplies with
    numbers and with other schedules.

    Example:
      >>> import gradkit as gk
      >>> rate = 0.5 * gk.linear_schedule(1.0, 0.0, 10) + 0.25
      >>> assert float(rate(0)) == 0.75 and float(rate(10)) == 0.25
    """

    __slots__ = ()

    def __call__(self, step: Any) -> Any:
        """The value at ``step`` (completed updates, from 0), in the shape of ``step``."""
        return self.body(step)

    def __add__(self, other: Any) -> "Schedule":
        return sum_schedule(self, other)

    def __mul__(self, other: Any) -> "Schedule":
        return product_schedule(self, other)

    def __neg__(self) -> "Schedule":
        return product_schedule(-1.0, self)

    def __sub__(self, other: Any) -> "Schedule":
        return sum_schedule(self, -other)

    def __rsub__(self, other: Any) -> "Schedule":
        return sum_schedule(other, -self)

    def __radd__(self, other: Any) -> "Schedule":
        return sum_schedule(other, self)

    def __rmul__(self, other: Any) -> "Schedule":
        return product_schedule(other, self)

    def __truediv__(self, other: Any) -> "Schedule":
        return product_schedule(self, 1.0 / other)


def schedule(function: Callable[P, Callable[[Any], Any]]) -> Callable[P, Schedule]:
    """Turn a function that returns ``step -> value`` into a factory of schedules.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> @gk.schedule
      ... def halving(init_value: float, every: int):
      ...     return lambda step: init_value * 0.5 ** jnp.floor_divide(step, every)
      >>> rate = halving(0.8, every=10)
      >>> assert float(rate(25)) == float(jnp.float32(0.2)) and rate.replace(init_value=0.4)(25) == rate(25) / 2
    """
    return cast(Callable[P, Schedule], factory(function, Schedule))


def rate_at(rate: Any, step: Any) -> Any:
    """The value of a number or a schedule at ``step``; a number passes as it is."""
    return rate(step) if callable(rate) else rate


@schedule
def sum_schedule(*terms: Any) -> Callable[[Any], Any]:
    """The sum of schedules and numbers: what ``a + b`` makes.

    **Rule** Σ terms_i(step).

    Example:
      >>> import gradkit as gk
      >>> assert float((gk.constant_schedule(1.0) + 2.0)(0)) == 3.0
    """
    _check_terms(terms)
    return lambda step: sum(
        (rate_at(term, step) for term in terms[1:]), start=rate_at(terms[0], step)
    )


@schedule
def product_schedule(*factors: Any) -> Callable[[Any], Any]:
    """The product of schedules and numbers: what ``a * b`` makes.

    **Rule** Π factors_i(step).

    Example:
      >>> import gradkit as gk
      >>> assert float((gk.constant_schedule(3.0) * 2.0)(0)) == 6.0
    """
    _check_terms(factors)

    def value(step: Any) -> Any:
        result = rate_at(factors[0], step)
        for factor in factors[1:]:
            result = result * rate_at(factor, step)
        return result

    return value


@schedule
def function_schedule(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A plain function of the step as a schedule (its constants are structure, not data).

    **Rule** function(step).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert float(gk.function_schedule(lambda step: 1.0 / (step + 1))(3)) == 0.25
    """
    if not callable(function):
        check.fail("needs a function of the step", repr(function), path="function", error=TypeError)
    return lambda step: jnp.asarray(function(step))


def as_rate(rate: Any) -> Any:
    """A number or a schedule as it is; a plain function of the step as a schedule."""
    if check.uncalled(rate):
        check.fail(
            "needs a number or a schedule",
            f"the factory {rate.__name__}",
            check.uncalled(rate),
            path="learning_rate",
            error=TypeError,
        )
    return function_schedule(rate) if callable(rate) and not isinstance(rate, Schedule) else rate


def _check_terms(terms: tuple[Any, ...]) -> None:
    for i, term in enumerate(terms):
        if not callable(term) and not numerics.is_number(term):
            check.fail("needs numbers and schedules", repr(term), path=f"term {i}", error=TypeError)
    if not terms:
        check.fail("needs at least one term", "none")
