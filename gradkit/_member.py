"""A rule with its place in a flat chain, and how such a chain runs."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
from jax import lax

from gradkit import _checks as check
from gradkit._kept import Kept
from gradkit._rule import Context, Rule


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
            state = self.rule.init(params, **{k: v for k, v in offered.items() if k in names})
            return self._kept(params, context).encode(state) if self.rule.averages else state

    def update(self, updates: Any, state: Any, params: Any, context: Context) -> tuple[Any, Any]:
        if context.stack is not None:
            kept = {self.name: state}
            new, kept = context.stack.update((self,), updates, kept, params, context)
            return new, kept[self.name]
        return self.run(updates, state, params, context)

    def run(self, updates: Any, state: Any, params: Any, context: Context) -> tuple[Any, Any]:
        """``update`` of the rule on the tree as it is."""
        kept = self._kept(updates, context) if self.rule.averages else None
        if kept is not None:
            state = kept.decode(state)
        new, state = self._call(self.rule.update, updates, state, params, context)
        if kept is not None:
            state = kept.encode(state, context.step)
        if not self.rule.per_example:
            with check.inside(self.path):
                check.same_shapes(new, updates)
        return new, state

    def _kept(self, like: Any, context: Context) -> Kept:
        return Kept(self.rule, self.name, like, context)

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
