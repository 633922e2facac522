"""Losses of embeddings: cosine similarity and distance, contrastive and triplet losses."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit.losses import _arrays as arrays
from gradkit.losses import _softmax as softmax

Axis = int | tuple[int, ...] | None


@explained()
def cosine_similarity(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: ArrayLike = 0.0,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Cosine similarity of vectors: the cosine of the angle between them.

    **Value** ⟨a, b⟩ / (‖a‖ ‖b‖), each norm at least √ε.

    Args:
      predictions: a, floats of shape [..., features].
      targets: b, floats of the same rank; axes of length 1 of either are broadcast.
      epsilon: ε ≥ 0, the least squared norm.
      axis: the axis or axes of the features; None for all.
      where: booleans like the broadcast arrays, to leave features out, or like the result, to leave
        vectors out: their similarity and gradient are 0.
      weights: factors of the similarities, like the result.

    Returns:
      similarities in [−1, 1], of the shape without ``axis``, at least float32; 0 where a vector is
      0.

    Raises:
      TypeError: arrays that are not floating.
      ValueError: shapes that do not match, or ε < 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> similarity = gk.cosine_similarity(jnp.array([3.0, 4.0]), jnp.array([4.0, 3.0]))
      >>> assert jnp.allclose(similarity, 0.96)

    **Differs from optax**: vectors of zeros give 0 with the gradient 0, not NaN, at ε = 0; squares
    do not overflow; half precision is computed in float32; ``weights``.
    """
    a, b, per_row = _vectors(predictions, targets, axis, where)
    arrays.within("epsilon", epsilon, 0, float("inf"))
    least = arrays.number("epsilon", epsilon, a)
    similarity = jnp.sum(_unit(a, least) * _unit(b, least), axis=-1)
    return arrays.weigh(similarity, per_row, weights)


@explained()
def cosine_distance(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: ArrayLike = 0.0,
    axis: Axis = -1,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Cosine distance of vectors: one minus the cosine of the angle between them.

    **Value** 1 − ⟨a, b⟩ / (‖a‖ ‖b‖), each norm at least √ε.

    Args:
      predictions: a, floats of shape [..., features].
      targets: b, floats of the same rank; axes of length 1 of either are broadcast.
      epsilon: ε ≥ 0, the least squared norm.
      axis: the axis or axes of the features; None for all.
      where: booleans like the broadcast arrays, to leave features out, or like the result, to leave
        vectors out: their distance and gradient are 0.
      weights: factors of the distances, like the result.

    Returns:
      distances in [0, 2], of the shape without ``axis``, at least float32; 1 where a vector is 0.

    Raises:
      TypeError: arrays that are not floating.
      ValueError: shapes that do not match, or ε < 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.cosine_distance(jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0])) == 1

    **Differs from optax**: vectors of zeros give 1 with the gradient 0, not NaN, at ε = 0; vectors
    of which ``where`` leaves out every feature have the distance 0; half precision is computed in
    float32; ``weights``.
    """
    a, b, per_row = _vectors(predictions, targets, axis, where)
    arrays.within("epsilon", epsilon, 0, float("inf"))
    least = arrays.number("epsilon", epsilon, a)
    distance = 1 - jnp.sum(_unit(a, least) * _unit(b, least), axis=-1)
    return arrays.weigh(distance, per_row, weights)


@explained()
def ntxent(
    embeddings: ArrayLike,
    labels: ArrayLike,
    temperature: ArrayLike = 0.07,
    *,
    where: ArrayLike | None = None,
) -> jax.Array:
    """NT-Xent, the contrastive loss of SimCLR: cross entropy of scaled cosine similarities.

    **Value** the mean over pairs (i, j) of one label, i ≠ j, of log(1 + Σ_k exp(s_ik − s_ij)), k of
    other labels, s = cosine similarity / τ.

    Args:
      embeddings: floats of shape [batch, features].
      labels: the group of each embedding, of shape [batch].
      temperature: τ > 0.
      where: booleans of shape [batch]: the embeddings that there are.

    Returns:
      one number, at least float32; 0 where no two embeddings have one label.

    Raises:
      TypeError: embeddings that are not floating.
      ValueError: shapes that do not match, or τ ≤ 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> x = jnp.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
      >>> loss = gk.ntxent(x, jnp.array([0, 0, 1]), temperature=1.0)
      >>> assert jnp.allclose(loss, jnp.log1p(jnp.exp(-1.0)))

    **Differs from optax**: a batch without a pair gives 0, not NaN; half precision is computed in
    float32; ``where``.

    Reference: Chen et al. 2020, https://arxiv.org/abs/2002.05709.
    """
    x, groups = arrays.floating("embeddings", embeddings), arrays.real("labels", labels)
    if x.ndim != 2 or groups.shape != x.shape[:1]:
        problem = f"embeddings is {check.shape_dtype(x)}, and labels {check.shape_dtype(groups)}"
        check.refuse(problem, expected="the shapes [batch, features] and [batch]")
    check.positive(temperature=temperature)
    x = x.astype(numerics.wide(x.dtype))
    kept = arrays.mask(where, groups.shape, "labels")
    if kept is not None:
        x = jnp.where(kept[:, None], x, 0)
    unit = _unit(x, jnp.asarray(jnp.finfo(x.dtype).eps, x.dtype))
    s = jnp.matmul(unit, unit.T, precision="highest") / arrays.number("temperature", temperature, x)
    same = groups[:, None] == groups[None, :]
    pairs, others = same & ~jnp.eye(len(x), dtype=bool), ~same
    if kept is not None:
        both = kept[:, None] & kept[None, :]
        pairs, others = pairs & both, others & both
    m, rest = softmax.largest_and_rest(jnp.where(others, s, 0), others)
    counted = pairs & jnp.any(others, axis=1, keepdims=True)
    against = jnp.where(counted, m + jnp.log1p(rest) - s, 0)
    total = jnp.sum(jnp.where(counted, jax.nn.softplus(against), 0))
    return total / jnp.maximum(jnp.sum(pairs), 1).astype(s.dtype)


@explained()
def triplet_margin_loss(
    anchors: ArrayLike,
    positives: ArrayLike,
    negatives: ArrayLike,
    axis: int | tuple[int, ...] = -1,
    norm_degree: ArrayLike = 2,
    margin: ArrayLike = 1.0,
    eps: ArrayLike = 1e-6,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Triplet margin loss: an anchor is nearer to its positive than to its negative by a margin.

    **Value** max(0, d(a, p) − d(a, n) + margin), d(u, v) = (Σ |u − v|^q + ε)^(1/q).

    Args:
      anchors: a, floats of shape [..., features].
      positives: p, like a.
      negatives: n, like a.
      axis: the axis or axes of the features.
      norm_degree: q ≥ 1.
      margin: the margin, in units of distances.
      eps: ε > 0, which keeps the gradient finite where two embeddings are equal.
      where: booleans like the result; the loss and its gradient are 0 where False.
      weights: factors of the losses, like the result.

    Returns:
      losses of the shape of ``anchors`` without ``axis``, at least float32.

    Raises:
      TypeError: anchors that are not floating.
      ValueError: shapes that do not match, or q < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> a, p, n = jnp.array([0.0, 0.0]), jnp.array([3.0, 4.0]), jnp.array([4.0, 0.0])
      >>> assert jnp.allclose(gk.losses.triplet_margin_loss(a, p, n), 2.0)

    **Differs from optax**: differences are taken as |u − v|, so odd q give norms, not NaN; half
    precision is computed in float32; ``where`` and ``weights``.

    Reference: Balntas et al. 2016, https://doi.org/10.5244/C.30.119.
    """
    a, p = arrays.pair("anchors", anchors, "positives", positives)
    a, n = arrays.pair("anchors", a, "negatives", negatives)
    p = p.astype(a.dtype)
    arrays.within("norm_degree", norm_degree, 1, float("inf"))
    along = arrays.axes(axis, a.ndim)
    kept = arrays.row_mask(where, a.shape, along, "anchors")
    a, p, n = arrays.keep(kept, *(arrays.flat(x, along) for x in (a, p, n)))
    degree = arrays.number("norm_degree", norm_degree, a)
    least, gap = arrays.number("eps", eps, a), arrays.number("margin", margin, a)

    def distance(u: jax.Array, v: jax.Array) -> jax.Array:
        size = jnp.abs(u - v)
        return (jnp.sum(size**degree, axis=-1) + least) ** (1 / degree)

    loss = jnp.maximum(distance(a, p) - distance(a, n) + gap, 0)
    return arrays.weigh(loss, None if kept is None else jnp.any(kept, axis=-1), weights)


def _unit(x: jax.Array, least: jax.Array) -> jax.Array:
    """Vectors along the last axis by their norm, which is at least √least; 0 stays 0."""
    # The largest element has the square 1, so that no square overflows or vanishes.
    size = lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0))
    size = jnp.where(size == 0, 1, size)
    scaled = x / size
    norm = size * numerics.sqrt(jnp.sum(scaled * scaled, axis=-1, keepdims=True))
    return numerics.divide(x, jnp.maximum(norm, lax.sqrt(least)))


def _vectors(
    predictions: ArrayLike, targets: ArrayLike, axis: Axis, where: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    a, b = arrays.floating("predictions", predictions), arrays.floating("targets", targets)
    dtype = numerics.wide(numerics.wider(a.dtype, b.dtype))
    a, b = a.astype(dtype), b.astype(dtype)
    shape = tuple(map(max, a.shape, b.shape)) if a.ndim == b.ndim else a.shape
    b = arrays.fit("targets", b, shape, "predictions")
    a = arrays.fit("predictions", a, shape, "targets")
    along = arrays.axes(axis, a.ndim)
    kept = arrays.row_mask(where, shape, along, "predictions")
    a, b = arrays.keep(kept, arrays.flat(a, along), arrays.flat(b, along))
    return a, b, None if kept is None else jnp.any(kept, axis=-1)
