"""Current hyperparameters, by dotted path."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._flax import unwrap
from gradkit._restore import check_is_state, conform
from gradkit._schedule import Schedule
from gradkit._transform import Transform
from gradkit._walk import walk
from gradkit.typing import OptState


def hyperparameters(tx: Transform, state: OptState) -> dict[str, Any]:
    """Return the current value of every number in a transform, by dotted path.

    A schedule is evaluated at the step that was last taken: after an update this is the learning
    rate that the update used, before the first one that of step 0. Inside ``MultiSteps``, ``guard``
    and the conditional transforms steps are those of the wrapper's own clock, also where a recipe
    of yours passes its argument on to a transform there. The values are scalars, also under jit, so
    a training step may return them for logging.

    A schedule is left out where there is no one value that the update used: where a recipe uses it
    on several clocks, or in a function beside a clock of its own, and ``every_k_schedule`` of
    ``MultiSteps``.

    Args:
      tx: the transform.
      state: its state, from ``init`` or ``update``, or an ``nnx.Optimizer``'s ``opt_state``.

    Returns:
      the values by path; each path is one that ``tx.replace`` takes.

    Raises:
      TypeError: not the state of a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> rate = gk.linear_schedule(0.5, 0.0, 10)
      >>> tx = gk.chain(gk.clip_by_global_norm(1.0), gk.sgd(rate, momentum=0.9))
      >>> found = gk.hyperparameters(tx, tx.init(jnp.zeros(2)))
      >>> {path: float(value) for path, value in found.items()}
      {'clip_by_global_norm.max_norm': 1.0, 'sgd.learning_rate': 0.5, 'sgd.momentum': 0.9}
    """
    with check.inside("hyperparameters"):
        check.part(tx=tx)
        state = conform(state)
        check_is_state(state)
    found: dict[str, Any] = {}
    for node in walk(tx, unwrap(state)):
        if not node.written:
            continue
        for name, value in node.transform.arguments.items():
            path = f"{node.path}.{name}" if node.path else name
            if isinstance(value, Schedule):
                if (step := node.steps.get(name)) is not None:
                    found[path] = value(jnp.maximum(step - 1, 0))
            elif numerics.is_number(value) and not numerics.is_key(value):
                found[path] = value
        injected = node.state.get("hyperparams", {}) if isinstance(node.state, dict) else {}
        found |= {f"{node.path}.{k}" if node.path else k: v for k, v in injected.items()}
    return found
