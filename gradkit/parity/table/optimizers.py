"""Rows against optax: the optimizers of the textbooks, from sgd to amsgrad."""

from gradkit.parity.row import WIDE, Row, fine, matrices

_HALF = (
    "optax multiplies a stored bfloat16 average in bfloat16, gradkit in float32 or wider: "
    "equal where the decay is ½, before bfloat16 underflows"
)

OPTIMIZERS: tuple[Row, ...] = (
    Row("sgd", "", lambda k: k.sgd(0.1)),
    Row("sgd", "on a loss", lambda k: k.sgd(0.01, momentum=0.9), feed="loss", dtypes=WIDE),
    Row("sgd", "momentum", lambda k: k.sgd(0.1, momentum=0.9)),
    Row("sgd", "nesterov", lambda k: k.sgd(0.1, momentum=0.8, nesterov=True)),
    Row(
        "sgd",
        "bfloat16 trace",
        lambda k: k.sgd(0.1, momentum=0.5, accumulator_dtype="bfloat16"),
        dtypes=("float64",),
        note=_HALF,
        most=100,
    ),
    Row(
        "sgd",
        "scheduled",
        lambda k: k.sgd(fine(k, k.linear_schedule(0.1, 0.01, 150)), momentum=0.9),
    ),
    Row(
        "momentum",
        "averaged",
        lambda k: k.momentum(0.1, 0.75),
        lambda o: o.sgd(0.1 * 0.25, momentum=0.75),
        note="v = βv + (1−β)g is sgd's trace at the rate (1−β)α",
    ),
    Row(
        "momentum",
        "debiased",
        lambda k: k.momentum(0.1, 0.9, debias=True),
        lambda o: o.chain(o.ema(0.9, debias=True), o.scale_by_learning_rate(0.1)),
    ),
    Row("adagrad", "", lambda k: k.adagrad(0.1)),
    Row("adagrad", "from zero", lambda k: k.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-5)),
    Row("rmsprop", "", lambda k: k.rmsprop(0.01)),
    Row(
        "rmsprop", "eps outside", lambda k: k.rmsprop(0.01, decay=0.95, eps=1e-4, eps_in_sqrt=False)
    ),
    Row("rmsprop", "initial scale", lambda k: k.rmsprop(0.01, initial_scale=1.0)),
    Row("rmsprop", "centered", lambda k: k.rmsprop(0.01, eps=1e-3, centered=True)),
    Row(
        "rmsprop",
        "centered, debiased",
        lambda k: k.rmsprop(0.01, decay=0.8, eps=1e-3, centered=True, bias_correction=True),
        note="with the ε outside the root optax takes the root of a rounding error in the first "
        "step, and may get NaN; gradkit's variance is never below zero",
    ),
    Row("rmsprop", "momentum", lambda k: k.rmsprop(0.01, momentum=0.9)),
    Row("rmsprop", "nesterov", lambda k: k.rmsprop(0.01, eps=1e-6, momentum=0.9, nesterov=True)),
    Row(
        "rmsprop",
        "momentum, scheduled",
        lambda k: k.rmsprop(fine(k, k.linear_schedule(0.1, 0.01, 150)), momentum=0.9),
    ),
    Row("rmsprop", "debiased", lambda k: k.rmsprop(0.01, decay=0.99, bias_correction=True)),
    Row("adadelta", "", lambda k: k.adadelta(1.0)),
    Row(
        "adadelta",
        "no rate",
        lambda k: k.adadelta(),
        note="without a rate the result ascends, as in optax",
    ),
    Row(
        "adadelta",
        "decayed",
        lambda k: k.adadelta(0.5, rho=0.95, eps=1e-4, weight_decay=0.1, weight_decay_mask=matrices),
    ),
    Row("adam", "", lambda k: k.adam(0.01)),
    Row("adam", "on a loss", lambda k: k.adam(0.01), feed="loss", dtypes=WIDE),
    Row("adam", "both eps", lambda k: k.adam(0.01, b1=0.8, b2=0.99, eps=1e-4, eps_root=1e-6)),
    Row("adam", "no memory", lambda k: k.adam(0.01, b1=0.0, b2=0.9)),
    Row("adam", "nesterov", lambda k: k.adam(0.01, nesterov=True)),
    Row(
        "adam",
        "bfloat16 moment",
        lambda k: k.adam(0.01, b1=0.5, mu_dtype="bfloat16"),
        dtypes=("float64",),
        note=_HALF,
        most=100,
    ),
    Row(
        "adam",
        "scheduled",
        lambda k: k.adam(fine(k, k.warmup_cosine_decay_schedule(0.0, 0.1, 20, 180, 0.001))),
    ),
    Row("adamw", "", lambda k: k.adamw(0.01)),
    Row("adamw", "on a loss", lambda k: k.adamw(0.02, weight_decay=0.1), feed="loss", dtypes=WIDE),
    Row("adamw", "masked", lambda k: k.adamw(0.01, b2=0.95, weight_decay=0.3, mask=matrices)),
    Row(
        "adamw", "nesterov", lambda k: k.adamw(0.01, eps_root=1e-8, weight_decay=0.1, nesterov=True)
    ),
    Row("adamax", "", lambda k: k.adamax(0.01)),
    Row("adamax", "other decays", lambda k: k.adamax(0.01, b1=0.8, b2=0.9, eps=1e-4)),
    Row("adamaxw", "", lambda k: k.adamaxw(0.01)),
    Row("adamaxw", "masked", lambda k: k.adamaxw(0.01, b2=0.99, weight_decay=0.3, mask=matrices)),
    Row("nadam", "", lambda k: k.nadam(0.01)),
    Row(
        "nadam", "other decays", lambda k: k.nadam(0.01, b1=0.95, b2=0.98, eps=1e-5, eps_root=1e-7)
    ),
    Row("nadamw", "", lambda k: k.nadamw(0.01)),
    Row("nadamw", "masked", lambda k: k.nadamw(0.01, weight_decay=0.3, mask=matrices)),
    Row(
        "nadamw",
        "other",
        lambda k: k.nadamw(
            0.01, b1=0.8, b2=0.95, eps=1e-4, eps_root=1e-6, weight_decay=0.1, mask=matrices
        ),
    ),
    Row("nadamw", "plain", lambda k: k.nadamw(0.01, b1=0.95, weight_decay=0.1, nesterov=False)),
    Row("amsgrad", "", lambda k: k.amsgrad(0.01)),
    Row(
        "amsgrad",
        "as the paper",
        lambda k: k.amsgrad(0.01, b2=0.9, bias_correction_mu=False, bias_correction_nu=False),
    ),
    Row("amsgrad", "both eps", lambda k: k.amsgrad(0.01, b1=0.8, b2=0.9, eps=1e-4, eps_root=1e-6)),
    Row("sign_sgd", "", lambda k: k.sign_sgd(0.01)),
    Row("scale_by_adam", "", lambda k: k.scale_by_adam()),
    Row(
        "scale_by_adam", "both eps", lambda k: k.scale_by_adam(0.8, 0.99, 1e-4, 1e-6, nesterov=True)
    ),
    Row("scale_by_amsgrad", "", lambda k: k.scale_by_amsgrad()),
    Row(
        "scale_by_amsgrad",
        "biased",
        lambda k: k.scale_by_amsgrad(0.8, 0.9, 1e-4, 1e-6, bias_correction_nu=False),
    ),
    Row("scale_by_adamax", "", lambda k: k.scale_by_adamax()),
    Row("scale_by_adamax", "other decays", lambda k: k.scale_by_adamax(0.5, 0.8, 1e-3)),
    Row("scale_by_rms", "", lambda k: k.scale_by_rms()),
    Row(
        "scale_by_rms",
        "eps outside, debiased",
        lambda k: k.scale_by_rms(0.95, 1e-4, 0.5, eps_in_sqrt=False, bias_correction=True),
    ),
    Row("scale_by_stddev", "", lambda k: k.scale_by_stddev()),
    Row(
        "scale_by_stddev", "eps outside", lambda k: k.scale_by_stddev(0.8, 1e-3, eps_in_sqrt=False)
    ),
    Row(
        "scale_by_stddev",
        "debiased",
        lambda k: k.scale_by_stddev(0.8, 1e-3, 0.5, bias_correction=True),
    ),
    Row("scale_by_rss", "", lambda k: k.scale_by_rss()),
    Row("scale_by_rss", "from zero", lambda k: k.scale_by_rss(0.0, 1e-5)),
    Row("scale_by_adadelta", "", lambda k: k.scale_by_adadelta()),
    Row("scale_by_adadelta", "other", lambda k: k.scale_by_adadelta(0.5, 1e-3)),
)
