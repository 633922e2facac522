"""Optimizers whose steps are as long as their parameters allow, leaf by leaf.

    Δθ_t = −α_t · κ ‖θ‖ / ‖u_t‖ · u_t

| | u | and then |
|---|---|---|
| ``lars`` | g + λ θ | a trace over the steps |
| ``lamb`` | adam's direction + λ θ | |
| ``fromage`` | g | back onto the sphere |
"""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, identity, transform
from gradkit.averages.averages import trace
from gradkit.optimizers.adam import scale_by_adam
from gradkit.transforms.blocks import retract, scale_by_trust_ratio
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.route import masked
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def lars(
    learning_rate: Any,
    weight_decay: Any = 0.0,
    weight_decay_mask: Any = True,
    trust_coefficient: Any = 0.001,
    eps: Any = 0.0,
    trust_ratio_mask: Any = True,
    momentum: Any = 0.9,
    nesterov: bool = False,
) -> Transform:
    """LARS: gradient descent whose rate is set for each leaf by its norm, with momentum.

    **Rule** Δθ_t = ρ Δθ_{t−1} − α κ ‖θ‖ / (‖u‖ + ε) u, u = g + λ θ, norms per leaf; ratio 1 where a norm is zero.

    **Remembers** ``trace``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      weight_decay: λ ≥ 0, a number or a schedule.
      weight_decay_mask: which leaves decay; True for all, False for none.
      trust_coefficient: κ > 0.
      eps: ε ≥ 0, added to the norm of the update.
      trust_ratio_mask: which leaves are scaled; True for all, False for none. Biases and norms are often left out: ``by_rank(2)``.
      momentum: ρ in [0, 1].
      nesterov: look one step ahead.

    Raises:
      ValueError: arguments out of range, masks that do not fit, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.lars(0.5, trust_coefficient=0.1), jnp.array([3.0, 4.0])
      >>> assert jnp.allclose(tx.update(jnp.array([0.0, 7.0]), tx.init(w), w)[0], jnp.array([0.0, -0.25]))  # −0.5 · 0.1 · 5

    Reference: You et al. 2017, https://arxiv.org/abs/1708.03888.
    """
    trust = scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
    scaled = {True: trust, False: identity()}[trust_ratio_mask] if isinstance(trust_ratio_mask, bool) else masked(trust, trust_ratio_mask)
    decay_mask = None if weight_decay_mask is True else weight_decay_mask
    decayed = identity() if decay_mask is False else add_decayed_weights(weight_decay, decay_mask)
    return chain(decayed, scaled, scale_by_learning_rate(learning_rate), trace(momentum, nesterov))


@transform
def lamb(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-6, eps_root: Any = 0.0, weight_decay: Any = 0.0, mask: Any = None) -> Transform:
    """LAMB: AdamW with a trust ratio for every leaf, for very large batches.

    **Rule** Δθ = −α ‖θ‖ / ‖u‖ u, u = m̂ / (√(v̂ + ε_root) + ε) + λ θ, norms per leaf; ratio 1 where a norm is zero.

    **Remembers** ``scale_by_adam``: 8 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule: the length of a step relative to the parameter.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      weight_decay: λ ≥ 0, a number or a schedule.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.lamb(0.5), jnp.array([3.0, 4.0])
      >>> assert jnp.allclose(tx.update(jnp.array([0.0, 7.0]), tx.init(w), w)[0], jnp.array([0.0, -2.5]))

    Reference: You et al. 2020, https://arxiv.org/abs/1904.00962.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


@transform
def fromage(learning_rate: Any, min_norm: Any = 1e-6) -> Transform:
    """Fromage: steps of one length relative to each leaf, back onto the sphere after each.

    **Rule** θ ← (θ − α ‖θ‖ / ‖g‖ g) / √(1 + α²), both norms per leaf and at least ``min_norm``.

    **Remembers** nothing. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; about 0.01.
      min_norm: the least that a norm counts as, ≥ 0.

    Raises:
      ValueError: a negative rate or norm, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.fromage(0.75), jnp.array([2.0, 0.0])
      >>> assert jnp.allclose(w + tx.update(jnp.array([0.0, 0.1]), tx.init(w), w)[0], jnp.array([1.6, -1.2]))

    **Differs** from optax in rounding: 1 / √(1 + α²) − 1 is computed without the difference, which cancels for small α.

    Reference: Bernstein et al. 2020, https://arxiv.org/abs/2002.03432.
    """
    check.non_negative(min_norm=min_norm)
    return chain(scale_by_trust_ratio(min_norm), retract(learning_rate))
