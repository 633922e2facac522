"""Adam-mini: Adam with one second moment for each block of weights.

    Δθ_t = −α_t · (m̂_t / (√v̂_b + ε) + λ θ)
    m = ema(g; b1)        v_b = ema(mean over the block b of |g|²; b2)

φ is ``ema``, ψ is ``ema`` of g² in the store ``blockwise_mean``; then weight decay.
"""

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.averages.combine import compressed
from gradkit.averages.ema import ema
from gradkit.stores import blockwise_mean
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


@transform
def scale_by_adam_mini(
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Transform:
    """Scale the gradient as Adam does, with one second moment per block of weights.

    **Update rule** u = m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1),
    v = ema(mean over the block of |g|²; b2), both debiased; 0 where the denominator is 0.

    **State** ``moment.average`` (shape of the leaf, float32 or wider; 4 bytes per parameter) and
    ``preconditioner.average`` (one element per block), and the ``log_unseen`` of each, one scalar.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      axis: Axes that make up a block. 0 makes a block of each output neuron of a dense kernel (in,
        out). With None, and for leaves that lack the axis, the block is the whole leaf.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule; an axis that is not an
        int, a tuple of ints or None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adam_mini(eps=0.0, axis=0)
      >>> g = jnp.array([[3.0, 1.0], [4.0, 1.0]])
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], g / jnp.sqrt(jnp.array([[12.5, 1.0]])))

    Reference: Zhang et al. 2024, https://arxiv.org/abs/2406.16793.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    if isinstance(axis, list):
        axis = tuple(axis)
    if not (
        axis is None
        or isinstance(axis, int)
        or (isinstance(axis, tuple) and all(isinstance(a, int) for a in axis))
    ) or isinstance(axis, bool):
        check.refuse(
            f"axis={axis!r} is not an axis",
            expected="an int, a tuple of ints or None",
            fix="For a block per output neuron of a dense kernel, write axis=0",
            error=TypeError,
        )
    return precondition(
        ema(b1, accumulator_dtype=mu_dtype),
        compressed(ema(b2), blockwise_mean(axis)),
        eps,
        eps_root,
    )


@transform
def adam_mini(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    eps_root: Rate = 0.0,
    mu_dtype: StoreLike = None,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Transform:
    """Adam-mini: AdamW in half the memory, with one second moment per block of weights.

    **Update rule** Δθ = −α (m̂ / (√(v̂ + ε_root) + ε) + λ θ), m = ema(g; b1),
    v = ema(mean over the block of |g|²; b2), both debiased.

    **State** That of ``scale_by_adam_mini``: 4 bytes per parameter and one element per block.

    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, added to the root.
      eps_root: ε_root ≥ 0, added under the root.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.
      axis: Axes that make up a block: see ``scale_by_adam_mini``. Use ``partition`` for other
        blocks on other leaves.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter.
      TypeError: A hyperparameter that is neither a number nor a schedule; an axis that is not an
        int, a tuple of ints or None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adam_mini(0.5, eps=0.0)
      >>> g = jnp.array([1.0, 7.0])
      >>> assert jnp.allclose(tx.update(g, tx.init(g), g)[0], -0.5 * g / 5)  # √((1 + 49) / 2) = 5

    Reference: Zhang et al. 2024, https://arxiv.org/abs/2406.16793.
    """
    return chain(
        scale_by_adam_mini(b1, b2, eps, eps_root, mu_dtype, axis=axis),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
