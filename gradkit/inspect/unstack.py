"""The state of ``stacked`` by the names of the parameters, and back."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._layout import Layout
from gradkit._member import Member
from gradkit._restore import check_is_state, conform
from gradkit._rule import Context, State
from gradkit._stack import Stack, scope_of
from gradkit._transform import Transform
from gradkit.typing import OptState, Params


def unstack(tx: Transform, state: OptState, params: Params) -> State:
    """Return a state with a tree like the parameters in place of every stack of ``stacked``.

    For checkpoints by the names of parameters, which do not depend on what is stacked, and for
    reading the state of one parameter.

    Args:
      tx: a transform with ``stacked`` in it.
      state: its state.
      params: the parameters, or their ``ShapeDtypeStruct``.

    Returns:
      the state that ``tx`` would have if it did not stack, under the same names.

    Raises:
      TypeError: not the state of a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> params = {"w": jnp.zeros(3), "b": jnp.zeros(3)}
      >>> tx = gk.stacked(gk.chain(gk.trace(0.9), gk.scale(-0.1)))
      >>> state = tx.init(params)
      >>> assert state.inner["stacked"]["trace"]["trace"]["float32_3"].shape == (2, 3)
      >>> named = gk.inspect.unstack(tx, state, params)
      >>> assert named.inner["stacked"]["trace"]["trace"]["w"].shape == (3,)
    """
    return _converted("unstack", tx, state, params)


def restack(tx: Transform, state: OptState, params: Params) -> State:
    """Return the state of ``stacked`` from one that ``unstack`` returned.

    Args:
      tx: a transform with ``stacked`` in it, which may stack otherwise than when the state was
        unstacked.
      state: what ``unstack`` returned, or a state of the inner transform under the name
        ``stacked``.
      params: the parameters, or their ``ShapeDtypeStruct``.

    Returns:
      the state for ``tx``.

    Raises:
      TypeError: not the state of a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> params = {"w": jnp.zeros(3), "b": jnp.zeros(3)}
      >>> plain = gk.adam(0.1).init(params)
      >>> tx = gk.stacked(gk.adam(0.1))
      >>> state = gk.inspect.restack(tx, gk.State(plain.step, {"stacked": plain.inner}), params)
      >>> updates, state = tx.update(params, state)
    """
    return _converted("restack", tx, state, params)


def _converted(name: str, tx: Transform, state: Any, params: Any) -> State:
    with check.inside(name):
        check.part(tx=tx)
        state = conform(state)
        check_is_state(state)
        check.tree_of_arrays(params, "params")
        context = Context.start(tree.arrays_only(params))
        convert = _Conversion(name == "restack")
        return State(state.step, convert.members(tx.members, state.inner, context))


class _Conversion:
    """From stacks to trees, or back."""

    def __init__(self, back: bool):
        self.back = back

    def members(
        self, members: tuple[Member, ...], states: dict[str, Any], context: Context
    ) -> dict[str, Any]:
        """The states of a chain."""
        stack, inside = context.stack, context._replace(stack=None)
        layout, found = None, dict(states)
        for member in members:
            if member.name not in states:
                continue
            state = states[member.name]
            scope = "tree" if stack is None else scope_of(member.rule)
            if scope == "tree":
                found[member.name] = self.parts(member, state, context)
                continue
            layout = stack.layout(members, inside) if layout is None else layout
            if scope == "leaf":
                found[member.name] = self.leaves(member, state, layout, stack, inside)
            else:
                found[member.name] = self.elements(member, state, layout, inside)
        return found

    def parts(self, member: Member, state: Any, context: Context) -> Any:
        """The state of a rule that runs on the tree, with those of its parts converted."""
        for part in member.rule.parts:
            if part.name and not (isinstance(state, dict) and part.name in state):
                continue
            view = part.view
            within = context if view is None else view(context).within(context)
            held = state[part.name] if part.name else state
            inner = held.inner if isinstance(held, State) else held
            members = part.transform.members
            if not part.transform.is_chain:
                inner = self.members(members, {members[0].name: inner}, within)[members[0].name]
            elif isinstance(inner, dict):
                inner = self.members(members, inner, within)
            held = State(held.step, inner) if isinstance(held, State) else inner
            state = {**state, part.name: held} if part.name else held
        return state

    def elements(self, member: Member, state: Any, layout: Layout, context: Context) -> Any:
        """The state of a rule that runs on the stacks."""
        convert: Callable[..., Any] = _stacked if self.back else _unstacked
        context = context._replace(compression=None)  # the marks are for trees, encoded or not

        def piece(mark: Any, value: Any) -> Any:
            return convert(layout, value) if isinstance(mark, _Box) else value

        return jax.tree.map(piece, _marked(member, (), context, layout), state, is_leaf=_is_box)

    def leaves(
        self, member: Member, state: Any, layout: Layout, stack: Stack, context: Context
    ) -> Any:
        """The state of a rule that is mapped over the rows."""
        flat = jax.tree.leaves(layout.leaves)
        found: list[Any] = [None] * len(flat)
        stacks, mark = {}, None
        for name, rows in layout.rows.items():
            for key, piece, restored in layout.pieces(name, member.rule):
                turned = set() if restored else layout.turned
                leaves = rows[piece]
                shape = flat[leaves[0]].shape[:: -1 if leaves[0] in turned else 1]
                mark = _marked(member, shape, context, layout.only(name))
                single = layout.alone(name) and stack.axis is None
                if self.back:
                    of = [_turned(mark, _of(mark, state, layout, i), i in turned) for i in leaves]
                    together = stack.padded(jax.tree.map(lambda *x: jnp.stack(x), *of))
                    stacks[key] = of[0] if single else together
                    continue
                for j, i in enumerate(leaves):
                    row = state[key] if single else jax.tree.map(lambda x, j=j: x[j], state[key])
                    found[i] = _turned(mark, row, i in turned)
        if self.back:
            return stacks

        def joined(mark: Any, *values: Any) -> Any:
            return layout.treedef.unflatten(values) if isinstance(mark, _Box) else values[0]

        return jax.tree.map(joined, mark, *found, is_leaf=_is_box)


def _unstacked(layout: Layout, stacks: dict[str, Any]) -> Any:
    """The tree of what is held for each leaf, from the rows of the stacks."""
    flat: list[Any] = jax.tree.leaves(layout.leaves)
    for name, rows in layout.rows.items():
        for j, i in enumerate(rows):
            held = stacks[name]
            held = held if layout.alone(name) else jax.tree.map(lambda x, j=j: x[j], held)
            flat[i] = _row_turned(held) if i in layout.turned else held
    return layout.treedef.unflatten(flat)


def _stacked(layout: Layout, values: Any) -> dict[str, Any]:
    """The stacks of what is held for each leaf."""
    flat = layout.treedef.flatten_up_to(values)
    stacks = {}
    for name, rows in layout.rows.items():
        held = [_row_turned(flat[i]) if i in layout.turned else flat[i] for i in rows]
        alone = layout.alone(name)
        stacks[name] = held[0] if alone else jax.tree.map(lambda *x: jnp.stack(x), *held)
    return stacks


def _row_turned(value: Any) -> Any:
    """What is held for a matrix, for its transpose."""
    if isinstance(value, dict) and "codes" in value:
        problem = "the state holds a matrix by blocks that are those of its transpose"
        check.refuse(problem, fix="Leave transpose=True out, or compress nothing inside it")
    return jax.tree.map(lambda x: x.T if x.ndim == 2 else x, value)


class _Box:
    """A tree of one leaf, to be found again in a state."""

    def __init__(self, leaf: Any):
        self.leaf = leaf


jax.tree_util.register_pytree_node(_Box, lambda box: ((box.leaf,), None), lambda _, x: _Box(*x))


def _is_box(x: Any) -> bool:
    return isinstance(x, _Box)


def _marked(member: Member, shape: tuple[int, ...], context: Context, layout: Any) -> Any:
    """The state of a rule for one leaf, with a box wherever it keeps a tree of parameters."""

    def start(leaf: Any) -> Any:
        box = _Box(leaf)
        return member.start(box, context._replace(leaves=box, layout=layout))

    return jax.eval_shape(start, jax.ShapeDtypeStruct(shape, jnp.float32))


def _of(mark: Any, state: Any, layout: Layout, leaf: int) -> Any:
    """The state of one leaf from that of the tree."""

    def piece(mark: Any, value: Any) -> Any:
        return layout.treedef.flatten_up_to(value)[leaf] if isinstance(mark, _Box) else value

    return jax.tree.map(piece, mark, state, is_leaf=_is_box)


def _turned(mark: Any, row: Any, wanted: bool) -> Any:
    """A row of a state with its matrices transposed."""

    def piece(mark: Any, value: Any) -> Any:
        if not isinstance(mark, _Box):
            return value
        return _row_turned(value)

    return jax.tree.map(piece, mark, row, is_leaf=_is_box) if wanted else row
