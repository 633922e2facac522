"""Rows against optax: schedules, each the rate that scales given gradients."""

from collections.abc import Callable
from typing import Any

import jax

from gradkit.parity.row import Row, fine


def _schedule(
    part: str,
    case: str,
    make: Callable[[Any], Any],
    reference: Callable[[Any], Any] | None = None,
    **more: Any,
) -> Row:
    """A row that multiplies the gradients by a schedule; by default optax's of the same name."""
    other = reference or make
    return Row(
        part,
        case,
        lambda k: k.scale_by_schedule(make(k)),
        lambda o: o.scale_by_schedule(fine(o, other(o))),
        **more,
    )


_RESTARTS = ((0.3, 40), (0.2, 60), (0.1, 80))

SCHEDULES: tuple[Row, ...] = (
    _schedule("constant_schedule", "", lambda k: k.constant_schedule(0.3)),
    _schedule("linear_schedule", "", lambda k: k.linear_schedule(0.3, 0.01, 150)),
    _schedule("linear_schedule", "delayed", lambda k: k.linear_schedule(0.3, 0.01, 100, 37)),
    _schedule("polynomial_schedule", "", lambda k: k.polynomial_schedule(0.3, 0.01, 2.5, 120)),
    _schedule(
        "polynomial_schedule", "delayed", lambda k: k.polynomial_schedule(0.01, 0.3, 0.5, 120, 11)
    ),
    _schedule("exponential_decay", "", lambda k: k.exponential_decay(0.3, 40, 0.5)),
    _schedule(
        "exponential_decay",
        "staircase",
        lambda k: k.exponential_decay(0.3, 30, 0.5, transition_begin=10, staircase=True),
    ),
    _schedule(
        "exponential_decay", "bounded", lambda k: k.exponential_decay(0.3, 30, 0.5, end_value=0.05)
    ),
    _schedule(
        "exponential_decay", "growing", lambda k: k.exponential_decay(0.01, 30, 1.7, end_value=0.2)
    ),
    _schedule("cosine_decay_schedule", "", lambda k: k.cosine_decay_schedule(0.3, 150)),
    _schedule(
        "cosine_decay_schedule",
        "alpha, exponent",
        lambda k: k.cosine_decay_schedule(0.3, 150, alpha=0.1, exponent=1.5),
    ),
    _schedule(
        "piecewise_constant_schedule",
        "",
        lambda k: k.piecewise_constant_schedule(0.3, {50: 0.5, 100: 0.1, 180: 3.0}),
    ),
    _schedule(
        "piecewise_interpolate_schedule",
        "linear",
        lambda k: k.piecewise_interpolate_schedule("linear", 0.3, {50: 0.5, 100: 2.0, 180: 0.1}),
    ),
    _schedule(
        "piecewise_interpolate_schedule",
        "cosine",
        lambda k: k.piecewise_interpolate_schedule("cosine", 0.3, {50: 0.5, 100: 2.0, 180: 0.1}),
    ),
    _schedule("linear_onecycle_schedule", "", lambda k: k.linear_onecycle_schedule(180, 0.3)),
    _schedule(
        "linear_onecycle_schedule",
        "other shares",
        lambda k: k.linear_onecycle_schedule(150, 0.3, 0.4, 0.8, 10.0, 100.0),
    ),
    _schedule("cosine_onecycle_schedule", "", lambda k: k.cosine_onecycle_schedule(180, 0.3)),
    _schedule(
        "cosine_onecycle_schedule",
        "other shares",
        lambda k: k.cosine_onecycle_schedule(150, 0.3, 0.4, 10.0, 100.0),
    ),
    _schedule("warmup_constant_schedule", "", lambda k: k.warmup_constant_schedule(0.01, 0.3, 40)),
    _schedule(
        "warmup_cosine_decay_schedule",
        "",
        lambda k: k.warmup_cosine_decay_schedule(0.0, 0.3, 40, 160),
    ),
    _schedule(
        "warmup_cosine_decay_schedule",
        "end, exponent",
        lambda k: k.warmup_cosine_decay_schedule(0.01, 0.3, 40, 160, 0.02, 2.0),
    ),
    _schedule(
        "warmup_exponential_decay_schedule",
        "",
        lambda k: k.warmup_exponential_decay_schedule(0.0, 0.3, 40, 30, 0.5),
    ),
    _schedule(
        "warmup_exponential_decay_schedule",
        "staircase",
        lambda k: k.warmup_exponential_decay_schedule(
            0.01, 0.3, 40, 30, 0.5, transition_begin=7, staircase=True, end_value=0.02
        ),
    ),
    _schedule(
        "sgdr_schedule",
        "",
        lambda k: k.sgdr_schedule(
            [
                {"init_value": 0.0, "peak_value": p, "warmup_steps": 10, "decay_steps": d}
                for p, d in _RESTARTS
            ]
        ),
    ),
    _schedule(
        "join_schedules",
        "",
        lambda k: k.join_schedules(
            [
                k.linear_schedule(0.0, 0.3, 30),
                k.constant_schedule(0.3),
                k.exponential_decay(0.3, 9, 0.7),
            ],
            [30, 90],
        ),
    ),
    _schedule(
        "natural_exponential_decay",
        "",
        lambda k: k.schedules.natural_exponential_decay(0.3, 20, 0.4),
        lambda o: lambda t: 0.3 * jax.numpy.exp(-0.4 * t / 20),
    ),
    _schedule(
        "inverse_time_decay",
        "",
        lambda k: k.schedules.inverse_time_decay(0.3, 20, 0.4),
        lambda o: lambda t: 0.3 / (1 + 0.4 * t / 20),
    ),
    _schedule(
        "inverse_time_decay",
        "staircase",
        lambda k: k.schedules.inverse_time_decay(0.3, 20, 0.4, staircase=True),
        lambda o: lambda t: 0.3 / (1 + 0.4 * (t // 20)),
    ),
    _schedule(
        "inverse_sqrt_schedule",
        "",
        lambda k: k.schedules.inverse_sqrt_schedule(0.3),
        lambda o: lambda t: 0.3 / jax.numpy.sqrt(t + 1.0),
    ),
    _schedule(
        "inverse_sqrt_schedule",
        "warmup",
        lambda k: k.schedules.inverse_sqrt_schedule(0.3, 30),
        lambda o: lambda t: 0.3 * jax.numpy.minimum((t + 1.0) / 30, jax.numpy.sqrt(30 / (t + 1.0))),
    ),
    _schedule(
        "triangular_schedule",
        "",
        lambda k: k.schedules.triangular_schedule(0.1, 0.5, 25, 0.5),
        lambda o: o.join_schedules(
            [
                o.linear_schedule(low * 0.5**m, high * 0.5**m, 25)
                for m in range(8)
                for low, high in ((0.1, 0.5), (0.5, 0.1))
            ],
            list(range(25, 400, 25)),
        ),
        most=400,
    ),
    _schedule(
        "warm_restarts_schedule",
        "",
        lambda k: k.schedules.warm_restarts_schedule(0.4, 20, t_mul=2, m_mul=0.7, alpha=0.1),
        lambda o: o.join_schedules(
            [o.cosine_decay_schedule(0.4 * 0.7**m, 20 * 2**m, 0.1) for m in range(4)], [20, 60, 140]
        ),
        most=300,
    ),
    _schedule(
        "warmup_stable_decay_schedule",
        "",
        lambda k: k.warmup_stable_decay_schedule(0.01, 0.3, 30, 70, 80, 0.02),
        lambda o: o.join_schedules(
            [
                o.linear_schedule(0.01, 0.3, 30),
                o.constant_schedule(0.3),
                o.linear_schedule(0.3, 0.02, 80),
            ],
            [30, 100],
        ),
    ),
    _schedule(
        "linear_warmup",
        "",
        lambda k: k.schedules.linear_warmup(k.cosine_decay_schedule(0.3, 150, 0.1), 30),
        lambda o: o.join_schedules(
            [o.linear_schedule(0.01, 0.31, 30), o.cosine_decay_schedule(0.3, 150, 0.1)], [30]
        ),
    ),
    _schedule(
        "per_epoch",
        "",
        lambda k: k.schedules.per_epoch(k.schedules.inverse_sqrt_schedule(0.3), 20),
        lambda o: lambda t: 0.3 / jax.numpy.sqrt(1.0 + t // 20),
    ),
)
