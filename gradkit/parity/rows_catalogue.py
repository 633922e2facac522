"""Rows against optax: the rest of the first-order catalogue."""

from collections.abc import Callable
from typing import Any

import jax

from gradkit.parity.row import Row, matrices

_FLOAT64 = ("float64",)
_ROUNDED = "optax.adafactor link by link, for it rounds the decay to float32 also in float64"
_GROWS = "the rule itself lets a rounding error grow along the way"
_SCALARS = "optax does not take scalars"


def _contrib(part: str, case: str, make: Callable[[Any], Any], **more: Any) -> Row:
    """A row whose other half lives in ``optax.contrib``."""
    return Row(part, case, make, lambda o: make(o.contrib), **more)


def wide(step: Any) -> Any:
    """The step as optax's rates should get it: from an int32 one they compute in float32."""
    return jax.numpy.asarray(step, float)


def _exact_decay(step: Any, exponent: Any) -> Any:
    return 1.0 - (wide(step) + 1.0) ** (-exponent)


def _adafactor(
    o: Any, rate: float, least: int = 128, decay: float = 0.8, threshold: float | None = 1.0, momentum: float | None = None, weight_decay: float | None = None
) -> Any:
    """optax.adafactor, link by link, with its decay in float64."""
    return o.chain(
        o.scale_by_factored_rms(True, decay, 0, least, 1e-30, _exact_decay),
        o.identity() if threshold is None else o.clip_by_block_rms(threshold),
        o.scale_by_learning_rate(rate, flip_sign=False),
        o.scale_by_param_block_rms(),
        o.identity() if momentum is None else o.ema(momentum, debias=False),
        o.identity() if weight_decay is None else o.add_decayed_weights(weight_decay),
        o.scale(-1.0),
    )


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
    _contrib("ademamix", "other", lambda k: k.ademamix(0.05, 0.8, 0.95, 0.99, lambda step: 0.01 * wide(step), 1e-4, 1e-5, weight_decay=0.1, mask=matrices)),
    _contrib("scale_by_ademamix", "", lambda k: k.scale_by_ademamix(0.7, 0.9, 0.99, 2.0, 1e-4)),
    _contrib("simplified_ademamix", "", lambda k: k.simplified_ademamix(0.05)),
    _contrib("simplified_ademamix", "other", lambda k: k.simplified_ademamix(0.05, 0.8, 0.9, 2.0, 1e-4, 1e-5, 0.1, matrices)),
    _contrib("scale_by_simplified_ademamix", "", lambda k: k.scale_by_simplified_ademamix(0.7, 0.9, 2.0, 1e-4)),
    Row("signum", "", lambda k: k.signum(0.05)),
    Row("signum", "other", lambda k: k.signum(0.05, 0.5)),
    Row("lion", "", lambda k: k.lion(0.05)),
    Row("lion", "other", lambda k: k.lion(0.05, 0.7, 0.8, weight_decay=0.1, mask=matrices)),
    Row("scale_by_lion", "smooth", lambda k: k.scale_by_lion(0.7, 0.8, mode="smooth", smooth_beta=2.0)),
    Row("scale_by_lion", "refined", lambda k: k.scale_by_lion(0.7, 0.8, mode="refined")),
    Row("lars", "", lambda k: k.lars(0.05)),
    Row("lars", "other", lambda k: k.lars(0.05, 0.1, matrices, 0.5, 1e-3, matrices, 0.5, True)),
    Row("lamb", "", lambda k: k.lamb(0.05)),
    Row("lamb", "other", lambda k: k.lamb(0.05, 0.8, 0.95, 1e-4, 1e-5, 0.1, matrices)),
    Row("fromage", "", lambda k: k.fromage(0.05)),
    Row("fromage", "scheduled", lambda k: k.fromage(lambda step: 0.1 / (1.0 + wide(step)), 0.5), atol=1e-13),
    Row("retract", "", lambda k: k.chain(k.scale_by_trust_ratio(1e-6), k.retract(0.05)), lambda o: o.fromage(0.05), note="fromage's last link"),
    Row("scale_by_trust_ratio", "", lambda k: k.chain(k.scale_by_trust_ratio(0.1, 0.5, 1e-2), k.scale(-0.1))),
    Row("scale_by_param_block_norm", "", lambda k: k.chain(k.scale_by_param_block_norm(0.5), k.scale(-0.01))),
    Row("scale_by_param_block_rms", "", lambda k: k.chain(k.scale_by_param_block_rms(0.5), k.scale(-0.01))),
    Row("scale_by_optimistic_gradient", "", lambda k: k.scale_by_optimistic_gradient(0.5, 2.0)),
    Row("optimistic_gradient_descent", "", lambda k: k.optimistic_gradient_descent(0.05)),
    Row("optimistic_gradient_descent", "other", lambda k: k.optimistic_gradient_descent(0.05, 0.5, 2.0)),
    Row("optimistic_adam_v2", "", lambda k: k.optimistic_adam_v2(0.05)),
    Row("optimistic_adam_v2", "other", lambda k: k.optimistic_adam_v2(0.05, alpha=0.5, beta=2.0, nesterov=False)),
    Row(
        "optimistic_adam",
        "",
        lambda k: k.optimistic_adam(0.05, 0.02),
        lambda o: o.optimistic_adam_v2(1.0, alpha=0.05, beta=0.02),
        note="optax warns that the old spelling is old",
    ),
    Row("noisy_sgd", "", lambda k: k.noisy_sgd(0.05, 0.3, 0.7, 11), dtypes=("float64",), note="the same random numbers as optax's, from the same key"),
    _contrib(
        "madgrad",
        "",
        lambda k: k.madgrad(0.05),
        rtol=1e-6,
        atol=1e-6,
        dtypes=_FLOAT64,
        note="optax takes the root of its int32 counter in float32; against a NumPy oracle gradkit agrees to 1e-9",
    ),
    Row("keep_params_nonnegative", "", lambda k: k.chain(k.sgd(0.5), k.keep_params_nonnegative())),
    _contrib("normalize", "", lambda k: k.normalize()),
    Row("selective_transform", "", lambda k: k.selective_transform(k.adam(0.05), freeze_mask={"layer": True, "scalar": False, "empty": False})),
    Row("polyak_sgd", "", lambda k: k.polyak_sgd(), feed="loss", dtypes=_FLOAT64, most=60, note=_GROWS),
    Row(
        "polyak_sgd",
        "other",
        lambda k: k.polyak_sgd(0.5, 1.0, 0.1, 1e-3, "sps+"),
        feed="loss",
        dtypes=_FLOAT64,
        note="optax's scaling also scales the bound on the rate",
    ),
    Row("scale_by_polyak", "", lambda k: k.chain(k.scale_by_polyak(0.1, 0.5), k.scale(-1.0)), feed="loss", dtypes=_FLOAT64, most=60, note=_GROWS),
    Row(
        "clip_by_block_norm", "", lambda k: k.clip_by_block_norm(0.5), lambda o: o.stateless(_by_leaf(o, 0.5)), note="optax clips in every leaf by its RMS only"
    ),
    Row("adafactor", "", lambda k: k.adafactor(0.1), lambda o: _adafactor(o, 0.1), atol=1e-13, dtypes=_FLOAT64, note=_ROUNDED),
    Row(
        "adafactor",
        "factored, decayed",
        lambda k: k.adafactor(0.1, 2, 0.7, weight_decay_rate=0.01),
        lambda o: _adafactor(o, 0.1, 2, 0.7, weight_decay=0.01),
        atol=1e-13,
        dtypes=_FLOAT64,
        note=_ROUNDED,
    ),
    Row(
        "adafactor",
        "momentum, no clip",
        lambda k: k.adafactor(0.1, 2, momentum=0.9, clipping_threshold=None, dtype_momentum=None),
        lambda o: _adafactor(o, 0.1, 2, threshold=None, momentum=0.9),
        atol=1e-13,
        dtypes=_FLOAT64,
        note=_ROUNDED,
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
        lambda k: k.scale_by_factored_rms(True, 0.7, 0, 2, 1e-6, _exact_decay, clipping_threshold=0.3),
        lambda o: o.chain(o.scale_by_factored_rms(True, 0.7, 0, 2, 1e-6, _exact_decay), o.clip_by_block_rms(0.3)),
        dtypes=_FLOAT64,
        note="with a decay that is exact in float64",
    ),
    Row("sm3", "", lambda k: k.sm3(0.1), scalars=False, note=_SCALARS),
    Row("sm3", "momentum", lambda k: k.sm3(0.1, 0.5), scalars=False, note=_SCALARS),
    Row("scale_by_sm3", "fading", lambda k: k.scale_by_sm3(0.8, 0.95, 1e-3), scalars=False, note=_SCALARS),
    Row(
        "scale_by_distance_over_gradients",
        "",
        lambda k: k.scale_by_distance_over_gradients(1e-3, param_dtype="float64"),
        scalars=False,
        dtypes=_FLOAT64,
        note=_SCALARS,
    ),
    *(_contrib(part, case, make, feed="loss", dtypes=_FLOAT64) for part, case, make in _PARAMETER_FREE),
    Row("dowg", "", lambda k: k.dowg(), lambda o: o.contrib.dowg(), feed="loss", dtypes=_FLOAT64, most=50, note=_GROWS),
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
    Row("mechanize", "", lambda k: k.mechanize(k.sgd(0.1)), lambda o: o.contrib.mechanize(o.sgd(0.1)), most=120, dtypes=_FLOAT64),
)
