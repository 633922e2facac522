"""Leaves of one shape as one array: how ``stacked`` runs the members of a chain.

Every member runs by the scope that its rule declares:

| scope | runs on |
|---|---|
| ``"element"``, ``"global"`` | the stacks, whose first axis is one more axis of the leaf |
| ``"leaf"`` | the rows of each stack, mapped |
| ``"tree"`` | the tree as it is; what the rule runs inside it is stacked in its turn |
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gradkit import _checks as check
from gradkit import _xla as xla
from gradkit._layout import Layout
from gradkit._member import Member, is_stateless
from gradkit._rule import Context, Rule
from gradkit.typing import PyTree

SCOPES = ("element", "leaf", "global", "tree")
MOST = 1 << 14  # elements; a copy of a larger leaf costs more than a kernel for it


def scope_of(rule: Rule) -> str:
    """The scope of a rule together with the parts that it runs."""
    if rule.evaluate or rule.apply or rule.per_example:
        return "tree"
    scopes = {rule.scope}
    for part in rule.parts:
        if part.view is not None or part.clock:
            return "tree"
        scopes |= {scope_of(member.rule) for member in part.transform.members}
    if scopes >= {"leaf", "global"}:
        return "tree"  # mapped over its rows, a rule would see the sums of one leaf
    return max(scopes, key=SCOPES.index)


class Stack(NamedTuple):
    """How the members of a chain are run stacked; it travels in the `Context`.

    Attributes:
      transpose: a matrix and its transpose are in one stack.
      max_size: larger leaves are stacks of their own; None to choose by the rules.
      axis: the mesh axis over which the rows of rules of scope ``"leaf"`` are spread.
      mesh: the mesh, if not that of ``jax.set_mesh``.
    """

    transpose: bool = False
    max_size: int | None = None
    axis: str | None = None
    mesh: Any = None

    def layout(self, members: tuple[Member, ...], context: Context) -> Layout:
        """The layout of the leaves that a chain sees."""
        read = [values for member in members for values in _read(member, context)]
        most = self.max_size
        if most is None and self.axis is None and not any(_reads(m.rule) for m in members):
            most = MOST
        return Layout(context.leaves, read, self.transpose, most)

    def init(self, members: tuple[Member, ...], params: PyTree, context: Context) -> dict[str, Any]:
        """The states of the members by name."""
        inside = context._replace(stack=None)
        layout = stacks = None
        states = {}
        for member in members:
            scope = scope_of(member.rule)
            if scope == "tree":
                states[member.name] = member.start(params, _onward(member, context))
                continue
            if layout is None:
                layout = self.layout(members, inside)
                stacks = layout.stack(params, None)
            with check.inside(member.path):  # refuses integers by their own path
                member.check_kinds(inside.leaves, "parameter")
            start = self._start_leaves if scope == "leaf" else self._start_elements
            states[member.name] = start(member, layout, stacks, inside)
        return states

    def _start_elements(self, member: Member, layout: Layout, stacks: Any, context: Context) -> Any:
        return member.start(stacks, context._replace(leaves=stacks, layout=layout))

    def _start_leaves(self, member: Member, layout: Layout, stacks: Any, context: Context) -> Any:
        states = {}
        for name, rows in stacks.items():
            only = layout.only(name)

            def start(row: Any, kept: Any, only: Layout = only) -> Any:
                return member.start(row, context._replace(leaves=row, layout=only))

            shape = isinstance(rows, jax.ShapeDtypeStruct)
            arrays = jnp.zeros(rows.shape, rows.dtype) if shape else rows
            for key, piece, turned in layout.pieces(name, member.rule):
                operands = _taken_out(arrays, piece, turned)
                states[key] = self._map(start, operands, alone=layout.alone(name))
        return () if all(map(is_stateless, states.values())) else states

    def update(
        self,
        members: tuple[Member, ...],
        updates: PyTree,
        state: dict[str, Any],
        params: PyTree,
        context: Context,
    ) -> tuple[PyTree, dict[str, Any]]:
        """The updates of a chain and the next states of its members.

        Trees are stacked where a member that is run stacked follows one that is not, and unstacked
        where it is the other way round, so mostly once.
        """
        inside, opaque = context._replace(stack=None), context.step
        layout = stacks = wide = None
        after = {}
        for member in members:
            scope, kept = scope_of(member.rule), state.get(member.name, ())
            if scope == "tree":
                if stacks is not None:
                    assert layout is not None
                    updates, stacks = layout.unstack(stacks, opaque), None
                updates, kept = member.run(updates, kept, params, _onward(member, context))
            else:
                layout = self.layout(members, inside) if layout is None else layout
                stacks = layout.stack(updates, opaque) if stacks is None else stacks
                if wide is None and params is not None:
                    wide = layout.stack(params, opaque)
                extras = self._extras(member, layout, inside)
                run = self._run_leaves if scope == "leaf" else self._run_elements
                stacks, kept = run(member, layout, stacks, kept, wide, extras, inside)
            if member.name in state:
                after[member.name] = kept
        if stacks is not None:
            assert layout is not None
            updates = layout.unstack(stacks, opaque)
        return updates, after

    def _extras(self, member: Member, layout: Layout, context: Context) -> dict[str, Any]:
        """The extra arguments that are trees like the parameters, stacked."""
        taken = _taken(member)
        return {
            name: layout.stack(value, context.step)
            for name, value in context.extras.items()
            if name in taken and layout.like(value)
        }

    def _run_elements(
        self,
        member: Member,
        layout: Layout,
        stacks: Any,
        state: Any,
        params: Any,
        extras: Any,
        context: Context,
    ) -> tuple[Any, Any]:
        leaves = stacks if params is None else params
        context = context._replace(leaves=leaves, layout=layout).extend(**extras)
        return member.run(stacks, state, params, context)

    def _run_leaves(
        self,
        member: Member,
        layout: Layout,
        stacks: Any,
        state: Any,
        params: Any,
        extras: Any,
        context: Context,
    ) -> tuple[Any, Any]:
        updates, after = {}, {}
        for name, rows in stacks.items():
            only = layout.only(name)

            def run(operands: Any, kept: Any, only: Layout = only) -> Any:
                row, param, taken = operands
                leaves = row if param is None else param
                at = context._replace(leaves=leaves, layout=only).extend(**taken)
                return member.run(row, kept, param, at)

            param = None if params is None else params[name]
            taken = {key: value[name] for key, value in extras.items()}
            found = []
            for key, piece, turned in layout.pieces(name, member.rule):
                operands = _taken_out((rows, param, taken), piece, turned)
                kept, alone = state[key] if state else (), layout.alone(name)
                new, after[key] = self._map(run, operands, kept, alone=alone)
                new = self._gathered(new, operands[0], alone=alone)
                found.append(_taken_out(new, slice(None), turned))
            updates[name] = found[0] if len(found) == 1 else jnp.concatenate(found)
        return updates, after if state else state

    def _map(
        self,
        function: Callable[[Any, Any], Any],
        operands: Any,
        kept: Any = (),
        *,
        alone: bool,
    ) -> Any:
        """``function(operands, kept)`` of one row over all rows, on one device or on several.

        The rows of ``kept``, and those of the result, are as many as the devices divide.
        """
        if self.axis is None:
            return (function if alone else partial(xla.map_rows, function))(operands, kept)
        if alone:
            operands = jax.tree.map(lambda x: jnp.expand_dims(x, 0), operands)
        mesh = self._mesh()
        rows = PartitionSpec(self.axis)
        typed = AxisType.Explicit in mesh.axis_types
        added = -jax.tree.leaves(operands)[0].shape[0] % mesh.shape[self.axis]

        def padded(x: Any) -> Any:
            if typed:
                x = jax.sharding.reshard(x, PartitionSpec())
            x = jnp.pad(x, [(0, added), *((0, 0) for _ in x.shape[1:])])
            return jax.sharding.reshard(x, rows) if typed else x

        operands = jax.tree.map(padded, operands)
        if typed:  # vmap keeps the sharding, and shard_map does not take what a rule closes over
            return jax.vmap(function)(operands, kept)
        spread = jax.shard_map(
            lambda operands, kept: xla.map_rows(function, operands, kept),
            mesh=self.mesh,
            in_specs=rows,
            out_specs=rows,
            axis_names={self.axis},
            check_vma=False,
        )
        # Outside of a jit, shard_map takes no mesh with other axes.
        return jax.jit(spread)(operands, kept)

    def padded(self, rows: Any) -> Any:
        """The rows of a state with as many more as the devices of the axis divide."""
        if self.axis is None:
            return rows
        size = self._mesh().shape[self.axis]

        def leaf(x: Any) -> Any:
            return jnp.pad(x, [(0, -x.shape[0] % size), *((0, 0) for _ in x.shape[1:])])

        return jax.tree.map(leaf, rows)

    def _gathered(self, rows: Any, like: Any, *, alone: bool) -> Any:
        """The result of a map without the rows that were added, on every device."""
        if self.axis is None:
            return rows
        mesh = self._mesh()
        if AxisType.Explicit in mesh.axis_types:
            rows = jax.sharding.reshard(rows, PartitionSpec())
            rows = rows[0] if alone else rows[: like.shape[0]]
            return jax.sharding.reshard(rows, jax.typeof(like).sharding)
        rows = rows[0] if alone else rows[: like.shape[0]]
        whole = PartitionSpec()
        where = whole if self.mesh is None else NamedSharding(mesh, whole)
        return jax.lax.with_sharding_constraint(rows, where)

    def _mesh(self) -> Any:
        """The mesh that has the axis."""
        mesh = jax.sharding.get_abstract_mesh() if self.mesh is None else self.mesh
        if self.axis not in mesh.axis_names:
            names = ", ".join(map(repr, mesh.axis_names))
            fix = "Call init and update inside `with jax.set_mesh(mesh)`, or pass mesh="
            known = f"the mesh has {names}" if names else "there is no mesh"
            check.refuse(f"axis={self.axis!r} is not the axis of a mesh: {known}", fix=fix)
        if self.axis in jax.sharding.get_abstract_mesh().manual_axes:
            problem = f"axis={self.axis!r} is mapped by a shard_map around this call"
            check.refuse(problem, fix="Call init and update outside of the shard_map")
        return mesh


def _onward(member: Member, context: Context) -> Context:
    """The context of a member that runs on the tree as it is: its parts are stacked."""
    return context if member.rule.parts else context._replace(stack=None)


def _taken_out(rows: Any, piece: slice, turned: bool) -> Any:
    """Some rows of every stack in a tree, turned if they are to be."""

    def leaf(x: Any) -> Any:
        x = x if piece == slice(None) else x[piece]
        return x.mT if turned else x

    return jax.tree.map(leaf, rows)


def _read(member: Member, context: Context) -> list[list[Any]]:
    """What the rules that run on stacks read of the place of each leaf."""
    rule = member.rule
    if scope_of(rule) == "tree":
        return []
    with check.inside(member.path):
        found = [] if rule.mask is None else [jax.tree.leaves(rule.mask(context))]
        found += [] if rule.reads is None else [rule.reads(context)]
        if rule.averages and context.compression is not None:
            found += [jax.tree.leaves(context.compression.select(context))]
        for part in rule.parts:
            with check.inside(part.name):
                for inner in part.transform.members:
                    found += _read(inner, context)
    return found


def _reads(rule: Rule) -> bool:
    """Whether a rule, or one that it runs on stacks, is of matrices: it reads their axes."""
    if scope_of(rule) == "tree":
        return False
    inner = [member.rule for part in rule.parts for member in part.transform.members]
    return rule.reads is not None or any(map(_reads, inner))


def _taken(member: Member) -> set[str]:
    names = set(member.takes)
    for part in member.rule.parts:
        for inner in part.transform.members:
            names |= _taken(inner)
    return names
