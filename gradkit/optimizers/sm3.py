"""SM3: AdaGrad whose sums are kept as a cover, one bound for each slice along each axis.

    Δθ_t = −α_t · ema(g_t / √(G_t + ε))        G_t = decode(μ_{t−1}) + g_t²        μ_t = encode(G_t)

| | φ | ψ | and then |
|---|---|---|---|
| ``sm3`` | ``latest`` | ``running_sum`` of g² in the store ``sm3_cover`` | ``ema`` of the step |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.accumulators import latest
from gradkit.averages.ema import ema
from gradkit.stores import encoded, sm3_cover
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def _covered(decay: Any) -> Rule:
    """``running_sum`` at β = 1, an ``ema`` below, in the store ``sm3_cover``; by value, for the decay may be traced."""
    store = sm3_cover()

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            beta = tree.factor_like(decay, x)
            new = (
                beta * store.decode(stored, x)
                + jnp.where(beta == 1, jnp.ones_like(x), 1 - beta) * x
            )
            return new, store.encode(new)

        totals, stored = tree.map(leaf, updates, state["total"], outputs=2)
        return totals, {"total": stored}

    return Rule(lambda params: {"total": encoded(store, params)}, update)


@transform
def scale_by_sm3(b1: Any = 0.9, b2: Any = 1.0, eps: Any = 1e-8) -> Transform:
    """Divide by the root of a sum of squares that is kept as a cover, then average: SM3's direction.

    **Rule** u = ema(g / √(G + ε); b1), not debiased; G_t = b2 min_r μ_r + w g², μ_r = max of G over the slice r, one slice for each index of each axis;
    w = 1 for b2 = 1, else 1 − b2. 0 where G = 0. Scalars and vectors are their own cover: AdaGrad.

    **Remembers** ``precondition.preconditioner.total``: n + m numbers for an n × m matrix; and ``ema.average``: 4 bytes per parameter.

    Args:
      b1: decay of the momentum, in [0, 1).
      b2: decay of the squares, in [0, 1]; 1 sums them, as in the paper.
      eps: ε ≥ 0, under the root.

    Raises:
      ValueError: a decay out of range, a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_sm3(b1=0.0, eps=0.0)
      >>> g = jnp.array([[3.0, 0.0], [0.0, 1.0]])
      >>> _, state = tx.update(g, tx.init(g))  # bounds: rows 9, 1, columns 9, 1
      >>> assert jnp.allclose(tx.update(4 * jnp.ones((2, 2)), state)[0][0], jnp.array([4 / 5, 4 / 17**0.5]))

    **Differs** from optax: scalar parameters work (there an index error, #1736), and so do complex ones, by |g|².

    Reference: Anil et al. 2019, https://arxiv.org/abs/1901.11150, SM3-II.
    """
    check.decay(b1=b1)
    check.probability(b2=b2)
    return chain(precondition(latest(), _covered(b2), eps_root=eps), ema(b1, debias=False))


@transform
def sm3(learning_rate: Any, momentum: Any = 0.9) -> Transform:
    """SM3: AdaGrad in the memory of a few rows and columns.

    **Rule** Δθ = −α u, u as in ``scale_by_sm3``.

    **Remembers** n + m numbers for an n × m matrix, and the momentum: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      momentum: decay of the momentum, in [0, 1).

    Raises:
      ValueError: a negative rate, a decay outside [0, 1).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sm3(0.5, momentum=0.0)
      >>> assert jnp.allclose(tx.update(jnp.float32(7.0), tx.init(jnp.float32(0.0)))[0], -0.5)

    **Differs** from optax as ``scale_by_sm3`` does; schedules are taken.

    Reference: Anil et al. 2019, https://arxiv.org/abs/1901.11150.
    """
    return chain(scale_by_sm3(momentum), scale_by_learning_rate(learning_rate))
