"""Rows against optax: transforms with transforms inside."""

from typing import Any

import jax

from gradkit.parity.row import Row, fine
from gradkit.wrappers.accumulate import skip_large_updates, skip_not_finite

_FLOAT64 = ("float64",)

_LAYER = {"layer": True, "scalar": False, "empty": False}


def _third(step: Any) -> Any:
    return step % 3 == 0


def _labels(params: Any) -> Any:
    return {"layer": "a", "scalar": "b", "empty": "b"}


def _more(step: Any) -> Any:
    """Micro-batches of one step: 1, then 3."""
    return jax.numpy.where(step < 20, 1, 3)


def _multi_steps(make: Any, k: Any, **options: Any) -> dict[str, Any]:
    """The same of both, optax's sum in float64."""
    return {
        "make": lambda gk: gk.MultiSteps(make(gk), k, **options),
        "reference": lambda o: o.MultiSteps(
            make(o), k, **options, accumulator_dtype=jax.numpy.float64
        ).gradient_transformation(),
        "dtypes": _FLOAT64,
    }


def _clipped(o: Any) -> Any:
    return o.chain(o.clip_by_global_norm(1.0), o.adamw(0.05))


def _small(updates: Any, step: Any, params: Any) -> Any:
    """A quarter of the gradients are too large for it."""
    return skip_large_updates(updates, step, params, 12.0)


def _lookahead(o: Any, *arguments: Any) -> Any:
    """optax.lookahead with the slow weights in its state, not beside the parameters."""
    inner = o.lookahead(*arguments)

    def init(params: Any) -> Any:
        slow = jax.tree.map(jax.numpy.array, params)
        return inner.init(o.LookaheadParams(params, slow)), slow

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        state, slow = state
        moves, state = inner.update(updates, state, o.LookaheadParams(params, slow))
        return moves.fast, (state, o.apply_updates(slow, moves.slow))

    return o.GradientTransformation(init, update)


def _schedule_free(o: Any, base: Any, rate: Any, *numbers: float) -> Any:
    """optax.contrib.schedule_free, weighted by the rate of this step: optax reads the next one."""
    return o.contrib.schedule_free(base, lambda step: rate(step - 1), *numbers)


def _warm_sgd(o: Any) -> Any:
    rate = fine(o, o.warmup_constant_schedule(0.0, 0.05, 30))
    return _schedule_free(o, o.chain(o.add_decayed_weights(0.1), o.sgd(rate)), rate, 0.8, 1.0)


def _warm_adamw(o: Any) -> Any:
    rate = fine(o, o.warmup_constant_schedule(0.0, 0.05, 30))
    root = o.scale_by_rms(0.95, 1e-4, eps_in_sqrt=False, bias_correction=True)
    return _schedule_free(
        o, o.chain(root, o.add_decayed_weights(0.1), o.scale_by_learning_rate(rate)), rate, 0.8, 1.0
    )


def _uphill(k: Any, o: Any, momentum: float | None = None) -> Any:
    return k.chain(o.normalize(), k.sgd(0.1, momentum))


def _with_gradients(o: Any, tx: Any) -> Any:
    """optax.contrib.sam, whose opaque mode takes a gradient function: here from the loss."""

    def update(updates: Any, state: Any, params: Any = None, *, value_fn: Any) -> Any:
        return tx.update(
            updates, state, params, grad_fn=lambda params, i: jax.grad(value_fn)(params)
        )

    return o.GradientTransformationExtraArgs(tx.init, update)


_NEXT = "optax weighs by the rate of the next step; here by that of the inner optimizer's step"

WRAPPERS: tuple[Row, ...] = (
    Row(
        "selective_transform",
        "",
        lambda k: k.selective_transform(
            k.adam(0.05), freeze_mask={"layer": True, "scalar": False, "empty": False}
        ),
    ),
    Row("MultiSteps", "mean", **_multi_steps(lambda o: o.adam(0.05), 3)),
    Row("MultiSteps", "sum", **_multi_steps(lambda o: o.adam(0.05), 3, use_grad_mean=False)),
    Row("MultiSteps", "scheduled, a clip inside", **_multi_steps(_clipped, _more)),
    Row(
        "MultiSteps",
        "skip_not_finite",
        **_multi_steps(lambda o: o.adam(0.05), 2, should_skip_update_fn=skip_not_finite),
        feed="nans",
    ),
    Row(
        "MultiSteps",
        "skip_large_updates",
        **_multi_steps(lambda o: o.sgd(0.05, 0.9), 2, should_skip_update_fn=_small),
    ),
    Row("apply_every", "", lambda k: k.apply_every(3)),
    Row("apply_if_finite", "", lambda k: k.apply_if_finite(k.adam(0.05), 3), feed="nans"),
    Row(
        "flatten",
        "",
        lambda k: k.flatten(k.chain(k.clip_by_block_rms(0.1), k.adam(0.05, 0.7, eps=1e-4))),
    ),
    Row("conditionally_transform", "", lambda k: k.conditionally_transform(k.trace(0.9), _third)),
    Row("conditionally_mask", "", lambda k: k.conditionally_mask(k.trace(0.9), _third)),
    Row(
        "guard",
        "",
        lambda k: k.guard(k.adam(0.05), 5),
        lambda o: o.apply_if_finite(o.adam(0.05), 5),
        feed="nans",
    ),
    Row(
        "lookahead",
        "",
        lambda k: k.lookahead(k.sgd(0.05, 0.9), 4, 0.3),
        lambda o: _lookahead(o, o.sgd(0.05, 0.9), 4, 0.3),
    ),
    Row(
        "lookahead",
        "reset",
        lambda k: k.lookahead(k.adam(0.05), 5, 0.5, True),
        lambda o: _lookahead(o, o.adam(0.05), 5, 0.5, True),
    ),
    Row("freeze", "", lambda k: k.chain(k.trace(0.9), k.freeze(_LAYER))),
    Row(
        "where",
        "",
        lambda k: k.where(k.by_path("layer.*"), k.adam(0.05), k.sgd(0.1)),
        lambda o: o.partition({"a": o.adam(0.05), "b": o.sgd(0.1)}, _labels),
    ),
    Row("masked", "", lambda k: k.masked(k.trace(0.9), _LAYER)),
    Row("partition", "", lambda k: k.partition({"a": k.adam(0.05), "b": k.sgd(0.1)}, _labels)),
    Row(
        "multi_transform",
        "",
        lambda k: k.multi_transform({"a": k.adam(0.05), "b": k.sgd(0.1)}, _labels),
    ),
    Row(
        "schedule_free",
        "",
        lambda k: k.schedule_free(k.sgd(0.05), 0.05, 0.8),
        lambda o: o.contrib.schedule_free(o.sgd(0.05), 0.05, 0.8),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "schedule_free",
        "scheduled",
        lambda k: k.schedule_free(
            k.adam(k.linear_schedule(0.01, 0.05, 60), b1=0.0),
            k.linear_schedule(0.01, 0.05, 60),
            0.95,
            1.5,
        ),
        lambda o: _schedule_free(
            o,
            o.adam(fine(o, o.linear_schedule(0.01, 0.05, 60)), b1=0.0),
            fine(o, o.linear_schedule(0.01, 0.05, 60)),
            0.95,
            1.5,
        ),
        feed="loss",
        dtypes=_FLOAT64,
        note=_NEXT,
    ),
    Row(
        "schedule_free_sgd",
        "",
        lambda k: k.schedule_free_sgd(0.05),
        lambda o: o.contrib.schedule_free_sgd(0.05),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "schedule_free_sgd",
        "other",
        lambda k: k.schedule_free_sgd(0.05, None, 0.7, 0.1, 0.0),
        lambda o: o.contrib.schedule_free_sgd(0.05, None, 0.7, 0.1, 0.0),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "schedule_free_sgd",
        "warmup",
        lambda k: k.schedule_free_sgd(0.05, 30, 0.8, 0.1, 1.0),
        _warm_sgd,
        feed="loss",
        dtypes=_FLOAT64,
        note=_NEXT,
    ),
    Row(
        "schedule_free_adamw",
        "",
        lambda k: k.schedule_free_adamw(0.05),
        lambda o: o.contrib.schedule_free_adamw(0.05),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "schedule_free_adamw",
        "other",
        lambda k: k.schedule_free_adamw(0.05, None, 0.7, 0.95, 1e-3, 0.1, 0.0),
        lambda o: o.contrib.schedule_free_adamw(0.05, None, 0.7, 0.95, 1e-3, 0.1, 0.0),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "schedule_free_adamw",
        "warmup",
        lambda k: k.schedule_free_adamw(0.05, 30, 0.8, 0.95, 1e-4, 0.1, 1.0),
        _warm_adamw,
        feed="loss",
        dtypes=_FLOAT64,
        note=_NEXT,
    ),
    Row(
        "sam",
        "",
        lambda k: k.sam(k.sgd(0.05), _uphill(k, k)),
        lambda o: o.contrib.sam(o.sgd(0.05), _uphill(o, o.contrib)),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "sam",
        "two steps uphill",
        lambda k: k.sam(k.adam(0.05), _uphill(k, k, 0.9), 3),
        lambda o: o.contrib.sam(o.adam(0.05), _uphill(o, o.contrib, 0.9), 3),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "sam",
        "state kept",
        lambda k: k.sam(k.sgd(0.05, 0.9), _uphill(k, k, 0.9), 3, False),
        lambda o: o.contrib.sam(o.sgd(0.05, 0.9), _uphill(o, o.contrib, 0.9), 3, False),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "sam",
        "alone",
        lambda k: k.sam(k.adam(0.05), k.sgd(0.1), 1),
        lambda o: o.adam(0.05),
        feed="loss",
        dtypes=_FLOAT64,
        note="with sync_period=1 optax steps from the parameters of the step before",
    ),
    Row(
        "sam",
        "opaque",
        lambda k: k.sam(k.adam(0.05), _uphill(k, k, 0.9), 3, opaque_mode=True),
        lambda o: _with_gradients(
            o, o.contrib.sam(o.adam(0.05), _uphill(o, o.contrib, 0.9), 3, opaque_mode=True)
        ),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "sam",
        "opaque, state kept",
        lambda k: k.sam(k.sgd(0.05, 0.9), _uphill(k, k, 0.9), 2, False, True),
        lambda o: _with_gradients(
            o, o.contrib.sam(o.sgd(0.05, 0.9), _uphill(o, o.contrib, 0.9), 2, False, True)
        ),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "selective_transform",
        "a scalar frozen",
        lambda k: k.selective_transform(
            k.adam(0.05), freeze_mask={"layer": False, "scalar": True, "empty": False}
        ),
    ),
)
