"""Optimizers that take the sign in the quotient's place.

    Δθ_t = −α_t · sign(M_t)

| | M_t | its memory |
|---|---|---|
| ``signum`` | ema of g | the same |
| ``lion`` | b1 m_{t−1} + (1 − b1) g_t | m = ema(g; b2) |
| ``rprop`` | g_t; α one per number, larger while the sign stays | α, sign g_{t−1} |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.averages import ema
from gradkit.averages.stores import as_store, encoded
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.scale import scale, scale_by_learning_rate
from gradkit.transforms.shape import scale_by_sign


@transform
def signum(learning_rate: Any, beta: Any = 0.9, accumulator_dtype: Any = None) -> Transform:
    """Signum: the sign of the averaged gradient.

    **Rule** Δθ = −α sign(m), m = ema(g; β).

    **Remembers** ``ema.average`` (float32 or wider, or ``accumulator_dtype``; 4 bytes per parameter).

    Args:
      learning_rate: α ≥ 0, a number or a schedule: the length of every step of every parameter.
      beta: β in [0, 1).
      accumulator_dtype: dtype of the average, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.signum(0.5)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.full(1, -1.0), state)[0][0] == -0.5  # the average is still positive

    Reference: Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """
    check.decay(beta=beta)
    return chain(ema(beta, False, accumulator_dtype), scale_by_sign(), scale_by_learning_rate(learning_rate))


@transform
def scale_by_lion(b1: Any = 0.9, b2: Any = 0.99, mu_dtype: Any = None, *, mode: str = "hard", smooth_beta: Any = 1.0) -> Rule:
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
        return jnp.tanh(tree.factor_like(smooth_beta, x) * x) if mode == "smooth" else jnp.clip(x, -1.0, 1.0)

    def update(updates: Any, memory: Any, params: Any) -> Any:
        def leaf(g: Any, stored: Any) -> Any:
            like = tree.factor_like
            fresh = like(1 - b2, g) * g
            new = fresh + like(b2, g) * store.decode(stored, g)
            # The old average by way of the new: were it read twice, XLA could not write the new one in its place, and would copy it.
            return pressed(like(1 - b1, g) * g + like(b1 / b2, g) * (new - fresh)), store.encode(new)

        updates, stored = tree.map(leaf, updates, memory["average"], outputs=2)
        return updates, {"average": stored}

    return Rule(lambda params: {"average": encoded(store, params)}, update)


@transform
def lion(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.99, mu_dtype: Any = None, weight_decay: Any = 1e-3, mask: Any = None) -> Transform:
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
    return chain(scale_by_lion(b1, b2, mu_dtype), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))


@transform
def scale_by_rprop(learning_rate: Any, eta_minus: Any = 0.5, eta_plus: Any = 1.2, min_step_size: Any = 1e-6, max_step_size: Any = 50.0) -> Rule:
    """Rprop's steps: a length for every number, which grows while the sign stays and shrinks when it turns.

    **Rule** s = g_t g_{t−1}. s > 0: Δ ← min(η₊ Δ, Δ_max); s < 0: Δ ← max(η₋ Δ, Δ_min), and g_t counts as 0. u_t = Δ sign(g_t).

    **Remembers** ``length`` (Δ) and ``sign`` (of g_{t−1}): 8 bytes per parameter.

    Args:
      learning_rate: the first Δ, > 0.
      eta_minus: η₋ in (0, 1).
      eta_plus: η₊ > 1.
      min_step_size: Δ_min ≥ 0.
      max_step_size: Δ_max > Δ_min.

    Raises:
      ValueError: arguments out of range.
      TypeError: complex leaves, which have no sign.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_rprop(0.1)
      >>> state, lengths = tx.init(jnp.zeros(())), []
      >>> for g in (1.0, 1.0, 1.0, -1.0, -1.0):
      ...     update, state = tx.update(jnp.float32(g), state)
      ...     lengths.append(round(abs(float(update)), 6))
      >>> lengths
      [0.1, 0.12, 0.144, 0.0, 0.072]

    **Differs** from optax, which gives each update one step late.

    Reference: Riedmiller and Braun 1993, https://doi.org/10.1109/ICNN.1993.298623; Igel and Hüsken 2000 (iRprop−).
    """
    check.positive(learning_rate=learning_rate, eta_minus=eta_minus)
    check.non_negative(min_step_size=min_step_size, **{"eta_plus - 1": eta_plus - 1, "1 - eta_minus": 1 - eta_minus})
    check.ordered(min_step_size=min_step_size, max_step_size=max_step_size)

    def init(params: Any) -> Any:
        return {"length": tree.zeros_like(params, learning_rate), "sign": tree.zeros_like(params)}

    def update(updates: Any, memory: Any, params: Any) -> Any:
        def leaf(g: Any, length: Any, before: Any) -> Any:
            check.real(g)
            like, sign = tree.factor_like, jnp.sign(g)
            agree = sign * before
            factor = jnp.where(agree > 0, like(eta_plus, g), like(eta_minus, g)).astype(g.dtype)
            length = jnp.where(agree == 0, length, jnp.clip(length * factor, like(min_step_size, g), like(max_step_size, g)))
            sign = jnp.where(agree < 0, jnp.zeros_like(sign), sign)
            return length * sign, length, sign

        updates, length, sign = tree.map(leaf, updates, memory["length"], memory["sign"], outputs=3)
        return updates, {"length": length, "sign": sign}

    return Rule(init, update)


@transform
def rprop(learning_rate: Any, eta_minus: Any = 0.5, eta_plus: Any = 1.2, min_step_size: Any = 1e-6, max_step_size: Any = 50.0) -> Transform:
    """Rprop: resilient backpropagation, for whole batches.

    **Rule** Δθ = −Δ sign(g), Δ as in ``scale_by_rprop``.

    **Remembers** ``scale_by_rprop``: 8 bytes per parameter.

    Args:
      learning_rate: the first Δ, > 0.
      eta_minus: η₋ in (0, 1).
      eta_plus: η₊ > 1.
      min_step_size: Δ_min ≥ 0.
      max_step_size: Δ_max > Δ_min.

    Raises:
      ValueError: arguments out of range.
      TypeError: complex leaves, which have no sign.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.rprop(0.5)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.full(1, 0.01), state)[0], -0.6)

    **Differs** from optax, which gives each update one step late (and the first as zero). It is torch's.

    Reference: Riedmiller and Braun 1993, https://doi.org/10.1109/ICNN.1993.298623; Igel and Hüsken 2000 (iRprop−).
    """
    return chain(scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size), scale(-1.0))
