"""GaLore: an optimizer in a subspace of low rank, taken from the gradient's singular vectors.

Δθ_t = −α_t · s P_t A(P_tᵀ g_t)        P = the first r left singular vectors of g, every k steps
A is the transform whose state is kept in the subspace, by default Adam's

φ and ψ are those of A, of r × n numbers in place of m × n.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._part import Part, gate, unstacked
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.linalg import axes
from gradkit.optimizers.adam import scale_by_adam
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Params, PyTree, Rate


class GaLoreDimensionNumbers(NamedTuple):
    """Which axes of a tensor make the rows and which the columns of the matrix it stands for.

    Every axis is in one of the two.

    Attributes:
      reduction_axis: the axis or axes of the rows.
      output_axis: the axis or axes of the columns.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> heads = gk.GaLoreDimensionNumbers(0, (1, 2))
      >>> tx = gk.scale_by_galore(2, weight_dimension_numbers={"attention": heads})
      >>> state = tx.init({"attention": jnp.zeros((8, 3, 4))}).inner["scale_by_galore"]
      >>> assert state["projector"]["attention"].shape == (12, 2)  # of the matrix 8 × 12
    """

    reduction_axis: int | tuple[int, ...] = 0
    output_axis: int | tuple[int, ...] = 1


class _Matrix(NamedTuple):
    """How a leaf is read as a matrix: the order of its axes, the shape of the matrix, its rank."""

    order: tuple[int, ...]
    shape: tuple[int, int]
    rank: int

    @property
    def is_tall(self) -> bool:
        """The rows are projected, otherwise the columns."""
        return self.shape[0] >= self.shape[1]

    def of(self, x: Any) -> Any:
        return axes.whole(x).transpose(self.order).reshape(self.shape)

    def back(self, x: Any, like: Any) -> Any:
        moved = x.reshape([like.shape[i] for i in self.order])
        turned = moved.transpose(sorted(range(like.ndim), key=self.order.__getitem__))
        return axes.placed(turned, like)

    @property
    def small(self) -> tuple[int, int]:
        """The shape in the subspace."""
        rows, columns = self.shape
        return (self.rank, columns) if self.is_tall else (rows, self.rank)


@transform
def scale_by_galore(
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: Rate = 1.0,
    base_optimizer: Transform | None = None,
    weight_dimension_numbers: PyTree | Callable[[Params], PyTree] | None = None,
) -> Rule:
    """Run a transform on gradients that are projected to a subspace of low rank.

    **Update rule** A matrix of m ≥ n: u = s P A(Pᴴ g), P the first r left singular vectors of g;
    for m < n: u = s A(g P) Pᴴ, P the right ones. P is computed at the steps 0, k, 2k, ... from the
    current gradient. Other leaves: u = A(g), with A = ``base_optimizer``.

    **State** ``projector``: P, max(m, n) × r numbers in float32 or wider; ``base_optimizer``: the
    state of A, of r × min(m, n) numbers. With Adam 4 r (max(m, n) + 2 min(m, n)) / (m n) bytes per
    parameter of a matrix: 12 r / n of a square one. 8 of other leaves.

    Args:
      rank: r ≥ 1, the dimension of the subspace.
      update_proj_gap: k ≥ 1, the steps between two projections.
      scale: s, a number or a schedule.
      base_optimizer: A, a transform that takes no params; None for ``scale_by_adam()``.
      weight_dimension_numbers: Which leaves are projected and as which matrix: None for the leaves
        of rank two; a `GaLoreDimensionNumbers` for all leaves of rank two or more; a tree like the
        params of `GaLoreDimensionNumbers` and None; or a function of the params that returns one.
        In a tree, and from a predicate such as ``by_path("kernel")``, True is a matrix as it is.

    Raises:
      ValueError: An argument out of range; dimension numbers that do not fit their leaf; a
        ``base_optimizer`` that needs params.
      TypeError: ``base_optimizer`` is not a transform; dimension numbers of another type.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_galore(1, base_optimizer=gk.identity())
      >>> g = jnp.diag(jnp.array([3.0, 1.0]))
      >>> u, state = tx.update(g, tx.init(g))  # the part of g of rank one
      >>> assert jnp.allclose(u, jnp.diag(jnp.array([3.0, 0.0])), atol=1e-6)

    **Differs from optax**: singular vectors are computed in the wide dtype of the gradient; P is at
    least float32; complex leaves are projected with Pᴴ. Derivatives take P as a constant.

    Reference: Zhao et al. 2024, https://arxiv.org/abs/2403.03507.
    """
    check.integer(1, rank=rank, update_proj_gap=update_proj_gap)
    check.finite(scale=scale)
    numbers = weight_dimension_numbers
    base = scale_by_adam() if base_optimizer is None else base_optimizer
    # Its leaves are not those of the parameters, so ``stacked`` runs it on the tree.
    part = Part("base_optimizer", base, view=unstacked)

    def layouts(leaves: PyTree) -> list[_Matrix | None]:
        """How each leaf is projected, None for one that is not."""
        given = numbers
        if given is None or isinstance(given, GaLoreDimensionNumbers):
            found = [_of_all(given, leaf) for leaf in jax.tree.leaves(leaves)]
        else:
            given = given(leaves) if callable(given) else given
            found = _flat_numbers(tree.only_where(given, leaves), leaves)
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(leaves)]
        return [
            None if one is None or leaf.size == 0 else _matrix(one, leaf, rank, check.keystr(path))
            for one, leaf, path in zip(found, jax.tree.leaves(leaves), paths, strict=True)
        ]

    def small(plan: _Matrix | None, x: Any) -> Any:
        return x if plan is None else jnp.zeros(plan.small, x.dtype)

    def inside(plans: list[_Matrix | None], context: Any) -> Any:
        """The context of the base optimizer, whose leaves are those of the subspace."""
        return context._replace(leaves=_each(small, plans, context.leaves))

    def init(params: Any, *, context: Any) -> Any:
        plans = layouts(context.leaves)

        def projector(plan: _Matrix | None, x: Any) -> Any:
            return () if plan is None else jnp.zeros((max(plan.shape), plan.rank), x.dtype)

        start = part.init(_each(small, plans, params), context=inside(plans, context))
        return {"projector": _each(projector, plans, params), "base_optimizer": start}

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        plans = layouts(context.leaves)

        def compute(old: Any, grads: Any) -> Any:
            return _each(_projector, plans, grads)

        due = context.step % update_proj_gap == 0
        projectors = gate(due, compute, state["projector"], updates, pure=True)
        low = _each(_project, plans, updates, projectors)
        with _needs_no_params():
            low, kept = part.update(
                low, state["base_optimizer"], None, context=inside(plans, context)
            )

        def lift(plan: _Matrix | None, g: Any, u: Any, projector: Any) -> Any:
            if plan is None:
                return u
            if plan.is_tall:
                full = jnp.matmul(projector, u, precision=axes.PRECISION)
            else:
                full = jnp.matmul(u, jnp.conj(projector.T), precision=axes.PRECISION)
            return tree.factor_like(scale, full) * plan.back(full, g)

        result = _each(lift, plans, updates, low, projectors)
        return result, {"projector": projectors, "base_optimizer": kept}

    return Rule(init, update, parts=(part,), held_fixed="the projection")


def _each(function: Callable[..., Any], plans: list[Any], first: Any, *rest: Any) -> Any:
    """A function of the plan and of the subtrees of each leaf."""
    treedef: Any
    leaves, treedef = jax.tree.flatten(first)
    columns = [leaves, *(treedef.flatten_up_to(other) for other in rest)]
    return treedef.unflatten([function(*row) for row in zip(plans, *columns, strict=True)])


def _projector(plan: _Matrix | None, g: Any) -> Any:
    """The first r singular vectors of the longer side."""
    if plan is None:
        return ()
    left, _, right = lax.stop_gradient(axes.svd(plan.of(lax.stop_gradient(g))))
    return left[:, : plan.rank] if plan.is_tall else jnp.conj(right[: plan.rank].T)


def _project(plan: _Matrix | None, g: Any, projector: Any) -> Any:
    if plan is None:
        return g
    if plan.is_tall:
        return jnp.matmul(jnp.conj(projector.T), plan.of(g), precision=axes.PRECISION)
    return jnp.matmul(plan.of(g), projector, precision=axes.PRECISION)


class _needs_no_params:  # noqa: N801  used as a function
    """Say what to do where the base optimizer needs the parameters, which it is not given."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None and check.is_ours(error) and "needs the parameters" in str(error):
            check.refuse(
                "base_optimizer needs the parameters, which have no counterpart in the subspace",
                expected="a transform of the gradient alone, such as scale_by_adam()",
                fix="Pass weight_decay=... to galore, or chain what needs them after it",
            )


# ---- dimension numbers -------------------------------------------------------------------------


def _of_all(given: GaLoreDimensionNumbers | None, leaf: Any) -> GaLoreDimensionNumbers | None:
    """The numbers of a leaf, where one answer is given for all."""
    if given is None:
        return GaLoreDimensionNumbers() if leaf.ndim == 2 else None
    return given if leaf.ndim >= 2 else None


def _flat_numbers(given: PyTree, leaves: PyTree) -> list[GaLoreDimensionNumbers | None]:
    """The numbers of each leaf, from a tree of them."""
    treedef: Any = jax.tree.structure(leaves)
    try:
        found = treedef.flatten_up_to(given)
    except (ValueError, TypeError):
        check.refuse(
            f"weight_dimension_numbers={check.shown(given)} is not a tree like the parameters",
            expected=f"{treedef}",
        )
    read: dict[Any, Any] = {True: GaLoreDimensionNumbers(), False: None, None: None}
    for one in found:
        if not isinstance(one, GaLoreDimensionNumbers | bool | None):
            check.refuse(
                f"weight_dimension_numbers holds {check.shown(one)}",
                expected="GaLoreDimensionNumbers, None or a bool for each leaf",
                error=TypeError,
            )
    return [one if isinstance(one, GaLoreDimensionNumbers) else read[one] for one in found]


def _matrix(numbers: GaLoreDimensionNumbers, leaf: Any, rank: int, path: str) -> _Matrix:
    """How a leaf is read as a matrix."""
    if leaf.ndim < 2:
        check.refuse(
            f"this leaf is {check.shape_dtype(leaf)}, which is no matrix",
            expected="a leaf of rank two or more",
            fix="Give it None in weight_dimension_numbers",
            path=path,
        )
    rows, columns = (
        tuple(axis % leaf.ndim for axis in numerics.as_axes(given, name) or ())
        for name, given in numbers._asdict().items()
    )
    if sorted(rows + columns) != list(range(leaf.ndim)):
        check.refuse(
            f"{numbers} does not fit {check.shape_dtype(leaf)}",
            expected="every axis once, in the rows or in the columns",
            path=path,
        )
    one, two = (math.prod(leaf.shape[i] for i in side) for side in (rows, columns))
    return _Matrix(rows + columns, (one, two), min(rank, one, two))


@transform
def galore(
    learning_rate: Rate,
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: Rate = 1.0,
    base_optimizer: Transform | None = None,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
    weight_dimension_numbers: PyTree | Callable[[Params], PyTree] | None = None,
) -> Transform:
    """GaLore: memory-efficient training with gradients projected to a subspace of low rank.

    **Update rule** Δθ = −α (u + λ θ), u as in ``scale_by_galore``: for a matrix u = s P A(Pᴴ g), P
    the first r singular vectors of the gradient, computed every k steps.

    **State** That of ``scale_by_galore``: with Adam 4 r (max(m, n) + 2 min(m, n)) / (m n) bytes per
    parameter of an m × n matrix, where Adam itself has 8.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      rank: r ≥ 1, the dimension of the subspace.
      update_proj_gap: k ≥ 1, the steps between two projections.
      scale: s, a number or a schedule.
      base_optimizer: A, a transform that takes no params; None for ``scale_by_adam()``.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.
      weight_dimension_numbers: Which leaves are projected and as which matrix, as in
        ``scale_by_galore``; None for the leaves of rank two.

    Raises:
      ValueError: An argument out of range; dimension numbers that do not fit their leaf; a
        ``base_optimizer`` that needs params; missing params with weight decay.
      TypeError: ``base_optimizer`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.galore(0.5, rank=1, base_optimizer=gk.scale_by_sign())
      >>> g = jnp.array([[4.0, 3.0], [4.0, 3.0]])  # P is (1, 1) / √2, Pᵀ g is √2 (4, 3)
      >>> u, _ = tx.update(g, tx.init(g))
      >>> assert jnp.allclose(u, -0.5 / 2**0.5)

    **Differs from optax** as ``scale_by_galore`` does.

    Reference: Zhao et al. 2024, https://arxiv.org/abs/2403.03507.
    """
    return chain(
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
