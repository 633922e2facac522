"""Nesterov's accelerated gradient, with the gradient taken at the look-ahead point.

Δθ_t = ρ Δθ_{t−1} − α_t ∇L(θ_{t−1} + ρ Δθ_{t−1})        φ = ``trace``, no ψ
"""

from typing import Any

import jax

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.typing import Rate


@transform
def nesterov(learning_rate: Rate, momentum: Rate = 0.9) -> Rule:
    """Nesterov's accelerated gradient, evaluated at the look-ahead point.

    **Update rule** Δθ_t = ρ Δθ_{t−1} − α ∇L(θ_{t−1} + ρ Δθ_{t−1}). The point φ_t = θ_t + ρ Δθ_t
    follows the iterates of ``sgd(α, ρ, nesterov=True)``, which needs only the gradient at the
    parameters themselves.

    **State** ``delta``: Δθ (float32 or wider; 4 bytes per parameter). Needs params, and the extra
    argument ``value_fn``, the loss as a function of params: its gradient is taken at the look-ahead
    point. The gradients passed to ``update`` are not used, and under jit not computed.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      momentum: ρ in [0, 1].

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: no ``value_fn`` (``make_step`` passes it).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> ahead, usual = gk.nesterov(0.1, 0.9), gk.sgd(0.1, 0.9, nesterov=True)
      >>> a, b = (gk.make_step(lambda w: jnp.sum(w**2), tx) for tx in (ahead, usual))
      >>> w, phi = jnp.ones(1), jnp.ones(1)
      >>> state, other = ahead.init(w), usual.init(phi)
      >>> for _ in range(5):
      ...     w, state, _ = a(w, state)
      ...     phi, other, _ = b(phi, other)
      >>> assert jnp.allclose(w + 0.9 * state.inner["nesterov"]["delta"], phi)

    Reference: Nesterov 1983; Sutskever et al. 2013,
    https://proceedings.mlr.press/v28/sutskever13.html.
    """
    check.non_negative(learning_rate=learning_rate)
    check.probability(momentum=momentum)

    def update(updates: Any, state: Any, params: Any, *, value_fn: Any) -> Any:
        check.params(params)
        carried = tree.scale(state["delta"], momentum)
        grads = jax.grad(value_fn)(jax.tree.map(lambda p, c: p + c, params, carried))
        delta = jax.tree.map(
            lambda c, g: c - tree.factor_like(learning_rate, c) * g, carried, tree.widen(grads)
        )
        return delta, {"delta": delta}

    return Rule(lambda params: {"delta": tree.zeros_like(params)}, update)
