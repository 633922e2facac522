"""Muon: momentum orthogonalized by Newton–Schulz.

    Δθ_t = −α_t · √max(1, out / in) · orthogonalize(m_t)        m = ema(g; β), a look ahead

φ is ``ema``; a matrix root takes the place of the square root: m (mᴴ m)^(−1/2). All other leaves
go through AdamW.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit import masks
from gradkit._chain import chain, named_chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.linalg.dimensions import DimensionNumbers, is_function, is_numbers
from gradkit.linalg.orthogonalize import triples
from gradkit.optimizers.adamw import adamw
from gradkit.transforms.orthogonalize import orthogonalize_updates, scale_by_shape
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Params, PyTree, Rate, StoreLike
from gradkit.wrappers.partition import partition

STANDARD = (3.4445, -4.7750, 2.0315)


@transform
def scale_by_muon(
    ns_coeffs: str | Sequence[Any] = STANDARD,
    ns_steps: int = 5,
    beta: Rate = 0.95,
    eps: Rate = 1e-8,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    weight_dimension_numbers: DimensionNumbers | None = None,
    method: str = "newton_schulz",
    ns_dtype: DTypeLike | None = None,
) -> Rule:
    """Orthogonalize the momentum as Muon does, without applying a learning rate.

    **Update rule** u = orthogonalize(m̂), m = ema(g; β), debiased; ``adaptive``: times the nuclear
    norm of m̂.

    **State** ``moment.average`` (shape of the leaf, float32 or wider, or ``mu_dtype``; 4 bytes per
    parameter) and ``moment.log_unseen``, one scalar.

    For another moment, chain it yourself: ``chain(trace(0.95), orthogonalize_updates())``.

    Args:
      ns_coeffs: a triple (a, b, c), a sequence of triples, or a name: see ``linalg.orthogonalize``.
      ns_steps: the number of iterations, ≥ 1; of a given sequence of triples, all are used.
      beta: β in [0, 1).
      eps: ε ≥ 0, added to the norm of the matrix.
      mu_dtype: dtype of the moment's state, or a `Store`.
      nesterov: extrapolate the moment one step ahead.
      adaptive: multiply each leaf by the sum of the singular values of its moment.
      preconditioning: the normalization, "frobenius", "spectral", "aol" or "schatten".
      weight_dimension_numbers: the axes of each leaf that are its rows and columns: see
        `MuonDimensionNumbers`. None: every leaf is a matrix.
      method: "newton_schulz", "gram" or "svd".
      ns_dtype: the dtype of the factors of each product, such as "bfloat16".

    Raises:
      ValueError: a leaf that is no matrix, a decay outside [0, 1), a negative ε, an unknown name,
        fewer than one step.
      TypeError: a hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_muon(method="svd")
      >>> g = jnp.array([[3.0, 0.0], [0.0, -5.0]])
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], jnp.sign(g), atol=1e-6)

    **Differs from optax**: the moment is at least float32; a scheduled β is debiased exactly; the
    result does not depend on the scale of the gradient (but through ε); a leaf that is no matrix
    is refused by its path; "schatten" takes complex matrices.

    Reference: Jordan 2024, https://kellerjordan.github.io/posts/muon/; Bernstein and Newhouse 2024,
    https://arxiv.org/abs/2409.20325.
    """
    triples(ns_coeffs, ns_steps, "ns_coeffs", "ns_steps")  # refuses them by their names here
    if ns_dtype is not None:
        check.floating_dtype(ns_dtype=ns_dtype)
    direction = orthogonalize_updates(
        None if _is_table(ns_coeffs) else ns_steps,
        ns_coeffs,
        preconditioning,
        method,
        eps,
        ns_dtype,
        adaptive=adaptive,
        weight_dimension_numbers=weight_dimension_numbers,
    )
    moment = ema(beta, accumulator_dtype=mu_dtype, nesterov=nesterov)
    return named_chain(("moment", moment), ("orthogonalize", direction)).rule


def _is_table(coefficients: Any) -> bool:
    """Whether coefficients are a sequence of triples, which says the number of steps."""
    if hasattr(coefficients, "ndim"):
        return bool(coefficients.ndim == 2)
    if not isinstance(coefficients, (tuple, list)) or not coefficients:
        return False
    return isinstance(coefficients[0], (tuple, list)) or np.ndim(coefficients[0]) == 1


@transform
def muon(
    learning_rate: Rate,
    ns_coeffs: str | Sequence[Any] = STANDARD,
    ns_steps: int = 5,
    beta: Rate = 0.95,
    eps: Rate = 1e-8,
    weight_decay: Rate = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    adam_b1: Rate = 0.9,
    adam_b2: Rate = 0.999,
    adam_eps_root: Rate = 0.0,
    adam_weight_decay: Rate = 0.0,
    adam_learning_rate: Rate | None = None,
    muon_weight_dimension_numbers: DimensionNumbers | None = None,
    consistent_rms: Rate | None = None,
    method: str = "newton_schulz",
    ns_dtype: DTypeLike | None = None,
) -> Transform:
    """Muon: orthogonalize the momentum of every matrix; train everything else with AdamW.

    **Update rule** Δθ = −α (s orthogonalize(m̂) + λ θ), m = ema(g; β), debiased, and
    s = √max(1, out / in) or, with ``consistent_rms`` ρ, s = ρ √max(in, out).

    **State** ``muon``: that of ``scale_by_muon`` for the matrices (4 bytes per parameter);
    ``adam``: that of ``adamw`` for the other leaves (8 bytes per parameter).

    A common learning rate is 0.02, or that of AdamW with ``consistent_rms=0.2``. Embeddings and
    the last layer are often left to AdamW:
    ``muon_weight_dimension_numbers=by_rank(2, 2) & ~by_path("embedding", "head.*")``.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      ns_coeffs: a triple (a, b, c), a sequence of triples, or a name: see ``linalg.orthogonalize``.
      ns_steps: the number of iterations, ≥ 1; of a given sequence of triples, all are used.
      beta: β in [0, 1), the decay of the moment.
      eps: ε ≥ 0, added to the norm of a matrix, and to Adam's root.
      weight_decay: λ ≥ 0 of the matrices, decoupled.
      weight_decay_mask: matrices that decay: see `gradkit.masks`.
      mu_dtype: dtype of the moments' state, or a `Store`.
      nesterov: extrapolate the moments one step ahead, Adam's too.
      adaptive: multiply each matrix by the sum of the singular values of its moment.
      preconditioning: the normalization, "frobenius", "spectral", "aol" or "schatten".
      adam_b1: decay of Adam's moment, in [0, 1).
      adam_b2: decay of Adam's preconditioner, in [0, 1).
      adam_eps_root: ≥ 0, added under Adam's root.
      adam_weight_decay: λ ≥ 0 of the other leaves.
      adam_learning_rate: the rate of the other leaves; None for ``learning_rate``.
      muon_weight_dimension_numbers: which leaves are matrices: a tree of `MuonDimensionNumbers`
        (or a prefix) with None for Adam's leaves, a function of the parameters that returns one, or
        a predicate. None: the leaves of rank 2.
      consistent_rms: ρ ≥ 0, the root mean square of the updates; None for the scale by width.
      method: "newton_schulz", "gram" or "svd".
      ns_dtype: the dtype of the factors of each product, such as "bfloat16".

    Raises:
      ValueError: a decay outside [0, 1); a negative ε, λ or learning rate; an unknown name; axes
        that a leaf does not have; no params for the weight decay.
      TypeError: a hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.muon(0.5, method="svd", eps=0.0, nesterov=False)
      >>> params = {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
      >>> g = {"w": jnp.array([[3.0, 0.0], [0.0, -5.0]]), "b": jnp.array([7.0, -1.0])}
      >>> updates, _ = tx.update(g, tx.init(params), params)
      >>> assert jnp.allclose(updates["w"], -0.5 * jnp.sign(g["w"]), atol=1e-6)
      >>> assert jnp.allclose(updates["b"], -0.5 * jnp.sign(g["b"]))

    **Differs from optax**: as ``scale_by_muon`` does; a predicate selects the matrices too.

    **Differs from PyTorch**, which does not debias the moment, multiplies in bfloat16
    (``ns_dtype="bfloat16"``), takes the first axis for the output
    (``MuonDimensionNumbers(1, 0)``), and takes no vectors; its weight decay is 0.1 by default.

    Reference: Jordan 2024, https://kellerjordan.github.io/posts/muon/; Liu et al. 2025,
    https://arxiv.org/abs/2502.16982.
    """
    numbers = muon_weight_dimension_numbers
    matrix = chain(
        scale_by_muon(
            ns_coeffs,
            ns_steps,
            beta,
            eps,
            mu_dtype,
            nesterov=nesterov,
            adaptive=adaptive,
            preconditioning=preconditioning,
            weight_dimension_numbers=numbers,
            method=method,
            ns_dtype=ns_dtype,
        ),
        scale_by_shape(numbers, consistent_rms),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
    other = adamw(
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        adam_b1,
        adam_b2,
        eps,
        adam_eps_root,
        mu_dtype,
        adam_weight_decay,
        nesterov=nesterov,
    )
    return matrices_and_others({"muon": matrix, "adam": other}, numbers)


def matrices_and_others(transforms: dict[str, Transform], numbers: Any) -> Transform:
    """A transform for the leaves that are matrices, and one for the others."""
    first, second = transforms
    if numbers is None or isinstance(numbers, masks.Predicate):
        matrix = masks.by_rank(2, 2) if numbers is None else numbers
        return partition(transforms, {first: matrix, second: ~matrix})
    labels = _Labels(first, second, numbers if is_function(numbers) else None)
    return partition(transforms, labels if is_function(numbers) else labels.of(numbers))


@dataclasses.dataclass(frozen=True)
class _Labels:
    """The labels of the leaves, by a function that returns their dimension numbers."""

    matrix: str
    other: str
    function: Callable[[Params], PyTree] | None

    def __call__(self, params: Params) -> PyTree:
        assert self.function is not None
        return self.of(self.function(params))

    def of(self, numbers: PyTree) -> PyTree:
        def label(one: Any) -> str:
            return self.other if one is None or one is False else self.matrix

        return jax.tree.map(label, numbers, is_leaf=is_numbers)
