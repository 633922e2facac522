"""Arguments by dotted path: which there are, and calls with some of them changed."""

import inspect
from typing import TYPE_CHECKING, Any

from gradkit import _checks as check

if TYPE_CHECKING:
    from gradkit._call import Call

Place = tuple[tuple[str, ...], str]  # the names of the calls down to one, and of its argument


def replaced(call: "Call", changes: dict[str, Any] | None, more: dict[str, Any]) -> "Call":
    """The call with arguments changed by path; a path must match one argument."""
    result = call
    if not isinstance(changes or {}, dict) or not all(isinstance(p, str) for p in changes or {}):
        with check.inside(call.factory.__name__):
            problem = f"replace: changes={check.shown(changes)} is not a dict of values by path"
            fix = 'Write replace(learning_rate=...) or replace({"adam.learning_rate": ...})'
            check.refuse(problem, fix=fix, error=TypeError)
    for path, value in {**(changes or {}), **more}.items():
        found = places(result, path)
        if len(found) != 1:
            names = sorted({".".join((*at, last)) for at, last in all_places(result)})
            fix = check.nearest(path, names)
            if found:
                fix = f"Use one of: {', '.join('.'.join((*at, last)) for at, last in found)}"
            matches = (
                f"is ambiguous: {len(found)} arguments match" if found else "matches no argument"
            )
            with check.inside(call.factory.__name__):
                check.refuse(f"replace: {path!r} {matches}", fix=fix)
        result = result._set(*found[0], value)
    return result


def all_places(call: "Call") -> list[Place]:
    """The arguments of a call, and those of the calls among them."""
    own = [
        ((), name)
        for name in call.arguments
        if call.factory.__signature__.parameters[name].kind is not inspect.Parameter.VAR_POSITIONAL
    ]
    return own + [
        ((key, *at), last)
        for key, child in call.children().items()
        for at, last in all_places(child)
    ]


def places(call: "Call", path: str) -> list[Place]:
    """The arguments that a path matches: its own, those whose path ends so, those named so."""
    known = all_places(call)
    if path in [last for at, last in known if not at]:
        return [((), path)]
    found = [(at, last) for at, last in known if f".{'.'.join((*at, last))}".endswith(f".{path}")]
    if found:
        return found
    named = [(place, f".{'.'.join(_named(call, *place))}") for place in known]
    return [place for place, name in named if name.endswith(f".{path}")]


def _named(call: "Call", at: tuple[str, ...], last: str) -> tuple[str, ...]:
    """The path of an argument; names of parts come before those of the arguments with them."""
    if not at:
        return (last,)
    name = call.part_names().get(at[0], at[0])
    inside = _named(call.children()[at[0]], at[1:], last)
    return (name, *inside) if name else inside
