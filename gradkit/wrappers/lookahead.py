"""Lookahead: fast weights take k steps, then the slow weights move towards them.

| | |
|---|---|
| every step | φ ← φ + fast(g), g the gradient at φ |
| every k-th | θ ← θ + α (φ − θ), φ ← θ |

The parameters in training are the fast ones, φ; the slow ones, θ, are in the state, and
``eval_params`` returns them.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit._walk import refuse_evaluation
from gradkit.typing import Rate


@transform
def lookahead(
    fast_optimizer: Transform, sync_period: int, slow_step_size: Rate, reset_state: bool = False
) -> Rule:
    """Run an optimizer for k steps, then return part of the way (lookahead).

    **Update rule** u = fast(g); on every k-th step θ ← θ + α (φ + u − θ) and u ← θ − φ, so that
    fast and slow weights become equal.

    **State** ``fast_optimizer``, ``slow`` (θ; float32 or wider; 4 bytes per parameter) and
    ``started``. Requires params. Must be the last transform of the chain: one that changes its
    updates keeps the weights from becoming equal. ``eval_params`` returns θ.

    Args:
      fast_optimizer: a transform.
      sync_period: k ≥ 1.
      slow_step_size: α in [0, 1].
      reset_state: reset the state of the fast optimizer at every k-th step.

    Raises:
      ValueError: k < 1, α outside [0, 1], no params, a fast optimizer that keeps evaluation weights
        itself.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.lookahead(gk.sgd(1.0), sync_period=2, slow_step_size=0.5)
      >>> w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for expected in (-1.0, -1.0, -2.0, -2.0):  # −1, −2 and half of the way back, ...
      ...     w, state = tx.apply(w, state, jnp.ones(1))
      ...     assert w[0] == expected
      >>> assert gk.eval_params(tx, state, w)[0] == -2.0

    **Differs from optax**: the slow weights are in the state, not beside the parameters in a
    ``LookaheadParams``, so training loops need not know of them; ``reset_state`` resets the state,
    not the clock, so a schedule in the fast optimizer goes on.

    Reference: Zhang et al. 2019, https://arxiv.org/abs/1907.08610, algorithm 1.
    """
    check.integer(1, sync_period=sync_period)
    check.probability(slow_step_size=slow_step_size)
    refuse_evaluation(fast_optimizer=fast_optimizer)
    part = Part("fast_optimizer", fast_optimizer)

    def init(params: Any, *, context: Any) -> Any:
        return {
            "fast_optimizer": part.init(params, context=context),
            "slow": tree.zeros_like(params),
            "started": jnp.zeros((), bool),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        check.params(params)
        updates, kept = part.update(updates, state["fast_optimizer"], params, context=context)
        sync = (context.step + 1) % sync_period == 0

        def leaf(u: Any, fast: Any, slow: Any) -> Any:
            slow = jnp.where(state["started"], slow, fast)
            apart = fast + u - slow
            rate = tree.factor_like(slow_step_size, apart)
            new = jnp.where(sync, u - (1 - rate) * apart, u)
            return new, jnp.where(sync, slow + rate * apart, slow)

        updates, slow = tree.map(leaf, updates, params, state["slow"], outputs=2)
        if reset_state:
            fresh = part.init(params, context=context)
            kept = jax.tree.map(lambda new, first: jnp.where(sync, first, new), kept, fresh)
        return updates, {"fast_optimizer": kept, "slow": slow, "started": jnp.ones((), bool)}

    def evaluate(state: Any, params: Any) -> Any:
        def leaf(slow: Any, p: Any) -> Any:
            return jnp.where(state["started"], slow, numerics.cast(p, slow.dtype))

        return jax.tree.map(leaf, state["slow"], params)

    return Rule(init, update, parts=(part,), evaluate=evaluate, sharded=True)
