"""Rows against optax: the foundation, and the schedules."""

from collections.abc import Callable
from typing import Any

import jax

from gradkit.parity.row import WIDE, Row, fine, matrices, start

_HALF = "optax multiplies a stored bfloat16 average in bfloat16, gradkit in float32 or wider: equal where the decay is ½, before bfloat16 underflows"

OPTIMIZERS = (
    Row("sgd", "", lambda k: k.sgd(0.1)),
    Row("sgd", "on a loss", lambda k: k.sgd(0.01, momentum=0.9), feed="loss", dtypes=WIDE),
    Row("sgd", "momentum", lambda k: k.sgd(0.1, momentum=0.9)),
    Row("sgd", "nesterov", lambda k: k.sgd(0.1, momentum=0.8, nesterov=True)),
    Row(
        "sgd",
        "bfloat16 trace",
        lambda k: k.sgd(0.1, momentum=0.5, accumulator_dtype="bfloat16"),
        dtypes=("float64",),
        note=_HALF,
        most=100,
    ),
    Row(
        "sgd",
        "scheduled",
        lambda k: k.sgd(fine(k, k.linear_schedule(0.1, 0.01, 150)), momentum=0.9),
    ),
    Row(
        "momentum",
        "averaged",
        lambda k: k.momentum(0.1, 0.75),
        lambda o: o.sgd(0.1 * 0.25, momentum=0.75),
        note="v = βv + (1−β)g is sgd's trace at the rate (1−β)α",
    ),
    Row(
        "momentum",
        "debiased",
        lambda k: k.momentum(0.1, 0.9, debias=True),
        lambda o: o.chain(o.ema(0.9, debias=True), o.scale_by_learning_rate(0.1)),
    ),
    Row("adagrad", "", lambda k: k.adagrad(0.1)),
    Row("adagrad", "from zero", lambda k: k.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-5)),
    Row("rmsprop", "", lambda k: k.rmsprop(0.01)),
    Row(
        "rmsprop", "eps outside", lambda k: k.rmsprop(0.01, decay=0.95, eps=1e-4, eps_in_sqrt=False)
    ),
    Row("rmsprop", "initial scale", lambda k: k.rmsprop(0.01, initial_scale=1.0)),
    Row("rmsprop", "centered", lambda k: k.rmsprop(0.01, eps=1e-3, centered=True)),
    Row(
        "rmsprop",
        "centered, debiased",
        lambda k: k.rmsprop(0.01, decay=0.8, eps=1e-3, centered=True, bias_correction=True),
        note="with the ε outside the root optax takes the root of a rounding error in the first step, and may get NaN; gradkit's variance is never below zero",
    ),
    Row("rmsprop", "momentum", lambda k: k.rmsprop(0.01, momentum=0.9)),
    Row("rmsprop", "nesterov", lambda k: k.rmsprop(0.01, eps=1e-6, momentum=0.9, nesterov=True)),
    Row(
        "rmsprop",
        "momentum, scheduled",
        lambda k: k.rmsprop(fine(k, k.linear_schedule(0.1, 0.01, 150)), momentum=0.9),
    ),
    Row("rmsprop", "debiased", lambda k: k.rmsprop(0.01, decay=0.99, bias_correction=True)),
    Row("adadelta", "", lambda k: k.adadelta(1.0)),
    Row(
        "adadelta",
        "no rate",
        lambda k: k.adadelta(),
        note="without a rate the result ascends, as in optax",
    ),
    Row(
        "adadelta",
        "decayed",
        lambda k: k.adadelta(0.5, rho=0.95, eps=1e-4, weight_decay=0.1, weight_decay_mask=matrices),
    ),
    Row("adam", "", lambda k: k.adam(0.01)),
    Row("adam", "on a loss", lambda k: k.adam(0.01), feed="loss", dtypes=WIDE),
    Row("adam", "both eps", lambda k: k.adam(0.01, b1=0.8, b2=0.99, eps=1e-4, eps_root=1e-6)),
    Row("adam", "no memory", lambda k: k.adam(0.01, b1=0.0, b2=0.9)),
    Row("adam", "nesterov", lambda k: k.adam(0.01, nesterov=True)),
    Row(
        "adam",
        "bfloat16 moment",
        lambda k: k.adam(0.01, b1=0.5, mu_dtype="bfloat16"),
        dtypes=("float64",),
        note=_HALF,
        most=100,
    ),
    Row(
        "adam",
        "scheduled",
        lambda k: k.adam(fine(k, k.warmup_cosine_decay_schedule(0.0, 0.1, 20, 180, 0.001))),
    ),
    Row("adamw", "", lambda k: k.adamw(0.01)),
    Row("adamw", "on a loss", lambda k: k.adamw(0.02, weight_decay=0.1), feed="loss", dtypes=WIDE),
    Row("adamw", "masked", lambda k: k.adamw(0.01, b2=0.95, weight_decay=0.3, mask=matrices)),
    Row(
        "adamw", "nesterov", lambda k: k.adamw(0.01, eps_root=1e-8, weight_decay=0.1, nesterov=True)
    ),
    Row("adamax", "", lambda k: k.adamax(0.01)),
    Row("adamax", "other decays", lambda k: k.adamax(0.01, b1=0.8, b2=0.9, eps=1e-4)),
    Row("adamaxw", "", lambda k: k.adamaxw(0.01)),
    Row("adamaxw", "masked", lambda k: k.adamaxw(0.01, b2=0.99, weight_decay=0.3, mask=matrices)),
    Row("nadam", "", lambda k: k.nadam(0.01)),
    Row(
        "nadam", "other decays", lambda k: k.nadam(0.01, b1=0.95, b2=0.98, eps=1e-5, eps_root=1e-7)
    ),
    Row("nadamw", "", lambda k: k.nadamw(0.01)),
    Row("nadamw", "masked", lambda k: k.nadamw(0.01, weight_decay=0.3, mask=matrices)),
    Row(
        "nadamw",
        "other",
        lambda k: k.nadamw(
            0.01, b1=0.8, b2=0.95, eps=1e-4, eps_root=1e-6, weight_decay=0.1, mask=matrices
        ),
    ),
    Row("nadamw", "plain", lambda k: k.nadamw(0.01, b1=0.95, weight_decay=0.1, nesterov=False)),
    Row("amsgrad", "", lambda k: k.amsgrad(0.01)),
    Row(
        "amsgrad",
        "as the paper",
        lambda k: k.amsgrad(0.01, b2=0.9, bias_correction_mu=False, bias_correction_nu=False),
    ),
    Row("amsgrad", "both eps", lambda k: k.amsgrad(0.01, b1=0.8, b2=0.9, eps=1e-4, eps_root=1e-6)),
    Row("sign_sgd", "", lambda k: k.sign_sgd(0.01)),
)

TRANSFORMS = (
    Row("identity", "", lambda k: k.identity()),
    Row("set_to_zero", "", lambda k: k.set_to_zero()),
    Row(
        "chain",
        "",
        lambda k: k.chain(
            k.clip_by_global_norm(1.0),
            k.scale_by_adam(),
            k.add_decayed_weights(0.01),
            k.scale_by_learning_rate(0.01),
        ),
    ),
    Row(
        "chain",
        "order",
        lambda k: k.chain(
            k.scale_by_adam(), k.clip_by_global_norm(1.0), k.scale_by_learning_rate(0.01)
        ),
    ),
    Row(
        "named_chain", "", lambda k: k.named_chain(("speed", k.trace(0.9)), ("rate", k.scale(-0.1)))
    ),
    Row("stateless", "", lambda k: k.stateless(_double), lambda o: o.stateless(_double)),
    Row("scale", "", lambda k: k.scale(-0.3)),
    Row("scale_by_learning_rate", "", lambda k: k.scale_by_learning_rate(0.3)),
    Row(
        "scale_by_learning_rate",
        "ascending",
        lambda k: k.scale_by_learning_rate(0.3, flip_sign=False),
    ),
    Row(
        "scale_by_schedule",
        "function",
        lambda k: k.scale_by_schedule(lambda step: 1.0 / (step + 1).astype(float)),
    ),
    Row("clip", "", lambda k: k.clip(0.5)),
    Row(
        "clip",
        "two bounds",
        lambda k: k.clip(0.7, -0.1),
        lambda o: o.stateless(_between),
        note="optax has one bound",
    ),
    Row("clip_by_global_norm", "", lambda k: k.clip_by_global_norm(1.0)),
    Row("clip_by_block_rms", "", lambda k: k.clip_by_block_rms(0.5)),
    Row("adaptive_grad_clip", "", lambda k: k.adaptive_grad_clip(0.1), dtypes=WIDE),
    Row("adaptive_grad_clip", "eps", lambda k: k.adaptive_grad_clip(0.01, eps=0.5), dtypes=WIDE),
    Row("normalize_by_update_norm", "", lambda k: k.normalize_by_update_norm()),
    Row("normalize_by_update_norm", "scaled", lambda k: k.normalize_by_update_norm(-0.5, eps=0.1)),
    Row("add_decayed_weights", "", lambda k: k.chain(k.add_decayed_weights(0.1), k.scale(-0.01))),
    Row(
        "add_decayed_weights",
        "masked",
        lambda k: k.chain(k.add_decayed_weights(0.1, mask=matrices), k.scale(-0.01)),
    ),
    Row(
        "add_decayed_weights",
        "mask as a tree",
        lambda k: k.chain(k.add_decayed_weights(0.1, mask=matrices(start())), k.scale(-0.01)),
    ),
    Row(
        "add_decayed_weights",
        "scheduled",
        lambda k: k.chain(
            k.add_decayed_weights(fine(k, k.linear_schedule(0.2, 0.05, 150))), k.scale(-0.01)
        ),
    ),
    Row(
        "add_l2_penalty",
        "",
        lambda k: k.chain(k.add_l2_penalty(0.1), k.adam(0.01)),
        lambda o: o.chain(o.add_decayed_weights(0.1), o.adam(0.01)),
        note="coupled: before the averages",
    ),
    Row("trace", "", lambda k: k.trace(0.9)),
    Row("trace", "nesterov", lambda k: k.trace(0.7, nesterov=True)),
    Row("ema", "", lambda k: k.ema(0.9)),
    Row("ema", "biased", lambda k: k.ema(0.99, debias=False)),
    Row(
        "ema",
        "bfloat16",
        lambda k: k.ema(0.5, accumulator_dtype="bfloat16"),
        dtypes=("float64",),
        note=_HALF,
        most=100,
    ),
    Row("scale_by_adam", "", lambda k: k.scale_by_adam()),
    Row(
        "scale_by_adam", "both eps", lambda k: k.scale_by_adam(0.8, 0.99, 1e-4, 1e-6, nesterov=True)
    ),
    Row("scale_by_amsgrad", "", lambda k: k.scale_by_amsgrad()),
    Row(
        "scale_by_amsgrad",
        "biased",
        lambda k: k.scale_by_amsgrad(0.8, 0.9, 1e-4, 1e-6, bias_correction_nu=False),
    ),
    Row("scale_by_adamax", "", lambda k: k.scale_by_adamax()),
    Row("scale_by_adamax", "other decays", lambda k: k.scale_by_adamax(0.5, 0.8, 1e-3)),
    Row("scale_by_rms", "", lambda k: k.scale_by_rms()),
    Row(
        "scale_by_rms",
        "eps outside, debiased",
        lambda k: k.scale_by_rms(0.95, 1e-4, 0.5, eps_in_sqrt=False, bias_correction=True),
    ),
    Row("scale_by_stddev", "", lambda k: k.scale_by_stddev()),
    Row(
        "scale_by_stddev", "eps outside", lambda k: k.scale_by_stddev(0.8, 1e-3, eps_in_sqrt=False)
    ),
    Row(
        "scale_by_stddev",
        "debiased",
        lambda k: k.scale_by_stddev(0.8, 1e-3, 0.5, bias_correction=True),
    ),
    Row("scale_by_rss", "", lambda k: k.scale_by_rss()),
    Row("scale_by_rss", "from zero", lambda k: k.scale_by_rss(0.0, 1e-5)),
    Row("scale_by_adadelta", "", lambda k: k.scale_by_adadelta()),
    Row("scale_by_adadelta", "other", lambda k: k.scale_by_adadelta(0.5, 1e-3)),
    Row("scale_by_sign", "", lambda k: k.scale_by_sign()),
    Row("centralize", "", lambda k: k.centralize()),
    Row("zero_nans", "", lambda k: k.zero_nans(), feed="nans"),
    Row(
        "add_noise",
        "",
        lambda k: k.add_noise(0.1, 0.55, key=7),
        dtypes=("float64",),
        note="the same random numbers as optax's, from the same key",
    ),
)


def _double(updates: Any, params: Any) -> Any:
    return jax.tree.map(lambda u: 2.0 * u, updates)


def _between(updates: Any, params: Any) -> Any:
    return jax.tree.map(lambda u: jax.numpy.clip(u, -0.1, 0.7), updates)


def _schedule(
    part: str,
    case: str,
    make: Callable[[Any], Any],
    reference: Callable[[Any], Any] | None = None,
    **more: Any,
) -> Row:
    """A row that multiplies the gradients by a schedule; ``reference`` gives optax's, or a function of the step."""
    other = reference or make
    return Row(
        part,
        case,
        lambda k: k.scale_by_schedule(make(k)),
        lambda o: o.scale_by_schedule(fine(o, other(o))),
        **more,
    )


_RESTARTS = ((0.3, 40), (0.2, 60), (0.1, 80))

SCHEDULES = (
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
)
# What optax does not have, against its formula or against optax's pieces joined by hand.
LECTURES = (
    _schedule(
        "natural_exponential_decay",
        "",
        lambda k: k.natural_exponential_decay(0.3, 20, 0.4),
        lambda o: lambda t: 0.3 * jax.numpy.exp(-0.4 * t / 20),
    ),
    _schedule(
        "inverse_time_decay",
        "",
        lambda k: k.inverse_time_decay(0.3, 20, 0.4),
        lambda o: lambda t: 0.3 / (1 + 0.4 * t / 20),
    ),
    _schedule(
        "inverse_time_decay",
        "staircase",
        lambda k: k.inverse_time_decay(0.3, 20, 0.4, staircase=True),
        lambda o: lambda t: 0.3 / (1 + 0.4 * (t // 20)),
    ),
    _schedule(
        "inverse_sqrt_schedule",
        "",
        lambda k: k.inverse_sqrt_schedule(0.3),
        lambda o: lambda t: 0.3 / jax.numpy.sqrt(t + 1.0),
    ),
    _schedule(
        "inverse_sqrt_schedule",
        "warmup",
        lambda k: k.inverse_sqrt_schedule(0.3, 30),
        lambda o: lambda t: 0.3 * jax.numpy.minimum((t + 1.0) / 30, jax.numpy.sqrt(30 / (t + 1.0))),
    ),
    _schedule(
        "triangular_schedule",
        "",
        lambda k: k.triangular_schedule(0.1, 0.5, 25, 0.5),
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
        lambda k: k.warm_restarts_schedule(0.4, 20, t_mul=2, m_mul=0.7, alpha=0.1),
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
        lambda k: k.linear_warmup(k.cosine_decay_schedule(0.3, 150, 0.1), 30),
        lambda o: o.join_schedules(
            [o.linear_schedule(0.01, 0.31, 30), o.cosine_decay_schedule(0.3, 150, 0.1)], [30]
        ),
    ),
    _schedule(
        "per_epoch",
        "",
        lambda k: k.per_epoch(k.inverse_sqrt_schedule(0.3), 20),
        lambda o: lambda t: 0.3 / jax.numpy.sqrt(1.0 + t // 20),
    ),
)

CORE = (*OPTIMIZERS, *TRANSFORMS, *SCHEDULES, *LECTURES)
