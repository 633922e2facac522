"""Averages that do not forget at a fixed rate: the latest value, sums and running maxima.

| average | A_t | used as |
|---|---|---|
| ``latest()`` | x_t | φ of SGD, ψ of sign methods |
| ``trace(β)`` | x_t + β A_{t−1} | φ of momentum and Nesterov |
| ``running_sum()`` | A_{t−1} + x_t | ψ of AdaGrad |
| ``running_max(average)`` | max(A_{t−1}, average_t) | ψ of AMSGrad |
| ``decayed_max(β)`` | max(x_t + ε, β A_{t−1}) | ψ of Adamax |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, stateless, transform
from gradkit.stores import as_store, averages
from gradkit.typing import Rate, StoreLike


@transform
def latest() -> Rule:
    """Return the most recent value (no averaging).

    **Update rule** A_t = x_t.

    **State** none.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.precondition(gk.averages.latest(), None)
      >>> assert tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0].tolist() == [1.0, 1.0]
    """
    return stateless(lambda updates, params: updates, scope="element")


@transform
def trace(decay: Rate, nesterov: bool = False, accumulator_dtype: StoreLike = None) -> Rule:
    """Heavy-ball momentum: accumulate a decayed sum of the gradients.

    **Update rule** A_t = x_t + β A_{t−1}, A_0 = 0; with ``nesterov`` the result is x_t + β A_t.

    **State** ``trace`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 4 bytes
    per parameter).

    Args:
      decay: β in [0, 1], a number or a schedule.
      nesterov: look one step ahead.
      accumulator_dtype: dtype of the state, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1].
      TypeError: ``accumulator_dtype`` is neither a floating dtype nor a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.trace(0.5)
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(3):
      ...     update, state = tx.update(jnp.ones(1), state)
      >>> assert update[0] == 1.75  # 1 + 0.5 + 0.25

    Reference: Polyak 1964; Sutskever et al. 2013,
    https://proceedings.mlr.press/v28/sutskever13.html.
    """
    check.probability(decay=decay)
    store = as_store(accumulator_dtype, "accumulator_dtype")

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(x: Any, old: Any) -> Any:
            beta = tree.factor_like(decay, x)
            new = x + beta * old
            return (x + beta * new if nesterov else new), new

        out, traces = tree.map(leaf, updates, state["trace"], outputs=2)
        return out, {"trace": traces}

    init = lambda params: {"trace": tree.zeros_like(params)}
    return Rule(init, update, scope="element", averages=averages(store, "trace"))


@transform
def running_sum(initial_value: float = 0.0, store: StoreLike = None) -> Rule:
    """Accumulate the sum of all values: the preconditioner of AdaGrad.

    **Update rule** A_t = A_{t−1} + x_t, A_0 = ``initial_value``.

    **State** ``sum`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per parameter).

    Args:
      initial_value: A_0, any finite number.
      store: dtype of the state, or a `Store`.

    Raises:
      ValueError: an ``initial_value`` that is not finite.
      TypeError: ``store`` is neither a floating dtype nor a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.averages.running_sum(0.5)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 2.5
    """
    check.finite(initial_value=initial_value)
    store = as_store(store, "store")

    def update(updates: Any, state: Any, params: Any) -> Any:
        sums = tree.map(jnp.add, state["sum"], updates)
        return sums, {"sum": sums}

    init = lambda params: {"sum": tree.zeros_like(params, initial_value)}
    return Rule(init, update, scope="element", averages=averages(store, "sum"))


@transform
def running_max(average: Transform, store: StoreLike = None) -> Rule:
    """Keep the largest value that another average has had: the preconditioner of AMSGrad.

    **Update rule** A_t = max(A_{t−1}, inner_t), A_0 = 0, elementwise; for averages of magnitudes.

    **State** ``max`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per parameter)
    and ``average``, the state of the inner average.

    Args:
      average: the inner average, a transform such as ``ema(0.999)``.
      store: dtype of the maximum, or a `Store`.

    Raises:
      TypeError: ``average`` is not a transform; ``store`` is neither a floating dtype nor a
        `Store`; complex values, which have no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.averages.running_max(gk.averages.latest())
      >>> _, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 3.0

    Reference: Reddi et al. 2018, https://openreview.net/forum?id=ryQu7f-RZ.
    """
    part, store = Part("average", average), as_store(store, "store")

    def init(params: Any, *, context: Any) -> Any:
        inner = part.init(params, context=context)
        return {"average": inner, "max": tree.magnitudes_like(params)}

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        values, kept = part.update(updates, state["average"], params, context=context)

        def leaf(x: Any, old: Any) -> Any:
            check.real(x)
            return jnp.maximum(old, x)

        maxima = tree.map(leaf, values, state["max"])
        return maxima, {"average": kept, "max": maxima}

    declared = averages(store, "max")
    return Rule(init, update, parts=(part,), scope="element", averages=declared)


@transform
def decayed_max(decay: Rate, eps: Rate = 0.0, store: StoreLike = None) -> Rule:
    """Keep the largest value so far, which decays: the preconditioner of Adamax.

    **Update rule** A_t = max(x_t + ε, β A_{t−1}), A_0 = 0, elementwise; for averages of
    magnitudes.

    **State** ``max`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per parameter).

    Args:
      decay: β in [0, 1), a number or a schedule.
      eps: ε ≥ 0, a number or a schedule; keeps the maximum above zero.
      store: dtype of the state, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative ``eps``.
      TypeError: ``store`` is neither a floating dtype nor a `Store`; complex values, which have
        no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.averages.decayed_max(0.5)
      >>> _, state = tx.update(jnp.full(1, 8.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 4.0

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7.1.
    """
    check.decay(decay=decay)
    check.non_negative(eps=eps)
    store = as_store(store, "store")

    def update(updates: Any, state: Any, params: Any) -> Any:
        def leaf(x: Any, old: Any) -> Any:
            check.real(x)
            like = tree.factor_like
            return jnp.maximum(x + like(eps, x), like(decay, x) * old)

        maxima = tree.map(leaf, updates, state["max"])
        return maxima, {"max": maxima}

    init = lambda params: {"max": tree.magnitudes_like(params)}
    return Rule(init, update, scope="element", averages=averages(store, "max"))
