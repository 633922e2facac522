"""Nesterov."""

from typing import Any

import jax

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import transform


@transform
def nesterov(learning_rate: Any, momentum: Any = 0.9) -> Rule:
    """Nesterov's accelerated gradient in its look-ahead form.

    **Rule** Δθ_t = ρ Δθ_{t−1} − α ∇L(θ_{t−1} + ρ Δθ_{t−1}). The point φ_t = θ_t + ρ Δθ_t moves exactly as under ``sgd(α, ρ, nesterov=True)``, for which one
    gradient at the parameters themselves is enough.

    **Remembers** ``delta``: Δθ, 4 bytes per parameter. Needs params, and the extra ``value_fn`` (the loss as a function of params), whose
    gradient it takes where it looks; the gradients passed to ``update`` are not used, and under jit not computed.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      momentum: ρ in [0, 1].

    Raises:
      TypeError: no ``value_fn`` (``make_step`` passes it).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> ahead, usual = gk.nesterov(0.1, 0.9), gk.sgd(0.1, 0.9, nesterov=True)
      >>> a, b = (gk.make_step(lambda w: jnp.sum(w**2), tx) for tx in (ahead, usual))
      >>> w, state, phi, other = jnp.ones(1), ahead.init(jnp.ones(1)), jnp.ones(1), usual.init(jnp.ones(1))
      >>> for _ in range(5):
      ...     w, state, _ = a(w, state)
      ...     phi, other, _ = b(phi, other)
      >>> assert jnp.allclose(w + 0.9 * state.inner["nesterov"]["delta"], phi)

    Reference: Nesterov 1983; Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html.
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
