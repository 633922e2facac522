"""Dowg."""

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
        return {
            "origin": tree.origin(params),
            "sq_distance": tree.scalar(least, params),
            "squares": tree.scalar(0.0, params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        origin = tree.origin_at(state["origin"], params, step)
        distance = jnp.maximum(
            state["sq_distance"], tree.sq_norm(tree.map(jnp.subtract, origin, params))
        )
        squares = state["squares"] + distance * tree.sq_norm(updates)
        rate = numerics.divide(distance, numerics.sqrt(squares) + tree.factor_like(eps, squares))
        return tree.scale(updates, rate), {
            "origin": origin,
            "sq_distance": distance,
            "squares": squares,
        }

    return Rule(init, update)


@transform
def dowg(
    learning_rate: Any = 1.0,
    init_estim_sq_dist: Any = None,
    eps: Any = 1e-4,
    weight_decay: Any = None,
    mask: Any = None,
) -> Transform:
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
