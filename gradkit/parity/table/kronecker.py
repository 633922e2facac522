"""Rows against optax: optimizers whose preconditioners are matrices."""

from gradkit.parity.row import WIDE, Row, matrices

_SINGULAR = "optax computes the singular vectors in float32 also for float64"

KRONECKER = [
    Row(
        "galore",
        "",
        lambda k: k.galore(0.05, 1, 7, 0.5, k.scale_by_adam(0.8, 0.95, 1e-2), 0.1, matrices),
        lambda o: o.contrib.galore(
            0.05, 1, 7, 0.5, o.scale_by_adam(0.8, 0.95, 1e-2), 0.1, matrices
        ),
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-6,
        note=_SINGULAR,
    ),
    Row(
        "galore",
        "turned",
        lambda k: k.galore(0.05, 2, 5, weight_dimension_numbers=k.GaLoreDimensionNumbers(1, 0)),
        lambda o: o.contrib.galore(
            0.05, 2, 5, weight_dimension_numbers=o.contrib.GaLoreDimensionNumbers(1, 0)
        ),
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-6,
        note=_SINGULAR,
    ),
    Row(
        "scale_by_galore",
        "of full rank",
        lambda k: k.scale_by_galore(2, 5, base_optimizer=k.trace(0.9)),
        lambda o: o.contrib.scale_by_galore(2, 5, base_optimizer=o.trace(0.9)),
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-3,
        note=_SINGULAR,
    ),
]
