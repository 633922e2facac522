"""Checks of the arguments of schedules, beside those of `gradkit._checks`."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import is_real
from gradkit.schedules import _steps as steps


def numbers(**values: Any) -> None:
    """Accept finite numbers. Schedules are refused: those join, add and multiply."""
    for name, value in values.items():
        if callable(value):
            check.refuse(
                f"{name}={shown(value)} is not a number",
                expected="a finite number",
                fix=check.uncalled(value)
                or "Combine schedules with join_schedules, a + b, a * b, a / b or a ** b",
                error=TypeError,
            )
    check.finite(**values)


def number(**value: Any) -> dict[str, Any]:
    """Return a finite number by its name, for a check of its range."""
    numbers(**value)
    return value


def lengths(minimum: int, /, **values: Any) -> None:
    """Accept numbers of steps: ints, floats such as 312.5, and arrays of rank zero.

    A ``minimum`` of 0 allows zero; a ``minimum`` of 1 refuses it, but takes 0.5.
    """
    for name, value in values.items():
        expected = f"{name} > 0" if minimum else f"{name} >= 0"
        if not is_real(value) and not isinstance(value, jax.ShapeDtypeStruct):
            check.refuse(
                f"{name}={shown(value)} is not a number of steps",
                expected=expected,
                fix=check.uncalled(value),
                argument=(name, value),
                error=TypeError,
            )
        if isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)):
            continue
        known = np.asarray(value, np.float64) if not isinstance(value, int) else value
        low = known > 0 if minimum else known >= 0
        if not np.all(low) or (not isinstance(value, int) and not np.all(np.isfinite(known))):
            check.refuse(
                f"{name}={shown(value)} is out of range",
                expected=expected,
                argument=(name, value),
            )


def scalars(**values: Any) -> None:
    """Refuse arrays of rank one and more. A population of schedules is for ``vmap``."""
    for name, value in values.items():
        if np.ndim(value):
            check.refuse(
                f"{name} has the shape {np.shape(value)}",
                expected="a number or an array of rank zero",
                fix="Run a population with jax.vmap(..., in_axes=(schedule.vmap_axes(), None))",
                error=TypeError,
            )


def flags(**values: Any) -> None:
    """Accept Python bools, which are structure."""
    for name, value in values.items():
        if not isinstance(value, bool):
            check.refuse(
                f"{name}={shown(value)} is not a bool", expected="True or False", error=TypeError
            )


def word(options: Iterable[str], **values: Any) -> None:
    """Accept one of the words."""
    for name, value in values.items():
        if not isinstance(value, str) or value not in options:
            check.refuse(
                f"{name}={shown(value)} is unknown",
                expected=f"one of {', '.join(map(repr, options))}",
                error=ValueError if isinstance(value, str) else TypeError,
            )


def rates(**values: Any) -> None:
    """Accept schedules, plain functions of the step, and numbers."""
    for name, value in values.items():
        if check.uncalled(value) or (not callable(value) and not numerics.is_number(value)):
            check.refuse(
                f"{name}={shown(value)} is not a schedule",
                expected="a schedule, a function of the step or a number",
                fix=check.uncalled(value),
                error=TypeError,
            )
        if not callable(value):
            numbers(**{name: value})


def boundaries_and_scales(pairs: Any) -> tuple[list[Any], list[Any]]:
    """Return the boundaries in increasing order, and the scales in the same order."""
    if pairs is not None and not isinstance(pairs, dict):
        check.refuse(
            f"boundaries_and_scales={shown(pairs)} is not a dict",
            expected="a dict of boundary: scale, such as {1000: 0.1, 2000: 0.1}",
            error=TypeError,
        )
    pairs = pairs or {}
    for boundary, scale in pairs.items():
        if not is_real(boundary):
            check.refuse(
                f"boundaries_and_scales has the boundary {boundary!r}, which is not a step",
                expected="boundaries >= 0",
                error=TypeError,
            )
        if not 0 <= boundary < math.inf:
            check.refuse(
                f"boundaries_and_scales has the boundary {boundary!r}, which is out of range",
                expected="boundaries >= 0",
            )
        name = f"boundaries_and_scales[{boundary}]"
        numbers(**{name: scale})
        check.non_negative(**{name: scale})
    ordered = sorted(pairs.items())
    return [boundary for boundary, _ in ordered], [scale for _, scale in ordered]


def of_step(value: Callable[[Any], Any], /, **arguments: Any) -> Callable[[Any], Any]:
    """Return ``value`` as a function of any step: converted, after the shapes are judged.

    Shapes are judged here, not when the factory is called: a schedule that holds arrays of rank one
    is a population, and ``vmap`` gives each member its scalars.
    """

    def judged(step: Any) -> Any:
        scalars(**arguments)
        return value(steps.as_step(step))

    return judged


def shown(value: Any) -> str:
    """Return the repr of an argument, shortened."""
    if hasattr(value, "makes"):
        return str(value.__name__)
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def scale_names(boundaries: list[Any], scales: list[Any]) -> dict[str, Any]:
    """Return the scales by the names that messages give them."""
    return {f"boundaries_and_scales[{b}]": scale for b, scale in zip(boundaries, scales)}
