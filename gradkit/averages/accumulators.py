"""Accumulators."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform
from gradkit.stores import as_store, encoded


@transform
def latest() -> Rule:
    """No average at all: what came last.

    **Rule** A_t = x_t.

    **Remembers** nothing.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.precondition(gk.latest(), None)
      >>> assert tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0].tolist() == [1.0, 1.0]
    """
    return stateless(lambda updates, params: updates)


@transform
def trace(decay: Any, nesterov: bool = False, accumulator_dtype: Any = None) -> Rule:
    """Heavy-ball momentum: a sum of gradients that fades.

    **Rule** A_t = x_t + β A_{t−1}, A_0 = 0; with ``nesterov`` the result is x_t + β A_t.

    **Remembers** ``trace`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 4 bytes per parameter).

    Args:
      decay: β in [0, 1], a number or a schedule.
      nesterov: look one step ahead.
      accumulator_dtype: dtype of the memory, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1].

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.trace(0.5)
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(3):
      ...     update, state = tx.update(jnp.ones(1), state)
      >>> assert update[0] == 1.75  # 1 + 0.5 + 0.25

    Reference: Polyak 1964; Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html.
    """
    check.probability(decay=decay)
    store = as_store(accumulator_dtype)

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            beta = tree.factor_like(decay, x)
            new = x + beta * store.decode(stored, x)
            return (x + beta * new if nesterov else new), store.encode(new)

        traces, stored = tree.map(leaf, updates, state["trace"], outputs=2)
        return traces, {"trace": stored}

    return Rule(lambda params: {"trace": encoded(store, params)}, update)


@transform
def running_sum(initial_value: Any = 0.0, store: Any = None) -> Rule:
    """The sum of all that came: AdaGrad's preconditioner.

    **Rule** A_t = A_{t−1} + x_t, A_0 = ``initial_value``.

    **Remembers** ``running_sum`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per parameter).

    Args:
      initial_value: A_0, any finite number.
      store: dtype of the memory, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.running_sum(0.5)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 2.5
    """
    check.finite(initial_value=initial_value)
    store = as_store(store)

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            new = store.decode(stored, x) + x
            return new, store.encode(new)

        totals, stored = tree.map(leaf, updates, state["sum"], outputs=2)
        return totals, {"sum": stored}

    return Rule(lambda params: {"sum": encoded(store, params, initial_value)}, update)


@transform
def running_max(average: Any, store: Any = None) -> Rule:
    """The largest value another average has had: AMSGrad's preconditioner.

    **Rule** A_t = max(A_{t−1}, inner_t), A_0 = 0, elementwise; for averages of magnitudes.

    **Remembers** ``running_max`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per parameter) and what the inner average
    remembers, under ``average``.

    Args:
      average: the inner average, a transform such as ``ema(0.999)``.
      store: dtype of the peak's own memory, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.running_max(gk.latest())
      >>> _, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 3.0

    Reference: Reddi et al. 2018, https://openreview.net/forum?id=ryQu7f-RZ.
    """
    check.part(average=average)
    inner, store = average.rule, as_store(store)

    def init(params: Any) -> Any:
        return {"average": inner.init(params), "max": encoded(store, params, real=True)}

    def update(updates: Any, state: Any, params: Any, **extras: Any) -> Any:
        averages, kept = inner.update(updates, state["average"], params, **extras)

        def leaf(x: Any, stored: Any) -> Any:
            check.real(x)
            new = jnp.maximum(store.decode(stored, x), x)
            return new, store.encode(new)

        peaks, stored = tree.map(leaf, averages, state["max"], outputs=2)
        return peaks, {"average": kept, "max": stored}

    return Rule(init, update)


@transform
def decayed_max(decay: Any, eps: Any = 0.0, store: Any = None) -> Rule:
    """The largest value so far, which fades: Adamax's preconditioner.

    **Rule** A_t = max(x_t + ε, β A_{t−1}), A_0 = 0, elementwise; for averages of magnitudes.

    **Remembers** ``running_max`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per parameter).

    Args:
      decay: β in [0, 1), a number or a schedule.
      eps: ε ≥ 0, keeps the peak off zero.
      store: dtype of the memory, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.decayed_max(0.5)
      >>> _, state = tx.update(jnp.full(1, 8.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 4.0

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7.1.
    """
    check.decay(decay=decay)
    check.non_negative(eps=eps)
    store = as_store(store)

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            check.real(x)
            new = jnp.maximum(
                x + tree.factor_like(eps, x), tree.factor_like(decay, x) * store.decode(stored, x)
            )
            return new, store.encode(new)

        peaks, stored = tree.map(leaf, updates, state["max"], outputs=2)
        return peaks, {"max": stored}

    return Rule(lambda params: {"max": encoded(store, params, real=True)}, update)
