"""Ademamix."""

from typing import Any

from gradkit import _checks as check
from gradkit._schedule import as_rate
from gradkit._transform import Transform, chain, transform
from gradkit.averages.accumulators import latest, trace
from gradkit.averages.combine import weighted_sum
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_ademamix(
    b1: Any = 0.9,
    b2: Any = 0.999,
    b3: Any = 0.9999,
    alpha: Any = 6.0,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
) -> Transform:
    """AdEMAMix's direction: Adam's, with a second, much slower moment beside the first.

    **Rule** u = (m̂₁ + a m₂) / (√(v̂ + ε_root) + ε), m₁ = ema(g; b1) debiased, m₂ = ema(g; b3) not, v = ema(|g|²; b2) debiased.

    **Remembers** ``moment.first``, ``moment.second`` (float32 or wider, or ``mu_dtype``) and ``preconditioner``: 12 bytes per parameter.

    Args:
      b1: decay of the fast moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
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
    moment = weighted_sum(
        ema(b1, accumulator_dtype=mu_dtype), ema(as_rate(b3), False, mu_dtype), as_rate(alpha)
    )
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
      b2: decay of the preconditioner, in [0, 1).
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
def scale_by_simplified_ademamix(
    b1: Any = 0.99, b2: Any = 0.95, alpha: Any = 0.0, eps: Any = 1e-8, eps_root: Any = 0.0
) -> Transform:
    """Simplified AdEMAMix's direction: a heavy ball and the gradient itself, over the root of an average square.

    **Rule** u = (m + a g) / (√(n̂ + ε_root) + ε), m_t = b1 m_{t−1} + g_t, n = ema(|g|²; b2) debiased.

    **Remembers** ``moment.first.trace`` and ``preconditioner.average`` (float32 or wider; 8 bytes per parameter).

    Args:
      b1: decay of the heavy ball, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
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
    return precondition(weighted_sum(trace(b1), latest(), as_rate(alpha)), ema(b2), eps, eps_root)


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
      b2: decay of the preconditioner, in [0, 1).
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
    return chain(
        scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
