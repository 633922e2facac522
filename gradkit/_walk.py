"""One walk over the transforms inside a transform, for every tool that reads them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from gradkit import _checks as check
from gradkit._call import Call
from gradkit._member import Chain, Member
from gradkit._part import Part
from gradkit._restore import check_is_state
from gradkit._rule import Context, Rule, State
from gradkit._schedule import Schedule
from gradkit._splice import all_members, join
from gradkit._transform import Transform
from gradkit.typing import Params


class Node(NamedTuple):
    """A transform inside another.

    Attributes:
      path: its dotted path: the names of transforms in chains and of the parts of wrappers. The
        state is kept, values are logged and hyperparameters are listed under the same path. Only
        the outermost transform has the empty path, and its own name in its state and its log.
      transform: the transform.
      rule: its pair of functions; None for a chain and for a recipe, which stands for a chain.
      state: the state of the rule, where the walk was given one.
      step: the number of updates its clock has completed.
      within: the parts that enclose it, outermost first, each with the path of the wrapper.
      written: it is in the code the user wrote, not in the body of a recipe.
      group: it is the outermost transform of a group of parameters.
      steps: for each of its arguments that is a schedule, the number of updates completed by the
        clock on which the schedule runs. A recipe may use it inside a wrapper with a clock of its
        own. An argument that runs on several clocks, or on an unknown one, is absent.
    """

    path: str
    transform: Transform
    rule: Rule | None
    state: Any
    step: Any
    within: tuple[Part, ...]
    written: bool
    group: bool
    steps: dict[str, Any]

    def see(self, params: Params) -> Params:
        """The parameters that this transform sees: None in place of those a mask hides."""
        return self.context(params).leaves

    def context(self, params: Params) -> Context:
        """The context in which this transform is initialized."""
        context = Context.start(params)
        for part in self.within:
            if part.view is not None:
                context = part.view(context).within(context)
        return context


def walk(tx: Transform, state: State | None = None) -> Iterator[Node]:
    """Walk over every transform inside a transform, with its path, state, clock and masks.

    Args:
      tx: the transform.
      state: its state, or None.

    Yields:
      a `Node` for each transform, each before those inside it.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.clip(1.0), gk.MultiSteps(gk.sgd(0.1), 2))
      >>> [node.path for node in gk.inspect.walk(tx) if node.written]
      ['', 'clip', 'MultiSteps', 'MultiSteps.opt']
    """
    with check.inside("walk"):
        check.part(tx=tx)
        if state is not None:
            check_is_state(state)
    inner, step = (None, None) if state is None else (state.inner, state.step)
    return _visit(tx, "", inner, iter(tx.members), step, (), True, ())


def refuse_evaluation(**transforms: Transform) -> None:
    """Refuse transforms that keep evaluation weights, where a wrapper keeps its own."""
    for name, tx in transforms.items():
        if any(member.rule.evaluate for member in all_members(tx)):
            problem = f"{name}={tx!r} keeps evaluation weights itself"
            check.refuse(problem, fix="Keep one average of the weights")


def _visit(
    tx: Transform,
    path: str,
    states: Any,
    members: Iterator[Member],
    step: Any,
    within: tuple[Part, ...],
    written: bool,
    own: tuple[Call, ...],
    group: bool = False,
) -> Iterator[Node]:
    body = tx.body
    if written:
        own = (*own, *Call.children(tx).values())
    if isinstance(body, Rule):
        member = next(members)
        state, steps = _get(states, member.name), _steps_of_rule(tx, body, step)
        yield Node(path, tx, body, state, step, within, written, group, steps)
        yield from _parts(body, path, state, step, within, own)
        return
    if isinstance(body, Transform):
        inside = list(_visit(body, path, states, members, step, within, _in(body, own), own))
        steps = _steps_of_recipe(tx, inside, step)
        yield Node(path, tx, None, None, step, within, written, group, steps)
        yield from inside
        return
    yield Node(path, tx, None, None, step, within, written, group, {})
    assert isinstance(body, Chain)
    for (given, child), name in zip(body, tx.children(), strict=True):
        plain = isinstance(child.body, Chain) and given is None
        at = path if plain else join(path, name)
        if given is None:
            yield from _visit(child, at, states, members, step, within, _in(child, own), own)
        else:
            kept = _by_member(child, _get(states, next(members).name))
            inside = iter(child.members)
            yield from _visit(child, at, kept, inside, step, within, _in(child, own), own)


def _parts(
    rule: Rule, path: str, state: Any, step: Any, within: tuple[Part, ...], own: tuple[Call, ...]
) -> Iterator[Node]:
    for part in rule.parts:
        held = state if not part.name else _get(state, part.name)
        now = step
        if part.clock:
            now, held = (held.step, held.inner) if isinstance(held, State) else (None, None)
        held = _by_member(part.transform, held)
        at = join(path, part.name)
        inside, members = (*within, part), iter(part.transform.members)
        tx, known = part.transform, _in(part.transform, own)
        yield from _visit(tx, at, held, members, now, inside, known, own, part.selects)


def _schedules(tx: Transform) -> dict[str, Schedule]:
    return {name: value for name, value in tx.arguments.items() if isinstance(value, Schedule)}


def _steps_of_rule(tx: Transform, rule: Rule, step: Any) -> dict[str, Any]:
    """The steps of a rule's schedules: a ``Rate`` is evaluated at the step of the rule.

    Any other schedule the rule evaluates itself, maybe at the step of a part.
    """
    one_clock = not any(part.clock for part in rule.parts)
    return {n: step for n in _schedules(tx) if one_clock or n in tx.factory.movable}


def _steps_of_recipe(tx: Transform, inside: list[Node], step: Any) -> dict[str, Any]:
    """The steps of a recipe's schedules: those of the transforms in its body that use them."""
    unknown = object()
    steps = {}
    for name, schedule in _schedules(tx).items():
        used = [
            node.steps.get(other, unknown)
            for node in inside
            for other, value in node.transform.arguments.items()
            if _holds(value, schedule)
        ]
        # One that is used in a function cannot be seen.
        first, *rest = used or [node.step for node in inside]
        if first is not unknown and all(other is first for other in rest):
            steps[name] = first
    return steps


def _holds(value: Any, schedule: Schedule) -> bool:
    """Whether an argument is a schedule, or is computed from it by others."""
    if isinstance(value, Schedule):
        return value is schedule or any(_holds(leaf, schedule) for leaf in value.leaves)
    return not isinstance(value, Transform) and any(
        isinstance(leaf, Schedule) and _holds(leaf, schedule)
        for leaf in jax.tree.leaves(value, is_leaf=lambda x: isinstance(x, Call))
    )


def _in(tx: Call, own: tuple[Call, ...]) -> bool:
    return any(tx is known for known in own)


def _get(states: Any, name: str) -> Any:
    return states.get(name, ()) if isinstance(states, dict) else None


def _by_member(tx: Transform, state: Any) -> Any:
    """The states of a part by name: that of a lone rule is kept without one."""
    if state is None or tx.is_chain:
        return state
    return {tx.members[0].name: state}
