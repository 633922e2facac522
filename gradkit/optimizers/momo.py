"""MoMo: momentum whose step size comes from an averaged model of the loss.

Δθ_t = −τ_t · M_t / P_t        τ_t = min(α_t, (f̄ + ⟨M, θ⟩ − γ̄ − f*)₊ / ⟨M, M / P⟩)

| | φ | P | averages of the model |
|---|---|---|---|
| ``momo`` | ``ema`` that starts at g_1 | 1 | f̄ of the loss, γ̄ of ⟨g, θ⟩ |
| ``momo_adam`` | ``ema`` | √(ema of g², debiased) + ε | the same, debiased |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.stores import IDENTITY, averages
from gradkit.typing import Rate

_FLAT = 2.0**-52  # the point counts as stationary if ‖M‖² is at most this


def _loss(value: Any, like: Any) -> Any:
    return jnp.asarray(numerics.loss_like(value, like), like.dtype)


def _scalars(params: Any, lower_bound: Any) -> dict[str, Any]:
    """Return the scalars of the model at the first step."""
    start = {"loss": 0.0, "slope": 0.0, "bound": lower_bound}
    return {name: tree.scalar(value, params) for name, value in start.items()}


def _model(state: Any, loss: Any, slope: Any, keep: Any) -> tuple[Any, Any]:
    """Return the averages of the loss and of ⟨g, θ⟩."""
    return keep * state["loss"] + (1 - keep) * loss, keep * state["slope"] + (1 - keep) * slope


def _bound(state: Any, cap: Any, weight: Any, shrink: Any, lower_bound: Any) -> Any:
    """Return f*, lowered if the model is below it."""
    below = cap < shrink * weight * state["bound"]
    return jnp.where(below, jnp.maximum(cap / (2 * weight * shrink), lower_bound), state["bound"])


def _step_size(excess: Any, sq_norm: Any, most: Any) -> Any:
    return jnp.minimum(
        most, jnp.where(sq_norm <= _FLAT, 0.0, numerics.divide(jnp.maximum(excess, 0.0), sq_norm))
    )


@transform
def momo(
    learning_rate: Rate = 1.0,
    beta: Rate = 0.9,
    lower_bound: Rate = 0.0,
    weight_decay: Rate = 0.0,
    adapt_lower_bound: bool = False,
) -> Rule:
    """MoMo: momentum SGD with a model-based step size, at most the learning rate.

    **Update rule** M, f̄ and γ̄ are averages of g, of the loss and of ⟨g, θ⟩ with decay β, each
    starting at its first value; s = 1 + α λ; τ = min(α, (s (f̄ − f* − γ̄) + ⟨M, θ⟩)₊ / ‖M‖²);
    Δθ = −τ M − α λ θ / s.

    **State** ``moment`` (M; float32 or wider; 4 bytes per parameter), ``loss``, ``slope`` and
    ``bound`` (f̄, γ̄ and f*, one scalar each). Needs params and the extra argument ``value``.

    Args:
      learning_rate: α ≥ 0, or a schedule. It is the largest step size.
      beta: β in [0, 1), the decay of the averages.
      lower_bound: f*, a lower bound of the loss.
      weight_decay: λ ≥ 0, decoupled.
      adapt_lower_bound: estimate f*, starting at ``lower_bound``.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: no ``value``, or complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.momo(), jnp.array([3.0])
      >>> updates, _ = tx.update(2 * w, tx.init(w), w, value=9.0)  # w²
      >>> assert jnp.allclose(updates, -9 / 36 * 6)  # Polyak's step

    **Differs from optax**: the loss may be a Python number, and a loss in bfloat16 is averaged in
    float32.

    Reference: Schaipp et al. 2023, https://arxiv.org/abs/2305.07583.
    """
    check.decay(beta=beta)
    check.non_negative(learning_rate=learning_rate, weight_decay=weight_decay)
    check.finite(lower_bound=lower_bound)

    def init(params: Any) -> Any:
        return {"moment": tree.zeros_like(params), **_scalars(params, lower_bound)}

    def update(updates: Any, state: Any, params: Any, *, step: Any, value: Any) -> Any:
        check.real_leaves(updates)
        check.params(params)
        like, one = tree.factor_like, jnp.ones_like(state["loss"])
        keep = jnp.where(step == 0, 0.0 * one, like(beta, one) * one)
        loss, slope = _model(state, _loss(value, one), tree.dot(updates, params), keep)
        moment = tree.map(
            lambda g, m: like(keep, g) * m + like(1 - keep, g) * g, updates, state["moment"]
        )
        sq_norm, along = tree.sq_norm(moment), tree.dot(moment, params)
        alpha, floor = like(learning_rate, one) * one, like(lower_bound, one) * one
        weight = 1 + alpha * like(weight_decay, one)
        bound = (
            _bound(state, weight * (loss - slope) + along, weight, one, floor)
            if adapt_lower_bound
            else state["bound"]
        )
        tau = _step_size(weight * (loss - bound - slope) + along, sq_norm, alpha)
        pull = alpha * like(weight_decay, one) / weight
        new = (
            jnp.maximum(loss + along - slope - tau * sq_norm / 2, floor)
            if adapt_lower_bound
            else bound
        )
        updates = tree.map(lambda m, p: -like(pull, p) * p - like(tau, m) * m, moment, params)
        return updates, {"moment": moment, "loss": loss, "slope": slope, "bound": new}

    return Rule(init, update, averages=averages(IDENTITY, "moment"), sharded=True)


@transform
def momo_adam(
    learning_rate: Rate = 1e-2,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    lower_bound: Rate = 0.0,
    weight_decay: Rate = 0.0,
    adapt_lower_bound: bool = False,
) -> Rule:
    """MoMo-Adam: Adam with a model-based step size, at most the learning rate.

    **Update rule** M, f̄ and γ̄ are averages of g, of the loss and of ⟨g, θ⟩ with decay b1;
    P = ε + √(ema(g²; b2), debiased); u = 1 − b1^t, s = 1 + α λ;
    τ = min(α / u, (s (f̄ − u f* − γ̄) + ⟨M, θ⟩)₊ / ⟨M, M / P⟩); Δθ = −τ M / P − α λ θ / s.

    **State** ``moment`` and ``preconditioner`` (float32 or wider; 8 bytes per parameter),
    ``loss``, ``slope`` and ``bound`` (f̄, γ̄ and f*, one scalar each). Needs params and the extra
    argument ``value``.

    Args:
      learning_rate: α ≥ 0, or a schedule. It is the largest step size.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      lower_bound: f*, a lower bound of the loss.
      weight_decay: λ ≥ 0, decoupled.
      adapt_lower_bound: estimate f*, starting at ``lower_bound``.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: no ``value``, or complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.momo_adam(10.0, eps=0.0), jnp.array([3.0])
      >>> updates, _ = tx.update(2 * w, tx.init(w), w, value=9.0)  # w²
      >>> assert jnp.allclose(updates, -9 / 6)  # τ M / P = (9 / 6) · 6 / 6

    **Differs from optax**: the loss may be a Python number, a loss in bfloat16 is averaged in
    float32, and a gradient of 0 with ε = 0 gives 0, not NaN.

    Reference: Schaipp et al. 2023, https://arxiv.org/abs/2305.07583.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check.finite(lower_bound=lower_bound)

    def init(params: Any) -> Any:
        return {
            "moment": tree.zeros_like(params),
            "preconditioner": tree.zeros_like(params),
            **_scalars(params, lower_bound),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any, value: Any) -> Any:
        check.real_leaves(updates)
        check.params(params)
        like, one = tree.factor_like, jnp.ones_like(state["loss"])
        loss, slope = _model(
            state, _loss(value, one), tree.dot(updates, params), like(b1, one) * one
        )
        seen1, seen2 = tree.debias(b1, step, updates), tree.debias(b2, step, updates)

        def leaf(g: Any, m: Any, v: Any) -> Any:
            m = like(b1, g) * m + (1 - like(b1, g)) * g
            v = like(b2, g) * v + (1 - like(b2, g)) * (g * g)
            return m, v, numerics.divide(m, like(eps, g) + numerics.sqrt(v / like(seen2, g)))

        moment, preconditioner, direction = tree.map(
            leaf, updates, state["moment"], state["preconditioner"], outputs=3
        )
        sq_norm, along = tree.dot(moment, direction), tree.dot(moment, params)
        alpha, floor = like(learning_rate, one) * one, like(lower_bound, one) * one
        weight = 1 + alpha * like(weight_decay, one)
        bound = (
            _bound(state, weight * (loss - slope) + along, weight, seen1, floor)
            if adapt_lower_bound
            else state["bound"]
        )
        tau = _step_size(weight * (loss - seen1 * bound - slope) + along, sq_norm, alpha / seen1)
        pull = alpha * like(weight_decay, one) / weight
        new = (
            jnp.maximum((loss + along - slope - tau * sq_norm / 2) / seen1, floor)
            if adapt_lower_bound
            else bound
        )
        updates = tree.map(lambda d, p: -like(pull, p) * p - like(tau, d) * d, direction, params)
        return updates, {
            "moment": moment,
            "preconditioner": preconditioner,
            "loss": loss,
            "slope": slope,
            "bound": new,
        }

    return Rule(init, update, averages=averages(IDENTITY, "moment", "preconditioner"), sharded=True)
