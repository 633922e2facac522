"""The links that are no averages; routes and predicates."""

import gradkit as gk
from tests.records.case import (
    ABOVE_0,
    AT_LEAST_0,
    DECAY,
    DTYPE,
    FINITE,
    Case,
    adam_like,
    harmonic,
    is_vector,
    label,
    matrices_only,
    penalty,
)

TRANSFORMS = [
    Case(
        "precondition",
        lambda: gk.precondition(gk.ema(0.8), gk.averages.running_sum(0.1), 1e-3, 1e-4),
        bad=(
            (
                lambda: gk.precondition(gk.averages.latest(), gk.averages.running_sum(), -1e-8),
                f"eps: {AT_LEAST_0}",
            ),
            (
                lambda: gk.precondition(
                    gk.averages.latest(), gk.averages.running_sum(), 0.0, -1e-8
                ),
                f"eps_root: {AT_LEAST_0}",
            ),
            (
                lambda: gk.precondition(gk.averages.latest(), gk.averages.running_sum(), order=3),
                "order=3 is out of range. Expected 1 or 2",
            ),
            (lambda: gk.precondition(0.9, gk.averages.running_sum()), "moment"),
        ),
    ),
    Case(
        "clip",
        lambda: gk.clip(0.5, -0.25),
        bad=(
            (lambda: gk.clip(0.0), f"max_delta: {ABOVE_0}"),
            (lambda: gk.clip(1.0, 2.0), "needs min_delta < max_delta; got 2.0 and 1.0"),
            (lambda: gk.clip(1.0, float("nan")), f"min_delta: {FINITE}"),
        ),
        complex=False,
    ),
    Case(
        "clip_by_global_norm",
        lambda: gk.clip_by_global_norm(0.5),
        bad=(
            (lambda: gk.clip_by_global_norm(0.0), f"max_norm: {ABOVE_0}; got 0.0"),
            (lambda: gk.clip_by_global_norm(float("nan")), f"max_norm: {ABOVE_0}"),
        ),
    ),
    Case(
        "clip_by_block_rms",
        lambda: gk.clip_by_block_rms(0.5),
        bad=((lambda: gk.clip_by_block_rms(-1.0), ABOVE_0),),
    ),
    Case(
        "adaptive_grad_clip",
        lambda: gk.adaptive_grad_clip(0.1, 1e-2),
        bad=(
            (lambda: gk.adaptive_grad_clip(0.0), f"clipping: {ABOVE_0}"),
            (lambda: gk.adaptive_grad_clip(0.1, -1.0), "eps: needs"),
        ),
        needs_params=True,
    ),
    Case(
        "scale",
        lambda: gk.scale(-0.5),
        bad=(
            (lambda: gk.scale(float("inf")), f"step_size: {FINITE}"),
            (lambda: gk.scale(None), "step_size: needs"),
        ),
    ),
    Case(
        "scale_by_learning_rate",
        lambda: gk.scale_by_learning_rate(
            gk.schedules.function_schedule(harmonic), flip_sign=False
        ),
        bad=((lambda: gk.scale_by_learning_rate(-0.1), f"learning_rate: {AT_LEAST_0}; got -0.1"),),
        reads_back=False,
    ),
    Case(
        "scale_by_schedule",
        lambda: gk.scale_by_schedule(harmonic),
        bad=((lambda: gk.scale_by_schedule("fast"), "needs"),),
        reads_back=False,
    ),
    Case(
        "set_to_zero",
        lambda: gk.set_to_zero(),
        bad=((lambda: gk.set_to_zero(1.0), "too many positional arguments"),),
        passes_nan=False,
    ),
    Case(
        "add_decayed_weights",
        lambda: gk.add_decayed_weights(0.1, matrices_only),
        bad=(
            (lambda: gk.add_decayed_weights(float("nan")), "weight_decay: needs"),
            (lambda: gk.add_decayed_weights("much"), "weight_decay: needs"),
        ),
        needs_params=True,
        reads_back=False,
    ),
    Case(
        "add_l2_penalty",
        lambda: gk.add_l2_penalty(0.1, gk.by_rank(1)),
        bad=penalty("add_l2_penalty"),
        needs_params=True,
    ),
    Case(
        "add_l1_penalty",
        lambda: gk.add_l1_penalty(0.1, gk.by_path("vector")),
        bad=penalty("add_l1_penalty"),
        needs_params=True,
    ),
    Case(
        "add_elastic_net_penalty",
        lambda: gk.add_elastic_net_penalty(0.1, 0.2, ~gk.by_rank(2)),
        bad=(
            (lambda: gk.add_elastic_net_penalty(-0.1, 0.2), f"l1: {AT_LEAST_0}"),
            (lambda: gk.add_elastic_net_penalty(0.1, -0.2), f"l2: {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "add_smoothed_l1_penalty",
        lambda: gk.add_smoothed_l1_penalty(0.1, 1e-3),
        bad=(
            *penalty("add_smoothed_l1_penalty"),
            (lambda: gk.add_smoothed_l1_penalty(0.1, -1.0), f"eps: {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_adam",
        lambda: gk.scale_by_adam(0.8, 0.9, 1e-3, 1e-4, nesterov=True),
        bad=(
            *adam_like("scale_by_adam"),
            (lambda: gk.scale_by_adam(mu_dtype="int8"), DTYPE),
            (lambda: gk.scale_by_adam(eps_root=-1.0), f"eps_root: {AT_LEAST_0}"),
        ),
    ),
    Case(
        "scale_by_amsgrad",
        lambda: gk.scale_by_amsgrad(0.8, 0.9, 1e-3, 1e-4),
        bad=adam_like("scale_by_amsgrad"),
    ),
    Case(
        "scale_by_adamax",
        lambda: gk.scale_by_adamax(0.8, 0.9, 1e-3),
        bad=adam_like("scale_by_adamax"),
    ),
    Case(
        "scale_by_rms",
        lambda: gk.scale_by_rms(0.8, 1e-3, 0.1, eps_in_sqrt=False, bias_correction=True),
        bad=(
            (lambda: gk.scale_by_rms(1.0), f"decay: {DECAY}"),
            (lambda: gk.scale_by_rms(0.9, -1.0), f"eps: {AT_LEAST_0}"),
            (lambda: gk.scale_by_rms(0.9, 1e-8, -1.0), "initial_"),
        ),
    ),
    Case(
        "scale_by_stddev",
        lambda: gk.scale_by_stddev(0.8, 1e-3, 0.1),
        bad=(
            (lambda: gk.scale_by_stddev(1.0), f"decay: {DECAY}"),
            (lambda: gk.scale_by_stddev(0.9, -1.0), f"eps: {AT_LEAST_0}"),
        ),
        complex=False,
    ),
    Case(
        "scale_by_rss",
        lambda: gk.scale_by_rss(0.2, 1e-3),
        bad=(
            (lambda: gk.scale_by_rss(-0.1), f"initial_accumulator_value: {AT_LEAST_0}"),
            (lambda: gk.scale_by_rss(0.1, -1.0), f"eps: {AT_LEAST_0}"),
        ),
    ),
    Case(
        "scale_by_adadelta",
        lambda: gk.scale_by_adadelta(0.8, 1e-3),
        bad=(
            (lambda: gk.scale_by_adadelta(1.0), f"rho: {DECAY}"),
            (lambda: gk.scale_by_adadelta(0.9, -1.0), f"eps: {AT_LEAST_0}"),
        ),
    ),
    Case(
        "scale_by_sign",
        lambda: gk.scale_by_sign(),
        bad=((lambda: gk.scale_by_sign(1.0), "too many positional arguments"),),
    ),
    Case(
        "normalize_by_update_norm",
        lambda: gk.normalize_by_update_norm(2.0, 1e-3),
        bad=(
            (lambda: gk.normalize_by_update_norm(1.0, -1.0), f"eps: {AT_LEAST_0}"),
            (lambda: gk.normalize_by_update_norm(float("nan")), "scale_factor: needs"),
        ),
    ),
    Case(
        "centralize",
        lambda: gk.centralize(),
        bad=((lambda: gk.centralize(1.0), "too many positional arguments"),),
    ),
    Case(
        "zero_nans",
        lambda: gk.zero_nans(),
        bad=((lambda: gk.zero_nans(1.0), "too many positional arguments"),),
        passes_nan=False,
    ),
    Case(
        "add_noise",
        lambda: gk.add_noise(0.1, 0.5, 3),
        bad=(
            (lambda: gk.add_noise(-0.1, 0.5, 0), f"eta: {AT_LEAST_0}"),
            (lambda: gk.add_noise(0.1, -0.5, 0), f"gamma: {AT_LEAST_0}"),
            (lambda: gk.add_noise(0.1, 0.5), "missing a required argument: 'key'"),
        ),
        stochastic=True,
    ),
]

ROUTES = [
    Case(
        "masked",
        lambda: gk.masked(gk.ema(0.8), gk.by_rank(1)),
        bad=((lambda: gk.masked(0.5, True), "inner: needs a transform; got 0.5"),),
    ),
    Case(
        "partition",
        lambda: gk.partition(
            {"fast": gk.trace(0.8), "slow": gk.scale(0.1)},
            {"fast": gk.by_rank(1), "slow": ~gk.by_rank(1)},
        ),
        bad=(
            (
                lambda: gk.partition({"fast": 0.5}, {"fast": gk.by_rank(0)}),
                "needs a transform; got 0.5",
            ),
        ),
    ),
    Case(
        "multi_transform",
        lambda: gk.multi_transform(
            {"vector": gk.trace(0.8), "other": gk.scale(0.1)}, gk.masks.by_function(label)
        ),
        bad=(
            (
                lambda: gk.multi_transform({"fast": 0.5}, {"fast": gk.by_rank(0)}),
                "needs a transform; got 0.5",
            ),
        ),
        reads_back=False,
    ),
    Case(
        "where",
        lambda: gk.where(gk.by_rank(2), gk.ema(0.8), gk.scale(0.1)),
        bad=((lambda: gk.where(gk.by_rank(2), 0.5), "needs a transform; got 0.5"),),
    ),
    Case(
        "freeze",
        lambda: gk.freeze(gk.by_path("vector")),
        bad=((lambda: gk.freeze(), "missing a required argument: 'mask'"),),
        passes_nan=None,
    ),
]

PREDICATES = [
    Case(
        "by_path",
        lambda: gk.by_path("layers.*.kernel"),
        bad=((lambda: gk.by_path("bias", rgx=True), "Did you mean 'regex'"),),
    ),
    Case(
        "by_rank",
        lambda: gk.by_rank(1, 2),
        bad=((lambda: gk.by_rank(-1), "at_least: needs a whole number >= 0; got -1"),),
    ),
    Case(
        "by_size",
        lambda: gk.masks.by_size(2, 6),
        bad=((lambda: gk.masks.by_size(0.5), "at_least: needs a whole number >= 0; got 0.5"),),
    ),
    Case(
        "by_dtype",
        lambda: gk.masks.by_dtype("float32"),
        bad=((lambda: gk.masks.by_dtype(), "missing a required argument: 'dtype'"),),
    ),
    Case(
        "by_function",
        lambda: gk.masks.by_function(is_vector),
        bad=((lambda: gk.masks.by_function(), "missing a required argument: 'function'"),),
        reads_back=False,
    ),
]
