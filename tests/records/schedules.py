"""Schedules."""

from collections.abc import Callable
from typing import Any

import gradkit as gk
from tests.records.case import ABOVE_0, AT_LEAST_0, FINITE, FRACTION, Bad, Case, harmonic, named


def _line() -> Any:
    return gk.linear_schedule(0.5, 0.1, 10)


def value_checks(name: str, *lead: Any, at: int = 0) -> tuple[Bad, ...]:
    """What every schedule refuses for a value: what is not a finite number."""
    factory = named(name)
    bad = [*lead[:at], float("nan"), *lead[at + 1 :]]
    return ((lambda: factory(*bad), FINITE),)


def length_checks(name: str, *lead: Any, at: int, least: int = 1) -> tuple[Bad, ...]:
    """What every schedule refuses for a length."""
    factory, expected = named(name), rf"Expected \w+ {'>' if least else '>='} 0\."

    def with_length(value: Any) -> Callable[[], Any]:
        return lambda: factory(*lead[:at], value, *lead[at + 1 :])

    return (
        (with_length(-5), f"=-5 is out of range. {expected}"),
        (with_length("10"), "='10' is not a number"),
    )


def _decay_case(name: str, bad_rate: float) -> Case:
    lead = (0.5, 4, 0.5)
    return Case(
        name,
        lambda: named(name)(0.5, 4, 0.5, 2, True, 0.05),
        bad=(
            *value_checks(name, *lead),
            *length_checks(name, *lead, at=1, least=0),
            *length_checks(name, *lead, 0, at=3, least=0),
            (lambda: named(name)(0.5, 4, bad_rate), "decay_rate"),
        ),
    )


_PERIOD = {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 2, "decay_steps": 8}

SCHEDULES = [
    Case(
        "function_schedule",
        lambda: gk.schedules.function_schedule(harmonic),
        bad=((lambda: gk.schedules.function_schedule(3), "function=3 is not a function"),),
        reads_back=False,
    ),
    Case(
        "constant_schedule",
        lambda: gk.constant_schedule(0.5),
        bad=value_checks("constant_schedule", 0.5),
    ),
    Case(
        "linear_schedule",
        lambda: gk.linear_schedule(0.5, 0.1, 10, 3),
        bad=(
            *value_checks("linear_schedule", 0.5, 0.1, 10),
            *length_checks("linear_schedule", 0.5, 0.1, 10, at=2, least=0),
            *length_checks("linear_schedule", 0.5, 0.1, 10, 0, at=3, least=0),
            (
                lambda: gk.linear_schedule(_line(), 0.1, 10),
                "init_value=linear_schedule.* is not a number",
            ),
        ),
    ),
    Case(
        "polynomial_schedule",
        lambda: gk.polynomial_schedule(0.5, 0.1, 2.5, 10, 3),
        bad=(
            *length_checks("polynomial_schedule", 0.5, 0.1, 2.0, 10, at=3, least=0),
            (lambda: gk.polynomial_schedule(0.5, 0.1, 0.0, 10), f"power=.* {ABOVE_0}"),
        ),
    ),
    Case(
        "cosine_decay_schedule",
        lambda: gk.cosine_decay_schedule(0.5, 10, 0.1, 1.5),
        bad=(
            *value_checks("cosine_decay_schedule", 0.5, 10),
            *length_checks("cosine_decay_schedule", 0.5, 10, at=1),
        ),
    ),
    _decay_case("exponential_decay", 0.0),
    _decay_case("natural_exponential_decay", -1.0),
    _decay_case("inverse_time_decay", -1.0),
    Case(
        "inverse_sqrt_schedule",
        lambda: gk.schedules.inverse_sqrt_schedule(0.5, 4),
        bad=(
            *value_checks("inverse_sqrt_schedule", 0.5),
            *length_checks("inverse_sqrt_schedule", 0.5, 4, at=1, least=0),
        ),
    ),
    Case(
        "piecewise_constant_schedule",
        lambda: gk.piecewise_constant_schedule(0.5, {3: 0.5, 8: 0.25}),
        bad=(
            *value_checks("piecewise_constant_schedule", 0.5),
            (
                lambda: gk.piecewise_constant_schedule(0.5, {-1: 0.5}),
                "has the boundary -1, which is out of range",
            ),
            (
                lambda: gk.piecewise_constant_schedule(0.5, {3: -0.5}),
                rf"boundaries_and_scales\[3\]=.* {AT_LEAST_0}",
            ),
            (
                lambda: gk.piecewise_constant_schedule(0.5, [3]),
                "Expected a dict of boundary: scale",
            ),
        ),
    ),
    Case(
        "piecewise_interpolate_schedule",
        lambda: gk.piecewise_interpolate_schedule("cosine", 0.5, {3: 0.5, 8: 0.25}),
        bad=(
            (
                lambda: gk.piecewise_interpolate_schedule("cubic", 0.5, {3: 0.5}),
                "interpolate_type='cubic' is unknown. Expected one of 'linear', 'cosine'",
            ),
        ),
    ),
    Case(
        "linear_onecycle_schedule",
        lambda: gk.linear_onecycle_schedule(20, 0.5, 0.25, 0.75, 10.0, 100.0),
        bad=(
            *length_checks("linear_onecycle_schedule", 20, 0.5, at=0),
            (
                lambda: gk.linear_onecycle_schedule(20, 0.5, 0.9, 0.5),
                "pct_start=0.9 and pct_final=0.5 are out of order",
            ),
            (
                lambda: gk.linear_onecycle_schedule(20, 0.5, div_factor=0.0),
                f"div_factor=.* {ABOVE_0}",
            ),
        ),
    ),
    Case(
        "cosine_onecycle_schedule",
        lambda: gk.cosine_onecycle_schedule(20, 0.5, 0.25, 10.0, 100.0),
        bad=(
            *length_checks("cosine_onecycle_schedule", 20, 0.5, at=0),
            (lambda: gk.cosine_onecycle_schedule(20, 0.5, 1.5), f"pct_start=.* {FRACTION}"),
        ),
    ),
    Case(
        "join_schedules",
        lambda: gk.join_schedules([_line(), 0.25, gk.constant_schedule(0.125)], [3, 8]),
        bad=(
            (
                lambda: gk.join_schedules([_line()], [3]),
                r"boundaries=\[3\] has the length 1. Expected 0, one fewer",
            ),
            (
                lambda: gk.join_schedules([_line(), 0.1, 0.2], [8, 3]),
                "Expected boundaries in increasing order",
            ),
            (
                lambda: gk.join_schedules([_line(), "a"], [3]),
                r"schedules\[1\]='a' is not a schedule",
            ),
            (
                lambda: gk.join_schedules([_line(), 0.1], [-3]),
                r"boundaries\[0\]=-3 is out of range",
            ),
        ),
    ),
    Case(
        "linear_warmup",
        lambda: gk.schedules.linear_warmup(_line(), 4),
        bad=(
            (lambda: gk.schedules.linear_warmup("a", 4), "schedule='a' is not a number"),
            *length_checks("linear_warmup", 0.5, 4, at=1, least=0),
        ),
    ),
    Case(
        "warmup_constant_schedule",
        lambda: gk.warmup_constant_schedule(0.1, 0.5, 4),
        bad=length_checks("warmup_constant_schedule", 0.1, 0.5, 4, at=2, least=0),
    ),
    Case(
        "warmup_cosine_decay_schedule",
        lambda: gk.warmup_cosine_decay_schedule(0.1, 0.5, 4, 20, 0.05, 1.5),
        bad=(
            *length_checks("warmup_cosine_decay_schedule", 0.1, 0.5, 4, 20, at=2, least=0),
            *length_checks("warmup_cosine_decay_schedule", 0.1, 0.5, 4, 20, at=3),
            (
                lambda: gk.warmup_cosine_decay_schedule(0.1, 0.5, 20, 20),
                "decay_steps=20 and warmup_steps=20 are out of order",
            ),
        ),
    ),
    Case(
        "warmup_exponential_decay_schedule",
        lambda: gk.warmup_exponential_decay_schedule(0.1, 0.5, 4, 5, 0.5, 2, True, 0.05),
        bad=length_checks("warmup_exponential_decay_schedule", 0.1, 0.5, 4, 5, 0.5, at=2, least=0),
    ),
    Case(
        "warmup_stable_decay_schedule",
        lambda: gk.warmup_stable_decay_schedule(0.1, 0.5, 3, 4, 5, 0.05, "1-sqrt"),
        bad=(
            *length_checks("warmup_stable_decay_schedule", 0.1, 0.5, 3, 4, 5, at=3, least=0),
            (
                lambda: gk.warmup_stable_decay_schedule(0.1, 0.5, 3, 4, 5, cooldown="fast"),
                "cooldown='fast' is unknown",
            ),
        ),
    ),
    Case(
        "triangular_schedule",
        lambda: gk.schedules.triangular_schedule(0.1, 0.5, 4, 0.75),
        bad=(
            *length_checks("triangular_schedule", 0.1, 0.5, 4, at=2),
            (
                lambda: gk.schedules.triangular_schedule(0.1, 0.5, 4, 0.0),
                f"decay_rate=.* {ABOVE_0}",
            ),
        ),
    ),
    Case(
        "warm_restarts_schedule",
        lambda: gk.schedules.warm_restarts_schedule(0.5, 4, 2, 0.75, 0.1),
        bad=(
            *length_checks("warm_restarts_schedule", 0.5, 4, at=1),
            (
                lambda: gk.schedules.warm_restarts_schedule(0.5, 4, 0),
                "t_mul=0 is out of range",
            ),
            (lambda: gk.schedules.warm_restarts_schedule(0.5, 4, 1.5), "t_mul=1.5 is not an int"),
            (lambda: gk.schedules.warm_restarts_schedule(0.5, 4, 2, 0.0), f"m_mul=.* {ABOVE_0}"),
        ),
    ),
    Case(
        "sgdr_schedule",
        lambda: gk.sgdr_schedule([_PERIOD, {**_PERIOD, "peak_value": 0.25}]),
        bad=(
            (lambda: gk.sgdr_schedule([]), "Expected at least one period"),
            (lambda: gk.sgdr_schedule(3), "cosine_kwargs=3 is not a list of dicts"),
            (
                lambda: gk.sgdr_schedule([{**_PERIOD, "decay_steps": 1}]),
                "decay_steps=1 and warmup_steps=2 are out of order",
            ),
        ),
    ),
    Case(
        "adafactor_decay_schedule",
        lambda: gk.schedules.adafactor_decay_schedule(0.7, 5),
        bad=(
            (lambda: gk.schedules.adafactor_decay_schedule(-0.8), f"decay_rate=.* {AT_LEAST_0}"),
            *length_checks("adafactor_decay_schedule", 0.7, 5, at=1, least=0),
        ),
    ),
    Case(
        "per_epoch",
        lambda: gk.schedules.per_epoch(_line(), 5),
        bad=(
            (lambda: gk.schedules.per_epoch("a", 5), "schedule='a' is not a number"),
            *length_checks("per_epoch", 0.5, 5, at=1),
        ),
    ),
]
