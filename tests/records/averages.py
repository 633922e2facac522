"""Averages: the φ and ψ of a formula."""

import gradkit as gk
from tests.records.case import (
    AT_LEAST_0,
    DECAY,
    DTYPE,
    FINITE,
    FRACTION,
    Case,
)

AVERAGES = [
    Case(
        "latest",
        lambda: gk.averages.latest(),
        bad=((lambda: gk.averages.latest(0.9), "too many positional arguments"),),
    ),
    Case(
        "ema",
        lambda: gk.ema(0.8, nesterov=True),
        bad=(
            (lambda: gk.ema(1.0), f"decay=1.0 {DECAY}"),
            (lambda: gk.ema(float("nan")), f"decay=.* {DECAY}"),
            (lambda: gk.ema("0.9"), "decay='0.9' is not a number"),
            (lambda: gk.ema(None), "decay=None is not a number"),
            (lambda: gk.ema(0.9, accumulator_dtype="int8"), DTYPE),
            (lambda: gk.ema(0.9, debiased=True), "Did you mean 'debias'"),
        ),
    ),
    Case(
        "trace",
        lambda: gk.trace(0.8, nesterov=True),
        bad=(
            (lambda: gk.trace(1.5), f"decay=1.5 {FRACTION}"),
            (lambda: gk.trace(-0.1), f"decay=.* {FRACTION}"),
            (lambda: gk.trace(0.9, accumulator_dtype="int32"), DTYPE),
        ),
    ),
    Case(
        "running_sum",
        lambda: gk.averages.running_sum(0.25),
        bad=(
            (lambda: gk.averages.running_sum(float("inf")), f"initial_value=.* {FINITE}"),
            (lambda: gk.averages.running_sum(store="int8"), DTYPE),
        ),
    ),
    Case(
        "running_max",
        lambda: gk.averages.running_max(gk.ema(0.8)),
        bad=(
            (lambda: gk.averages.running_max(0.9), "average"),
            (lambda: gk.averages.running_max(gk.averages.latest(), store="int8"), DTYPE),
        ),
        complex=False,
    ),
    Case(
        "decayed_max",
        lambda: gk.averages.decayed_max(0.8, 1e-3),
        bad=(
            (lambda: gk.averages.decayed_max(1.0), f"decay=.* {DECAY}"),
            (lambda: gk.averages.decayed_max(0.9, -1.0), f"eps=.* {AT_LEAST_0}"),
        ),
        complex=False,
    ),
    Case(
        "variance",
        lambda: gk.averages.variance(0.8, debias=True),
        bad=(
            (lambda: gk.averages.variance(1.0), f"decay=.* {DECAY}"),
            (
                lambda: gk.averages.variance(0.9, initial_value=-1.0),
                f"initial_value=.* {AT_LEAST_0}",
            ),
        ),
        within=lambda metric: gk.precondition(gk.averages.latest(), metric, eps_root=0.1),
        complex=False,
    ),
    Case(
        "weighted_sum",
        lambda: gk.averages.weighted_sum(gk.ema(0.8), gk.trace(0.7), 0.5),
        bad=(
            (
                lambda: gk.averages.weighted_sum(
                    gk.averages.latest(), gk.averages.latest(), float("inf")
                ),
                f"weight=.* {FINITE}",
            ),
            (
                lambda: gk.averages.weighted_sum(0.9, gk.averages.latest()),
                "first=0.9 is not a transform",
            ),
        ),
    ),
    Case(
        "per_leaf",
        lambda: gk.averages.per_leaf(gk.ema(0.8), mean=True),
        bad=((lambda: gk.averages.per_leaf(0.8), "average=0.8 is not a transform"),),
    ),
    Case(
        "ema_from_first",
        lambda: gk.averages.ema_from_first(0.8),
        bad=(
            (lambda: gk.averages.ema_from_first(1.0), f"decay=.* {DECAY}"),
            (lambda: gk.averages.ema_from_first(0.9, "int8"), DTYPE),
        ),
    ),
    Case(
        "additive_ema",
        lambda: gk.averages.additive_ema(0.8, True, 0.1),
        bad=(
            (lambda: gk.averages.additive_ema(1.0), f"decay=.* {DECAY}"),
            (
                lambda: gk.averages.additive_ema(0.9, initial_value=-1.0),
                f"initial_value=.* {AT_LEAST_0}",
            ),
        ),
        complex=False,
    ),
    Case(
        "compressed",
        lambda: gk.averages.compressed(gk.ema(0.8), gk.stores.factored(2), 1e-3),
        bad=((lambda: gk.averages.compressed(gk.averages.latest(), 3), "store=3 is not a Store"),),
    ),
]
