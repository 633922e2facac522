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
        lambda: gk.latest(),
        bad=((lambda: gk.latest(0.9), "too many positional arguments"),),
    ),
    Case(
        "ema",
        lambda: gk.ema(0.8, nesterov=True),
        bad=(
            (lambda: gk.ema(1.0), f"decay: {DECAY}; got 1.0"),
            (lambda: gk.ema(float("nan")), f"decay: {DECAY}"),
            (lambda: gk.ema("0.9"), f"decay: {DECAY}"),
            (lambda: gk.ema(None), f"decay: {DECAY}"),
            (lambda: gk.ema(0.9, accumulator_dtype="int8"), DTYPE),
            (lambda: gk.ema(0.9, debiased=True), "Did you mean 'debias'"),
        ),
    ),
    Case(
        "trace",
        lambda: gk.trace(0.8, nesterov=True),
        bad=(
            (lambda: gk.trace(1.5), f"decay: {FRACTION}; got 1.5"),
            (lambda: gk.trace(-0.1), f"decay: {FRACTION}"),
            (lambda: gk.trace(0.9, accumulator_dtype="int32"), DTYPE),
        ),
    ),
    Case(
        "running_sum",
        lambda: gk.running_sum(0.25),
        bad=(
            (lambda: gk.running_sum(float("inf")), f"initial_value: {FINITE}"),
            (lambda: gk.running_sum(store="int8"), DTYPE),
        ),
    ),
    Case(
        "running_max",
        lambda: gk.running_max(gk.ema(0.8)),
        bad=(
            (lambda: gk.running_max(0.9), "average"),
            (lambda: gk.running_max(gk.latest(), store="int8"), DTYPE),
        ),
        complex=False,
    ),
    Case(
        "decayed_max",
        lambda: gk.decayed_max(0.8, 1e-3),
        bad=(
            (lambda: gk.decayed_max(1.0), f"decay: {DECAY}"),
            (lambda: gk.decayed_max(0.9, -1.0), f"eps: {AT_LEAST_0}"),
        ),
        complex=False,
    ),
    Case(
        "variance",
        lambda: gk.variance(0.8, debias=True),
        bad=(
            (lambda: gk.variance(1.0), f"decay: {DECAY}"),
            (lambda: gk.variance(0.9, initial_value=-1.0), f"initial_value: {AT_LEAST_0}"),
        ),
        within=lambda metric: gk.precondition(gk.latest(), metric, eps_root=0.1),
        complex=False,
    ),
    Case(
        "weighted_sum",
        lambda: gk.weighted_sum(gk.ema(0.8), gk.trace(0.7), 0.5),
        bad=(
            (lambda: gk.weighted_sum(gk.latest(), gk.latest(), float("inf")), f"weight: {FINITE}"),
            (lambda: gk.weighted_sum(0.9, gk.latest()), "first: needs an average; got 0.9"),
        ),
    ),
    Case(
        "per_leaf",
        lambda: gk.per_leaf(gk.ema(0.8), mean=True),
        bad=((lambda: gk.per_leaf(0.8), "average: needs an average; got 0.8"),),
    ),
    Case(
        "ema_from_first",
        lambda: gk.ema_from_first(0.8),
        bad=(
            (lambda: gk.ema_from_first(1.0), f"decay: {DECAY}"),
            (lambda: gk.ema_from_first(0.9, "int8"), DTYPE),
        ),
    ),
    Case(
        "additive_ema",
        lambda: gk.additive_ema(0.8, True, 0.1),
        bad=(
            (lambda: gk.additive_ema(1.0), f"decay: {DECAY}"),
            (lambda: gk.additive_ema(0.9, initial_value=-1.0), f"initial_value: {AT_LEAST_0}"),
        ),
        complex=False,
    ),
    Case(
        "compressed",
        lambda: gk.compressed(gk.ema(0.8), gk.factored(2), 1e-3),
        bad=((lambda: gk.compressed(gk.latest(), 3), "store: needs a Store; got 3"),),
        reads_back=False,
    ),
]
