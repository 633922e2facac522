"""Rows against optax: optimizers that find their own learning rate."""

import math
from collections.abc import Callable
from typing import Any

from gradkit.parity.row import Row, contrib, matrices, wide

_FLOAT64 = ("float64",)

_GROWS = (
    "a rounding error grows with the steps where the gradient depends on it: "
    "200 steps on given gradients in a row of their own"
)

_GIVEN = "on given gradients, which do not depend on rounding errors"

_SCALARS = "optax does not take scalars"


def _swings(step: int) -> dict[str, Any]:
    """A loss that goes up and down."""
    return {"value": 3.0 + math.sin(step)}


def _falling(step: Any) -> Any:
    return 1.0 / (1.0 + 0.1 * wide(step))


_ON_A_LOSS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("cocob", "", lambda k: k.cocob()),
    ("cocob", "other", lambda k: k.cocob(0.5, 10.0, 1e-3, 0.01, matrices)),
    ("scale_by_cocob", "", lambda k: k.scale_by_cocob(10.0, 1e-3)),
    ("dog", "", lambda k: k.dog()),
    ("dog", "other", lambda k: k.dog(0.5, ("distance", 0.1), 1e-3, 0.01, matrices)),
    ("dowg", "other", lambda k: k.dowg(0.5, 0.1, 1e-3, 0.01, matrices)),
    ("dadapt_adamw", "", lambda k: k.dadapt_adamw()),
    ("dadapt_adamw", "other", lambda k: k.dadapt_adamw(0.5, (0.8, 0.99), 1e-3, 1e-3, 0.1)),
    ("prodigy", "", lambda k: k.prodigy()),
    ("prodigy", "other", lambda k: k.prodigy(0.5, (0.8, 0.95), 0.9, 1e-3, 1e-2, 0.5, 0.1, True)),
    ("momo", "", lambda k: k.momo()),
    ("momo", "other", lambda k: k.momo(0.5, 0.8, 1.0, 0.1, True)),
    ("momo_adam", "", lambda k: k.momo_adam()),
    ("momo_adam", "other", lambda k: k.momo_adam(0.5, 0.8, 0.95, 1e-3, 1.0, 0.1, True)),
)

PARAMETER_FREE: tuple[Row, ...] = (
    Row(
        "polyak_sgd",
        "",
        lambda k: k.polyak_sgd(),
        feed="loss",
        dtypes=_FLOAT64,
        most=60,
        note=_GROWS,
    ),
    Row(
        "polyak_sgd",
        "other",
        lambda k: k.polyak_sgd(0.5, 1.0, 0.1, 1e-3, "sps+"),
        feed="loss",
        dtypes=_FLOAT64,
        note="optax's scaling also scales the bound on the rate",
    ),
    Row("polyak_sgd", "200 steps", lambda k: k.polyak_sgd(), extras=_swings, note=_GIVEN),
    Row(
        "polyak_sgd",
        "scaled",
        lambda k: k.polyak_sgd(0.1, 0.7, 0.5, 1e-3),
        lambda o: o.chain(o.scale_by_polyak(0.5, 0.1, 1e-3), o.scale(-0.7)),
        extras=_swings,
        note="optax's scaling also scales the bound on the rate: there its scale is put last",
    ),
    Row(
        "scale_by_polyak",
        "200 steps",
        lambda k: k.scale_by_polyak(0.1, 0.5, 1e-3),
        extras=_swings,
        note=_GIVEN,
    ),
    Row(
        "scale_by_polyak",
        "",
        lambda k: k.chain(k.scale_by_polyak(0.1, 0.5), k.scale(-1.0)),
        feed="loss",
        dtypes=_FLOAT64,
        most=60,
        note=_GROWS,
    ),
    Row(
        "scale_by_distance_over_gradients",
        "",
        lambda k: k.scale_by_distance_over_gradients(1e-3, param_dtype="float64"),
        scalars=False,
        dtypes=_FLOAT64,
        note=_SCALARS,
    ),
    *(contrib(part, case, make, feed="loss", dtypes=_FLOAT64) for part, case, make in _ON_A_LOSS),
    Row("dowg", "200 steps", lambda k: k.dowg(), lambda o: o.contrib.dowg(), note=_GIVEN),
    Row(
        "dowg",
        "",
        lambda k: k.dowg(),
        lambda o: o.contrib.dowg(),
        feed="loss",
        dtypes=_FLOAT64,
        most=50,
        note=_GROWS,
    ),
    Row(
        "scale_by_dog",
        "",
        lambda k: k.chain(k.scale_by_dog(("distance", 0.1), 1e-3), k.scale(-1.0)),
        lambda o: o.contrib.dog(1.0, ("distance", 0.1), 1e-3),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "scale_by_dowg",
        "",
        lambda k: k.chain(k.scale_by_dowg(0.1, 1e-3), k.scale(-1.0)),
        lambda o: o.contrib.dowg(1.0, 0.1, 1e-3),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "mechanize",
        "",
        lambda k: k.mechanize(k.sgd(0.1)),
        lambda o: o.contrib.mechanize(o.sgd(0.1)),
        dtypes=_FLOAT64,
    ),
    Row(
        "mechanize",
        "other",
        lambda k: k.mechanize(k.adam(0.05), 0.1, 1e-4, 1e-2, 3),
        lambda o: o.contrib.mechanize(o.adam(0.05), 0.1, 1e-4, 1e-2, 3),
        atol=1e-13,
        dtypes=_FLOAT64,
        note="θ_0 − θ, which it divides by s, nearly cancels",
    ),
    Row(
        "mechanize",
        "on a loss",
        lambda k: k.mechanize(k.sgd(0.1, 0.9), 0.0, s_init=1e-3, num_betas=1),
        lambda o: o.contrib.mechanize(o.sgd(0.1, 0.9), 0.0, s_init=1e-3, num_betas=1),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "polyak_sgd",
        "a bound below zero",
        lambda k: k.polyak_sgd(0.1, f_min=-1.0, eps=0.1, variant="sps+"),
        extras=_swings,
        note=_GIVEN,
    ),
    Row(
        "scale_by_polyak",
        "a bound below zero",
        lambda k: k.scale_by_polyak(-0.5, 0.3, 0.2),
        extras=_swings,
        note=_GIVEN,
    ),
    contrib(
        "dog",
        "learning rate",
        lambda k: k.dog(init_step=("learning_rate", 0.1)),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    contrib(
        "dadapt_adamw",
        "scheduled",
        lambda k: k.dadapt_adamw(_falling, (0.8, 0.99), 1e-3, 1e-3, 0.1),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    contrib(
        "prodigy",
        "scheduled",
        lambda k: k.prodigy(_falling, (0.8, 0.95), 0.9, 1e-3, 1e-2, 0.5, 0.1, True),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    contrib(
        "momo",
        "scheduled",
        lambda k: k.momo(_falling, 0.8, 1.0, 0.1, True),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    contrib(
        "momo_adam",
        "scheduled",
        lambda k: k.momo_adam(_falling, 0.8, 0.95, 1e-3, 1.0, 0.1, True),
        feed="loss",
        dtypes=_FLOAT64,
    ),
    Row(
        "scale_by_distance_over_gradients",
        "other",
        lambda k: k.chain(
            k.scale_by_distance_over_gradients(1e-3, 1e-6, "float64", 0.5), k.scale(-1.0)
        ),
        scalars=False,
        dtypes=_FLOAT64,
        note=_SCALARS,
    ),
)
