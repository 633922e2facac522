"""The momentum family: the gradient, or a sum or average of gradients, times −α.

    Δθ_t = −α_t · M_t

| | M_t |
|---|---|
| ``sgd`` | g_t |
| ``sgd(momentum=ρ)`` | g_t + ρ M_{t−1} (heavy ball) |
| ``sgd(momentum=ρ, nesterov=True)`` | g_t + ρ (g_t + ρ M'_{t−1}), M' the heavy ball's |
| ``momentum(β)`` | β M_{t−1} + (1 − β) g_t |
| ``nesterov(ρ)`` | the heavy ball's, with the gradient taken at θ + ρ Δθ_{t−1} |
| ``sign_sgd`` | sign g_t |
"""

from typing import Any

import jax

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, identity, transform
from gradkit.averages.averages import ema, trace
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.shape import scale_by_sign


@transform
def sgd(learning_rate: Any, momentum: Any = None, nesterov: bool = False, accumulator_dtype: Any = None) -> Transform:
    """Gradient descent, with momentum if you like.

    **Rule** Δθ = −α M, M = g, or M_t = g_t + ρ M_{t−1} (``momentum=ρ``), or g_t + ρ M_t (``nesterov``). Over a whole data set it is the lectures' batch
    gradient descent, on one example their stochastic, on some their mini-batch descent: the batch decides, not the optimizer.

    **Remembers** ``trace`` with momentum: 4 bytes per parameter. Nothing without.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      momentum: ρ in [0, 1], usually 0.9, or None.
      nesterov: look one step ahead.
      accumulator_dtype: dtype of the trace, or a `Store`.

    Raises:
      ValueError: a negative rate, a momentum outside [0, 1].

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sgd(0.1, momentum=0.5)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.ones(1), state)[0], -0.1 * (1 + 0.5))

    **Differs** from the lectures' Δθ_t = ρ Δθ_{t−1} − α g_t only when α moves: there the past keeps the rate it was made with. That form is
    ``chain(scale_by_learning_rate(α), trace(ρ))``.

    Reference: Robbins and Monro 1951; Polyak 1964; Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html.
    """
    if momentum is not None:
        check.probability(momentum=momentum)
    moment = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)
    return chain(moment, scale_by_learning_rate(learning_rate))


@transform
def momentum(learning_rate: Any, decay: Any = 0.9, debias: bool = False, accumulator_dtype: Any = None) -> Transform:
    """Gradient descent along the averaged gradient: the lectures' v = β v + (1 − β) g.

    **Rule** Δθ = −α v, v_t = β v_{t−1} + (1 − β) g_t, v_0 = 0. It is ``sgd(momentum=β)`` at the rate (1 − β) α.

    **Remembers** ``ema``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      decay: β in [0, 1), usually 0.9.
      debias: divide v by the weight of what was seen, 1 − β^t.
      accumulator_dtype: dtype of the average, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.momentum(1.0, decay=0.75)
      >>> assert tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))[0][0] == -1.0

    Reference: the lectures (exponentially weighted averages, momentum).
    """
    check.decay(decay=decay)
    return chain(ema(decay, debias, accumulator_dtype), scale_by_learning_rate(learning_rate))


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
      >>> assert jnp.allclose(w + 0.9 * state.memory["nesterov"]["delta"], phi)

    Reference: Nesterov 1983; Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html.
    """
    check.non_negative(learning_rate=learning_rate)
    check.probability(momentum=momentum)

    def update(updates: Any, memory: Any, params: Any, *, value_fn: Any) -> Any:
        check.params(params)
        carried = tree.scale(memory["delta"], momentum)
        grads = jax.grad(value_fn)(jax.tree.map(lambda p, c: p + c, params, carried))
        delta = jax.tree.map(lambda c, g: c - tree.factor_like(learning_rate, c) * g, carried, tree.widen(grads))
        return delta, {"delta": delta}

    return Rule(lambda params: {"delta": tree.zeros_like(params)}, update)


@transform
def sign_sgd(learning_rate: Any) -> Transform:
    """Gradient descent along the signs.

    **Rule** Δθ = −α sign(g).

    **Remembers** nothing.

    Args:
      learning_rate: α ≥ 0, a number or a schedule: the length of every step of every parameter.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sign_sgd(0.5)
      >>> assert tx.update(jnp.array([-3.0, 0.1]), tx.init(jnp.zeros(2)))[0].tolist() == [0.5, -0.5]

    Reference: Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))
