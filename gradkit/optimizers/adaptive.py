"""The adaptive rates: the gradient over the root of a sum or average of its squares.

    Δθ_t = −α_t · g_t / √(G_t + ε)

| | G_t | and then |
|---|---|---|
| ``adagrad`` | a + Σ g² (``total``) | |
| ``rmsprop`` | β G_{t−1} + (1 − β) g² (``ema``) | ``trace`` with momentum |
| ``rmsprop(centered=True)`` | E[g²] − E[g]² (``variance``) | |
| ``adadelta`` | ``ema`` of g² | times √(ema of Δθ² + ε) |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, identity, transform
from gradkit.averages.averages import ema, latest, total, trace, variance
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_rss(initial_accumulator_value: Any = 0.1, eps: Any = 1e-7) -> Transform:
    """Divide by the root of the sum of all squares so far: AdaGrad's direction.

    **Rule** u = g / √(G + ε), G_t = a + Σ_{s≤t} |g_s|²; 0 where G = 0 and ε = 0.

    **Remembers** ``metric.total``: 4 bytes per parameter.

    Args:
      initial_accumulator_value: a ≥ 0; the lectures have 0.
      eps: ε ≥ 0, under the root, as in the lectures.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_rss(0.0, 0.0)
      >>> _, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.full(1, 4.0), state)[0], 4 / 5)

    Reference: Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html.
    """
    check.non_negative(initial_accumulator_value=initial_accumulator_value, eps=eps)
    return precondition(latest(), total(initial_accumulator_value), eps_root=eps)


@transform
def adagrad(learning_rate: Any, initial_accumulator_value: Any = 0.1, eps: Any = 1e-7) -> Transform:
    """AdaGrad: rates that shrink with the sum of all squares.

    **Rule** Δθ = −α g / √(G + ε), G_t = a + Σ_{s≤t} |g_s|².

    **Remembers** ``scale_by_rss.metric.total``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      initial_accumulator_value: a ≥ 0.
      eps: ε ≥ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adagrad(0.5, 0.0, 0.0)  # the lectures' form
      >>> assert tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0][0] == -0.5

    **Differs** from torch, whose ε stands outside the root: ``chain(precondition(latest(), total(a), eps=ε), scale_by_learning_rate(α))``.

    Reference: Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html.
    """
    return chain(scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))


@transform
def scale_by_rms(decay: Any = 0.9, eps: Any = 1e-8, initial_scale: Any = 0.0, eps_in_sqrt: bool = True, bias_correction: bool = False) -> Transform:
    """Divide by the root of an average of the squares: RMSprop's direction.

    **Rule** u = g / √(G + ε), or g / (√G + ε) with ``eps_in_sqrt=False``; G = ema(|g|²; β), G_0 = ``initial_scale``.

    **Remembers** ``metric.average``: 4 bytes per parameter.

    Args:
      decay: β in [0, 1), a number or a schedule.
      eps: ε ≥ 0.
      initial_scale: G_0 ≥ 0.
      eps_in_sqrt: ε under the root (the lectures, optax) or outside (torch).
      bias_correction: divide G by 1 − β^t.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_rms(0.75, eps=0.0)
      >>> assert tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0][0] == 2.0  # 6 / √(0.25 · 36)

    Reference: Tieleman and Hinton 2012, Coursera lecture 6.5.
    """
    check.decay(decay=decay)
    check.non_negative(eps=eps, initial_scale=initial_scale)
    metric = ema(decay, bias_correction, initial_value=initial_scale)
    return precondition(latest(), metric, eps_root=eps) if eps_in_sqrt else precondition(latest(), metric, eps)


@transform
def scale_by_stddev(decay: Any = 0.9, eps: Any = 1e-8, initial_scale: Any = 0.0, eps_in_sqrt: bool = True, bias_correction: bool = False) -> Transform:
    """Divide by the moving standard deviation of the gradient: the centered RMSprop's direction.

    **Rule** u = g / √(V + ε), or g / (√V + ε) with ``eps_in_sqrt=False``; V = E[|g|²] − |E[g]|², E the ema of decay β.

    **Remembers** ``metric.mean`` and ``metric.variance``: 8 bytes per parameter.

    Args:
      decay: β in [0, 1), a number or a schedule.
      eps: ε ≥ 0.
      initial_scale: V_0 ≥ 0.
      eps_in_sqrt: ε under the root, or outside.
      bias_correction: divide both expectations by 1 − β^t.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_stddev(0.5, eps=0.0)
      >>> assert tx.update(jnp.full(1, 2.0), tx.init(jnp.zeros(1)))[0][0] == 2.0  # V = 0.5 · 4 − 1

    **Differs** from optax in rounding only: see ``variance``.

    Reference: Graves 2013, https://arxiv.org/abs/1308.0850.
    """
    check.decay(decay=decay)
    check.non_negative(eps=eps, initial_scale=initial_scale)
    metric = variance(decay, bias_correction, initial_scale)
    return precondition(latest(), metric, eps_root=eps) if eps_in_sqrt else precondition(latest(), metric, eps)


@transform
def rmsprop(
    learning_rate: Any,
    decay: Any = 0.9,
    eps: Any = 1e-8,
    initial_scale: Any = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Any = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Transform:
    """RMSprop: AdaGrad that forgets.

    **Rule** Δθ = −α g / √(G + ε), G = ema(|g|²; β); centered: the variance in place of G; with ``momentum=ρ`` a heavy ball over the steps.

    **Remembers** G (4 bytes per parameter), centered 8; 4 more with momentum.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      decay: β in [0, 1).
      eps: ε ≥ 0.
      initial_scale: G_0 ≥ 0.
      eps_in_sqrt: ε under the root (the lectures, optax) or outside (torch).
      centered: divide by the standard deviation instead.
      momentum: ρ in [0, 1], or None.
      nesterov: the momentum looks one step ahead.
      bias_correction: divide G by 1 − β^t.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.rmsprop(0.5, decay=0.75, eps=0.0)
      >>> assert tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0][0] == -1.0

    **Differs** from torch: ``eps_in_sqrt=False`` and ``initial_scale=0`` are its form, with ``decay`` its alpha; its momentum is applied before the rate,
    which is the same for a constant rate.

    Reference: Tieleman and Hinton 2012, Coursera lecture 6.5; Graves 2013, https://arxiv.org/abs/1308.0850.
    """
    if momentum is not None:
        check.probability(momentum=momentum)
    metric = scale_by_stddev if centered else scale_by_rms
    return chain(
        metric(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(momentum, nesterov),
    )


@transform
def scale_by_adadelta(rho: Any = 0.9, eps: Any = 1e-6) -> Rule:
    """Divide by the root of the average square of the gradients, multiply by that of the steps: AdaDelta's direction.

    **Rule** u_t = g_t √(X_{t−1} + ε) / √(G_t + ε), G = ema(|g|²; ρ), X = ema(|u|²; ρ), neither debiased.

    **Remembers** ``metric`` and ``delta``, the two averages: 8 bytes per parameter.

    Args:
      rho: ρ in [0, 1), a number or a schedule.
      eps: ε ≥ 0; it sets the first steps, √ε / √((1 − ρ) g² + ε) g.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adadelta(rho=0.75, eps=4.0)
      >>> updates, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(updates, 4 * 2 / 8**0.5)
      >>> assert jnp.allclose(state.memory["scale_by_adadelta"]["delta"]["average"], 0.25 * 8)

    Reference: Zeiler 2012, https://arxiv.org/abs/1212.5701.
    """
    check.decay(rho=rho)
    check.non_negative(eps=eps)

    def init(params: Any) -> Any:
        average, magnitudes = ema(rho, debias=False).rule, tree.magnitudes_like(params)
        return {"metric": average.init(magnitudes), "delta": average.init(magnitudes)}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        average = ema(rho, debias=False).rule

        # u and |u|² from the same numbers by different roads: XLA would write to memory a root or a quotient that both share.
        def leaf(g: Any, metric: Any, delta: Any) -> Any:
            above, below = (x + tree.factor_like(eps, x) for x in (delta, metric))
            ratio = numerics.sqrt(above) * numerics.divide(jnp.ones_like(below), numerics.sqrt(below))
            return g * tree.factor_like(ratio, g), numerics.abs_sq(g) * numerics.divide(above, below)

        squares, metric = average.update(tree.map(numerics.abs_sq, updates), memory["metric"], params, step=step)
        updates, squares = tree.map(leaf, updates, squares, memory["delta"]["average"], outputs=2)
        _, delta = average.update(squares, memory["delta"], params, step=step)
        return updates, {"metric": metric, "delta": delta}

    return Rule(init, update)


@transform
def adadelta(learning_rate: Any = None, rho: Any = 0.9, eps: Any = 1e-6, weight_decay: Any = 0.0, weight_decay_mask: Any = None) -> Transform:
    """AdaDelta: steps in the units of the parameters, without a rate of their own.

    **Rule** Δθ = −α u, u as in ``scale_by_adadelta``, fed g + λ θ.

    **Remembers** ``scale_by_adadelta``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; the paper and the lectures have 1. None gives +u, as in optax: an ascent.
      rho: ρ in [0, 1).
      eps: ε ≥ 0.
      weight_decay: λ ≥ 0, coupled.
      weight_decay_mask: which leaves decay.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adadelta(1.0, rho=0.75, eps=4.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)), jnp.zeros(1))[0], -4 * 2 / 8**0.5)

    Reference: Zeiler 2012, https://arxiv.org/abs/1212.5701.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(learning_rate),
    )
