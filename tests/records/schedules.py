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

    def with_value(value: Any) -> Callable[[], Any]:
        return lambda: factory(*lead[:at], value, *lead[at + 1 :])

    return ((with_value(float("nan")), FINITE), (with_value("fast"), "needs"))


def length_checks(name: str, *lead: Any, at: int, least: int = 1) -> tuple[Bad, ...]:
    """What every schedule refuses for a length."""
    factory, words = named(name), f"needs a whole number >= {least}"

    def with_length(value: Any) -> Callable[[], Any]:
        return lambda: factory(*lead[:at], value, *lead[at + 1 :])

    return (
        (with_length(least - 1), f"{words}; got {least - 1}"),
        (with_length(-5), f"{words}; got -5"),
        (with_length(2.5), f"{words}; got 2.5"),
    )


def _decay_case(name: str, bad_rate: float) -> Case:
    lead = (0.5, 4, 0.5)
    return Case(
        name,
        lambda: named(name)(0.5, 4, 0.5, 2, True, 0.05),
        bad=(
            *value_checks(name, *lead),
            *length_checks(name, *lead, at=1),
            *length_checks(name, *lead, 0, at=3, least=0),
            (lambda: named(name)(0.5, 4, bad_rate), "decay_rate: needs"),
        ),
    )


_PERIOD = {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 2, "decay_steps": 8}

SCHEDULES = [
    Case(
        "sum_schedule",
        lambda: gk.sum_schedule(_line(), 0.25),
        bad=((lambda: gk.sum_schedule("a"), "needs numbers and schedules; got 'a'"),),
    ),
    Case(
        "product_schedule",
        lambda: gk.product_schedule(_line(), 0.25),
        bad=((lambda: gk.product_schedule(), "needs at least one term"),),
    ),
    Case(
        "function_schedule",
        lambda: gk.function_schedule(harmonic),
        bad=((lambda: gk.function_schedule(3), "needs a function"),),
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
            *length_checks("linear_schedule", 0.5, 0.1, 10, at=2),
            *length_checks("linear_schedule", 0.5, 0.1, 10, 0, at=3, least=0),
            (lambda: gk.linear_schedule(_line(), 0.1, 10), "init_value: needs a number"),
        ),
    ),
    Case(
        "polynomial_schedule",
        lambda: gk.polynomial_schedule(0.5, 0.1, 2.5, 10, 3),
        bad=(
            *length_checks("polynomial_schedule", 0.5, 0.1, 2.0, 10, at=3),
            (lambda: gk.polynomial_schedule(0.5, 0.1, 0.0, 10), f"power: {ABOVE_0}"),
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
        lambda: gk.inverse_sqrt_schedule(0.5, 4),
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
                "needs a whole number >= 0; got -1. A boundary is a step",
            ),
            (
                lambda: gk.piecewise_constant_schedule(0.5, {3: -0.5}),
                rf"boundaries_and_scales\[3\]: {AT_LEAST_0}",
            ),
            (lambda: gk.piecewise_constant_schedule(0.5, [3]), "needs a dict of boundary: scale"),
        ),
    ),
    Case(
        "piecewise_interpolate_schedule",
        lambda: gk.piecewise_interpolate_schedule("cosine", 0.5, {3: 0.5, 8: 0.25}),
        bad=(
            (
                lambda: gk.piecewise_interpolate_schedule("cubic", 0.5, {3: 0.5}),
                "interpolate_type: needs one of 'linear', 'cosine'; got 'cubic'",
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
                "needs pct_start <= pct_final; got 0.9 and 0.5",
            ),
            (
                lambda: gk.linear_onecycle_schedule(20, 0.5, div_factor=0.0),
                f"div_factor: {ABOVE_0}",
            ),
        ),
    ),
    Case(
        "cosine_onecycle_schedule",
        lambda: gk.cosine_onecycle_schedule(20, 0.5, 0.25, 10.0, 100.0),
        bad=(
            *length_checks("cosine_onecycle_schedule", 20, 0.5, at=0),
            (lambda: gk.cosine_onecycle_schedule(20, 0.5, 1.5), f"pct_start: {FRACTION}"),
        ),
    ),
    Case(
        "join_schedules",
        lambda: gk.join_schedules([_line(), 0.25, gk.constant_schedule(0.125)], [3, 8]),
        bad=(
            (
                lambda: gk.join_schedules([_line()], [3]),
                "needs one boundary fewer than schedules; got 1 for 1",
            ),
            (
                lambda: gk.join_schedules([_line(), 0.1, 0.2], [8, 3]),
                "needs boundaries that do not fall",
            ),
            (
                lambda: gk.join_schedules([_line(), "a"], [3]),
                r"schedules\[1\]: needs schedules, functions of the step and numbers; got 'a'",
            ),
            (
                lambda: gk.join_schedules([_line(), 0.1], [-3]),
                r"boundaries\[0\]: needs a whole number >= 0; got -3",
            ),
        ),
    ),
    Case(
        "linear_warmup",
        lambda: gk.linear_warmup(_line(), 4),
        bad=(
            (lambda: gk.linear_warmup("a", 4), "schedule: needs a schedule"),
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
                "needs decay_steps > warmup_steps; got 20 and 20",
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
                "cooldown: needs one of",
            ),
        ),
    ),
    Case(
        "triangular_schedule",
        lambda: gk.triangular_schedule(0.1, 0.5, 4, 0.75),
        bad=(
            *length_checks("triangular_schedule", 0.1, 0.5, 4, at=2),
            (lambda: gk.triangular_schedule(0.1, 0.5, 4, 0.0), f"decay_rate: {ABOVE_0}"),
        ),
    ),
    Case(
        "warm_restarts_schedule",
        lambda: gk.warm_restarts_schedule(0.5, 4, 2, 0.75, 0.1),
        bad=(
            *length_checks("warm_restarts_schedule", 0.5, 4, at=1),
            (
                lambda: gk.warm_restarts_schedule(0.5, 4, 0),
                "t_mul: needs a whole number >= 1; got 0",
            ),
            (lambda: gk.warm_restarts_schedule(0.5, 4, 1.5), "t_mul: needs a whole number >= 1"),
            (lambda: gk.warm_restarts_schedule(0.5, 4, 2, 0.0), f"m_mul: {ABOVE_0}"),
        ),
    ),
    Case(
        "sgdr_schedule",
        lambda: gk.sgdr_schedule([_PERIOD, {**_PERIOD, "peak_value": 0.25}]),
        bad=(
            (lambda: gk.sgdr_schedule([]), "needs at least one period; got none"),
            (lambda: gk.sgdr_schedule(3), "needs a list of dicts; got 3"),
            (
                lambda: gk.sgdr_schedule([{**_PERIOD, "decay_steps": 1}]),
                "needs decay_steps > warmup_steps",
            ),
        ),
    ),
    Case(
        "adafactor_decay_schedule",
        lambda: gk.adafactor_decay_schedule(0.7, 5),
        bad=(
            (lambda: gk.adafactor_decay_schedule(-0.8), f"decay_rate: {AT_LEAST_0}"),
            *length_checks("adafactor_decay_schedule", 0.7, 5, at=1, least=0),
        ),
    ),
    Case(
        "per_epoch",
        lambda: gk.per_epoch(_line(), 5),
        bad=(
            (lambda: gk.per_epoch("a", 5), "schedule: needs"),
            *length_checks("per_epoch", 0.5, 5, at=1),
        ),
    ),
]
