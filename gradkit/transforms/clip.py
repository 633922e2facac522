"""Clip."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform
from gradkit.transforms.trust_ratio import _norm


@transform
def clip_by_block_norm(max_norm: Any) -> Rule:
    """Scale each leaf so that its norm is at most ``max_norm``.

    **Rule** u ← g · min(1, c / ‖g‖), the 2-norm of the leaf.

    **Remembers** nothing.

    Args:
      max_norm: c > 0, a number or a schedule; infinity never clips.

    Raises:
      ValueError: c ≤ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_block_norm(1.0)
      >>> updates, _ = tx.update({"a": jnp.array([3.0, 4.0]), "b": jnp.full(1, 0.5)}, tx.init({"a": jnp.zeros(2), "b": jnp.zeros(1)}))
      >>> assert jnp.allclose(updates["a"], jnp.array([0.6, 0.8])) and updates["b"][0] == 0.5
    """
    check.positive(max_norm=max_norm)

    def leaf(u: Any) -> Any:
        size = _norm(u)
        within = size <= tree.factor_like(max_norm, size)
        factor = jnp.where(
            within,
            1.0,
            jnp.where(within, 1.0, tree.factor_like(max_norm, size)) / jnp.where(within, 1.0, size),
        )
        return u * tree.factor_like(factor, u)

    return stateless(lambda updates, params: tree.map(leaf, updates))


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

    **Remembers** nothing; with ``report`` its ``logged_values``: ``norm`` = ‖g‖ of the last step, ``clipped`` = the share of steps that were clipped.

    Args:
      max_norm: c > 0, a number or a schedule; infinity never clips.
      report: keep the metrics (see ``logged_values``); the norm is computed anyway.

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
        factor = jnp.where(
            within, 1.0, jnp.where(within, 1.0, max_norm) / jnp.where(within, 1.0, norm)
        )
        return tree.scale(updates, factor), norm, factor

    if not report:
        return stateless(lambda updates, params: clipped(updates)[0])

    def init(params: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        return {"metrics": {"norm": jnp.zeros((), dtype), "clipped": jnp.zeros((), dtype)}}

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        updates, norm, factor = clipped(updates)
        share = state["metrics"]["clipped"]
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
def adaptive_grad_clip(
    clipping: Any, eps: Any = 1e-3, axis: int | tuple[int, ...] | None = None
) -> Rule:
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
            check.fail(
                "needs leaves of rank 0 to 5, or an axis",
                check.shape_dtype(x),
                "Pass axis=",
                path="axis",
            )
        axes = (
            axis
            if axis is not None
            else tuple(range(rank))
            if max(x.shape, default=1) == x.size
            else _UNIT_AXES[rank]
        )
        return numerics.sqrt(jnp.sum(numerics.abs_sq(x), axis=axes, keepdims=True))

    def leaf(u: Any, p: Any) -> Any:
        size, least = norm(u), tree.factor_like(eps, norm(p))
        most = tree.factor_like(clipping, size) * jnp.maximum(norm(p), least)
        return u * tree.factor_like(numerics.divide(most, jnp.maximum(size, most)), u)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        return tree.map(leaf, updates, params)

    return stateless(update)
