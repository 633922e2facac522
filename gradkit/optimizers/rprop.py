"""Rprop: one step size per element, which grows while the gradient keeps its sign.

Δθ_t = −Δ_t · sign(g_t)

φ = ``latest``, no ψ: the sign replaces the quotient, and Δ_t adapts for each element.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.transforms.scale import scale
from gradkit.typing import Rate


@transform
def scale_by_rprop(
    learning_rate: Rate,
    eta_minus: Rate = 0.5,
    eta_plus: Rate = 1.2,
    min_step_size: Rate = 1e-6,
    max_step_size: Rate = 50.0,
) -> Rule:
    """Compute Rprop's steps: signs scaled by a step size per element that adapts to sign changes.

    **Update rule** s = g_t g_{t−1}. If s > 0, Δ ← min(η₊ Δ, Δ_max). If s < 0, Δ ← max(η₋ Δ, Δ_min)
    and g_t is replaced by 0. u_t = Δ sign(g_t).

    **State** ``length`` (Δ) and ``sign`` (of g_{t−1}): float32 or wider; 8 bytes per parameter.

    Args:
      learning_rate: the first Δ, > 0.
      eta_minus: η₋ in (0, 1], the factor of Δ after a change of sign.
      eta_plus: η₊ ≥ 1, the factor of Δ otherwise.
      min_step_size: Δ_min ≥ 0.
      max_step_size: Δ_max > Δ_min.

    Raises:
      ValueError: an argument out of range.
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

    **Differs from optax**, which returns each update one step late.

    Reference: Riedmiller and Braun 1993, https://doi.org/10.1109/ICNN.1993.298623; Igel and Hüsken
    2000 (iRprop−).
    """
    check.positive(learning_rate=learning_rate)
    check.non_negative(min_step_size=min_step_size)
    check.number("0 < x <= 1", lambda v: (v > 0) & (v <= 1), eta_minus=eta_minus)
    check.number("x >= 1", lambda v: v >= 1, eta_plus=eta_plus)
    check.ordered(min_step_size=min_step_size, max_step_size=max_step_size)

    def init(params: Any) -> Any:
        return {"length": tree.zeros_like(params, learning_rate), "sign": tree.zeros_like(params)}

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(g: Any, length: Any, before: Any) -> Any:
            check.real(g)
            like, sign = tree.factor_like, jnp.sign(g)
            agree = sign * before
            factor = jnp.where(agree > 0, like(eta_plus, g), like(eta_minus, g)).astype(g.dtype)
            clipped = jnp.clip(length * factor, like(min_step_size, g), like(max_step_size, g))
            length = jnp.where(agree == 0, length, clipped)
            sign = jnp.where(agree < 0, jnp.zeros_like(sign), sign)
            return length * sign, length, sign

        updates, length, sign = tree.map(leaf, updates, state["length"], state["sign"], outputs=3)
        return updates, {"length": length, "sign": sign}

    return Rule(init, update, scope="element")


@transform
def rprop(
    learning_rate: Rate,
    eta_minus: Rate = 0.5,
    eta_plus: Rate = 1.2,
    min_step_size: Rate = 1e-6,
    max_step_size: Rate = 50.0,
) -> Transform:
    """Rprop: resilient backpropagation, for full-batch training.

    **Update rule** Δθ = −Δ sign(g), Δ as in ``scale_by_rprop``.

    **State** ``scale_by_rprop``: 8 bytes per parameter.

    Args:
      learning_rate: the first Δ, > 0.
      eta_minus: η₋ in (0, 1], the factor of Δ after a change of sign.
      eta_plus: η₊ ≥ 1, the factor of Δ otherwise.
      min_step_size: Δ_min ≥ 0.
      max_step_size: Δ_max > Δ_min.

    Raises:
      ValueError: an argument out of range.
      TypeError: complex leaves, which have no sign.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.rprop(0.5)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.full(1, 0.01), state)[0], -0.6)

    **Differs from optax**, which returns each update one step late (and the first as zero). It
    equals PyTorch's.

    Reference: Riedmiller and Braun 1993, https://doi.org/10.1109/ICNN.1993.298623; Igel and Hüsken
    2000 (iRprop−).
    """
    return chain(
        scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size),
        scale(-1.0),
    )
