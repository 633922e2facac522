"""Rates from distances: how far training has come stands for how far it has to go.

    Δθ_t = −α_t · η_t · g_t        r_t = max_{s≤t} ‖θ_s − θ_0‖, at least r_ε        G_t = Σ_{s≤t} ‖g_s‖²

| | η_t | |
|---|---|---|
| ``dog`` | r_t / √(G_t + ε) | over the whole tree |
| ``dowg`` | r_t² / (√(Σ r_s² ‖g_s‖²) + ε) | over the whole tree |
| ``scale_by_distance_over_gradients`` | r_t / √(G_t + ε) | in each leaf |
| ``cocob`` | a bet of the wealth won so far, for each number by itself | |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, identity, transform
from gradkit.optimizers import _sums as sums
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_dog(init_step: tuple[str, Any], eps: Any = 1e-8) -> Rule:
    """Scale by the distance from the start over the root of the sum of squared gradient norms.

    **Rule** u = r g / √(G + ε), r_t = max(r_{t−1}, ‖θ_t − θ_0‖), G_t = G_{t−1} + ‖g_t‖², norms over the whole tree; r before the first step by
    ``init_step``: ("distance", r_ε), ("heuristic", c): c (1 + ‖θ_0‖), or ("learning_rate", η): η g is the first step.

    **Remembers** ``origin`` (θ_0; float32 or wider; 4 bytes per parameter), ``distance`` and ``squares`` (r and G, one number each). Needs params.

    Args:
      init_step: what the first step is taken from, a pair of a word and a number > 0.
      eps: ε ≥ 0, under the root.

    Raises:
      ValueError: another word, a number ≤ 0, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_dog(("distance", 2.0), eps=0.0), jnp.zeros(2)
      >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(w), w)
      >>> assert jnp.allclose(updates, 2 * jnp.array([0.6, 0.8]))
      >>> updates, _ = tx.update(jnp.array([0.0, 12.0]), state, jnp.array([6.0, 0.0]))
      >>> assert jnp.allclose(updates, 6 * jnp.array([0.0, 12 / 13]))

    Reference: Ivgi et al. 2023, https://arxiv.org/abs/2302.12022.
    """
    kind, size = _pair(init_step)
    check.one_of(("distance", "heuristic", "learning_rate"), init_step=kind)
    check.positive(init_step=size)
    check.non_negative(eps=eps)

    def least(params: Any, size: Any) -> Any:
        if kind == "learning_rate":
            return sums.scalar(0.0, params)
        norm = tree.norm(params)
        return tree.factor_like(size, norm) * (1 + norm if kind == "heuristic" else jnp.ones_like(norm))

    def init(params: Any) -> Any:
        origin = sums.origin(params)
        return {"origin": origin, "distance": least(origin, size), "squares": sums.scalar(0.0, params)}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        origin = sums.start(memory["origin"], params, step)
        distance = numerics.run_if(step == 0, lambda _, given: least(*given), memory["distance"], (origin, size))
        distance = jnp.maximum(distance, tree.norm(tree.map(jnp.subtract, origin, params)))
        squares = memory["squares"] + sums.sq_norm(updates)
        rate = numerics.divide(distance, numerics.sqrt(squares + tree.factor_like(eps, squares)))
        if kind == "learning_rate":
            rate = jnp.where(step == 0, tree.factor_like(size, rate), rate)
        return tree.scale(updates, rate), {"origin": origin, "distance": distance, "squares": squares}

    return Rule(init, update)


def _pair(init_step: Any) -> tuple[Any, Any]:
    if not (isinstance(init_step, (tuple, list)) and len(init_step) == 2):
        check.fail("needs a pair of a word and a number", repr(init_step), 'Such as ("heuristic", 1e-6)', path="init_step", error=TypeError)
    return init_step[0], init_step[1]


@transform
def dog(learning_rate: Any = 1.0, init_step: tuple[str, Any] = ("heuristic", 1e-6), eps: Any = 1e-8, weight_decay: Any = None, mask: Any = None) -> Transform:
    """DoG: gradient descent without a rate.

    **Rule** Δθ = −α r g / √(G + ε), as in ``scale_by_dog``, fed g + λ θ.

    **Remembers** ``scale_by_dog``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; 1 is the method's own.
      init_step: what the first step is taken from: see ``scale_by_dog``.
      eps: ε ≥ 0.
      weight_decay: λ ≥ 0, coupled, or None.
      mask: which leaves decay.

    Raises:
      ValueError: a number out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.dog(init_step=("learning_rate", 0.5)), jnp.zeros(1)
      >>> w, state = tx.apply(w, tx.init(w), jnp.full(1, 4.0))
      >>> assert w[0] == -2.0 and jnp.allclose(tx.update(jnp.full(1, 3.0), state, w)[0], -2 * 3 / 5)

    Reference: Ivgi et al. 2023, https://arxiv.org/abs/2302.12022. It is meant to be used with an average of the weights.
    """
    return chain(
        identity() if weight_decay is None else add_decayed_weights(weight_decay, mask),
        scale_by_dog(init_step, eps),
        scale_by_learning_rate(learning_rate),
    )


@transform
def scale_by_dowg(init_estim_sq_dist: Any = None, eps: Any = 1e-4) -> Rule:
    """Scale by the squared distance from the start over the root of the gradient norms weighted with it.

    **Rule** u = d g / (√v + ε), d_t = max(d_{t−1}, ‖θ_t − θ_0‖²), v_t = v_{t−1} + d_t ‖g_t‖², norms over the whole tree.

    **Remembers** ``origin`` (θ_0; float32 or wider; 4 bytes per parameter), ``sq_distance`` and ``squares`` (d and v, one number each). Needs params.

    Args:
      init_estim_sq_dist: d before the first step, > 0; None is ε.
      eps: ε ≥ 0, added to the root; > 0 when it is also d.

    Raises:
      ValueError: a number out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_dowg(4.0, eps=0.0), jnp.zeros(2)
      >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(w), w)
      >>> assert jnp.allclose(updates, 4 / (4 * 25) ** 0.5 * jnp.array([3.0, 4.0]))

    Reference: Khaled et al. 2023, https://arxiv.org/abs/2305.16284.
    """
    check.non_negative(eps=eps)
    least = eps if init_estim_sq_dist is None else init_estim_sq_dist
    check.positive(**{"eps" if init_estim_sq_dist is None else "init_estim_sq_dist": least})

    def init(params: Any) -> Any:
        return {"origin": sums.origin(params), "sq_distance": sums.scalar(least, params), "squares": sums.scalar(0.0, params)}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        origin = sums.start(memory["origin"], params, step)
        distance = jnp.maximum(memory["sq_distance"], sums.sq_norm(tree.map(jnp.subtract, origin, params)))
        squares = memory["squares"] + distance * sums.sq_norm(updates)
        rate = numerics.divide(distance, numerics.sqrt(squares) + tree.factor_like(eps, squares))
        return tree.scale(updates, rate), {"origin": origin, "sq_distance": distance, "squares": squares}

    return Rule(init, update)


@transform
def dowg(learning_rate: Any = 1.0, init_estim_sq_dist: Any = None, eps: Any = 1e-4, weight_decay: Any = None, mask: Any = None) -> Transform:
    """DoWG: distance over weighted gradients.

    **Rule** Δθ = −α d g / (√v + ε), as in ``scale_by_dowg``, fed g + λ θ.

    **Remembers** ``scale_by_dowg``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; 1 is the method's own.
      init_estim_sq_dist: the squared distance before the first step, > 0; None is ε.
      eps: ε ≥ 0.
      weight_decay: λ ≥ 0, coupled, or None.
      mask: which leaves decay.

    Raises:
      ValueError: a number out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.dowg(init_estim_sq_dist=4.0, eps=0.0), jnp.zeros(1)
      >>> assert tx.update(jnp.full(1, 3.0), tx.init(w), w)[0][0] == -2.0

    Reference: Khaled et al. 2023, https://arxiv.org/abs/2305.16284.
    """
    return chain(
        identity() if weight_decay is None else add_decayed_weights(weight_decay, mask),
        scale_by_dowg(init_estim_sq_dist, eps),
        scale_by_learning_rate(learning_rate),
    )


@transform
def scale_by_distance_over_gradients(reps_rel: Any = 1e-6, eps: Any = 1e-8, param_dtype: Any = "float32", global_scale: Any = 1.0) -> Rule:
    """DoG in each leaf by itself.

    **Rule** u = s r g / √(G + ε) with the leaf's own r_t = max(r_{t−1}, ‖θ_t − θ_0‖), r_0 = c (1 + ‖θ_0‖), and G_t = G_{t−1} + ‖g_t‖².

    **Remembers** ``origin`` (θ_0 in ``param_dtype``), ``distance`` and ``squares`` (one number per leaf each). Needs params.

    Args:
      reps_rel: c > 0, the first step relative to the weights.
      eps: ε ≥ 0, under the root.
      param_dtype: dtype in which θ_0 is kept.
      global_scale: s, a finite number or a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_distance_over_gradients(0.5, eps=0.0), jnp.array([3.0, 4.0])
      >>> assert jnp.allclose(tx.update(w, tx.init(w), w)[0], 0.5 * (1 + 5) * w / 5)

    **Differs** from optax, which turns scalar leaves into vectors of one number.

    Reference: Ivgi et al. 2023, https://arxiv.org/abs/2302.12022.
    """
    check.positive(reps_rel=reps_rel)
    check.non_negative(eps=eps)
    check.finite(global_scale=global_scale)
    dtype = jnp.dtype(param_dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        check.fail("needs a floating dtype", dtype.name, path="param_dtype", error=TypeError)

    def length(x: Any) -> Any:
        return numerics.sqrt(jnp.sum(numerics.abs_sq(x)))

    def least(params: Any, reps_rel: Any) -> Any:
        return tree.map(lambda norm: tree.factor_like(reps_rel, norm) * (1 + norm), tree.map(length, params))

    def narrow(p: Any) -> Any:
        return numerics.cast(p, numerics.wider(dtype, jnp.complex64) if jnp.iscomplexobj(p) else dtype)

    def init(params: Any) -> Any:
        origin = sums.origin(params)
        zero = tree.map(lambda p: jnp.zeros((), numerics.real(p.dtype)), origin)
        return {"origin": tree.map(narrow, origin), "distance": least(origin, reps_rel), "squares": zero}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        origin = sums.start(memory["origin"], params, step)
        distance = numerics.run_if(step == 0, lambda _, given: least(*given), memory["distance"], (params, reps_rel))

        def leaf(g: Any, p: Any, first: Any, farthest: Any, squares: Any) -> Any:
            farthest = jnp.maximum(farthest, length(p - numerics.cast(first, p.dtype)))
            squares = squares + jnp.sum(numerics.abs_sq(g))
            rate = numerics.divide(farthest, numerics.sqrt(squares + tree.factor_like(eps, squares)))
            return g * (tree.factor_like(global_scale, rate) * rate).astype(g.dtype), farthest, squares

        updates, distance, squares = tree.map(leaf, updates, params, origin, distance, memory["squares"], outputs=3)
        return updates, {"origin": origin, "distance": distance, "squares": squares}

    return Rule(init, update)


@transform
def scale_by_cocob(alpha: Any = 100.0, eps: Any = 1e-8) -> Rule:
    """Bet on the sign of each gradient: the direction of continuous coin betting.

    **Rule** for each number: L ← max(L, |g|), S ← S + |g|, W ← max(W − g (θ − θ_0), 0), C ← C − g, u = θ_0 + C (L + W) / (L max(S + L, a L)) − θ.

    **Remembers** ``origin``, ``gradients`` (C), ``scale`` (L, from ε), ``magnitudes`` (S) and ``reward`` (W): 20 bytes per parameter. Needs params.

    Args:
      alpha: a > 0, how careful the first bets are.
      eps: ε > 0, the least scale.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: complex updates, which have no sign.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_cocob(alpha=10.0), jnp.zeros(1)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 5.0), tx.init(w), w)[0], -0.1)  # −5 · 5 / (5 · 50)

    Reference: Orabona and Tommasi 2017, https://arxiv.org/abs/1705.07795, algorithm 2.
    """
    check.positive(alpha=alpha, eps=eps)

    def init(params: Any) -> Any:
        zeros = tree.zeros_like  # anew for each: a donated state owns every buffer once
        kept = {"gradients": zeros(params), "scale": zeros(params, eps), "magnitudes": zeros(params), "reward": zeros(params)}
        return {"origin": sums.origin(params), **kept}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        sums.real(updates)
        origin = sums.start(memory["origin"], params, step)

        def leaf(g: Any, p: Any, first: Any, bets: Any, scale: Any, magnitudes: Any, reward: Any) -> Any:
            scale, magnitudes = jnp.maximum(scale, jnp.abs(g)), magnitudes + jnp.abs(g)
            reward, bets = jnp.maximum(reward - g * (p - first), 0.0), bets - g
            share = bets / (scale * jnp.maximum(magnitudes + scale, tree.factor_like(alpha, g) * scale))
            return first + share * (scale + reward) - p, bets, scale, magnitudes, reward

        names = ("gradients", "scale", "magnitudes", "reward")
        updates, *kept = tree.map(leaf, updates, params, origin, *(memory[name] for name in names), outputs=5)
        return updates, {"origin": origin, **dict(zip(names, kept, strict=True))}

    return Rule(init, update)


@transform
def cocob(learning_rate: Any = 1.0, alpha: Any = 100.0, eps: Any = 1e-8, weight_decay: Any = 0.0, mask: Any = None) -> Transform:
    """COCOB: training by coin betting, without a rate.

    **Rule** Δθ = u, u as in ``scale_by_cocob``, fed α (g + λ θ).

    **Remembers** ``scale_by_cocob``: 20 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a factor of the gradient: a constant one changes nothing, a schedule weighs the steps.
      alpha: a > 0, how careful the first bets are.
      eps: ε > 0, the least scale.
      weight_decay: λ ≥ 0, coupled.
      mask: which leaves decay.

    Raises:
      ValueError: a number out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.cocob(alpha=10.0), jnp.ones(1)
      >>> assert jnp.allclose(tx.apply(w, tx.init(w), jnp.full(1, 5.0))[0], 0.9)

    Reference: Orabona and Tommasi 2017, https://arxiv.org/abs/1705.07795.
    """
    return chain(add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate, flip_sign=False), scale_by_cocob(alpha, eps))
