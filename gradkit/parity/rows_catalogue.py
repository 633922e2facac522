"""Rows against optax: the rest of the first-order catalogue."""

import math
from collections.abc import Callable
from typing import Any

import jax

from gradkit.parity.row import WIDE, Row, matrices

_FLOAT64 = ("float64",)
_ROUNDED = "optax.adafactor link by link, for it rounds the decay to float32 also in float64"
_GROWS = "the rule itself lets a rounding error grow along the way, where the gradient answers to it: 200 steps on given gradients in a row of its own"
_GIVEN = "on given gradients, where no rounding error comes back"
_SCALARS = "optax does not take scalars"
_ADAN = "optax.adan with b2 where it has 1 − b2, as in the paper: there the weight of the difference falls with its memory"
_ROOTS = "optax takes the root of its int32 counter in float32 also in float64: here its counter is a float; z − θ nearly cancels"


def _contrib(part: str, case: str, make: Callable[[Any], Any], **more: Any) -> Row:
    """A row whose other half lives in ``optax.contrib``."""
    return Row(part, case, make, lambda o: make(o.contrib), **more)


def wide(step: Any) -> Any:
    """The step as optax's rates should get it: from an int32 one they compute in float32."""
    return jax.numpy.asarray(step, float)


def _exact_decay(step: Any, exponent: Any) -> Any:
    return 1.0 - (wide(step) + 1.0) ** (-exponent)


def _swings(step: int) -> dict[str, Any]:
    """A loss that goes up and down."""
    return {"value": 3.0 + math.sin(step)}


def _since(step: Any, exponent: Any) -> Any:
    """What is left of the decay by the steps since an offset: before it those since the start, which are 30 more."""
    return _exact_decay(jax.numpy.where(step < 0, step + 30, step), exponent)


def _adafactor(
    o: Any,
    rate: float | None,
    least: int = 128,
    decay: float = 0.8,
    threshold: float | None = 1.0,
    momentum: float | None = None,
    weight_decay: float | None = None,
    *,
    offset: int = 0,
    decay_fn: Callable[[Any, Any], Any] = _exact_decay,
    by_size: bool = True,
    eps: float = 1e-30,
    factored: bool = True,
    mask: Any = None,
) -> Any:
    """optax.adafactor, link by link, with its decay in float64."""
    return o.chain(
        o.scale_by_factored_rms(factored, decay, offset, least, eps, decay_fn),
        o.identity() if threshold is None else o.clip_by_block_rms(threshold),
        o.identity() if rate is None else o.scale_by_learning_rate(rate, flip_sign=False),
        o.scale_by_param_block_rms() if by_size else o.identity(),
        o.identity() if momentum is None else o.ema(momentum, debias=False),
        o.identity() if weight_decay is None else o.add_decayed_weights(weight_decay, mask),
        o.scale(-1.0),
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
    """Optax's transform with a counter of its own in the wide float, so that a root or a power of it is taken there."""

    def init(params: Any) -> Any:
        return jax.tree.map(
            lambda x: wide(x) if jax.numpy.issubdtype(x.dtype, jax.numpy.integer) else x,
            tx.init(params),
        )

    return o.GradientTransformation(init, tx.update)


def _by_leaf(o: Any, bound: float) -> Callable[[Any, Any], Any]:
    """Optax's clip by the global norm, of one leaf at a time."""
    one = o.clip_by_global_norm(bound)
    return lambda updates, params: jax.tree.map(lambda u: one.update(u, o.EmptyState())[0], updates)


_PARAMETER_FREE: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
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

CATALOGUE = (
    Row("adabelief", "", lambda k: k.adabelief(0.05)),
    Row("adabelief", "other", lambda k: k.adabelief(0.05, 0.8, 0.95, 1e-4, 1e-5, nesterov=True)),
    Row("scale_by_belief", "", lambda k: k.scale_by_belief(0.7, 0.9, 1e-8, 1e-8)),
    _contrib("acprop", "", lambda k: k.acprop(0.05)),
    _contrib("acprop", "other", lambda k: k.acprop(0.05, 0.8, 0.95, 1e-4, 1e-5, 0.1, matrices)),
    _contrib("scale_by_acprop", "", lambda k: k.scale_by_acprop(0.7, 0.9, 1e-8, 1e-8)),
    Row("yogi", "", lambda k: k.yogi(0.05)),
    Row("yogi", "other", lambda k: k.yogi(0.05, 0.8, 0.95, 1e-5)),
    Row("scale_by_yogi", "", lambda k: k.scale_by_yogi(0.7, 0.9, 1e-4, 1e-5, 0.1)),
    Row("radam", "", lambda k: k.radam(0.05)),
    Row("radam", "other", lambda k: k.radam(0.05, 0.8, 0.95, 1e-4, 1e-5, 8.0, nesterov=True)),
    Row("scale_by_radam", "", lambda k: k.scale_by_radam(0.7, 0.99, 1e-4)),
    Row("novograd", "", lambda k: k.novograd(0.05)),
    Row("novograd", "other", lambda k: k.novograd(0.05, 0.8, 0.95, 1e-4, 1e-5, 0.1)),
    Row("scale_by_novograd", "", lambda k: k.scale_by_novograd(0.7, 0.9, 1e-4)),
    _contrib("adopt", "", lambda k: k.adopt(0.05)),
    _contrib("adopt", "nesterov", lambda k: k.adopt(0.05, 0.8, 0.95, 1e-3, nesterov=True)),
    _contrib("scale_by_adopt", "", lambda k: k.scale_by_adopt(0.7, 0.9, 1e-1, use_clipping=False)),
    _contrib("ademamix", "", lambda k: k.ademamix(0.05)),
    _contrib(
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
    _contrib("scale_by_ademamix", "", lambda k: k.scale_by_ademamix(0.7, 0.9, 0.99, 2.0, 1e-4)),
    _contrib("simplified_ademamix", "", lambda k: k.simplified_ademamix(0.05)),
    _contrib(
        "simplified_ademamix",
        "other",
        lambda k: k.simplified_ademamix(0.05, 0.8, 0.9, 2.0, 1e-4, 1e-5, 0.1, matrices),
    ),
    _contrib(
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
    Row(
        "retract",
        "",
        lambda k: k.chain(k.scale_by_trust_ratio(1e-6), k.retract(0.05)),
        lambda o: o.fromage(0.05),
        note="fromage's last link",
    ),
    Row(
        "scale_by_trust_ratio",
        "",
        lambda k: k.chain(k.scale_by_trust_ratio(0.1, 0.5, 1e-2), k.scale(-0.1)),
        dtypes=WIDE,
    ),
    Row(
        "scale_by_param_block_norm",
        "",
        lambda k: k.chain(k.scale_by_param_block_norm(0.5), k.scale(-0.01)),
        dtypes=WIDE,
    ),
    Row(
        "scale_by_param_block_rms",
        "",
        lambda k: k.chain(k.scale_by_param_block_rms(0.5), k.scale(-0.01)),
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
    Row("keep_params_nonnegative", "", lambda k: k.chain(k.sgd(0.5), k.keep_params_nonnegative())),
    _contrib("normalize", "", lambda k: k.normalize()),
    Row(
        "selective_transform",
        "",
        lambda k: k.selective_transform(
            k.adam(0.05), freeze_mask={"layer": True, "scalar": False, "empty": False}
        ),
    ),
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
        "clip_by_block_norm",
        "",
        lambda k: k.clip_by_block_norm(0.5),
        lambda o: o.stateless(_by_leaf(o, 0.5)),
        note="optax clips in every leaf by its RMS only",
    ),
    Row(
        "adafactor",
        "",
        lambda k: k.adafactor(0.1),
        lambda o: _adafactor(o, 0.1),
        dtypes=_FLOAT64,
        note=_ROUNDED,
    ),
    Row(
        "adafactor",
        "factored, decayed",
        lambda k: k.adafactor(0.1, 2, 0.7, weight_decay_rate=0.01),
        lambda o: _adafactor(o, 0.1, 2, 0.7, weight_decay=0.01),
        dtypes=_FLOAT64,
        note=_ROUNDED,
    ),
    Row(
        "adafactor",
        "momentum, no clip",
        lambda k: k.adafactor(0.1, 2, momentum=0.9, clipping_threshold=None, dtype_momentum=None),
        lambda o: _adafactor(o, 0.1, 2, threshold=None, momentum=0.9),
        dtypes=_FLOAT64,
        note=_ROUNDED,
    ),
    Row(
        "adafactor",
        "not factored",
        lambda k: k.adafactor(
            None,
            2,
            0.6,
            multiply_by_parameter_scale=False,
            clipping_threshold=0.5,
            weight_decay_rate=0.1,
            eps=1e-3,
            factored=False,
            weight_decay_mask=matrices,
        ),
        lambda o: _adafactor(
            o,
            None,
            2,
            0.6,
            0.5,
            weight_decay=0.1,
            by_size=False,
            eps=1e-3,
            factored=False,
            mask=matrices,
        ),
        dtypes=_FLOAT64,
        note=_ROUNDED,
    ),
    Row(
        "adafactor",
        "factored, eps",
        lambda k: k.adafactor(0.1, 2, eps=1e-2),
        lambda o: _adafactor(o, 0.1, 2, eps=1e-2),
        dtypes=_FLOAT64,
        note=_ROUNDED,
    ),
    Row(
        "adafactor",
        "decay_offset",
        lambda k: k.adafactor(0.1, 2, 0.7, decay_offset=30),
        lambda o: _adafactor(o, 0.1, 2, 0.7, offset=30, decay_fn=_since),
        dtypes=_FLOAT64,
        note=_ROUNDED
        + "; before the offset optax raises a negative number to a power, here the steps count from the start",
    ),
    Row(
        "scale_by_factored_rms",
        "",
        lambda k: k.scale_by_factored_rms(True, 0.7, 0, 2, 1e-6, _exact_decay),
        dtypes=_FLOAT64,
        note="with a decay that is exact in float64",
    ),
    Row(
        "scale_by_factored_rms",
        "clipped",
        lambda k: k.scale_by_factored_rms(
            True, 0.7, 0, 2, 1e-6, _exact_decay, clipping_threshold=0.3
        ),
        lambda o: o.chain(
            o.scale_by_factored_rms(True, 0.7, 0, 2, 1e-6, _exact_decay), o.clip_by_block_rms(0.3)
        ),
        dtypes=_FLOAT64,
        note="with a decay that is exact in float64",
    ),
    Row("sm3", "", lambda k: k.sm3(0.1), scalars=False, note=_SCALARS),
    Row("sm3", "momentum", lambda k: k.sm3(0.1, 0.5), scalars=False, note=_SCALARS),
    Row(
        "scale_by_sm3",
        "fading",
        lambda k: k.scale_by_sm3(0.8, 0.95, 1e-3),
        scalars=False,
        note=_SCALARS,
    ),
    Row(
        "scale_by_distance_over_gradients",
        "",
        lambda k: k.scale_by_distance_over_gradients(1e-3, param_dtype="float64"),
        scalars=False,
        dtypes=_FLOAT64,
        note=_SCALARS,
    ),
    *(
        _contrib(part, case, make, feed="loss", dtypes=_FLOAT64)
        for part, case, make in _PARAMETER_FREE
    ),
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
)
