"""Counts of positives and negatives above every threshold, and what is read from them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradkit.metrics import _tally as tally


class Steps(NamedTuple):
    """Samples, or bins, in descending order of their scores.

    Equal scores share one point of the curves, that of their last; samples of weight zero come last
    and share the last point.
    """

    thresholds: Any
    tps: Any  # the positives at or above the threshold
    fps: Any  # the negatives at or above it
    before: Any  # the positives above it
    hits: Any  # the positives of this sample or bin
    misses: Any  # its negatives


@jax.jit
def above(positive: Any, score: Any, weight: Any) -> Steps:
    """The steps of the curves, as many as there are scores."""
    out = (weight == 0).astype(jnp.int32)
    order = ~score if jnp.issubdtype(score.dtype, jnp.integer) else -score
    order = jnp.where(out == 1, 0, order)  # no NaN among them
    zero = jnp.zeros((), weight.dtype)
    hits = jnp.where(positive, weight, zero)
    misses = jnp.where(positive, zero, weight)
    out, order, score, hits, misses = lax.sort((out, order, score, hits, misses), num_keys=2)
    count, index, one = score.size, jnp.arange(score.size), jnp.ones(1, bool)
    new = (order[1:] != order[:-1]) | (out[1:] != out[:-1])
    end = jnp.where(jnp.concatenate([new, one]), index, count - 1)
    end = lax.cummin(end, reverse=True)
    end = jnp.minimum(end, jnp.maximum(jnp.sum(out == 0) - 1, 0))
    start = lax.cummax(jnp.where(jnp.concatenate([one, new]), index, 0))
    tps, fps = jnp.cumsum(hits), jnp.cumsum(misses)
    before = jnp.concatenate([jnp.zeros(1, tps.dtype), tps])[start]
    # A NaN among the scores has no place in the order: no reading is a number.
    score = tally.real(score)
    bad = jnp.any(jnp.isnan(score) & (out == 0))
    return invalid_if(bad, score[end], tps[end], fps[end], before, hits, misses)


@jax.jit
def of_bins(positive: Any, negative: Any, edges: Any, bad: Any) -> Steps:
    """The steps of bins, from the highest down; ``edges`` are their lower ones."""
    positive, negative, edges = positive[::-1], negative[::-1], edges[::-1]
    tps, fps = jnp.cumsum(positive), jnp.cumsum(negative)
    before = jnp.concatenate([jnp.zeros(1, tps.dtype), tps[:-1]])
    return invalid_if(bad, edges, tps, fps, before, positive, negative)


@jax.jit
def invalid_if(bad: Any, *fields: Any) -> Steps:
    return Steps(*(jnp.where(bad, jnp.nan, tally.real(field)) for field in fields))


def fractions(counts: Any) -> jax.Array:
    """Counts at or above each threshold, as fractions from 0 to 1; NaN where there is none."""
    last = counts[-1]
    # XLA may multiply by the reciprocal: the last one would not be 1.
    found = jnp.where(counts == last, last / last, counts / last)
    return jnp.concatenate([found[:1] * 0, found])


@jax.jit
def area(steps: Steps) -> jax.Array:
    """The area under the ROC curve: the mean over negatives of the positives above them.

    Its terms have no differences of sums, which would lose digits.
    """
    share = steps.misses / steps.fps[-1]
    return total(share * ((steps.before + steps.tps) / 2 / steps.tps[-1]))


@jax.jit
def mean_precision(steps: Steps) -> jax.Array:
    """The mean over positives of the precision at their scores."""
    return total(steps.hits / steps.tps[-1] * precisions(steps.tps, steps.fps))


@jax.jit
def ties(positive: Any, negative: Any) -> jax.Array:
    """Half of the fraction of pairs of a positive and a negative that share a bin."""
    positive, negative = tally.real(positive), tally.real(negative)
    pairs = (positive / jnp.sum(positive)) * (negative / jnp.sum(negative))
    return total(pairs) / 2


def precisions(tps: Any, fps: Any) -> jax.Array:
    """The precision at each threshold; 0 where nothing is at or above it."""
    both = tps + fps
    return jnp.where(both == 0, 0, tps / jnp.where(both == 0, 1, both))


def total(x: Any) -> jax.Array:
    """Σx by blocks, whose rounding errors grow with the root of the length."""
    side = max(int(x.size**0.5), 1)
    padded = jnp.pad(x, (0, -x.size % side))
    return jnp.sum(jnp.sum(padded.reshape(-1, side), axis=0))


@jax.jit
def roc(steps: Steps) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The ROC curve, from its first point (0, 0, ∞)."""
    first = jnp.full(1, jnp.inf, steps.thresholds.dtype)
    thresholds = jnp.concatenate([first, steps.thresholds])
    return fractions(steps.fps), fractions(steps.tps), thresholds


@jax.jit
def precision_recall(steps: Steps) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The precision-recall curve, to its last point (1, 0)."""
    one = jnp.ones(1, steps.tps.dtype)
    precision = jnp.concatenate([one, precisions(steps.tps, steps.fps)])
    return precision[::-1], fractions(steps.tps)[::-1], steps.thresholds[::-1]
