"""Adabelief."""

from typing import Any

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import ema
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_belief(
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-16,
    eps_root: Any = 1e-16,
    *,
    nesterov: bool = False,
) -> Rule:
    """AdaBelief's direction: small steps where the gradient surprises.

    **Rule** u = m̂ / (√ŝ + ε), m = ema(g; b1), s_t = b2 s_{t−1} + (1 − b2)|g_t − m_t|² + ε_root, both debiased.

    **Remembers** ``moment`` and ``preconditioner``, the two averages (float32 or wider; 8 bytes per parameter).

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, added to s at every step, so that s holds ε_root / (1 − b2) of it in the end.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_belief(0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], 2.0)  # ŝ = |6 − 3|²

    **Differs** from the paper in the default only: there ε = ε_root = 1e-8.

    Reference: Zhuang et al. 2020, https://arxiv.org/abs/2010.07468.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)

    def init(params: Any) -> Any:
        return {
            "moment": ema(b1).rule.init(params),
            "preconditioner": ema(b2).rule.init(tree.magnitudes_like(params)),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        moments, moment = ema(b1, nesterov=nesterov).rule.update(
            updates, state["moment"], params, step=step
        )
        surprise = tree.map(_surprise(b2, eps_root), updates, moment["average"])
        preconditioners, preconditioner = ema(b2).rule.update(
            surprise, state["preconditioner"], params, step=step
        )
        direction = tree.map(
            lambda m, s: numerics.divide(m, numerics.sqrt(s) + tree.factor_like(eps, s)),
            moments,
            preconditioners,
        )
        return direction, {"moment": moment, "preconditioner": preconditioner}

    return Rule(init, update)


def _surprise(b2: Any, eps_root: Any) -> Any:
    """What the preconditioner averages: |g − m|², with ε_root so large that every step adds ε_root itself."""
    floor = eps_root / (1 - b2)

    def leaf(g: Any, m: Any) -> Any:
        square = numerics.abs_sq(g - m)
        return square + tree.factor_like(floor, square)

    return leaf


@transform
def adabelief(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-16,
    eps_root: Any = 1e-16,
    *,
    nesterov: bool = False,
) -> Transform:
    """AdaBelief: Adam that measures the gradient's distance from its average instead of its size.

    **Rule** Δθ = −α m̂ / (√ŝ + ε), m = ema(g; b1), s_t = b2 s_{t−1} + (1 − b2)|g_t − m_t|² + ε_root.

    **Remembers** ``scale_by_belief``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, added to s at every step.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adabelief(0.5, 0.5, 0.75, eps=0.0, eps_root=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 6.0), tx.init(jnp.zeros(1)))[0], -1.0)

    **Differs** from the paper in the default only: there ε = ε_root = 1e-8.

    Reference: Zhuang et al. 2020, https://arxiv.org/abs/2010.07468.
    """
    return chain(
        scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
