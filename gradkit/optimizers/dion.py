"""Dion: orthonormal updates of low rank, by one power iteration a step.

    B_t = M_{t−1} + g_t        P = qr(B V)        R = Bᴴ P        Δθ = −α √(out / in) P V_tᴴ
    M_t = B_t − (1 − β) P Rᴴ        V_t = R with columns of length 1

What the factors of low rank leave out stays in M, to be applied later.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.linalg.dimensions import DimensionNumbers, Matrices, matrices
from gradkit.optimizers.adamw import adamw
from gradkit.optimizers.muon import matrices_and_others
from gradkit.stores import as_store, averages
from gradkit.transforms.orthogonalize import map_matrices
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Key, Mask, Rate, StoreLike


@transform
def scale_by_dion(
    rank: int = 64,
    beta: Rate = 0.95,
    mu_dtype: StoreLike = None,
    *,
    key: Key = 0,
    weight_dimension_numbers: DimensionNumbers | None = None,
) -> Rule:
    """Orthonormalize a low-rank part of the momentum as Dion does, without a learning rate.

    **Update rule** B = M + g (out × in), P = qr(B V), R = Bᴴ P; u = √(out / in) P V'ᴴ, where V' is
    R with columns of length 1; then M ← B − (1 − β) P Rᴴ, V ← V'. Directions in which B is zero but
    for rounding get no update and keep their column of V.

    **State** ``momentum`` (shape of the leaf, float32 or wider, or ``mu_dtype``; 4 bytes per
    parameter) and ``basis``, V (``rank`` columns of the length of the input, float32 or wider).

    Args:
      rank: the number of columns of V, ≥ 1; at most the shorter side of a matrix.
      beta: β in [0, 1), how much of the applied part stays in the momentum.
      mu_dtype: dtype of the momentum's state, or a `Store`.
      key: a seed or a random key, for the first V.
      weight_dimension_numbers: the axes of each leaf that are its rows (in) and columns (out): see
        `MuonDimensionNumbers`. None: every leaf is a matrix.

    Raises:
      ValueError: a leaf that is no matrix, a decay outside [0, 1), a rank below 1.
      TypeError: a key that is none.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> tx = gk.scale_by_dion(rank=2)
      >>> g = jax.random.normal(jax.random.key(0), (6, 4))
      >>> updates, state = tx.update(g, tx.init(g))
      >>> assert jnp.linalg.matrix_rank(updates) == 2
      >>> assert state.inner["scale_by_dion"]["basis"].shape == (6, 2)

    Reference: Ahn et al. 2025, https://arxiv.org/abs/2504.05295, algorithm 1.
    """
    check.integer(1, rank=rank)
    check.decay(beta=beta)
    store = as_store(mu_dtype, "mu_dtype")
    random = numerics.as_key(key)

    def init(params: Any, *, context: Any) -> Any:
        views = matrices(weight_dimension_numbers, params, context.whole)
        numbers = iter(range(len(views)))

        def basis(p: Any, view: Matrices) -> Any:
            kind = numerics.wide(jax.dtypes.result_type(p))
            real = numerics.real(kind)
            leading = [view.shape[axis] for axis in view.batch]
            shape = [*leading, view.fan_in, min(rank, view.fan_in, view.fan_out)]
            draw = jax.random.normal(jax.random.fold_in(random, next(numbers)), shape, real)
            return draw.astype(kind)

        treedef: Any
        leaves, treedef = jax.tree.flatten(params)
        bases = [basis(p, view) for p, view in zip(leaves, views, strict=True)]
        return {"momentum": tree.zeros_like(params), "basis": treedef.unflatten(bases)}

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        views = matrices(weight_dimension_numbers, updates, context.whole)

        def leaf(g: Any, view: Matrices, momentum: Any, basis: Any) -> Any:
            total = g + momentum
            if not g.size:
                return g, total, basis
            seen, scale = view.see(total).mT, math.sqrt(view.fan_out / view.fan_in)
            left, right, basis, used = _power_step(seen, basis)
            keep = tree.factor_like(numerics.complement(beta), g)
            rest = seen - keep * _product(left, right.mT.conj())
            out = scale * _product(left * used, basis.mT.conj())
            return view.back(out.mT, g), view.back(rest.mT, g), basis

        kept = state["momentum"], state["basis"]
        new, momentum, basis = map_matrices(leaf, updates, views, *kept, outputs=3)
        return new, {"momentum": momentum, "basis": basis}

    return Rule(init, update, averages=averages(store, "momentum"))


def _power_step(b: Any, basis: Any) -> tuple[Any, Any, Any, Any]:
    """P, R, the next V, and which of its columns are more than rounding."""
    image = _product(b, basis)
    # The decomposition of zero has no derivative.
    zero = jnp.max(jnp.abs(image), axis=(-2, -1), keepdims=True) == 0
    eye = jnp.eye(image.shape[-2], image.shape[-1], dtype=b.dtype)
    eye = jnp.broadcast_to(eye, image.shape)
    left, _ = jnp.linalg.qr(jnp.where(zero, eye, image))
    right = _product(b.mT.conj(), left)
    lengths = numerics.sqrt(jnp.sum(numerics.abs_sq(right), axis=-2, keepdims=True))
    noise = max(b.shape[-2:]) * jnp.finfo(b.dtype).eps
    used = lengths > noise * jnp.max(lengths, axis=-1, keepdims=True)
    unit = numerics.divide(right, lengths.astype(b.dtype))
    return left, right, jnp.where(used, unit, basis), used.astype(b.dtype)


def _product(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision="highest")


@transform
def dion(
    learning_rate: Rate,
    rank: int = 64,
    beta: Rate = 0.95,
    weight_decay: Rate = 0.01,
    weight_decay_mask: Mask | None = None,
    mu_dtype: StoreLike = None,
    *,
    key: Key = 0,
    adam_b1: Rate = 0.9,
    adam_b2: Rate = 0.95,
    adam_eps: Rate = 1e-8,
    adam_weight_decay: Rate = 0.0,
    adam_learning_rate: Rate | None = None,
    weight_dimension_numbers: DimensionNumbers | None = None,
) -> Transform:
    """Dion: orthonormal updates of low rank for matrices; AdamW for everything else.

    **Update rule** Δθ = −α (u + λ θ), u that of ``scale_by_dion``.

    **State** ``dion``: that of ``scale_by_dion`` for the matrices (4 bytes per parameter, and
    ``rank`` columns); ``adam``: that of ``adamw`` for the other leaves (8 bytes per parameter).

    A common learning rate is 0.01. Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      rank: the rank of the updates, ≥ 1; a quarter of the width loses little.
      beta: β in [0, 1), how much of the applied part stays in the momentum.
      weight_decay: λ ≥ 0 of the matrices, decoupled.
      weight_decay_mask: matrices that decay: see `gradkit.masks`.
      mu_dtype: dtype of the moments' state, or a `Store`.
      key: a seed or a random key, for the first basis.
      adam_b1: decay of Adam's moment, in [0, 1).
      adam_b2: decay of Adam's preconditioner, in [0, 1).
      adam_eps: ≥ 0, added to Adam's root.
      adam_weight_decay: λ ≥ 0 of the other leaves.
      adam_learning_rate: the rate of the other leaves; None for ``learning_rate``.
      weight_dimension_numbers: which leaves are matrices: a tree of `MuonDimensionNumbers` (or a
        prefix) with None for Adam's leaves, a function of the parameters that returns one, or a
        predicate. None: the leaves of rank 2.

    Raises:
      ValueError: a decay outside [0, 1); a negative ε, λ or learning rate; a rank below 1; axes
        that a leaf does not have; no params for the weight decay.
      TypeError: a hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> params = {"w": jax.random.normal(jax.random.key(0), (6, 4)), "b": jnp.ones(4)}
      >>> tx = gk.dion(0.1, rank=4, weight_decay=0.0)
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> assert jnp.allclose(jnp.linalg.norm(updates["w"]), 0.1 * (4 / 6) ** 0.5 * 4**0.5)

    Reference: Ahn et al. 2025, https://arxiv.org/abs/2504.05295.
    """
    matrix = chain(
        scale_by_dion(
            rank, beta, mu_dtype, key=key, weight_dimension_numbers=weight_dimension_numbers
        ),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
    other = adamw(
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        adam_b1,
        adam_b2,
        adam_eps,
        mu_dtype=mu_dtype,
        weight_decay=adam_weight_decay,
    )
    return matrices_and_others({"dion": matrix, "adam": other}, weight_dimension_numbers)
