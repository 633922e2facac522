"""Adafactor: RMSprop that stores the second moment of an n × m matrix as n + m means.

    Δθ_t = −α_t · clip(g_t / √V_t) · max(rms θ, 10⁻³)        V = R Cᵀ / mean R
    R, C = ema of the row and column means of g², of decay 1 − t^(−c): 0 at t = 1, so not debiased

φ is ``latest``, ψ is ``ema`` of g² in the store ``factored``; then each leaf's rms is clipped,
times rms θ; then an ``ema`` with ``momentum``, then weight decay.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit import _xla as xla
from gradkit._chain import chain, identity
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.schedules.decay import _decay_rate_pow, adafactor_decay_schedule
from gradkit.stores import IDENTITY, encoded, factored_axes
from gradkit.stores import factored as _factored
from gradkit.transforms.scale import scale, scale_by_learning_rate
from gradkit.transforms.trust_ratio import scale_by_param_block_rms
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


@transform
def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: Rate = 0.8,
    step_offset: int = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: Rate = 1e-30,
    decay_rate_fn: Callable[[Any, Any], Any] = _decay_rate_pow,
    *,
    clipping_threshold: Rate | None = None,
) -> Rule:
    """Divide by the root of a factored average of squared gradients, as Adafactor does.

    The average of a matrix is stored as its row and column means.

    **Update rule** u = g / √V, V_ij = R_i C_j / mean R,
    R and C the averages of the row and column means of |g|² + ε, with decay β_t = 1 − t^(−c).
    Without two axes of at least ``min_dim_size_to_factor`` elements,
    V is the average of |g|² + ε itself.
    With ``clipping_threshold=d`` each leaf becomes u / max(1, rms(u) / d).

    **State** ``average``: ``rows`` and ``columns`` of a factored leaf (float32 or wider; 4/m + 4/n
    bytes per parameter of an n × m matrix); of any other leaf an array of its shape (4 bytes per
    parameter).

    Args:
      factored: Whether to factor any leaf.
      decay_rate: c ≥ 0, or a schedule.
      step_offset: Step, ≥ 0, at which t restarts from 1: see ``adafactor_decay_schedule``.
      min_dim_size_to_factor: Least length of the two longest axes of a leaf that is factored.
      epsilon: ε ≥ 0, added to the squares.
      decay_rate_fn: Function of (steps since the start, c) that returns β.
      clipping_threshold: d > 0, or a schedule, or None for no clipping. The result is that of a
        following ``clip_by_block_rms(d)``. It takes less than half the time on CPU, because u is
        not written to memory.

    Raises:
      ValueError: A negative c, ε or offset; d ≤ 0.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_factored_rms(min_dim_size_to_factor=2)
      >>> g = jnp.array([[1.0, 1.0], [1.0, 3.0]])
      >>> updates, state = tx.update(g, tx.init(g))
      >>> assert jnp.allclose(updates, g / jnp.sqrt(jnp.array([[1 / 3, 5 / 3], [5 / 3, 25 / 3]])))

    **Differs from optax**: with a ``step_offset``, the steps before it follow the schedule from 1
    on; optax raises a negative number to a power (NaN). β is exact in float64 too; optax rounds it
    to float32. The means are at least float32, also for bfloat16 parameters. Params are not
    required.

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

    part = Part("", ema(decay, debias=False))

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        def leaf(g: Any) -> Any:
            # On CPU, XLA sums |g|² while it reads g. It writes to memory a square that has other
            # terms, or that two sums share. So ε is added to the mean of |g|², and the column sums
            # read g through a barrier, which hides that both sums use the same square. The row
            # "adafactor" of benchmarks/step.py measures the speedup (on CPU only).
            means, columns = (store.encode(numerics.abs_sq(x)) for x in (g, xla.separate(g)))
            if isinstance(means, dict):
                means = means | {"columns": columns["columns"]}
            return jax.tree.map(lambda mean: mean + tree.factor_like(epsilon, mean), means)

        squares = tree.map(leaf, updates)
        averages, state = part.update(squares, state, params, context=context)
        return tree.map(direction, updates, averages), state

    def direction(g: Any, means: Any) -> Any:
        over_root = functools.partial(_over_root, axes=axes(g.shape, min_dim_size_to_factor))
        if clipping_threshold is None:
            return over_root(g, means)
        # On CPU, XLA writes to memory an array that two computations share. So the rms computes u
        # again from inputs behind a barrier; the same benchmark row measures the speedup.
        size = numerics.rms(over_root(*xla.separate((g, means))))
        return over_root(g, means) / tree.factor_like(
            jnp.maximum(1.0, size / tree.factor_like(clipping_threshold, size)), g
        )

    def init(params: Any, *, context: Any) -> Any:
        return part.init(encoded(store, params, real=True), context=context)

    return Rule(init, update, parts=(part,), scope="leaf")


def _over_root(g: Any, means: Any, axes: tuple[int, int] | None) -> Any:
    """Return g / √V as a product of g with the inverse roots of the row and column means.

    V is never formed. This takes n + m roots instead of n · m, which is so cheap that XLA on CPU
    computes the product again where the update uses it, instead of storing it.
    """
    if axes is None:
        return numerics.divide(g, numerics.sqrt(means))
    rows = numerics.divide(means["rows"], jnp.mean(means["rows"], axes[0], keepdims=True))
    return g * _inverse_root(rows).astype(g.dtype) * _inverse_root(means["columns"]).astype(g.dtype)


def _inverse_root(x: Any) -> Any:
    return numerics.divide(jnp.ones_like(x), numerics.sqrt(x))


@transform
def adafactor(
    learning_rate: Rate | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: Rate = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Rate | None = 1.0,
    momentum: Rate | None = None,
    dtype_momentum: StoreLike = "float32",
    weight_decay_rate: Rate | None = None,
    eps: Rate = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask | None = None,
) -> Transform:
    """Adafactor: RMSprop with a factored second moment and steps relative to the weights.

    **Update rule** Δθ = −(α rms⁺(θ) û + λ θ), û = u / max(1, rms(u) / d),
    u as in ``scale_by_factored_rms``, rms⁺ = max(rms, 10⁻³), with one rms per leaf.
    With ``momentum=μ`` the ema of α rms⁺(θ) û replaces α rms⁺(θ) û.

    **State** That of ``scale_by_factored_rms``: n + m elements for an n × m matrix. ``ema`` with
    momentum: 4 bytes per parameter more.

    Requires params to multiply by rms⁺(θ) or to decay the weights.

    Args:
      learning_rate: α ≥ 0, or a schedule. Relative to the size of the weights. None is 1.
      min_dim_size_to_factor: Least length of the two longest axes of a leaf that is factored.
      decay_rate: c ≥ 0 in β = 1 − t^(−c), or a schedule.
      decay_offset: Step, ≥ 0, at which t restarts from 1: see ``adafactor_decay_schedule``.
      multiply_by_parameter_scale: Whether to multiply by rms⁺(θ).
      clipping_threshold: d > 0, or a schedule, or None for no clipping.
      momentum: μ in [0, 1), or None for no momentum.
      dtype_momentum: Dtype of the momentum's state, or a `Store`.
      weight_decay_rate: λ ≥ 0, not multiplied by α, or None for no decay.
      eps: ε ≥ 0, added to the squares.
      factored: Whether to factor any leaf.
      weight_decay_mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: μ outside [0, 1); a negative c, ε, λ, offset or learning rate; d ≤ 0; missing
        params; a mask pattern that matches no parameter.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.adafactor(0.5), jnp.array([3.0, -3.0])
      >>> updates, _ = tx.update(jnp.array([7.0, 0.1]), tx.init(w), w)
      >>> assert jnp.allclose(updates, jnp.array([-1.5, -1.5]))  # 0.5 · rms θ · sign g

    **Differs from optax**: as ``scale_by_factored_rms`` does.

    **Differs from PyTorch**: there the learning rate is min(α, 1/√t), the weight decay is
    multiplied by α, and every matrix is factored.

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
