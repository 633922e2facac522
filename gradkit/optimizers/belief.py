"""Relatives of Adam with another metric.

    Δθ_t = −α_t · M_t / (√G_t + ε)

| | M | G |
|---|---|---|
| ``adabelief`` | ema of g | ema of abs(g − m_t)², m the ema before it is debiased |
| ``acprop`` | g | the last step's ema of abs(g − m_{t−1})² |
| ``yogi`` | ema of g | drift towards g² |
| ``radam`` | ema of g | ema of g², once its variance is small enough |
| ``novograd`` | g, then the decay, then a trace | ema of the leaf's ‖g‖², from the first |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.averages import ema, latest, trace
from gradkit.averages.variants import drift, ema_from_first, per_leaf
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_belief(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-16, eps_root: Any = 1e-16, *, nesterov: bool = False) -> Rule:
    """AdaBelief's direction: small steps where the gradient surprises.

    **Rule** u = m̂ / (√ŝ + ε), m = ema(g; b1), s_t = b2 s_{t−1} + (1 − b2)|g_t − m_t|² + ε_root, both debiased.

    **Remembers** ``moment`` and ``metric``, the two averages (float32 or wider; 8 bytes per parameter).

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, added to s at every step, so that s holds ε_root / (1 − b2) of it in the end.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_belief(0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], 2.0)  # ŝ = |6 − 3|²

    **Differs** from the paper in the default only: there ε = ε_root = 1e-8.

    Reference: Zhuang et al. 2020, https://arxiv.org/abs/2010.07468.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)

    def init(params: Any) -> Any:
        return {"moment": ema(b1).rule.init(params), "metric": ema(b2).rule.init(tree.magnitudes_like(params))}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        moments, moment = ema(b1, nesterov=nesterov).rule.update(updates, memory["moment"], params, step=step)
        surprise = tree.map(_surprise(b2, eps_root), updates, moment["average"])
        metrics, metric = ema(b2).rule.update(surprise, memory["metric"], params, step=step)
        direction = tree.map(lambda m, s: numerics.divide(m, numerics.sqrt(s) + tree.factor_like(eps, s)), moments, metrics)
        return direction, {"moment": moment, "metric": metric}

    return Rule(init, update)


def _surprise(b2: Any, eps_root: Any) -> Any:
    """What the metric averages: |g − m|², with ε_root so large that every step adds ε_root itself."""
    floor = eps_root / (1 - b2)

    def leaf(g: Any, m: Any) -> Any:
        square = numerics.abs_sq(g - m)
        return square + tree.factor_like(floor, square)

    return leaf


@transform
def adabelief(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-16, eps_root: Any = 1e-16, *, nesterov: bool = False) -> Transform:
    """AdaBelief: Adam that measures the gradient's distance from its average instead of its size.

    **Rule** Δθ = −α m̂ / (√ŝ + ε), m = ema(g; b1), s_t = b2 s_{t−1} + (1 − b2)|g_t − m_t|² + ε_root.

    **Remembers** ``scale_by_belief``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, added to s at every step.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adabelief(0.5, 0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], -1.0)

    **Differs** from the paper in the default only: there ε = ε_root = 1e-8.

    Reference: Zhuang et al. 2020, https://arxiv.org/abs/2010.07468.
    """
    return chain(scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov), scale_by_learning_rate(learning_rate))


@transform
def scale_by_acprop(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-16, eps_root: Any = 1e-16) -> Rule:
    """ACProp's direction: the gradient over the surprise of the steps before it.

    **Rule** u_t = g_t / (√ŝ_{t−1} + ε), s_t = b2 s_{t−1} + (1 − b2)|g_t − m_{t−1}|² + ε_root debiased, m = ema(g; b1) from 0 and not debiased; ŝ_0 = 1.

    **Remembers** ``mean`` and ``metric``, the two averages (float32 or wider; 8 bytes per parameter).

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, added to s at every step.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_acprop(0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> first, state = tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))
      >>> assert first[0] == 6.0 and jnp.allclose(tx.update(jnp.full(1, 3.0), state)[0], 3.0 / 6.0)

    Reference: Zhuang et al. 2021, https://arxiv.org/abs/2110.05454.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)

    def init(params: Any) -> Any:
        return {"mean": ema(b1, debias=False).rule.init(params), "metric": ema(b2).rule.init(tree.magnitudes_like(params))}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        seen = -jnp.expm1(memory["metric"]["log_unseen"])
        first = seen == 0
        by = jnp.where(first, 1.0, seen)

        def leaf(g: Any, s: Any) -> Any:
            before = jnp.where(first, 1.0, s / tree.factor_like(by, s))
            return numerics.divide(g, numerics.sqrt(before) + tree.factor_like(eps, s))

        direction = tree.map(leaf, updates, memory["metric"]["average"])
        surprise = tree.map(_surprise(b2, eps_root), updates, memory["mean"]["average"])
        _, metric = ema(b2).rule.update(surprise, memory["metric"], params, step=step)
        _, mean = ema(b1, debias=False).rule.update(updates, memory["mean"], params, step=step)
        return direction, {"mean": mean, "metric": metric}

    return Rule(init, update)


@transform
def acprop(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-16, eps_root: Any = 1e-16, weight_decay: Any = 0.0, mask: Any = None) -> Transform:
    """ACProp: AdaBelief whose metric is one step behind, so that it does not depend on the gradient it divides.

    **Rule** Δθ_t = −α (g_t / (√ŝ_{t−1} + ε) + λ θ), s as in ``scale_by_acprop``.

    **Remembers** ``scale_by_acprop``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the mean, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, added to s at every step.
      weight_decay: λ ≥ 0, decoupled.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.acprop(0.5, 0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> _, state = tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.full(1, 3.0), state)[0], -0.25)

    Reference: Zhuang et al. 2021, https://arxiv.org/abs/2110.05454.
    """
    return chain(scale_by_acprop(b1, b2, eps, eps_root), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))


@transform
def scale_by_yogi(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-3, eps_root: Any = 0.0, initial_accumulator_value: Any = 1e-6) -> Transform:
    """Yogi's direction: Adam whose metric falls no faster than it rises.

    **Rule** u = m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v_t = v_{t−1} − (1 − b2) sign(v_{t−1} − |g_t|²) |g_t|², m_0 = v_0 = a, both debiased.

    **Remembers** ``moment.average`` and ``metric.average`` (float32 or wider; 8 bytes per parameter), and the ``log_unseen`` of each.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      initial_accumulator_value: a ≥ 0.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or a.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_yogi(b2=0.75, eps=0.0, initial_accumulator_value=0.0)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> _, state = tx.update(jnp.full(1, 1.0), state)
      >>> assert state.memory["scale_by_yogi"]["metric"]["average"][0] == 3.75  # 4 − 0.25 · 1², where Adam's would be 3.25

    Reference: Zaheer et al. 2018, https://papers.nips.cc/paper/8186.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root, initial_accumulator_value=initial_accumulator_value)
    start = initial_accumulator_value
    return precondition(ema(b1, initial_value=start), drift(b2, initial_value=start), eps, eps_root)


@transform
def yogi(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-3) -> Transform:
    """Yogi: Adam whose rates do not jump up when gradients become small.

    **Rule** Δθ = −α m̂ / (√v̂ + ε), v_t = v_{t−1} − (1 − b2) sign(v_{t−1} − |g_t|²) |g_t|².

    **Remembers** ``scale_by_yogi``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.yogi(0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 100.0), tx.init(jnp.zeros(1)))[0], -0.5)

    Reference: Zaheer et al. 2018, https://papers.nips.cc/paper/8186.
    """
    return chain(scale_by_yogi(b1, b2, eps), scale_by_learning_rate(learning_rate))


@transform
def scale_by_radam(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, threshold: Any = 5.0, *, nesterov: bool = False) -> Rule:
    """RAdam's direction: Adam's, held back while too few squares were seen to divide by.

    **Rule** ρ∞ = 2 / (1 − b2) − 1, ρ_t = ρ∞ − 2 t b2^t / (1 − b2^t). Where ρ_t ≥ ``threshold``: u = r m̂ / (√(v̂ + ε_root) + ε) with
    r² = (ρ_t − 4)(ρ_t − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ_t); before that u = m̂.

    **Remembers** ``moment`` and ``metric``, the two averages (float32 or wider; 8 bytes per parameter).

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      threshold: the ρ from which on the metric is used, ≥ 4, below which r has no meaning.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, a threshold below 4.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_radam()
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], 6.0)  # ρ_1 = 1: momentum alone

    **Differs** from torch, whose ε is added before the metric is debiased.

    Reference: Liu et al. 2020, https://arxiv.org/abs/1908.03265.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root, **{"threshold - 4": threshold - 4})

    def init(params: Any) -> Any:
        return {"moment": ema(b1).rule.init(params), "metric": ema(b2).rule.init(tree.magnitudes_like(params))}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        moments, moment = ema(b1, nesterov=nesterov).rule.update(updates, memory["moment"], params, step=step)
        metrics, metric = ema(b2).rule.update(tree.map(numerics.abs_sq, updates), memory["metric"], params, step=step)
        top, log_unseen = 2.0 / (1 - b2) - 1.0, metric["log_unseen"]
        rho = top - 2 * (step + 1).astype(log_unseen.dtype) / jnp.expm1(-log_unseen)
        ready = rho >= threshold
        safe = jnp.where(ready, rho, 5.0)
        share = numerics.sqrt(jnp.where(ready, numerics.divide((safe - 4) * (safe - 2) * top, jnp.asarray((top - 4) * (top - 2) * safe)), 0.0))

        def leaf(m: Any, v: Any) -> Any:
            root = numerics.sqrt(v + tree.factor_like(eps_root, v)) + tree.factor_like(eps, v)
            return jnp.where(ready, tree.factor_like(share, m) * numerics.divide(m, root), m)

        return tree.map(leaf, moments, metrics), {"moment": moment, "metric": metric}

    return Rule(init, update)


@transform
def radam(
    learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, threshold: Any = 5.0, *, nesterov: bool = False
) -> Transform:
    """RAdam: Adam with a warmup of its own.

    **Rule** Δθ = −α r m̂ / (√(v̂ + ε_root) + ε), or −α m̂ while ρ_t < ``threshold``; r and ρ as in ``scale_by_radam``.

    **Remembers** ``scale_by_radam``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      threshold: the ρ from which on the metric is used, ≥ 4.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate, a threshold below 4.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.radam(0.5)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], -3.0)

    **Differs** from torch, whose ε is added before the metric is debiased.

    Reference: Liu et al. 2020, https://arxiv.org/abs/1908.03265.
    """
    return chain(scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov), scale_by_learning_rate(learning_rate))


@transform
def scale_by_novograd(b1: Any = 0.9, b2: Any = 0.25, eps: Any = 1e-8, eps_root: Any = 0.0, weight_decay: Any = 0.0, mu_dtype: Any = None) -> Transform:
    """NovoGrad's direction: a trace of normalized gradients, one norm per leaf.

    **Rule** u_t = b1 u_{t−1} + (g_t / (√(v_t + ε_root) + ε) + λ θ), v_t = b2 v_{t−1} + (1 − b2)‖g_t‖² per leaf, v_1 = ‖g_1‖².

    **Remembers** ``precondition.metric`` (one number per leaf) and ``trace`` (float32 or wider, or ``mu_dtype``; 4 bytes per parameter).

    Args:
      b1: decay of the trace, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      weight_decay: λ ≥ 0, a number or a schedule, averaged with the gradients.
      mu_dtype: dtype of the trace's memory, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or λ.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_novograd(b1=0.5, b2=0.75, eps=0.0)
      >>> first, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(first, jnp.array([0.6, 0.8]))
      >>> assert jnp.allclose(tx.update(jnp.array([0.0, 13.0]), state)[0], jnp.array([0.3, 0.4 + 13 / (0.75 * 25 + 0.25 * 169) ** 0.5]))

    **Differs** from optax: params are needed only with weight decay.

    Reference: Ginsburg et al. 2019, https://arxiv.org/abs/1905.11286.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    direction = precondition(latest(), per_leaf(ema_from_first(b2)), eps, eps_root)
    return chain(direction, add_decayed_weights(weight_decay), trace(b1, accumulator_dtype=mu_dtype))


@transform
def novograd(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.25, eps: Any = 1e-6, eps_root: Any = 0.0, weight_decay: Any = 0.0) -> Transform:
    """NovoGrad: momentum over gradients that are normalized leaf by leaf.

    **Rule** Δθ = −α u, u_t = b1 u_{t−1} + (g_t / (√(v_t + ε_root) + ε) + λ θ), v the average of the leaf's ‖g‖².

    **Remembers** ``precondition.metric`` (one number per leaf) and ``trace``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the trace, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      weight_decay: λ ≥ 0, a number or a schedule, averaged with the gradients.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.novograd(0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))[0], jnp.array([-0.3, -0.4]))

    Reference: Ginsburg et al. 2019, https://arxiv.org/abs/1905.11286.
    """
    return chain(scale_by_novograd(b1, b2, eps, eps_root, weight_decay), scale_by_learning_rate(learning_rate))
