"""φ and ψ: transforms that take what comes and give back its average.

| | average A_t of x_1 … x_t | weight of x_s |
|---|---|---|
| ``latest`` | x_t | 1 for s = t |
| ``ema(β)`` | A ← A + (1 − β)(x − A), then A / (1 − Πβ) when debiased | (1 − β) β^(t−s) |
| ``trace(β)`` | A ← x + β A | β^(t−s) |
| ``total(a)`` | A ← A + x, from a | 1 |
| ``peak(inner)`` | max over s of the inner average | the largest only |
| ``fading_peak(β)`` | A ← max(x + ε, β A) | the largest of β^(t−s) x_s |
| ``variance(β)`` | Σ w (g − ḡ)², an ema's own spread | |

The same ``ema`` stands alone in a chain, as the moment of Adam (fed g) or as its metric (fed |g|²).
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform
from gradkit.averages.stores import as_store, encoded


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
def ema(decay: Any, debias: bool = True, accumulator_dtype: Any = None, *, nesterov: bool = False, initial_value: Any = 0.0) -> Rule:
    """Exponential moving average, with its weights exact also when the decay moves.

    **Rule** A_t = A_{t−1} + (1 − β_t)(x_t − A_{t−1}), A_0 = ``initial_value``. The weight of what was not seen is u_t = Π β_s; debiased: A_t / (1 − u_t).
    With ``nesterov``: β A_t / (1 − β u_t) + (1 − β) x_t / (1 − u_t), the average one step ahead if x came again.

    **Remembers** ``average`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 4 bytes per parameter) and, debiased,
    ``log_unseen`` = log u_t (one number).

    Args:
      decay: β in [0, 1), a number or a schedule. 0 is ``latest``, also under grad.
      debias: divide by the weight of what was seen.
      accumulator_dtype: dtype of the memory, or a `Store`.
      nesterov: look one step ahead.
      initial_value: A_0, a finite number; the debiased average divides it by 1 − u_t like the rest, as optax does.

    Raises:
      ValueError: a decay outside [0, 1).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.ema(gk.piecewise_constant_schedule(0.5, {5: 1.98}))  # 0.5, then 0.99
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(10):
      ...     average, state = tx.update(jnp.ones(1), state)
      >>> assert abs(float(average[0]) - 1) < 1e-6  # 1 - 0.99**10 instead of the carried weight would give 10.1

    **Differs** from optax: memory is float32 also for bfloat16 gradients; a scheduled decay is debiased exactly.

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 3.
    """
    check.decay(decay=decay)
    check.finite(initial_value=initial_value)
    store = as_store(accumulator_dtype)

    def init(params: Any) -> Any:
        average = encoded(store, params, initial_value)
        return {"average": average, "log_unseen": jnp.zeros((), numerics.scalar_dtype(params))} if debias else {"average": average}

    def update(updates: Any, memory: Any, params: Any) -> Any:
        fresh = 1 - decay
        if debias:
            log_unseen = memory["log_unseen"] + numerics.log(decay)
            seen, ahead = -jnp.expm1(log_unseen), -jnp.expm1(log_unseen + numerics.log(decay))

        def leaf(x: Any, stored: Any) -> Any:
            like = tree.factor_like
            old = store.decode(stored, x)
            new = old + like(fresh, x) * (x - old)
            out = new
            if nesterov:
                out = like(decay, x) * (new / like(ahead, x) if debias else new) + like(fresh, x) * (x / like(seen, x) if debias else x)
            elif debias:
                out = new / like(seen, x)
            return out, store.encode(new)

        averages, stored = tree.map(leaf, updates, memory["average"], outputs=2)
        return averages, {"average": stored, "log_unseen": log_unseen} if debias else {"average": stored}

    return Rule(init, update)


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

    def update(updates: Any, memory: Any, params: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            beta = tree.factor_like(decay, x)
            new = x + beta * store.decode(stored, x)
            return (x + beta * new if nesterov else new), store.encode(new)

        traces, stored = tree.map(leaf, updates, memory["trace"], outputs=2)
        return traces, {"trace": stored}

    return Rule(lambda params: {"trace": encoded(store, params)}, update)


@transform
def total(initial_value: Any = 0.0, accumulator_dtype: Any = None) -> Rule:
    """The sum of all that came: AdaGrad's metric.

    **Rule** A_t = A_{t−1} + x_t, A_0 = ``initial_value``.

    **Remembers** ``total`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 4 bytes per parameter).

    Args:
      initial_value: A_0, any finite number.
      accumulator_dtype: dtype of the memory, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.total(0.5)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 2.5
    """
    check.finite(initial_value=initial_value)
    store = as_store(accumulator_dtype)

    def update(updates: Any, memory: Any, params: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            new = store.decode(stored, x) + x
            return new, store.encode(new)

        totals, stored = tree.map(leaf, updates, memory["total"], outputs=2)
        return totals, {"total": stored}

    return Rule(lambda params: {"total": encoded(store, params, initial_value)}, update)


@transform
def peak(average: Any, accumulator_dtype: Any = None) -> Rule:
    """The largest value another average has had: AMSGrad's metric.

    **Rule** A_t = max(A_{t−1}, inner_t), A_0 = 0, elementwise; for averages of magnitudes.

    **Remembers** ``peak`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 4 bytes per parameter) and what the inner average
    remembers, under ``average``.

    Args:
      average: the inner average, a transform such as ``ema(0.999)``.
      accumulator_dtype: dtype of the peak's own memory, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.peak(gk.latest())
      >>> _, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 3.0

    Reference: Reddi et al. 2018, https://openreview.net/forum?id=ryQu7f-RZ.
    """
    check.part(average=average)
    inner, store = average.rule, as_store(accumulator_dtype)

    def init(params: Any) -> Any:
        return {"average": inner.init(params), "peak": encoded(store, params, real=True)}

    def update(updates: Any, memory: Any, params: Any, **extras: Any) -> Any:
        averages, kept = inner.update(updates, memory["average"], params, **extras)

        def leaf(x: Any, stored: Any) -> Any:
            check.real(x)
            new = jnp.maximum(store.decode(stored, x), x)
            return new, store.encode(new)

        peaks, stored = tree.map(leaf, averages, memory["peak"], outputs=2)
        return peaks, {"average": kept, "peak": stored}

    return Rule(init, update)


@transform
def fading_peak(decay: Any, eps: Any = 0.0, accumulator_dtype: Any = None) -> Rule:
    """The largest value so far, which fades: Adamax's metric.

    **Rule** A_t = max(x_t + ε, β A_{t−1}), A_0 = 0, elementwise; for averages of magnitudes.

    **Remembers** ``peak`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 4 bytes per parameter).

    Args:
      decay: β in [0, 1), a number or a schedule.
      eps: ε ≥ 0, keeps the peak off zero.
      accumulator_dtype: dtype of the memory, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.fading_peak(0.5)
      >>> _, state = tx.update(jnp.full(1, 8.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 4.0

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7.1.
    """
    check.decay(decay=decay)
    check.non_negative(eps=eps)
    store = as_store(accumulator_dtype)

    def update(updates: Any, memory: Any, params: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            check.real(x)
            new = jnp.maximum(x + tree.factor_like(eps, x), tree.factor_like(decay, x) * store.decode(stored, x))
            return new, store.encode(new)

        peaks, stored = tree.map(leaf, updates, memory["peak"], outputs=2)
        return peaks, {"peak": stored}

    return Rule(lambda params: {"peak": encoded(store, params, real=True)}, update)


@transform
def variance(decay: Any, debias: bool = False, initial_value: Any = 0.0, accumulator_dtype: Any = None) -> Rule:
    """The spread of the gradient about its own moving mean: the metric of centered RMSprop.

    **Rule** V = E[|g|²] − |E[g]|² with E the ema of decay β, carried as V_t = β (V_{t−1} + (1 − β)|g_t − m_{t−1}|²), m_t = m_{t−1} + (1 − β)(g_t − m_{t−1}), so
    it never turns negative. Debiased with s = 1 − β^t: V / s − |m|² (1 − s) / s², clipped at zero.

    **Remembers** ``mean`` and ``variance`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 8 bytes per parameter) and, debiased,
    ``log_unseen`` (one number).

    Args:
      decay: β in [0, 1), a number or a schedule.
      debias: divide both expectations by the weight of what was seen.
      initial_value: V_0 ≥ 0.
      accumulator_dtype: dtype of the memory, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.precondition(gk.latest(), gk.variance(0.5), eps_root=1.0)
      >>> updates, state = tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))
      >>> assert state.memory["precondition"]["metric"]["variance"][0] == 1.0  # 0.5 * 2² - (0.5 * 2)²

    **Differs** from optax, whose difference of the two expectations cancels: on gradients 1000 ± 0.1 in float32 it is off by orders.

    Reference: Graves 2013, https://arxiv.org/abs/1308.0850, equations 38 to 45.
    """
    check.decay(decay=decay)
    check.non_negative(initial_value=initial_value)
    store = as_store(accumulator_dtype)

    def init(params: Any) -> Any:
        memory = {"mean": encoded(store, params), "variance": encoded(store, params, initial_value, real=True)}
        return memory | ({"log_unseen": jnp.zeros((), numerics.scalar_dtype(params))} if debias else {})

    def update(updates: Any, memory: Any, params: Any, *, gradient: Any) -> Any:
        fresh = 1 - decay
        if debias:
            log_unseen = memory["log_unseen"] + numerics.log(decay)
            seen = -jnp.expm1(log_unseen)

        def leaf(square: Any, g: Any, stored_mean: Any, stored: Any) -> Any:
            like = tree.factor_like
            check.real(g)  # a metric's memory is real, and this one holds a mean of the gradient itself
            mean, old = store.decode(stored_mean, g), store.decode(stored, square)
            apart = g - mean
            mean = mean + like(fresh, g) * apart
            new = like(decay, square) * (old + like(fresh, square) * numerics.abs_sq(apart))
            out = new
            if debias:
                s = like(seen, square)
                out = jnp.maximum(new / s - numerics.abs_sq(mean) * (1 - s) / (s * s), 0.0)
            return out, store.encode(mean), store.encode(new)

        out, means, variances = tree.map(leaf, updates, gradient, memory["mean"], memory["variance"], outputs=3)
        return out, {"mean": means, "variance": variances} | ({"log_unseen": log_unseen} if debias else {})

    return Rule(init, update)
