"""Shampoo: the averaged gradient times an inverse root of an average of g gᵀ along each axis.

Δθ_t = −α_t · L̂_t^(−1/4) m̂_t R̂_t^(−1/4) for a matrix        m = ema(g; b1)
L = ema(g gᵀ; b2)        R = ema(gᵀ g; b2)        the exponent is −1/(2k) for a tensor with k axes

φ is ``ema``, ψ is ``ema`` of the matrices g gᵀ; a matrix root takes the place of the square root.
The roots are computed every few steps. Grafting takes the size of each leaf's update from another
transform.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._part import Part, gate, unstacked
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages import ema, running_sum
from gradkit.linalg import axes
from gradkit.linalg.inverse_root import inverse_root
from gradkit.optimizers.adam import scale_by_adam
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


class _Layout(NamedTuple):
    """How a leaf is partitioned: its merged shape, and the blocks along each axis."""

    shape: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...]


@transform
def scale_by_shampoo(
    b1: Rate = 0.9,
    b2: Rate | None = 0.999,
    eps: Rate = 1e-8,
    matrix_epsilon: Rate = 1e-6,
    block_size: int = 1024,
    precondition_frequency: int = 10,
    exponent_override: int | None = None,
    graft: Transform | None = scale_by_adam(),  # noqa: B008  immutable
    *,
    merge_dims: bool = False,
    precondition_1d: bool = False,
    root_method: str = "eigh",
    mu_dtype: StoreLike = None,
) -> Rule:
    """Precondition by Shampoo: multiply by inverse roots of the Gram matrices of each axis.

    **Update rule** A block of a leaf with k axes: u = m̂ ×₁ Ĝ₁^(−1/p) ... ×_k Ĝ_k^(−1/p), p = 2k,
    with m = ema(g; b1), G_i = ema(g_(i) g_(i)ᴴ; b2), both debiased, g_(i) the unfolding along axis
    i; for a matrix u = L̂^(−1/4) m̂ R̂^(−1/4). The powers are those of Ĝ_i + ε λ I with λ the largest
    eigenvalue, and the identity while G_i is zero. They are computed at the steps 0, k, 2k, ...,
    from averages that include the current gradient. With ``graft`` each leaf becomes
    u ‖graft(g)‖ / ‖u‖.

    Vectors and scalars keep the diagonal of their Gram matrix: u = m̂ / (√v̂ + eps), as Adam does.

    **State** ``moment.average`` (as the leaf; 4 bytes per parameter); ``preconditioner.average``
    and ``roots`` (a tuple with one array for each axis, of shape (blocks, s, s), s ≤ block_size the
    length of a block); ``graft``. In float32 or wider: for an m × n matrix in one block
    4 + 8 (m/n + n/m) bytes per parameter, for square ones 20; with the default graft 8 more.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the Gram matrices, in [0, 1); None for their sum, as in the paper.
      eps: ε ≥ 0, added to the root of vectors and scalars.
      matrix_epsilon: ε ≥ 0, relative to the largest eigenvalue, added to the eigenvalues.
      block_size: Longest side of a block, ≥ 1. Longer axes are split into blocks of equal length.
      precondition_frequency: Steps between two computations of the roots, ≥ 1.
      exponent_override: p in Ĝ_i^(−1/p), in place of 2k.
      graft: A transform of the gradient, whose norm each leaf's update takes; None for none.
      merge_dims: Merge neighbouring axes while their product is at most ``block_size``: a kernel
        of 3 × 3 × 8 × 512 becomes 72 × 512.
      precondition_1d: Keep the whole Gram matrix of vectors too (full-matrix Adagrad).
      root_method: ``"eigh"`` or ``"newton"``: see `gradkit.linalg.inverse_root`.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.

    Raises:
      ValueError: An argument out of range.
      TypeError: ``graft`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_shampoo(matrix_epsilon=0.0, graft=None)
      >>> g = jnp.array([[3.0, 1.0], [1.0, 3.0]])
      >>> u, state = tx.update(g, tx.init(g))  # L = R = g², so that u = g / |g|
      >>> assert jnp.allclose(u, jnp.eye(2), atol=1e-6)

    The derivative is that of the whole rule, of the roots too. ``vmap`` over states computes the
    roots at every step.

    **Differs from the paper**: averages in place of sums, ε relative to the largest eigenvalue, the
    moment; ``b1=0, b2=None, graft=None, precondition_frequency=1`` is its algorithm 1 and 2.

    Reference: Gupta, Koren and Singer 2018, https://arxiv.org/abs/1802.09568; Anil et al. 2020,
    https://arxiv.org/abs/2002.09018; Agarwal et al. 2020, https://arxiv.org/abs/2002.11803
    (grafting).
    """
    check.decay(b1=b1)
    if b2 is not None:
        check.decay(b2=b2)
    check.non_negative(eps=eps, matrix_epsilon=matrix_epsilon)
    check.integer(1, block_size=block_size, precondition_frequency=precondition_frequency)
    if exponent_override is not None:
        check.integer(1, exponent_override=exponent_override)
    check.one_of(("eigh", "newton"), root_method=root_method)
    if root_method == "newton":
        check.positive(matrix_epsilon=matrix_epsilon)
    first = Part("moment", ema(b1, accumulator_dtype=mu_dtype))
    gram = running_sum() if b2 is None else ema(b2)
    # Its leaves are not those of the parameters, so ``stacked`` runs it on the tree.
    second = Part("preconditioner", gram, view=unstacked)
    third = () if graft is None else (Part("graft", graft),)

    def layout(x: Any) -> _Layout | None:
        """The blocks of a leaf; None for one that keeps the diagonal."""
        shape = axes.merged(x.shape, block_size) if merge_dims else x.shape
        if x.size == 0 or len(shape) < (1 if precondition_1d else 2):
            return None
        return _Layout(shape, axes.blocking(shape, block_size))

    def grams(g: Any) -> Any:
        plan = layout(g)
        if plan is None:
            return numerics.abs_sq(g)
        stack = axes.to_blocks(g, *plan)
        return tuple(axes.gram(stack, axis) for axis in range(stack.ndim - 1))

    def init(params: Any, *, context: Any) -> Any:
        def zero(p: Any) -> Any:
            if layout(p) is None:
                return tree.magnitudes_like(p)
            return tuple(jnp.zeros(x.shape, x.dtype) for x in jax.eval_shape(grams, p))

        zeros = jax.tree.map(zero, params)
        identities = jax.tree.map(
            lambda p, x: tuple(map(axes.identity, x)) if isinstance(x, tuple) else (), params, zeros
        )
        state = {
            "moment": first.init(params, context=context),
            "preconditioner": second.init(zeros, context=context),
            "roots": identities,
        }
        return state | {part.name: part.init(params, context=context) for part in third}

    def direction(m: Any, diagonal: Any, roots: Any, seen: Any) -> Any:
        plan = layout(m)
        if plan is None:
            root = numerics.sqrt(diagonal / tree.factor_like(seen, diagonal))
            return numerics.divide(m, root + tree.factor_like(eps, root))
        stack = axes.to_blocks(m, *plan)
        for axis, root in enumerate(roots):
            stack = axes.along(stack, root, axis)
        return axes.placed(axes.from_blocks(stack, *plan).reshape(m.shape), m)

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        moments, moment = first.update(updates, state["moment"], params, context=context)
        squares = jax.tree.map(grams, updates)
        _, kept = second.update(squares, state["preconditioner"], None, context=context)
        # Debiased inside the branch, so that XLA does not write the debiased average.
        seen = 1.0 if b2 is None else -jnp.expm1(kept["log_unseen"])
        averages = kept["sum" if b2 is None else "average"]
        treedef: Any = jax.tree.structure(updates)

        def refresh(roots: Any, operands: Any) -> Any:
            averages, seen, epsilon = operands
            orders = [2 * len(old) for old in treedef.flatten_up_to(roots) for _ in old]
            structure: Any
            flat, structure = jax.tree.flatten(averages)
            found = _roots(flat, orders, seen, epsilon, exponent_override, root_method)
            return jax.tree.unflatten(structure, found)

        matrices = jax.tree.map(lambda g, a: a if isinstance(a, tuple) else (), updates, averages)
        roots, operands = state["roots"], (matrices, seen, matrix_epsilon)
        if precondition_frequency == 1:
            roots = refresh(roots, operands)
        else:
            due = context.step % precondition_frequency == 0
            roots = gate(due, refresh, roots, operands, pure=True)
        result = tree.map(lambda m, a, r: direction(m, a, r, seen), moments, averages, roots)
        after = {"moment": moment, "preconditioner": kept, "roots": roots}
        for part in third:
            sizes, after[part.name] = part.update(
                updates, state[part.name], params, context=context
            )
            result = tree.map(_grafted, result, sizes)
        return result, after

    return Rule(init, update, parts=(first, second, *third))


def _roots(
    averages: list[Any], orders: list[int], seen: Any, epsilon: Any, override: Any, method: str
) -> list[Any]:
    """(Ĝ + ε λ I)^(−1/p) of stacks; the identity of a zero matrix."""

    def root(average: Any, p: int) -> Any:
        debiased = average / tree.factor_like(seen, average)
        power = inverse_root(debiased, p, ridge=epsilon, method=method, precision=axes.PRECISION)
        zero = jnp.all(average == 0, axis=(-2, -1), keepdims=True)
        return jnp.where(zero, axes.identity(average), power)

    powers = [override or order for order in orders]
    results: dict[int, Any] = {}
    for p in set(powers):
        chosen = [i for i, power in enumerate(powers) if power == p]
        found = axes.together(functools.partial(root, p=p), [averages[i] for i in chosen])
        results |= dict(zip(chosen, found, strict=True))
    return [results[i] for i in range(len(averages))]


def _grafted(u: Any, other: Any) -> Any:
    """The direction u with the norm of the other update."""
    ratio = numerics.divide(numerics.norm(other), numerics.norm(u))
    return u * ratio.astype(u.dtype)


@transform
def shampoo(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate | None = 0.999,
    eps: Rate = 1e-8,
    matrix_epsilon: Rate = 1e-6,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
    block_size: int = 1024,
    precondition_frequency: int = 10,
    exponent_override: int | None = None,
    graft: Transform | None = scale_by_adam(),  # noqa: B008  immutable
    *,
    merge_dims: bool = False,
    precondition_1d: bool = False,
    root_method: str = "eigh",
    mu_dtype: StoreLike = None,
) -> Transform:
    """Shampoo: full-matrix preconditioning along each axis of a tensor, with grafting.

    **Update rule** Δθ = −α (u + λ θ), u as in ``scale_by_shampoo``: for a matrix
    u = L̂^(−1/4) m̂ R̂^(−1/4), L and R the averages of g gᵀ and gᵀ g, with the norm of Adam's update.

    **State** That of ``scale_by_shampoo``: 4 + 8 (m/n + n/m) bytes per parameter of an m × n
    matrix in one block, and 8 more for the default graft.

    With the default graft the learning rates are those of Adam.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the Gram matrices, in [0, 1); None for their sum, as in the paper.
      eps: ε ≥ 0, added to the root of vectors and scalars.
      matrix_epsilon: ε ≥ 0, relative to the largest eigenvalue, added to the eigenvalues.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.
      block_size: Longest side of a block, ≥ 1. Longer axes are split into blocks of equal length.
      precondition_frequency: Steps between two computations of the roots, ≥ 1.
      exponent_override: p in Ĝ_i^(−1/p), in place of 2k.
      graft: A transform of the gradient, whose norm each leaf's update takes; None for none.
      merge_dims: Merge neighbouring axes while their product is at most ``block_size``.
      precondition_1d: Keep the whole Gram matrix of vectors too (full-matrix Adagrad).
      root_method: ``"eigh"`` or ``"newton"``: see `gradkit.linalg.inverse_root`.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.

    Raises:
      ValueError: An argument out of range; missing params with weight decay.
      TypeError: ``graft`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.shampoo(0.5, eps=0.0, matrix_epsilon=0.0)
      >>> g = jnp.array([[3.0, 1.0], [1.0, 3.0]])
      >>> u, _ = tx.update(g, tx.init(g))  # the direction of I, the norm of Adam's sign(g)
      >>> assert jnp.allclose(u, -0.5 * 2**0.5 * jnp.eye(2), atol=1e-6)

    **Differs from the paper** as ``scale_by_shampoo`` does.

    Reference: Gupta, Koren and Singer 2018, https://arxiv.org/abs/1802.09568; Anil et al. 2020,
    https://arxiv.org/abs/2002.09018.
    """
    return chain(
        scale_by_shampoo(
            b1,
            b2,
            eps,
            matrix_epsilon,
            block_size,
            precondition_frequency,
            exponent_override,
            graft,
            merge_dims=merge_dims,
            precondition_1d=precondition_1d,
            root_method=root_method,
            mu_dtype=mu_dtype,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
