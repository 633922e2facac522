"""SOAP: Adam in the eigenbasis of Shampoo's matrices.

Δθ_t = −α_t · Q_L (m̂_t / (√v̂_t + ε)) Q_Rᵀ        m = ema(g′; b1)        v = ema(|g′|²; b2)
g′ = Q_Lᵀ g Q_R, with Q_L and Q_R the eigenvectors of L = ema(g gᵀ) and R = ema(gᵀ g)

φ and ψ are those of Adam, of the rotated gradient. A step of the power iteration and a QR
decomposition update the eigenvectors every few steps.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._part import gate
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.linalg import axes
from gradkit.stores import IDENTITY, as_store, averages
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


@transform
def scale_by_soap(
    b1: Rate = 0.95,
    b2: Rate = 0.95,
    shampoo_beta: Rate | None = None,
    eps: Rate = 1e-8,
    precondition_frequency: int = 10,
    max_precond_dim: int = 10000,
    merge_dims: bool = False,
    precondition_1d: bool = False,
    *,
    one_sided: bool = False,
    mu_dtype: StoreLike = None,
) -> Rule:
    """Precondition by SOAP: run Adam in the eigenbasis of Shampoo's matrices.

    **Update rule** u = (m̂ / (√v̂ + ε)) ×₁ Q₁ ... ×_k Q_k with m = ema(g′; b1), v = ema(|g′|²; b2),
    both debiased, g′ = g ×₁ Q₁ᴴ ... ×_k Q_kᴴ, and Q_i the eigenvectors of L_i = ema(g_(i) g_(i)ᴴ)
    with g_(i) the unfolding along axis i; for a matrix u = Q_L (m̂ / (√v̂ + ε)) Q_Rᵀ. The first
    update only computes Q_i, and is zero. After the steps k, 2k, ... Q_i becomes the factor Q of
    the QR decomposition of L_i Q_i, its columns in descending order of their eigenvalues.

    Vectors and scalars have no basis: u is the update of Adam, from the second gradient on.

    **State** ``moment`` and ``preconditioner`` (m and v in the eigenbasis; 8 bytes per parameter,
    and two scalars); ``statistics`` and ``bases``, a tuple with one n × n array for each axis of
    length n. In float32 or wider: 8 + 8 (m/n + n/m) bytes per parameter of an m × n matrix, 24 of a
    square one; with ``one_sided`` 8 + 8 m/n for m ≤ n.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      shampoo_beta: Decay of L_i, in [0, 1); None for b2.
      eps: ε ≥ 0, added to the root.
      precondition_frequency: k, the steps between two updates of the eigenvectors, ≥ 1.
      max_precond_dim: Longest axis that is rotated, ≥ 1. Longer ones keep the identity.
      merge_dims: Merge neighbouring axes while their product is at most ``max_precond_dim``.
      precondition_1d: Rotate vectors too.
      one_sided: Rotate only the shortest axis of each leaf.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.

    Raises:
      ValueError: An argument out of range.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, g = gk.scale_by_soap(eps=1e-4), jnp.array([[2.0, 1.0], [1.0, 2.0]])
      >>> zero, state = tx.update(g, tx.init(g))
      >>> u, _ = tx.update(g, state)  # g′ has the eigenvalues 3 and 1, Adam makes them 1 and 1
      >>> assert jnp.all(zero == 0) and jnp.allclose(jnp.abs(jnp.linalg.det(u)), 1.0, atol=1e-3)

    Derivatives take the eigenvectors as constants. ``vmap`` over states updates them at every step.

    Reference: Vyas et al. 2024, https://arxiv.org/abs/2409.11321, algorithm 3.
    """
    check.decay(b1=b1, b2=b2)
    if shampoo_beta is not None:
        check.decay(shampoo_beta=shampoo_beta)
    check.non_negative(eps=eps)
    check.integer(1, precondition_frequency=precondition_frequency, max_precond_dim=max_precond_dim)
    store = as_store(mu_dtype, "mu_dtype")
    beta = b2 if shampoo_beta is None else shampoo_beta

    def shape_of(x: Any) -> tuple[int, ...]:
        shape = tuple(x.shape)
        return axes.merged(shape, max_precond_dim) if merge_dims else shape

    def sides(x: Any) -> tuple[int, ...]:
        """The axes of a leaf that are rotated."""
        shape = shape_of(x)
        if x.size == 0 or len(shape) < (1 if precondition_1d else 2):
            return ()
        found = [i for i, n in enumerate(shape) if 1 < n <= max_precond_dim]
        return (min(found, key=lambda i: shape[i]),) if one_sided and found else tuple(found)

    def rotate(x: Any, matrices: Any, like: Any) -> Any:
        """The leaf times a matrix along each side."""
        if not matrices:
            return x
        stack = axes.whole(x).reshape(1, *shape_of(like))
        for axis, matrix in zip(sides(like), matrices, strict=True):
            stack = axes.along(stack, matrix[None], axis)
        return axes.placed(stack.reshape(like.shape), like)

    def squares(x: Any) -> tuple[Any, ...]:
        if not sides(x):
            return ()
        stack = axes.whole(x).reshape(1, *shape_of(x))
        return tuple(axes.gram(stack, axis)[0] for axis in sides(x))

    def init(params: Any) -> Any:
        zero = jnp.zeros((), numerics.scalar_dtype(params))
        statistics = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.tree.map(lambda p: jax.eval_shape(squares, p), params),
        )
        return {
            "moment": {"average": tree.zeros_like(params), "log_unseen": zero},
            "preconditioner": {"average": tree.magnitudes_like(params), "log_unseen": zero},
            "statistics": statistics,
            "bases": jax.tree.map(axes.identity, statistics),
        }

    def refresh(leaves: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Moments and bases of all leaves after a step of the power iteration."""
        images, roots = [], []
        for like, _, v, bases, matrices in leaves:
            if not bases:
                roots.append(v)
                continue
            kept = axes.whole(v).reshape(shape_of(like))
            for axis, basis, matrix in zip(sides(like), bases, matrices, strict=True):
                image = jnp.matmul(matrix, basis, precision=axes.PRECISION)
                order = jnp.argsort(-jnp.sum(jnp.real(jnp.conj(basis) * image), axis=0))
                kept = jnp.take(kept, order, axis=axis)
                images.append(jnp.take(image, order, axis=1)[None])
            roots.append(axes.placed(kept.reshape(like.shape), v))
        found = iter(lax.stop_gradient(axes.together(axes.qr, images)))
        results = []
        for (like, m, _, bases, _), v in zip(leaves, roots, strict=True):
            new = tuple(next(found)[0] for _ in bases)
            change = [
                jnp.matmul(axes.adjoint(q), basis, precision=axes.PRECISION)
                for q, basis in zip(new, bases, strict=True)
            ]
            results.append((rotate(m, change, like), v, new))
        return results

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        like, started = tree.factor_like, step > 0
        first, second = state["moment"], state["preconditioner"]
        logs = [
            kept["log_unseen"] + jnp.where(started, numerics.log(decay), 0.0)
            for kept, decay in ((first, b1), (second, b2))
        ]
        fresh = [jnp.where(started, numerics.complement(decay), 0.0) for decay in (b1, b2)]
        seen = [jnp.where(started, -jnp.expm1(log), 1.0) for log in logs]

        def leaf(g: Any, m: Any, v: Any, statistics: Any, bases: Any) -> Any:
            inside = rotate(g, [axes.adjoint(q) for q in bases], g)
            m = m + like(fresh[0], m) * (inside - m)
            v = v + like(fresh[1], v) * (numerics.abs_sq(inside) - v)
            root = numerics.sqrt(v / like(seen[1], v)) + like(eps, v)
            u = rotate(numerics.divide(m / like(seen[0], m), root), bases, g)
            statistics = tuple(
                old + (1 - like(beta, old)) * (new - old)
                for old, new in zip(statistics, squares(g), strict=True)
            )
            return u, m, v, statistics

        trees = (first["average"], second["average"], state["statistics"], state["bases"])
        result, moments, roots, statistics = tree.map(leaf, updates, *trees, outputs=4)
        treedef: Any = jax.tree.structure(updates)

        def start(bases: Any, statistics: Any) -> Any:
            structure: Any
            flat, structure = jax.tree.flatten(lax.stop_gradient(statistics))
            found = axes.together(lambda x: axes.eigh(x)[1], [x[None] for x in flat])
            return jax.tree.unflatten(structure, [lax.stop_gradient(q)[0, :, ::-1] for q in found])

        def turn(carry: Any, operands: Any) -> Any:
            likes, statistics = operands
            moments, roots, bases = carry
            fixed = lax.stop_gradient((bases, statistics))
            columns = map(treedef.flatten_up_to, (likes, moments, roots, *fixed))
            results = refresh(list(zip(*columns, strict=True)))
            after = zip(*results, strict=True) if results else ((), (), ())
            return tuple(treedef.unflatten(column) for column in after)

        bases = gate(step == 0, start, state["bases"], statistics, pure=True)
        due = started & (step % precondition_frequency == 0)
        carry = gate(due, turn, (moments, roots, bases), (updates, statistics), pure=True)
        return result, {
            "moment": {"average": carry[0], "log_unseen": logs[0]},
            "preconditioner": {"average": carry[1], "log_unseen": logs[1]},
            "statistics": statistics,
            "bases": carry[2],
        }

    kept = averages(store, "moment.average") | averages(IDENTITY, "preconditioner.average")
    return Rule(init, update, averages=kept, held_fixed="the eigenvectors")


@transform
def soap(
    learning_rate: Rate,
    b1: Rate = 0.95,
    b2: Rate = 0.95,
    shampoo_beta: Rate | None = None,
    eps: Rate = 1e-8,
    weight_decay: Rate = 0.01,
    mask: Mask | None = None,
    precondition_frequency: int = 10,
    max_precond_dim: int = 10000,
    merge_dims: bool = False,
    precondition_1d: bool = False,
    *,
    one_sided: bool = False,
    mu_dtype: StoreLike = None,
) -> Transform:
    """SOAP: Adam in the eigenbasis of Shampoo's preconditioner, with decoupled weight decay.

    **Update rule** Δθ = −α (u + λ θ), u as in ``scale_by_soap``: for a matrix
    u = Q_L (m̂ / (√v̂ + ε)) Q_Rᵀ, with m̂ and v̂ the averages of Adam of Q_Lᵀ g Q_R.

    **State** That of ``scale_by_soap``: 8 + 8 (m/n + n/m) bytes per parameter of an m × n matrix.

    A common learning rate is 3e-3.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      shampoo_beta: Decay of L_i, in [0, 1); None for b2.
      eps: ε ≥ 0, added to the root.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.
      precondition_frequency: k, the steps between two updates of the eigenvectors, ≥ 1.
      max_precond_dim: Longest axis that is rotated, ≥ 1. Longer ones keep the identity.
      merge_dims: Merge neighbouring axes while their product is at most ``max_precond_dim``.
      precondition_1d: Rotate vectors too.
      one_sided: Rotate only the shortest axis of each leaf.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.

    Raises:
      ValueError: An argument out of range; missing params with weight decay.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.soap(0.5, eps=0.0, weight_decay=0.0), jnp.zeros((2, 2))
      >>> g = jnp.array([[3.0, 0.0], [0.0, 1.0]])  # its eigenbasis is that of the matrix entries
      >>> _, state = tx.update(g, tx.init(w), w)
      >>> u, _ = tx.update(g, state, w)
      >>> assert jnp.allclose(u, -0.5 * jnp.eye(2))

    **Differs from the authors' code**: ``shampoo_beta=None`` where it has -1. ``chain`` it with
    ``normalize_by_update_norm`` or ``clip_by_block_rms`` in place of its ``normalize_grads``.

    Reference: Vyas et al. 2024, https://arxiv.org/abs/2409.11321.
    """
    return chain(
        scale_by_soap(
            b1,
            b2,
            shampoo_beta,
            eps,
            precondition_frequency,
            max_precond_dim,
            merge_dims,
            precondition_1d,
            one_sided=one_sided,
            mu_dtype=mu_dtype,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
