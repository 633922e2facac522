"""DoG: the distance travelled from the initial parameters sets the learning rate.

Δθ_t = −α_t · η_t · g_t        r_t = max_{s≤t} ‖θ_s − θ_0‖, at least r_ε        G_t = Σ_{s≤t} ‖g_s‖²

| | η_t | norms |
|---|---|---|
| ``dog`` | r_t / √(G_t + ε) | over the whole tree |
| ``scale_by_distance_over_gradients`` | r_t / √(G_t + ε) | per leaf |
"""

from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _shards as shards
from gradkit import _tree as tree
from gradkit import _xla as xla
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import optional_decay
from gradkit.typing import Mask, Rate


@transform
def scale_by_dog(init_step: tuple[str, Rate], eps: Rate = 1e-8) -> Rule:
    """Scale by DoG's learning rate: distance from the start over the root of summed ‖g‖².

    **Update rule** u = r g / √(G + ε), r_t = max(r_{t−1}, ‖θ_t − θ_0‖), G_t = G_{t−1} + ‖g_t‖²,
    norms over the whole tree.

    **State** ``origin`` (θ_0; float32 or wider; 4 bytes per parameter), ``distance`` and
    ``squares`` (r and G, one scalar each). Needs params.

    Args:
      init_step: a pair of a word and a number > 0 that sets r before the first step:
        ``("distance", r_ε)``; ``("heuristic", c)`` for c (1 + ‖θ_0‖); or
        ``("learning_rate", η)``, with which the first step is η g.
      eps: ε ≥ 0, added under the root.

    Raises:
      ValueError: another word, a number ≤ 0, a negative ε, or no params.
      TypeError: ``init_step`` is not a pair.

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

    def first_distance(params: Any, size: Any) -> Any:
        if kind == "learning_rate":
            return tree.scalar(0.0, params)
        norm = tree.norm(params)
        relative = 1 + norm if kind == "heuristic" else jnp.ones_like(norm)
        return tree.factor_like(size, norm) * relative

    def init(params: Any) -> Any:
        origin = tree.origin(params)
        return {
            "origin": origin,
            "distance": first_distance(origin, size),
            "squares": tree.scalar(0.0, params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        origin = tree.origin_at(state["origin"], params, step)
        distance = xla.run_if(
            step == 0, lambda _, given: first_distance(*given), state["distance"], (origin, size)
        )
        distance = jnp.maximum(distance, tree.norm(tree.map(jnp.subtract, origin, params)))
        squares = state["squares"] + tree.sq_norm(updates)
        rate = numerics.divide(distance, numerics.sqrt(squares + tree.factor_like(eps, squares)))
        if kind == "learning_rate":
            rate = jnp.where(step == 0, tree.factor_like(size, rate), rate)
        state = {"origin": origin, "distance": distance, "squares": squares}
        return tree.scale(updates, rate), state

    return Rule(init, update, sharded=True)


def _pair(init_step: Any) -> tuple[Any, Any]:
    if not (isinstance(init_step, (tuple, list)) and len(init_step) == 2):
        check.refuse(
            f"init_step={init_step!r} is not a pair",
            expected="a word and a number",
            fix='Pass for example ("heuristic", 1e-6)',
            error=TypeError,
        )
    return init_step[0], init_step[1]


@transform
def dog(
    learning_rate: Rate = 1.0,
    init_step: tuple[str, Rate] = ("heuristic", 1e-6),
    eps: Rate = 1e-8,
    weight_decay: Rate | None = None,
    mask: Mask | None = None,
) -> Transform:
    """DoG (distance over gradients): SGD without a learning rate to tune.

    **Update rule** Δθ = −α r g / √(G + ε), as in ``scale_by_dog``, computed from g + λ θ.

    **State** ``scale_by_dog``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, or a schedule. The method itself has α = 1.
      init_step: a pair of a word and a number > 0 that sets the first step: see ``scale_by_dog``.
      eps: ε ≥ 0, added under the root.
      weight_decay: λ ≥ 0, coupled: λ θ is added to the gradient. None for no decay.
      mask: Leaves that decay: see `gradkit.masks`. Judged also without a decay.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: ``init_step`` is not a pair.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.dog(init_step=("learning_rate", 0.5)), jnp.zeros(1)
      >>> w, state = tx.apply(w, tx.init(w), jnp.full(1, 4.0))
      >>> updates, _ = tx.update(jnp.full(1, 3.0), state, w)
      >>> assert w[0] == -2.0 and jnp.allclose(updates, -2 * 3 / 5)

    Reference: Ivgi et al. 2023, https://arxiv.org/abs/2302.12022. The authors evaluate an average
    of the weights.
    """
    return chain(
        optional_decay(weight_decay, mask),
        scale_by_dog(init_step, eps),
        scale_by_learning_rate(learning_rate),
    )


@transform
def scale_by_distance_over_gradients(
    reps_rel: Rate = 1e-6,
    eps: Rate = 1e-8,
    param_dtype: DTypeLike = "float32",
    global_scale: Rate = 1.0,
) -> Rule:
    """Scale each leaf by its own DoG learning rate (layer-wise DoG).

    **Update rule** u = s r g / √(G + ε) with r_t = max(r_{t−1}, ‖θ_t − θ_0‖), r_0 = c (1 + ‖θ_0‖)
    and G_t = G_{t−1} + ‖g_t‖², all norms per leaf.

    **State** ``origin`` (θ_0 in ``param_dtype``), ``distance`` and ``squares`` (r and G, one scalar
    per leaf each). Needs params.

    Args:
      reps_rel: c > 0, the first distance relative to the norm of the parameters.
      eps: ε ≥ 0, added under the root.
      param_dtype: the dtype in which θ_0 is stored.
      global_scale: s, finite, or a schedule.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: ``param_dtype`` is not a floating dtype.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_distance_over_gradients(0.5, eps=0.0)
      >>> w = jnp.array([3.0, 4.0])
      >>> assert jnp.allclose(tx.update(w, tx.init(w), w)[0], 0.5 * (1 + 5) * w / 5)

    **Differs from optax**, which reshapes scalar leaves to vectors of length 1.

    Reference: Ivgi et al. 2023, https://arxiv.org/abs/2302.12022.
    """
    check.positive(reps_rel=reps_rel)
    check.non_negative(eps=eps)
    check.finite(global_scale=global_scale)
    dtype = check.floating_dtype(param_dtype=param_dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        check.refuse(
            f"param_dtype={dtype.name} cannot store parameters",
            expected="a floating dtype",
            error=TypeError,
        )

    def squared(x: Any) -> Any:
        return shards.total(jnp.sum(numerics.abs_sq(x)))

    def norm(x: Any) -> Any:
        return numerics.sqrt(squared(x))

    def first_distances(params: Any, reps_rel: Any) -> Any:
        norms = tree.map(norm, params)
        return tree.map(lambda size: tree.factor_like(reps_rel, size) * (1 + size), norms)

    def narrow(p: Any) -> Any:
        kind = numerics.wider(dtype, jnp.complex64) if jnp.iscomplexobj(p) else dtype
        return numerics.cast(p, kind)

    def init(params: Any) -> Any:
        origin = tree.origin(params)
        zero = tree.map(lambda p: jnp.zeros((), numerics.real(p.dtype)), origin)
        return {
            "origin": tree.map(narrow, origin),
            "distance": first_distances(origin, reps_rel),
            "squares": zero,
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        origin = tree.origin_at(state["origin"], params, step)
        distance = xla.run_if(
            step == 0,
            lambda _, given: first_distances(*given),
            state["distance"],
            (params, reps_rel),
        )

        def leaf(g: Any, p: Any, start: Any, farthest: Any, squares: Any) -> Any:
            farthest = jnp.maximum(farthest, norm(p - numerics.cast(start, p.dtype)))
            squares = squares + squared(g)
            root = numerics.sqrt(squares + tree.factor_like(eps, squares))
            rate = numerics.divide(farthest, root)
            scaled = tree.factor_like(global_scale, rate) * rate
            return g * scaled.astype(g.dtype), farthest, squares

        updates, distance, squares = tree.map(
            leaf, updates, params, origin, distance, state["squares"], outputs=3
        )
        return updates, {"origin": origin, "distance": distance, "squares": squares}

    return Rule(init, update, sharded=True)
