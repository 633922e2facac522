"""CAME: Adafactor whose momentum is divided by the root of its instability.

    Δθ_t = −α_t · (m_t / √S_t + λ θ)        m = ema(û; b1)        S = ema(|û − m|² + ε₂; b3)
    û = clip(g / √V)        V = ema(|g|² + ε₁; b2)        V and S as row and column means

First φ is ``latest``, ψ is ``ema`` of g² in the store ``factored``, and each leaf's rms is clipped;
then φ is ``ema``, ψ is ``ema`` of (û − m)² in the store ``factored``; then weight decay.
"""

from typing import Any

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.combine import compressed
from gradkit.averages.ema import ema
from gradkit.optimizers.adafactor import scale_by_factored_rms
from gradkit.stores import factored as _factored
from gradkit.stores import factored_axes
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate


def _constant(since: Any, decay: Any) -> Any:
    """Return the decay itself: CAME's b2 does not follow Adafactor's schedule."""
    return decay


@transform
def scale_by_confidence(
    b1: Rate = 0.9, b3: Rate = 0.9999, eps: Rate = 1e-16, min_dim_size_to_factor: int = 2
) -> Rule:
    """Average the updates and divide by the root of their factored instability (CAME).

    This is the second half of CAME. The average counts less where the updates deviate from it.

    **Update rule** m = ema(u; b1), not debiased. On factored leaves m / √S,
    S = ema(|u − m|² + ε; b3) as row and column means, not debiased. On other leaves m.

    **State** ``moment.average`` (shape of the leaf, float32 or wider; 4 bytes per parameter) and
    ``instability``: ``rows`` and ``columns`` of factored leaves, None for others.

    Args:
      b1: Decay of the moment, in [0, 1).
      b3: Decay of the instability, in [0, 1).
      eps: ε ≥ 0, added to the squares.
      min_dim_size_to_factor: Least length of the two longest axes of a leaf that is factored.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_confidence(0.5, 0.75, eps=0.0)
      >>> u = jnp.full((2, 2), 4.0)
      >>> assert jnp.allclose(tx.update(u, tx.init(u))[0], 2 / (0.25 * 2**2) ** 0.5)

    **Differs from the paper**: leaves that are not factored, which the paper leaves open, get m
    alone, as in the authors' code.

    Reference: Luo et al. 2023, https://arxiv.org/abs/2307.02047, algorithm 2.
    """
    check.decay(b1=b1, b3=b3)
    check.non_negative(eps=eps)
    check.integer(0, min_dim_size_to_factor=min_dim_size_to_factor)
    first = Part("moment", ema(b1, debias=False))
    store = _factored(min_dim_size_to_factor)
    second = Part("instability", compressed(ema(b3, debias=False), store, eps))

    def matrices(updates: Any) -> Any:
        return tree.map(
            lambda u: None if factored_axes(u.shape, min_dim_size_to_factor) is None else u, updates
        )

    def init(params: Any, *, context: Any) -> Any:
        return {
            "moment": first.init(params, context=context),
            "instability": second.init(matrices(tree.magnitudes_like(params)), context=context),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        moments, moment = first.update(updates, state["moment"], params, context=context)
        apart = matrices(tree.map(lambda u, m: numerics.abs_sq(u - m), updates, moments))
        spread, kept = second.update(apart, state["instability"], params, context=context)

        def leaf(m: Any, s: Any) -> Any:
            return m if s is None else numerics.divide(m, numerics.sqrt(s))

        return tree.map(leaf, moments, spread), {"moment": moment, "instability": kept}

    return Rule(init, update, parts=(first, second), scope="leaf")


@transform
def came(
    learning_rate: Rate,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    b3: Rate = 0.9999,
    eps1: Rate = 1e-30,
    eps2: Rate = 1e-16,
    clipping_threshold: Rate = 1.0,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
    min_dim_size_to_factor: int = 2,
) -> Transform:
    """CAME: Adafactor whose momentum is scaled by its confidence.

    **Update rule** Δθ = −α (m / √S + λ θ), m = ema(û; b1), S = ema(|û − m|² + ε₂; b3),
    û = u / max(1, rms(u) / d), u = g / √V, V = ema(|g|² + ε₁; b2).
    V and S are stored as row and column means. Nothing is debiased.

    **State** ``scale_by_confidence.moment`` (4 bytes per parameter), and n + m elements for each of
    V and S of an n × m matrix.

    Requires params unless λ is the constant 0.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1).
      b3: Decay of the instability, in [0, 1).
      eps1: ε₁ ≥ 0, added to |g|².
      eps2: ε₂ ≥ 0, added to |û − m|².
      clipping_threshold: d > 0, or a schedule.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      mask: Leaves that decay: see `gradkit.masks`.
      min_dim_size_to_factor: Least length of the two longest axes of a leaf that is factored.

    Raises:
      ValueError: A decay outside [0, 1); a negative ε, λ or learning rate; no params for the weight
        decay; a mask pattern that matches no parameter; d ≤ 0.
      TypeError: A hyperparameter that is neither a number nor a schedule.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.came(1.0, b1=0.5, b3=0.75, eps2=0.0), jnp.zeros((2, 2))
      >>> updates, _ = tx.update(jnp.full((2, 2), 7.0), tx.init(w), w)
      >>> instability = 0.25 * (1 - 0.5) ** 2  # û = 1, m = 0.5
      >>> assert jnp.allclose(updates, -0.5 / instability**0.5)

    Reference: Luo et al. 2023, https://arxiv.org/abs/2307.02047.
    """
    check.decay(b2=b2)
    return chain(
        scale_by_factored_rms(
            True,
            b2,
            0,
            min_dim_size_to_factor,
            eps1,
            _constant,
            clipping_threshold=clipping_threshold,
        ),
        scale_by_confidence(b1, b3, eps2, min_dim_size_to_factor),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
