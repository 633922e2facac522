"""ASGD: gradient descent with a falling learning rate, evaluated at the average of its iterates.

Δθ_t = −η_t (g_t + λ θ_t)        η_t = η / (1 + λ η t)^a        A = the mean of θ from step t₀ on

φ is ``latest``, there is no ψ, and ``eval_params`` returns A.
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate


@transform
def scale_by_asgd(
    learning_rate: Rate, lambd: Rate = 1e-4, alpha: Rate = 0.75, t0: Rate = 1e6
) -> Rule:
    """Apply averaged SGD's decaying learning rate and average the iterates. Put it last in a chain.

    **Update rule** η_t = η / (1 + λ η t)^a with t completed updates, Δθ = −η_t (g + λ θ);
    A ← A + (θ + Δθ − A) / max(1, t − t₀).

    **State** ``average``: A (float32 or wider; 4 bytes per parameter). ``eval_params`` returns it,
    from the first step on. Needs params.

    Args:
      learning_rate: η ≥ 0, or a schedule.
      lambd: λ ≥ 0, the decay of the parameters and of the learning rate.
      alpha: a ≥ 0, the power in the decay of the learning rate.
      t0: t₀ ≥ 0, the step at which averaging starts; before it A equals θ.

    Raises:
      ValueError: an argument out of range, or no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_asgd(1.0, lambd=0.0, t0=0), jnp.zeros(1)
      >>> state = tx.init(w)
      >>> for g in (9.0, -1.0, -2.0, 0.0):  # the parameter becomes −9, −8, −6, −6
      ...     w, state = tx.apply(w, state, jnp.full(1, g))
      >>> average = gk.eval_params(tx, state, w)[0]  # of −8, −6, −6
      >>> assert w[0] == -6.0 and abs(float(average) + 20 / 3) < 1e-5

    Reference: Polyak and Juditsky 1992, https://doi.org/10.1137/0330046; torch.optim.ASGD.
    """
    check.non_negative(learning_rate=learning_rate, lambd=lambd, alpha=alpha, t0=t0)

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        check.params(params)
        time = step.astype(numerics.scalar_dtype(updates))
        like = tree.factor_like
        eta, decay = like(learning_rate, time), like(lambd, time)
        rate = eta / (1 + decay * eta * time) ** like(alpha, time)
        weight = 1 / jnp.maximum(1.0, time - like(t0, time))

        def leaf(g: Any, p: Any, average: Any) -> Any:
            delta = -like(rate, g) * (g + like(lambd, p) * p)
            moved = p + delta
            mean = average + like(weight, p) * (moved - average)
            return delta, jnp.where(weight == 1, moved, mean)

        updates, average = tree.map(leaf, updates, params, state["average"], outputs=2)
        return updates, {"average": average}

    return Rule(
        lambda params: {"average": tree.zeros_like(params)},
        update,
        evaluate=lambda state, params: state["average"],
    )


@transform
def asgd(
    learning_rate: Rate = 0.01,
    lambd: Rate = 1e-4,
    alpha: Rate = 0.75,
    t0: Rate = 1e6,
    weight_decay: Rate = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """Averaged stochastic gradient descent (ASGD): train the last iterate, evaluate the average.

    **Update rule** Δθ = −η_t (g + w θ + λ θ), η_t = η / (1 + λ η t)^a. ``eval_params`` returns the
    average of θ from step t₀ on.

    **State** ``scale_by_asgd.average``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: η ≥ 0, or a schedule.
      lambd: λ ≥ 0, the decay of the parameters and of the learning rate.
      alpha: a ≥ 0, the power in the decay of the learning rate.
      t0: t₀ ≥ 0, the step at which averaging starts.
      weight_decay: w ≥ 0, coupled: w θ is added to the gradient.
      mask: Leaves that decay: see `gradkit.masks`.

    Raises:
      ValueError: an argument out of range, or no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.asgd(1.0, lambd=0.0, t0=0), jnp.zeros(1)
      >>> state = tx.init(w)
      >>> for g in (9.0, -1.0, -2.0, 0.0):
      ...     w, state = tx.apply(w, state, jnp.full(1, g))
      >>> assert w[0] == -6.0 and abs(float(gk.eval_params(tx, state, w)[0]) + 20 / 3) < 1e-5

    Reference: Polyak and Juditsky 1992, https://doi.org/10.1137/0330046; torch.optim.ASGD, which
    has the same argument names and defaults.
    """
    return chain(
        add_decayed_weights(weight_decay, mask),
        scale_by_asgd(learning_rate, lambd, alpha, t0),
    )
