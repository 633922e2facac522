"""Continue with gradkit a run that was saved with optax: `from_optax_state`."""

from collections.abc import Mapping
from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform
from gradkit.interop.restore import refuse_losses, restored
from gradkit.typing import OptState, Params


def from_optax_state(
    tx: Transform, optax_state: Any, params: Params, *, step: int | None = None
) -> OptState:
    """Convert a state saved with optax, to continue the run with gradkit.

    Covered are chains (nested, too) of: ``scale_by_adam`` and what shares its state (``adamax``,
    ``radam``, ``yogi``, ``nadam``, ``lamb``, ...), ``scale_by_amsgrad``, ``scale_by_belief``,
    ``scale_by_lion``, ``scale_by_muon``, ``scale_by_rms``, ``scale_by_rss``,
    ``scale_by_adadelta``, ``trace``, ``ema``, schedules, everything without a state, and
    ``masked``, ``partition``, ``inject_hyperparams`` and ``MultiSteps`` around them. Everything
    else is refused by name.

    Args:
      tx: the gradkit transform that has the place of the optax one, with the same decays.
      optax_state: its state, restored with its classes (with a target).
      params: the parameters, or their ``ShapeDtypeStruct`` where no decay is debiased.
      step: completed updates. None takes the count that the optax state holds, 0 if it holds none.

    Returns:
      a state for ``tx.update``.

    Raises:
      ValueError: a state that is not covered, does not fit ``tx``, or holds counts that differ.
      TypeError: ``optax_state`` has lost its classes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp, optax
      >>> before, after = optax.sgd(0.1, momentum=0.9), gk.sgd(0.1, momentum=0.9)
      >>> g, w = jnp.array([1.0, -2.0]), jnp.zeros(2)
      >>> _, saved = before.update(g, before.init(w), w)
      >>> state = gk.from_optax_state(after, saved, w, step=1)  # the state of trace has no count
      >>> ours, theirs = after.update(2 * g, state, w)[0], before.update(2 * g, saved, w)[0]
      >>> assert (ours == theirs).all()
    """
    with check.inside("from_optax_state"):
        if isinstance(optax_state, Mapping):
            fix = "Restore it with a target: the state of the optax transform"
            problem = f"a {type(optax_state).__name__} is not a state of optax"
            check.refuse(problem, expected="named tuples", fix=fix, error=TypeError)
        state, report = restored(tx, params, optax_state, step=step)
        missing = {row.path for row in report.fresh} == {"step"}  # as 0
        refuse_losses(report, {"fresh"} if missing else set())
        return state
