"""NovoGrad: a trace of gradients that are normalized leaf by leaf.

    Δθ_t = −α_t · u_t        u_t = b1 u_{t−1} + (g_t / (√(v_t + ε_root) + ε) + λ θ)
    v_t = b2 v_{t−1} + (1 − b2)‖g_t‖² of the leaf, v_1 = ‖g_1‖²

φ is ``latest``, ψ is ``per_leaf(ema_from_first)`` of g²; then weight decay, then a ``trace``.
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import latest, trace
from gradkit.averages.combine import per_leaf
from gradkit.averages.ema import ema_from_first
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Rate, StoreLike


@transform
def scale_by_novograd(
    b1: Rate = 0.9,
    b2: Rate = 0.25,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    weight_decay: Rate = 0.0,
    mu_dtype: StoreLike = None,
) -> Rule:
    """Scale the gradient as NovoGrad does, without applying a learning rate.

    Returns a trace of normalized gradients, with one norm per leaf.

    **Update rule** u_t = b1 u_{t−1} + (g_t / (√(v_t + ε_root) + ε) + λ θ),
    v_t = b2 v_{t−1} + (1 − b2)‖g_t‖² per leaf, v_1 = ‖g_1‖².

    **State** ``precondition.preconditioner`` (one scalar per leaf) and ``trace`` (shape of the
    leaf, float32 or wider, or ``mu_dtype``; 4 bytes per parameter).

    Requires params unless λ is the constant 0.

    Args:
      b1: Decay of the trace, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      weight_decay: λ ≥ 0; λ θ is added to the normalized gradient before the trace.
      mu_dtype: Dtype of the trace's state, or a `Store`; by default that of the update, at least
        float32.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε or λ; no params for the weight decay.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_novograd(b1=0.5, b2=0.75, eps=0.0)
      >>> first, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(first, jnp.array([0.6, 0.8]))
      >>> second, state = tx.update(jnp.array([0.0, 13.0]), state)
      >>> norm = (0.75 * 25 + 0.25 * 169) ** 0.5
      >>> assert jnp.allclose(second, jnp.array([0.3, 0.4 + 13 / norm]))

    **Differs from optax**: params are required only with weight decay.

    Reference: Ginsburg et al. 2019, https://arxiv.org/abs/1905.11286.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    direction = precondition(latest(), per_leaf(ema_from_first(b2)), eps, eps_root)
    decay, moment = add_decayed_weights(weight_decay), trace(b1, accumulator_dtype=mu_dtype)
    return chain(direction, decay, moment).rule


@transform
def novograd(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.25,
    eps: Rate = 1e-6,
    eps_root: Rate = 0.0,
    weight_decay: Rate = 0.0,
) -> Transform:
    """NovoGrad: momentum over gradients that are normalized leaf by leaf.

    **Update rule** Δθ = −α u, u_t = b1 u_{t−1} + (g_t / (√(v_t + ε_root) + ε) + λ θ),
    v_t = b2 v_{t−1} + (1 − b2)‖g_t‖² per leaf, v_1 = ‖g_1‖².

    **State** That of ``scale_by_novograd``: 4 bytes per parameter and one scalar per leaf.

    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the trace, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      weight_decay: λ ≥ 0; λ θ is added to the normalized gradient before the trace.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.novograd(0.5, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(updates, jnp.array([-0.3, -0.4]))

    **Differs from optax**: params are required only with weight decay.

    Reference: Ginsburg et al. 2019, https://arxiv.org/abs/1905.11286.
    """
    return chain(
        scale_by_novograd(b1, b2, eps, eps_root, weight_decay),
        scale_by_learning_rate(learning_rate),
    )
