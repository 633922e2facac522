"""Rows against optax: averages alone."""

from gradkit.parity.row import Row

_HALF = (
    "optax multiplies a stored bfloat16 average in bfloat16, gradkit in float32 or wider: "
    "equal where the decay is ½, before bfloat16 underflows"
)

AVERAGES: tuple[Row, ...] = (
    Row("trace", "", lambda k: k.trace(0.9)),
    Row("trace", "nesterov", lambda k: k.trace(0.7, nesterov=True)),
    Row("ema", "", lambda k: k.ema(0.9)),
    Row("ema", "biased", lambda k: k.ema(0.99, debias=False)),
    Row(
        "ema",
        "bfloat16",
        lambda k: k.ema(0.5, accumulator_dtype="bfloat16"),
        dtypes=("float64",),
        note=_HALF,
        most=100,
    ),
)
