"""Rows against optax: optimizers whose preconditioner is stored factored or as a cover."""

from collections.abc import Callable
from typing import Any

import jax

from gradkit.parity.row import Row, matrices, wide

_FLOAT64 = ("float64",)

_ROUNDED = "optax.adafactor link by link, for it rounds the decay to float32 also in float64"

_SCALARS = "optax does not take scalars"


def _exact_decay(step: Any, exponent: Any) -> Any:
    return 1.0 - (wide(step) + 1.0) ** (-exponent)


def _since(step: Any, exponent: Any) -> Any:
    """The decay by the steps since an offset; before it by those since the start, 30 more."""
    return _exact_decay(jax.numpy.where(step < 0, step + 30, step), exponent)


def adafactor(
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


def _capped(step: Any, exponent: Any) -> Any:
    return jax.numpy.minimum(_exact_decay(step, exponent), 0.9)


FACTORED: tuple[Row, ...] = (
    Row(
        "adafactor",
        "",
        lambda k: k.adafactor(0.1),
        lambda o: adafactor(o, 0.1),
        dtypes=_FLOAT64,
        note=_ROUNDED,
    ),
    Row(
        "adafactor",
        "factored, decayed",
        lambda k: k.adafactor(0.1, 2, 0.7, weight_decay_rate=0.01),
        lambda o: adafactor(o, 0.1, 2, 0.7, weight_decay=0.01),
        dtypes=_FLOAT64,
        note=_ROUNDED,
    ),
    Row(
        "adafactor",
        "momentum, no clip",
        lambda k: k.adafactor(0.1, 2, momentum=0.9, clipping_threshold=None, dtype_momentum=None),
        lambda o: adafactor(o, 0.1, 2, threshold=None, momentum=0.9),
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
        lambda o: adafactor(
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
        lambda o: adafactor(o, 0.1, 2, eps=1e-2),
        dtypes=_FLOAT64,
        note=_ROUNDED,
    ),
    Row(
        "adafactor",
        "decay_offset",
        lambda k: k.adafactor(0.1, 2, 0.7, decay_offset=30),
        lambda o: adafactor(o, 0.1, 2, 0.7, offset=30, decay_fn=_since),
        dtypes=_FLOAT64,
        note=_ROUNDED + "; before the offset optax raises a negative number to a power, "
        "here the steps count from the start",
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
        "adafactor",
        "no rate",
        lambda k: k.adafactor(min_dim_size_to_factor=2),
        lambda o: adafactor(o, None, 2),
        dtypes=_FLOAT64,
        atol=1e-13,
        note=_ROUNDED + "; a parameter crosses zero",
    ),
    Row(
        "scale_by_factored_rms",
        "capped decay",
        lambda k: k.scale_by_factored_rms(True, 0.7, 0, 2, 1e-6, _capped),
        dtypes=_FLOAT64,
    ),
)
