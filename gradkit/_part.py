"""A transform inside a rule: where its state is kept, how it sees the tree, when it runs.

A rule that runs other transforms declares each of them as a `Part`, which keeps their state, passes
the context on, and is what every tool walks over (``gradkit._walk``).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit import _xla as xla
from gradkit._member import init_members, run_members
from gradkit._rule import Context, State
from gradkit.typing import OptState, Params, PyTree, Updates


class View(NamedTuple):
    """How a part sees trees: fewer leaves, or leaves taken apart.

    Attributes:
      see: ``see(tree) -> tree``, of updates, parameters and trees like them.
      merge: ``merge(new, old) -> tree``, the part's tree put back into the whole.
      extra: ``extra(name, value, updates) -> value``, an extra argument as the part sees it.
      splits: leaves are taken apart, so that the whole tree has other paths inside.
      stack: how ``stacked`` runs what is inside; None to leave it as it is outside, False to run
        what is inside on the tree as it is.
      compression: how the averages inside are kept; None to leave it as it is outside.
    """

    see: Callable[[PyTree], PyTree]
    merge: Callable[[PyTree, PyTree], PyTree]
    extra: Callable[[str, Any, PyTree], Any] = lambda name, value, updates: value
    splits: bool = False
    stack: Any = None
    compression: Any = None

    def within(self, context: "Context") -> "Context":
        """The context of the part, without its extra arguments."""
        whole = self.see(context.whole) if self.splits else context.whole
        stack = context.stack if self.stack is None else (self.stack or None)
        kept = context.compression if self.compression is None else self.compression
        leaves = self.see(context.leaves)
        return context._replace(leaves=leaves, whole=whole, stack=stack, compression=kept)


def unstacked(context: "Context") -> View:
    """The view of a part that `stacked` runs on the tree, which is not like the parameters."""
    return View(lambda tree: tree, lambda new, old: new, stack=False)


class Part(NamedTuple):
    """A transform inside a rule: what it is, where its state is kept, and how it sees the tree.

    Attributes:
      name: the key of its state in the rule's state, and its name in every path. An empty name is
        the whole state of the rule.
      transform: the transform.
      clock: it counts its own updates; its state is a `State`.
      view: ``view(context) -> View``, how it sees the tree; None for a part that sees all of it.
      selects: the view leaves leaves out, so that the part is a group of parameters.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> @gk.transform
      ... def negated(inner: gk.Transform) -> gk.Rule:
      ...     part = gk.Part("inner", inner)
      ...     def init(params, *, context):
      ...         return {"inner": part.init(params, context=context)}
      ...     def update(updates, state, params, *, context):
      ...         updates, kept = part.update(updates, state["inner"], params, context=context)
      ...         return jax.tree.map(jnp.negative, updates), {"inner": kept}
      ...     return gk.Rule(init, update, parts=(part,))
      >>> tx = negated(gk.trace(0.5))
      >>> assert tx.update(jnp.ones(1), tx.init(jnp.ones(1)))[0][0] == -1.0
    """

    name: str
    transform: Any
    clock: bool = False
    view: Callable[[Context], View] | None = None
    selects: bool = False

    def init(self, params: Params, *, context: Context) -> OptState:
        """The state of the part before the first step."""
        if self.view is not None:
            view = self.view(context)
            params, context = view.see(params), view.within(context)
        with check.inside(self.name):
            members = self.transform.members
            if self.transform.is_chain:
                state = init_members(members, params, context)
            else:  # a lone rule is the part itself, so its state has no name of its own
                state = members[0].init(params, context)
            if self.clock:
                return State(jnp.zeros((), jnp.int32), state)
            return state or () if self.transform.is_chain else state

    def update(
        self, updates: Updates, state: OptState, params: Params | None, *, context: Context
    ) -> tuple[Updates, OptState]:
        """The updates of the part and its next state.

        A part with a clock runs at its own step and advances it.
        """
        if self.view is None:
            return self._update(updates, state, params, context)
        view = self.view(context)
        extras = {k: view.extra(k, v, updates) for k, v in context.extras.items()}
        within = view.within(context)._replace(extras=extras)
        seen = None if params is None else view.see(params)
        new, state = self._update(view.see(updates), state, seen, within)
        return view.merge(new, updates), state

    def _update(self, updates: Any, state: Any, params: Any, context: Context) -> tuple[Any, Any]:
        members = self.transform.members
        if self.name:
            context = context._replace(place=f"{context.place}.{self.name}")
        with check.inside(self.name):
            if self.clock:
                step, inner = state.step, state.inner
                context = context._replace(step=step)
                if self.transform.is_chain:
                    updates, inner = run_members(members, updates, inner, params, context)
                else:
                    updates, inner = members[0].update(updates, inner, params, context)
                return updates, State(numerics.increment(step), inner)
            if self.transform.is_chain:
                updates, inner = run_members(members, updates, state or {}, params, context)
                return updates, inner or ()
            return members[0].update(updates, state, params, context)

    def update_if(
        self,
        wanted: Any,
        updates: Updates,
        state: OptState,
        params: Params | None,
        *,
        context: Context,
        otherwise: PyTree = None,
        prepare: Callable[[Any, Any], Any] = lambda updates, aux: updates,
        aux: Any = None,
        in_place: bool = False,
    ) -> tuple[PyTree, OptState]:
        """``update`` where ``wanted``; else the state as it is, in place.

        Args:
          wanted: a scalar bool, usually traced.
          updates: the gradients; the part is given ``prepare(updates, aux)``.
          state: the state of the part.
          params: the wide parameters or None.
          context: the context of the rule.
          otherwise: the updates of a skipped call; by default zeros.
          prepare: computes the part's gradients inside the branch, so that XLA does not write
            them out. It closes over no tracer.
          aux: traced values for ``prepare``.
          in_place: change the parameters in ``context.leaves`` instead of returning updates.

        Returns:
          the updates (with ``in_place`` the new parameters) and the state of the part.
        """
        named = {"step": context.step, "leaves": context.leaves, "whole": context.whole}
        fixed = {name: getattr(context, name) for name in ("stack", "compression", "place")}
        arrays = {k: v for k, v in context.extras.items() if not callable(v)}
        functions = {k: v for k, v in context.extras.items() if callable(v)}

        def run(carry: Any, operands: Any) -> Any:
            target, state = carry
            transform, updates, aux, params, named, arrays = operands
            if in_place:  # read the parameters where they are written, or XLA copies them
                params, named = tree.widen(target), {**named, "leaves": target, "whole": target}
            context = Context(**named, extras={**arrays, **functions}, **fixed)
            part = self._replace(transform=transform)
            new, kept = part.update(prepare(updates, aux), state, params, context=context)
            if in_place:
                return tree.add_rounded(target, new), kept
            return jax.tree.map(lambda n, t: n.astype(t.dtype), new, target), kept

        if in_place:
            target, named = context.leaves, {"step": context.step}
        else:
            target = jax.tree.map(jnp.zeros_like, updates) if otherwise is None else otherwise
        operands = (self.transform, updates, aux, None if in_place else params, named, arrays)
        return gate(wanted, run, (target, state), operands, pure=not functions)


def gate(
    wanted: Any, function: Callable[[Any, Any], Any], carry: Any, operands: Any, *, pure: bool
) -> Any:
    """``function(carry, operands)`` where ``wanted``, else ``carry``, in place.

    Args:
      wanted: a scalar bool, usually traced.
      function: returns a carry of the same types.
      carry: what changes.
      operands: what is read.
      pure: ``function`` closes over no tracer. Otherwise the gate is a ``cond``, which copies where
        it skips, because a loop could not be differentiated with respect to what ``function``
        closes over.
    """
    if pure:
        return xla.run_if(wanted, function, carry, operands)
    return lax.cond(wanted, function, lambda carry, _: carry, carry, operands)
