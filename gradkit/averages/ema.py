"""Exponential moving averages, and the variance made of two of them.

| average | starts | used as |
|---|---|---|
| ``ema(β)`` | at ``initial_value``, debiased by the weight of the values seen | φ and ψ of Adam |
| ``ema_from_first(β)`` | at the first value | ψ of NovoGrad |
| ``additive_ema(β)`` | as ``ema``; its steps do not grow with the distance | ψ of Yogi |
| ``variance(β)`` | as ``ema``; of the gradient about its own average | ψ of centered RMSprop |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.stores import as_store, averages
from gradkit.typing import Rate, StoreLike


@transform
def ema(
    decay: Rate,
    debias: bool = True,
    accumulator_dtype: StoreLike = None,
    *,
    nesterov: bool = False,
    initial_value: float = 0.0,
) -> Rule:
    """Exponential moving average, correctly debiased even when the decay is scheduled.

    **Update rule** A_t = A_{t−1} + (1 − β_t)(x_t − A_{t−1}), A_0 = ``initial_value``. The values
    not yet seen have the weight u_t = Π β_s; debiased: A_t / (1 − u_t). With ``nesterov``: β A_t
    / (1 − β u_t) + (1 − β) x_t / (1 − u_t), the average one step ahead if x_t came again.

    **State** ``average`` (shape of the leaf; float32 or wider, or ``accumulator_dtype``; 4 bytes
    per parameter) and, debiased, ``log_unseen`` = log u_t (one scalar).

    Args:
      decay: β in [0, 1), a number or a schedule. 0 is ``latest`` (but for rounding), also under
        ``grad``.
      debias: divide by the weight 1 − u_t of the values seen.
      accumulator_dtype: dtype of the state, or a `Store`.
      nesterov: look one step ahead.
      initial_value: A_0, a finite number; the debiased average divides it by 1 − u_t too, as
        optax does.

    Raises:
      ValueError: a decay outside [0, 1), an ``initial_value`` that is not finite.
      TypeError: ``accumulator_dtype`` is neither a floating dtype nor a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.ema(gk.piecewise_constant_schedule(0.5, {5: 1.98}))  # 0.5, then 0.99
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(10):
      ...     average, state = tx.update(jnp.ones(1), state)
      >>> assert abs(float(average[0]) - 1) < 1e-6  # dividing by 1 - 0.99**10 would give 10.1

    **Differs from optax**: the state is float32 also for bfloat16 gradients; a scheduled decay is
    debiased exactly.

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 3.
    """
    check.decay(decay=decay)
    check.finite(initial_value=initial_value)
    store = as_store(accumulator_dtype, "accumulator_dtype")

    def init(params: Any) -> Any:
        average = tree.zeros_like(params, initial_value)
        return (
            {"average": average, "log_unseen": jnp.zeros((), numerics.scalar_dtype(params))}
            if debias
            else {"average": average}
        )

    def update(updates: Any, state: Any, params: Any) -> Any:
        fresh = numerics.complement(decay)
        if debias:
            log_unseen = state["log_unseen"] + numerics.log(decay)
            seen, ahead = -jnp.expm1(log_unseen), -jnp.expm1(log_unseen + numerics.log(decay))

        def leaf(x: Any, old: Any) -> Any:
            like = tree.factor_like
            new = old + like(fresh, x) * (x - old)
            out = new
            if nesterov:
                out = like(decay, x) * (new / like(ahead, x) if debias else new) + like(
                    fresh, x
                ) * (x / like(seen, x) if debias else x)
            elif debias:
                out = new / like(seen, x)
            return out, new

        out, average = tree.map(leaf, updates, state["average"], outputs=2)
        return out, {"average": average, "log_unseen": log_unseen} if debias else {
            "average": average
        }

    kept = averages(store, "average")
    return Rule(init, update, scope="element", averages=kept)


@transform
def variance(
    decay: Rate, debias: bool = False, initial_value: float = 0.0, store: StoreLike = None
) -> Rule:
    """Variance of the gradient about its moving average: the preconditioner of centered RMSprop.

    **Update rule** V = E[|g|²] − |E[g]|², E the ema of decay β. It is computed as V_t = β
    (V_{t−1} + (1 − β)|g_t − m_{t−1}|²), m_t = m_{t−1} + (1 − β)(g_t − m_{t−1}), and so never
    turns negative. Debiased with s = 1 − β^t: V / s − |m|² (1 − s) / s², clipped at zero.

    **State** ``mean`` and ``variance`` (shape of the leaf; float32 or wider, or ``store``; 8
    bytes per parameter) and, debiased, ``log_unseen`` (one scalar).

    Args:
      decay: β in [0, 1), a number or a schedule.
      debias: divide both expectations by the weight of the values seen.
      initial_value: V_0 ≥ 0.
      store: dtype of the state, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative ``initial_value``.
      TypeError: ``store`` is neither a floating dtype nor a `Store`; complex gradients; used as
        anything but the preconditioner of ``precondition``, which passes ``gradient``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> psi = gk.averages.variance(0.5)
      >>> tx = gk.precondition(gk.averages.latest(), psi, eps_root=1.0)
      >>> updates, state = tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))
      >>> assert updates[0] == 2 / 2**0.5  # V = 0.5 * 2² - (0.5 * 2)² = 1

    **Differs from optax**, which subtracts the two expectations: on gradients 1000 ± 0.1 in
    float32 the cancellation makes its result wrong by orders of magnitude.

    Reference: Graves 2013, https://arxiv.org/abs/1308.0850, equations 38 to 45.
    """
    check.decay(decay=decay)
    check.non_negative(initial_value=initial_value)
    store = as_store(store, "store")

    def init(params: Any) -> Any:
        state = {
            "mean": tree.zeros_like(params),
            "variance": tree.magnitudes_like(params, initial_value),
        }
        return state | (
            {"log_unseen": jnp.zeros((), numerics.scalar_dtype(params))} if debias else {}
        )

    def update(updates: Any, state: Any, params: Any, *, gradient: Any) -> Any:
        fresh = numerics.complement(decay)
        if debias:
            log_unseen = state["log_unseen"] + numerics.log(decay)
            seen = -jnp.expm1(log_unseen)

        def leaf(square: Any, g: Any, mean: Any, old: Any) -> Any:
            like = tree.factor_like
            # The state of a preconditioner is real; this one holds a mean of the gradient itself.
            check.real(g)
            distance = g - mean
            mean = mean + like(fresh, g) * distance
            new = like(decay, square) * (old + like(fresh, square) * numerics.abs_sq(distance))
            out = new
            if debias:
                s = like(seen, square)
                out = jnp.maximum(new / s - numerics.abs_sq(mean) * (1 - s) / (s * s), 0.0)
            return out, mean, new

        out, means, variances = tree.map(
            leaf, updates, gradient, state["mean"], state["variance"], outputs=3
        )
        return out, {"mean": means, "variance": variances} | (
            {"log_unseen": log_unseen} if debias else {}
        )

    kept = averages(store, "mean", "variance")
    return Rule(init, update, scope="element", averages=kept)


@transform
def ema_from_first(decay: Rate, store: StoreLike = None) -> Rule:
    """Exponential moving average that starts at the first value, and so needs no debiasing.

    It is ``ema(decay, debias=False)`` with another initialization: A_0 = x_1, which no
    ``initial_value`` can say before x_1 is known.

    **Update rule** A_t = A_{t−1} + (1 − β)(x_t − A_{t−1}), A_1 = x_1. The first value has the
    weight β^(t−1); in a debiased ``ema`` it has (1 − β) β^(t−1) / (1 − β^t).

    **State** ``average`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per
    parameter).

    Args:
      decay: β in [0, 1), a number or a schedule.
      store: dtype of the state, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1).
      TypeError: ``store`` is neither a floating dtype nor a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.averages.ema_from_first(0.75)
      >>> first, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 4.0 and tx.update(jnp.zeros(1), state)[0][0] == 3.0
    """
    check.decay(decay=decay)
    store = as_store(store, "store")

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        def leaf(x: Any, old: Any) -> Any:
            return jnp.where(
                step == 0, x, old + tree.factor_like(numerics.complement(decay), x) * (x - old)
            )

        average = tree.map(leaf, updates, state["average"])
        return average, {"average": average}

    init = lambda params: {"average": tree.zeros_like(params)}
    return Rule(init, update, scope="element", averages=averages(store, "average"))


@transform
def additive_ema(
    decay: Rate, debias: bool = True, initial_value: float = 0.0, store: StoreLike = None
) -> Rule:
    """Average whose steps do not grow with the distance to the value: the preconditioner of Yogi.

    **Update rule** A_t = A_{t−1} − (1 − β) sign(A_{t−1} − x_t) x_t, A_0 = ``initial_value``;
    debiased: A_t / (1 − Πβ). For averages of magnitudes.

    **State** ``average`` (shape of the leaf; float32 or wider, or ``store``; 4 bytes per
    parameter) and, debiased, ``log_unseen`` (one scalar).

    Args:
      decay: β in [0, 1), a number or a schedule.
      debias: divide by the weight of the values seen.
      initial_value: A_0 ≥ 0.
      store: dtype of the state, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative ``initial_value``.
      TypeError: ``store`` is neither a floating dtype nor a `Store`; complex values, which have
        no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.averages.additive_ema(0.75, debias=False, initial_value=8.0)
      >>> state = tx.init(jnp.zeros(1))
      >>> assert tx.update(jnp.full(1, 4.0), state)[0][0] == 7.0  # as an ema
      >>> assert tx.update(jnp.zeros(1), state)[0][0] == 8.0  # an ema would be at 6

    Reference: Zaheer et al. 2018, https://papers.nips.cc/paper/8186, algorithm 2.
    """
    check.decay(decay=decay)
    check.non_negative(initial_value=initial_value)
    store = as_store(store, "store")

    def init(params: Any) -> Any:
        average = tree.magnitudes_like(params, initial_value)
        return (
            {"average": average, "log_unseen": jnp.zeros((), numerics.scalar_dtype(params))}
            if debias
            else {"average": average}
        )

    def update(updates: Any, state: Any, params: Any) -> Any:
        if debias:
            log_unseen = state["log_unseen"] + numerics.log(decay)
            seen = -jnp.expm1(log_unseen)

        def leaf(x: Any, old: Any) -> Any:
            check.real(x)
            new = old - tree.factor_like(numerics.complement(decay), x) * jnp.sign(old - x) * x
            return (new / tree.factor_like(seen, x) if debias else new), new

        out, average = tree.map(leaf, updates, state["average"], outputs=2)
        return out, {"average": average, "log_unseen": log_unseen} if debias else {
            "average": average
        }

    kept = averages(store, "average")
    return Rule(init, update, scope="element", averages=kept)
