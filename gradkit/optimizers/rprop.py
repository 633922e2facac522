"""Rprop."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.transforms.scale import scale


@transform
def scale_by_rprop(
    learning_rate: Any,
    eta_minus: Any = 0.5,
    eta_plus: Any = 1.2,
    min_step_size: Any = 1e-6,
    max_step_size: Any = 50.0,
) -> Rule:
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
    check.non_negative(
        min_step_size=min_step_size,
        **{"eta_plus - 1": eta_plus - 1, "1 - eta_minus": 1 - eta_minus},
    )
    check.ordered(min_step_size=min_step_size, max_step_size=max_step_size)

    def init(params: Any) -> Any:
        return {"length": tree.zeros_like(params, learning_rate), "sign": tree.zeros_like(params)}

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(g: Any, length: Any, before: Any) -> Any:
            check.real(g)
            like, sign = tree.factor_like, jnp.sign(g)
            agree = sign * before
            factor = jnp.where(agree > 0, like(eta_plus, g), like(eta_minus, g)).astype(g.dtype)
            length = jnp.where(
                agree == 0,
                length,
                jnp.clip(length * factor, like(min_step_size, g), like(max_step_size, g)),
            )
            sign = jnp.where(agree < 0, jnp.zeros_like(sign), sign)
            return length * sign, length, sign

        updates, length, sign = tree.map(leaf, updates, state["length"], state["sign"], outputs=3)
        return updates, {"length": length, "sign": sign}

    return Rule(init, update)


@transform
def rprop(
    learning_rate: Any,
    eta_minus: Any = 0.5,
    eta_plus: Any = 1.2,
    min_step_size: Any = 1e-6,
    max_step_size: Any = 50.0,
) -> Transform:
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
    return chain(
        scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size),
        scale(-1.0),
    )
