"""Leaves of one shape computed as one array."""

from typing import Any

import jax

from gradkit import _checks as check
from gradkit._rule import Context, Part, Rule
from gradkit._stack import Stack, scope_of
from gradkit._transform import Transform, all_members, transform


@transform
def stacked(
    inner: Transform,
    *,
    transpose: bool = False,
    max_size: int | None = None,
    axis: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Rule:
    """Stack the leaves of one shape and compute them as one array.

    TODO
    """
    if max_size is not None:
        check.integer(1, max_size=max_size)
    scopes = {member.path: scope_of(member.rule) for member in all_members(inner)}
    if set(scopes.values()) <= {"tree"}:
        check.refuse("nothing")
    stack = Stack(transpose, max_size, axis, mesh)
    part = Part("", inner)

    def init(params: Any, *, context: Context) -> Any:
        return part.init(params, context=context._replace(stack=stack))

    def update(updates: Any, state: Any, params: Any, *, context: Context) -> Any:
        return part.update(updates, state, params, context=context._replace(stack=stack))

    return Rule(init, update, parts=(part,))
