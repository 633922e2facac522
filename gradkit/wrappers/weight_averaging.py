"""Weight averaging: the last transform of a chain, which leaves the updates unchanged.

| | average of θ_1 … θ_t | weight of θ_s |
|---|---|---|
| ``weight_ema(β)`` | A ← A + (1 − β)(θ − A) | (1 − β) β^(t−s), debiased |
| ``polyak_average(a)`` | the mean from step a on | 1 for s ≥ a |
| ``swa(a, k)`` | the mean of every k-th from step a on | 1 for s = a, a + k, … |

``eval_params(tx, state, params)`` returns the average, through any nesting. Inside ``MultiSteps``
or ``guard`` they count the steps that were applied.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._part import gate
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.stores import as_store, encoded
from gradkit.typing import Rate, StoreLike


@transform
def weight_ema(decay: Rate, debias: bool = True, store: StoreLike = None) -> Rule:
    """Keep an exponential moving average of the weights.

    **Update rule** u ← g; A ← A + (1 − β_t)(θ' − A) with θ' = θ + g, rounded as the parameters are.
    Debiased, the average is of θ_1 … θ_t alone, A / (1 − Πβ); otherwise A_0 = θ_0, the weights
    before the first step.

    **State** ``average`` (float32 or wider, or ``store``; 4 bytes per parameter) and ``log_unseen``
    = log Πβ. Requires params. Must be the last transform of the chain.

    Args:
      decay: β in [0, 1).
      debias: leave θ_0 out.
      store: dtype of the state, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.sgd(1.0), gk.weight_ema(0.5))
      >>> w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(2):
      ...     w, state = tx.apply(w, state, jnp.full(1, -3.0))
      >>> assert w[0] == 6.0
      >>> assert gk.eval_params(tx, state, w)[0] == 5.0  # (0.25 · 3 + 0.5 · 6) / 0.75

    Reference: Polyak and Juditsky 1992; Morales-Brotons et al. 2024,
    https://arxiv.org/abs/2411.18704.
    """
    check.decay(decay=decay)
    kept = as_store(store, "store", keyed=False)

    def init(params: Any) -> Any:
        unseen = jnp.zeros((), numerics.scalar_dtype(params))
        return {"average": encoded(kept, params), "log_unseen": unseen}

    def update(updates: Any, state: Any, params: Any, *, leaves: Any) -> Any:
        check.params(params)
        fresh, first = numerics.complement(decay), state["log_unseen"] == 0

        def leaf(w: Any, before: Any, stored: Any) -> Any:
            old = kept.decode(stored, w)
            if not debias:
                old = jnp.where(first, before, old)
            return kept.encode(old + tree.factor_like(fresh, w) * (w - old))

        average = tree.map(leaf, _after(leaves, updates), params, state["average"])
        log_unseen = state["log_unseen"] + numerics.log(decay)
        return updates, {"average": average, "log_unseen": log_unseen}

    def evaluate(state: Any, params: Any) -> Any:
        unseen = state["log_unseen"]
        weight = jnp.where(unseen == 0, 1.0, -jnp.expm1(unseen))

        def leaf(w: Any, stored: Any) -> Any:
            average = kept.decode(stored, w)
            seen = average / tree.factor_like(weight, w) if debias else average
            return jnp.where(unseen == 0, w, seen)

        return tree.map(leaf, tree.widen(params), state["average"])

    return Rule(init, update, evaluate=evaluate, sharded=True)


@transform
def swa(start: int, every: int = 1, store: StoreLike = None) -> Rule:
    """Stochastic weight averaging: average the weights every ``every`` steps, from ``start`` on.

    **Update rule** u ← g; after step t = a, a + k, a + 2k, … (t from 1): n ← n + 1, A ← A + (θ' −
    A) / n with θ' = θ + g, rounded as the parameters are.

    **State** ``average`` (float32 or wider, or ``store``; 4 bytes per parameter, untouched between
    snapshots) and ``seen`` = n. Requires params. Must be the last transform of the chain. Before
    the first snapshot ``eval_params`` returns the parameters themselves.

    Args:
      start: a ≥ 0, in steps.
      every: k ≥ 1, in steps: an epoch, or the period of a cyclic learning rate.
      store: dtype of the state, or a `Store`.

    Raises:
      ValueError: ``start`` < 0, ``every`` < 1, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.sgd(1.0), gk.swa(start=2, every=3))
      >>> w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(6):
      ...     w, state = tx.apply(w, state, jnp.full(1, -1.0))
      >>> assert w[0] == 6.0 and gk.eval_params(tx, state, w)[0] == 3.5  # the mean of 2 and 5

    Reference: Izmailov et al. 2018, https://arxiv.org/abs/1803.05407, algorithm 1.
    """
    check.integer(0, start=start)
    check.integer(1, every=every)
    kept = as_store(store, "store", keyed=False)

    def init(params: Any) -> Any:
        seen = jnp.zeros((), numerics.scalar_dtype(params))
        return {"average": encoded(kept, params), "seen": seen}

    def update(updates: Any, state: Any, params: Any, *, step: Any, leaves: Any) -> Any:
        check.params(params)
        now = step + 1
        due = (now >= start) & ((now - start) % every == 0)

        def snapshot(state: Any, operands: Any) -> Any:
            seen = state["seen"] + 1

            def leaf(w: Any, stored: Any) -> Any:
                old = kept.decode(stored, w)
                return kept.encode(old + (w - old) / tree.factor_like(seen, w))

            return {"average": tree.map(leaf, _after(*operands), state["average"]), "seen": seen}

        return updates, gate(due, snapshot, state, (leaves, updates), pure=True)

    def evaluate(state: Any, params: Any) -> Any:
        def leaf(w: Any, stored: Any) -> Any:
            return jnp.where(state["seen"] == 0, w, kept.decode(stored, w))

        return tree.map(leaf, tree.widen(params), state["average"])

    return Rule(init, update, evaluate=evaluate, sharded=True)


@transform
def polyak_average(start: int = 0, store: StoreLike = None) -> Transform:
    """Keep the mean of the weights from a step on (Polyak averaging).

    **Update rule** ``swa(start, every=1)``: the mean of θ_t for t ≥ a, t from 1.

    **State** as ``swa``.

    Args:
      start: a ≥ 0, in steps; 0 and 1 average all.
      store: dtype of the state, or a `Store`.

    Raises:
      ValueError: ``start`` < 0, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.sgd(1.0), gk.polyak_average(start=3))
      >>> w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(5):
      ...     w, state = tx.apply(w, state, jnp.full(1, -1.0))
      >>> assert w[0] == 5.0 and gk.eval_params(tx, state, w)[0] == 4.0  # the mean of 3, 4 and 5

    Reference: Polyak and Juditsky 1992, https://doi.org/10.1137/0330046.
    """
    return swa(start, 1, store)


def _after(leaves: Any, updates: Any) -> Any:
    """The parameters after the step, rounded as training rounds them, wide."""
    return tree.widen(tree.add_rounded(leaves, updates))
