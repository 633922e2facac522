"""AdEMAMix: AdamW with a second, much slower moment; and its simplified form.

    Δθ_t = −α_t · (M_t / (√(v̂_t + ε_root) + ε) + λ θ)        v = ema(|g|²; b2)
    M = m̂₁ + a m₂, m₁ = ema(g; b1), m₂ = ema(g; b3); simplified: M = trace(g; b1) + a g

φ is ``weighted_sum(ema, ema)``, or ``weighted_sum(trace, latest)`` if simplified; ψ is ``ema`` of
g²; then weight decay.
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import latest, trace
from gradkit.averages.combine import weighted_sum
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


@transform
def scale_by_ademamix(
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    b3: Rate = 0.9999,
    alpha: Rate = 6.0,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
) -> Transform:
    """Scale the gradient as AdEMAMix does, without applying a learning rate.

    Like Adam, with a second, much slower moment added to the first.

    **Update rule** u = (m̂₁ + a m₂) / (√(v̂ + ε_root) + ε), m₁ = ema(g; b1) debiased,
    m₂ = ema(g; b3) not debiased, v = ema(|g|²; b2) debiased.

    **State** ``moment.first``, ``moment.second`` (float32 or wider, or ``mu_dtype``) and
    ``preconditioner`` (float32 or wider), each of the shape of the leaf: 12 bytes per parameter.

    Args:
      b1: Decay of the fast moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      b3: Decay of the slow moment, in [0, 1), or a schedule.
      alpha: a, the weight of the slow moment, any finite number, or a schedule.
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moments' state, or a `Store`; by default that of the update, at least
        float32.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε; an a that is not finite.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_ademamix(b3=0.75, alpha=2.0, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0], 1 + 2 * 0.25)

    **Differs from optax**: ``mu_dtype`` applies to the moments alone.

    Reference: Pagliardini et al. 2024, https://arxiv.org/abs/2409.03137.
    """
    check.decay(b1=b1, b2=b2, b3=b3)
    check.finite(alpha=alpha)
    check.non_negative(eps=eps, eps_root=eps_root)
    moment = weighted_sum(ema(b1, accumulator_dtype=mu_dtype), ema(b3, False, mu_dtype), alpha)
    return precondition(moment, ema(b2), eps, eps_root)


@transform
def ademamix(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    b3: Rate = 0.9999,
    alpha: Rate = 5.0,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """AdEMAMix: AdamW with a second moment that averages about ten thousand gradients.

    **Update rule** Δθ = −α ((m̂₁ + a m₂) / (√(v̂ + ε_root) + ε) + λ θ), m₁ = ema(g; b1) debiased,
    m₂ = ema(g; b3) not debiased, v = ema(|g|²; b2) debiased.

    **State** That of ``scale_by_ademamix``: 12 bytes per parameter.

    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the fast moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      b3: Decay of the slow moment, in [0, 1), or a schedule. The paper warms it up from b1.
      alpha: a, the weight of the slow moment, any finite number, or a schedule. The paper warms it
        up from 0.
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moments' state, or a `Store`; by default that of the update, at least
        float32.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter; an a that is not finite.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.ademamix(0.5, b3=0.75, alpha=gk.linear_schedule(2.0, 0.0, 10), eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0], -0.75)

    **Differs from optax**: ``mu_dtype`` applies to the moments alone.

    Reference: Pagliardini et al. 2024, https://arxiv.org/abs/2409.03137.
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@transform
def scale_by_simplified_ademamix(
    b1: Rate = 0.99, b2: Rate = 0.95, alpha: Rate = 0.0, eps: Rate = 1e-8, eps_root: Rate = 0.0
) -> Transform:
    """Scale the gradient as simplified AdEMAMix does, without applying a learning rate.

    Adds a multiple of the gradient to its trace and divides by the root of an average square.

    **Update rule** u = (m + a g) / (√(n̂ + ε_root) + ε), m_t = b1 m_{t−1} + g_t,
    n = ema(|g|²; b2) debiased.

    **State** ``moment.first.trace`` and ``preconditioner.average`` (shape of the leaf, float32 or
    wider; 8 bytes per parameter), and the preconditioner's ``log_unseen``, one scalar.

    Args:
      b1: Decay of the trace, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      alpha: a, the weight of the gradient, any finite number, or a schedule.
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε; an a that is not finite.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_simplified_ademamix(alpha=2.0, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0], 3.0)

    Reference: Morwani et al. 2025, https://arxiv.org/abs/2502.02431.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    check.finite(alpha=alpha)
    return precondition(weighted_sum(trace(b1), latest(), alpha), ema(b2), eps, eps_root)


@transform
def simplified_ademamix(
    learning_rate: Rate,
    b1: Rate = 0.99,
    b2: Rate = 0.95,
    alpha: Rate = 0.0,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """Simplified AdEMAMix: AdamW with a trace and the gradient as its moment.

    The moment is not debiased, so learning rates are (1 − b1) times Adam's.

    **Update rule** Δθ = −α ((m + a g) / (√(n̂ + ε_root) + ε) + λ θ), m_t = b1 m_{t−1} + g_t,
    n = ema(|g|²; b2) debiased.

    **State** That of ``scale_by_simplified_ademamix``: 8 bytes per parameter.

    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the trace, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      alpha: a, the weight of the gradient, any finite number, or a schedule.
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter; an a that is not finite.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.simplified_ademamix(0.5, b1=0.5, b2=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), state)[0], -0.75)

    Reference: Morwani et al. 2025, https://arxiv.org/abs/2502.02431.
    """
    return chain(
        scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
