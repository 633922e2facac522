"""Clipping: bounds on the values, on the joint norm, on each leaf, on each unit; and steps of a given length.

| | bound |
|---|---|
| ``clip(b)``, ``clip(b, a)`` | a ≤ u_i ≤ b, elementwise; a = −b |
| ``clip_by_global_norm(c)`` | ‖u‖ ≤ c over the whole tree |
| ``clip_by_block_rms(c)`` | rms(u) ≤ c in each leaf |
| ``adaptive_grad_clip(λ)`` | ‖u_unit‖ ≤ λ max(‖θ_unit‖, ε) |
| ``normalize_by_update_norm(s)`` | ‖u‖ = s over the whole tree |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform

# The axes that make up one unit, by rank: vectors whole, dense kernels (in, out) by column, convolutions (h, w, in, out) by output.
_UNIT_AXES = {0: (), 1: (0,), 2: (0,), 3: (0,), 4: (0, 1, 2), 5: (0, 1, 2, 3)}


@transform
def clip(max_delta: Any, min_delta: Any = None) -> Rule:
    """Clip every number into [−b, b], or into [a, b].

    **Rule** u ← max(min(g, b), a) with b = ``max_delta``, a = ``min_delta`` or −b.

    **Remembers** nothing.

    Args:
      max_delta: b, a number or a schedule; positive when it stands alone.
      min_delta: a < b, or None.

    Raises:
      ValueError: bounds that leave nothing between them.
      TypeError: complex updates, which have no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip(2.0, -1.0)
      >>> assert tx.update(jnp.array([-5.0, 0.5, 5.0]), tx.init(jnp.zeros(3)))[0].tolist() == [-1.0, 0.5, 2.0]

    **Differs** from optax: a second, different bound is possible, as in the lectures' g ← max(min(g, b), a).
    """
    if min_delta is None:
        check.positive(max_delta=max_delta)
    else:
        check.finite(max_delta=max_delta, min_delta=min_delta)
        check.ordered(min_delta=min_delta, max_delta=max_delta)
    low = -max_delta if min_delta is None else min_delta

    def leaf(u: Any) -> Any:
        check.real(u)
        return jnp.clip(u, tree.factor_like(low, u), tree.factor_like(max_delta, u))

    return stateless(lambda updates, params: tree.map(leaf, updates))


@transform
def clip_by_global_norm(max_norm: Any, *, report: bool = False) -> Rule:
    """Scale all updates together so that their joint norm is at most ``max_norm``.

    **Rule** u ← g · min(1, c / ‖g‖), ‖g‖ = √Σ|g_i|² over the whole tree, in float32 or wider; u = 0 for g = 0.

    **Remembers** nothing; with ``report`` its ``metrics``: ``norm`` = ‖g‖ of the last step, ``clipped`` = the share of steps that were clipped.

    Args:
      max_norm: c > 0, a number or a schedule; infinity never clips.
      report: keep the metrics (see ``metrics``); the norm is computed anyway.

    Raises:
      ValueError: ``max_norm`` ≤ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_global_norm(1.0)
      >>> updates, _ = tx.update({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, tx.init({"a": jnp.zeros(1), "b": jnp.zeros(1)}))
      >>> assert abs(float(updates["a"][0]) - 0.6) < 1e-6 and abs(float(updates["b"][0]) - 0.8) < 1e-6

    **Differs** from optax: float16 and bfloat16 gradients are squared and summed in float32; an all-zero gradient has a finite derivative.

    Reference: Pascanu et al. 2013, https://arxiv.org/abs/1211.5063.
    """
    check.positive(max_norm=max_norm)

    def clipped(updates: Any) -> tuple[Any, Any, Any]:
        norm = tree.norm(updates)
        # Both branches stay finite, so that the derivatives do too: also at a zero norm, and with an infinite bound.
        within = norm <= max_norm
        factor = jnp.where(within, 1.0, jnp.where(within, 1.0, max_norm) / jnp.where(within, 1.0, norm))
        return tree.scale(updates, factor), norm, factor

    if not report:
        return stateless(lambda updates, params: clipped(updates)[0])

    def init(params: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        return {"metrics": {"norm": jnp.zeros((), dtype), "clipped": jnp.zeros((), dtype)}}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        updates, norm, factor = clipped(updates)
        share = memory["metrics"]["clipped"]
        share = share + ((factor < 1).astype(share.dtype) - share) / (step + 1).astype(share.dtype)
        return updates, {"metrics": {"norm": norm, "clipped": share}}

    return Rule(init, update)


@transform
def clip_by_block_rms(threshold: Any) -> Rule:
    """Scale each leaf so that its root mean square is at most ``threshold``.

    **Rule** u ← g / max(1, rms(g) / c), rms(g) = √mean(|g|²) of the leaf.

    **Remembers** nothing.

    Args:
      threshold: c > 0, a number or a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_block_rms(1.0)
      >>> assert tx.update(jnp.array([2.0, -2.0]), tx.init(jnp.zeros(2)))[0].tolist() == [1.0, -1.0]

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, section 6.
    """
    check.positive(threshold=threshold)

    def leaf(u: Any) -> Any:
        size = numerics.rms(u)
        return u / tree.factor_like(jnp.maximum(1.0, size / tree.factor_like(threshold, size)), u)

    return stateless(lambda updates, params: tree.map(leaf, updates))


@transform
def adaptive_grad_clip(clipping: Any, eps: Any = 1e-3, axis: int | tuple[int, ...] | None = None) -> Rule:
    """Bound the norm of each unit's update by a share of the norm of its weights.

    **Rule** u ← g · min(1, λ max(‖θ‖, ε) / ‖g‖), with the norms of each unit: a vector whole, a column of a matrix, an output channel of a
    convolution.

    **Remembers** nothing. Needs params.

    Args:
      clipping: λ > 0, a number or a schedule.
      eps: ε ≥ 0, the least norm a unit is taken to have, so that units that start at zero can move.
      axis: the axes that make up a unit; None chooses by rank, up to 5.

    Raises:
      ValueError: no params; a leaf of rank above 5 without ``axis``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adaptive_grad_clip(0.1)
      >>> w = jnp.array([[3.0, 0.3], [4.0, 0.4]])  # columns of norm 5 and 0.5
      >>> updates, _ = tx.update(jnp.array([[0.3, 0.3], [0.4, 0.4]]), tx.init(w), w)
      >>> assert jnp.allclose(updates, jnp.array([[0.3, 0.03], [0.4, 0.04]]))

    Reference: Brock et al. 2021, https://arxiv.org/abs/2102.06171.
    """
    check.positive(clipping=clipping)
    check.non_negative(eps=eps)

    def norm(x: Any) -> Any:
        rank = jnp.ndim(x)
        if axis is None and rank not in _UNIT_AXES:
            check.fail("needs leaves of rank 0 to 5, or an axis", check.shape_dtype(x), "Pass axis=", path="axis")
        axes = axis if axis is not None else tuple(range(rank)) if max(x.shape, default=1) == x.size else _UNIT_AXES[rank]
        return numerics.sqrt(jnp.sum(numerics.abs_sq(x), axis=axes, keepdims=True))

    def leaf(u: Any, p: Any) -> Any:
        size, least = norm(u), tree.factor_like(eps, norm(p))
        most = tree.factor_like(clipping, size) * jnp.maximum(norm(p), least)
        return u * tree.factor_like(numerics.divide(most, jnp.maximum(size, most)), u)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        return tree.map(leaf, updates, params)

    return stateless(update)


@transform
def normalize_by_update_norm(scale_factor: Any = 1.0, eps: Any = 1e-6) -> Rule:
    """Give the whole update a fixed length.

    **Rule** u ← s g / (‖g‖ + ε), the norm over the whole tree.

    **Remembers** nothing.

    Args:
      scale_factor: s, a finite number or a schedule.
      eps: ε ≥ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.normalize_by_update_norm(10.0, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(updates, jnp.array([6.0, 8.0]))

    **Differs** from optax: a zero gradient with ε = 0 gives zero, not NaN.
    """
    check.finite(scale_factor=scale_factor)
    check.non_negative(eps=eps)

    def update(updates: Any, params: Any) -> Any:
        norm = tree.norm(updates)
        length = norm + tree.factor_like(eps, norm)
        return tree.scale(updates, numerics.divide(tree.factor_like(scale_factor, norm) * jnp.ones_like(norm), length))

    return stateless(update)
