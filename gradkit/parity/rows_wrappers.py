"""Rows against optax: what goes around an optimizer, or on which leaves."""

import math
from typing import Any

import jax

from gradkit.parity.row import Row

_FLOAT64 = ("float64",)
_LAYER = {"layer": True, "scalar": False, "empty": False}


def _third(step: Any) -> Any:
    return step % 3 == 0


def _labels(params: Any) -> Any:
    return {"layer": "a", "scalar": "b", "empty": "b"}


def _stalls(step: int) -> dict[str, Any]:
    """A loss that falls and then stays."""
    return {"value": 3.0 + math.exp(-step / 10) + (0.5 if step < 60 else 0.0)}


def _multi_steps(mean: bool) -> Any:
    return lambda o: o.MultiSteps(o.adam(0.05), 3, use_grad_mean=mean, accumulator_dtype=jax.numpy.float64).gradient_transformation()


WRAPPERS = (
    Row("MultiSteps", "mean", lambda k: k.MultiSteps(k.adam(0.05), 3), _multi_steps(True), dtypes=_FLOAT64),
    Row("MultiSteps", "sum", lambda k: k.MultiSteps(k.adam(0.05), 3, use_grad_mean=False), _multi_steps(False), dtypes=_FLOAT64),
    Row("apply_every", "", lambda k: k.apply_every(3)),
    Row("apply_if_finite", "", lambda k: k.apply_if_finite(k.adam(0.05), 3), feed="nans"),
    Row("conditionally_transform", "", lambda k: k.conditionally_transform(k.trace(0.9), _third)),
    Row("conditionally_mask", "", lambda k: k.conditionally_mask(k.trace(0.9), _third)),
    Row("masked", "", lambda k: k.masked(k.trace(0.9), _LAYER)),
    Row("partition", "", lambda k: k.partition({"a": k.adam(0.05), "b": k.sgd(0.1)}, _labels)),
    Row("multi_transform", "", lambda k: k.multi_transform({"a": k.adam(0.05), "b": k.sgd(0.1)}, _labels)),
    Row(
        "schedule_free",
        "",
        lambda k: k.schedule_free(k.sgd(0.05), 0.05, 0.8),
        lambda o: o.contrib.schedule_free(o.sgd(0.05), 0.05, 0.8),
        feed="loss",
        rtol=1e-9,
        dtypes=_FLOAT64,
    ),
    Row("schedule_free_sgd", "", lambda k: k.schedule_free_sgd(0.05), lambda o: o.contrib.schedule_free_sgd(0.05), feed="loss", rtol=1e-9, dtypes=_FLOAT64),
    Row(
        "schedule_free_adamw", "", lambda k: k.schedule_free_adamw(0.05), lambda o: o.contrib.schedule_free_adamw(0.05), feed="loss", rtol=1e-9, dtypes=_FLOAT64
    ),
    Row(
        "sam",
        "",
        lambda k: k.sam(k.sgd(0.05), k.chain(k.normalize(), k.sgd(0.1))),
        lambda o: o.contrib.sam(o.sgd(0.05), o.chain(o.contrib.normalize(), o.sgd(0.1))),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "reduce_on_plateau",
        "positive values",
        lambda k: k.chain(k.sgd(0.1), k.reduce_on_plateau(0.5, 5, 1e-3, 0.0, 2)),
        lambda o: o.chain(o.sgd(0.1), o.contrib.reduce_on_plateau(0.5, 5, 1e-3, 0.0, 2)),
        extras=_stalls,
        dtypes=_FLOAT64,
        note="on values below zero optax's relative tolerance has the wrong sign",
    ),
)
