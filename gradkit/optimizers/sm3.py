"""SM3: AdaGrad that stores one bound on its sums for each slice along each axis.

Δθ_t = −α_t · ema(g_t / √(G_t + ε))        G_t = decode(μ_{t−1}) + g_t²        μ_t = encode(G_t)

φ = ``latest``, ψ = ``running_sum`` of g² in the store ``sm3_cover``; then ``ema``.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import latest
from gradkit.averages.ema import ema
from gradkit.stores import encoded, scope_of, sm3_cover
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate


@transform
def _covered(decay: Rate) -> Rule:
    """Sum (β = 1) or average (β < 1) in the store ``sm3_cover``; by value, as β may be traced."""
    store = sm3_cover()

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            beta = tree.factor_like(decay, x)
            weight = jnp.where(beta == 1, jnp.ones_like(x), 1 - beta)
            new = beta * store.decode(stored, x) + weight * x
            return new, store.encode(new)

        totals, stored = tree.map(leaf, updates, state["total"], outputs=2)
        return totals, {"total": stored}

    init = lambda params: {"total": encoded(store, params)}
    return Rule(init, update, scope=scope_of(store))


@transform
def scale_by_sm3(b1: Rate = 0.9, b2: Rate = 1.0, eps: Rate = 1e-8) -> Rule:
    """Compute SM3's direction: AdaGrad's quotient with a memory-efficient ψ, then averaged.

    **Update rule** u = ema(g / √(G + ε); b1), not debiased; G_t = b2 min_r μ_r + w g², where μ_r is
    the maximum of G over the slice r, one slice for each index of each axis; w = 1 for b2 = 1, else
    1 − b2. The quotient is 0 where G + ε = 0. Scalars and vectors are stored whole: for them it is
    AdaGrad.

    **State** ``precondition.preconditioner.total``: n + m elements for an n × m matrix; and
    ``ema.average``: 4 bytes per parameter. Both float32 or wider.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1]. With 1 it is a sum, as in the paper.
      eps: ε ≥ 0, added under the root.

    Raises:
      ValueError: a decay out of range, or a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_sm3(b1=0.0, eps=0.0)
      >>> g = jnp.array([[3.0, 0.0], [0.0, 1.0]])
      >>> _, state = tx.update(g, tx.init(g))  # bounds: rows 9, 1, columns 9, 1
      >>> updates, _ = tx.update(4 * jnp.ones((2, 2)), state)
      >>> assert jnp.allclose(updates[0], jnp.array([4 / 5, 4 / 17**0.5]))

    **Differs from optax**, where scalar parameters raise an index error (#1736). Here they work,
    and so do complex parameters, by |g|².

    Reference: Anil et al. 2019, https://arxiv.org/abs/1901.11150, SM3-II.
    """
    check.decay(b1=b1)
    check.probability(b2=b2)
    quotient = precondition(latest(), _covered(b2), eps_root=eps)
    return chain(quotient, ema(b1, debias=False)).rule


@transform
def sm3(learning_rate: Rate, momentum: Rate = 0.9) -> Transform:
    """SM3: memory-efficient AdaGrad that stores sums per row and column, with momentum.

    **Update rule** Δθ = −α u, u as in ``scale_by_sm3``.

    **State** ``scale_by_sm3``: n + m elements for an n × m matrix, and 4 bytes per parameter for
    the momentum.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      momentum: the decay of the momentum, in [0, 1).

    Raises:
      ValueError: a negative learning rate, or a decay outside [0, 1).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sm3(0.5, momentum=0.0)
      >>> assert jnp.allclose(tx.update(jnp.float32(7.0), tx.init(jnp.float32(0.0)))[0], -0.5)

    **Differs from optax** as ``scale_by_sm3`` does, and takes schedules.

    Reference: Anil et al. 2019, https://arxiv.org/abs/1901.11150.
    """
    return chain(scale_by_sm3(momentum), scale_by_learning_rate(learning_rate))
