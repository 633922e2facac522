"""Asgd."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import as_rate
from gradkit._transform import Transform, chain, transform
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_asgd(learning_rate: Any, lambd: Any = 1e-4, alpha: Any = 0.75, t0: Any = 1e6) -> Rule:
    """Averaged gradient descent's steps, and the average: the last link of a chain.

    **Rule** η_t = η / (1 + λ η t)^a, t = completed updates, Δθ = −η_t (g + λ θ); A ← A + (θ + Δθ − A) / max(1, t − t₀).

    **Remembers** ``average``: A (float32 or wider; 4 bytes per parameter), which ``eval_params`` gives from the first step on. Needs params.

    Args:
      learning_rate: η ≥ 0, a number or a schedule.
      lambd: λ ≥ 0, decay of the parameters and of the rate.
      alpha: a ≥ 0, the power at which the rate falls.
      t0: t₀ ≥ 0, the step from which on the average is one; before it A is θ.

    Raises:
      ValueError: arguments out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_asgd(1.0, lambd=0.0, t0=0), jnp.zeros(1)
      >>> state = tx.init(w)
      >>> for g in (9.0, -1.0, -2.0, 0.0):  # the parameter goes to −9, −8, −6, −6
      ...     w, state = tx.apply(w, state, jnp.full(1, g))
      >>> assert w[0] == -6.0 and abs(float(gk.eval_params(tx, state, w)[0]) + 20 / 3) < 1e-5  # from −8 on

    Reference: Polyak and Juditsky 1992; torch.optim.ASGD.
    """
    check.non_negative(learning_rate=learning_rate, lambd=lambd, alpha=alpha, t0=t0)

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.params(params)
        time = step.astype(numerics.scalar_dtype(updates))
        rate = learning_rate / (1 + lambd * learning_rate * time) ** alpha
        share = 1 / jnp.maximum(1.0, time - t0)

        def leaf(g: Any, p: Any, average: Any) -> Any:
            like = tree.factor_like
            step = -like(rate, g) * (g + like(lambd, p) * p)
            moved = p + step
            return step, jnp.where(share == 1, moved, average + like(share, p) * (moved - average))

        updates, average = tree.map(leaf, updates, params, state["average"], outputs=2)
        return updates, {"average": average}

    return Rule(
        lambda params: {"average": tree.zeros_like(params)},
        update,
        evaluate=lambda state, params: state["average"],
    )


@transform
def asgd(
    learning_rate: Any = 0.01,
    lambd: Any = 1e-4,
    alpha: Any = 0.75,
    t0: Any = 1e6,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> Transform:
    """Averaged gradient descent: the last parameters train, their average is evaluated.

    **Rule** Δθ = −η_t (g + w θ + λ θ), η_t = η / (1 + λ η t)^a; ``eval_params`` gives the average of θ from step t₀ on.

    **Remembers** ``scale_by_asgd.average``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: η ≥ 0, a number or a schedule.
      lambd: λ ≥ 0, decay of the parameters and of the rate.
      alpha: a ≥ 0, the power at which the rate falls.
      t0: t₀ ≥ 0, the step from which on the average is one.
      weight_decay: w ≥ 0, coupled.
      mask: which leaves that decay is for.

    Raises:
      ValueError: arguments out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.asgd(1.0, lambd=0.0, t0=0), jnp.zeros(1)
      >>> state = tx.init(w)
      >>> for g in (9.0, -1.0, -2.0, 0.0):
      ...     w, state = tx.apply(w, state, jnp.full(1, g))
      >>> assert w[0] == -6.0 and abs(float(gk.eval_params(tx, state, w)[0]) + 20 / 3) < 1e-5

    Reference: Polyak and Juditsky 1992; torch.optim.ASGD, whose names and defaults these are.
    """
    return chain(
        add_decayed_weights(weight_decay, mask),
        scale_by_asgd(as_rate(learning_rate), lambd, alpha, t0),
    )
