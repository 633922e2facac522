"""The recipes of the foundation."""

import gradkit as gk
from tests.records.case import AT_LEAST_0, DECAY, FRACTION, Case, adam_like, rate, slope

OPTIMIZERS = [
    Case(
        "sgd",
        lambda: gk.sgd(0.1, 0.8, True),
        bad=(*rate("sgd"), (lambda: gk.sgd(0.1, 1.5), FRACTION)),
    ),
    Case(
        "adagrad",
        lambda: gk.adagrad(0.1, 0.2, 1e-3),
        bad=(*rate("adagrad"), (lambda: gk.adagrad(0.1, -1.0), "initial_accumulator_value: needs")),
    ),
    Case(
        "rmsprop",
        lambda: gk.rmsprop(0.1, 0.8, 1e-3, centered=True, momentum=0.7, nesterov=True),
        bad=(*rate("rmsprop"), (lambda: gk.rmsprop(0.1, 1.0), f"decay: {DECAY}")),
        complex=False,
    ),
    Case(
        "adadelta",
        lambda: gk.adadelta(0.1, 0.8, 1e-3),
        bad=(*rate("adadelta"), (lambda: gk.adadelta(0.1, 1.0), f"rho: {DECAY}")),
    ),
    Case(
        "adam",
        lambda: gk.adam(0.1, 0.8, 0.9, 1e-3, 1e-4, nesterov=True),
        bad=(
            *rate("adam"),
            *adam_like("adam", 0.1),
            (lambda: gk.adam(0.1, eps_root=-1.0), f"eps_root: {AT_LEAST_0}"),
        ),
    ),
    Case(
        "adamw",
        lambda: gk.adamw(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1),
        bad=(*rate("adamw"), *adam_like("adamw", 0.1)),
        needs_params=True,
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
        "amsgrad",
        lambda: gk.amsgrad(0.1, 0.8, 0.9, 1e-3),
        bad=(*rate("amsgrad"), *adam_like("amsgrad", 0.1)),
    ),
    Case(
        "momentum",
        lambda: gk.momentum(0.1, 0.8, True),
        bad=(*rate("momentum"), (lambda: gk.momentum(0.1, 1.0), f"decay: {DECAY}")),
    ),
    Case(
        "nesterov",
        lambda: gk.nesterov(0.1, 0.8),
        bad=(*rate("nesterov"), (lambda: gk.nesterov(0.1, 1.5), f"momentum: {FRACTION}")),
        extras=lambda grads: {"value_fn": lambda params: slope(params, grads)},
        needs_params=True,
    ),
    Case("sign_sgd", lambda: gk.sign_sgd(0.1), bad=rate("sign_sgd")),
]
