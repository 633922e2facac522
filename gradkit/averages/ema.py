"""Ema."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import transform
from gradkit.stores import as_store, encoded


@transform
def ema(
    decay: Any,
    debias: bool = True,
    accumulator_dtype: Any = None,
    *,
    nesterov: bool = False,
    initial_value: Any = 0.0,
) -> Rule:
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
        return (
            {"average": average, "log_unseen": jnp.zeros((), numerics.scalar_dtype(params))}
            if debias
            else {"average": average}
        )

    def update(updates: Any, state: Any, params: Any) -> Any:
        fresh = 1 - decay
        if debias:
            log_unseen = state["log_unseen"] + numerics.log(decay)
            seen, ahead = -jnp.expm1(log_unseen), -jnp.expm1(log_unseen + numerics.log(decay))

        def leaf(x: Any, stored: Any) -> Any:
            like = tree.factor_like
            old = store.decode(stored, x)
            new = old + like(fresh, x) * (x - old)
            out = new
            if nesterov:
                out = like(decay, x) * (new / like(ahead, x) if debias else new) + like(
                    fresh, x
                ) * (x / like(seen, x) if debias else x)
            elif debias:
                out = new / like(seen, x)
            return out, store.encode(new)

        averages, stored = tree.map(leaf, updates, state["average"], outputs=2)
        return averages, {"average": stored, "log_unseen": log_unseen} if debias else {
            "average": stored
        }

    return Rule(init, update)


@transform
def variance(decay: Any, debias: bool = False, initial_value: Any = 0.0, store: Any = None) -> Rule:
    """The spread of the gradient about its own moving mean: the preconditioner of centered RMSprop.

    **Rule** V = E[|g|²] − |E[g]|² with E the ema of decay β, carried as V_t = β (V_{t−1} + (1 − β)|g_t − m_{t−1}|²), m_t = m_{t−1} + (1 − β)(g_t − m_{t−1}), so
    it never turns negative. Debiased with s = 1 − β^t: V / s − |m|² (1 − s) / s², clipped at zero.

    **Remembers** ``mean`` and ``variance`` (shape of the leaf; float32 or wider, or ``store``; 8 bytes per parameter) and, debiased,
    ``log_unseen`` (one number).

    Args:
      decay: β in [0, 1), a number or a schedule.
      debias: divide both expectations by the weight of what was seen.
      initial_value: V_0 ≥ 0.
      store: dtype of the memory, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.precondition(gk.latest(), gk.variance(0.5), eps_root=1.0)
      >>> updates, state = tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))
      >>> assert state.inner["precondition"]["preconditioner"]["variance"][0] == 1.0  # 0.5 * 2² - (0.5 * 2)²

    **Differs** from optax, whose difference of the two expectations cancels: on gradients 1000 ± 0.1 in float32 it is off by orders.

    Reference: Graves 2013, https://arxiv.org/abs/1308.0850, equations 38 to 45.
    """
    check.decay(decay=decay)
    check.non_negative(initial_value=initial_value)
    store = as_store(store)

    def init(params: Any) -> Any:
        state = {
            "mean": encoded(store, params),
            "variance": encoded(store, params, initial_value, real=True),
        }
        return state | (
            {"log_unseen": jnp.zeros((), numerics.scalar_dtype(params))} if debias else {}
        )

    def update(updates: Any, state: Any, params: Any, *, gradient: Any) -> Any:
        fresh = 1 - decay
        if debias:
            log_unseen = state["log_unseen"] + numerics.log(decay)
            seen = -jnp.expm1(log_unseen)

        def leaf(square: Any, g: Any, stored_mean: Any, stored: Any) -> Any:
            like = tree.factor_like
            check.real(
                g
            )  # a preconditioner's memory is real, and this one holds a mean of the gradient itself
            mean, old = store.decode(stored_mean, g), store.decode(stored, square)
            apart = g - mean
            mean = mean + like(fresh, g) * apart
            new = like(decay, square) * (old + like(fresh, square) * numerics.abs_sq(apart))
            out = new
            if debias:
                s = like(seen, square)
                out = jnp.maximum(new / s - numerics.abs_sq(mean) * (1 - s) / (s * s), 0.0)
            return out, store.encode(mean), store.encode(new)

        out, means, variances = tree.map(
            leaf, updates, gradient, state["mean"], state["variance"], outputs=3
        )
        return out, {"mean": means, "variance": variances} | (
            {"log_unseen": log_unseen} if debias else {}
        )

    return Rule(init, update)


@transform
def ema_from_first(decay: Any, store: Any = None) -> Rule:
    """Exponential moving average that begins with the first value instead of zero, and so needs no debiasing.

    **Rule** A_t = A_{t−1} + (1 − β)(x_t − A_{t−1}), A_1 = x_1. The first value weighs β^(t−1), where a debiased ``ema`` gives it (1 − β) β^(t−1) / (1 − β^t).

    **Remembers** ``average`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per parameter).

    Args:
      decay: β in [0, 1), a number or a schedule.
      store: dtype of the memory, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.ema_from_first(0.75)
      >>> first, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 4.0 and tx.update(jnp.zeros(1), state)[0][0] == 3.0
    """
    check.decay(decay=decay)
    store = as_store(store)

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        def leaf(x: Any, stored: Any) -> Any:
            old = store.decode(stored, x)
            new = jnp.where(step == 0, x, old + tree.factor_like(1 - decay, x) * (x - old))
            return new, store.encode(new)

        averages, stored = tree.map(leaf, updates, state["average"], outputs=2)
        return averages, {"average": stored}

    return Rule(lambda params: {"average": encoded(store, params)}, update)


@transform
def additive_ema(
    decay: Any, debias: bool = True, initial_value: Any = 0.0, store: Any = None
) -> Rule:
    """An average that moves towards what comes by a step that does not grow with the distance: Yogi's preconditioner.

    **Rule** A_t = A_{t−1} − (1 − β) sign(A_{t−1} − x_t) x_t, A_0 = ``initial_value``; debiased: A_t / (1 − Πβ). For averages of magnitudes.

    **Remembers** ``average`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per parameter) and, debiased,
    ``log_unseen`` (one number).

    Args:
      decay: β in [0, 1), a number or a schedule.
      debias: divide by the weight of what was seen.
      initial_value: A_0 ≥ 0.
      store: dtype of the memory, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative ``initial_value``.
      TypeError: complex numbers, which have no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.additive_ema(0.75, debias=False, initial_value=8.0)
      >>> assert tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))[0][0] == 7.0  # an ema would be at 7 too, but at 6 for x = 0, where this stays

    Reference: Zaheer et al. 2018, https://papers.nips.cc/paper/8186, algorithm 2.
    """
    check.decay(decay=decay)
    check.non_negative(initial_value=initial_value)
    store = as_store(store)

    def init(params: Any) -> Any:
        average = encoded(store, params, initial_value, real=True)
        return (
            {"average": average, "log_unseen": jnp.zeros((), numerics.scalar_dtype(params))}
            if debias
            else {"average": average}
        )

    def update(updates: Any, state: Any, params: Any) -> Any:
        if debias:
            log_unseen = state["log_unseen"] + numerics.log(decay)
            seen = -jnp.expm1(log_unseen)

        def leaf(x: Any, stored: Any) -> Any:
            check.real(x)
            old = store.decode(stored, x)
            new = old - tree.factor_like(1 - decay, x) * jnp.sign(old - x) * x
            return (new / tree.factor_like(seen, x) if debias else new), store.encode(new)

        averages, stored = tree.map(leaf, updates, state["average"], outputs=2)
        return averages, {"average": stored, "log_unseen": log_unseen} if debias else {
            "average": stored
        }

    return Rule(init, update)
