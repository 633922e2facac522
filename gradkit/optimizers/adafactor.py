"""The factored family: second moments kept as row and column means, so that a matrix of n × m costs n + m numbers.

    Δθ_t = −α_t · clip(g_t / √V_t) · max(rms θ, 10⁻³)        V = R Cᵀ / mean R        R, C = ema of the row and column means of g²

| | φ | ψ | and then |
|---|---|---|---|
| ``adafactor`` | ``latest``, or an ``ema`` at the end | ``ema`` of g² through ``factored`` | each leaf's rms clipped, times rms θ |
| ``came`` | ``ema`` of the clipped step | ``ema`` of (step − its ema)² through ``factored`` | |

The decay of the second moment is 1 − t^(−c): 0 at the first step, so that no debiasing is needed, and towards 1.
"""

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
from gradkit._schedule import rate_at, schedule
from gradkit._transform import Transform, chain, identity, transform
from gradkit.averages.averages import ema
from gradkit.averages.factored import factored as _factored
from gradkit.averages.factored import factored_axes, through
from gradkit.averages.stores import IDENTITY, encoded
from gradkit.transforms.blocks import scale_by_param_block_rms
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.scale import scale, scale_by_learning_rate


def _decay_rate_pow(i: Any, exponent: Any = 0.8) -> Any:
    """1 − t^(−c), t = i + 1, without the cancellation at large t."""
    t = jnp.asarray(i + 1, float)
    return -jnp.expm1(-tree.factor_like(exponent, t) * jnp.log(t))


@schedule
def power_decay(decay_rate: Any = 0.8, step_offset: int = 0, decay_rate_fn: Callable[[Any, Any], Any] = _decay_rate_pow) -> Callable[[Any], Any]:
    """Adafactor's schedule of its decay.

    **Rule** β = 1 − t^(−c), t = step + 1; from the step ``step_offset`` on t counts from 1 again, and the average forgets what was before.

    Args:
      decay_rate: c ≥ 0, a number or a schedule.
      step_offset: the step at which t starts over, for fine-tuning under a clock that goes on.
      decay_rate_fn: another rule, of (steps since the start, c).

    Example:
      >>> import gradkit as gk
      >>> beta = gk.power_decay(0.5, step_offset=10)
      >>> assert [float(beta(step)) for step in (0, 3, 10, 13)] == [0.0, 0.5, 0.0, 0.5]

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, section 7.2.
    """
    check.non_negative(decay_rate=decay_rate)
    check.integer(0, step_offset=step_offset)

    def value(step: Any) -> Any:
        since = jnp.where(step >= step_offset, step - step_offset, step)
        return decay_rate_fn(since, rate_at(decay_rate, step))

    return value


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
      step_offset: the step at which t starts over: see ``power_decay``.
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
    decay = power_decay(decay_rate, step_offset, decay_rate_fn)
    store, axes = (_factored(min_dim_size_to_factor), factored_axes) if factored else (IDENTITY, lambda shape, least: None)

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        def leaf(g: Any) -> Any:
            # XLA sums a bare square as it reads g, but writes to memory a square that has other terms, or that two sums share. So the mean
            # of |g|² + ε is taken as the mean of |g|², plus ε, and the columns have a g of their own, behind a barrier.
            kept, apart = (store.encode(numerics.abs_sq(x)) for x in (g, lax.optimization_barrier(g)))
            kept = kept | {"columns": apart["columns"]} if isinstance(kept, dict) else kept
            return jax.tree.map(lambda mean: mean + tree.factor_like(epsilon, mean), kept)

        squares = tree.map(leaf, updates)
        averages, memory = ema(decay, debias=False).rule.update(squares, memory, params, step=step)
        return tree.map(direction, updates, averages), memory

    def direction(g: Any, kept: Any) -> Any:
        over_root = functools.partial(_over_root, axes=axes(g.shape, min_dim_size_to_factor))
        if clipping_threshold is None:
            return over_root(g, kept)
        # Its rms has a u of its own, made of the same numbers behind a barrier: XLA writes to memory what two computations share.
        size = numerics.rms(over_root(*lax.optimization_barrier((g, kept))))
        return over_root(g, kept) / tree.factor_like(jnp.maximum(1.0, size / tree.factor_like(clipping_threshold, size)), g)

    return Rule(lambda params: ema(decay, debias=False).rule.init(encoded(store, params, real=True)), update)


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
      decay_offset: the step at which t starts over: see ``power_decay``.
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
        scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps, clipping_threshold=clipping_threshold),
        scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_param_block_rms() if multiply_by_parameter_scale else identity(),
        identity() if momentum is None else ema(momentum, debias=False, accumulator_dtype=dtype_momentum),
        identity() if weight_decay_rate is None else add_decayed_weights(weight_decay_rate, weight_decay_mask),
        scale(-1.0),
    )


@transform
def scale_by_confidence(b1: Any = 0.9, b3: Any = 0.9999, eps: Any = 1e-16, min_dim_size_to_factor: int = 2) -> Rule:
    """Average the steps, and trust the average less where the steps disagree with it: CAME's second half.

    **Rule** m = ema(u; b1), not debiased; on factored leaves m / √S, S = ema(|u − m|² + ε; b3) as row and column means, not debiased; on others m.

    **Remembers** ``moment`` (4 bytes per parameter) and ``instability``: ``rows`` and ``columns`` of factored leaves, None for others.

    Args:
      b1: decay of the moment, in [0, 1).
      b3: decay of the instability, in [0, 1).
      eps: ε ≥ 0, added to the squares.
      min_dim_size_to_factor: the least length of the two longest axes of a leaf that is factored.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_confidence(0.5, 0.75, eps=0.0)
      >>> u = jnp.full((2, 2), 4.0)
      >>> assert jnp.allclose(tx.update(u, tx.init(u))[0], 2 / (0.25 * 2**2) ** 0.5)

    **Differs** from the paper in leaves that are not factored, which it leaves open: they take m alone, as in the authors' code.

    Reference: Luo et al. 2023, https://arxiv.org/abs/2307.02047, algorithm 2.
    """
    check.decay(b1=b1, b3=b3)
    check.non_negative(eps=eps)
    check.integer(0, min_dim_size_to_factor=min_dim_size_to_factor)
    average, instability = ema(b1, debias=False), through(ema(b3, debias=False), _factored(min_dim_size_to_factor), eps)

    def matrices(updates: Any) -> Any:
        return tree.map(lambda u: None if factored_axes(u.shape, min_dim_size_to_factor) is None else u, updates)

    def init(params: Any) -> Any:
        return {"moment": average.rule.init(params), "instability": instability.rule.init(matrices(tree.magnitudes_like(params)))}

    def update(updates: Any, memory: Any, params: Any) -> Any:
        moments, moment = average.rule.update(updates, memory["moment"], params)
        apart = matrices(tree.map(lambda u, m: numerics.abs_sq(u - m), updates, moments))
        spread, kept = instability.rule.update(apart, memory["instability"], params)

        def leaf(m: Any, s: Any) -> Any:
            return m if s is None else numerics.divide(m, numerics.sqrt(s))

        return tree.map(leaf, moments, spread), {"moment": moment, "instability": kept}

    return Rule(init, update)


@transform
def came(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    b3: Any = 0.9999,
    eps1: Any = 1e-30,
    eps2: Any = 1e-16,
    clipping_threshold: Any = 1.0,
    weight_decay: Any = 0.0,
    mask: Any = None,
    min_dim_size_to_factor: int = 2,
) -> Transform:
    """CAME: Adafactor whose momentum is weighed by its confidence.

    **Rule** Δθ = −α (m / √S + λ θ), m = ema(û; b1), S = ema(|û − m|² + ε₂; b3), û = u / max(1, rms(u) / d), u = g / √V, V = ema(|g|² + ε₁; b2); V and S
    kept as row and column means, nothing debiased.

    **Remembers** ``moment`` (4 bytes per parameter), and n + m numbers for each of V and S of an n × m matrix.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      b3: decay of the instability, in [0, 1).
      eps1: ε₁ ≥ 0, added to |g|².
      eps2: ε₂ ≥ 0, added to |û − m|².
      clipping_threshold: d > 0.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled.
      mask: which leaves decay.
      min_dim_size_to_factor: the least length of the two longest axes of a leaf that is factored.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.came(1.0, b1=0.5, b3=0.75, eps2=0.0), jnp.zeros((2, 2))
      >>> updates, _ = tx.update(jnp.full((2, 2), 7.0), tx.init(w), w)
      >>> assert jnp.allclose(updates, -0.5 / (0.25 * 0.5**2) ** 0.5)  # û = 1, m = ½, S = ¼ · (1 − ½)²

    Reference: Luo et al. 2023, https://arxiv.org/abs/2307.02047.
    """
    check.decay(b2=b2)
    return chain(
        scale_by_factored_rms(True, b2, 0, min_dim_size_to_factor, eps1, _constant, clipping_threshold=clipping_threshold),
        scale_by_confidence(b1, b3, eps2, min_dim_size_to_factor),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
