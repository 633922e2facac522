"""AdaGrad: the gradient over the root of the sum of all its squares.

    Δθ_t = −α_t · g_t / √(G_t + ε)        G_t = a + Σ_{s≤t} |g_s|²

φ is ``latest``, ψ is ``running_sum`` of g².
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import latest, running_sum
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate


@transform
def scale_by_rss(initial_accumulator_value: float = 0.1, eps: Rate = 1e-7) -> Transform:
    """Divide by the root of the sum of all squared gradients, as AdaGrad does.

    **Update rule** u = g / √(G + ε), G_t = a + Σ_{s≤t} |g_s|²; 0 where G = 0 and ε = 0.

    **State** ``preconditioner.sum`` (shape of the leaf, float32 or wider; 4 bytes per parameter).

    Args:
      initial_accumulator_value: a ≥ 0, the initial value of G.
      eps: ε ≥ 0, added under the root.

    Raises:
      ValueError: A negative a or ε.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_rss(0.0, 0.0)
      >>> _, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.full(1, 4.0), state)[0], 4 / 5)

    Reference: Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html.
    """
    check.non_negative(initial_accumulator_value=initial_accumulator_value, eps=eps)
    return precondition(latest(), running_sum(initial_accumulator_value), eps_root=eps)


@transform
def adagrad(
    learning_rate: Rate, initial_accumulator_value: float = 0.1, eps: Rate = 1e-7
) -> Transform:
    """AdaGrad: divide by the root of the sum of all squared gradients.

    **Update rule** Δθ = −α g / √(G + ε), G_t = a + Σ_{s≤t} |g_s|².

    **State** That of ``scale_by_rss``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      initial_accumulator_value: a ≥ 0, the initial value of G.
      eps: ε ≥ 0, added under the root.

    Raises:
      ValueError: A negative a, ε or learning rate.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adagrad(0.5, 0.0, 0.0)  # a = ε = 0
      >>> assert tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0][0] == -0.5

    **Differs from PyTorch**: ε is added under the root; there it is added to the root. That form is
    ``chain(precondition(latest(), running_sum(a), eps=ε), scale_by_learning_rate(α))``.

    Reference: Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html.
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate)
    )
