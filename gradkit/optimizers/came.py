"""Came."""

from typing import Any

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.combine import compressed
from gradkit.averages.ema import ema
from gradkit.optimizers.adafactor import _constant, scale_by_factored_rms
from gradkit.stores import factored as _factored
from gradkit.stores import factored_axes
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_confidence(
    b1: Any = 0.9, b3: Any = 0.9999, eps: Any = 1e-16, min_dim_size_to_factor: int = 2
) -> Rule:
    """Average the steps, and trust the average less where the steps disagree with it: CAME's second half.

    **Rule** m = ema(u; b1), not debiased; on factored leaves m / √S, S = ema(|u − m|² + ε; b3) as row and column means, not debiased; on others m.

    **Remembers** ``moment`` (4 bytes per parameter) and ``instability``: ``rows`` and ``columns`` of factored leaves, None for others.

    Args:
      b1: decay of the moment, in [0, 1).
      b3: decay of the instability, in [0, 1).
      eps: ε ≥ 0, added to the squares.
      min_dim_size_to_factor: the least length of the two longest axes of a leaf that is factored.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_confidence(0.5, 0.75, eps=0.0)
      >>> u = jnp.full((2, 2), 4.0)
      >>> assert jnp.allclose(tx.update(u, tx.init(u))[0], 2 / (0.25 * 2**2) ** 0.5)

    **Differs** from the paper in leaves that are not factored, which it leaves open: they take m alone, as in the authors' code.

    Reference: Luo et al. 2023, https://arxiv.org/abs/2307.02047, algorithm 2.
    """
    check.decay(b1=b1, b3=b3)
    check.non_negative(eps=eps)
    check.integer(0, min_dim_size_to_factor=min_dim_size_to_factor)
    average, instability = (
        ema(b1, debias=False),
        compressed(ema(b3, debias=False), _factored(min_dim_size_to_factor), eps),
    )

    def matrices(updates: Any) -> Any:
        return tree.map(
            lambda u: None if factored_axes(u.shape, min_dim_size_to_factor) is None else u, updates
        )

    def init(params: Any) -> Any:
        return {
            "moment": average.rule.init(params),
            "instability": instability.rule.init(matrices(tree.magnitudes_like(params))),
        }

    def update(updates: Any, state: Any, params: Any) -> Any:
        moments, moment = average.rule.update(updates, state["moment"], params)
        apart = matrices(tree.map(lambda u, m: numerics.abs_sq(u - m), updates, moments))
        spread, kept = instability.rule.update(apart, state["instability"], params)

        def leaf(m: Any, s: Any) -> Any:
            return m if s is None else numerics.divide(m, numerics.sqrt(s))

        return tree.map(leaf, moments, spread), {"moment": moment, "instability": kept}

    return Rule(init, update)


@transform
def came(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    b3: Any = 0.9999,
    eps1: Any = 1e-30,
    eps2: Any = 1e-16,
    clipping_threshold: Any = 1.0,
    weight_decay: Any = 0.0,
    mask: Any = None,
    min_dim_size_to_factor: int = 2,
) -> Transform:
    """CAME: Adafactor whose momentum is weighed by its confidence.

    **Rule** Δθ = −α (m / √S + λ θ), m = ema(û; b1), S = ema(|û − m|² + ε₂; b3), û = u / max(1, rms(u) / d), u = g / √V, V = ema(|g|² + ε₁; b2); V and S
    kept as row and column means, nothing debiased.

    **Remembers** ``moment`` (4 bytes per parameter), and n + m numbers for each of V and S of an n × m matrix.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      b3: decay of the instability, in [0, 1).
      eps1: ε₁ ≥ 0, added to |g|².
      eps2: ε₂ ≥ 0, added to |û − m|².
      clipping_threshold: d > 0.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled.
      mask: which leaves decay.
      min_dim_size_to_factor: the least length of the two longest axes of a leaf that is factored.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.came(1.0, b1=0.5, b3=0.75, eps2=0.0), jnp.zeros((2, 2))
      >>> updates, _ = tx.update(jnp.full((2, 2), 7.0), tx.init(w), w)
      >>> assert jnp.allclose(updates, -0.5 / (0.25 * 0.5**2) ** 0.5)  # û = 1, m = ½, S = ¼ · (1 − ½)²

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
