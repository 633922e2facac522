"""Adan."""

from typing import Any

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import ema
from gradkit.optimizers.optimistic_gradient_descent import _change
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_adan(
    b1: Any = 0.98, b2: Any = 0.92, b3: Any = 0.99, eps: Any = 1e-8, eps_root: Any = 0.0
) -> Rule:
    """Adan's direction: Adam with Nesterov's look ahead, estimated from the difference of two gradients.

    **Rule** u = (m̂ + b2 d̂) / (√(n̂ + ε_root) + ε), m = ema(g; b1), d = ema(g_t − g_{t−1}; b2), n = ema(|g_t + b2 (g_t − g_{t−1})|²; b3), all debiased;
    the first difference is 0.

    **Remembers** ``moment``, ``difference``, ``preconditioner`` (the three averages) and ``previous`` (float32 or wider; 16 bytes per parameter).

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the difference, in [0, 1), and its weight.
      b3: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adan(b1=0.0, b2=0.5, b3=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 1.0), tx.init(jnp.zeros(1)))
      >>> u, _ = tx.update(jnp.full(1, 4.0), state)  # the difference's average: 0.5 · 3 / 0.75 = 2
      >>> assert jnp.allclose(u, (4 + 0.5 * 2) / (4 + 0.5 * 3))

    **Differs** from optax, which weighs the difference with 1 − b2: in the paper β is the weight of what is new, here (as in the authors' code) of what is old.

    Reference: Xie et al. 2022, https://arxiv.org/abs/2208.06677, algorithm 1.
    """
    check.decay(b1=b1, b2=b2, b3=b3)
    check.non_negative(eps=eps, eps_root=eps_root)

    def init(params: Any) -> Any:
        return {
            "moment": ema(b1).rule.init(params),
            "difference": ema(b2).rule.init(params),
            "preconditioner": ema(b3).rule.init(tree.magnitudes_like(params)),
            "previous": tree.zeros_like(params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        change = _change(updates, state["previous"], step)
        moments, moment = ema(b1).rule.update(updates, state["moment"], params, step=step)
        differences, difference = ema(b2).rule.update(
            change, state["difference"], params, step=step
        )
        squares = tree.map(
            lambda g, c: numerics.abs_sq(g + tree.factor_like(b2, c) * c), updates, change
        )
        preconditioners, preconditioner = ema(b3).rule.update(
            squares, state["preconditioner"], params, step=step
        )

        def leaf(m: Any, d: Any, n: Any) -> Any:
            root = numerics.sqrt(n + tree.factor_like(eps_root, n)) + tree.factor_like(eps, n)
            return numerics.divide(m + tree.factor_like(b2, d) * d, root)

        state = {
            "moment": moment,
            "difference": difference,
            "preconditioner": preconditioner,
            "previous": updates,
        }
        return tree.map(leaf, moments, differences, preconditioners), state

    return Rule(init, update)


@transform
def adan(
    learning_rate: Any,
    b1: Any = 0.98,
    b2: Any = 0.92,
    b3: Any = 0.99,
    eps: Any = 1e-8,
    eps_root: Any = 1e-8,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """Adan: adaptive Nesterov momentum.

    **Rule** Δθ = −α ((m̂ + b2 d̂) / (√(n̂ + ε_root) + ε) + λ θ), the averages as in ``scale_by_adan``.

    **Remembers** ``scale_by_adan``: 16 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the difference, in [0, 1), and its weight.
      b3: decay of the preconditioner, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root.
      weight_decay: λ ≥ 0, a number or a schedule, decoupled.
      mask: which leaves decay.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε, λ or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adan(0.5, eps=0.0, eps_root=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 7.0), tx.init(jnp.zeros(1)))[0], -0.5)

    **Differs** from optax, which weighs the difference with 1 − b2; and, like optax, from the paper, which decays by θ ← θ / (1 + α λ).

    Reference: Xie et al. 2022, https://arxiv.org/abs/2208.06677.
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
