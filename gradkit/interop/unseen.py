"""How much of a debiased average is still unseen, for states that do not say so."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._rule import State
from gradkit._splice import join
from gradkit._transform import Transform
from gradkit._walk import walk
from gradkit.interop.places import places, steps_of
from gradkit.typing import Params

UNSEEN = "log_unseen"


def log_unseen(
    tx: Transform, params: Params, state: State, wanted: dict[str, str]
) -> dict[str, Any]:
    """The logarithms of the weights that averages have not seen: count · log β.

    Args:
      tx: the transform.
      params: the parameters.
      state: its state, with the counts of its clocks.
      wanted: the paths of the logarithms, each with that of its clock.

    Returns:
      the value for each path, or a sentence that says why there is none.
    """
    found: dict[str, Any] = {}
    for clock in sorted(set(wanted.values())):
        paths = {path for path, its in wanted.items() if its == clock}
        count = int(steps_of(state)[clock])
        try:
            change = _changes(tx, params, state, clock)
            first, last = change(0), change(max(count - 1, 0))
        except (TypeError, ValueError) as error:
            if not check.is_ours(error):
                raise
            found |= dict.fromkeys(paths, "a debiased average that takes extra arguments")
            continue
        for path in paths:
            steady = np.allclose(first[path], last[path], rtol=1e-6)
            words = "a debiased average with a scheduled decay is not covered"
            found[path] = first[path] * count if steady else words
    return found


def _changes(tx: Transform, params: Params, state: State, clock: str) -> Any:
    """The function from a count to what one update adds to every leaf on a clock, by path."""
    if not clock:
        leaves = tree.arrays_only(params)
        zeros = tree.zeros_like(leaves)

        def after(step: Any) -> Any:
            return Transform.update(tx, zeros, state._replace(step=step), leaves)[1]

        held: Any = state
    else:
        part, context = next(
            (part, node.context(params))
            for node in walk(tx)
            for part in (() if node.rule is None else node.rule.parts)
            if part.clock and join(node.path or tx.members[0].name, part.name) == clock
        )
        held = state.inner
        for name in clock.split("."):
            held = held.inner[name] if isinstance(held, State) else held[name]
        leaves = tree.arrays_only(context.leaves)
        zeros, wide = tree.zeros_like(leaves), tree.widen(leaves)

        def after(step: Any) -> Any:
            return part.update(zeros, State(step, held.inner), wide, context=context)[1]

    before = {place.path: place.leaf for place in places(held) if place.path.endswith(UNSEEN)}

    def change(count: int) -> dict[str, Any]:
        new = places(after(jnp.asarray(count, jnp.int32)))
        return {
            ".".join(part for part in (clock, place.path) if part): place.leaf - before[place.path]
            for place in new
            if place.path in before
        }

    return change
