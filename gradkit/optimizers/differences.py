"""Optimizers that look ahead by the difference of two gradients.

    d_t = g_t + c (g_t − g_{t−1}),  d_1 = g_1

| | where the difference goes | c |
|---|---|---|
| ``optimistic_gradient_descent`` | α d, or α g + β (g_t − g_{t−1}) | 1 |
| ``optimistic_adam``, ``optimistic_adam_v2`` | after Adam's direction | 1 |
| ``adan`` | an average of its own; and into the metric | b2 |
| ``mars`` | before AdamW, clipped leaf by leaf | γ b1 / (1 − b1) |
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import as_rate, rate_at, schedule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.averages import ema
from gradkit.optimizers.adam import adamw, scale_by_adam
from gradkit.transforms.blocks import clip_by_block_norm
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.scale import scale, scale_by_learning_rate


def _change(updates: Any, before: Any, step: Any) -> Any:
    """The gradient less the one before; zero at the first step, which has none before."""
    return tree.map(lambda g, old: jnp.where(step == 0, jnp.zeros_like(g), g - old), updates, before)


@transform
def scale_by_optimistic_gradient(alpha: Any = 1.0, beta: Any = 1.0) -> Rule:
    """Add what the gradient has changed by, for it will go on so.

    **Rule** u_t = α g_t + β (g_t − g_{t−1}), u_1 = α g_1.

    **Remembers** ``previous``: g_{t−1} (float32 or wider; 4 bytes per parameter).

    Args:
      alpha: α, a finite number or a schedule.
      beta: β, a finite number or a schedule.

    Raises:
      ValueError: numbers that are not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_optimistic_gradient()
      >>> first, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 3.0 and tx.update(jnp.full(1, 5.0), state)[0][0] == 5.0 + 2.0

    **Differs** from optax: α and β may be schedules.

    Reference: Mokhtari et al. 2020, https://arxiv.org/abs/1901.08511.
    """
    check.finite(alpha=alpha, beta=beta)

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        change = _change(updates, memory["previous"], step)
        ahead = tree.map(lambda g, c: tree.factor_like(alpha, g) * g + tree.factor_like(beta, g) * c, updates, change)
        return ahead, {"previous": updates}

    return Rule(lambda params: {"previous": tree.zeros_like(params)}, update)


@transform
def optimistic_gradient_descent(learning_rate: Any, alpha: Any = 1.0, beta: Any = 1.0) -> Transform:
    """Optimistic gradient descent, for games: it does not circle the saddle of min-max problems.

    **Rule** Δθ_t = −η (α g_t + β (g_t − g_{t−1})), η the rate; the first step is −η α g_1.

    **Remembers** ``scale_by_optimistic_gradient.previous``: 4 bytes per parameter.

    Args:
      learning_rate: η ≥ 0, a number or a schedule.
      alpha: α, a number or a schedule.
      beta: β, a number or a schedule.

    Raises:
      ValueError: a negative rate, numbers that are not finite.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> def play(tx, turns=400):  # min over x, max over y, of x y
      ...     z, state = jnp.ones(2), tx.init(jnp.ones(2))
      ...     for _ in range(turns):
      ...         z, state = tx.apply(z, state, jnp.array([z[1], -z[0]]))
      ...     return float(jnp.abs(z).max())
      >>> assert play(gk.optimistic_gradient_descent(0.3)) < 1e-3 and play(gk.sgd(0.3), 40) > 3.0

    **Differs** from optax: α and β may be schedules.

    Reference: Mokhtari et al. 2020, https://arxiv.org/abs/1901.08511.
    """
    return chain(scale_by_optimistic_gradient(as_rate(alpha), as_rate(beta)), scale_by_learning_rate(learning_rate))


@transform
def optimistic_adam(
    learning_rate: Any,
    optimism: Any = None,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> Transform:
    """Optimistic Adam, with the strength of the optimism in the units of the rate.

    **Rule** Δθ_t = −(α u_t + ω (u_t − u_{t−1})), u Adam's direction; the first step is −α u_1.

    **Remembers** ``scale_by_adam`` and ``scale_by_optimistic_gradient.previous``: 12 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      optimism: ω ≥ 0, a number, a schedule, or None for α.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: Adam's moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, ω or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.optimistic_adam(gk.linear_schedule(0.5, 0.0, 10), eps=0.0, nesterov=False)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))[0], -0.5)  # no jump at the first step

    **Differs** from optax, which takes no schedules here, and warns that this spelling is old: see ``optimistic_adam_v2``.

    Reference: Daskalakis et al. 2018, https://arxiv.org/abs/1711.00141.
    """
    rate = as_rate(learning_rate)
    bold = rate if optimism is None else as_rate(optimism)
    check.non_negative(learning_rate=rate, optimism=bold)
    direction = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    return chain(direction, scale_by_optimistic_gradient(rate, bold), scale(-1.0))


@transform
def optimistic_adam_v2(
    learning_rate: Any,
    *,
    alpha: Any = 1.0,
    beta: Any = 1.0,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    nesterov: bool = True,
) -> Transform:
    """Optimistic Adam: Adam's direction, and what it has changed by.

    **Rule** Δθ_t = −η (α u_t + β (u_t − u_{t−1})), u Adam's direction, η the rate; the first step is −η α u_1.

    **Remembers** ``scale_by_adam`` and ``scale_by_optimistic_gradient.previous``: 12 bytes per parameter.

    Args:
      learning_rate: η ≥ 0, a number or a schedule.
      alpha: α, a number or a schedule.
      beta: β, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: Adam's moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.optimistic_adam_v2(0.5, eps=0.0, nesterov=False)
      >>> _, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))  # u_1 = 1
      >>> u = (0.27 / 0.19) / (0.008991 / 0.001999) ** 0.5
      >>> assert jnp.allclose(tx.update(jnp.zeros(1), state)[0], -0.5 * (u + (u - 1)))

    Reference: Daskalakis et al. 2018, https://arxiv.org/abs/1711.00141.
    """
    direction = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    return chain(direction, scale_by_optimistic_gradient(as_rate(alpha), as_rate(beta)), scale_by_learning_rate(learning_rate))


@transform
def scale_by_adan(b1: Any = 0.98, b2: Any = 0.92, b3: Any = 0.99, eps: Any = 1e-8, eps_root: Any = 0.0) -> Rule:
    """Adan's direction: Adam with Nesterov's look ahead, estimated from the difference of two gradients.

    **Rule** u = (m̂ + b2 d̂) / (√(n̂ + ε_root) + ε), m = ema(g; b1), d = ema(g_t − g_{t−1}; b2), n = ema(|g_t + b2 (g_t − g_{t−1})|²; b3), all debiased;
    the first difference is 0.

    **Remembers** ``moment``, ``difference``, ``metric`` (the three averages) and ``previous`` (float32 or wider; 16 bytes per parameter).

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the difference, in [0, 1), and its weight.
      b3: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adan(b1=0.0, b2=0.5, b3=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 1.0), tx.init(jnp.zeros(1)))
      >>> u, _ = tx.update(jnp.full(1, 4.0), state)  # the difference's average: 0.5 · 3 / 0.75 = 2
      >>> assert jnp.allclose(u, (4 + 0.5 * 2) / (4 + 0.5 * 3))

    **Differs** from optax, which weighs the difference with 1 − b2: in the paper β is the weight of what is new, here (as in the authors' code) of what is old.

    Reference: Xie et al. 2022, https://arxiv.org/abs/2208.06677, algorithm 1.
    """
    check.decay(b1=b1, b2=b2, b3=b3)
    check.non_negative(eps=eps, eps_root=eps_root)

    def init(params: Any) -> Any:
        return {
            "moment": ema(b1).rule.init(params),
            "difference": ema(b2).rule.init(params),
            "metric": ema(b3).rule.init(tree.magnitudes_like(params)),
            "previous": tree.zeros_like(params),
        }

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        change = _change(updates, memory["previous"], step)
        moments, moment = ema(b1).rule.update(updates, memory["moment"], params, step=step)
        differences, difference = ema(b2).rule.update(change, memory["difference"], params, step=step)
        squares = tree.map(lambda g, c: numerics.abs_sq(g + tree.factor_like(b2, c) * c), updates, change)
        metrics, metric = ema(b3).rule.update(squares, memory["metric"], params, step=step)

        def leaf(m: Any, d: Any, n: Any) -> Any:
            root = numerics.sqrt(n + tree.factor_like(eps_root, n)) + tree.factor_like(eps, n)
            return numerics.divide(m + tree.factor_like(b2, d) * d, root)

        memory = {"moment": moment, "difference": difference, "metric": metric, "previous": updates}
        return tree.map(leaf, moments, differences, metrics), memory

    return Rule(init, update)


@transform
def adan(
    learning_rate: Any,
    b1: Any = 0.98,
    b2: Any = 0.92,
    b3: Any = 0.99,
    eps: Any = 1e-8,
    eps_root: Any = 1e-8,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """Adan: adaptive Nesterov momentum.

    **Rule** Δθ = −α ((m̂ + b2 d̂) / (√(n̂ + ε_root) + ε) + λ θ), the averages as in ``scale_by_adan``.

    **Remembers** ``scale_by_adan``: 16 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the difference, in [0, 1), and its weight.
      b3: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      weight_decay: λ ≥ 0, a number or a schedule, decoupled.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adan(0.5, eps=0.0, eps_root=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0], -0.5)

    **Differs** from optax, which weighs the difference with 1 − b2; and, like optax, from the paper, which decays by θ ← θ / (1 + α λ).

    Reference: Xie et al. 2022, https://arxiv.org/abs/2208.06677.
    """
    return chain(scale_by_adan(b1, b2, b3, eps, eps_root), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))


@schedule
def _correction(gamma: Any, b1: Any) -> Callable[[Any], Any]:
    """γ b1 / (1 − b1), where either may move."""

    def value(step: Any) -> Any:
        decay = rate_at(b1, step)
        return rate_at(gamma, step) * decay / (1 - decay)

    return value


@transform
def mars(
    learning_rate: Any,
    b1: Any = 0.95,
    b2: Any = 0.99,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    gamma: Any = 0.025,
    max_norm: Any = 1.0,
    mu_dtype: Any = None,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """MARS-AdamW: AdamW on gradients whose variance is reduced by the gradient before.

    **Rule** AdamW on c_t min(1, ``max_norm`` / ‖c_t‖), norm per leaf, c_t = g_t + γ b1 / (1 − b1) (g_t − g_{t−1}), c_1 = g_1.

    **Remembers** ``scale_by_optimistic_gradient.previous`` and ``scale_by_adam``: 12 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      gamma: γ ≥ 0, the strength of the correction; 0 is AdamW on clipped leaves.
      max_norm: the most that a corrected leaf's norm may be, > 0.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      weight_decay: λ ≥ 0, a number or a schedule, decoupled.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, γ, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, g, w = gk.mars(0.5, gamma=0.1, max_norm=float("inf")), jnp.array([3.0, -4.0]), jnp.zeros(2)
      >>> first, state = tx.update(g, tx.init(w), w)
      >>> assert jnp.allclose(first, -0.5 * jnp.sign(g))
      >>> _, state = tx.update(g + 1, state, w)
      >>> assert jnp.allclose(state.memory["scale_by_adam"]["moment"]["average"], 0.0475 * g + 0.05 * (g + 1 + 1.9))

    **Differs** from the exact form in the paper, which takes the gradient before on the batch of now; this is its approximate form, one gradient a step.

    Reference: Yuan et al. 2024, https://arxiv.org/abs/2411.10438.
    """
    strength = as_rate(gamma)
    check.decay(b1=b1)
    check.non_negative(gamma=strength)
    return chain(
        scale_by_optimistic_gradient(1.0, _correction(strength, b1)),
        clip_by_block_norm(max_norm),
        adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask),
    )
