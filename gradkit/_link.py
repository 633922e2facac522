"""A link as a pure pair, its name and what it asks for, and how links run one after the other."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jax import lax

from gradkit import _checks as check


class Rule(NamedTuple):
    """A link as a pure pair.

    ``init(params) -> memory`` and ``update(updates, memory, params, *, <asked>) -> (updates, memory)``, of wide updates and params. What
    ``update`` asks for by keyword-only parameters is passed: ``step`` (completed updates, int32) and ``leaves`` (the parameters as the user
    has them, not widened; the updates where there are none) always, and the extras passed to the root's ``update``. One without a default
    must be passed; ``**extras`` takes them all, to hand them to a part inside. ``init`` may ask for ``leaves`` too. Memory is any pytree;
    ``()`` is no memory.

    ``name`` is the link's, when it should not be that of the factory. ``evaluate(memory, params) -> params`` gives the weights to evaluate
    with, for links that keep other ones than those they train (averaged weights, schedule-free): see ``eval_params``. ``apply(updates, memory,
    params, *, <asked>) -> (params, memory)`` is for wrappers that often do nothing: as the last link of a root's ``apply`` it changes the
    parameters in place (those in ``leaves``, not the widened ``params``) instead of handing out zeros to add. ``examples`` says that the
    updates come with a leading axis of examples, which the link takes away (the first link of a chain only). ``takes_integers`` says that
    integer leaves may come, for the link keeps them from whatever computes.
    """

    init: Callable[..., Any]
    update: Callable[..., tuple[Any, Any]]
    name: str | None = None
    evaluate: Callable[[Any, Any], Any] | None = None
    apply: Callable[..., tuple[Any, Any]] | None = None
    examples: bool = False
    takes_integers: bool = False


class Links(tuple[tuple[str | None, Any], ...]):
    """What the body of a chain is: pairs of a given name (or None) and a transform, to be spliced flat."""


class State(NamedTuple):
    """A root's state: ``step`` counts the completed updates, ``memory`` holds what each link remembers, by link name."""

    step: Any
    inner: dict[str, Any]

    def __repr__(self) -> str:
        """Arrays by dtype and shape, single numbers by value."""
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
    number = (
        not leaf.shape
        and isinstance(leaf, (np.ndarray, np.generic, jax.Array))
        and not isinstance(leaf, jax.core.Tracer)
        and leaf.dtype.kind in "biufc"
    )
    return repr(leaf.item()) if number else f"{leaf.dtype}{list(leaf.shape)}"


class Link(NamedTuple):
    """A rule, the name its memory is kept under, and the names of what it asks for."""

    name: str
    rule: Rule
    needs: frozenset[str]
    takes: frozenset[str]
    takes_all: bool
    given: bool = False  # the name was given by the user, who may rely on it

    @classmethod
    def of(cls, name: str, rule: Rule) -> "Link":
        parameters = signature_of(rule.update)
        keywords = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        needs = frozenset(p.name for p in keywords if p.default is inspect.Parameter.empty)
        takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
        return cls(name, rule, needs, frozenset(p.name for p in keywords), takes_all)

    def init(self, params: Any, leaves: Any = None) -> Any:
        with check.inside(self.name):
            if any(p.name == "leaves" for p in signature_of(self.rule.init)):
                return self.rule.init(params, leaves=params if leaves is None else leaves)
            return self.rule.init(params)

    def update(
        self,
        updates: Any,
        state: Any,
        params: Any,
        extras: dict[str, Any],
        *,
        keeps_shapes: bool = True,
    ) -> tuple[Any, Any]:
        made = self._ask(self.rule.update, updates, state, params, extras)
        if keeps_shapes and not self.rule.examples:
            with check.inside(self.name):
                check.same_shapes(made[0], updates)
        return made

    def apply(
        self, updates: Any, state: Any, params: Any, extras: dict[str, Any]
    ) -> tuple[Any, Any]:
        return self._ask(cast(Any, self.rule.apply), updates, state, params, extras)

    def _ask(
        self,
        function: Callable[..., Any],
        updates: Any,
        state: Any,
        params: Any,
        extras: dict[str, Any],
    ) -> tuple[Any, Any]:
        with check.inside(self.name):
            for name in sorted(self.needs - extras.keys()):
                check.fail(
                    f"needs the extra argument {name!r}",
                    "none",
                    f"Call update(updates, state, params, {name}=...)",
                    error=TypeError,
                )
            asked = (
                extras
                if self.takes_all
                else {name: value for name, value in extras.items() if name in self.takes}
            )
            made = function(updates, state, params, **asked)
            if not isinstance(made, tuple) or len(made) != 2:
                check.fail(
                    "needs an update that returns the pair (updates, memory)",
                    type(made).__name__,
                    error=TypeError,
                )
            return made


def nothing(params: Any, *, leaves: Any = None) -> tuple[()]:
    """The ``init`` of a link that remembers nothing."""
    return ()


def only_checks(init: Callable[..., Any]) -> Callable[..., Any]:
    """Mark an ``init`` that returns ``()`` and is there for what it refuses."""
    init.remembers = False  # type: ignore[attr-defined]
    return init


def signature_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature asks for nothing
        return []


# ---- several links, one after the other ---------------------------------------------------------------------------------


def init_links(links: Iterable[Link], params: Any, leaves: Any = None) -> dict[str, Any]:
    state = {link.name: jax.tree.map(_strong, link.init(params, leaves)) for link in links}
    return {name: kept for name, kept in state.items() if not (type(kept) is tuple and not kept)}


def _strong(x: Any) -> Any:
    """Without the weak type that a literal leaves behind: it would be lost in the first step, and cost a second trace."""
    return lax.convert_element_type(x, x.dtype) if getattr(x, "weak_type", False) else x


def run_links(
    links: Iterable[Link], updates: Any, state: dict[str, Any], params: Any, extras: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    kept = {}
    for link in links:
        updates, new = link.update(updates, state.get(link.name, ()), params, extras)
        if link.name in state:
            kept[link.name] = new
    return updates, kept


def run_nested(
    links: Iterable[Link], updates: Any, state: Any, params: Any, extras: dict[str, Any]
) -> tuple[Any, Any]:
    """A chain run as one link: without memory it keeps ``()``, as any link does."""
    updates, kept = run_links(links, updates, state or {}, params, extras)
    return updates, kept or ()


def evaluation(links: Iterable[Link]) -> Callable[[Any, Any], Any] | None:
    """The evaluation weights of a chain: those of the link that keeps some."""
    keeping = [link for link in links if link.rule.evaluate is not None]
    if not keeping:
        return None
    if len(keeping) > 1:
        check.fail(
            "needs one link that keeps evaluation weights",
            ", ".join(link.name for link in keeping),
            "Keep one average of the weights",
        )
    link = keeping[0]
    return lambda state, params: cast(Any, link.rule.evaluate)(state[link.name], params)


def evaluation_inside(rule: Rule, field: str = "inner") -> Callable[[Any, Any], Any] | None:
    """The evaluation weights of a part whose memory, or ``State``, a wrapper keeps in a field of its own."""
    inner = rule.evaluate
    if inner is None:
        return None

    def evaluate(state: Any, params: Any) -> Any:
        kept = state[field]
        return inner(kept.inner if isinstance(kept, State) else kept, params)

    return evaluate


def take_integers(links: Iterable[Link]) -> bool:
    return all(link.rule.takes_integers for link in links)


def numbered(names: list[tuple[str, bool]]) -> list[str]:
    """Names made unique: the second ``trace`` is ``trace_1``. A name that the user gave (True) stays, and cannot stand twice."""
    taken = {name for name, given in names if given}
    if len(taken) < sum(given for _, given in names):
        twice = next(name for name, given in names if given and names.count((name, True)) > 1)
        check.fail(
            "needs unique names", f"{twice!r} twice", "Give one of the two parts another name"
        )
    result = []
    for name, given in names:
        count, unique = 0, name
        while not given and unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken.add(unique)
        result.append(unique)
    return result
