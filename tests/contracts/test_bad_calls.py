"""Bad calls are refused by a message that names the place, and common habits are accepted.

The bad calls are generated: every argument of every public factory is given values that its
annotation rules out; and written by hand, in `tests/contracts/bad_calls.py`. A call is refused well
when the error is marked as one of gradkit's, its message begins with the name of the factory or the
function, and it names the argument or the leaf. Nothing is compiled: transforms run under
`eval_shape`.
"""

import functools
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.cases import CASES, Case, factories, tree_of
from tests.contracts.bad_calls import BAD, EXPLAINED, HABITS, Bad

PARAMS, GRADS = tree_of(0), tree_of(1)


def two(a: Any, b: Any) -> Any:
    """A function of two arguments."""
    return a


def none() -> float:
    """A function of no argument."""
    return 0.1


def word(step: Any) -> str:
    """A function of the step that returns no number."""
    return "fast"


def pair(step: Any) -> Any:
    """A function of the step that returns two numbers."""
    return jnp.ones(2)


def fails(step: Any) -> Any:
    """A function of the step that fails."""
    raise IndexError("out of data")


NOTHING: tuple[Any, ...] = (object(), [], {}, "fast", gk.adam, gk.sgd(0.1), gk.by_rank(2), jax)
NO_NUMBER = (*NOTHING, [0.1], {"w": 0.1}, 1j, True, float("nan"), jax.random.key(0))
NO_NUMBER += (np.array(True), jnp.complex64(1), jnp.float32, np.array("a"), b"1")
# What each annotation rules out. A rate of rank 1 is a population, for vmap: alone it is refused.
WRONG: dict[str, tuple[Any, ...]] = {
    "Rate": (*NO_NUMBER, len, two, none, word, pair, fails, jnp.ones(3), np.ones((2, 2))),
    "Scalar": (*NO_NUMBER, none, two),
    "float": (*NO_NUMBER, none, two),
    "int": (
        *NOTHING,
        2.5,
        "3",
        float("nan"),
        float("inf"),
        True,
        [3],
        -(10**9),
        jnp.float32(2.5),
        none,
    ),
    "bool": (*NOTHING, "yes", "False", 0.5, 2, [True], jnp.ones(3, bool), float("nan"), none),
    "str": (*NOTHING[:3], 3, 0.5, True, ["a"], gk.adam, none, "nonsense words"),
    "StoreLike": (
        *NOTHING,
        0.5,
        3,
        True,
        [1],
        "float33",
        "int8",
        "bfloat",
        jnp.int32,
        jnp.ones(3),
        two,
    ),
    "Transform": (
        *NOTHING[:5],
        0.5,
        True,
        gk.by_rank(2),
        gk.linear_schedule(1.0, 0.0, 3),
        none,
        two,
    ),
    "Mask": (
        "kernel",
        0.5,
        3,
        gk.adam,
        gk.sgd(0.1),
        object(),
        none,
        two,
        word,
        {"w": True},
        {"matrix": 1},
    ),
    "Key": (
        "seed",
        1.5,
        True,
        [0],
        {},
        object(),
        jnp.ones(3),
        gk.adam,
        float("nan"),
        none,
        jnp.ones(2),
    ),
    "Callable": (3, "f", [], {}, 0.5, jnp.ones(2), b"f"),
    "Mapping": (3, "f", [], 0.5, True, none, [1, 2]),
    "Sequence": (3, "f", 0.5, True, none, {}, object()),
    "tuple": (3, "f", 0.5, True, none, {}, object(), (1, 2, 3, 4, 5), ("a", "b")),
}
WRONG["Mask"] += ({"matrix": "yes"}, {"matrix": True, "vectr": True}, gk.by_path("kernal"))
WRONG["Mask"] += (jnp.ones(3, bool), by_value := (lambda p: jax.tree.map(jnp.any, p)))
# Numbers that no argument of this name takes.
BELOW = (-1.0, -1, float("-inf"), np.float32(-0.5), jnp.float32(-3))
POSITIVE = {
    "learning_rate",
    "b1",
    "b2",
    "b3",
    "eps",
    "eps_root",
    "weight_decay",
    "decay",
    "max_norm",
}
POSITIVE |= {"momentum", "decay_rate", "warmup_steps", "transition_steps", "decay_steps", "every"}


def kinds(annotation: Any) -> set[str]:
    """The names of the types that an annotation allows; 'None' where it is optional."""
    text = annotation if isinstance(annotation, str) else ""
    if text:
        return {each.strip().split("[")[0].split(".")[-1] for each in text.split("|")}
    if annotation is type(None):
        return {"None"}
    if typing.get_origin(annotation) in (typing.Union, type(int | str)):
        return {kind for each in typing.get_args(annotation) for kind in kinds(each)}
    origin = typing.get_origin(annotation) or annotation
    return {getattr(origin, "__name__", str(origin))}


def is_wrong(value: Any, allowed: set[str], name: str) -> bool:
    """Whether none of the types allows a value."""
    return all(any(value is bad for bad in WRONG.get(kind, ())) for kind in allowed - {"None"})


def rebuilt(function: Any, arguments: dict[str, Any]) -> Any:
    bound = inspect.BoundArguments(inspect.signature(function), arguments)
    return function(*bound.args, **bound.kwargs)


def used(case: Case, made: Any) -> None:
    """Run what a factory returned once, on shapes."""
    if made.kind == "schedule":
        jax.eval_shape(made, jnp.zeros((), jnp.int32))
    elif made.kind == "transform":
        tx = case.within(made)

        def step(params: Any, grads: Any) -> Any:
            fed, extras = case.fed(grads), case.extras(grads)
            return tx.update(fed, tx.init(params), params, **extras)

        jax.eval_shape(step, PARAMS, GRADS)
    else:
        made(PARAMS)


def _called(case: Case, function: Any, given: dict[str, Any]) -> None:
    used(case, rebuilt(function, given))


def generated() -> Iterator[Bad]:
    """Bad calls of every factory, an argument at a time."""
    public, seen = factories(), set()
    for case in CASES:
        if case.name not in public or case.name in seen:
            continue
        seen.add(case.name)
        function, arguments = public[case.name], case.make().arguments
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            allowed = kinds(parameter.annotation)
            values = [v for kind in sorted(allowed & WRONG.keys()) for v in WRONG[kind]]
            values = [v for v in values if is_wrong(v, allowed, name)]
            values += (
                [] if "None" in allowed or "Any" in allowed or "StoreLike" in allowed else [None]
            )
            values += BELOW if name in POSITIVE else ()
            for value in values:
                given = {**arguments, name: value}
                call = functools.partial(_called, case, function, given)
                yield Bad(case.name, name, call, f"{case.name}({name}={value!r})"[:150])


def judged(bad: Bad) -> tuple[str, str]:
    """What happens to a bad call, and what is wrong with its refusal, if anything."""
    try:
        bad.call()
    except Exception as error:
        message = str(error)
        if not hasattr(error, "gradkit"):
            text = f"{bad.text}: foreign {type(error).__name__}: {message[:200]}"
            return "raised elsewhere", text
        place = message.split(": ", maxsplit=1)[0]
        if bad.where and bad.where not in re.split(r"[.,\s]+", place):
            return "refused", f"{bad.text}: the place is missing: {message[:200]}"
        if not re.search(bad.names, message):
            return "refused", f"{bad.text}: {bad.names!r} is not named: {message[:200]}"
        return "refused", ""
    return "accepted", f"{bad.text}: accepted"


PAGE = (Path(__file__).parents[2] / "docs" / "design" / "tests.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("table", "row"),
    [(generated, "generated"), (lambda: BAD, "by hand")],
    ids=["generated", "by hand"],
)
def test_bad_calls_are_refused_by_a_message_that_names_the_place(table, row, capsys):
    calls = [*table()]
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # the defaults
        results = [(bad, *judged(bad)) for bad in calls]
    offenders = [wrong for _, _, wrong in results if wrong]
    share = 1 - len(offenders) / len(calls)
    with capsys.disabled():
        print(f"\n{share:.1%} of {len(calls)} bad calls are refused well")
    assert share >= 0.97, "\n".join(offenders)
    # The page docs/design/tests.md says how many there are, and explains all that are not refused.
    passed = {kind: {b.text for b, k, _ in results if k == kind} for _, kind in EXPLAINED.values()}
    for kind, texts in passed.items():
        assert texts <= {text for text, (_, each) in EXPLAINED.items() if each == kind}, offenders
    assert all(f"| `{shown}` | {kind} |" in PAGE for shown, kind in EXPLAINED.values())
    cells = re.search(rf"\| {row} \| ([\d,]+) \| ([\d,]+) \| (\d+) \| (\d+) \|", PAGE).groups()
    least, refused, elsewhere, accepted = (int(cell.replace(",", "")) for cell in cells)
    assert len(calls) >= least >= 0.9 * len(calls)
    assert refused + elsewhere + accepted == least
    counts = [len(passed[kind]) for kind in ("raised elsewhere", "accepted")]
    assert counts == [elsewhere, accepted]


def test_habits_are_accepted():
    offenders = []
    for i, call in enumerate(HABITS):
        try:
            with jax.numpy_dtype_promotion("standard"):  # the user's own arithmetic
                call()
        except Exception as error:
            offenders.append(f"#{i}: {type(error).__name__}: {error}")
    assert not offenders, "\n".join(offenders)
