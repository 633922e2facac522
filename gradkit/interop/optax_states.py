"""States of optax: which are covered, where their fields belong, and the counts they hold."""

from typing import Any

import jax

from gradkit import _checks as check

# Where each field of a state of optax belongs: the first of these paths that the entry has.
_SECOND = "preconditioner"

FIELDS: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "EmaState": {"ema": (("average",),)},
    "MuonState": {"mu": (("moment", "average"),)},
    "ScaleByAdaDeltaState": {"e_g": ((_SECOND, "average"),), "e_x": (("delta", "average"),)},
    "ScaleByAdamState": {
        "mu": (("moment", "average"),),
        "nu": ((_SECOND, "average"), (_SECOND, "max")),
    },
    "ScaleByAmsgradState": {
        "mu": (("moment", "average"),),
        "nu": ((_SECOND, "average", "average"),),
        "nu_max": ((_SECOND, "max"),),
    },
    "ScaleByBeliefState": {"mu": (("moment", "average"),), "nu": ((_SECOND, "average"),)},
    "ScaleByLionState": {"mu": (("average",),)},
    "ScaleByRmsState": {"nu": ((_SECOND, "average"),)},
    "ScaleByRmsWithCountState": {"nu": ((_SECOND, "average"),)},
    "ScaleByRssState": {"sum_of_squares": ((_SECOND, "sum"),)},
    "TraceState": {"trace": (("trace",),)},
}

_CLOCKS = ("ScaleByScheduleState", "WrappedScheduleState")  # a count and nothing else

_WRAPPERS = (
    "InjectHyperparamsState",
    "InjectStatefulHyperparamsState",
    "MaskedState",
    "MultiStepsState",
    "MultiTransformState",
    "PartitionState",
)


def flat(state: Any) -> tuple[list[Any], list[Any], list[str]]:
    """The states that hold something, in order, and the counts of completed updates.

    Returns:
      the states, the counts, and the names of the states that are not covered.
    """
    states: list[Any] = []
    counts: list[Any] = []
    unknown: list[str] = []

    def visit(part: Any) -> None:
        kind = type(part).__name__
        if hasattr(part, "_fields"):
            if kind in _CLOCKS or kind in FIELDS or kind.startswith("Inject"):
                counts.extend([part.count] if "count" in part._fields else [])
            if kind in _CLOCKS or not jax.tree.leaves(part):
                return
            if kind not in FIELDS and kind not in _WRAPPERS:
                unknown.append(kind)
                return
            if kind == "MaskedState":
                inner, inside, others = flat(part.inner_state)
                counts.extend(inside)
                unknown.extend(others)
                if not inner:
                    return
            if kind in ("PartitionState", "MultiTransformState"):
                counts.extend(c for one in part.inner_states.values() for c in flat(one)[1])
            states.append(part)
        elif isinstance(part, tuple):
            for one in part:
                visit(one)
        elif part is not None:
            fix = "Restore it with a target: the state of the optax transform"
            check.refuse(
                f"a {type(part).__name__} is not a state of optax",
                expected="named tuples",
                fix=fix,
                error=TypeError,
            )

    visit(state)
    return states, counts, unknown
