"""Relatives of Adam that average otherwise: two moments, or the quotient instead of its parts.

| | |
|---|---|
| ``ademamix`` | M = ema(g; b1) + a ema(g; b3), a fast and a slow average |
| ``simplified_ademamix`` | M = trace(g; b1) + a g |
| ``laprop`` | ema of g / √G: divide, then average |
| ``adopt`` | ema of g_t / √G_{t−1}: the metric knows nothing of the gradient it divides |
| ``grokfast`` | g + a ema(g), before any optimizer |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import as_rate, rate_at
from gradkit._transform import Transform, chain, transform
from gradkit.averages.averages import ema, latest, trace
from gradkit.averages.stores import as_store, encoded
from gradkit.averages.variants import blend, ema_from_first
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_ademamix(
    b1: Any = 0.9, b2: Any = 0.999, b3: Any = 0.9999, alpha: Any = 6.0, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None
) -> Transform:
    """AdEMAMix's direction: Adam's, with a second, much slower moment beside the first.

    **Rule** u = (m̂₁ + a m₂) / (√(v̂ + ε_root) + ε), m₁ = ema(g; b1) debiased, m₂ = ema(g; b3) not, v = ema(|g|²; b2) debiased.

    **Remembers** ``moment.first``, ``moment.second`` (float32 or wider, or ``mu_dtype``) and ``metric``: 12 bytes per parameter.

    Args:
      b1: decay of the fast moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      b3: decay of the slow moment, in [0, 1), a number or a schedule.
      alpha: a, the weight of the slow moment, a finite number or a schedule.
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      mu_dtype: dtype of the moments' memory, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_ademamix(b3=0.75, alpha=2.0, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0], 1 + 2 * 0.25)

    **Differs** from optax: ``mu_dtype`` is that of the moments alone.

    Reference: Pagliardini et al. 2024, https://arxiv.org/abs/2409.03137.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    moment = blend(ema(b1, accumulator_dtype=mu_dtype), ema(as_rate(b3), False, mu_dtype), as_rate(alpha))
    return precondition(moment, ema(b2), eps, eps_root)


@transform
def ademamix(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    b3: Any = 0.9999,
    alpha: Any = 5.0,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """AdEMAMix: AdamW that also remembers gradients of ten thousand steps ago.

    **Rule** Δθ = −α ((m̂₁ + a m₂) / (√(v̂ + ε_root) + ε) + λ θ), the averages as in ``scale_by_ademamix``.

    **Remembers** ``scale_by_ademamix``: 12 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the fast moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      b3: decay of the slow moment, in [0, 1), a number or a schedule; the paper warms it up from b1.
      alpha: a, the weight of the slow moment, a number or a schedule; the paper warms it up from 0.
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      mu_dtype: dtype of the moments' memory, or a `Store`.
      weight_decay: λ ≥ 0, decoupled.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.ademamix(0.5, b3=0.75, alpha=gk.linear_schedule(2.0, 0.0, 10), eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0], -0.75)

    Reference: Pagliardini et al. 2024, https://arxiv.org/abs/2409.03137.
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@transform
def scale_by_simplified_ademamix(b1: Any = 0.99, b2: Any = 0.95, alpha: Any = 0.0, eps: Any = 1e-8, eps_root: Any = 0.0) -> Transform:
    """Simplified AdEMAMix's direction: a heavy ball and the gradient itself, over the root of an average square.

    **Rule** u = (m + a g) / (√(n̂ + ε_root) + ε), m_t = b1 m_{t−1} + g_t, n = ema(|g|²; b2) debiased.

    **Remembers** ``moment.first.trace`` and ``metric.average`` (float32 or wider; 8 bytes per parameter).

    Args:
      b1: decay of the heavy ball, in [0, 1).
      b2: decay of the metric, in [0, 1).
      alpha: a, the weight of the gradient, a finite number or a schedule.
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_simplified_ademamix(alpha=2.0, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0], 3.0)

    Reference: Morwani et al. 2025, https://arxiv.org/abs/2502.02431.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    return precondition(blend(trace(b1), latest(), as_rate(alpha)), ema(b2), eps, eps_root)


@transform
def simplified_ademamix(
    learning_rate: Any,
    b1: Any = 0.99,
    b2: Any = 0.95,
    alpha: Any = 0.0,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """Simplified AdEMAMix: one moment less, which no debiasing divides, so that rates are (1 − b1) times Adam's.

    **Rule** Δθ = −α ((m + a g) / (√(n̂ + ε_root) + ε) + λ θ), the averages as in ``scale_by_simplified_ademamix``.

    **Remembers** ``scale_by_simplified_ademamix``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the heavy ball, in [0, 1).
      b2: decay of the metric, in [0, 1).
      alpha: a, the weight of the gradient, a finite number or a schedule.
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      weight_decay: λ ≥ 0, decoupled.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.simplified_ademamix(0.5, b1=0.5, b2=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), state)[0], -0.75)

    Reference: Morwani et al. 2025, https://arxiv.org/abs/2502.02431.
    """
    return chain(scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))


@transform
def laprop(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-15,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """LaProp: Adam in the other order, so that no choice of b1 and b2 makes it unstable.

    **Rule** Δθ = −α (m̂ + λ θ), m = ema(g / (√(v̂ + ε_root) + ε); b1), v = ema(|g|²; b2), both debiased.

    **Remembers** ``precondition.metric`` and ``ema`` (float32 or wider, or ``mu_dtype``): 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; the paper has 4e-4.
      b1: decay of the average of quotients, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      mu_dtype: dtype of the average's memory, or a `Store`.
      weight_decay: λ ≥ 0, a number or a schedule, decoupled.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.laprop(0.5, b1=0.5, b2=0.0)
      >>> _, state = tx.update(jnp.full(1, 1.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.full(1, -100.0), state)[0], -0.5 * (0.25 - 0.5) / 0.75)  # an average of +1 and −1

    **Differs** from the authors' code when α moves: there the past keeps the rate it was made with.

    Reference: Ziyin et al. 2020, https://arxiv.org/abs/2002.04839.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    return chain(
        precondition(latest(), ema(b2), eps, eps_root),
        ema(b1, accumulator_dtype=mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def _fourth_root(step: Any) -> Any:
    return step**0.25


@transform
def scale_by_adopt(
    b1: Any = 0.9,
    b2: Any = 0.9999,
    eps: Any = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Any = _fourth_root,
) -> Rule:
    """ADOPT's direction: an average of gradients, each over the root of the metric of the steps before it.

    **Rule** d_t = g_t / max(√v_{t−1}, ε), clipped into [−c_t, c_t]; u_t = m_t = b1 m_{t−1} + (1 − b1) d_t; v_t = ema(|g|²; b2) from v_1 = |g_1|².
    The first step is zero: it only makes v_1.

    **Remembers** ``moment`` (float32 or wider, or ``mu_dtype``) and ``metric`` (float32 or wider): 8 bytes per parameter.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, the least that the root counts as.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: u_t = b1 m_t + (1 − b1) d_t.
      use_clipping: clip d_t.
      clip_value_fn: c, a function of the step (a floating number, completed updates), a schedule, or a number; by default step^¼.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.
      TypeError: complex leaves, when clipping.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adopt(b1=0.5, clip_value_fn=10.0)
      >>> first, state = tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 0.0 and tx.update(jnp.full(1, 6.0), state)[0][0] == 0.5 * 6 / 2

    Reference: Taniguchi et al. 2024, https://arxiv.org/abs/2411.02853.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps)
    store = as_store(mu_dtype)

    def init(params: Any) -> Any:
        return {"moment": encoded(store, params), "metric": tree.magnitudes_like(params)}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        first, bound = step == 0, rate_at(clip_value_fn, step.astype(numerics.scalar_dtype(updates)))

        def leaf(g: Any, stored: Any, v: Any) -> Any:
            like, m, square = tree.factor_like, store.decode(stored, g), numerics.abs_sq(g)
            d = numerics.divide(g, jnp.maximum(numerics.sqrt(v), like(eps, v)))
            if use_clipping:
                check.real(g)
                d = jnp.clip(d, -like(bound, g), like(bound, g))
            m = jnp.where(first, m, like(b1, g) * m + like(1 - b1, g) * d)
            out = jnp.where(first, m, like(b1, g) * m + like(1 - b1, g) * d) if nesterov else m
            return out, store.encode(m), jnp.where(first, square, v + like(1 - b2, v) * (square - v))

        updates, moment, metric = tree.map(leaf, updates, memory["moment"], memory["metric"], outputs=3)
        return updates, {"moment": moment, "metric": metric}

    return Rule(init, update)


@transform
def adopt(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.9999,
    eps: Any = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Any = _fourth_root,
) -> Transform:
    """ADOPT: an Adam that converges for every b2.

    **Rule** Δθ_t = −α m_t, m_t = b1 m_{t−1} + (1 − b1) clip(g_t / max(√v_{t−1}, ε), c_t); the first step is zero.

    **Remembers** ``scale_by_adopt``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, the least that the root counts as.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: the moment looks one step ahead.
      use_clipping: clip the quotient.
      clip_value_fn: c, a function of the step, a schedule, or a number; by default step^¼.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.
      TypeError: complex leaves, when clipping.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adopt(0.5, b1=0.5)
      >>> _, state = tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.full(1, 6.0), state)[0][0] == -0.25  # 6 / 2, clipped to 1

    Reference: Taniguchi et al. 2024, https://arxiv.org/abs/2411.02853.
    """
    direction = scale_by_adopt(b1, b2, eps, mu_dtype, nesterov=nesterov, use_clipping=use_clipping, clip_value_fn=clip_value_fn)
    return chain(direction, scale_by_learning_rate(learning_rate))


@transform
def grokfast(alpha: Any = 0.98, lamb: Any = 2.0) -> Transform:
    """Amplify the slow part of the gradient, before any optimizer: ``chain(grokfast(), adamw(1e-3))``.

    **Rule** u_t = g_t + λ h_t, h_t = a h_{t−1} + (1 − a) g_t, h_1 = g_1.

    **Remembers** ``second.average``: h (float32 or wider; 4 bytes per parameter).

    Args:
      alpha: a, the decay of the average, in [0, 1), a number or a schedule.
      lamb: λ, the strength of the amplification, a finite number or a schedule.

    Raises:
      ValueError: a decay outside [0, 1), a λ that is not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.grokfast(alpha=0.75, lamb=2.0), gk.sgd(1.0))
      >>> first, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == -12.0 and tx.update(jnp.zeros(1), state)[0][0] == -2.0 * 3.0

    Reference: Lee et al. 2024, https://arxiv.org/abs/2405.20233, its exponential form.
    """
    return blend(latest(), ema_from_first(as_rate(alpha)), as_rate(lamb))
