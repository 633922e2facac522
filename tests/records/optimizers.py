"""Optimizers and their ``scale_by_*``, one method after the other by name."""

from typing import Any

import jax
import jax.numpy as jnp

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
    falling_loss,
    loss_of,
    rate,
    slope,
    zeros,
)


def squares(params: Any) -> Any:
    """A loss that curves."""
    return sum(
        (jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(params)), start=jnp.zeros(())
    )


def two_examples(grads: Any) -> Any:
    """Gradients of two examples, whose mean is ``grads``."""
    return jax.tree.map(lambda g: jnp.stack([2 * g, 0 * g]), grads)


def on_matrices(tx: Any) -> Any:
    """The transform on the matrices of the tree; it refuses the other leaves."""
    return gk.masked(tx, gk.by_rank(2, 2))


NO_MATRIX = r"vector \(float32\[4\]\) are no matrices\. .*where\(by_rank\(2, 2\)"
SET = r"is not a known set\. Expected one of 'standard', 'dion', 'polar_express', 'aol'"


def muon_like(name: str, *lead: Any) -> tuple[Any, ...]:
    """What every relative of Muon refuses."""
    factory = getattr(gk, name)
    return (
        (lambda: factory(*lead, "dyon"), f"ns_coeffs='dyon' {SET}"),
        (lambda: factory(*lead, (1.0, 2.0)), r"ns_coeffs=\(1.0, 2.0\) is neither a triple"),
        (lambda: factory(*lead, ns_steps=0), "ns_steps=0 is out of range"),
        (lambda: factory(*lead, beta=1.0), f"beta=.* {DECAY}"),
        (lambda: factory(*lead, eps=-1.0), f"eps=.* {AT_LEAST_0}"),
        (lambda: factory(*lead, mu_dtype="int8"), DTYPE),
        (lambda: factory(*lead, preconditioning="l2"), "is not an option. Expected one of 'frob"),
        (lambda: factory(*lead, method="qr"), "method='qr' is not an option"),
        (lambda: factory(*lead, ns_dtype="int8"), "is not a floating dtype"),
    )


OPTIMIZERS = [
    Case(
        "scale_by_acprop",
        lambda: gk.scale_by_acprop(0.8, 0.9, 1e-3, 1e-4),
        bad=(
            *adam_like("scale_by_acprop"),
            (lambda: gk.scale_by_acprop(eps_root=-1.0), f"eps_root=.* {AT_LEAST_0}"),
        ),
    ),
    Case(
        "acprop",
        lambda: gk.acprop(0.1, 0.8, 0.9, 1e-3, 1e-4, 0.1),
        bad=(*rate("acprop"), *adam_like("acprop", 0.1)),
        needs_params=True,
    ),
    Case(
        "scale_by_belief",
        lambda: gk.scale_by_belief(0.8, 0.9, 1e-3, 1e-4, nesterov=True),
        bad=(
            *adam_like("scale_by_belief"),
            (lambda: gk.scale_by_belief(eps_root=-1.0), f"eps_root=.* {AT_LEAST_0}"),
        ),
    ),
    Case(
        "adabelief",
        lambda: gk.adabelief(0.1, 0.8, 0.9, 1e-3, 1e-4),
        bad=(*rate("adabelief"), *adam_like("adabelief", 0.1)),
    ),
    Case(
        "scale_by_adadelta",
        lambda: gk.scale_by_adadelta(0.8, 1e-3),
        bad=(
            (lambda: gk.scale_by_adadelta(1.0), f"rho=.* {DECAY}"),
            (lambda: gk.scale_by_adadelta(0.9, -1.0), f"eps=.* {AT_LEAST_0}"),
        ),
    ),
    Case(
        "adadelta",
        lambda: gk.adadelta(0.1, 0.8, 1e-3),
        bad=(*rate("adadelta"), (lambda: gk.adadelta(0.1, 1.0), f"rho=.* {DECAY}")),
    ),
    Case(
        "scale_by_factored_rms",
        lambda: gk.scale_by_factored_rms(True, 0.7, 0, 2, 1e-6),
        bad=(
            (lambda: gk.scale_by_factored_rms(epsilon=-1.0), f"epsilon=.* {AT_LEAST_0}"),
            (
                lambda: gk.scale_by_factored_rms(clipping_threshold=0.0),
                f"clipping_threshold=.* {ABOVE_0}",
            ),
        ),
    ),
    Case(
        "adafactor",
        lambda: gk.adafactor(0.1, 2, momentum=0.8, weight_decay_rate=0.01, eps=1e-6),
        bad=(
            (lambda: gk.adafactor(-0.1), AT_LEAST_0),
            (
                lambda: gk.adafactor(decay_offset=-1),
                "step_offset=.* is (?:out of range|not an integer)",
            ),
            (lambda: gk.adafactor(clipping_threshold=0.0), ABOVE_0),
            (lambda: gk.adafactor(momentum=1.0), f"momentum=.* {DECAY}"),
            (lambda: gk.adafactor(decay_rate=-0.8), f"decay_rate=.* {AT_LEAST_0}"),
            (
                lambda: gk.adafactor(min_dim_size_to_factor=1.5),
                "min_dim_size_to_factor=.* is (?:out of range|not an integer)",
            ),
            (lambda: gk.adafactor(eps=-1.0), f"eps=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_rss",
        lambda: gk.scale_by_rss(0.2, 1e-3),
        bad=(
            (lambda: gk.scale_by_rss(-0.1), f"initial_accumulator_value=.* {AT_LEAST_0}"),
            (lambda: gk.scale_by_rss(0.1, -1.0), f"eps=.* {AT_LEAST_0}"),
        ),
    ),
    Case(
        "adagrad",
        lambda: gk.adagrad(0.1, 0.2, 1e-3),
        bad=(
            *rate("adagrad"),
            (lambda: gk.adagrad(0.1, -1.0), "initial_accumulator_value=-1.0 is out of range"),
        ),
    ),
    Case(
        "scale_by_adam",
        lambda: gk.scale_by_adam(0.8, 0.9, 1e-3, 1e-4, nesterov=True),
        bad=(
            *adam_like("scale_by_adam"),
            (lambda: gk.scale_by_adam(mu_dtype="int8"), DTYPE),
            (lambda: gk.scale_by_adam(eps_root=-1.0), f"eps_root=.* {AT_LEAST_0}"),
        ),
    ),
    Case(
        "adam",
        lambda: gk.adam(0.1, 0.8, 0.9, 1e-3, 1e-4, nesterov=True),
        bad=(
            *rate("adam"),
            *adam_like("adam", 0.1),
            (lambda: gk.adam(0.1, eps_root=-1.0), f"eps_root=.* {AT_LEAST_0}"),
        ),
    ),
    Case(
        "scale_by_adam_mini",
        lambda: gk.scale_by_adam_mini(0.8, 0.9, 1e-3, axis=0),
        bad=adam_like("scale_by_adam_mini"),
    ),
    Case(
        "adam_mini",
        lambda: gk.adam_mini(0.1, 0.8, 0.9, 1e-3, axis=0),
        bad=(
            *rate("adam_mini"),
            (lambda: gk.adam_mini(0.1, axis="rows"), "axis='rows' is not an axis"),
        ),
    ),
    Case(
        "scale_by_adamax",
        lambda: gk.scale_by_adamax(0.8, 0.9, 1e-3),
        bad=adam_like("scale_by_adamax"),
    ),
    Case(
        "adamax",
        lambda: gk.adamax(0.1, 0.8, 0.9, 1e-3),
        bad=(*rate("adamax"), *adam_like("adamax", 0.1)),
    ),
    Case(
        "adamaxw",
        lambda: gk.adamaxw(0.1, 0.8, 0.9, 1e-3, 0.1),
        bad=(*rate("adamaxw"), *adam_like("adamaxw", 0.1)),
        needs_params=True,
    ),
    Case(
        "adamw",
        lambda: gk.adamw(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1),
        bad=(*rate("adamw"), *adam_like("adamw", 0.1)),
        needs_params=True,
    ),
    Case(
        "scale_by_adan",
        lambda: gk.scale_by_adan(0.8, 0.7, 0.9, 1e-3, 1e-4),
        bad=(*adam_like("scale_by_adan"), (lambda: gk.scale_by_adan(b3=1.0), f"b3=.* {DECAY}")),
    ),
    Case(
        "adan",
        lambda: gk.adan(0.1, 0.8, 0.7, 0.9, 1e-3, weight_decay=0.1),
        bad=(
            *rate("adan"),
            *adam_like("adan", 0.1),
            (lambda: gk.adan(0.1, b3=1.0), f"b3=.* {DECAY}"),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_ademamix",
        lambda: gk.scale_by_ademamix(0.8, 0.9, 0.95, 2.0, 1e-3, 1e-4),
        bad=(
            *adam_like("scale_by_ademamix"),
            (lambda: gk.scale_by_ademamix(b3=1.0), f"b3=.* {DECAY}"),
        ),
    ),
    Case(
        "scale_by_simplified_ademamix",
        lambda: gk.scale_by_simplified_ademamix(0.8, 0.9, 2.0, 1e-3, 1e-4),
        bad=adam_like("scale_by_simplified_ademamix"),
    ),
    Case(
        "ademamix",
        lambda: gk.ademamix(
            0.1, 0.8, 0.9, 0.95, gk.linear_schedule(0.1, 2.0, 10), 1e-3, weight_decay=0.1
        ),
        bad=(
            *rate("ademamix"),
            *adam_like("ademamix", 0.1),
            (lambda: gk.ademamix(0.1, b3=1.0), f"b3=.* {DECAY}"),
        ),
        needs_params=True,
    ),
    Case(
        "simplified_ademamix",
        lambda: gk.simplified_ademamix(0.1, 0.8, 0.9, 2.0, 1e-3, weight_decay=0.1),
        bad=(*rate("simplified_ademamix"), *adam_like("simplified_ademamix", 0.1)),
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
        "scale_by_amsgrad",
        lambda: gk.scale_by_amsgrad(0.8, 0.9, 1e-3, 1e-4),
        bad=adam_like("scale_by_amsgrad"),
    ),
    Case(
        "amsgrad",
        lambda: gk.amsgrad(0.1, 0.8, 0.9, 1e-3),
        bad=(*rate("amsgrad"), *adam_like("amsgrad", 0.1)),
    ),
    Case(
        "scale_by_asgd",
        lambda: gk.scale_by_asgd(0.1, 0.1, 0.5, 2.0),
        bad=(
            (lambda: gk.scale_by_asgd(-0.1), f"learning_rate=.* {AT_LEAST_0}"),
            (lambda: gk.scale_by_asgd(0.1, t0=-1.0), f"t0=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "asgd",
        lambda: gk.asgd(0.1, 0.1, 0.5, 2.0, 0.1),
        bad=(*rate("asgd"), (lambda: gk.asgd(0.1, -1.0), f"lambd=.* {AT_LEAST_0}")),
        needs_params=True,
    ),
    Case(
        "scale_by_confidence",
        lambda: gk.scale_by_confidence(0.8, 0.9, 1e-3),
        bad=((lambda: gk.scale_by_confidence(b3=1.0), f"b3=.* {DECAY}"),),
    ),
    Case(
        "came",
        lambda: gk.came(0.1, 0.8, 0.9, 0.95, eps1=1e-6, eps2=1e-6),
        bad=((lambda: gk.came(0.1, b3=1.0), f"b3=.* {DECAY}"),),
    ),
    Case(
        "scale_by_cocob",
        lambda: gk.scale_by_cocob(10.0, 1e-3),
        bad=((lambda: gk.scale_by_cocob(eps=0.0), f"eps=.* {ABOVE_0}"),),
        complex=False,
        needs_params=True,
        from_start=True,
    ),
    Case(
        "cocob",
        lambda: gk.cocob(0.5, 10.0, 1e-3),
        bad=((lambda: gk.cocob(alpha=0.0), f"alpha=.* {ABOVE_0}"),),
        complex=False,
        needs_params=True,
        from_start=True,
    ),
    Case(
        "dadapt_adamw",
        lambda: gk.dadapt_adamw(0.5, (0.8, 0.9), 1e-3, 1e-3),
        bad=((lambda: gk.dadapt_adamw(betas=0.9), "betas=0.9 is not a pair"),),
        complex=False,
        needs_params=True,
    ),
    Case(
        "scale_by_distance_over_gradients",
        lambda: gk.scale_by_distance_over_gradients(1e-3),
        bad=((lambda: gk.scale_by_distance_over_gradients(param_dtype="int8"), DTYPE),),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "scale_by_dog",
        lambda: gk.scale_by_dog(("distance", 0.1), 1e-3),
        bad=((lambda: gk.scale_by_dog(-1e-6), "init_step=-1e-06 is not a pair"),),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "dog",
        lambda: gk.dog(0.5, ("heuristic", 0.01)),
        bad=(
            (lambda: gk.dog(init_step=("far", 1.0)), "init_step='far' is not an option"),
            (
                lambda: gk.dog(init_step=1e-6),
                "init_step=1e-06 is not a pair",
            ),
        ),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "scale_by_dowg",
        lambda: gk.scale_by_dowg(0.1),
        bad=((lambda: gk.scale_by_dowg(-1e-6), f"init_estim_sq_dist=.* {ABOVE_0}"),),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "dowg",
        lambda: gk.dowg(0.5, 0.1),
        bad=((lambda: gk.dowg(eps=0.0), f"eps=.* {ABOVE_0}"),),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "dpsgd",
        lambda: gk.dpsgd(0.1, 1.0, 0.5, 3, 0.8),
        bad=((lambda: gk.dpsgd(0.1, -1.0, 1.0, 0), f"l2_norm_clip=.* {AT_LEAST_0}"),),
        stochastic=True,
        fed=two_examples,
    ),
    Case(
        "fromage",
        lambda: gk.fromage(0.1, 1e-3),
        bad=(*rate("fromage"), (lambda: gk.fromage(0.1, -1.0), f"min_norm=.* {AT_LEAST_0}")),
        needs_params=True,
    ),
    Case(
        "grokfast",
        lambda: gk.grokfast(0.8, 1.5),
        bad=(
            (lambda: gk.grokfast(1.0), f"alpha=.* {DECAY}"),
            (lambda: gk.grokfast(lamb=float("nan")), f"lamb=.* {FINITE}"),
        ),
    ),
    Case(
        "lamb",
        lambda: gk.lamb(0.1, 0.8, 0.9, 1e-3, 1e-4, 0.1),
        bad=(*rate("lamb"), *adam_like("lamb", 0.1)),
        needs_params=True,
    ),
    Case(
        "scale_by_galore",
        lambda: gk.scale_by_galore(1, 2, 0.5, gk.scale_by_adam(0.8, 0.9, 1e-3)),
        bad=(
            (lambda: gk.scale_by_galore(0), "rank=0 is out of range"),
            (lambda: gk.scale_by_galore(2.5), "rank=2.5 is not an integer"),
            (lambda: gk.scale_by_galore(update_proj_gap=0), "update_proj_gap=0 is out of range"),
            (lambda: gk.scale_by_galore(scale=float("nan")), f"scale=.* {FINITE}"),
            (
                lambda: gk.scale_by_galore(base_optimizer="adam"),
                "base_optimizer='adam' is not a transform",
            ),
        ),
    ),
    Case(
        "galore",
        lambda: gk.galore(0.1, 1, 2, 0.5, gk.scale_by_adam(0.8, 0.9, 1e-3), 0.1),
        bad=(*rate("galore"), (lambda: gk.galore(0.1, weight_decay=-1.0), AT_LEAST_0)),
        needs_params=True,
    ),
    Case(
        "laprop",
        lambda: gk.laprop(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1),
        bad=(*rate("laprop"), *adam_like("laprop", 0.1)),
        needs_params=True,
    ),
    Case(
        "lars",
        lambda: gk.lars(0.1, 0.1, True, 0.5, 1e-3, gk.by_rank(1), 0.8, True),
        bad=(
            *rate("lars"),
            (lambda: gk.lars(0.1, momentum=1.5), FRACTION),
            (lambda: gk.lars(0.1, trust_coefficient=0.0), f"trust_coefficient=.* {ABOVE_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_lion",
        lambda: gk.scale_by_lion(0.8, 0.9),
        bad=(
            (lambda: gk.scale_by_lion(1.0), f"b1=.* {DECAY}"),
            (lambda: gk.scale_by_lion(b2=1.0), f"b2=.* {DECAY}"),
            (
                lambda: gk.scale_by_lion(mode="soft"),
                "mode='soft' is not an option",
            ),
            (lambda: gk.scale_by_lion(smooth_beta=0.0), f"smooth_beta=.* {ABOVE_0}"),
            (lambda: gk.scale_by_lion(mu_dtype="int8"), DTYPE),
        ),
    ),
    Case(
        "scale_by_lbfgs",
        lambda: gk.scale_by_lbfgs(3, False),
        bad=(
            (lambda: gk.scale_by_lbfgs(0), "memory_size=0 is out of range"),
            (lambda: gk.scale_by_lbfgs(2.5), "memory_size=2.5 is not an integer"),
            (lambda: gk.scale_by_lbfgs(3, "no"), "scale_init_precond='no' is not a bool"),
        ),
        needs_params=True,
        counts=True,
    ),
    Case(
        "lbfgs",
        lambda: gk.lbfgs(0.5, 3, linesearch=gk.scale_by_zoom_linesearch(5, 2.0)),
        bad=(
            *rate("lbfgs"),
            (lambda: gk.lbfgs(memory_size=0), "memory_size=0 is out of range"),
            (lambda: gk.lbfgs(linesearch=0.5), "linesearch=0.5 is not a transform"),
        ),
        extras=falling_loss,
        needs_params=True,
        passes_nan=False,
        counts=True,
    ),
    Case(
        "lion",
        lambda: gk.lion(0.1, 0.8, 0.9, weight_decay=0.1),
        bad=(*rate("lion"), (lambda: gk.lion(0.1, 1.0), f"b1=.* {DECAY}")),
        needs_params=True,
    ),
    Case(
        "scale_by_madgrad",
        lambda: gk.scale_by_madgrad(0.1, 0.8, 1e-3),
        bad=(
            (lambda: gk.scale_by_madgrad(-0.1), f"learning_rate=.* {AT_LEAST_0}"),
            (lambda: gk.scale_by_madgrad(0.1, 1.0), f"momentum=.* {DECAY}"),
        ),
        needs_params=True,
    ),
    Case(
        "madgrad",
        lambda: gk.madgrad(0.1, 0.8, 0.1, 1e-3),
        bad=(*rate("madgrad"), (lambda: gk.madgrad(0.1, eps=-1.0), f"eps=.* {AT_LEAST_0}")),
        needs_params=True,
    ),
    Case(
        "mars",
        lambda: gk.mars(0.1, 0.8, 0.9, 1e-3, gamma=0.1, weight_decay=0.1),
        bad=(
            *rate("mars"),
            *adam_like("mars", 0.1),
            (lambda: gk.mars(0.1, gamma=-1.0), f"gamma=.* {AT_LEAST_0}"),
            (lambda: gk.mars(0.1, max_norm=0.0), f"max_norm=.* {ABOVE_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "momentum",
        lambda: gk.momentum(0.1, 0.8, True),
        bad=(*rate("momentum"), (lambda: gk.momentum(0.1, 1.0), f"decay=.* {DECAY}")),
    ),
    Case(
        "momo",
        lambda: gk.momo(0.5, 0.8),
        bad=((lambda: gk.momo(beta=1.0), f"beta=.* {DECAY}"),),
        extras=lambda grads: {"value": jnp.float32(1.5)},
        complex=False,
        needs_params=True,
    ),
    Case(
        "momo_adam",
        lambda: gk.momo_adam(0.1, 0.8, 0.9),
        bad=((lambda: gk.momo_adam(lower_bound=float("inf")), f"lower_bound=.* {FINITE}"),),
        extras=lambda grads: {"value": jnp.float32(1.5)},
        complex=False,
        needs_params=True,
    ),
    Case(
        "nadam",
        lambda: gk.nadam(0.1, 0.8, 0.9, 1e-3),
        bad=(*rate("nadam"), *adam_like("nadam", 0.1)),
    ),
    Case(
        "nadamw",
        lambda: gk.nadamw(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1),
        bad=(*rate("nadamw"), *adam_like("nadamw", 0.1)),
        needs_params=True,
    ),
    Case(
        "nesterov",
        lambda: gk.nesterov(0.1, 0.8),
        bad=(*rate("nesterov"), (lambda: gk.nesterov(0.1, 1.5), f"momentum=.* {FRACTION}")),
        extras=lambda grads: {"value_fn": lambda params: slope(params, grads)},
        needs_params=True,
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
        "scale_by_novograd",
        lambda: gk.scale_by_novograd(0.8, 0.9, 1e-3, 1e-4, 0.1),
        bad=(
            *adam_like("scale_by_novograd"),
            (lambda: gk.scale_by_novograd(weight_decay=-1.0), f"weight_decay=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "novograd",
        lambda: gk.novograd(0.1, 0.8, 0.9, 1e-3, 1e-4, 0.1),
        bad=(
            *rate("novograd"),
            *adam_like("novograd", 0.1),
            (lambda: gk.novograd(0.1, weight_decay=-1.0), f"weight_decay=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "optimistic_adam",
        lambda: gk.optimistic_adam(0.1, 0.2, 0.8, 0.9, 1e-3, 1e-4),
        bad=(
            *rate("optimistic_adam"),
            *adam_like("optimistic_adam", 0.1),
            (lambda: gk.optimistic_adam(0.1, -0.1), f"optimism=.* {AT_LEAST_0}"),
        ),
    ),
    Case(
        "optimistic_adam_v2",
        lambda: gk.optimistic_adam_v2(0.1, alpha=0.8, beta=0.5, eps=1e-3),
        bad=(*rate("optimistic_adam_v2"), *adam_like("optimistic_adam_v2", 0.1)),
    ),
    Case(
        "scale_by_optimistic_gradient",
        lambda: gk.scale_by_optimistic_gradient(0.8, 0.5),
        bad=((lambda: gk.scale_by_optimistic_gradient(float("nan")), f"alpha=.* {FINITE}"),),
    ),
    Case(
        "optimistic_gradient_descent",
        lambda: gk.optimistic_gradient_descent(0.1, 0.8, 0.5),
        bad=(
            *rate("optimistic_gradient_descent"),
            (lambda: gk.optimistic_gradient_descent(0.1, beta=float("inf")), f"beta=.* {FINITE}"),
        ),
    ),
    Case(
        "scale_by_polyak",
        lambda: gk.scale_by_polyak(0.1, 0.5, 1e-3),
        bad=(
            (lambda: gk.scale_by_polyak(float("nan")), f"f_min=.* {FINITE}"),
            (lambda: gk.scale_by_polyak(0.0, 0.0), f"max_learning_rate=.* {ABOVE_0}"),
            (
                lambda: gk.scale_by_polyak(variant="sps2"),
                "variant='sps2' is not an option",
            ),
        ),
        extras=loss_of,
    ),
    Case(
        "polyak_sgd",
        lambda: gk.polyak_sgd(0.5, 0.8, 0.1, 1e-3, "sps+"),
        bad=(
            (lambda: gk.polyak_sgd(0.0), f"max_learning_rate=.* {ABOVE_0}"),
            (lambda: gk.polyak_sgd(scaling=-1.0), AT_LEAST_0),
            (lambda: gk.polyak_sgd(variant="sps2"), r"variant=.* is not an option"),
        ),
        extras=loss_of,
    ),
    Case(
        "prodigy",
        lambda: gk.prodigy(0.5, (0.8, 0.9), estim_lr0=1e-3),
        bad=(
            (lambda: gk.prodigy(betas=(0.9, 1.0)), rf"betas\[1\]=.* {DECAY}"),
            (lambda: gk.prodigy(estim_lr0=0.0), f"estim_lr0=.* {ABOVE_0}"),
        ),
        complex=False,
        needs_params=True,
        from_start=True,
    ),
    Case(
        "scale_by_psgd_kron",
        lambda: gk.scale_by_psgd_kron(
            0.8, 0.5, preconditioner_lr=0.2, preconditioner_init_scale=0.5, q_update="procrustes"
        ),
        bad=(
            (lambda: gk.scale_by_psgd_kron(1.0), f"b1=.* {DECAY}"),
            (
                lambda: gk.scale_by_psgd_kron(preconditioner_update_probability=0.0),
                r"preconditioner_update_probability=0.0 is out of range\. Expected 0 < .* <= 1",
            ),
            (
                lambda: gk.scale_by_psgd_kron(max_size_triangular=0),
                "max_size_triangular=0 is out of range",
            ),
            (
                lambda: gk.scale_by_psgd_kron(min_ndim_triangular=-1),
                "min_ndim_triangular=-1 is out of range",
            ),
            (
                lambda: gk.scale_by_psgd_kron(memory_save_mode="diag"),
                "memory_save_mode='diag' is not an option",
            ),
            (
                lambda: gk.scale_by_psgd_kron(preconditioner_lr=0.0),
                f"preconditioner_lr=.* {ABOVE_0}",
            ),
            (
                lambda: gk.scale_by_psgd_kron(preconditioner_init_scale=-1.0),
                f"preconditioner_init_scale=.* {ABOVE_0}",
            ),
            (lambda: gk.scale_by_psgd_kron(q_update="qr"), "q_update='qr' is not an option"),
            (lambda: gk.scale_by_psgd_kron(precond_dtype="int8"), DTYPE),
            (lambda: gk.scale_by_psgd_kron(key=None), "key is None"),
        ),
        complex=False,
        stochastic=True,
        counts=True,
    ),
    Case(
        "psgd_kron",
        lambda: gk.psgd_kron(0.1, 0.8, 0.1),
        bad=(
            *rate("psgd_kron"),
            (lambda: gk.psgd_kron(0.1, 1.0), f"b1=.* {DECAY}"),
            (lambda: gk.psgd_kron(0.1, weight_decay=-1.0), AT_LEAST_0),
        ),
        complex=False,
        needs_params=True,
        stochastic=True,
        counts=True,
    ),
    Case(
        "scale_by_radam",
        lambda: gk.scale_by_radam(0.8, 0.9, 1e-3, 1e-4, 10.0, nesterov=True),
        bad=(
            *adam_like("scale_by_radam"),
            (
                lambda: gk.scale_by_radam(threshold=3.0),
                "threshold=.* is out of range. Expected threshold >= 4",
            ),
        ),
    ),
    Case(
        "radam",
        lambda: gk.radam(0.1, 0.8, 0.9, 1e-3, 1e-4, 10.0),
        bad=(
            *rate("radam"),
            *adam_like("radam", 0.1),
            (
                lambda: gk.radam(0.1, threshold=3.0),
                "threshold=.* is out of range. Expected threshold >= 4",
            ),
        ),
    ),
    Case(
        "scale_by_rms",
        lambda: gk.scale_by_rms(0.8, 1e-3, 0.1, eps_in_sqrt=False, bias_correction=True),
        bad=(
            (lambda: gk.scale_by_rms(1.0), f"decay=.* {DECAY}"),
            (lambda: gk.scale_by_rms(0.9, -1.0), f"eps=.* {AT_LEAST_0}"),
            (lambda: gk.scale_by_rms(0.9, 1e-8, -1.0), "initial_"),
        ),
    ),
    Case(
        "scale_by_stddev",
        lambda: gk.scale_by_stddev(0.8, 1e-3, 0.1),
        bad=(
            (lambda: gk.scale_by_stddev(1.0), f"decay=.* {DECAY}"),
            (lambda: gk.scale_by_stddev(0.9, -1.0), f"eps=.* {AT_LEAST_0}"),
        ),
        complex=False,
    ),
    Case(
        "rmsprop",
        lambda: gk.rmsprop(0.1, 0.8, 1e-3, centered=True, momentum=0.7, nesterov=True),
        bad=(*rate("rmsprop"), (lambda: gk.rmsprop(0.1, 1.0), f"decay=.* {DECAY}")),
        complex=False,
    ),
    Case(
        "scale_by_rprop",
        lambda: gk.scale_by_rprop(0.1, 0.4, 2.0, 1e-3, 2.0),
        bad=(
            (lambda: gk.scale_by_rprop(0.0), f"learning_rate=.* {ABOVE_0}"),
            (lambda: gk.scale_by_rprop(0.1, eta_plus=0.9), "eta_plus=.* is out of range"),
            (
                lambda: gk.scale_by_rprop(0.1, 1.5),
                "eta_minus=.* is out of range. Expected 0 < eta_minus <= 1",
            ),
            (
                lambda: gk.scale_by_rprop(0.1, max_step_size=1e-7),
                "is not below max_step_size",
            ),
        ),
        complex=False,
    ),
    Case(
        "rprop",
        lambda: gk.rprop(0.1, 0.4, 2.0, 1e-3, 2.0),
        bad=(
            (lambda: gk.rprop(-0.1), f"learning_rate=.* {ABOVE_0}"),
            (lambda: gk.rprop(0.0), f"learning_rate=.* {ABOVE_0}"),
            (lambda: gk.rprop(0.1, eta_plus=0.9), "eta_plus=.* is out of range"),
            (lambda: gk.rprop(0.1, max_step_size=1e-7), "is not below max_step_size"),
        ),
        complex=False,
    ),
    Case(
        "sgd",
        lambda: gk.sgd(0.1, 0.8, True),
        bad=(*rate("sgd"), (lambda: gk.sgd(0.1, 1.5), FRACTION)),
    ),
    Case("sign_sgd", lambda: gk.sign_sgd(0.1), bad=rate("sign_sgd")),
    Case(
        "signum",
        lambda: gk.signum(0.1, 0.8),
        bad=(*rate("signum"), (lambda: gk.signum(0.1, 1.0), f"beta=.* {DECAY}")),
    ),
    Case(
        "scale_by_shampoo",
        lambda: gk.scale_by_shampoo(0.8, 0.9, 1e-3, 0.1, 2, 2, graft=gk.scale_by_rms()),
        bad=(
            (lambda: gk.scale_by_shampoo(1.0), f"b1=.* {DECAY}"),
            (lambda: gk.scale_by_shampoo(b2=1.0), f"b2=.* {DECAY}"),
            (lambda: gk.scale_by_shampoo(eps=-1.0), f"eps=.* {AT_LEAST_0}"),
            (lambda: gk.scale_by_shampoo(matrix_epsilon=-1.0), f"matrix_epsilon=.* {AT_LEAST_0}"),
            (lambda: gk.scale_by_shampoo(block_size=0), "block_size=0 is out of range"),
            (
                lambda: gk.scale_by_shampoo(precondition_frequency=2.5),
                "precondition_frequency=2.5 is not an integer",
            ),
            (lambda: gk.scale_by_shampoo(exponent_override=0), "exponent_override=0 is out of"),
            (lambda: gk.scale_by_shampoo(graft="adam"), "graft='adam' is not a transform"),
            (lambda: gk.scale_by_shampoo(root_method="svd"), "root_method='svd' is not an option"),
            (
                lambda: gk.scale_by_shampoo(matrix_epsilon=0.0, root_method="newton"),
                f"matrix_epsilon=0.0 {ABOVE_0}",
            ),
            (lambda: gk.scale_by_shampoo(mu_dtype="int8"), DTYPE),
        ),
    ),
    Case(
        "shampoo",
        lambda: gk.shampoo(0.1, 0.8, 0.9, 1e-3, 0.1, 0.1, precondition_frequency=2),
        bad=(
            *rate("shampoo"),
            (lambda: gk.shampoo(0.1, 1.0), f"b1=.* {DECAY}"),
            (lambda: gk.shampoo(0.1, weight_decay=-1.0), AT_LEAST_0),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_sm3",
        lambda: gk.scale_by_sm3(0.8, 0.95, 1e-3),
        bad=((lambda: gk.scale_by_sm3(b2=1.5), f"b2=.* {FRACTION}"),),
    ),
    Case(
        "sm3",
        lambda: gk.sm3(0.1, 0.8),
        bad=((lambda: gk.sm3(-0.1), AT_LEAST_0), (lambda: gk.sm3(0.1, 1.0), DECAY)),
    ),
    Case(
        "scale_by_soap",
        lambda: gk.scale_by_soap(0.8, 0.9, 0.7, 1e-3, 2),
        bad=(
            *adam_like("scale_by_soap"),
            (lambda: gk.scale_by_soap(shampoo_beta=1.0), f"shampoo_beta=.* {DECAY}"),
            (lambda: gk.scale_by_soap(precondition_frequency=0), "precondition_frequency=0 is out"),
            (lambda: gk.scale_by_soap(max_precond_dim=0), "max_precond_dim=0 is out of range"),
            (lambda: gk.scale_by_soap(one_sided="left"), "one_sided='left' is not a bool"),
            (lambda: gk.scale_by_soap(mu_dtype="int8"), DTYPE),
        ),
    ),
    Case(
        "soap",
        lambda: gk.soap(0.1, 0.8, 0.9, 0.7, 1e-3, precondition_frequency=2),
        bad=(
            *rate("soap"),
            *adam_like("soap", 0.1),
            (lambda: gk.soap(0.1, weight_decay=-1.0), AT_LEAST_0),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_sophia",
        lambda: gk.scale_by_sophia(0.8, 0.9, gamma=0.5),
        bad=((lambda: gk.scale_by_sophia(gamma=0.0), f"gamma=.* {ABOVE_0}"),),
        extras=lambda grads: {"obj_fn": squares},
        complex=False,
        needs_params=True,
    ),
    Case(
        "sophia",
        lambda: gk.sophia(0.1, 0.8, 0.9),
        bad=(
            (
                lambda: gk.sophia(0.1, update_interval=0),
                "update_interval=.* is (?:out of range|not an integer)",
            ),
            (
                lambda: gk.sophia(0.1, hessian_diagonal_fn=None),
                "hessian_diagonal_fn=None is not a transform",
            ),
        ),
        extras=lambda grads: {"obj_fn": squares},
        complex=False,
        needs_params=True,
    ),
    Case(
        "scale_by_yogi",
        lambda: gk.scale_by_yogi(0.8, 0.9, 1e-2, 1e-4, 0.1),
        bad=(
            *adam_like("scale_by_yogi"),
            (
                lambda: gk.scale_by_yogi(initial_accumulator_value=-1.0),
                f"initial_accumulator_value=.* {AT_LEAST_0}",
            ),
        ),
    ),
    Case(
        "yogi",
        lambda: gk.yogi(0.1, 0.8, 0.9, 1e-2),
        bad=(
            *rate("yogi"),
            *adam_like("yogi", 0.1),
            (lambda: gk.yogi(0.1, eps=-1.0), f"eps=-1.0 {AT_LEAST_0}"),
        ),
    ),
    Case(
        "scale_by_muon",
        lambda: gk.scale_by_muon("dion", 3, 0.8, 1e-3, adaptive=True, method="gram"),
        bad=(
            *muon_like("scale_by_muon"),
            (lambda: gk.scale_by_muon().init(zeros()), NO_MATRIX),
            (
                lambda: gk.scale_by_muon(weight_dimension_numbers=(0, 1)),
                "weight_dimension_numbers contains 0. Expected MuonDimensionNumbers",
            ),
        ),
        within=on_matrices,
    ),
    Case(
        "muon",
        lambda: gk.muon(0.1, "polar_express", 3, 0.8, 1e-3, 0.01, consistent_rms=0.2),
        bad=(
            *rate("muon"),
            *muon_like("muon", 0.1),
            (lambda: gk.muon(0.1, weight_decay=-1.0), f"weight_decay=.* {AT_LEAST_0}"),
            (lambda: gk.muon(0.1, adam_b1=1.0), f"adam_b1=.* {DECAY}"),
            (lambda: gk.muon(0.1, consistent_rms=-1.0), f"consistent_rms=.* {AT_LEAST_0}"),
            (
                lambda: gk.muon(0.1, muon_weight_dimension_numbers=3),
                "muon_weight_dimension_numbers=3 is not a set of dimension numbers",
            ),
            (
                lambda: gk.muon(
                    0.1, muon_weight_dimension_numbers=gk.MuonDimensionNumbers(0, 2)
                ).init({"w": jnp.ones((3, 2))}),
                r"w: MuonDimensionNumbers\(0, 2\) is out of range for the shape \[3, 2\]",
            ),
            (
                lambda: gk.muon(
                    0.1, muon_weight_dimension_numbers=gk.MuonDimensionNumbers(0, (1, -2))
                ).init({"w": jnp.ones((3, 2))}),
                r"w: MuonDimensionNumbers\(0, \(1, -2\)\) has an axis twice",
            ),
            (
                lambda: gk.muon(0.1, muon_weight_dimension_numbers=gk.by_rank(2)).init(
                    {"w": jnp.ones((3, 2, 2))}
                ),
                r"w \(float32\[3, 2, 2\]\) is no matrix\. .* Say which axes are rows",
            ),
            (
                lambda: gk.muon(0.1, muon_weight_dimension_numbers=lambda: None),
                "is not a function of one argument",
            ),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_normuon",
        lambda: gk.scale_by_normuon("dion", 3, 0.8, 0.9, 1e-3),
        bad=(
            *muon_like("scale_by_normuon"),
            (lambda: gk.scale_by_normuon(beta2=1.0), f"beta2=.* {DECAY}"),
            (lambda: gk.scale_by_normuon().init(zeros()), NO_MATRIX),
        ),
        within=on_matrices,
    ),
    Case(
        "normuon",
        lambda: gk.normuon(0.1, "dion", 3, 0.8, 0.9, 1e-3, 0.01, consistent_rms=0.2),
        bad=(
            *rate("normuon"),
            *muon_like("normuon", 0.1),
            (lambda: gk.normuon(0.1, beta2=1.0), f"beta2=.* {DECAY}"),
            (lambda: gk.normuon(0.1, weight_decay=-1.0), f"weight_decay=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_lmo",
        lambda: gk.scale_by_lmo("spectral", 2.0, steps=3),
        bad=(
            (lambda: gk.scale_by_lmo("frobenius"), "norm='frobenius' is not an option"),
            (lambda: gk.scale_by_lmo(radius=-1.0), f"radius=.* {AT_LEAST_0}"),
            (lambda: gk.scale_by_lmo("column").init(zeros()), NO_MATRIX),
            (
                lambda: gk.scale_by_lmo("sign").update(
                    jnp.ones((2, 2), "complex64"), gk.scale_by_lmo("sign").init(jnp.ones((2, 2)))
                ),
                "Expected real numbers",
            ),
        ),
        within=on_matrices,
    ),
    Case(
        "scion",
        lambda: gk.scion(0.1, 0.8, 2.0, 3.0, steps=3),
        bad=(
            *rate("scion"),
            (lambda: gk.scion(0.1, 1.0), f"beta=.* {DECAY}"),
            (lambda: gk.scion(0.1, radius=-1.0), f"radius=.* {AT_LEAST_0}"),
            (lambda: gk.scion(0.1, sign_radius=-1.0), f"sign_radius=.* {AT_LEAST_0}"),
            (lambda: gk.scion(0.1, sign="head"), "sign='head' is not a predicate"),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_dion",
        lambda: gk.scale_by_dion(1, 0.8, key=3),
        bad=(
            (lambda: gk.scale_by_dion(0), "rank=0 is out of range"),
            (lambda: gk.scale_by_dion(beta=1.0), f"beta=.* {DECAY}"),
            (lambda: gk.scale_by_dion(mu_dtype="int8"), DTYPE),
            (lambda: gk.scale_by_dion(key="a"), "key='a' is not a random key"),
            (lambda: gk.scale_by_dion().init(zeros()), NO_MATRIX),
        ),
        within=on_matrices,
    ),
    Case(
        "dion",
        lambda: gk.dion(0.1, 1, 0.8),
        bad=(
            *rate("dion"),
            (lambda: gk.dion(0.1, 0), "rank=0 is out of range"),
            (lambda: gk.dion(0.1, beta=1.0), f"beta=.* {DECAY}"),
            (lambda: gk.dion(0.1, weight_decay=-1.0), f"weight_decay=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
]
