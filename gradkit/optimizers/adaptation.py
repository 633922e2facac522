"""Learning the rate: Adam whose step size d is a growing lower bound of the distance to the solution, and a tuner for any optimizer.

    Δθ_t = −d_t α_t · M_t / (√G_t + ε)        d_t = max(d_{t−1}, d̂_t)

| | d̂_t |
|---|---|
| ``dadapt_adamw`` | Σ ⟨g_s, S_s⟩ / ‖S‖₁, S the average of the steps' gradients |
| ``prodigy`` | Σ d_s² ⟨g_s, θ_0 − θ_s⟩ / ‖Σ d_s² g_s‖₁, with fading weights |
| ``mechanize`` | any optimizer's displacement, times a factor that bets learn |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import Schedule, as_rate
from gradkit._transform import Transform, transform
from gradkit.optimizers import _sums as sums


def _betas(betas: Any) -> tuple[Any, Any]:
    if not (isinstance(betas, (tuple, list)) and len(betas) == 2):
        check.fail("needs a pair of decays", repr(betas), "Such as (0.9, 0.999)", path="betas", error=TypeError)
    check.decay(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    return betas[0], betas[1]


def _root(decay: Any) -> Any:
    return decay**0.5


@transform
def dadapt_adamw(
    learning_rate: Any = 1.0, betas: tuple[Any, Any] = (0.9, 0.999), eps: Any = 1e-8, estim_lr0: Any = 1e-6, weight_decay: Any = 0.0
) -> Rule | Transform:
    """D-Adaptation: AdamW that finds its rate.

    **Rule** λ_t = d α √(1 − b2^t) / (1 − b1^t), β = √b2; r ← β r + (1 − β) λ ⟨g, S / (√v + ε)⟩ with S and v of the step before; m ← b1 m + (1 − b1) λ g,
    v ← b2 v + (1 − b2) g², S ← β S + (1 − β) λ g; d ← max(d, r / ((1 − β) ‖S‖₁)); Δθ = −m / (√v + ε) − w λ θ.

    **Remembers** ``moment`` (m), ``metric`` (v) and ``sum`` (S): 12 bytes per parameter; ``rate`` (d) and ``weighted`` (r), one number each. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule around 1.
      betas: b1 and b2, each in [0, 1).
      eps: ε ≥ 0.
      estim_lr0: d_0 > 0, below the rate to be found.
      weight_decay: w ≥ 0, decoupled.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.dadapt_adamw(eps=0.0, estim_lr0=0.5), jnp.zeros(2)
      >>> assert jnp.allclose(tx.update(jnp.array([3.0, -7.0]), tx.init(w), w)[0], jnp.array([-0.5, 0.5]))  # Adam's first step

    **Differs** from optax: where all gradients so far are zero d stays as it is (there NaN); the scalars are float32 also for bfloat16 parameters.

    Reference: Defazio and Mishchenko 2023, https://arxiv.org/abs/2301.07733.
    """
    rate = as_rate(learning_rate)
    if isinstance(rate, Schedule) and not isinstance(learning_rate, Schedule):
        return dadapt_adamw(rate, betas, eps, estim_lr0, weight_decay)
    b1, b2 = _betas(betas)
    check.non_negative(learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check.positive(estim_lr0=estim_lr0)

    def init(params: Any) -> Any:
        averages = {name: tree.zeros_like(params) for name in ("moment", "metric", "sum")}
        return {**averages, "rate": sums.scalar(estim_lr0, params), "weighted": sums.scalar(0.0, params)}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        sums.real(updates)
        check.params(params)
        like = tree.factor_like
        d, beta = memory["rate"], like(_root(b2), memory["rate"])
        now = d * like(learning_rate, d) * numerics.sqrt(sums.debias(b2, step, updates)) / sums.debias(b1, step, updates)

        def over(x: Any, v: Any) -> Any:
            return numerics.divide(x, numerics.sqrt(v) + like(eps, v))

        gain = sums.dot(updates, tree.map(over, memory["sum"], memory["metric"]))
        weighted = beta * memory["weighted"] + (1 - beta) * now * gain
        fading, keep = numerics.after(beta, gain), numerics.after(b2, gain)  # the gain reads S and v before they change

        def leaf(g: Any, m: Any, v: Any, s: Any) -> Any:
            step_g, root = like(now, g) * g, like(fading, g)
            return like(b1, g) * m + like(1 - b1, g) * step_g, like(keep, g) * v + like(1 - b2, g) * (g * g), root * s + (1 - root) * step_g

        moment, metric, total = tree.map(leaf, updates, memory["moment"], memory["metric"], memory["sum"], outputs=3)
        size = sums.total(tree.map(lambda s: jnp.sum(jnp.abs(s)), total), total)
        found = jnp.maximum(d, numerics.divide(weighted, (1 - beta) * size))
        updates = tree.map(lambda m, v, p: -like(weight_decay, p) * like(now, p) * p - over(m, v), moment, metric, params)
        return updates, {"moment": moment, "metric": metric, "sum": total, "rate": found, "weighted": weighted}

    return Rule(init, update)


@transform
def prodigy(
    learning_rate: Any = 1.0,
    betas: tuple[Any, Any] = (0.9, 0.999),
    beta3: Any = None,
    eps: Any = 1e-8,
    estim_lr0: Any = 1e-6,
    estim_lr_coef: Any = 1.0,
    weight_decay: Any = 0.0,
    safeguard_warmup: bool = False,
) -> Rule | Transform:
    """Prodigy: D-Adaptation that finds the rate faster.

    **Rule** λ_t = d α √(1 − b2^t) / (1 − b1^t); r ← b3 r + (d / d_0) λ ⟨g, θ_0 − θ⟩; S ← b3 S + λ d g / d_0; m ← b1 m + (1 − b1) d g,
    v ← b2 v + (1 − b2) d² g²; d⁺ = max(d, c r / ‖S‖₁); Δθ = −λ m / (√v + d⁺ ε) − w λ θ.

    **Remembers** ``moment`` (m), ``metric`` (v), ``sum`` (S) and ``origin`` (θ_0): 16 bytes per parameter; ``rate`` (d) and ``weighted`` (r), one number
    each. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule around 1.
      betas: b1 and b2, each in [0, 1).
      beta3: b3 in [0, 1); None is √b2.
      eps: ε ≥ 0.
      estim_lr0: d_0 > 0, below the rate to be found.
      estim_lr_coef: c > 0, multiplies the estimate.
      weight_decay: w ≥ 0, decoupled.
      safeguard_warmup: d in the place of λ in S, so that a warm-up of α does not raise the estimate.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.prodigy(eps=0.0, estim_lr0=0.5), jnp.zeros(2)
      >>> assert jnp.allclose(tx.update(jnp.array([3.0, -7.0]), tx.init(w), w)[0], jnp.array([-0.5, 0.5]))  # Adam's first step

    **Differs** from optax: where all gradients so far are zero d stays as it is (there NaN); the scalars are float32 also for bfloat16 parameters.

    Reference: Mishchenko and Defazio 2023, https://arxiv.org/abs/2306.06101.
    """
    rate = as_rate(learning_rate)
    if isinstance(rate, Schedule) and not isinstance(learning_rate, Schedule):
        return prodigy(rate, betas, beta3, eps, estim_lr0, estim_lr_coef, weight_decay, safeguard_warmup)
    b1, b2 = _betas(betas)
    if beta3 is not None:
        check.decay(beta3=beta3)
    check.non_negative(learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check.positive(estim_lr0=estim_lr0, estim_lr_coef=estim_lr_coef)

    def init(params: Any) -> Any:
        averages = {name: tree.zeros_like(params) for name in ("moment", "metric", "sum")}
        return {**averages, "origin": sums.origin(params), "rate": sums.scalar(estim_lr0, params), "weighted": sums.scalar(0.0, params)}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        sums.real(updates)
        like, d = tree.factor_like, memory["rate"]
        origin, b3 = sums.start(memory["origin"], params, step), like(_root(b2) if beta3 is None else beta3, d)
        now = d * like(learning_rate, d) * numerics.sqrt(sums.debias(b2, step, updates)) / sums.debias(b1, step, updates)
        gain = sums.dot(updates, tree.map(jnp.subtract, origin, params))
        weighted = b3 * memory["weighted"] + d / like(estim_lr0, d) * now * gain
        share = (d if safeguard_warmup else now) / like(estim_lr0, d)

        def leaf(g: Any, m: Any, v: Any, s: Any) -> Any:
            dg = like(d, g) * g
            return like(b1, g) * m + like(1 - b1, g) * dg, like(b2, g) * v + like(1 - b2, g) * (dg * dg), like(b3, g) * s + like(share, g) * dg

        moment, metric, total = tree.map(leaf, updates, memory["moment"], memory["metric"], memory["sum"], outputs=3)
        size = sums.total(tree.map(lambda s: jnp.sum(jnp.abs(s)), total), total)
        found = jnp.maximum(d, numerics.divide(like(estim_lr_coef, d) * weighted, size))

        def step_of(m: Any, v: Any, p: Any) -> Any:
            quotient = numerics.divide(m, numerics.sqrt(v) + like(found, v) * like(eps, v))
            return -like(weight_decay, p) * like(now, p) * p - like(now, p) * quotient

        updates = tree.map(step_of, moment, metric, params)
        return updates, {"moment": moment, "metric": metric, "sum": total, "origin": origin, "rate": found, "weighted": weighted}

    return Rule(init, update)


@transform
def mechanize(base_optimizer: Any, weight_decay: Any = 1e-2, eps: Any = 1e-8, s_init: Any = 1e-6, num_betas: int = 6) -> Rule:
    """Mechanic: learn the factor of any optimizer's displacement.

    **Rule** θ_t = θ_0 + Σ_i s_i Δ_t, Δ ← Δ + the base optimizer's update. With h = ⟨g + w s ‖g‖ θ / (‖θ‖ + ε), −Δ⟩, s = Σ s_i, and for each β_i = 1 − 10^(−i):
    m ← max(β m, |h| + ε), v ← β² v + h², r ← β r + clip(h, ±m_old) s, s_i = (s_0 m / n + max(r, 0)) / (√v + ε).

    **Remembers** ``base`` (what the base optimizer does), ``origin`` (θ_0; 4 bytes per parameter), ``scale``, ``reward``, ``peak`` and ``variance`` (s, r, m
    and v, n numbers each). Needs params.

    Args:
      base_optimizer: any transform, with a rate of the usual order.
      weight_decay: w ≥ 0.
      eps: ε > 0.
      s_init: s_0 > 0, the factor to begin with.
      num_betas: n ≥ 1.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: a base that is no transform; complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.mechanize(gk.sgd(1.0), s_init=0.5, num_betas=1), jnp.ones(1)
      >>> _, state = tx.update(jnp.ones(1), tx.init(w), w)
      >>> assert state.memory["mechanize"]["scale"].shape == (1,)

    Reference: Cutkosky et al. 2023, https://arxiv.org/abs/2306.00144.
    """
    if not isinstance(base_optimizer, Transform):
        check.fail("needs a transform", repr(base_optimizer), "Such as adamw(1e-3)", path="base_optimizer", error=TypeError)
    check.non_negative(weight_decay=weight_decay)
    check.positive(eps=eps, s_init=s_init)
    check.integer(1, num_betas=num_betas)
    base = base_optimizer.rule

    def init(params: Any, *, leaves: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        kept = {name: jnp.zeros(num_betas, dtype) for name in ("reward", "peak", "variance")}
        return {
            "base": base.init(params, leaves=leaves),
            "origin": sums.origin(params),
            **kept,
            "scale": jnp.zeros(num_betas, dtype) + sums.scalar(s_init, params),
        }

    def update(updates: Any, memory: Any, params: Any, *, step: Any, **extras: Any) -> Any:
        sums.real(updates)
        like, origin, s = tree.factor_like, sums.start(memory["origin"], params, step), jnp.sum(memory["scale"])
        steps, kept = base.update(updates, memory["base"], params, step=step, **extras)
        small = like(eps, s)
        pull = like(weight_decay, s) * s * tree.norm(updates) / (tree.norm(params) + small)
        back = tree.map(lambda p, o: (o - p) / like(s + small, p), params, origin)
        h = sums.dot(tree.map(lambda g, p: g + like(pull, g) * p, updates, params), back)
        betas = jnp.asarray([1 - 0.1**i for i in range(1, num_betas + 1)], s.dtype)
        peak = jnp.maximum(betas * memory["peak"], jnp.abs(h) + small)
        variance = betas**2 * memory["variance"] + h**2
        reward = betas * memory["reward"] + jnp.clip(h, -memory["peak"], memory["peak"]) * memory["scale"]
        scale = (like(s_init, s) / num_betas * peak + jnp.maximum(reward, 0.0)) / (numerics.sqrt(variance) + small)
        factor = jnp.sum(scale)
        updates = tree.map(lambda p, o, b, u: o - like(factor, p) * (b - u) - p, params, origin, back, steps)
        return updates, {"base": kept, "origin": origin, "reward": reward, "peak": peak, "variance": variance, "scale": scale}

    return Rule(init, update)
