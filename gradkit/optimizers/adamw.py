"""AdamW: Adam with decoupled weight decay.

    Δθ_t = −α_t · (m̂_t / (√(v̂_t + ε_root) + ε) + λ θ)        m = ema(g; b1)        v = ema(|g|²;
    b2)

φ is ``ema``, ψ is ``ema`` of g²; then weight decay.
"""

from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.optimizers.adam import scale_by_adam
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


@transform
def adamw(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    weight_decay: Rate = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
) -> Transform:
    """AdamW: Adam with decoupled weight decay.

    **Update rule** Δθ = −α (m̂ / (√(v̂ + ε_root) + ε) + λ θ), m = ema(g; b1), v = ema(|g|²; b2),
    both debiased.

    **State** That of ``scale_by_adam``: 8 bytes per parameter.

    A common learning rate is 1e-3. Use a positive ``eps_root`` to differentiate through the step.
    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.
      nesterov: Extrapolate the moment one step ahead (Nesterov).

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.adamw(0.5, eps=0.0, weight_decay=0.1), jnp.full(1, 2.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(w), w)[0], -0.5 * (1 + 0.1 * 2))

    **Differs from optax**: as ``scale_by_adam`` does.

    **Differs from PyTorch**: the default weight decay is 1e-4; there it is 1e-2.

    Reference: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
