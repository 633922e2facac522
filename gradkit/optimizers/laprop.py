"""Laprop."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.accumulators import latest
from gradkit.averages.ema import ema
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


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

    **Remembers** ``precondition.preconditioner`` and ``ema`` (float32 or wider, or ``mu_dtype``): 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; the paper has 4e-4.
      b1: decay of the average of quotients, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
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
