"""Rules, the parts inside a rule, and how a flat chain of them runs.

A `Rule` is the pure pair that a factory returns. A rule that runs other transforms declares each of
them as a `Part`, which keeps their state, passes the context on, and is what every tool walks over
(``gradkit._walk``). A `Member` is a rule with its place in a chain.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit import _xla as xla
from gradkit.typing import InitFn, OptState, Params, PyTree, UpdateFn, Updates


class Rule(NamedTuple):
    """A transform as a pure pair of functions.

    ``init(params) -> state`` returns any pytree of arrays, or ``()``; None in its place is a rule
    without state. It may take ``context`` and ``leaves`` as keyword-only parameters.
    ``update(updates, state, params) -> (updates, state)`` is given wide updates and parameters, and
    by keyword-only parameters any of

    - ``step``: the number of completed updates, int32,
    - ``leaves``: the parameters in the user's own dtypes (the updates where no parameters were
      passed),
    - ``context``: the `Context`, to pass on to a part,
    - extra arguments of ``tx.update`` by name. One without a default is required; ``**extras``
      takes them all.

    Attributes:
      init: makes the state.
      update: transforms the updates.
      parts: the transforms that this rule runs.
      evaluate: ``evaluate(state, params) -> params``, the weights to evaluate with where they are
        not those in training: see ``eval_params``.
      apply: ``apply(updates, state, params, ...) -> (params, state)``, used instead of ``update``
        by ``tx.apply`` where the rule is the last of the chain. It changes the parameters in place,
        for wrappers that often skip.
      name: its name in a chain, if not that of the factory.
      per_example: the updates have a leading axis of examples, which the rule reduces. It must come
        first.
      takes_integers: integer leaves are allowed.
      mask: ``mask(context) -> tree of bools``, the leaves it changes where not all, for
        ``describe``.
      scope: what the update of an element depends on besides scalars, for ``stacked``.
        ``"element"``: that element of the trees. ``"leaf"``: its leaf. ``"global"``: that
        element, and sums over the whole tree. ``"tree"``: anything else. The parts of the rule
        have scopes of their own.
      transposable: a matrix and its transpose are treated alike; for a rule of scope ``"leaf"``.
      reads: ``reads(context) -> list``, what the rule reads of the place of each leaf in the tree,
        such as which axes are its rows. ``stacked`` keeps leaves apart for which it differs.
      foreign: the pair is another library's, whose states are not checked.
    """

    init: InitFn | Callable[..., OptState] | None
    update: UpdateFn | Callable[..., tuple[Updates, OptState]]
    parts: "tuple[Part, ...]" = ()
    evaluate: Callable[[OptState, Params], Params] | None = None
    apply: Callable[..., tuple[Params, OptState]] | None = None
    name: str | None = None
    per_example: bool = False
    takes_integers: bool = False
    mask: "Callable[[Context], PyTree] | None" = None
    scope: str = "tree"
    transposable: bool = False
    reads: "Callable[[Context], list[Any]] | None" = None
    foreign: bool = False


class Context(NamedTuple):
    """What travels with the updates from the outermost transform to the innermost.

    Attributes:
      step: the number of completed updates of the nearest clock.
      leaves: the parameters in the user's own dtypes; the updates where no parameters were passed.
      whole: ``leaves`` of the outermost transform, before any mask.
      extras: the extra arguments by name.
      stack: runs the members of a chain stacked (``gradkit._stack.Stack``); None outside of
        ``stacked``.
      layout: which leaves are in which stack, where the trees are stacks; else None.
    """

    step: Any
    leaves: PyTree
    whole: PyTree
    extras: dict[str, Any]
    stack: Any = None
    layout: Any = None

    @classmethod
    def start(cls, leaves: PyTree) -> "Context":
        """The context of ``init``."""
        return cls(jnp.zeros((), jnp.int32), leaves, leaves, {})

    def extend(self, **extras: Any) -> "Context":
        """The context with more extra arguments, for a part that takes them."""
        return self._replace(extras={**self.extras, **extras})


class State(NamedTuple):
    """The state of a transform.

    Attributes:
      step: the number of completed updates, int32.
      inner: the state of each transform in the chain, by its name. In a part of a wrapper that is
        one transform and no chain, the state of that transform.
    """

    step: Any
    inner: Any

    def __repr__(self) -> str:
        """Arrays by dtype and shape, scalars by value."""
        return f"State(step={_brief(self.step)}, inner={jax.tree.map(_Shown, self.inner)})"


class _Shown:
    """A leaf as it is printed."""

    def __init__(self, leaf: Any):
        self.leaf = leaf

    def __repr__(self) -> str:
        return _brief(self.leaf)


def _brief(leaf: Any) -> str:
    if not hasattr(leaf, "shape"):
        return repr(leaf)
    concrete = isinstance(leaf, (np.ndarray, np.generic, jax.Array))
    if leaf.shape or not concrete or isinstance(leaf, jax.core.Tracer):
        return f"{leaf.dtype}{list(leaf.shape)}"
    return repr(leaf.item()) if leaf.dtype.kind in "biufc" else f"{leaf.dtype}[]"


# ---- a transform inside another ----------------------------------------------------------------


class View(NamedTuple):
    """How a part sees trees: fewer leaves, or leaves taken apart.

    Attributes:
      see: ``see(tree) -> tree``, of updates, parameters and trees like them.
      merge: ``merge(new, old) -> tree``, the part's tree put back into the whole.
      extra: ``extra(name, value, updates) -> value``, an extra argument as the part sees it.
      splits: leaves are taken apart, so that the whole tree has other paths inside.
      stack: how ``stacked`` runs what is inside; None to leave it as it is outside, False to run
        what is inside on the tree as it is.
    """

    see: Callable[[PyTree], PyTree]
    merge: Callable[[PyTree, PyTree], PyTree]
    extra: Callable[[str, Any, PyTree], Any] = lambda name, value, updates: value
    splits: bool = False
    stack: Any = None

    def within(self, context: "Context") -> "Context":
        """The context of the part, without its extra arguments."""
        whole = self.see(context.whole) if self.splits else context.whole
        stack = context.stack if self.stack is None else (self.stack or None)
        return context._replace(leaves=self.see(context.leaves), whole=whole, stack=stack)


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
        stack = context.stack
        arrays = {k: v for k, v in context.extras.items() if not callable(v)}
        functions = {k: v for k, v in context.extras.items() if callable(v)}

        def run(carry: Any, operands: Any) -> Any:
            target, state = carry
            transform, updates, aux, params, named, arrays = operands
            if in_place:  # read the parameters where they are written, or XLA copies them
                params, named = tree.widen(target), {**named, "leaves": target, "whole": target}
            context = Context(**named, extras={**arrays, **functions}, stack=stack)
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


# ---- a rule in its chain -----------------------------------------------------------------------


class Chain(tuple[tuple[str | None, Any], ...]):
    """The body of a chain: pairs of a given name (or None) and a transform, to be spliced flat."""


class Member(NamedTuple):
    """A rule in a flat chain.

    Attributes:
      name: the key of its state, unique in the chain.
      path: its place among the calls the user wrote, for messages.
      rule: the pair of functions.
      requires: the extra arguments it cannot run without.
      takes: the keyword-only parameters of its update.
      takes_all: its update has ``**extras``.
      given: the user chose the name.
    """

    name: str
    path: str
    rule: Rule
    requires: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()
    takes_all: bool = False
    given: bool = False

    @classmethod
    def of(cls, name: str, rule: Rule) -> "Member":
        parameters = signature_of(rule.update)
        keywords = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        required = {p.name for p in keywords if p.default is inspect.Parameter.empty}
        takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
        offered = {"step", "leaves", "context"}
        takes = frozenset(p.name for p in keywords)
        return cls(name, name, rule, frozenset(required - offered), takes, takes_all)

    @property
    def foreign(self) -> bool:
        """Whether it comes from another library, whose states are not checked."""
        return self.rule.foreign

    def renamed(self, name: str) -> "Member":
        """The member under a unique name, which ends its path too."""
        path = self.path
        if path.endswith(self.name):
            path = path.removesuffix(self.name) + name
        return self._replace(name=name, path=path)

    def init(self, params: Any, context: Context) -> Any:
        if context.stack is not None:
            return context.stack.init((self,), params, context)[self.name]
        return self.start(params, context)

    def start(self, params: Any, context: Context) -> Any:
        """``init`` of the rule on the tree as it is."""
        with check.inside(self.path):
            self.check_kinds(context.leaves, "parameter")
            if self.rule.init is None:
                return ()
            names = {p.name for p in signature_of(self.rule.init)}
            offered = {"context": context, "leaves": context.leaves}
            return self.rule.init(params, **{k: v for k, v in offered.items() if k in names})

    def update(self, updates: Any, state: Any, params: Any, context: Context) -> tuple[Any, Any]:
        if context.stack is not None:
            kept = {self.name: state}
            new, kept = context.stack.update((self,), updates, kept, params, context)
            return new, kept[self.name]
        return self.run(updates, state, params, context)

    def run(self, updates: Any, state: Any, params: Any, context: Context) -> tuple[Any, Any]:
        """``update`` of the rule on the tree as it is."""
        new, state = self._call(self.rule.update, updates, state, params, context)
        if not self.rule.per_example:
            with check.inside(self.path):
                check.same_shapes(new, updates)
        return new, state

    def apply(self, updates: Any, state: Any, params: Any, context: Context) -> tuple[Any, Any]:
        assert self.rule.apply is not None
        return self._call(self.rule.apply, updates, state, params, context)

    def measure(self, updates: Any, state: Any, params: Any, context: Context) -> tuple[Any, Any]:
        """``update`` of a rule that may change shapes."""
        return self._call(self.rule.update, updates, state, params, context)

    def _call(
        self, function: Callable[..., Any], updates: Any, state: Any, params: Any, context: Context
    ) -> tuple[Any, Any]:
        with check.inside(self.path):
            self.check_kinds(updates, "update")
            for name in sorted(self.requires - context.extras.keys()):
                check.missing_extra(name)
            offered = {"step": context.step, "leaves": context.leaves, "context": context}
            taken = {k: v for k, v in offered.items() if k in self.takes}
            extras = context.extras
            taken |= (
                extras if self.takes_all else {k: extras[k] for k in self.takes & extras.keys()}
            )
            made = function(updates, state, params, **taken)
            if not isinstance(made, tuple) or len(made) != 2:
                problem = f"update returned {type(made).__name__}"
                check.refuse(problem, expected="the pair (updates, state)", error=TypeError)
            return made

    def check_kinds(self, leaves: Any, what: str) -> None:
        # A mask may keep the integers away from what computes, which then checks its own leaves.
        apart = any(part.selects for part in self.rule.parts)
        if not apart and not self.rule.takes_integers:
            check.inexact(leaves, what)


def signature_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature takes no extra arguments
        return []


def arguments_after_first(function: Any) -> list[inspect.Parameter]:
    """The parameters of a function of params that may be passed by name, without the first."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p for p in signature_of(function)[1:] if p.kind in named]


def init_members(members: Iterable[Member], params: Any, context: Context) -> dict[str, Any]:
    if context.stack is not None:
        states = context.stack.init(tuple(members), params, context)
    else:
        states = {m.name: m.init(params, context) for m in members}
    states = {name: jax.tree.map(_strong, state) for name, state in states.items()}
    return {name: state for name, state in states.items() if not is_stateless(state)}


def is_stateless(state: Any) -> bool:
    """Whether this is ``()``, the state of a rule that keeps none."""
    return type(state) is tuple and not state


def _strong(x: Any) -> Any:
    """Without the weak type of a literal, which would cost a second trace."""
    return lax.convert_element_type(x, x.dtype) if getattr(x, "weak_type", False) else x


def run_members(
    members: Iterable[Member], updates: Any, state: dict[str, Any], params: Any, context: Context
) -> tuple[Any, dict[str, Any]]:
    if context.stack is not None:
        updates, state = context.stack.update(tuple(members), updates, state, params, context)
        return updates, state
    after = {}
    for member in members:
        updates, new = member.update(updates, state.get(member.name, ()), params, context)
        if member.name in state:
            after[member.name] = new
    return updates, after
