"""The second-order methods: quasi-Newton, conjugate gradients, Newton, least squares."""

from typing import Any

import jax
import jax.numpy as jnp

import gradkit as gk
from tests.records.case import ABOVE_0, AT_LEAST_0, Case, falling_loss, rate


def doubled(params: Any) -> Any:
    """Residuals whose Jacobian is 2 I."""
    return jax.tree.map(lambda p: 2 * p, params)


def squares(params: Any) -> Any:
    """A loss whose Hessian is 2 I."""
    return sum((jnp.sum(p**2) for p in jax.tree.leaves(params)), start=jnp.zeros(()))


def search(name: str) -> Any:
    """What every recipe with a line search refuses."""
    factory = getattr(gk, name)
    return ((lambda: factory(linesearch=0.5), "linesearch=0.5 is not a transform"),)


SECOND_ORDER = [
    Case(
        "scale_by_bfgs",
        lambda: gk.scale_by_bfgs(False),
        bad=((lambda: gk.scale_by_bfgs("no"), "scale_init_precond='no' is not a bool"),),
        needs_params=True,
    ),
    Case(
        "bfgs",
        lambda: gk.bfgs(0.5, linesearch=gk.scale_by_backtracking_linesearch(5)),
        bad=(*rate("bfgs"), *search("bfgs")),
        extras=falling_loss,
        needs_params=True,
        passes_nan=False,
        counts=True,
    ),
    Case(
        "scale_by_dfp",
        lambda: gk.scale_by_dfp(False),
        bad=((lambda: gk.scale_by_dfp("no"), "scale_init_precond='no' is not a bool"),),
        needs_params=True,
    ),
    Case(
        "dfp",
        lambda: gk.dfp(0.5, linesearch=None),
        bad=(*rate("dfp"), *search("dfp")),
        needs_params=True,
    ),
    Case(
        "scale_by_nonlinear_cg",
        lambda: gk.scale_by_nonlinear_cg("hestenes_stiefel", True),
        bad=(
            (
                lambda: gk.scale_by_nonlinear_cg("fletcher"),
                r"method='fletcher' is not an option\. Expected one of 'fletcher_reeves'",
            ),
        ),
        extras=lambda grads: {"value": jnp.float32(2.0)},
    ),
    Case(
        "nonlinear_cg",
        lambda: gk.nonlinear_cg(0.5, "dai_yuan", linesearch=None),
        bad=(*rate("nonlinear_cg"), *search("nonlinear_cg")),
    ),
    Case(
        "scale_by_newton",
        lambda: gk.scale_by_newton(0.5, 1e-3),
        bad=(
            (lambda: gk.scale_by_newton(-1.0), f"damping=-1.0 {AT_LEAST_0}"),
            (lambda: gk.scale_by_newton(0.0, -1.0), f"min_curvature=-1.0 {AT_LEAST_0}"),
        ),
        extras=lambda grads: {"value_fn": squares},
        complex=False,
        needs_params=True,
    ),
    Case(
        "newton",
        lambda: gk.newton(0.5, 0.5, linesearch=None),
        bad=(
            *rate("newton"),
            *search("newton"),
            (lambda: gk.newton(damping=-1.0), f"damping=-1.0 {AT_LEAST_0}"),
        ),
        extras=lambda grads: {"value_fn": squares},
        complex=False,
        needs_params=True,
    ),
    Case(
        "scale_by_newton_cg",
        lambda: gk.scale_by_newton_cg(0.5, 2.0, 3),
        bad=(
            (lambda: gk.scale_by_newton_cg(-1.0), f"damping=-1.0 {AT_LEAST_0}"),
            (lambda: gk.scale_by_newton_cg(0.0, 0.0), f"trust_radius=0.0 {ABOVE_0}"),
            (
                lambda: gk.scale_by_newton_cg(max_iterations=0),
                "max_iterations=0 is out of range",
            ),
        ),
        extras=lambda grads: {"value_fn": squares, "value": jnp.float32(1.0)},
        complex=False,
        needs_params=True,
        counts=True,
    ),
    Case(
        "newton_cg",
        lambda: gk.newton_cg(0.5, 0.5, linesearch=None),
        bad=(
            *rate("newton_cg"),
            *search("newton_cg"),
            (lambda: gk.newton_cg(trust_radius=-1.0), f"trust_radius=-1.0 {ABOVE_0}"),
        ),
        extras=lambda grads: {"value_fn": squares},
        complex=False,
        needs_params=True,
        counts=True,
    ),
    Case(
        "scale_by_gauss_newton",
        lambda: gk.scale_by_gauss_newton(0.5),
        bad=((lambda: gk.scale_by_gauss_newton(-1.0), f"damping=-1.0 {AT_LEAST_0}"),),
        extras=lambda grads: {"residual_fn": doubled},
        complex=False,
        needs_params=True,
    ),
    Case(
        "gauss_newton",
        lambda: gk.gauss_newton(0.5, 0.5, None),
        bad=(*rate("gauss_newton"), *search("gauss_newton")),
        extras=lambda grads: {"residual_fn": doubled},
        complex=False,
        needs_params=True,
    ),
    Case(
        "scale_by_levenberg_marquardt",
        lambda: gk.scale_by_levenberg_marquardt(0.5, 3),
        bad=(
            (lambda: gk.scale_by_levenberg_marquardt(0.0), f"damping=0.0 {ABOVE_0}"),
            (
                lambda: gk.scale_by_levenberg_marquardt(max_trials=0),
                "max_trials=0 is out of range",
            ),
        ),
        extras=lambda grads: {"residual_fn": doubled},
        complex=False,
        needs_params=True,
        counts=True,
    ),
    Case(
        "levenberg_marquardt",
        lambda: gk.levenberg_marquardt(0.5, 3),
        bad=(
            (lambda: gk.levenberg_marquardt(-1.0), f"damping=-1.0 {ABOVE_0}"),
            (lambda: gk.levenberg_marquardt(0.1, 2.5), "max_trials=2.5 is not an integer"),
        ),
        extras=lambda grads: {"residual_fn": doubled},
        complex=False,
        needs_params=True,
        counts=True,
    ),
]
