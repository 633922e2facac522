"""What the outermost call checks, and what it hands to the members of its chain."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._member import Member, arguments_after_first, init_members
from gradkit._restore import as_step, check_state, conform
from gradkit._rule import Context, State
from gradkit._splice import all_members

if TYPE_CHECKING:
    from gradkit._transform import Transform


# Training loops are written for any optimizer, so these may be passed to one that does not take
# them.
FIELD_EXTRAS = frozenset(
    {
        *("value", "grad", "value_fn", "loss", "loss_fn", "obj_fn"),
        *("hessian", "hvp", "batch", "key", "rng"),
    }
)

# Among the names a member takes: every extra (``**extra_args`` of an optax transform).
ANYTHING = "*"


class Entry:
    """What the outermost call found: its members, the updates, and the members' arguments."""

    def __init__(
        self,
        members: tuple[Member, ...],
        updates: Any,
        arguments: tuple[Any, dict[str, Any], Any, Context],
        after: Callable[[dict[str, Any]], Any],
    ):
        self.members, self.updates, self.arguments, self.after = members, updates, arguments, after

    @property
    def context(self) -> Context:
        return self.arguments[3]


def enter(tx: "Transform", updates: Any, state: Any, params: Any, extras: dict[str, Any]) -> Entry:
    """Check the arguments of the outermost call; return the wide trees and the context."""
    members = tx.members
    refuse_populations(tx)
    if isinstance(updates, State) or is_saved(updates):
        fix = "The order is update(updates, state, params) and apply(params, state, grads)"
        check.refuse("the updates are a state", fix=fix, error=TypeError)
    if isinstance(params, State) or is_saved(params):
        fix = "The order is update(updates, state, params)"
        check.refuse("the third argument is a state", fix=fix, error=TypeError)
    check.tree_of_arrays(updates, "updates")
    if params is not None:
        check.tree_of_arrays(params, "params")
    updates = tree.arrays_only(updates)
    per_example = bool(members) and members[0].rule.per_example
    like = _one_example(updates) if per_example else updates
    leaves = like if params is None else tree.only_where(params, like)
    if params is not None:
        check.match(like, leaves)
    check_extras(extras, extras_taken(tx))
    given, state = state, conform(state)
    if not isinstance(state, State):
        _needs_no_state(given, members, expected_state(tx, members, leaves))
        inner: dict[str, Any] = {}
        step = jnp.zeros((), jnp.int32)
    else:
        expected = expected_state(tx, members, leaves)
        inner = check_state(state.inner, expected, members, dtypes=params is not None)
        step = as_step(state.step)
    context = Context(step, leaves, leaves, extras)
    wide = None if params is None else tree.widen(leaves)

    def after(inner: dict[str, Any]) -> Any:
        return State(numerics.increment(step), inner) if isinstance(state, State) else given

    return Entry(members, updates, (tree.widen(updates), inner, wide, context), after)


def refuse_populations(tx: "Transform") -> None:
    """Refuse arrays of rank one or more where one number is needed: they are for ``vmap``."""
    for path, value in tx._populations():
        check.refuse(
            f"{path}={check.shape_dtype(value)} has rank {np.ndim(value)}",
            expected="one number",
            fix="For a population of transforms, vmap over the transform: "
            "jax.vmap(..., in_axes=(tx.vmap_axes(), ...))",
        )


# The types of the states of the transforms and trees used last. What `init` returned is known when
# `update` is traced, which then need not trace `init` again: a tenth of the tracing.
_states: dict[Any, dict[str, Any]] = {}
_STATES = 1024


def _known_states(tx: "Transform", leaves: Any) -> tuple[dict[Any, Any], Any]:
    """Where the types of the state for these leaves are kept, and under which key."""
    data, structure = jax.tree.flatten(tx)
    kinds = [jax.typeof(x) if isinstance(x, (jax.Array, np.ndarray)) else type(x) for x in data]
    config: Any = jax.config
    modes = config.jax_enable_x64, config.jax_default_prng_impl
    key = (structure, *kinds, tree.signature(leaves), modes)
    try:
        hash(key)
    except TypeError:  # an argument such as a mask of arrays: known to this transform alone
        return tx._expected, key[1:]
    return _states, key


def remember_state(tx: "Transform", leaves: Any, inner: dict[str, Any]) -> None:
    """Keep the types of the state that ``init`` returned for these leaves."""
    states, key = _known_states(tx, leaves)
    if key in states:
        return
    if len(states) == _STATES:
        del states[next(iter(states))]
    foreign = {member.name for member in tx.members if member.foreign}
    states[key] = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jax.dtypes.result_type(x)),
        {name: state for name, state in inner.items() if name not in foreign},
    )


def expected_state(tx: "Transform", members: tuple[Member, ...], leaves: Any) -> dict[str, Any]:
    """The structure, shapes and dtypes of the state that ``init`` returns for these leaves."""
    states, key = _known_states(tx, leaves)
    if key not in states:
        own = [member for member in members if not member.foreign]

        def start(leaves: Any) -> Any:
            return init_members(own, tree.widen(leaves), Context.start(leaves))

        remember_state(tx, leaves, jax.eval_shape(start, leaves))
    return cast(dict[str, Any], states[key])


def _needs_no_state(state: Any, members: tuple[Member, ...], expected: dict[str, Any]) -> None:
    """A transform that keeps no state and needs no step takes any state, as optax's do."""
    for member in members:
        if member.foreign or member.name in expected or "step" in member.takes:
            problem = f"the state is {type(state).__name__}"
            fix = "Call state = tx.init(params)"
            expected_ = "the State that init returned"
            check.refuse(problem, expected=expected_, fix=fix, error=TypeError)


def _one_example(updates: Any) -> Any:
    """The shapes of the updates without their leading axis of examples."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
        if not jnp.ndim(leaf):
            problem = f"the gradient {check.shape_dtype(leaf)} has no axis of examples"
            fix = "Take gradients with jax.vmap(jax.grad(...))"
            check.refuse(problem, fix=fix, path=check.keystr(path))
    return jax.eval_shape(lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), updates)


def is_saved(value: Any) -> bool:
    """A state as the plain dict of a checkpoint."""
    return isinstance(value, dict) and value.keys() == {"step", "inner"}


# ---- extra arguments ----------------------------------------------------------------------------


def extras_taken(tx: "Transform") -> frozenset[str]:
    """The names of the extra arguments that a transform or a part inside it takes."""
    if "extras" not in tx._expected:
        names: set[str] = set()
        for member in all_members(tx):
            names |= member.takes | ({ANYTHING} if member.foreign and member.takes_all else set())
        tx._expected["extras"] = frozenset(names - {"step", "leaves", "context"})
    return cast(frozenset[str], tx._expected["extras"])


def check_extras(extras: dict[str, Any], taken: frozenset[str]) -> None:
    if ANYTHING in taken:
        return
    known = taken | FIELD_EXTRAS
    if "value_fn" in taken:  # a line search passes them on to it
        known |= {p.name for p in arguments_after_first(extras.get("value_fn"))}
    for name in sorted(extras.keys() - known):
        problem = f"the extra argument {name!r} is taken by no transform"
        check.refuse(problem, fix=check.nearest(name, known), error=TypeError)
