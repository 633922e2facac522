"""NorMuon: Muon whose neurons all take steps of about the same size.

    Δθ_t = −α_t · √max(1, out / in) · normalize(u_t / (√v_t + ε))        u = Muon's direction

v is the ``ema`` of the mean square of u over the inputs of each output; ``normalize`` restores the
norm of u.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.linalg.dimensions import DimensionNumbers, axes_of, views_of
from gradkit.optimizers.adamw import adamw
from gradkit.optimizers.muon import STANDARD, matrices_and_others, scale_by_muon
from gradkit.transforms.orthogonalize import map_matrices, scale_by_shape
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


@transform
def scale_by_normuon(
    ns_coeffs: str | Sequence[Any] = STANDARD,
    ns_steps: int = 5,
    beta: Rate = 0.95,
    beta2: Rate = 0.95,
    eps: Rate = 1e-8,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = True,
    preconditioning: str = "frobenius",
    weight_dimension_numbers: DimensionNumbers | None = None,
    method: str = "newton_schulz",
    ns_dtype: DTypeLike | None = None,
) -> Rule:
    """Orthogonalize the momentum and normalize each neuron as NorMuon does, without a rate.

    **Update rule** w = u / (√v + ε), u ← w ‖u‖ / ‖w‖ for each matrix, with Muon's u,
    v = ema(mean over the inputs of |u|²; β₂), one number for each output.

    **State** ``muon``: that of ``scale_by_muon`` (4 bytes per parameter); ``neurons`` (one
    element for each output of each matrix, float32 or wider).

    Args:
      ns_coeffs: a triple (a, b, c), a sequence of triples, or a name: see ``linalg.orthogonalize``.
      ns_steps: the number of iterations, ≥ 1; of a given sequence of triples, all are used.
      beta: β in [0, 1), the decay of the moment.
      beta2: β₂ in [0, 1), the decay of the mean squares.
      eps: ε ≥ 0, added to the norm of the matrix, and to √v.
      mu_dtype: dtype of the moment's state, or a `Store`.
      nesterov: extrapolate the moment one step ahead.
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
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> g = jax.random.normal(jax.random.key(0), (2, 4))  # 4 neurons of 2 inputs
      >>> tx = gk.scale_by_normuon(eps=0.0)
      >>> updates, _ = tx.update(g, tx.init(g))
      >>> sizes = jnp.sum(updates**2, axis=0)
      >>> assert jnp.allclose(sizes, sizes[0])

    Reference: Li et al. 2025, https://arxiv.org/abs/2510.05491.
    """
    check.decay(beta2=beta2)
    check.non_negative(eps=eps)
    direction = scale_by_muon(
        ns_coeffs,
        ns_steps,
        beta,
        eps,
        mu_dtype,
        nesterov=nesterov,
        preconditioning=preconditioning,
        weight_dimension_numbers=weight_dimension_numbers,
        method=method,
        ns_dtype=ns_dtype,
    )
    part = Part("muon", direction)

    def init(params: Any, *, context: Any) -> Any:
        seen = views_of(weight_dimension_numbers, params, context)

        def neurons(p: Any, view: Any) -> Any:
            leading = [view.shape[axis] for axis in view.batch]
            kind = numerics.real(numerics.wide(jax.dtypes.result_type(p)))
            return jnp.zeros([*leading, view.fan_out], kind)

        return {
            "muon": part.init(params, context=context),
            "neurons": map_matrices(neurons, params, seen),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        new, kept = part.update(updates, state["muon"], params, context=context)
        seen = views_of(weight_dimension_numbers, updates, context)

        def mean_square(u: Any, view: Any, v: Any) -> Any:
            square = jnp.mean(numerics.abs_sq(view.see(u)), axis=-2)
            square = square if view.fan_in else jnp.zeros_like(square)
            return v + tree.factor_like(numerics.complement(beta2), v) * (square - v)

        def normalized(u: Any, view: Any, v: Any) -> Any:
            seen = view.see(u)
            root = numerics.sqrt(v)[..., None, :]
            out = numerics.divide(seen, (root + tree.factor_like(eps, root)).astype(u.dtype))
            ratio = numerics.divide(_norm(seen), _norm(out))
            return view.back(out * ratio.astype(u.dtype), u)

        neurons = map_matrices(mean_square, new, seen, state["neurons"])
        return map_matrices(normalized, new, seen, neurons), {"muon": kept, "neurons": neurons}

    reads = axes_of(weight_dimension_numbers)
    return Rule(init, update, parts=(part,), scope="leaf", reads=reads)


def _norm(x: Any) -> Any:
    """The Frobenius norm of each matrix of a stack."""
    return numerics.sqrt(jnp.sum(numerics.abs_sq(x), axis=(-2, -1), keepdims=True))


@transform
def normuon(
    learning_rate: Rate,
    ns_coeffs: str | Sequence[Any] = STANDARD,
    ns_steps: int = 5,
    beta: Rate = 0.95,
    beta2: Rate = 0.95,
    eps: Rate = 1e-8,
    weight_decay: Rate = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: StoreLike = None,
    *,
    nesterov: bool = True,
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
    """NorMuon: Muon with a second moment for each neuron; AdamW for what is no matrix.

    **Update rule** Δθ = −α (s u + λ θ), u that of ``scale_by_normuon`` and s = √max(1, out / in)
    or, with ``consistent_rms`` ρ, s = ρ √max(in, out).

    **State** ``muon``: that of ``scale_by_normuon`` for the matrices (4 bytes per parameter and
    one element for each output); ``adam``: that of ``adamw`` for the other leaves.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      ns_coeffs: a triple (a, b, c), a sequence of triples, or a name: see ``linalg.orthogonalize``.
      ns_steps: the number of iterations, ≥ 1; of a given sequence of triples, all are used.
      beta: β in [0, 1), the decay of the moment.
      beta2: β₂ in [0, 1), the decay of the mean squares.
      eps: ε ≥ 0, added to the norm of a matrix, to √v and to Adam's root.
      weight_decay: λ ≥ 0 of the matrices, decoupled.
      weight_decay_mask: matrices that decay: see `gradkit.masks`.
      mu_dtype: dtype of the moments' state, or a `Store`.
      nesterov: extrapolate the moments one step ahead, Adam's too.
      preconditioning: the normalization, "frobenius", "spectral", "aol" or "schatten".
      adam_b1: decay of Adam's moment, in [0, 1).
      adam_b2: decay of Adam's preconditioner, in [0, 1).
      adam_eps_root: ≥ 0, added under Adam's root.
      adam_weight_decay: λ ≥ 0 of the other leaves.
      adam_learning_rate: the rate of the other leaves; None for ``learning_rate``.
      muon_weight_dimension_numbers: which leaves are matrices, as in ``muon``.
      consistent_rms: ρ ≥ 0, the root mean square of the updates; None for the scale by width.
      method: "newton_schulz", "gram" or "svd".
      ns_dtype: the dtype of the factors of each product, such as "bfloat16".

    Raises:
      ValueError: a decay outside [0, 1); a negative ε, λ or learning rate; an unknown name; axes
        that a leaf does not have; no params for the weight decay.
      TypeError: a hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> params = {"w": jax.random.normal(jax.random.key(0), (8, 2)), "b": jnp.ones(2)}
      >>> tx = gk.normuon(0.1, eps=0.0)
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> sizes = jnp.sum(updates["w"] ** 2, axis=0)
      >>> assert jnp.allclose(sizes[0], sizes[1])

    **Differs from the paper**: the scale of the update is Muon's; ``consistent_rms=0.2`` is the
    paper's where the orthogonalization is exact.

    Reference: Li et al. 2025, https://arxiv.org/abs/2510.05491.
    """
    numbers = muon_weight_dimension_numbers
    matrix = chain(
        scale_by_normuon(
            ns_coeffs,
            ns_steps,
            beta,
            beta2,
            eps,
            mu_dtype,
            nesterov=nesterov,
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
