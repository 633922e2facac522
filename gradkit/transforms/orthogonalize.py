"""Matrices among the updates: orthogonalized, scaled by their shape, bounded in spectral norm."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.linalg.dimensions import DimensionNumbers, Matrices, matrices
from gradkit.linalg.orthogonalize import plan, run
from gradkit.linalg.spectrum import clip_singular_values, spectral_norm
from gradkit.typing import Rate


@transform
def orthogonalize_updates(
    steps: int | None = None,
    coefficients: str | Sequence[Any] = "standard",
    normalization: str = "frobenius",
    method: str = "newton_schulz",
    eps: Rate = 1e-8,
    dtype: DTypeLike | None = None,
    *,
    adaptive: bool = False,
    weight_dimension_numbers: DimensionNumbers | None = None,
) -> Rule:
    """Orthogonalize every matrix among the updates, as Muon does with its momentum.

    **Update rule** u ← about U Vᴴ for g = U Σ Vᴴ; ``adaptive``: times the nuclear norm Re Σ g* u.

    **State** none.

    Args:
      steps: the number of iterations: see ``linalg.orthogonalize``, as for all up to ``dtype``.
      coefficients: a triple, a sequence of triples, or a name.
      normalization: "frobenius", "spectral", "aol" or "schatten".
      method: "newton_schulz", "gram" or "svd".
      eps: ε ≥ 0, added to the norm.
      dtype: the dtype of the factors of each product, such as "bfloat16".
      adaptive: multiply each leaf by its dual norm, the sum of the singular values of g.
      weight_dimension_numbers: the axes of each leaf that are its rows and columns: see
        `MuonDimensionNumbers`. None: every leaf is a matrix.

    Raises:
      ValueError: a leaf that is no matrix, axes that a leaf does not have, an unknown name, fewer
        than one step.
      TypeError: dimension numbers of another kind.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.trace(0.9), gk.orthogonalize_updates(method="svd"))
      >>> g = jnp.array([[3.0, 0.0], [0.0, -5.0]])
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], jnp.sign(g), atol=1e-6)

    Reference: Jordan 2024, https://kellerjordan.github.io/posts/muon/; Bernstein and Newhouse 2024
    (the dual norm), https://arxiv.org/abs/2409.20325.
    """
    how = plan(steps, coefficients, normalization, method, eps, dtype)

    def leaf(g: Any, view: Matrices) -> Any:
        out = view.back(run(view.see(g), how), g)
        if adaptive:
            out = out * jnp.sum(jnp.real(g.conj() * out)).astype(out.dtype)
        return out

    return of_matrices(leaf, weight_dimension_numbers)


@transform
def scale_by_shape(
    weight_dimension_numbers: DimensionNumbers | None = None, consistent_rms: Rate | None = None
) -> Rule:
    """Scale every matrix by a factor of its shape, so that one learning rate suits all widths.

    **Update rule** u ← √max(1, out / in) g; with ``consistent_rms`` ρ: u ← ρ √max(in, out) g, which
    gives an orthogonal matrix the root mean square ρ.

    **State** none.

    Args:
      weight_dimension_numbers: as in ``orthogonalize_updates``: in is the size of the reduction
        axes, out that of the output axes.
      consistent_rms: ρ ≥ 0; 0.2 is that of AdamW's updates.

    Raises:
      ValueError: a leaf that is no matrix, a negative ρ.
      TypeError: dimension numbers of another kind.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_shape()
      >>> g = jnp.ones((2, 8))
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], 2.0)

    Reference: Liu et al. 2025 (the consistent root mean square), https://arxiv.org/abs/2502.16982.
    """
    if consistent_rms is not None:
        check.non_negative(consistent_rms=consistent_rms)

    def leaf(g: Any, view: Matrices) -> Any:
        if consistent_rms is None:
            return g * math.sqrt(max(1.0, view.fan_out / max(view.fan_in, 1)))
        size = math.sqrt(max(view.fan_in, view.fan_out))
        return g * (size * tree.factor_like(consistent_rms, g))

    return of_matrices(leaf, weight_dimension_numbers)


@transform
def clip_by_spectral_norm(
    max_norm: Rate,
    *,
    each: bool = False,
    weight_dimension_numbers: DimensionNumbers | None = None,
) -> Rule:
    """Clip the spectral norm of every matrix: scale it down to a largest singular value.

    **Update rule** u ← g · min(1, c / ‖g‖₂), ‖g‖₂ the largest singular value; with ``each``:
    u ← U min(Σ, c) Vᴴ for g = U Σ Vᴴ, so that the singular values below c stay.

    **State** none.

    Args:
      max_norm: c > 0, a number or a schedule.
      each: clip each singular value instead of scaling the matrix (a decomposition a step).
      weight_dimension_numbers: as in ``orthogonalize_updates``.

    Raises:
      ValueError: a bound that is not positive, a leaf that is no matrix.
      TypeError: dimension numbers of another kind.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> g = jnp.array([[4.0, 0.0], [0.0, 1.0]])
      >>> tx = gk.clip_by_spectral_norm(2.0)
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], g / 2)
      >>> tx = gk.clip_by_spectral_norm(2.0, each=True)
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], jnp.diag(jnp.array([2.0, 1.0])))

    Reference: Newhouse et al. 2025, https://arxiv.org/abs/2507.13338.
    """
    check.positive(max_norm=max_norm)

    def leaf(g: Any, view: Matrices) -> Any:
        seen = view.see(g)
        bound: Any = max_norm  # a schedule is evaluated by now
        if each:
            return view.back(clip_singular_values(seen, bound), g)
        norm = spectral_norm(seen)[..., None, None]
        factor = jnp.minimum(1.0, numerics.divide(bound * jnp.ones_like(norm), norm))
        # Where the norm is zero, so is the matrix, whatever the factor.
        return view.back(seen * factor.astype(seen.dtype), g)

    return of_matrices(leaf, weight_dimension_numbers)


def of_matrices(leaf: Callable[[Any, Matrices], Any], numbers: Any) -> Rule:
    """A rule without state that maps every leaf, given how it is a stack of matrices."""

    def init(params: Any, *, context: Any) -> Any:
        matrices(numbers, params, context.whole)  # refuses what is no matrix
        return ()

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        views = matrices(numbers, updates, context.whole)
        return map_matrices(leaf, updates, views), state

    return Rule(init, update)


def map_matrices(
    leaf: Callable[..., Any], updates: Any, views: Any, *rest: Any, outputs: int = 1
) -> Any:
    """``leaf(g, view, ...)`` of every leaf, as ``_tree.map`` of a function of a leaf."""
    treedef: Any
    leaves, treedef = jax.tree.flatten(updates)
    columns = [treedef.flatten_up_to(other) for other in rest]
    shared = tree.traced_once(leaf, leaves, static=(1,))
    results = [shared(*row) for row in zip(leaves, views, *columns, strict=True)]
    if outputs == 1:
        return treedef.unflatten(results)
    return tuple(treedef.unflatten([result[i] for result in results]) for i in range(outputs))
