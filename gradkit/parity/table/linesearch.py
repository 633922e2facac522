"""Rows against optax: line searches, and L-BFGS with them."""

from collections.abc import Callable
from typing import Any

from gradkit.parity.row import Row

_ENDS = "at the minimum rounding errors decide where a search ends"
_ZOOM: dict[str, Any] = {
    "max_learning_rate": 0.8,
    "tol": 1e-6,
    "increase_factor": 3.0,
    "slope_rtol": 1e-2,
    "curv_rtol": 0.3,
    "approx_dec_rtol": None,
    "stepsize_precision": 1e-2,
    "initial_guess_strategy": "one",
}
_BACK: dict[str, Any] = {
    "slope_rtol": 0.2,
    "decrease_factor": 0.5,
    "increase_factor": 2.0,
    "max_learning_rate": 4.0,
    "atol": 1e-4,
    "rtol": 1e-4,
    "store_grad": True,
}


_ON_A_LOSS: tuple[tuple[str, str, int, Callable[[Any], Any]], ...] = (
    (
        "scale_by_backtracking_linesearch",
        "",
        30,
        lambda k: k.chain(k.sgd(1.0), k.scale_by_backtracking_linesearch(15)),
    ),
    (
        "scale_by_backtracking_linesearch",
        "other",
        12,
        lambda k: k.chain(k.sgd(1.0), k.scale_by_backtracking_linesearch(15, **_BACK)),
    ),
    (
        "scale_by_backtracking_linesearch",
        "too few steps",
        8,
        lambda k: k.chain(
            k.sgd(1e3), k.scale_by_backtracking_linesearch(2, increase_factor=1.0, store_grad=True)
        ),
    ),
    (
        "scale_by_zoom_linesearch",
        "",
        12,
        lambda k: k.chain(k.scale(-1.0), k.scale_by_zoom_linesearch(15)),
    ),
    (
        "scale_by_zoom_linesearch",
        "other",
        12,
        lambda k: k.chain(k.scale(-1.0), k.scale_by_zoom_linesearch(15, **_ZOOM)),
    ),
    (
        "scale_by_zoom_linesearch",
        "steps too long",
        8,
        lambda k: k.chain(k.scale(-1e3), k.scale_by_zoom_linesearch(20, curv_rtol=0.1)),
    ),
    ("scale_by_lbfgs", "", 18, lambda k: k.chain(k.scale_by_lbfgs(), k.scale(-0.3))),
    ("scale_by_lbfgs", "other", 25, lambda k: k.chain(k.scale_by_lbfgs(2, False), k.scale(-0.1))),
    ("lbfgs", "", 8, lambda k: k.lbfgs()),
    (
        "lbfgs",
        "other",
        8,
        lambda k: k.lbfgs(0.5, 3, False, k.scale_by_zoom_linesearch(9, curv_rtol=0.5)),
    ),
    (
        "lbfgs",
        "backtracking",
        10,
        lambda k: k.lbfgs(linesearch=k.scale_by_backtracking_linesearch(10)),
    ),
    ("lbfgs", "no line search", 25, lambda k: k.lbfgs(0.2, linesearch=None)),
)

LINE_SEARCHES: tuple[Row, ...] = tuple(
    Row(part, case, make, feed="loss", most=most, dtypes=("float64",), note=_ENDS)
    for part, case, most, make in _ON_A_LOSS
)
