"""LaProp: RMSprop first, then a moving average of the quotients.

    Δθ_t = −α_t · (m̂_t + λ θ)        m = ema(g / (√(v̂ + ε_root) + ε); b1)        v = ema(|g|²; b2)

φ is ``latest``, ψ is ``ema`` of g²; then an ``ema`` of the quotients, then weight decay.
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import latest
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


@transform
def laprop(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-15,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """LaProp: Adam that divides first and averages second.

    This order is stable for every choice of b1 and b2. The paper uses a learning rate of 4e-4.

    **Update rule** Δθ = −α (m̂ + λ θ), m = ema(g / (√(v̂ + ε_root) + ε); b1), v = ema(|g|²; b2),
    both debiased.

    **State** ``precondition.preconditioner.average`` (float32 or wider) and ``ema.average``
    (float32 or wider, or ``mu_dtype``), each of the shape of the leaf: 8 bytes per parameter; the
    ``log_unseen`` of each, one scalar.

    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the average of quotients, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.laprop(0.5, b1=0.5, b2=0.0)
      >>> _, state = tx.update(jnp.full(1, 1.0), tx.init(jnp.zeros(1)))
      >>> updates, _ = tx.update(jnp.full(1, -100.0), state)
      >>> assert jnp.allclose(updates, -0.5 * (0.25 - 0.5) / 0.75)  # the average of +1 and −1

    **Differs from the authors' code**: with a scheduled α, the current α multiplies the whole
    average; there each past quotient keeps the learning rate of its own step.

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
