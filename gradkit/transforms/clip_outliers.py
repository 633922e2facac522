"""Clipping by the history of the norm: the bound is where most norms have been.

| | ‖u‖ ≤ | the history keeps |
|---|---|---|
| ``clip_by_percentile(p)`` | the p-th percentile of the last norms, this one among them | ‖g‖ |
| ``clip_by_zscore(z)`` | μ + z σ of the last norms | the norm after the clip |

The last norms are a ring of numbers in the memory, written at one place per step.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import transform


@transform
def clip_by_percentile(percentile: Any = 10.0, window: int = 1000, *, report: bool = False) -> Rule:
    """Scale all updates together so that their norm is at most a percentile of the norms so far.

    **Rule** u ← g · min(1, c / ‖g‖), c the p-th percentile of the last W finite norms, this one among them (linear between two norms).

    **Remembers** ``norms`` (W numbers, float32 or wider; −1 is none); with ``report`` its ``logged_values``: ``norm``,
    ``bound`` = c, ``clipped`` (as of ``clip_by_global_norm``).

    Args:
      percentile: p in [0, 100], a number or a schedule.
      window: W ≥ 1, in steps. A step sorts W numbers.
      report: keep the metrics.

    Raises:
      ValueError: p outside [0, 100], W < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_percentile(50.0, window=3)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, 2.0, 9.0):
      ...     updates, state = tx.update(jnp.full(1, g), state)
      >>> assert updates[0] == 2.0  # the median of 1, 2 and 9

    Reference: Seetharaman et al. 2020, https://arxiv.org/abs/2007.14469 (its history has no end).
    """
    check.finite(percentile=percentile)
    if isinstance(percentile, (int, float)) and not 0 <= percentile <= 100:
        check.fail("needs a number in [0, 100]", repr(percentile), path="percentile")
    check.integer(1, window=window)

    def bound(norm: Any, norms: Any, step: Any) -> Any:
        norms = _remember(norm, norms, step)
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
    z_score: Any = 2.5,
    window: int = 100,
    patience: int = 25,
    eps: Any = 1e-2,
    *,
    report: bool = False,
) -> Rule:
    """Scale all updates together so that their norm lies at most z deviations above the mean of the norms so far.

    **Rule** u ← g · min(1, c / ‖g‖), c = μ + z max(σ, ε μ), μ and σ the mean and the standard deviation of the last W norms, before this one. The norm after
    the clip is what the history keeps, so one spike does not raise the bound; it follows a lasting rise step by step.

    **Remembers** ``norms`` (W numbers, float32 or wider; −1 is none); with ``report`` its ``logged_values``: ``norm``,
    ``bound`` = c, ``clipped`` (as of ``clip_by_global_norm``).

    Args:
      z_score: z > 0, a number or a schedule.
      window: W ≥ 1, in steps.
      patience: how many norms are seen before the first clip, in [1, W].
      eps: ε ≥ 0, the least deviation, as a share of the mean, so that equal norms do not make a bound that never rises.

    Raises:
      ValueError: z ≤ 0, W < 1, a patience that the window cannot hold.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.clip_by_zscore(2.0, window=8, patience=2)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, 3.0, 100.0):
      ...     updates, state = tx.update(jnp.full(1, g), state)
      >>> assert updates[0] == 4.0  # 2 + 2 · 1

    **Differs** from the paper: μ and σ are those of a window, not moving averages; the bound is at z deviations itself, not at z² / z_t.

    Reference: Kumar et al. 2025, https://arxiv.org/abs/2504.02507.
    """
    check.positive(z_score=z_score)
    check.integer(1, window=window, patience=patience)
    check.non_negative(eps=eps)
    if patience > window:
        check.fail(
            "needs a patience that the window can hold",
            f"{patience} > {window}",
            "Make the window longer",
            path="patience",
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
        return limit, _remember(
            jnp.where(jnp.isfinite(norm), jnp.minimum(norm, limit), norm), norms, step
        )

    return _clipping(window, bound, report)


def _clipping(window: int, bound: Any, report: bool) -> Rule:
    """A clip whose ``bound(norm, norms, step)`` gives the bound and the next history."""

    def init(params: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        return {"norms": jnp.full(window, -1, dtype)} | (
            {"metrics": {name: jnp.zeros((), dtype) for name in ("norm", "bound", "clipped")}}
            if report
            else {}
        )

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        norm = tree.norm(updates).astype(state["norms"].dtype)
        limit, norms = bound(norm, state["norms"], step)
        over = norm > limit
        factor = jnp.where(over, limit / jnp.where(over, norm, 1.0), 1.0)
        kept = {"norms": norms}
        if report:
            share = state["metrics"]["clipped"]
            share = share + (over.astype(share.dtype) - share) / (step + 1).astype(share.dtype)
            kept["metrics"] = {"norm": norm, "bound": limit, "clipped": share}
        return tree.scale(updates, factor), kept

    return Rule(init, update)


def _remember(norm: Any, norms: Any, step: Any) -> Any:
    """The ring with a norm in the place of the oldest; one that is not finite leaves the place empty."""
    here = jnp.arange(norms.shape[0], dtype=jnp.int32) == step % norms.shape[0]
    return jnp.where(here, jnp.where(jnp.isfinite(norm), norm, -1), norms)
