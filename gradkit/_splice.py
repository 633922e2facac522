"""The flat chain that a transform stands for: its members, their names and their paths."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._call import Call
from gradkit._member import Chain, Member
from gradkit._rate import promotes, value_now
from gradkit._rule import Context, Rule
from gradkit._schedule import Schedule

if TYPE_CHECKING:
    from gradkit._transform import Transform


def splice(part: "Transform", at: str) -> tuple[list[Member], bool]:
    """The members of a transform at a path, and whether it is a chain.

    A lone rule has the name of the outermost factory.
    """
    body, name = part.body, part.factory.__name__
    if isinstance(body, Chain):
        members: list[Member] = []
        for given, inner in body:
            if given is not None:
                own = Member.of(given, inner.rule)
                members.append(own._replace(path=join(at, given), given=True))
            else:
                plain = isinstance(inner.body, Chain)
                members += splice(inner, at if plain else join(at, name_of(inner)))[0]
        return members, True
    if isinstance(body, Rule):
        member = Member.of(body.name or name, body)
        return [at_step(part, member._replace(path=at))], False
    found, is_chain = splice(body, at)
    return (found, True) if is_chain else ([found[0]._replace(name=name)], False)


def place_of(part: Call, tx: Call) -> str | None:
    """The path of a transform inside another; None where it is not there."""
    body = tx.body
    if isinstance(body, Rule):
        return next((p.name for p in body.parts if p.transform is part), None)
    if isinstance(body, Call):
        return "" if body is part else place_of(part, body)
    for name, child in tx.children().items():
        place = "" if child is part else place_of(part, child)
        if place is not None:
            return join(name, place) if place else name
    return None


def name_of(tx: "Transform") -> str:
    """The name of a transform in a chain: its factory's, or that of a wrapped pair's function."""
    own = tx.body.name if isinstance(tx.body, Rule) else None
    return own or str(tx.factory.__name__)


def join(at: str, name: str) -> str:
    """A dotted path; a part that is the whole of a rule has no name, and adds none."""
    return ".".join(part for part in (at, str(name)) if part)


def at_step(part: "Transform", member: Member) -> Member:
    """The member with its scheduled arguments evaluated at the step.

    Scalar arrays are cast to the dtype of the updates.
    """
    arguments = part.arguments
    movable = part.factory.movable
    moving = {
        name: value
        for name, value in arguments.items()
        if name in movable and (isinstance(value, Schedule) or promotes(value))
    }
    if not moving:
        return member

    def at(step: Any, dtype: Any) -> Rule:
        current = {name: value_now(name, value, step, dtype) for name, value in moving.items()}
        with check.unjudged():  # a traced value is not judged, so a concrete one is not either
            return cast(Rule, part._run({**arguments, **current}, named=False))

    def init(params: Any, *, context: Context) -> Any:
        rule = at(jnp.zeros((), jnp.int32), numerics.scalar_dtype(params))
        rule = rule._replace(averages={})  # which the member itself keeps
        return member._replace(rule=rule, path="").init(params, context)

    def now(field: str) -> Callable[..., Any]:
        def run(updates: Any, state: Any, params: Any, *, step: Any, **taken: Any) -> Any:
            if member.takes_all or "step" in member.takes:
                taken["step"] = step
            rule = at(step, numerics.scalar_dtype(updates))
            return getattr(rule, field)(updates, state, params, **taken)

        run.__module__ = getattr(member.rule.update, "__module__", None) or ""
        return run

    rule = member.rule._replace(
        init=init if member.rule.init is not None else None,
        update=now("update"),
        apply=now("apply") if member.rule.apply else None,
    )
    return member._replace(rule=rule, takes=member.takes | {"step"})


def all_members(tx: "Transform") -> Iterator[Member]:
    """The members of a transform and of every part inside them."""
    for member in tx.members:
        yield member
        for part in member.rule.parts:
            yield from all_members(part.transform)


def numbered(names: list[tuple[str, bool]]) -> list[str]:
    """Names made unique: the second ``trace`` is ``trace_1``.

    A name that the user gave (True) stays, and must be unique.
    """
    taken = {name for name, given in names if given}
    if len(taken) < sum(given for _, given in names):
        twice = next(n for n, given in names if given and names.count((n, True)) > 1)
        check.refuse(f"the name {twice!r} is used twice", expected="unique names")
    result = []
    for name, given in names:
        count, unique = 0, name
        while not given and unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken.add(unique)
        result.append(unique)
    return result
