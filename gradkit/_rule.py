"""Rules: the pure pair that a factory returns, its context, and the state of a transform.

A rule that runs other transforms declares each of them as a `Part` (``gradkit._part``). A `Member`
is a rule with its place in a chain (``gradkit._member``).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradkit.typing import InitFn, OptState, Params, PyTree, UpdateFn, Updates

if TYPE_CHECKING:
    from gradkit._part import Part


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
      averages: the averages in the state, by key (``"average"``, or ``"moment.average"`` in a dict
        within it), each a tree like the updates, with the `Store` that keeps it. None is for
        float32 or wider, or the store of ``compress``. The store encodes and decodes around
        ``init`` and ``update``, which see arrays like the updates.
      foreign: the pair is another library's, whose states are not checked.
      sharded: its sums over leaves and trees are those of ``gk.tree`` (or of the parts), which
        ``sharded`` adds up over the shards. Rules of scope ``"element"`` or ``"global"`` need not
        say so.
      held_fixed: what the derivatives of the update treat as constant though it is not, such as
        "the step size". ``unroll`` then refuses to be differentiated.
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
    averages: Mapping[str, Any] = MappingProxyType({})
    foreign: bool = False
    sharded: bool = False
    held_fixed: str = ""


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
      compression: how averages are kept (``gradkit.wrappers.compress``); None outside of
        ``compress``.
      place: the names of the enclosing parts.
    """

    step: Any
    leaves: PyTree
    whole: PyTree
    extras: dict[str, Any]
    stack: Any = None
    layout: Any = None
    compression: Any = None
    place: str = ""

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
