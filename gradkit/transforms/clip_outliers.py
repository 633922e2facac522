"""Clipping of outliers: the bound on the joint norm is taken from the norms of the last steps.

| | bound on ‖u‖ | the history keeps |
|---|---|---|
| ``clip_by_percentile(p)`` | the p-th percentile of the last norms, with this one | ‖g‖ |
| ``clip_by_zscore(z)`` | μ + z σ of the last norms | the norm after clipping |

The last norms are a ring buffer of scalars in the state; each step writes one of them.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.typing import Rate


@transform
def clip_by_percentile(
    percentile: Rate = 10.0, window: int = 1000, *, report: bool = False
) -> Rule:
    """Clip by a percentile of the last gradient norms (AutoClip).

    **Update rule** u ← g · min(1, c / ‖g‖), c the p-th percentile of the last W finite norms,
    with this one (linear between two norms).

    **State** ``norms`` (W scalars, float32 or wider; −1 is none); with ``report`` its
    ``logged_values``: ``norm``, ``bound`` = c, ``clipped`` (as of ``clip_by_global_norm``).

    Args:
      percentile: p in [0, 100], a number or a schedule.
      window: W ≥ 1, in steps. Each step sorts W scalars.
      report: keep the values for ``logged_values``.

    Raises:
      ValueError: p outside [0, 100], W < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_percentile(50.0, window=3)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, 2.0, 9.0):
      ...     updates, state = tx.update(jnp.full(1, g), state)
      >>> assert updates[0] == 2.0  # the median of 1, 2 and 9

    **Differs from the paper**, whose history is not bounded.

    Reference: Seetharaman et al. 2020, https://arxiv.org/abs/2007.14469.
    """
    check.finite(percentile=percentile)
    if numerics.fails(percentile, lambda p: (p >= 0) & (p <= 100)):
        problem = f"percentile={percentile!r} is out of range"
        check.refuse(problem, expected="0 <= percentile <= 100")
    check.integer(1, window=window)

    def bound(norm: Any, norms: Any, step: Any) -> Any:
        norms = _push(norm, norms, step)
        filled = jnp.sum(norms >= 0, dtype=jnp.int32)
        ordered = jnp.sort(jnp.where(norms >= 0, norms, jnp.inf))
        place = (
            tree.factor_like(percentile, norm) / 100 * jnp.maximum(filled - 1, 0).astype(norm.dtype)
        )
        below = jnp.floor(place).astype(jnp.int32)
        low, high = ordered[below], ordered[jnp.minimum(below + 1, jnp.maximum(filled - 1, 0))]
        limit = low + (place - below.astype(norm.dtype)) * (high - low)
        return jnp.where(filled == 0, jnp.inf, limit), norms

    return _clipping(window, bound, report)


@transform
def clip_by_zscore(
    z_score: Rate = 2.5,
    window: int = 100,
    patience: int = 25,
    eps: Rate = 1e-2,
    *,
    report: bool = False,
) -> Rule:
    """Clip by z-score: bound the norm by mean plus z deviations of the last norms (ZClip).

    **Update rule** u ← g · min(1, c / ‖g‖), c = μ + z max(σ, ε μ), μ and σ the mean and the
    standard deviation of the last W norms, before this one. The history keeps the norm after
    clipping: one spike does not raise the bound, and a lasting rise raises it step by step.

    **State** ``norms`` (W scalars, float32 or wider; −1 is none); with ``report`` its
    ``logged_values``: ``norm``, ``bound`` = c, ``clipped`` (as of ``clip_by_global_norm``).

    Args:
      z_score: z > 0, a number or a schedule.
      window: W ≥ 1, in steps.
      patience: the number of norms before the first clip, in [1, W].
      eps: ε ≥ 0, a number or a schedule: the least deviation, as a share of the mean. Equal norms
        would otherwise make a bound that never rises.
      report: keep the values for ``logged_values``.

    Raises:
      ValueError: z ≤ 0, W < 1, ε < 0, a patience outside [1, W].

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_zscore(2.0, window=8, patience=2)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, 3.0, 100.0):
      ...     updates, state = tx.update(jnp.full(1, g), state)
      >>> assert updates[0] == 4.0  # 2 + 2 · 1

    **Differs from the paper**: μ and σ are those of a window, not moving averages; the bound is
    at z deviations itself, not at z² / z_t.

    Reference: Kumar et al. 2025, https://arxiv.org/abs/2504.02507.
    """
    check.positive(z_score=z_score)
    check.integer(1, window=window, patience=patience)
    check.non_negative(eps=eps)
    if patience > window:
        check.refuse(
            f"patience={patience!r} is out of range",
            expected=f"patience <= window={window!r}",
            fix="Make the window longer",
        )

    def bound(norm: Any, norms: Any, step: Any) -> Any:
        seen = (norms >= 0).astype(norm.dtype)
        filled = jnp.sum(seen)
        number = jnp.maximum(filled, 1)
        mean = jnp.sum(norms * seen) / number
        deviation = numerics.sqrt(jnp.sum(seen * (norms - mean) ** 2) / number)
        limit = mean + tree.factor_like(z_score, norm) * jnp.maximum(
            deviation, tree.factor_like(eps, norm) * mean
        )
        limit = jnp.where(filled >= patience, limit, jnp.inf)
        return limit, _push(
            jnp.where(jnp.isfinite(norm), jnp.minimum(norm, limit), norm), norms, step
        )

    return _clipping(window, bound, report)


def _clipping(window: int, bound: Any, report: bool) -> Rule:
    """A clip whose ``bound(norm, norms, step)`` returns the bound and the next history."""

    def init(params: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        return {"norms": jnp.full(window, -1, dtype)} | (
            {"logged": {name: jnp.zeros((), dtype) for name in ("norm", "bound", "clipped")}}
            if report
            else {}
        )

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        norm = tree.norm(updates).astype(state["norms"].dtype)
        limit, norms = bound(norm, state["norms"], step)
        over = norm > limit
        factor = jnp.where(over, limit / jnp.where(over, norm, 1.0), 1.0)
        after = {"norms": norms}
        if report:
            share = state["logged"]["clipped"]
            share = share + (over.astype(share.dtype) - share) / (step + 1).astype(share.dtype)
            after["logged"] = {"norm": norm, "bound": limit, "clipped": share}
        return tree.scale(updates, factor), after

    return Rule(init, update, sharded=True)


def _push(norm: Any, norms: Any, step: Any) -> Any:
    """The ring buffer with the norm in place of the oldest, or −1 if the norm is not finite."""
    oldest = jnp.arange(norms.shape[0], dtype=jnp.int32) == step % norms.shape[0]
    return jnp.where(oldest, jnp.where(jnp.isfinite(norm), norm, -1), norms)
