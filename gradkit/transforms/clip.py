"""Bounds on each element of the updates, each leaf (a block, as in optax), or the whole tree.

| | bounds | scales |
|---|---|---|
| ``clip`` | every element | – |
| ``clip_by_block_norm`` | the norm of each leaf | the leaf |
| ``clip_by_block_rms`` | the root mean square of each leaf | the leaf |
| ``clip_by_global_norm`` | the joint norm | the whole tree |
| ``adaptive_grad_clip`` | the norm of each unit, by the norm of its weights | the unit |

``clip_by_percentile`` and ``clip_by_zscore`` bound the joint norm by its history.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import stateless, transform
from gradkit.typing import Rate


@transform
def clip_by_block_norm(max_norm: Rate) -> Rule:
    """Clip by norm, leaf by leaf: scale each leaf to a norm of at most ``max_norm``.

    **Update rule** u ← g · min(1, c / ‖g‖), the 2-norm of the leaf.

    **State** none.

    Args:
      max_norm: c > 0, a number or a schedule; infinity never clips.

    Raises:
      ValueError: c ≤ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_block_norm(1.0)
      >>> grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.full(1, 0.5)}
      >>> updates, _ = tx.update(grads, tx.init(grads))
      >>> assert jnp.allclose(updates["a"], jnp.array([0.6, 0.8])) and updates["b"][0] == 0.5
    """
    check.positive(max_norm=max_norm)

    def leaf(u: Any) -> Any:
        return u * tree.factor_like(_factor(numerics.norm(u), max_norm), u)

    return stateless(
        lambda updates, params: tree.map(leaf, updates),
        scope="leaf",
        transposable=True,
        sharded=True,
    )


def _factor(norm: Any, bound: Any) -> Any:
    """min(1, bound / norm), with finite derivatives also at a zero norm and an infinite bound."""
    bound = tree.factor_like(bound, norm)
    within = norm <= bound
    return jnp.where(within, 1.0, jnp.where(within, 1.0, bound) / jnp.where(within, 1.0, norm))


# The axes that make up one unit, by rank: whole vectors, columns of dense kernels (in, out), output
# channels of convolutions (h, w, in, out).
_UNIT_AXES = {0: (), 1: (0,), 2: (0,), 3: (0,), 4: (0, 1, 2), 5: (0, 1, 2, 3)}


@transform
def clip(max_delta: Rate, min_delta: Rate | None = None) -> Rule:
    """Clip every element of the updates to [−b, b], or to [a, b].

    **Update rule** u ← max(min(g, b), a) with b = ``max_delta``, a = ``min_delta`` or −b.

    **State** none.

    Args:
      max_delta: b, a number or a schedule; positive without ``min_delta``.
      min_delta: a < b, a number, a schedule or None.

    Raises:
      ValueError: bounds out of order, b ≤ 0 without ``min_delta``.
      TypeError: complex updates, which have no order.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip(2.0, -1.0)
      >>> updates, _ = tx.update(jnp.array([-5.0, 0.5, 5.0]), tx.init(jnp.zeros(3)))
      >>> assert updates.tolist() == [-1.0, 0.5, 2.0]

    **Differs from optax**: a second, different bound is possible.
    """
    if min_delta is None:
        check.positive(max_delta=max_delta)
    else:
        check.finite(max_delta=max_delta, min_delta=min_delta)
        check.ordered(min_delta=min_delta, max_delta=max_delta)
    low = numerics.negative(max_delta) if min_delta is None else min_delta

    def leaf(u: Any) -> Any:
        check.real(u)
        return jnp.clip(u, tree.factor_like(low, u), tree.factor_like(max_delta, u))

    return stateless(lambda updates, params: tree.map(leaf, updates), scope="element")


@transform
def clip_by_global_norm(max_norm: Rate, *, report: bool = False) -> Rule:
    """Clip by global norm: scale all updates together to a joint norm of at most ``max_norm``.

    **Update rule** u ← g · min(1, c / ‖g‖), ‖g‖ = √Σ|g_i|² over the whole tree, in float32 or
    wider; u = 0 for g = 0.

    **State** none; with ``report`` its ``logged_values``: ``norm`` = ‖g‖ of the last step,
    ``clipped`` = the share of steps that were clipped.

    Args:
      max_norm: c > 0, a number or a schedule; infinity never clips.
      report: keep the values for ``logged_values``; the norm is computed anyway.

    Raises:
      ValueError: ``max_norm`` ≤ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_global_norm(1.0)
      >>> grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
      >>> updates, _ = tx.update(grads, tx.init(grads))
      >>> assert jnp.allclose(updates["a"], 0.6) and jnp.allclose(updates["b"], 0.8)

    **Differs from optax**: float16 and bfloat16 gradients are squared and summed in float32; an
    all-zero gradient has a finite derivative.

    Reference: Pascanu et al. 2013, https://arxiv.org/abs/1211.5063.
    """
    check.positive(max_norm=max_norm)

    def clipped(updates: Any) -> tuple[Any, Any, Any]:
        norm = tree.norm(updates)
        factor = _factor(norm, max_norm)
        return tree.scale(updates, factor), norm, factor

    if not report:
        return stateless(lambda updates, params: clipped(updates)[0], scope="global")

    def init(params: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        return {"logged": {"norm": jnp.zeros((), dtype), "clipped": jnp.zeros((), dtype)}}

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        updates, norm, factor = clipped(updates)
        share = state["logged"]["clipped"]
        share = share + ((factor < 1).astype(share.dtype) - share) / (step + 1).astype(share.dtype)
        return updates, {"logged": {"norm": norm, "clipped": share}}

    return Rule(init, update, scope="global")


@transform
def clip_by_block_rms(threshold: Rate) -> Rule:
    """Clip by RMS, leaf by leaf: scale each leaf to a root mean square of at most ``threshold``.

    **Update rule** u ← g / max(1, rms(g) / c), rms(g) = √mean(|g|²) of the leaf.

    **State** none.

    Args:
      threshold: c > 0, a number or a schedule.

    Raises:
      ValueError: c ≤ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_block_rms(1.0)
      >>> updates, _ = tx.update(jnp.array([2.0, -2.0]), tx.init(jnp.zeros(2)))
      >>> assert updates.tolist() == [1.0, -1.0]

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, section 6.
    """
    check.positive(threshold=threshold)

    def leaf(u: Any) -> Any:
        size = numerics.rms(u)
        return u / tree.factor_like(jnp.maximum(1.0, size / tree.factor_like(threshold, size)), u)

    return stateless(
        lambda updates, params: tree.map(leaf, updates),
        scope="leaf",
        transposable=True,
        sharded=True,
    )


@transform
def adaptive_grad_clip(
    clipping: Rate, eps: Rate = 1e-3, axis: int | tuple[int, ...] | None = None
) -> Rule:
    """Adaptive gradient clipping: bound each unit's update by the norm of its weights.

    **Update rule** u ← g · min(1, λ max(‖θ‖, ε) / ‖g‖), with the norms of each unit: a whole
    vector, a column of a matrix, an output channel of a convolution.

    **State** none. Needs params.

    Args:
      clipping: λ > 0, a number or a schedule.
      eps: ε ≥ 0, a number or a schedule: the lower bound of ‖θ‖, so that units of zeros can move.
      axis: the axes that make up a unit; None chooses by rank, up to 5.

    Raises:
      ValueError: λ ≤ 0, ε < 0, no params, a leaf of rank above 5 without ``axis``, or a leaf that
        lacks one of the axes.
      TypeError: ``axis`` is not an axis.

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

    units = numerics.as_axes(axis)

    def norm(x: Any) -> Any:
        axes = _unit_axes(x) if units is None else units
        rank = jnp.ndim(x)
        if not all(-rank <= a < rank for a in axes):
            check.refuse(f"axis={axis!r} is not in the leaf {check.shape_dtype(x)}")
        return numerics.sqrt(jnp.sum(numerics.abs_sq(x), axis=axes, keepdims=True))

    def leaf(u: Any, p: Any) -> Any:
        size, least = norm(u), tree.factor_like(eps, norm(p))
        most = tree.factor_like(clipping, size) * jnp.maximum(norm(p), least)
        return u * tree.factor_like(numerics.divide(most, jnp.maximum(size, most)), u)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        return tree.map(leaf, updates, params)

    return stateless(update, scope="leaf")


def _unit_axes(x: Any) -> tuple[int, ...]:
    rank = jnp.ndim(x)
    if rank not in _UNIT_AXES:
        check.refuse(
            f"the leaf {check.shape_dtype(x)} has rank {rank}",
            expected="leaves of rank 0 to 5",
            fix="Pass axis=",
        )
    is_vector = max(x.shape, default=1) == x.size
    return tuple(range(rank)) if is_vector else _UNIT_AXES[rank]
