"""Scion: steps of fixed length, each layer's in a norm of its own.

    Δθ_t = −α_t · (ρ · lmo(m_t) + θ)        m = ema(g; β)

lmo(m) is the direction of steepest ascent in the unit ball of the layer's norm: the orthogonal
factor of a matrix, the signs of the last layer, a vector over its root mean square. The term θ
(constrained Scion) keeps every weight in the ball of radius ρ.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit import masks
from gradkit._chain import chain, identity
from gradkit._rule import Rule
from gradkit._transform import Transform, stateless, transform
from gradkit.averages.ema import ema
from gradkit.linalg.dimensions import DimensionNumbers, Matrices
from gradkit.linalg.orthogonalize import plan, run
from gradkit.transforms.orthogonalize import of_matrices
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Rate, StoreLike
from gradkit.wrappers.partition import partition

NORMS = ("spectral", "sign", "column", "rms")


@transform
def scale_by_lmo(
    norm: str = "spectral",
    radius: Rate = 1.0,
    *,
    weight_dimension_numbers: DimensionNumbers | None = None,
    steps: int | None = None,
    coefficients: str | Sequence[Any] = "standard",
    method: str = "newton_schulz",
    dtype: DTypeLike | None = None,
) -> Rule:
    """Replace each leaf by its steepest direction in a norm (linear minimization oracle, LMO).

    **Update rule** "spectral": u ← ρ √(out / in) U Vᴴ for g = U Σ Vᴴ; "sign": u ← ρ sign(g) / in;
    "column": each column (an output's weights) g ← ρ g / (√in ‖g‖), or 0; "rms": u ← ρ g / rms(g),
    or 0.

    **State** none.

    Args:
      norm: "spectral" for hidden layers, "sign" for the last layer, "column" for both, "rms" for
        vectors. All but "rms" are for matrices.
      radius: ρ ≥ 0, a number or a schedule.
      weight_dimension_numbers: the axes of each leaf that are its rows (in) and columns (out): see
        `MuonDimensionNumbers`. None: every leaf is a matrix.
      steps: of "spectral", as are the following: see ``linalg.orthogonalize``.
      coefficients: a triple, a sequence of triples, or a name.
      method: "newton_schulz", "gram" or "svd".
      dtype: the dtype of the factors of each product, such as "bfloat16".

    Raises:
      ValueError: another norm, a negative radius, a leaf that is no matrix.
      TypeError: complex leaves with "sign".

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> g = jnp.array([[3.0, 0.0], [0.0, -5.0]])
      >>> tx = gk.scale_by_lmo("spectral", 2.0, method="svd")
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], 2 * jnp.sign(g), atol=1e-5)
      >>> tx = gk.scale_by_lmo("sign", 2.0)
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], jnp.sign(g))

    Reference: Pethick et al. 2025, https://arxiv.org/abs/2502.07529, table 2.
    """
    check.one_of(NORMS, norm=norm)
    check.non_negative(radius=radius)
    how = plan(steps, coefficients, "frobenius", method, 0.0, dtype)

    def matrix(g: Any, view: Matrices) -> Any:
        length = tree.factor_like(radius, g)
        if norm == "spectral":
            factor = math.sqrt(view.fan_out / max(view.fan_in, 1))
            return view.back(run(view.see(g), how), g) * (factor * length)
        if norm == "sign":
            check.real(g)
            return jnp.sign(g) * (length / max(view.fan_in, 1))
        seen = view.see(g)
        norms = numerics.sqrt(jnp.sum(numerics.abs_sq(seen), axis=-2, keepdims=True))
        unit = numerics.divide(seen, norms.astype(g.dtype))
        return view.back(unit, g) * (length / math.sqrt(max(view.fan_in, 1)))

    def whole(g: Any) -> Any:
        return numerics.divide(g, numerics.rms(g).astype(g.dtype)) * tree.factor_like(radius, g)

    if norm == "rms":
        return stateless(lambda updates, params: tree.map(whole, updates))
    return of_matrices(matrix, weight_dimension_numbers)


@transform
def scion(
    learning_rate: Rate,
    beta: Rate = 0.9,
    radius: Rate = 50.0,
    sign_radius: Rate = 3000.0,
    mu_dtype: StoreLike = None,
    *,
    sign: masks.Predicate | None = None,
    constrained: bool = True,
    steps: int | None = None,
    coefficients: str | Sequence[Any] = "standard",
    method: str = "newton_schulz",
    dtype: DTypeLike | None = None,
) -> Transform:
    """Scion: steepest descent in a norm for each layer (spectral, sign, root mean square).

    **Update rule** Δθ = −α (u + θ) with u = ρ lmo(m), m = ema(g; β): see ``scale_by_lmo``;
    unconstrained, Δθ = −α u.

    **State** ``ema.average`` (shape of the leaf, float32 or wider, or ``mu_dtype``; 4 bytes per
    parameter) and its ``log_unseen``, one scalar.

    Constrained Scion shrinks the weights toward the ball of radius ρ: begin inside it, with a
    learning rate far below 1 (2⁻¹² for a transformer). Requires params where it is constrained.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      beta: β in [0, 1), one minus the paper's α.
      radius: ρ ≥ 0 of the matrices (spectral norm) and of the other leaves (root mean square).
      sign_radius: ρ ≥ 0 of the leaves that ``sign`` selects.
      mu_dtype: dtype of the moment's state, or a `Store`.
      sign: a predicate for the last layer (and an embedding that shares its weights), such as
        ``by_path("head.kernel")``; matrices of shape (in, out). None: no leaf.
      constrained: pull the weights into the ball.
      steps: the number of iterations: see ``linalg.orthogonalize``, as for the following.
      coefficients: a triple, a sequence of triples, or a name.
      method: "newton_schulz", "gram" or "svd".
      dtype: the dtype of the factors of each product, such as "bfloat16".

    Raises:
      ValueError: a decay outside [0, 1), a negative radius or learning rate, no params where it
        is constrained.
      TypeError: ``sign`` is not a predicate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scion(0.5, radius=2.0, method="svd")
      >>> params = {"w": jnp.ones((2, 2)), "b": jnp.zeros(2)}
      >>> g = {"w": jnp.array([[3.0, 0.0], [0.0, -5.0]]), "b": jnp.array([7.0, -1.0])}
      >>> updates, _ = tx.update(g, tx.init(params), params)
      >>> assert jnp.allclose(updates["w"], -0.5 * (2 * jnp.sign(g["w"]) + 1), atol=1e-5)
      >>> assert jnp.allclose(updates["b"], -0.5 * 2 * g["b"] / 5)  # rms √((49 + 1) / 2) = 5

    **Differs from the paper**: leaves of rank 3 and more are normalized by their root mean square;
    give a convolution ``scale_by_lmo`` with its dimension numbers in ``partition``.

    Reference: Pethick et al. 2025, https://arxiv.org/abs/2502.07529.
    """
    if sign is not None and not isinstance(sign, masks.Predicate):
        problem = f"sign={check.shown(sign)} is not a predicate"
        fix = "Write by_path('head.kernel'), or by_function(f) for a function of (path, leaf)"
        check.refuse(problem, expected="a predicate", fix=fix, error=TypeError)
    spectral = scale_by_lmo(
        "spectral",
        radius,
        steps=steps,
        coefficients=coefficients,
        method=method,
        dtype=dtype,
    )
    transforms = {"spectral": spectral, "rms": scale_by_lmo("rms", radius)}
    matrix = masks.by_rank(2, 2)
    groups = {"spectral": matrix, "rms": ~matrix}
    if sign is not None:
        transforms["sign"] = scale_by_lmo("sign", sign_radius)
        groups = {"spectral": matrix & ~sign, "rms": ~matrix & ~sign, "sign": sign}
    check.non_negative(sign_radius=sign_radius)
    return chain(
        ema(beta, accumulator_dtype=mu_dtype),
        partition(transforms, groups),
        add_decayed_weights(1.0) if constrained else identity(),
        scale_by_learning_rate(learning_rate),
    )
