"""Chains, the plain door, averages."""

from typing import Any

import jax
import jax.numpy as jnp

import gradkit as gk
from tests.records.case import AT_LEAST_0, DECAY, DTYPE, FINITE, FRACTION, Case


def _halve_init(params: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, params)


def _halve_update(updates: Any, state: Any, params: Any = None) -> Any:
    return jax.tree.map(lambda u: u / 2, updates), updates


STRUCTURE = [
    Case(
        "chain",
        lambda: gk.chain(gk.clip_by_global_norm(0.5), gk.ema(0.8), gk.scale(-0.1)),
        bad=((lambda: gk.chain(gk.scale(1.0), 3), r"transforms\[1\]: needs transforms; got 3"),),
    ),
    Case(
        "named_chain",
        lambda: gk.named_chain(("speed", gk.trace(0.8)), ("rate", gk.scale(-0.1))),
        bad=(
            (
                lambda: gk.named_chain(("a", gk.scale(1.0)), ("a", gk.scale(2.0))),
                r"needs unique names; got 'a' 2 times",
            ),
            (lambda: gk.named_chain(("a", None)), r"needs transforms; got None"),
        ),
    ),
    Case(
        "identity",
        lambda: gk.identity(),
        bad=((lambda: gk.identity(1.0), "too many positional arguments"),),
    ),
    Case(
        "GradientTransformation",
        lambda: gk.GradientTransformation(_halve_init, _halve_update),
        bad=((lambda: gk.GradientTransformation(_halve_init), "update"),),
        reads_back=False,
    ),
]

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
]
