"""Chains, and the transforms that are neither averages nor optimizers nor wrappers."""

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
    falling_loss,
    harmonic,
    loss_of,
    matrices_only,
    penalty,
    zeros,
)


def _halve_init(params: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, params)


def _halve_update(updates: Any, state: Any, params: Any = None) -> Any:
    return jax.tree.map(lambda u: u / 2, updates), updates


def squares(params: Any) -> Any:
    """A loss that curves."""
    return sum(
        (jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(params)), start=jnp.zeros(())
    )


def rising_gradient(grads: Any) -> dict[str, Any]:
    """A loss that falls along the gradients, which are the updates of a line search alone."""
    return falling_loss(jax.tree.map(jnp.negative, grads))


def two_examples(grads: Any) -> Any:
    """Gradients of two examples, whose mean is ``grads``."""
    return jax.tree.map(lambda g: jnp.stack([2 * g, 0 * g]), grads)


def on_matrices(tx: Any) -> Any:
    """The transform on the matrices of the tree; it refuses the other leaves."""
    return gk.masked(tx, gk.by_rank(2, 2))


NO_MATRIX = r"vector \(float32\[4\]\) are no matrices\. .*where\(by_rank\(2, 2\)"

TRANSFORMS = [
    Case(
        "chain",
        lambda: gk.chain(gk.clip_by_global_norm(0.5), gk.ema(0.8), gk.scale(-0.1)),
        bad=((lambda: gk.chain(gk.scale(1.0), 3), r"transforms\[1\]=3 is not a transform"),),
    ),
    Case(
        "named_chain",
        lambda: gk.named_chain(("speed", gk.trace(0.8)), ("rate", gk.scale(-0.1))),
        bad=(
            (
                lambda: gk.named_chain(("a", gk.scale(1.0)), ("a", gk.scale(2.0))),
                r"the name 'a' is used 2 times",
            ),
            (lambda: gk.named_chain(("a", None)), r"None is not a transform"),
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
    Case(
        "precondition",
        lambda: gk.precondition(gk.ema(0.8), gk.averages.running_sum(0.1), 1e-3, 1e-4),
        bad=(
            (
                lambda: gk.precondition(gk.averages.latest(), gk.averages.running_sum(), -1e-8),
                f"eps=.* {AT_LEAST_0}",
            ),
            (
                lambda: gk.precondition(
                    gk.averages.latest(), gk.averages.running_sum(), 0.0, -1e-8
                ),
                f"eps_root=.* {AT_LEAST_0}",
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
            (lambda: gk.clip(0.0), f"max_delta=.* {ABOVE_0}"),
            (lambda: gk.clip(1.0, 2.0), "min_delta=2.0 is not below max_delta=1.0"),
            (lambda: gk.clip(1.0, float("nan")), f"min_delta=.* {FINITE}"),
        ),
        complex=False,
    ),
    Case(
        "clip_by_global_norm",
        lambda: gk.clip_by_global_norm(0.5),
        bad=(
            (lambda: gk.clip_by_global_norm(0.0), f"max_norm=0.0 {ABOVE_0}"),
            (lambda: gk.clip_by_global_norm(float("nan")), f"max_norm=.* {ABOVE_0}"),
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
            (lambda: gk.adaptive_grad_clip(0.0), f"clipping=.* {ABOVE_0}"),
            (lambda: gk.adaptive_grad_clip(0.1, -1.0), "eps=-1.0 is out of range"),
        ),
        needs_params=True,
    ),
    Case(
        "scale",
        lambda: gk.scale(-0.5),
        bad=(
            (lambda: gk.scale(float("inf")), f"step_size=.* {FINITE}"),
            (lambda: gk.scale(None), "step_size=None is not a number"),
        ),
    ),
    Case(
        "scale_by_learning_rate",
        lambda: gk.scale_by_learning_rate(
            gk.schedules.function_schedule(harmonic), flip_sign=False
        ),
        bad=((lambda: gk.scale_by_learning_rate(-0.1), f"learning_rate=-0.1 {AT_LEAST_0}"),),
        reads_back=False,
    ),
    Case(
        "scale_by_schedule",
        lambda: gk.scale_by_schedule(harmonic),
        bad=((lambda: gk.scale_by_schedule("fast"), "step_size_fn='fast' is not a number"),),
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
            (
                lambda: gk.add_decayed_weights(float("nan")),
                "weight_decay=.* is (out of range|not a number)",
            ),
            (
                lambda: gk.add_decayed_weights("much"),
                "weight_decay=.* is (out of range|not a number)",
            ),
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
            (lambda: gk.add_elastic_net_penalty(-0.1, 0.2), f"l1=.* {AT_LEAST_0}"),
            (lambda: gk.add_elastic_net_penalty(0.1, -0.2), f"l2=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "add_smoothed_l1_penalty",
        lambda: gk.add_smoothed_l1_penalty(0.1, 1e-3),
        bad=(
            *penalty("add_smoothed_l1_penalty"),
            (lambda: gk.add_smoothed_l1_penalty(0.1, -1.0), f"eps=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
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
            (lambda: gk.normalize_by_update_norm(1.0, -1.0), f"eps=.* {AT_LEAST_0}"),
            (lambda: gk.normalize_by_update_norm(float("nan")), "scale_factor=nan is out of range"),
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
            (lambda: gk.add_noise(-0.1, 0.5, 0), f"eta=.* {AT_LEAST_0}"),
            (lambda: gk.add_noise(0.1, -0.5, 0), f"gamma=.* {AT_LEAST_0}"),
            (lambda: gk.add_noise(0.1, 0.5), "missing a required argument: 'key'"),
        ),
        stochastic=True,
    ),
    Case(
        "scale_by_param_block_norm",
        lambda: gk.scale_by_param_block_norm(0.1),
        bad=((lambda: gk.scale_by_param_block_norm(-1.0), f"min_scale=.* {AT_LEAST_0}"),),
        needs_params=True,
    ),
    Case(
        "scale_by_param_block_rms",
        lambda: gk.scale_by_param_block_rms(0.1),
        bad=((lambda: gk.scale_by_param_block_rms(-1.0), f"min_scale=.* {AT_LEAST_0}"),),
        needs_params=True,
    ),
    Case(
        "scale_by_trust_ratio",
        lambda: gk.scale_by_trust_ratio(0.1, 0.5, 1e-3),
        bad=(
            (lambda: gk.scale_by_trust_ratio(-1.0), f"min_norm=.* {AT_LEAST_0}"),
            (lambda: gk.scale_by_trust_ratio(0.0, 0.0), f"trust_coefficient=.* {ABOVE_0}"),
            (lambda: gk.scale_by_trust_ratio(eps=-1.0), f"eps=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "clip_by_block_norm",
        lambda: gk.clip_by_block_norm(0.5),
        bad=((lambda: gk.clip_by_block_norm(0.0), f"max_norm=.* {ABOVE_0}"),),
    ),
    Case(
        "keep_params_nonnegative",
        lambda: gk.keep_params_nonnegative(),
        bad=((lambda: gk.keep_params_nonnegative(1.0), "too many positional arguments"),),
        needs_params=True,
        complex=False,
    ),
    Case(
        "project",
        lambda: gk.project(gk.projections.projection_l2_ball, scale=0.5),
        bad=(
            (
                lambda: gk.project(gk.projections.projection_l2_ball, scale=-1.0),
                "scale=-1.0 is out of range. Expected scale >= 0",
            ),
            (
                lambda: gk.project(gk.projections.projection_box, lower=1.0, upper=0.0),
                "lower=1.0 is above upper=0.0: the box is empty",
            ),
            (
                lambda: gk.project(gk.projections.projection_simplex, total=1.0),
                "projection_simplex has no argument 'total'",
            ),
            (lambda: gk.project(gk.projections.projection_simplex, axis=1.5), "is not an axis"),
        ),
        needs_params=True,
        rounds=True,
    ),
    Case(
        "max_norm",
        lambda: gk.max_norm(0.5),
        bad=(
            (lambda: gk.max_norm(-1.0), "max_value=-1.0 is out of range. Expected max_value >= 0"),
            (lambda: gk.max_norm(1.0, "rows"), "axis='rows' is not an axis"),
        ),
        needs_params=True,
        rounds=True,
    ),
    Case(
        "unit_norm",
        lambda: gk.unit_norm(mask=gk.by_rank(2)),
        bad=((lambda: gk.unit_norm(1.5), "axis=1.5 is not an axis"),),
        needs_params=True,
        rounds=True,
    ),
    Case(
        "normalize",
        lambda: gk.normalize(),
        bad=((lambda: gk.normalize(1.0), "too many positional arguments"),),
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
        "differentially_private_aggregate",
        lambda: gk.differentially_private_aggregate(1.0, 0.5, 3),
        bad=((lambda: gk.differentially_private_aggregate(1.0, 1.0, None), "key is None"),),
        stochastic=True,
        fed=two_examples,
    ),
    Case(
        "reduce_on_plateau",
        lambda: gk.reduce_on_plateau(0.5, 2, 0.01, 0.001, 1, 1, 0.1),
        bad=(
            (lambda: gk.reduce_on_plateau(1.0), r"factor=1.0 is out of range"),
            (
                lambda: gk.reduce_on_plateau(patience=0),
                "patience=0 is out of range",
            ),
            (lambda: gk.reduce_on_plateau(rtol=2.0), f"rtol=.* {FRACTION}"),
            (lambda: gk.reduce_on_plateau(rtol=0.0), "rtol=0 and atol=0 are no tolerance"),
            (
                lambda: gk.reduce_on_plateau(cooldown=-1),
                "cooldown=-1 is out of range",
            ),
            (lambda: gk.reduce_on_plateau(min_scale=-1.0), f"min_scale=.* {AT_LEAST_0}"),
            (
                lambda: gk.reduce_on_plateau(mode="rise"),
                "mode='rise' is not an option",
            ),
        ),
        extras=loss_of,
        counts=True,
    ),
    Case(
        "scale_by_backtracking_linesearch",
        lambda: gk.scale_by_backtracking_linesearch(
            5, 1e-3, 0.5, 2.0, 1.5, 1e-3, 1e-3, store_grad=True
        ),
        bad=(
            (lambda: gk.scale_by_backtracking_linesearch(-1), "max_backtracking_steps=-1 is out"),
            (lambda: gk.scale_by_backtracking_linesearch(2.5), "max_backtracking_steps=2.5 is not"),
            (lambda: gk.scale_by_backtracking_linesearch(5, 1.0), f"slope_rtol=1.0 {DECAY}"),
            (lambda: gk.scale_by_backtracking_linesearch(5, -0.1), f"slope_rtol=-0.1 {DECAY}"),
            *(
                (
                    lambda factor=factor: gk.scale_by_backtracking_linesearch(
                        5, decrease_factor=factor
                    ),
                    rf"decrease_factor={factor} is out of range\. Expected 0 < decrease_factor < 1",
                )
                for factor in (0.0, 1.0)
            ),
            (
                lambda: gk.scale_by_backtracking_linesearch(5, increase_factor=0.9),
                r"increase_factor=0.9 is out of range\. Expected increase_factor >= 1",
            ),
            (
                lambda: gk.scale_by_backtracking_linesearch(5, max_learning_rate=0.0),
                f"max_learning_rate=0.0 {ABOVE_0}",
            ),
            (
                lambda: gk.scale_by_backtracking_linesearch(5, atol=-1.0),
                f"atol=-1.0 {AT_LEAST_0}",
            ),
            (
                lambda: gk.scale_by_backtracking_linesearch(5, rtol=-1.0),
                f"rtol=-1.0 {AT_LEAST_0}",
            ),
            (
                lambda: gk.scale_by_backtracking_linesearch(5, store_grad=1),
                "store_grad=1 is not a bool",
            ),
        ),
        extras=rising_gradient,
        needs_params=True,
        passes_nan=False,
        counts=True,
    ),
    Case(
        "scale_by_zoom_linesearch",
        lambda: gk.scale_by_zoom_linesearch(5, 2.0, 1e-3, 3.0, 1e-3, 0.5, 1e-3, 1e-3, "one"),
        bad=(
            (lambda: gk.scale_by_zoom_linesearch(0), "max_linesearch_steps=0 is out of range"),
            (
                lambda: gk.scale_by_zoom_linesearch(5, 0.0),
                f"max_learning_rate=0.0 {ABOVE_0}",
            ),
            (lambda: gk.scale_by_zoom_linesearch(5, tol=-1.0), f"tol=-1.0 {AT_LEAST_0}"),
            *(
                (
                    lambda factor=factor: gk.scale_by_zoom_linesearch(5, increase_factor=factor),
                    rf"increase_factor={factor} is out of range\. Expected 1 < increase_factor",
                )
                for factor in (1.0, float("inf"))
            ),
            *(
                (
                    lambda c1=c1: gk.scale_by_zoom_linesearch(5, slope_rtol=c1),
                    rf"slope_rtol={c1} is out of range\. Expected 0 < slope_rtol < 1",
                )
                for c1 in (0.0, 1.0)
            ),
            (
                lambda: gk.scale_by_zoom_linesearch(5, slope_rtol=0.5, curv_rtol=0.4),
                r"curv_rtol=0.4 is out of range\. Expected curv_rtol > slope_rtol=0.5",
            ),
            (lambda: gk.scale_by_zoom_linesearch(5, curv_rtol=-0.1), f"curv_rtol=-0.1 {ABOVE_0}"),
            (
                lambda: gk.scale_by_zoom_linesearch(5, approx_dec_rtol=-1.0),
                f"approx_dec_rtol=-1.0 {AT_LEAST_0}",
            ),
            (
                lambda: gk.scale_by_zoom_linesearch(5, stepsize_precision=-1.0),
                f"stepsize_precision=-1.0 {AT_LEAST_0}",
            ),
            (
                lambda: gk.scale_by_zoom_linesearch(5, initial_guess_strategy="two"),
                "initial_guess_strategy='two' is not an option",
            ),
        ),
        extras=rising_gradient,
        needs_params=True,
        passes_nan=False,
        counts=True,
    ),
    Case(
        "clip_by_percentile",
        lambda: gk.clip_by_percentile(50.0, 3, report=True),
        bad=(
            (
                lambda: gk.clip_by_percentile(101.0),
                r"percentile=101.0 is out of range",
            ),
            (lambda: gk.clip_by_percentile(window=0), "window=0 is out of range"),
        ),
    ),
    Case(
        "clip_by_zscore",
        lambda: gk.clip_by_zscore(1.5, 4, 2, 0.1),
        bad=(
            (lambda: gk.clip_by_zscore(0.0), f"z_score=.* {ABOVE_0}"),
            (lambda: gk.clip_by_zscore(eps=-1.0), f"eps=.* {AT_LEAST_0}"),
            (
                lambda: gk.clip_by_zscore(window=3, patience=4),
                "patience=4 is out of range",
            ),
        ),
    ),
    Case(
        "stochastic_rounding",
        lambda: gk.stochastic_rounding(3),
        bad=((lambda: gk.stochastic_rounding(), "missing a required argument: 'key'"),),
        needs_params=True,
        stochastic=True,
        rounds=True,
    ),
    Case(
        "compensated",
        lambda: gk.compensated(),
        bad=((lambda: gk.compensated(1.0), "too many positional arguments"),),
        needs_params=True,
        narrow=True,
        rounds=True,
    ),
    Case(
        "orthogonalize_updates",
        lambda: gk.orthogonalize_updates(2, "dion", "schatten", "gram", 1e-3),
        bad=(
            (lambda: gk.orthogonalize_updates(0), "steps=0 is out of range"),
            (lambda: gk.orthogonalize_updates(2.5), "steps=2.5 is not an integer"),
            (
                lambda: gk.orthogonalize_updates(5, "quintic"),
                "coefficients='quintic' is not a known set",
            ),
            (lambda: gk.orthogonalize_updates(eps=-1.0), f"eps=.* {AT_LEAST_0}"),
            (lambda: gk.orthogonalize_updates().init(zeros()), NO_MATRIX),
        ),
        within=on_matrices,
    ),
    Case(
        "scale_by_shape",
        lambda: gk.scale_by_shape(None, 0.3),
        bad=(
            (lambda: gk.scale_by_shape(None, -0.3), f"consistent_rms=.* {AT_LEAST_0}"),
            (lambda: gk.scale_by_shape().init(zeros()), NO_MATRIX),
        ),
        within=on_matrices,
    ),
    Case(
        "clip_by_spectral_norm",
        lambda: gk.clip_by_spectral_norm(0.5),
        bad=(
            (lambda: gk.clip_by_spectral_norm(0.0), f"max_norm=.* {ABOVE_0}"),
            (lambda: gk.clip_by_spectral_norm(1.0).init(zeros()), NO_MATRIX),
        ),
        within=on_matrices,
    ),
]
