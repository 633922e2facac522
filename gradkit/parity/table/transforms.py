"""Rows against optax: chains, scaling, clipping, decay, penalties, noise."""

import math
from collections.abc import Callable
from typing import Any

import jax

from gradkit.parity.row import WIDE, Row, contrib, fine, matrices, start


def _double(updates: Any, params: Any) -> Any:
    return jax.tree.map(lambda u: 2.0 * u, updates)


def _between(updates: Any, params: Any) -> Any:
    return jax.tree.map(lambda u: jax.numpy.clip(u, -0.1, 0.7), updates)


_FLOAT64 = ("float64",)


def _by_leaf(o: Any, bound: float) -> Callable[[Any, Any], Any]:
    """Optax's clip by the global norm, of one leaf at a time."""
    one = o.clip_by_global_norm(bound)
    return lambda updates, params: jax.tree.map(lambda u: one.update(u, o.EmptyState())[0], updates)


def _stalls(step: int) -> dict[str, Any]:
    """A loss that falls and then stays."""
    return {"value": 3.0 + math.exp(-step / 10) + (0.5 if step < 60 else 0.0)}


def _noisy(step: int) -> dict[str, Any]:
    """A loss that falls to a level and stays there, with the noise of batches."""
    return {"value": 3.0 + 2.0 * math.exp(-step / 20) + 0.3 * math.sin(step * step)}


def _below_zero(step: int) -> dict[str, Any]:
    """A log-likelihood with the other sign: it falls below zero, stays, and falls again."""
    return {"value": -1.0 - step // 40 + math.exp(-step / 10) + 1e-3 * math.sin(7 * step)}


def _constrained(o: Any, projection: Callable[[Any], Any]) -> Any:
    """Optax's projection of what the parameters would be, as the last transform of a chain."""

    def update(updates: Any, params: Any) -> Any:
        near = projection(jax.tree.map(jax.numpy.add, params, updates))
        return jax.tree.map(jax.numpy.subtract, near, params)

    return o.chain(o.sgd(0.3), o.stateless(update))


def _projected(name: str, most: int | None = None, **options: Any) -> Row:
    """``project`` with a projection that both libraries have."""

    def reference(o: Any) -> Any:
        projection = getattr(o.projections, f"projection_{name}")
        return _constrained(o, lambda tree: projection(tree, **options))

    return Row(
        "project",
        name.replace("_", " "),
        lambda k: k.chain(
            k.sgd(0.3), k.project(getattr(k.projections, f"projection_{name}"), **options)
        ),
        reference,
        atol=1e-14,
        dtypes=WIDE,
        note="optax has the projection, not the transform, and keeps zeros off a sphere",
        most=most,
    )


def _columns(tree: Any, length: Callable[[Any], Any]) -> Any:
    """Matrices with columns of another norm; other leaves as they are."""

    def leaf(x: Any) -> Any:
        norm = jax.numpy.sqrt(jax.numpy.sum(x * x, axis=tuple(range(x.ndim - 1)), keepdims=True))
        return x * (length(norm) / norm) if x.ndim > 1 else x

    return jax.tree.map(leaf, tree)


TRANSFORMS: tuple[Row, ...] = (
    Row("identity", "", lambda k: k.identity()),
    Row("set_to_zero", "", lambda k: k.set_to_zero()),
    Row(
        "chain",
        "",
        lambda k: k.chain(
            k.clip_by_global_norm(1.0),
            k.scale_by_adam(),
            k.add_decayed_weights(0.01),
            k.scale_by_learning_rate(0.01),
        ),
    ),
    Row(
        "chain",
        "order",
        lambda k: k.chain(
            k.scale_by_adam(), k.clip_by_global_norm(1.0), k.scale_by_learning_rate(0.01)
        ),
    ),
    Row(
        "named_chain", "", lambda k: k.named_chain(("speed", k.trace(0.9)), ("rate", k.scale(-0.1)))
    ),
    Row("stateless", "", lambda k: k.chain(k.stateless(_double)), lambda o: o.stateless(_double)),
    Row("scale", "", lambda k: k.scale(-0.3)),
    Row("scale_by_learning_rate", "", lambda k: k.scale_by_learning_rate(0.3)),
    Row(
        "scale_by_learning_rate",
        "ascending",
        lambda k: k.scale_by_learning_rate(0.3, flip_sign=False),
    ),
    Row(
        "scale_by_schedule",
        "function",
        lambda k: k.scale_by_schedule(lambda step: 1.0 / (step + 1).astype(float)),
    ),
    Row("clip", "", lambda k: k.clip(0.5)),
    Row(
        "clip",
        "two bounds",
        lambda k: k.clip(0.7, -0.1),
        lambda o: o.stateless(_between),
        note="optax has one bound",
    ),
    Row("clip_by_global_norm", "", lambda k: k.clip_by_global_norm(1.0)),
    Row("clip_by_block_rms", "", lambda k: k.clip_by_block_rms(0.5)),
    Row("adaptive_grad_clip", "", lambda k: k.adaptive_grad_clip(0.1), dtypes=WIDE),
    Row("adaptive_grad_clip", "eps", lambda k: k.adaptive_grad_clip(0.01, eps=0.5), dtypes=WIDE),
    Row("normalize_by_update_norm", "", lambda k: k.normalize_by_update_norm()),
    Row("normalize_by_update_norm", "scaled", lambda k: k.normalize_by_update_norm(-0.5, eps=0.1)),
    Row("add_decayed_weights", "", lambda k: k.chain(k.add_decayed_weights(0.1), k.scale(-0.01))),
    Row(
        "add_decayed_weights",
        "masked",
        lambda k: k.chain(k.add_decayed_weights(0.1, mask=matrices), k.scale(-0.01)),
    ),
    Row(
        "add_decayed_weights",
        "mask as a tree",
        lambda k: k.chain(k.add_decayed_weights(0.1, mask=matrices(start())), k.scale(-0.01)),
    ),
    Row(
        "add_decayed_weights",
        "scheduled",
        lambda k: k.chain(
            k.add_decayed_weights(fine(k, k.linear_schedule(0.2, 0.05, 150))), k.scale(-0.01)
        ),
    ),
    Row(
        "add_l2_penalty",
        "",
        lambda k: k.chain(k.add_l2_penalty(0.1), k.adam(0.01)),
        lambda o: o.chain(o.add_decayed_weights(0.1), o.adam(0.01)),
        note="coupled: before the averages",
    ),
    Row("scale_by_sign", "", lambda k: k.scale_by_sign()),
    Row("centralize", "", lambda k: k.centralize()),
    Row("zero_nans", "", lambda k: k.zero_nans(), feed="nans"),
    Row(
        "add_noise",
        "",
        lambda k: k.add_noise(0.1, 0.55, key=7),
        dtypes=("float64",),
        note="the same random numbers as optax's, from the same key",
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
    _projected("non_negative"),
    _projected("simplex", scale=1.5),
    _projected("l1_ball", scale=2.0),
    _projected("l1_sphere", most=25, scale=2.0),
    _projected("l2_ball", scale=1.2),
    _projected("l2_sphere", scale=1.2),
    Row(
        "max_norm",
        "",
        lambda k: k.chain(k.sgd(0.3), k.max_norm(0.8)),
        lambda o: _constrained(
            o, lambda tree: _columns(tree, lambda norm: jax.numpy.minimum(norm, 0.8))
        ),
        note="optax has none: Keras' MaxNorm of the columns, without its epsilon",
    ),
    Row(
        "unit_norm",
        "",
        lambda k: k.chain(k.sgd(0.3), k.unit_norm()),
        lambda o: _constrained(o, lambda tree: _columns(tree, jax.numpy.ones_like)),
        note="optax has none: Keras' UnitNorm of the columns, without its epsilon",
    ),
    Row("keep_params_nonnegative", "", lambda k: k.chain(k.sgd(0.5), k.keep_params_nonnegative())),
    contrib("normalize", "", lambda k: k.normalize()),
    Row(
        "clip_by_block_norm",
        "",
        lambda k: k.clip_by_block_norm(0.5),
        lambda o: o.stateless(_by_leaf(o, 0.5)),
        note="optax clips in every leaf by its RMS only",
    ),
    Row(
        "reduce_on_plateau",
        "positive values",
        lambda k: k.chain(k.sgd(0.1), k.reduce_on_plateau(0.5, 5, 1e-3, 0.0, 2)),
        lambda o: o.chain(o.sgd(0.1), o.contrib.reduce_on_plateau(0.5, 5, 1e-3, 0.0, 2)),
        extras=_stalls,
        dtypes=_FLOAT64,
        note="on values below zero optax's relative tolerance has the wrong sign",
    ),
    Row(
        "reduce_on_plateau",
        "accumulated",
        lambda k: k.chain(k.sgd(0.1), k.reduce_on_plateau(0.6, 2, 1e-3, 1e-2, 4, 5, 0.2)),
        lambda o: o.chain(o.sgd(0.1), o.contrib.reduce_on_plateau(0.6, 2, 1e-3, 1e-2, 4, 5, 0.2)),
        extras=_noisy,
        dtypes=_FLOAT64,
    ),
    Row(
        "reduce_on_plateau",
        "values below zero",
        lambda k: k.chain(k.sgd(0.1), k.reduce_on_plateau(0.5, 6, 0.0, 1e-2, 3, min_scale=1e-3)),
        lambda o: o.chain(
            o.sgd(0.1), o.contrib.reduce_on_plateau(0.5, 6, 0.0, 1e-2, 3, min_scale=1e-3)
        ),
        extras=_below_zero,
        dtypes=_FLOAT64,
        note="without the relative tolerance, for the sake of optax",
    ),
    Row(
        "normalize",
        "before sgd",
        lambda k: k.chain(k.normalize(), k.sgd(0.5)),
        lambda o: o.chain(o.contrib.normalize(), o.sgd(0.5)),
    ),
)
