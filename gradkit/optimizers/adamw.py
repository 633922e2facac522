"""Adamw."""

from typing import Any

from gradkit._transform import Transform, chain, transform
from gradkit.optimizers.adam import scale_by_adam
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def adamw(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
) -> Transform:
    """AdamW: Adam with decoupled weight decay.

    **Rule** Δθ = −α (m̂ / (√(v̂ + ε_root) + ε) + λ θ).

    **Remembers** ``scale_by_adam``: 8 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled from the gradient, multiplied by the rate.
      mask: which leaves decay: a tree of bools, a function of params, a predicate such as ``by_rank(2)``.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.adamw(0.5, eps=0.0, weight_decay=0.1), jnp.full(1, 2.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(w), w)[0], -0.5 * (1 + 0.1 * 2))

    **Differs** from torch in a default: its weight decay is 1e-2.

    Reference: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
