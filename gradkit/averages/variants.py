"""Averages made of averages, and averages of another pace.

| | average A_t of x_1 … x_t | its use |
|---|---|---|
| ``blend(first, second, w)`` | first_t + w second_t | AdEMAMix, Grokfast |
| ``per_leaf(average)`` | the average of Σ x over the leaf | NovoGrad |
| ``ema_from_first(β)`` | A ← A + (1 − β)(x − A), A_1 = x_1 | NovoGrad, Grokfast |
| ``drift(β)`` | A ← A − (1 − β) sign(A − x) x | Yogi |
"""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.stores import as_store, encoded


def _average(**named: Any) -> Rule:
    """The rule of an argument that must be an average."""
    ((name, part),) = named.items()
    if not isinstance(part, Transform):
        check.fail("needs an average", repr(part), "Such as ema(0.9)", path=name, error=TypeError)
    return part.rule


@transform
def blend(first: Any, second: Any, weight: Any = 1.0) -> Rule:
    """Two averages of the same, added.

    **Rule** A_t = first_t + w second_t.

    **Remembers** ``first`` and ``second``: what the two averages remember.

    Args:
      first: an average, such as ``ema(0.9)``.
      second: another.
      weight: w, a finite number or a schedule.

    Raises:
      ValueError: a weight that is not finite.
      TypeError: a part that is no transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.blend(gk.trace(0.5), gk.latest(), weight=3.0)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 1.5 + 3.0
    """
    check.finite(weight=weight)
    one, other = _average(first=first), _average(second=second)

    def init(params: Any) -> Any:
        return {"first": one.init(params), "second": other.init(params)}

    def update(updates: Any, memory: Any, params: Any, **extras: Any) -> Any:
        ones, kept_one = one.update(updates, memory["first"], params, **extras)
        others, kept_other = other.update(updates, memory["second"], params, **extras)
        mixed = tree.map(lambda a, b: a + tree.factor_like(weight, b) * b, ones, others)
        return mixed, {"first": kept_one, "second": kept_other}

    return Rule(init, update)


@transform
def per_leaf(average: Any, mean: bool = False) -> Rule:
    """One number for each leaf: an average fed the sum of the leaf.

    **Rule** A_t = average of Σ_i x_i (or, with ``mean``, of the mean over the leaf), the same for every number of the leaf. As a metric it averages ‖g‖².

    **Remembers** ``leaf``: what the inner average remembers for one number per leaf.

    Args:
      average: the inner average, a transform such as ``ema(0.999)``.
      mean: divide the sum by the size of the leaf.

    Raises:
      TypeError: ``average`` is no transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.precondition(gk.latest(), gk.per_leaf(gk.latest()))
      >>> assert jnp.allclose(tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))[0], jnp.array([0.6, 0.8]))  # g / ‖g‖
    """
    inner = _average(average=average)

    def init(params: Any) -> Any:
        return {"leaf": inner.init(jax.tree.map(lambda x: jnp.zeros((), x.dtype), tree.zeros_like(params)))}

    def update(updates: Any, memory: Any, params: Any, **extras: Any) -> Any:
        def gathered(x: Any) -> Any:
            return jnp.sum(x) / max(x.size, 1) if mean else jnp.sum(x)

        averages, kept = inner.update(tree.map(gathered, updates), memory["leaf"], params, **extras)
        return tree.map(lambda a, x: jnp.broadcast_to(a, x.shape), averages, updates), {"leaf": kept}

    return Rule(init, update)


@transform
def ema_from_first(decay: Any, accumulator_dtype: Any = None) -> Rule:
    """Exponential moving average that begins with the first value instead of zero, and so needs no debiasing.

    **Rule** A_t = A_{t−1} + (1 − β)(x_t − A_{t−1}), A_1 = x_1. The first value weighs β^(t−1), where a debiased ``ema`` gives it (1 − β) β^(t−1) / (1 − β^t).

    **Remembers** ``average`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 4 bytes per parameter).

    Args:
      decay: β in [0, 1), a number or a schedule.
      accumulator_dtype: dtype of the memory, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.ema_from_first(0.75)
      >>> first, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 4.0 and tx.update(jnp.zeros(1), state)[0][0] == 3.0
    """
    check.decay(decay=decay)
    store = as_store(accumulator_dtype)

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            old = store.decode(stored, x)
            new = jnp.where(step == 0, x, old + tree.factor_like(1 - decay, x) * (x - old))
            return new, store.encode(new)

        averages, stored = tree.map(leaf, updates, memory["average"], outputs=2)
        return averages, {"average": stored}

    return Rule(lambda params: {"average": encoded(store, params)}, update)


@transform
def drift(decay: Any, debias: bool = True, initial_value: Any = 0.0, accumulator_dtype: Any = None) -> Rule:
    """An average that moves towards what comes by a step that does not grow with the distance: Yogi's metric.

    **Rule** A_t = A_{t−1} − (1 − β) sign(A_{t−1} − x_t) x_t, A_0 = ``initial_value``; debiased: A_t / (1 − Πβ). For averages of magnitudes.

    **Remembers** ``average`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 4 bytes per parameter) and, debiased,
    ``log_unseen`` (one number).

    Args:
      decay: β in [0, 1), a number or a schedule.
      debias: divide by the weight of what was seen.
      initial_value: A_0 ≥ 0.
      accumulator_dtype: dtype of the memory, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative ``initial_value``.
      TypeError: complex numbers, which have no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.drift(0.75, debias=False, initial_value=8.0)
      >>> assert tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))[0][0] == 7.0  # an ema would be at 7 too, but at 6 for x = 0, where this stays

    Reference: Zaheer et al. 2018, https://papers.nips.cc/paper/8186, algorithm 2.
    """
    check.decay(decay=decay)
    check.non_negative(initial_value=initial_value)
    store = as_store(accumulator_dtype)

    def init(params: Any) -> Any:
        average = encoded(store, params, initial_value, real=True)
        return {"average": average, "log_unseen": jnp.zeros((), numerics.scalar_dtype(params))} if debias else {"average": average}

    def update(updates: Any, memory: Any, params: Any) -> Any:
        if debias:
            log_unseen = memory["log_unseen"] + numerics.log(decay)
            seen = -jnp.expm1(log_unseen)

        def leaf(x: Any, stored: Any) -> Any:
            check.real(x)
            old = store.decode(stored, x)
            new = old - tree.factor_like(1 - decay, x) * jnp.sign(old - x) * x
            return (new / tree.factor_like(seen, x) if debias else new), store.encode(new)

        averages, stored = tree.map(leaf, updates, memory["average"], outputs=2)
        return averages, {"average": stored, "log_unseen": log_unseen} if debias else {"average": stored}

    return Rule(init, update)
