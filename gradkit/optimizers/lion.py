"""Lion."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.stores import as_store, encoded
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_lion(
    b1: Any = 0.9,
    b2: Any = 0.99,
    mu_dtype: Any = None,
    *,
    mode: str = "hard",
    smooth_beta: Any = 1.0,
) -> Rule:
    """Lion's direction: the sign of an average that weighs the last gradient more than its memory does.

    **Rule** u_t = sign(c_t), c_t = b1 m_{t−1} + (1 − b1) g_t, m_t = b2 m_{t−1} + (1 − b2) g_t. ``mode="smooth"``: tanh(β c); ``"refined"``: c clipped
    into [−1, 1].

    **Remembers** ``average``: m (float32 or wider, or ``mu_dtype``; 4 bytes per parameter).

    Args:
      b1: weight of the memory in the direction, in [0, 1).
      b2: decay of the memory, in (0, 1).
      mu_dtype: dtype of the memory, or a `Store`.
      mode: ``"hard"``, ``"smooth"`` or ``"refined"``.
      smooth_beta: β > 0, the steepness of the smooth mode.

    Raises:
      ValueError: a decay outside [0, 1), another mode, β ≤ 0.
      TypeError: complex leaves in another mode than ``"hard"``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_lion(0.5, 0.75)
      >>> _, state = tx.update(jnp.full(2, 8.0), tx.init(jnp.zeros(2)))  # m = 2
      >>> assert tx.update(jnp.array([-1.0, -3.0]), state)[0].tolist() == [1.0, -1.0]

    Reference: Chen et al. 2023, https://arxiv.org/abs/2302.06675.
    """
    check.decay(b1=b1, b2=b2)
    check.positive(b2=b2)
    check.one_of(("hard", "smooth", "refined"), mode=mode)
    check.positive(smooth_beta=smooth_beta)
    store = as_store(mu_dtype)

    def pressed(x: Any) -> Any:
        if mode == "hard":
            return jnp.sign(x)
        check.real(x)
        return (
            jnp.tanh(tree.factor_like(smooth_beta, x) * x)
            if mode == "smooth"
            else jnp.clip(x, -1.0, 1.0)
        )

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(g: Any, stored: Any) -> Any:
            like = tree.factor_like
            fresh = like(1 - b2, g) * g
            new = fresh + like(b2, g) * store.decode(stored, g)
            # The old average by way of the new: were it read twice, XLA could not write the new one in its place, and would copy it.
            return pressed(like(1 - b1, g) * g + like(b1 / b2, g) * (new - fresh)), store.encode(
                new
            )

        updates, stored = tree.map(leaf, updates, state["average"], outputs=2)
        return updates, {"average": stored}

    return Rule(lambda params: {"average": encoded(store, params)}, update)


@transform
def lion(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.99,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-3,
    mask: Any = None,
) -> Transform:
    """Lion: signs of a fast average, a slow one in memory, and weight decay.

    **Rule** Δθ = −α (sign(b1 m_{t−1} + (1 − b1) g_t) + λ θ), m = ema(g; b2).

    **Remembers** ``scale_by_lion.average`` (float32 or wider, or ``mu_dtype``; 4 bytes per parameter). Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; a third to a tenth of AdamW's.
      b1: weight of the memory in the direction, in [0, 1).
      b2: decay of the memory, in (0, 1).
      mu_dtype: dtype of the memory, or a `Store`.
      weight_decay: λ ≥ 0, a number or a schedule; three to ten times AdamW's.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative λ or rate.

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
