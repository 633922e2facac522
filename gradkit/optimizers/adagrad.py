"""Adagrad."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.accumulators import latest, running_sum
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_rss(initial_accumulator_value: Any = 0.1, eps: Any = 1e-7) -> Transform:
    """Divide by the root of the sum of all squares so far: AdaGrad's direction.

    **Rule** u = g / √(G + ε), G_t = a + Σ_{s≤t} |g_s|²; 0 where G = 0 and ε = 0.

    **Remembers** ``preconditioner.total``: 4 bytes per parameter.

    Args:
      initial_accumulator_value: a ≥ 0; the lectures have 0.
      eps: ε ≥ 0, under the root, as in the lectures.

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
def adagrad(learning_rate: Any, initial_accumulator_value: Any = 0.1, eps: Any = 1e-7) -> Transform:
    """AdaGrad: rates that shrink with the sum of all squares.

    **Rule** Δθ = −α g / √(G + ε), G_t = a + Σ_{s≤t} |g_s|².

    **Remembers** ``scale_by_rss.preconditioner.total``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      initial_accumulator_value: a ≥ 0.
      eps: ε ≥ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adagrad(0.5, 0.0, 0.0)  # the lectures' form
      >>> assert tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0][0] == -0.5

    **Differs** from torch, whose ε stands outside the root: ``chain(precondition(latest(), running_sum(a), eps=ε), scale_by_learning_rate(α))``.

    Reference: Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html.
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate)
    )
