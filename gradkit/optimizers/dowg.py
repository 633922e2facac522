"""DoWG: DoG with gradients weighted by the squared distance from the initial parameters.

Δθ_t = −α_t · d_t g_t / (√v_t + ε)    d_t = max_{s≤t} ‖θ_s − θ_0‖²    v_t = Σ_{s≤t} d_s ‖g_s‖²

The norms are over the whole tree.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import optional_decay
from gradkit.typing import Mask, Rate


@transform
def scale_by_dowg(init_estim_sq_dist: Rate | None = None, eps: Rate = 1e-4) -> Rule:
    """Scale by DoWG's learning rate: squared distance over the root of the weighted sum of ‖g‖².

    **Update rule** u = d g / (√v + ε), d_t = max(d_{t−1}, ‖θ_t − θ_0‖²),
    v_t = v_{t−1} + d_t ‖g_t‖², norms over the whole tree.

    **State** ``origin`` (θ_0; float32 or wider; 4 bytes per parameter), ``sq_distance`` and
    ``squares`` (d and v, one scalar each). Needs params.

    Args:
      init_estim_sq_dist: d > 0 before the first step; None for ε.
      eps: ε ≥ 0, added to the root; ε > 0 when it also is the first d.

    Raises:
      ValueError: an argument out of range, or no params.

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
        moved = tree.sq_norm(tree.map(jnp.subtract, origin, params))
        distance = jnp.maximum(state["sq_distance"], moved)
        squares = state["squares"] + distance * tree.sq_norm(updates)
        rate = numerics.divide(distance, numerics.sqrt(squares) + tree.factor_like(eps, squares))
        state = {"origin": origin, "sq_distance": distance, "squares": squares}
        return tree.scale(updates, rate), state

    return Rule(init, update, sharded=True)


@transform
def dowg(
    learning_rate: Rate = 1.0,
    init_estim_sq_dist: Rate | None = None,
    eps: Rate = 1e-4,
    weight_decay: Rate | None = None,
    mask: Mask | None = None,
) -> Transform:
    """DoWG (distance over weighted gradients): SGD without a learning rate to tune.

    **Update rule** Δθ = −α d g / (√v + ε), as in ``scale_by_dowg``, computed from g + λ θ.

    **State** ``scale_by_dowg``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, or a schedule. The method itself has α = 1.
      init_estim_sq_dist: d > 0, the squared distance before the first step; None for ε.
      eps: ε ≥ 0, added to the root; ε > 0 when it also is the first d.
      weight_decay: λ ≥ 0, coupled: λ θ is added to the gradient. None for no decay.
      mask: Leaves that decay: see `gradkit.masks`. Judged also without a decay.

    Raises:
      ValueError: an argument out of range, or no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.dowg(init_estim_sq_dist=4.0, eps=0.0), jnp.zeros(1)
      >>> assert tx.update(jnp.full(1, 3.0), tx.init(w), w)[0][0] == -2.0

    Reference: Khaled et al. 2023, https://arxiv.org/abs/2305.16284.
    """
    return chain(
        optional_decay(weight_decay, mask),
        scale_by_dowg(init_estim_sq_dist, eps),
        scale_by_learning_rate(learning_rate),
    )
