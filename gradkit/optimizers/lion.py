"""Lion: the sign of an interpolation between the gradient and its average.

Δθ_t = −α_t · (sign(b1 m_{t−1} + (1 − b1) g_t) + λ θ_t)        m = ema(g; b2)

φ = a ``weighted_sum`` of the gradient and its ``ema``, no ψ: the sign replaces the quotient.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.stores import as_store, averages
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


@transform
def scale_by_lion(
    b1: Rate = 0.9,
    b2: Rate = 0.99,
    mu_dtype: StoreLike = None,
    *,
    mode: str = "hard",
    smooth_beta: Rate = 1.0,
) -> Rule:
    """Compute Lion's direction: the sign of an interpolation of the gradient and its average.

    **Update rule** u_t = sign(c_t), c_t = b1 m_{t−1} + (1 − b1) g_t,
    m_t = b2 m_{t−1} + (1 − b2) g_t. ``mode="smooth"``: u = tanh(β c). ``mode="refined"``: u = c
    clipped to [−1, 1].

    **State** ``average``: m (float32 or wider, or ``mu_dtype``; 4 bytes per parameter).

    Args:
      b1: Decay of the moment, in [0, 1): the weight of m in the direction.
      b2: Decay of the average m, in [0, 1). With 0 it is the previous gradient.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      mode: ``"hard"``, ``"smooth"`` or ``"refined"``.
      smooth_beta: β > 0, the slope of the smooth mode at 0.

    Raises:
      ValueError: a decay outside [0, 1), an unknown mode, or β ≤ 0.
      TypeError: complex leaves in a mode other than ``"hard"``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_lion(0.5, 0.75)
      >>> _, state = tx.update(jnp.full(2, 8.0), tx.init(jnp.zeros(2)))  # m = 2
      >>> assert tx.update(jnp.array([-1.0, -3.0]), state)[0].tolist() == [1.0, -1.0]

    Reference: Chen et al. 2023, https://arxiv.org/abs/2302.06675.
    """
    check.decay(b1=b1, b2=b2)
    check.one_of(("hard", "smooth", "refined"), mode=mode)
    check.positive(smooth_beta=smooth_beta)
    store = as_store(mu_dtype, "mu_dtype")

    def squash(x: Any) -> Any:
        if mode == "hard":
            return jnp.sign(x)
        check.real(x)
        if mode == "smooth":
            return jnp.tanh(tree.factor_like(smooth_beta, x) * x)
        return jnp.clip(x, -1.0, 1.0)

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(g: Any, old: Any) -> Any:
            fast, slow = tree.factor_like(b1, g), tree.factor_like(b2, g)
            fresh = (1 - slow) * g
            new = fresh + slow * old
            old = _recomputed(old, new - fresh, slow)
            return squash((1 - fast) * g + fast * old), new

        updates, average = tree.map(leaf, updates, state["average"], outputs=2)
        return updates, {"average": average}

    init = lambda params: {"average": tree.zeros_like(params)}
    return Rule(init, update, scope="element", averages=averages(store, "average"))


def _recomputed(old: Any, product: Any, decay: Any) -> Any:
    """``old``, computed as ``product / decay`` where that is accurate.

    XLA for CPU compiles the direction and the new average to two loops. If both read the old
    average, XLA copies it before it writes the new one in place, which doubles the time of the step
    (``benchmarks/step.py``, row "lion"). The division needs no second read, but amplifies rounding
    by 1 / decay, so decays below ½ read the average. With a traced decay both are compiled.
    """
    if isinstance(decay, float | int):
        return product / decay if decay >= 0.5 else old
    accurate = jnp.real(decay) >= 0.5
    return jnp.where(accurate, product / jnp.where(accurate, decay, 1), old)


@transform
def lion(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.99,
    mu_dtype: StoreLike = None,
    weight_decay: Rate = 1e-3,
    mask: Mask | None = None,
) -> Transform:
    """Lion: sign updates of an interpolated moment, with decoupled weight decay.

    **Update rule** Δθ = −α (sign(b1 m_{t−1} + (1 − b1) g_t) + λ θ), m = ema(g; b2).

    **State** ``scale_by_lion.average`` (float32 or wider, or ``mu_dtype``; 4 bytes per parameter).
    Needs params.

    Args:
      learning_rate: α ≥ 0, or a schedule. Usually a third to a tenth of AdamW's.
      b1: Decay of the moment, in [0, 1): the weight of m in the direction.
      b2: Decay of the average m, in [0, 1). With 0 it is the previous gradient.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied. Usually
        three to ten times AdamW's.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: an argument out of range, or no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.lion(0.5, weight_decay=0.25), jnp.full(1, 2.0)
      >>> assert tx.update(jnp.full(1, 0.1), tx.init(w), w)[0][0] == -0.75

    Reference: Chen et al. 2023, https://arxiv.org/abs/2302.06675.
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
