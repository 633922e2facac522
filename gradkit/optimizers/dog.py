"""Dog."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, identity, transform
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


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
            return tree.scalar(0.0, params)
        norm = tree.norm(params)
        return tree.factor_like(size, norm) * (
            1 + norm if kind == "heuristic" else jnp.ones_like(norm)
        )

    def init(params: Any) -> Any:
        origin = tree.origin(params)
        return {
            "origin": origin,
            "distance": least(origin, size),
            "squares": tree.scalar(0.0, params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        origin = tree.origin_at(state["origin"], params, step)
        distance = numerics.run_if(
            step == 0, lambda _, given: least(*given), state["distance"], (origin, size)
        )
        distance = jnp.maximum(distance, tree.norm(tree.map(jnp.subtract, origin, params)))
        squares = state["squares"] + tree.sq_norm(updates)
        rate = numerics.divide(distance, numerics.sqrt(squares + tree.factor_like(eps, squares)))
        if kind == "learning_rate":
            rate = jnp.where(step == 0, tree.factor_like(size, rate), rate)
        return tree.scale(updates, rate), {
            "origin": origin,
            "distance": distance,
            "squares": squares,
        }

    return Rule(init, update)


def _pair(init_step: Any) -> tuple[Any, Any]:
    if not (isinstance(init_step, (tuple, list)) and len(init_step) == 2):
        check.fail(
            "needs a pair of a word and a number",
            repr(init_step),
            'Such as ("heuristic", 1e-6)',
            path="init_step",
            error=TypeError,
        )
    return init_step[0], init_step[1]


@transform
def dog(
    learning_rate: Any = 1.0,
    init_step: tuple[str, Any] = ("heuristic", 1e-6),
    eps: Any = 1e-8,
    weight_decay: Any = None,
    mask: Any = None,
) -> Transform:
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
def scale_by_distance_over_gradients(
    reps_rel: Any = 1e-6, eps: Any = 1e-8, param_dtype: Any = "float32", global_scale: Any = 1.0
) -> Rule:
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
        return tree.map(
            lambda norm: tree.factor_like(reps_rel, norm) * (1 + norm), tree.map(length, params)
        )

    def narrow(p: Any) -> Any:
        return numerics.cast(
            p, numerics.wider(dtype, jnp.complex64) if jnp.iscomplexobj(p) else dtype
        )

    def init(params: Any) -> Any:
        origin = tree.origin(params)
        zero = tree.map(lambda p: jnp.zeros((), numerics.real(p.dtype)), origin)
        return {
            "origin": tree.map(narrow, origin),
            "distance": least(origin, reps_rel),
            "squares": zero,
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        origin = tree.origin_at(state["origin"], params, step)
        distance = numerics.run_if(
            step == 0, lambda _, given: least(*given), state["distance"], (params, reps_rel)
        )

        def leaf(g: Any, p: Any, first: Any, farthest: Any, squares: Any) -> Any:
            farthest = jnp.maximum(farthest, length(p - numerics.cast(first, p.dtype)))
            squares = squares + jnp.sum(numerics.abs_sq(g))
            rate = numerics.divide(
                farthest, numerics.sqrt(squares + tree.factor_like(eps, squares))
            )
            return (
                g * (tree.factor_like(global_scale, rate) * rate).astype(g.dtype),
                farthest,
                squares,
            )

        updates, distance, squares = tree.map(
            leaf, updates, params, origin, distance, state["squares"], outputs=3
        )
        return updates, {"origin": origin, "distance": distance, "squares": squares}

    return Rule(init, update)
