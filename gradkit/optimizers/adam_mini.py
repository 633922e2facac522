"""Adam-mini: Adam with one second moment for a whole block of weights.

    Δθ_t = −α_t · (m̂_t / (√v̂_b + ε) + λ θ)        m = ema(g; b1)        v_b = ema(mean over the block b of |g|²; b2)

| | φ | ψ |
|---|---|---|
| ``adam_mini`` | ``ema`` | ``ema`` of g² through ``blockwise_mean`` |
"""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.combine import compressed
from gradkit.averages.ema import ema
from gradkit.stores import blockwise_mean
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_adam_mini(
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Transform:
    """Adam's direction with one second moment per block.

    **Rule** u = m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v = ema(mean over the block of |g|²; b2), both debiased.

    **Remembers** ``moment.average`` (4 bytes per parameter) and ``preconditioner.average`` (one number per block).

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      axis: the axes that make up a block; 0 makes a block of each output neuron of a dense kernel (in, out). None, and leaves that lack the axis:
        the whole leaf.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.

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
        check.fail(
            "needs an axis, a tuple of axes or None", repr(axis), path="axis", error=TypeError
        )
    return precondition(
        ema(b1, accumulator_dtype=mu_dtype),
        compressed(ema(b2), blockwise_mean(axis)),
        eps,
        eps_root,
    )


@transform
def adam_mini(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 0.0,
    mask: Any = None,
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Transform:
    """Adam-mini: AdamW in half the memory, one second moment per block.

    **Rule** Δθ = −α (m̂ / (√(v̂ + ε_root) + ε) + λ θ), v the average of the mean square of a block.

    **Remembers** ``scale_by_adam_mini``: 4 bytes per parameter and one number per block. Needs params when λ is not 0.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled.
      mask: which leaves decay.
      axis: the axes that make up a block: see ``scale_by_adam_mini``. Other blocks for other leaves: ``partition``.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

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
