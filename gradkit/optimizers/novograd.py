"""Novograd."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.accumulators import latest, trace
from gradkit.averages.combine import per_leaf
from gradkit.averages.ema import ema_from_first
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_novograd(
    b1: Any = 0.9,
    b2: Any = 0.25,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    weight_decay: Any = 0.0,
    mu_dtype: Any = None,
) -> Transform:
    """NovoGrad's direction: a trace of normalized gradients, one norm per leaf.

    **Rule** u_t = b1 u_{t−1} + (g_t / (√(v_t + ε_root) + ε) + λ θ), v_t = b2 v_{t−1} + (1 − b2)‖g_t‖² per leaf, v_1 = ‖g_1‖².

    **Remembers** ``precondition.preconditioner`` (one number per leaf) and ``trace`` (float32 or wider, or ``mu_dtype``; 4 bytes per parameter).

    Args:
      b1: decay of the trace, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      weight_decay: λ ≥ 0, a number or a schedule, averaged with the gradients.
      mu_dtype: dtype of the trace's memory, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or λ.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_novograd(b1=0.5, b2=0.75, eps=0.0)
      >>> first, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(first, jnp.array([0.6, 0.8]))
      >>> assert jnp.allclose(tx.update(jnp.array([0.0, 13.0]), state)[0], jnp.array([0.3, 0.4 + 13 / (0.75 * 25 + 0.25 * 169) ** 0.5]))

    **Differs** from optax: params are needed only with weight decay.

    Reference: Ginsburg et al. 2019, https://arxiv.org/abs/1905.11286.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    direction = precondition(latest(), per_leaf(ema_from_first(b2)), eps, eps_root)
    return chain(
        direction, add_decayed_weights(weight_decay), trace(b1, accumulator_dtype=mu_dtype)
    )


@transform
def novograd(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.25,
    eps: Any = 1e-6,
    eps_root: Any = 0.0,
    weight_decay: Any = 0.0,
) -> Transform:
    """NovoGrad: momentum over gradients that are normalized leaf by leaf.

    **Rule** Δθ = −α u, u_t = b1 u_{t−1} + (g_t / (√(v_t + ε_root) + ε) + λ θ), v the average of the leaf's ‖g‖².

    **Remembers** ``precondition.preconditioner`` (one number per leaf) and ``trace``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the trace, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      weight_decay: λ ≥ 0, a number or a schedule, averaged with the gradients.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.novograd(0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))[0], jnp.array([-0.3, -0.4]))

    Reference: Ginsburg et al. 2019, https://arxiv.org/abs/1905.11286.
    """
    return chain(
        scale_by_novograd(b1, b2, eps, eps_root, weight_decay),
        scale_by_learning_rate(learning_rate),
    )
