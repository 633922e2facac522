"""Adafactor."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, identity, transform
from gradkit.averages.ema import ema
from gradkit.schedules.decay import _decay_rate_pow, adafactor_decay_schedule
from gradkit.stores import IDENTITY, encoded, factored_axes
from gradkit.stores import factored as _factored
from gradkit.transforms.scale import scale, scale_by_learning_rate
from gradkit.transforms.trust_ratio import scale_by_param_block_rms
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: Any = 0.8,
    step_offset: int = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: Any = 1e-30,
    decay_rate_fn: Callable[[Any, Any], Any] = _decay_rate_pow,
    *,
    clipping_threshold: Any = None,
) -> Rule:
    """Divide by the root of an average of the squares that is kept as row and column means: Adafactor's direction.

    **Rule** u = g / √V, V_ij = R_i C_j / mean R, R and C the averages of the row and column means of |g|² + ε, of decay β_t = 1 − t^(−c). Leaves
    without two axes of the least size: V the average of |g|² + ε itself. With ``clipping_threshold=d`` each leaf's u / max(1, rms(u) / d).

    **Remembers** ``average``: ``rows`` and ``columns`` (4 / m + 4 / n bytes per parameter of an n × m matrix), or 4 bytes per parameter.

    Args:
      factored: whether to factor at all.
      decay_rate: c ≥ 0, a number or a schedule.
      step_offset: the step at which t starts over: see ``adafactor_decay_schedule``.
      min_dim_size_to_factor: the least length of the two longest axes of a leaf that is factored.
      epsilon: ε ≥ 0, added to the squares.
      decay_rate_fn: another rule for β, of (steps since the start, c).
      clipping_threshold: d > 0, a number or a schedule; None does not clip. The same as ``clip_by_block_rms(d)`` after it, at less than half the
        time: u is never written to memory.

    Raises:
      ValueError: a negative c, ε or offset; d ≤ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_factored_rms(min_dim_size_to_factor=2)
      >>> g = jnp.array([[1.0, 1.0], [1.0, 3.0]])
      >>> updates, state = tx.update(g, tx.init(g))
      >>> assert jnp.allclose(updates, g / jnp.sqrt(jnp.array([[1 / 3, 5 / 3], [5 / 3, 25 / 3]])))

    **Differs** from optax: with a ``step_offset`` the steps before it follow the schedule from 1 on, where optax raises a negative number to a power
    (NaN); β is exact in float64 too, where optax rounds it to float32; the means are float32 also for bfloat16 parameters; params are not needed.

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235.
    """
    check.non_negative(epsilon=epsilon)
    if clipping_threshold is not None:
        check.positive(clipping_threshold=clipping_threshold)
    decay = adafactor_decay_schedule(decay_rate, step_offset, decay_rate_fn)
    store, axes = (
        (_factored(min_dim_size_to_factor), factored_axes)
        if factored
        else (IDENTITY, lambda shape, least: None)
    )

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        def leaf(g: Any) -> Any:
            # XLA sums a bare square as it reads g, but writes to memory a square that has other terms, or that two sums share. So the mean
            # of |g|² + ε is taken as the mean of |g|², plus ε, and the columns have a g of their own, behind a barrier.
            kept, apart = (
                store.encode(numerics.abs_sq(x)) for x in (g, lax.optimization_barrier(g))
            )
            kept = kept | {"columns": apart["columns"]} if isinstance(kept, dict) else kept
            return jax.tree.map(lambda mean: mean + tree.factor_like(epsilon, mean), kept)

        squares = tree.map(leaf, updates)
        averages, state = ema(decay, debias=False).rule.update(squares, state, params, step=step)
        return tree.map(direction, updates, averages), state

    def direction(g: Any, kept: Any) -> Any:
        over_root = functools.partial(_over_root, axes=axes(g.shape, min_dim_size_to_factor))
        if clipping_threshold is None:
            return over_root(g, kept)
        # Its rms has a u of its own, made of the same numbers behind a barrier: XLA writes to memory what two computations share.
        size = numerics.rms(over_root(*lax.optimization_barrier((g, kept))))
        return over_root(g, kept) / tree.factor_like(
            jnp.maximum(1.0, size / tree.factor_like(clipping_threshold, size)), g
        )

    return Rule(
        lambda params: ema(decay, debias=False).rule.init(encoded(store, params, real=True)), update
    )


def _over_root(g: Any, kept: Any, axes: tuple[int, int] | None) -> Any:
    """The quotient g / √V, as a product with the inverse roots of the means: two roots for n + m numbers instead of one for n · m, and so cheap
    that XLA computes it again where the update needs it instead of keeping it. V itself is never formed.
    """
    if axes is None:
        return numerics.divide(g, numerics.sqrt(kept))
    rows = numerics.divide(kept["rows"], jnp.mean(kept["rows"], axes[0], keepdims=True))
    return g * _inverse_root(rows).astype(g.dtype) * _inverse_root(kept["columns"]).astype(g.dtype)


def _inverse_root(x: Any) -> Any:
    return numerics.divide(jnp.ones_like(x), numerics.sqrt(x))


def _constant(i: Any, decay: Any) -> Any:
    return decay


@transform
def adafactor(
    learning_rate: Any = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: Any = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Any = 1.0,
    momentum: Any = None,
    dtype_momentum: Any = "float32",
    weight_decay_rate: Any = None,
    eps: Any = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any = None,
) -> Transform:
    """Adafactor: RMSprop with a factored second moment, steps relative to the size of the weights.

    **Rule** Δθ = −(α rms⁺(θ) û + λ θ), û = u / max(1, rms(u) / d), u as in ``scale_by_factored_rms``, rms⁺ = max(rms, 10⁻³), each rms that of a leaf;
    with ``momentum=μ`` the ema of α rms⁺(θ) û in its place.

    **Remembers** ``scale_by_factored_rms``: n + m numbers for an n × m matrix; 4 bytes per parameter more with momentum. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule, relative to the size of the weights; None is 1.
      min_dim_size_to_factor: the least length of the two longest axes of a leaf that is factored.
      decay_rate: c ≥ 0 in β = 1 − t^(−c).
      decay_offset: the step at which t starts over: see ``adafactor_decay_schedule``.
      multiply_by_parameter_scale: multiply by rms⁺(θ).
      clipping_threshold: d > 0, or None.
      momentum: μ in [0, 1), or None.
      dtype_momentum: dtype of the momentum's memory, or a `Store`.
      weight_decay_rate: λ ≥ 0, a number or a schedule, not multiplied by α; or None.
      eps: ε ≥ 0, added to the squares.
      factored: whether to factor at all.
      weight_decay_mask: which leaves decay.

    Raises:
      ValueError: a rate, decay, threshold or offset out of range; no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.adafactor(0.5), jnp.array([3.0, -3.0])
      >>> updates, _ = tx.update(jnp.array([7.0, 0.1]), tx.init(w), w)
      >>> assert jnp.allclose(updates, jnp.array([-1.5, -1.5]))  # 0.5 · rms θ · sign g

    **Differs** from optax as ``scale_by_factored_rms`` does; from torch, whose rate is min(α, 1/√t), whose weight decay is multiplied by α, and which factors
    every matrix.

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235.
    """
    return chain(
        scale_by_factored_rms(
            factored,
            decay_rate,
            decay_offset,
            min_dim_size_to_factor,
            eps,
            clipping_threshold=clipping_threshold,
        ),
        scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_param_block_rms() if multiply_by_parameter_scale else identity(),
        identity()
        if momentum is None
        else ema(momentum, debias=False, accumulator_dtype=dtype_momentum),
        identity()
        if weight_decay_rate is None
        else add_decayed_weights(weight_decay_rate, weight_decay_mask),
        scale(-1.0),
    )
