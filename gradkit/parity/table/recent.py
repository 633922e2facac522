"""Rows against optax: optimizers published after the textbooks."""

from typing import Any

import jax

from gradkit.parity.row import WIDE, Row, contrib, matrices, wide

_ADAN = "optax.adan with b2 where it has 1 − b2, as in the paper"

_ROOTS = (
    "optax takes the root of its int32 counter in float32 also in float64: "
    "here its counter is a float; z − θ nearly cancels"
)


def _scale_by_adan(
    o: Any,
    b1: float = 0.98,
    b2: float = 0.92,
    b3: float = 0.99,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> Any:
    """optax.scale_by_adan from optax's averages, the differences weighed with b2."""
    averages = [o.ema(b1), o.ema(b2), o.ema(b3)]

    def init(params: Any) -> Any:
        return [ema.init(params) for ema in averages], params, True

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        states, before, first = state
        change = jax.tree.map(lambda g, b: jax.numpy.where(first, 0.0, g - b), updates, before)
        squares = jax.tree.map(lambda g, d: (g + b2 * d) ** 2, updates, change)
        found = [
            ema.update(fed, kept)
            for ema, fed, kept in zip(averages, (updates, change, squares), states, strict=True)
        ]
        (m, d, n), states = zip(*found, strict=True)
        steps = jax.tree.map(
            lambda m, d, n: (m + b2 * d) / (jax.numpy.sqrt(n + eps_root) + eps), m, d, n
        )
        return steps, (list(states), updates, False)

    return o.GradientTransformation(init, update)


def _adan(o: Any, rate: float, *numbers: float, weight_decay: float = 0.0, mask: Any = None) -> Any:
    return o.chain(
        _scale_by_adan(o, *numbers),
        o.add_decayed_weights(weight_decay, mask),
        o.scale_by_learning_rate(rate),
    )


def _float_counts(o: Any, tx: Any) -> Any:
    """Optax's transform with its counter in the wide float, and with it roots and powers of it."""

    def init(params: Any) -> Any:
        return jax.tree.map(
            lambda x: wide(x) if jax.numpy.issubdtype(x.dtype, jax.numpy.integer) else x,
            tx.init(params),
        )

    return o.GradientTransformation(init, tx.update)


def _falling(step: Any) -> Any:
    return 0.1 / (1.0 + wide(step))


RECENT: tuple[Row, ...] = (
    Row("adabelief", "", lambda k: k.adabelief(0.05)),
    Row("adabelief", "other", lambda k: k.adabelief(0.05, 0.8, 0.95, 1e-4, 1e-5, nesterov=True)),
    Row("scale_by_belief", "", lambda k: k.scale_by_belief(0.7, 0.9, 1e-8, 1e-8)),
    contrib("acprop", "", lambda k: k.acprop(0.05)),
    contrib("acprop", "other", lambda k: k.acprop(0.05, 0.8, 0.95, 1e-4, 1e-5, 0.1, matrices)),
    contrib("scale_by_acprop", "", lambda k: k.scale_by_acprop(0.7, 0.9, 1e-8, 1e-8)),
    Row("yogi", "", lambda k: k.yogi(0.05)),
    Row("yogi", "other", lambda k: k.yogi(0.05, 0.8, 0.95, 1e-5)),
    Row("scale_by_yogi", "", lambda k: k.scale_by_yogi(0.7, 0.9, 1e-4, 1e-5, 0.1)),
    Row("radam", "", lambda k: k.radam(0.05)),
    Row("radam", "other", lambda k: k.radam(0.05, 0.8, 0.95, 1e-4, 1e-5, 8.0, nesterov=True)),
    Row("scale_by_radam", "", lambda k: k.scale_by_radam(0.7, 0.99, 1e-4)),
    Row("novograd", "", lambda k: k.novograd(0.05)),
    Row("novograd", "other", lambda k: k.novograd(0.05, 0.8, 0.95, 1e-4, 1e-5, 0.1)),
    Row("scale_by_novograd", "", lambda k: k.scale_by_novograd(0.7, 0.9, 1e-4)),
    contrib("adopt", "", lambda k: k.adopt(0.05)),
    contrib("adopt", "nesterov", lambda k: k.adopt(0.05, 0.8, 0.95, 1e-3, nesterov=True)),
    contrib("scale_by_adopt", "", lambda k: k.scale_by_adopt(0.7, 0.9, 1e-1, use_clipping=False)),
    contrib("ademamix", "", lambda k: k.ademamix(0.05)),
    contrib(
        "ademamix",
        "other",
        lambda k: k.ademamix(
            0.05,
            0.8,
            0.95,
            0.99,
            lambda step: 0.01 * wide(step),
            1e-4,
            1e-5,
            weight_decay=0.1,
            mask=matrices,
        ),
    ),
    contrib("scale_by_ademamix", "", lambda k: k.scale_by_ademamix(0.7, 0.9, 0.99, 2.0, 1e-4)),
    contrib("simplified_ademamix", "", lambda k: k.simplified_ademamix(0.05)),
    contrib(
        "simplified_ademamix",
        "other",
        lambda k: k.simplified_ademamix(0.05, 0.8, 0.9, 2.0, 1e-4, 1e-5, 0.1, matrices),
    ),
    contrib(
        "scale_by_simplified_ademamix",
        "",
        lambda k: k.scale_by_simplified_ademamix(0.7, 0.9, 2.0, 1e-4),
    ),
    Row("signum", "", lambda k: k.signum(0.05)),
    Row("signum", "other", lambda k: k.signum(0.05, 0.5)),
    Row("lion", "", lambda k: k.lion(0.05)),
    Row("lion", "other", lambda k: k.lion(0.05, 0.7, 0.8, weight_decay=0.1, mask=matrices)),
    Row(
        "scale_by_lion",
        "smooth",
        lambda k: k.scale_by_lion(0.7, 0.8, mode="smooth", smooth_beta=2.0),
    ),
    Row("scale_by_lion", "refined", lambda k: k.scale_by_lion(0.7, 0.8, mode="refined")),
    Row("lars", "", lambda k: k.lars(0.05)),
    Row("lars", "other", lambda k: k.lars(0.05, 0.1, matrices, 0.5, 1e-3, matrices, 0.5, True)),
    Row("lamb", "", lambda k: k.lamb(0.05)),
    Row("lamb", "other", lambda k: k.lamb(0.05, 0.8, 0.95, 1e-4, 1e-5, 0.1, matrices), dtypes=WIDE),
    Row("fromage", "", lambda k: k.fromage(0.05)),
    Row(
        "fromage",
        "scheduled",
        lambda k: k.fromage(lambda step: 0.1 / (1.0 + wide(step)), 0.5),
        atol=1e-13,
    ),
    Row("scale_by_optimistic_gradient", "", lambda k: k.scale_by_optimistic_gradient(0.5, 2.0)),
    Row("optimistic_gradient_descent", "", lambda k: k.optimistic_gradient_descent(0.05)),
    Row(
        "optimistic_gradient_descent",
        "other",
        lambda k: k.optimistic_gradient_descent(0.05, 0.5, 2.0),
    ),
    Row("optimistic_adam_v2", "", lambda k: k.optimistic_adam_v2(0.05)),
    Row(
        "optimistic_adam_v2",
        "other",
        lambda k: k.optimistic_adam_v2(0.05, alpha=0.5, beta=2.0, nesterov=False),
    ),
    Row(
        "optimistic_adam_v2",
        "both eps",
        lambda k: k.optimistic_adam_v2(
            0.05, alpha=0.7, beta=1.5, b1=0.8, b2=0.95, eps=1e-4, eps_root=1e-6
        ),
    ),
    Row(
        "optimistic_adam",
        "",
        lambda k: k.optimistic_adam(0.05, 0.02),
        lambda o: o.optimistic_adam_v2(1.0, alpha=0.05, beta=0.02),
        note="optax warns that the old spelling is old",
    ),
    Row(
        "noisy_sgd",
        "",
        lambda k: k.noisy_sgd(0.05, 0.3, 0.7, 11),
        dtypes=("float64",),
        note="the same random numbers as optax's, from the same key",
    ),
    Row(
        "madgrad",
        "",
        lambda k: k.madgrad(0.05),
        lambda o: _float_counts(o, o.contrib.madgrad(0.05)),
        atol=1e-13,
        note=_ROOTS,
    ),
    Row(
        "madgrad",
        "other",
        lambda k: k.madgrad(0.05, 0.5, 0.1, 1e-3),
        lambda o: _float_counts(o, o.contrib.madgrad(0.05, 0.5, 0.1, 1e-3)),
        atol=1e-13,
        note=_ROOTS,
    ),
    Row(
        "adan",
        "",
        lambda k: k.adan(0.05),
        lambda o: _adan(o, 0.05, 0.98, 0.92, 0.99, 1e-8, 1e-8),
        note=_ADAN,
    ),
    Row(
        "adan",
        "other",
        lambda k: k.adan(0.05, 0.8, 0.7, 0.9, 1e-3, 1e-4, 0.1, matrices),
        lambda o: _adan(o, 0.05, 0.8, 0.7, 0.9, 1e-3, 1e-4, weight_decay=0.1, mask=matrices),
        note=_ADAN,
    ),
    Row(
        "scale_by_adan",
        "",
        lambda k: k.scale_by_adan(0.9, 0.5, 0.95, 1e-5),
        note="with b2 = ½ optax's 1 − b2 is b2",
    ),
    contrib(
        "adopt",
        "scheduled clip",
        lambda k: k.adopt(
            0.05, 0.8, 0.95, 1e-3, nesterov=True, clip_value_fn=lambda step: 0.5 + wide(step) ** 0.5
        ),
    ),
    contrib(
        "ademamix",
        "scheduled b3",
        lambda k: k.ademamix(
            0.05,
            0.8,
            0.95,
            lambda step: 0.9 + 0.05 * jax.numpy.tanh(wide(step) / 50.0),
            lambda step: 0.01 * wide(step),
            1e-4,
            1e-5,
            weight_decay=0.1,
            mask=matrices,
        ),
    ),
    contrib(
        "simplified_ademamix",
        "scheduled",
        lambda k: k.simplified_ademamix(
            0.05, 0.8, 0.9, lambda step: 0.01 * wide(step), 1e-4, 1e-5, 0.1, matrices
        ),
    ),
    Row("optimistic_adam", "one rate", lambda k: k.optimistic_adam(0.05)),
    Row(
        "optimistic_adam",
        "other",
        lambda k: k.optimistic_adam(0.05, 0.02, 0.8, 0.95, 1e-4, 1e-5, nesterov=False),
    ),
    Row(
        "optimistic_adam_v2",
        "scheduled",
        lambda k: k.optimistic_adam_v2(_falling, alpha=0.5, beta=2.0, nesterov=False),
    ),
    Row(
        "madgrad",
        "scheduled",
        lambda k: k.madgrad(_falling, 0.0, 0.1, 1e-3),
        lambda o: _float_counts(o, o.contrib.madgrad(_falling, 0.0, 0.1, 1e-3)),
        atol=1e-13,
        note=_ROOTS,
    ),
    Row(
        "scale_by_madgrad",
        "",
        lambda k: k.scale_by_madgrad(0.05, 0.5, 1e-2),
        lambda o: _float_counts(o, o.contrib.scale_by_madgrad(0.05, 0.5, 1e-2)),
        atol=1e-13,
        note=_ROOTS,
    ),
)
