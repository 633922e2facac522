"""Lookahead: fast weights run ahead, slow weights follow every k steps.

| | |
|---|---|
| every step | φ ← φ + fast(g), g the gradient at φ |
| every k-th | θ ← θ + α (φ − θ), φ ← θ |

The parameters in training are φ, the fast ones; θ is in the memory, and ``eval_params`` gives it.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import transform


@transform
def lookahead(
    fast_optimizer: Any, sync_period: int, slow_step_size: Any, reset_state: bool = False
) -> Rule:
    """Let an optimizer run k steps ahead, then go back a part of the way.

    **Rule** u = fast(g); on every k-th step θ ← θ + α (φ + u − θ) and u ← θ − φ, so that fast and slow weights meet.

    **Remembers** ``inner``, what the fast optimizer remembers, ``slow`` (θ; float32 or wider; 4 bytes per parameter) and ``started``. Needs params. The last
    link of the chain: what changes its updates keeps fast and slow weights from meeting. ``eval_params`` gives θ.

    Args:
      fast_optimizer: a transform.
      sync_period: k ≥ 1.
      slow_step_size: α in [0, 1], a number or a schedule.
      reset_state: let the fast optimizer forget what it remembers at every k-th step.

    Raises:
      ValueError: k < 1, α outside [0, 1], no params, a fast optimizer that keeps evaluation weights itself.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.lookahead(gk.sgd(1.0), sync_period=2, slow_step_size=0.5)
      >>> w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for expected in (-1.0, -1.0, -2.0, -2.0):  # −1, −2 and half of the way back, ...
      ...     w, state = tx.apply(w, state, jnp.ones(1))
      ...     assert w[0] == expected
      >>> assert gk.eval_params(tx, state, w)[0] == -2.0

    **Differs** from optax: the slow weights are kept in the state, not beside the parameters in a ``LookaheadParams``, so that training loops need
    not know; ``reset_state`` resets the memory, not the clock, so a schedule in the fast optimizer goes on.

    Reference: Zhang et al. 2019, https://arxiv.org/abs/1907.08610, algorithm 1.
    """
    check.part(fast_optimizer=fast_optimizer)
    check.integer(1, sync_period=sync_period)
    check.probability(slow_step_size=slow_step_size)
    rule = fast_optimizer.rule
    if rule.evaluate is not None:
        check.fail(
            "needs an inner transform without evaluation weights",
            repr(fast_optimizer),
            "Keep one average of the weights",
            path="fast_optimizer",
        )

    def init(params: Any, *, leaves: Any) -> Any:
        return {
            "inner": rule.init(params, leaves=leaves),
            "slow": tree.zeros_like(params),
            "started": jnp.zeros((), bool),
        }

    def update(
        updates: Any, state: Any, params: Any, *, step: Any, leaves: Any, **extras: Any
    ) -> Any:
        check.params(params)
        updates, kept = rule.update(
            updates, state["inner"], params, step=step, leaves=leaves, **extras
        )
        sync = (step + 1) % sync_period == 0

        def leaf(u: Any, fast: Any, slow: Any) -> Any:
            slow = jnp.where(state["started"], slow, fast)
            apart = fast + u - slow
            rate = tree.factor_like(slow_step_size, apart)
            return jnp.where(sync, u - (1 - rate) * apart, u), jnp.where(
                sync, slow + rate * apart, slow
            )

        updates, slow = tree.map(leaf, updates, params, state["slow"], outputs=2)
        if reset_state:
            kept = jax.tree.map(
                lambda new, fresh: jnp.where(sync, fresh, new),
                kept,
                rule.init(params, leaves=leaves),
            )
        return updates, {"inner": kept, "slow": slow, "started": jnp.ones((), bool)}

    def evaluate(state: Any, params: Any) -> Any:
        return jax.tree.map(
            lambda slow, p: jnp.where(state["started"], slow, numerics.cast(p, slow.dtype)),
            state["slow"],
            params,
        )

    return Rule(init, update, evaluate=evaluate)
