"""The elementwise catalogue, and the links and averages it is made of."""

import gradkit as gk
from tests.records.case import (
    ABOVE_0,
    AT_LEAST_0,
    DECAY,
    DTYPE,
    FINITE,
    FRACTION,
    Case,
    adam_like,
    loss_of,
    rate,
)

ELEMENTWISE = [
    Case(
        "weighted_sum",
        lambda: gk.averages.weighted_sum(gk.ema(0.8), gk.trace(0.7), 0.5),
        bad=(
            (lambda: gk.averages.weighted_sum(gk.averages.latest(), gk.averages.latest(), float("inf")), f"weight: {FINITE}"),
            (lambda: gk.averages.weighted_sum(0.9, gk.averages.latest()), "first: needs a transform; got 0.9"),
        ),
    ),
    Case(
        "per_leaf",
        lambda: gk.averages.per_leaf(gk.ema(0.8), mean=True),
        bad=((lambda: gk.averages.per_leaf(0.8), "average: needs a transform; got 0.8"),),
    ),
    Case(
        "ema_from_first",
        lambda: gk.averages.ema_from_first(0.8),
        bad=(
            (lambda: gk.averages.ema_from_first(1.0), f"decay: {DECAY}"),
            (lambda: gk.averages.ema_from_first(0.9, "int8"), DTYPE),
        ),
    ),
    Case(
        "additive_ema",
        lambda: gk.averages.additive_ema(0.8, True, 0.1),
        bad=(
            (lambda: gk.averages.additive_ema(1.0), f"decay: {DECAY}"),
            (
                lambda: gk.averages.additive_ema(0.9, initial_value=-1.0),
                f"initial_value: {AT_LEAST_0}",
            ),
        ),
        complex=False,
    ),
    Case(
        "scale_by_param_block_norm",
        lambda: gk.scale_by_param_block_norm(0.1),
        bad=((lambda: gk.scale_by_param_block_norm(-1.0), f"min_scale: {AT_LEAST_0}"),),
        needs_params=True,
    ),
    Case(
        "scale_by_param_block_rms",
        lambda: gk.scale_by_param_block_rms(0.1),
        bad=((lambda: gk.scale_by_param_block_rms(-1.0), f"min_scale: {AT_LEAST_0}"),),
        needs_params=True,
    ),
    Case(
        "scale_by_trust_ratio",
        lambda: gk.scale_by_trust_ratio(0.1, 0.5, 1e-3),
        bad=(
            (lambda: gk.scale_by_trust_ratio(-1.0), f"min_norm: {AT_LEAST_0}"),
            (lambda: gk.scale_by_trust_ratio(0.0, 0.0), f"trust_coefficient: {ABOVE_0}"),
            (lambda: gk.scale_by_trust_ratio(eps=-1.0), f"eps: {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "clip_by_block_norm",
        lambda: gk.clip_by_block_norm(0.5),
        bad=((lambda: gk.clip_by_block_norm(0.0), f"max_norm: {ABOVE_0}"),),
    ),
    Case(
        "keep_params_nonnegative",
        lambda: gk.keep_params_nonnegative(),
        bad=((lambda: gk.keep_params_nonnegative(1.0), "too many positional arguments"),),
        needs_params=True,
        complex=False,
    ),
    Case(
        "normalize",
        lambda: gk.normalize(),
        bad=((lambda: gk.normalize(1.0), "too many positional arguments"),),
    ),
    Case(
        "cautious",
        lambda: gk.cautious(gk.adam(0.1), 0.5),
        bad=(
            (lambda: gk.cautious(0.1), "inner: needs a transform; got 0.1"),
            (lambda: gk.cautious(gk.sgd(0.1), -1.0), f"eps: {AT_LEAST_0}"),
        ),
    ),
    Case(
        "split_real_and_imaginary",
        lambda: gk.split_real_and_imaginary(gk.clip(0.5)),
        bad=((lambda: gk.split_real_and_imaginary(0.1), "inner: needs a transform; got 0.1"),),
    ),
    Case(
        "selective_transform",
        lambda: gk.selective_transform(gk.ema(0.8), freeze_mask=gk.by_path("vector")),
        bad=(
            (
                lambda: gk.selective_transform(0.1, freeze_mask=True),
                "optimizer: needs a transform; got 0.1",
            ),
            (lambda: gk.selective_transform(gk.sgd(0.1)), "freeze_mask"),
        ),
        passes_nan=None,
    ),
    Case(
        "scale_by_belief",
        lambda: gk.scale_by_belief(0.8, 0.9, 1e-3, 1e-4, nesterov=True),
        bad=(
            *adam_like("scale_by_belief"),
            (lambda: gk.scale_by_belief(eps_root=-1.0), f"eps_root: {AT_LEAST_0}"),
        ),
    ),
    Case(
        "adabelief",
        lambda: gk.adabelief(0.1, 0.8, 0.9, 1e-3, 1e-4),
        bad=(*rate("adabelief"), *adam_like("adabelief", 0.1)),
    ),
    Case(
        "scale_by_acprop",
        lambda: gk.scale_by_acprop(0.8, 0.9, 1e-3, 1e-4),
        bad=(
            *adam_like("scale_by_acprop"),
            (lambda: gk.scale_by_acprop(eps_root=-1.0), f"eps_root: {AT_LEAST_0}"),
        ),
    ),
    Case(
        "acprop",
        lambda: gk.acprop(0.1, 0.8, 0.9, 1e-3, 1e-4, 0.1),
        bad=(*rate("acprop"), *adam_like("acprop", 0.1)),
        needs_params=True,
    ),
    Case(
        "scale_by_yogi",
        lambda: gk.scale_by_yogi(0.8, 0.9, 1e-2, 1e-4, 0.1),
        bad=(
            *adam_like("scale_by_yogi"),
            (
                lambda: gk.scale_by_yogi(initial_accumulator_value=-1.0),
                f"initial_accumulator_value: {AT_LEAST_0}",
            ),
        ),
    ),
    Case(
        "yogi", lambda: gk.yogi(0.1, 0.8, 0.9, 1e-2), bad=(*rate("yogi"), *adam_like("yogi", 0.1))
    ),
    Case(
        "scale_by_radam",
        lambda: gk.scale_by_radam(0.8, 0.9, 1e-3, 1e-4, 10.0, nesterov=True),
        bad=(
            *adam_like("scale_by_radam"),
            (lambda: gk.scale_by_radam(threshold=3.0), f"threshold - 4: {AT_LEAST_0}"),
        ),
    ),
    Case(
        "radam",
        lambda: gk.radam(0.1, 0.8, 0.9, 1e-3, 1e-4, 10.0),
        bad=(*rate("radam"), *adam_like("radam", 0.1)),
    ),
    Case(
        "scale_by_novograd",
        lambda: gk.scale_by_novograd(0.8, 0.9, 1e-3, 1e-4, 0.1),
        bad=(
            *adam_like("scale_by_novograd"),
            (lambda: gk.scale_by_novograd(weight_decay=-1.0), f"weight_decay: {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "novograd",
        lambda: gk.novograd(0.1, 0.8, 0.9, 1e-3, 1e-4, 0.1),
        bad=(*rate("novograd"), *adam_like("novograd", 0.1)),
        needs_params=True,
    ),
    Case(
        "signum",
        lambda: gk.signum(0.1, 0.8),
        bad=(*rate("signum"), (lambda: gk.signum(0.1, 1.0), f"beta: {DECAY}")),
    ),
    Case(
        "scale_by_lion",
        lambda: gk.scale_by_lion(0.8, 0.9),
        bad=(
            (lambda: gk.scale_by_lion(1.0), f"b1: {DECAY}"),
            (lambda: gk.scale_by_lion(b2=1.0), f"b2: {DECAY}"),
            (
                lambda: gk.scale_by_lion(mode="soft"),
                "mode: needs one of 'hard', 'smooth', 'refined'; got 'soft'",
            ),
            (lambda: gk.scale_by_lion(smooth_beta=0.0), f"smooth_beta: {ABOVE_0}"),
            (lambda: gk.scale_by_lion(mu_dtype="int8"), DTYPE),
        ),
    ),
    Case(
        "lion",
        lambda: gk.lion(0.1, 0.8, 0.9, weight_decay=0.1),
        bad=(*rate("lion"), (lambda: gk.lion(0.1, 1.0), f"b1: {DECAY}")),
        needs_params=True,
    ),
    Case(
        "scale_by_rprop",
        lambda: gk.scale_by_rprop(0.1, 0.4, 2.0, 1e-3, 2.0),
        bad=(
            (lambda: gk.scale_by_rprop(0.0), f"learning_rate: {ABOVE_0}"),
            (lambda: gk.scale_by_rprop(0.1, eta_plus=0.9), f"eta_plus - 1: {AT_LEAST_0}"),
            (lambda: gk.scale_by_rprop(0.1, 1.5), f"1 - eta_minus: {AT_LEAST_0}"),
            (
                lambda: gk.scale_by_rprop(0.1, max_step_size=1e-7),
                "needs min_step_size < max_step_size",
            ),
        ),
        complex=False,
    ),
    Case(
        "rprop",
        lambda: gk.rprop(0.1, 0.4, 2.0, 1e-3, 2.0),
        bad=((lambda: gk.rprop(-0.1), f"learning_rate: {ABOVE_0}"),),
        complex=False,
    ),
    Case(
        "lars",
        lambda: gk.lars(0.1, 0.1, True, 0.5, 1e-3, gk.by_rank(1), 0.8, True),
        bad=(*rate("lars"), (lambda: gk.lars(0.1, momentum=1.5), FRACTION)),
        needs_params=True,
    ),
    Case(
        "lamb",
        lambda: gk.lamb(0.1, 0.8, 0.9, 1e-3, 1e-4, 0.1),
        bad=(*rate("lamb"), *adam_like("lamb", 0.1)),
        needs_params=True,
    ),
    Case(
        "fromage",
        lambda: gk.fromage(0.1, 1e-3),
        bad=(*rate("fromage"), (lambda: gk.fromage(0.1, -1.0), f"min_norm: {AT_LEAST_0}")),
        needs_params=True,
    ),
    Case(
        "scale_by_optimistic_gradient",
        lambda: gk.scale_by_optimistic_gradient(0.8, 0.5),
        bad=((lambda: gk.scale_by_optimistic_gradient(float("nan")), f"alpha: {FINITE}"),),
    ),
    Case(
        "optimistic_gradient_descent",
        lambda: gk.optimistic_gradient_descent(0.1, 0.8, 0.5),
        bad=(
            *rate("optimistic_gradient_descent"),
            (lambda: gk.optimistic_gradient_descent(0.1, beta=float("inf")), f"beta: {FINITE}"),
        ),
    ),
    Case(
        "optimistic_adam",
        lambda: gk.optimistic_adam(0.1, 0.2, 0.8, 0.9, 1e-3, 1e-4),
        bad=(
            *rate("optimistic_adam"),
            *adam_like("optimistic_adam", 0.1),
            (lambda: gk.optimistic_adam(0.1, -0.1), f"optimism: {AT_LEAST_0}"),
        ),
    ),
    Case(
        "optimistic_adam_v2",
        lambda: gk.optimistic_adam_v2(0.1, alpha=0.8, beta=0.5, eps=1e-3),
        bad=(*rate("optimistic_adam_v2"), *adam_like("optimistic_adam_v2", 0.1)),
    ),
    Case(
        "scale_by_adan",
        lambda: gk.scale_by_adan(0.8, 0.7, 0.9, 1e-3, 1e-4),
        bad=(*adam_like("scale_by_adan"), (lambda: gk.scale_by_adan(b3=1.0), f"b3: {DECAY}")),
    ),
    Case(
        "adan",
        lambda: gk.adan(0.1, 0.8, 0.7, 0.9, 1e-3, weight_decay=0.1),
        bad=(*rate("adan"), *adam_like("adan", 0.1)),
        needs_params=True,
    ),
    Case(
        "mars",
        lambda: gk.mars(0.1, 0.8, 0.9, 1e-3, gamma=0.1, weight_decay=0.1),
        bad=(
            *rate("mars"),
            *adam_like("mars", 0.1),
            (lambda: gk.mars(0.1, gamma=-1.0), f"gamma: {AT_LEAST_0}"),
            (lambda: gk.mars(0.1, max_norm=0.0), f"max_norm: {ABOVE_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_ademamix",
        lambda: gk.scale_by_ademamix(0.8, 0.9, 0.95, 2.0, 1e-3, 1e-4),
        bad=(
            *adam_like("scale_by_ademamix"),
            (lambda: gk.scale_by_ademamix(b3=1.0), f"b3: {DECAY}"),
        ),
    ),
    Case(
        "ademamix",
        lambda: gk.ademamix(
            0.1, 0.8, 0.9, 0.95, gk.linear_schedule(0.1, 2.0, 10), 1e-3, weight_decay=0.1
        ),
        bad=(*rate("ademamix"), *adam_like("ademamix", 0.1)),
        needs_params=True,
    ),
    Case(
        "scale_by_simplified_ademamix",
        lambda: gk.scale_by_simplified_ademamix(0.8, 0.9, 2.0, 1e-3, 1e-4),
        bad=adam_like("scale_by_simplified_ademamix"),
    ),
    Case(
        "simplified_ademamix",
        lambda: gk.simplified_ademamix(0.1, 0.8, 0.9, 2.0, 1e-3, weight_decay=0.1),
        bad=(*rate("simplified_ademamix"), *adam_like("simplified_ademamix", 0.1)),
        needs_params=True,
    ),
    Case(
        "laprop",
        lambda: gk.laprop(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1),
        bad=(*rate("laprop"), *adam_like("laprop", 0.1)),
        needs_params=True,
    ),
    Case(
        "scale_by_adopt",
        lambda: gk.scale_by_adopt(0.8, 0.9, 1e-3, clip_value_fn=2.0),
        bad=(*adam_like("scale_by_adopt"), (lambda: gk.scale_by_adopt(mu_dtype="int8"), DTYPE)),
        complex=False,
        passes_nan=False,
    ),
    Case(
        "adopt",
        lambda: gk.adopt(0.1, 0.8, 0.9, 1e-3, nesterov=True),
        bad=(*rate("adopt"), *adam_like("adopt", 0.1)),
        complex=False,
        passes_nan=False,
    ),
    Case(
        "grokfast",
        lambda: gk.grokfast(0.8, 1.5),
        bad=(
            (lambda: gk.grokfast(1.0), f"decay: {DECAY}"),
            (lambda: gk.grokfast(lamb=float("nan")), f"weight: {FINITE}"),
        ),
    ),
    Case(
        "noisy_sgd",
        lambda: gk.noisy_sgd(0.1, 0.3, 0.5, 3),
        bad=(
            (lambda: gk.noisy_sgd(-0.1, key=0), AT_LEAST_0),
            (lambda: gk.noisy_sgd(0.1), "key=None cannot start the noise"),
            (lambda: gk.noisy_sgd(0.1, key=0, seed=0), "key and seed are both given"),
        ),
        stochastic=True,
    ),
    Case(
        "scale_by_polyak",
        lambda: gk.scale_by_polyak(0.1, 0.5, 1e-3),
        bad=(
            (lambda: gk.scale_by_polyak(float("nan")), f"f_min: {FINITE}"),
            (lambda: gk.scale_by_polyak(0.0, 0.0), f"max_learning_rate: {ABOVE_0}"),
            (
                lambda: gk.scale_by_polyak(variant="sps2"),
                "variant: needs one of 'sps', 'sps\\+'; got 'sps2'",
            ),
        ),
        extras=loss_of,
    ),
    Case(
        "polyak_sgd",
        lambda: gk.polyak_sgd(0.5, 0.8, 0.1, 1e-3, "sps+"),
        bad=(
            (lambda: gk.polyak_sgd(0.0), f"max_learning_rate: {ABOVE_0}"),
            (lambda: gk.polyak_sgd(scaling=-1.0), AT_LEAST_0),
        ),
        extras=loss_of,
    ),
    Case(
        "scale_by_madgrad",
        lambda: gk.scale_by_madgrad(0.1, 0.8, 1e-3),
        bad=(
            (lambda: gk.scale_by_madgrad(-0.1), f"learning_rate: {AT_LEAST_0}"),
            (lambda: gk.scale_by_madgrad(0.1, 1.0), f"momentum: {DECAY}"),
        ),
        needs_params=True,
    ),
    Case(
        "madgrad",
        lambda: gk.madgrad(0.1, 0.8, 0.1, 1e-3),
        bad=(*rate("madgrad"), (lambda: gk.madgrad(0.1, eps=-1.0), f"eps: {AT_LEAST_0}")),
        needs_params=True,
    ),
    Case(
        "scale_by_asgd",
        lambda: gk.scale_by_asgd(0.1, 0.1, 0.5, 2.0),
        bad=(
            (lambda: gk.scale_by_asgd(-0.1), f"learning_rate: {AT_LEAST_0}"),
            (lambda: gk.scale_by_asgd(0.1, t0=-1.0), f"t0: {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "asgd",
        lambda: gk.asgd(0.1, 0.1, 0.5, 2.0, 0.1),
        bad=(*rate("asgd"), (lambda: gk.asgd(0.1, -1.0), f"lambd: {AT_LEAST_0}")),
        needs_params=True,
    ),
]
