"""Factored and stored metrics, parameter-free rates, curvature, privacy."""

from typing import Any

import jax
import jax.numpy as jnp

import gradkit as gk
from tests.records.case import (
    ABOVE_0,
    AT_LEAST_0,
    DECAY,
    FINITE,
    FRACTION,
    Case,
    adam_like,
    rate,
)


def squares(params: Any) -> Any:
    """A loss that curves."""
    return sum(
        (jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(params)), start=jnp.zeros(())
    )


def two_examples(grads: Any) -> Any:
    """Gradients of two examples, whose mean is ``grads``."""
    return jax.tree.map(lambda g: jnp.stack([2 * g, 0 * g]), grads)


SPECIAL = [
    Case(
        "compressed",
        lambda: gk.averages.compressed(gk.ema(0.8), gk.stores.factored(2), 1e-3),
        bad=((lambda: gk.averages.compressed(gk.averages.latest(), 3), "store=3 is not a Store"),),
        reads_back=False,
    ),
    Case(
        "scale_by_factored_rms",
        lambda: gk.scale_by_factored_rms(True, 0.7, 0, 2, 1e-6),
        bad=(
            (lambda: gk.scale_by_factored_rms(epsilon=-1.0), f"epsilon: {AT_LEAST_0}"),
            (
                lambda: gk.scale_by_factored_rms(clipping_threshold=0.0),
                f"clipping_threshold: {ABOVE_0}",
            ),
        ),
    ),
    Case(
        "adafactor",
        lambda: gk.adafactor(0.1, 2, momentum=0.8, weight_decay_rate=0.01, eps=1e-6),
        bad=(
            (lambda: gk.adafactor(-0.1), AT_LEAST_0),
            (lambda: gk.adafactor(decay_offset=-1), "step_offset=-1 is out of range"),
            (lambda: gk.adafactor(clipping_threshold=0.0), ABOVE_0),
        ),
        needs_params=True,
    ),
    Case(
        "scale_by_confidence",
        lambda: gk.scale_by_confidence(0.8, 0.9, 1e-3),
        bad=((lambda: gk.scale_by_confidence(b3=1.0), f"b3: {DECAY}"),),
    ),
    Case(
        "came",
        lambda: gk.came(0.1, 0.8, 0.9, 0.95, eps1=1e-6, eps2=1e-6),
        bad=((lambda: gk.came(0.1, b3=1.0), f"b3: {DECAY}"),),
    ),
    Case(
        "scale_by_sm3",
        lambda: gk.scale_by_sm3(0.8, 0.95, 1e-3),
        bad=((lambda: gk.scale_by_sm3(b2=1.5), f"b2: {FRACTION}"),),
    ),
    Case(
        "sm3",
        lambda: gk.sm3(0.1, 0.8),
        bad=((lambda: gk.sm3(-0.1), AT_LEAST_0), (lambda: gk.sm3(0.1, 1.0), DECAY)),
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
        "scale_by_dog",
        lambda: gk.scale_by_dog(("distance", 0.1), 1e-3),
        bad=((lambda: gk.scale_by_dog(-1e-6), "init_step=-1e-06 is not a pair"),),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "dog",
        lambda: gk.dog(0.5, ("heuristic", 0.01)),
        bad=((lambda: gk.dog(init_step=("far", 1.0)), "init_step: needs one of"),),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "scale_by_dowg",
        lambda: gk.scale_by_dowg(0.1),
        bad=((lambda: gk.scale_by_dowg(-1e-6), f"init_estim_sq_dist: {ABOVE_0}"),),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "dowg",
        lambda: gk.dowg(0.5, 0.1),
        bad=((lambda: gk.dowg(eps=0.0), f"eps: {ABOVE_0}"),),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "scale_by_distance_over_gradients",
        lambda: gk.scale_by_distance_over_gradients(1e-3),
        bad=(
            (
                lambda: gk.scale_by_distance_over_gradients(param_dtype="int8"),
                "param_dtype=int8 cannot",
            ),
        ),
        needs_params=True,
        from_start=True,
    ),
    Case(
        "scale_by_cocob",
        lambda: gk.scale_by_cocob(10.0, 1e-3),
        bad=((lambda: gk.scale_by_cocob(eps=0.0), f"eps: {ABOVE_0}"),),
        complex=False,
        needs_params=True,
        from_start=True,
    ),
    Case(
        "cocob",
        lambda: gk.cocob(0.5, 10.0, 1e-3),
        bad=((lambda: gk.cocob(alpha=0.0), f"alpha: {ABOVE_0}"),),
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
        "prodigy",
        lambda: gk.prodigy(0.5, (0.8, 0.9), estim_lr0=1e-3),
        bad=((lambda: gk.prodigy(betas=(0.9, 1.0)), rf"betas\[1\]: {DECAY}"),),
        complex=False,
        needs_params=True,
        from_start=True,
    ),
    Case(
        "mechanize",
        lambda: gk.mechanize(gk.sgd(0.1), 0.1, 1e-6, 1e-2, 3),
        bad=((lambda: gk.mechanize(0.1), "base_optimizer: needs a transform"),),
        complex=False,
        needs_params=True,
        from_start=True,
    ),
    Case(
        "momo",
        lambda: gk.momo(0.5, 0.8),
        bad=((lambda: gk.momo(beta=1.0), f"beta: {DECAY}"),),
        extras=lambda grads: {"value": jnp.float32(1.5)},
        complex=False,
        needs_params=True,
    ),
    Case(
        "momo_adam",
        lambda: gk.momo_adam(0.1, 0.8, 0.9),
        bad=((lambda: gk.momo_adam(lower_bound=float("inf")), f"lower_bound: {FINITE}"),),
        extras=lambda grads: {"value": jnp.float32(1.5)},
        complex=False,
        needs_params=True,
    ),
    Case(
        "hutchinson_estimator_diag_hessian",
        lambda: gk.hutchinson_estimator_diag_hessian(3),
        bad=((lambda: gk.hutchinson_estimator_diag_hessian(nonsense=1), "nonsense"),),
        extras=lambda grads: {"obj_fn": squares},
        complex=False,
        needs_params=True,
        stochastic=True,
        passes_nan=False,
    ),
    Case(
        "scale_by_sophia",
        lambda: gk.scale_by_sophia(0.8, 0.9, gamma=0.5),
        bad=((lambda: gk.scale_by_sophia(gamma=0.0), f"gamma: {ABOVE_0}"),),
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
                "update_interval: needs a whole number >= 1",
            ),
        ),
        extras=lambda grads: {"obj_fn": squares},
        complex=False,
        needs_params=True,
    ),
    Case(
        "differentially_private_aggregate",
        lambda: gk.differentially_private_aggregate(1.0, 0.5, 3),
        bad=((lambda: gk.differentially_private_aggregate(1.0, 1.0, None), "key is None"),),
        stochastic=True,
        fed=two_examples,
    ),
    Case(
        "dpsgd",
        lambda: gk.dpsgd(0.1, 1.0, 0.5, 3, 0.8),
        bad=((lambda: gk.dpsgd(0.1, -1.0, 1.0, 0), f"l2_norm_clip: {AT_LEAST_0}"),),
        stochastic=True,
        fed=two_examples,
    ),
]
