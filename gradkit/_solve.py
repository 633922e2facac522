"""The compiled loop of ``minimize`` and ``least_squares``."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._entry import extras_taken
from gradkit._result import CONVERGED, NO_DESCENT, NON_FINITE, RUNNING, Trace
from gradkit.curvature._arguments import real_number
from gradkit.wrappers.complex import join

# A line search that improves neither the value nor the gradient this often has found the rounding
# error of the value.
_PATIENCE = 10


class Problem(NamedTuple):
    """The function, as a static argument of the compiled loop."""

    fun: Callable[..., Any]
    residuals: bool
    complex: bool = False
    has_aux: bool = False

    @classmethod
    def of(cls, fun: Any, residuals: bool, has_aux: bool) -> "Problem":
        name = "residuals" if residuals else "fun"
        check.function(**{name: fun})
        try:
            hash(fun)
        except TypeError:  # such as a module with arrays: by identity
            fun = functools.partial(fun)
        check.boolean(has_aux=has_aux)
        return cls(fun, residuals, has_aux=has_aux)

    def call(self, x: Any, args: Any) -> tuple[Any, Any]:
        """What the function returns, and its auxiliary output."""
        found = self.fun(join(x) if self.complex else x, *args)
        if not self.has_aux:
            return found, None
        if not isinstance(found, tuple) or len(found) != 2:
            problem = f"{check.shown(self.fun)} returned {check.kind_of(found)}, with has_aux"
            first = "residuals" if self.residuals else "value"
            check.refuse(problem, expected=f"the pair ({first}, aux)", error=TypeError)
        return found

    def residual_fn(self, args: Any) -> Callable[[Any], Any]:
        def residual_fn(x: Any) -> Any:
            return self.call(x, args)[0]

        return residual_fn

    def value_fn(self, args: Any) -> Callable[[Any], Any]:
        inner = self.residual_fn(args)

        def value_fn(x: Any) -> Any:
            found = inner(x)
            if not self.residuals:
                return jnp.asarray(found) if numerics.is_number(found) else found
            check.tree_of_arrays(found, "what residuals returned")
            check.real_leaves(found)
            for path, leaf in jax.tree_util.tree_leaves_with_path(found):
                if not check.is_inexact(leaf):
                    problem = f"residuals returned {check.kind_of(leaf)}"
                    expected, at = "floating numbers", check.keystr(path) if path else ""
                    check.refuse(problem, expected=expected, path=at, error=TypeError)
            return tree.sq_norm(found) / 2

        return value_fn

    def judge(self, x: Any, args: Any) -> None:
        """Refuse a function that cannot be called, or does not return one real number."""
        name = check.shown(self.fun)
        try:
            inspect.signature(self.fun).bind(x, *args)
        except TypeError as error:
            problem = f"{name} cannot be called: {error}"
            check.refuse(problem, fix="Pass its further arguments as args=(...)", error=TypeError)
        except ValueError:  # a builtin without a signature
            pass
        returned: list[Any] = []  # as it is: eval_shape would refuse what is no array
        jax.eval_shape(lambda x: returned.append(self.value_fn(args)(x)), x)
        fix = "Reduce it, as with jnp.sum; for residuals call least_squares(residuals, x0)"
        if isinstance(returned[0], tuple):
            fix = "For a pair (value, aux) pass has_aux=True"
        real_number(returned[0], name, fix)


class Carry(NamedTuple):
    """What the loop carries."""

    x: Any
    state: Any
    value: Any
    grad: Any
    norm: Any
    steps: Any
    evaluations: Any
    status: Any
    best: Any
    stalled: Any
    still: Any
    trace: Any


def begin(problem: Problem, tx: Any, x: Any, args: Any, tol: Any, size: int | None) -> Carry:
    value, grad = jax.value_and_grad(problem.value_fn(args))(x)
    value = numerics.cast(value, numerics.wide(value.dtype))
    norm, zero, one = _norm(grad), jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32)
    status = _status(value, norm, tol, False)
    best = (value, norm)
    carry = Carry(
        x, tx.init(x), value, grad, norm, zero, one, status, best, zero, status == -2, None
    )
    if size is None:
        return carry

    def buffer(leaf: Any) -> Any:
        return jnp.full((size + 1, *leaf.shape), jnp.nan, leaf.dtype)

    dtype = numerics.scalar_dtype(value)
    point = Trace(x, value, norm, jnp.zeros((), dtype))
    return _recorded(carry._replace(trace=jax.tree.map(buffer, point)))


def _recorded(carry: Carry) -> Carry:
    if carry.trace is None:
        return carry
    count = carry.evaluations.astype(carry.trace.evaluations.dtype)
    now = Trace(carry.x, carry.value, carry.norm, count)
    kept = jax.tree.map(lambda buffer, leaf: buffer.at[carry.steps].set(leaf), carry.trace, now)
    return carry._replace(trace=kept)


def proceed(problem: Problem, tx: Any, carry: Carry, args: Any, tol: Any, limit: Any) -> Carry:
    """Steps until the end, or until ``limit`` of them."""
    value_fn = problem.value_fn(args)
    extras: dict[str, Any] = {"value_fn": value_fn}
    if "residual_fn" in extras_taken(tx):
        extras["residual_fn"] = problem.residual_fn(args)

    def more(carry: Carry) -> Any:
        return (carry.status == RUNNING) & (carry.steps < limit)

    def step(carry: Carry) -> Carry:
        now = {"value": carry.value, "grad": carry.grad}
        x, state = tx.apply(carry.x, carry.state, carry.grad, **now, **extras)
        search, trials = _search(tx, state), _trials(state)
        still = _same(x, carry.x)
        if search is None or search.grad is None:
            value, grad = jax.value_and_grad(value_fn)(x)
            evaluations = trials + 1
        else:
            evaluations = trials
            value = jnp.where(still, carry.value, search.value.astype(carry.value.dtype))
            grad = jax.tree.map(
                lambda g, old: jnp.where(still, old, g.astype(old.dtype)), search.grad, carry.grad
            )
        value = numerics.cast(value, carry.value.dtype)
        norm = _norm(grad)
        better = (value < carry.best[0]) | (norm < carry.best[1])
        stalled = jnp.where(better, 0, carry.stalled + 1)
        # The direction restarts after a search that found none, so that the next may find one.
        twice = still & carry.still
        searches = search is not None or isinstance(trials, jax.Array)
        stuck = twice | (stalled >= _PATIENCE) if searches else False
        status = _status(value, norm, tol, stuck)
        ok = status != NON_FINITE
        new = (x, value, grad, norm)
        old = (carry.x, carry.value, carry.grad, carry.norm)
        x, value, grad, norm = jax.tree.map(lambda n, o: jnp.where(ok, n, o), new, old)
        best = jnp.minimum(value, carry.best[0]), jnp.minimum(norm, carry.best[1])
        steps, count = carry.steps + 1, carry.evaluations + evaluations
        return _recorded(
            Carry(
                x, state, value, grad, norm, steps, count, status, best, stalled, still, carry.trace
            )
        )

    return lax.while_loop(more, step, carry)


@functools.partial(jax.jit, static_argnums=(0, 6))
def solve(
    problem: Problem, tx: Any, x: Any, args: Any, tol: Any, limit: Any, size: int | None
) -> Carry:
    return proceed(problem, tx, begin(problem, tx, x, args, tol, size), args, tol, limit)


@functools.partial(jax.jit, static_argnums=(0,))
def auxiliary(problem: Problem, x: Any, args: Any) -> Any:
    """The auxiliary output at a point."""
    return problem.call(x, args)[1]


begin_alone = jax.jit(begin, static_argnums=(0, 5))
proceed_alone = jax.jit(proceed, static_argnums=(0,))


# ---- the state of a line search ----------------------------------------------------------------


class _Search(NamedTuple):
    """What a line search that ends the chain has found."""

    value: Any
    grad: Any


def _search(tx: Any, state: Any) -> _Search | None:
    """The line search that is last in the chain, of gradkit or of optax; None where none is."""
    members = tx.members
    last: Any = state.inner.get(members[-1].name) if members else None
    while isinstance(last, tuple) and last and not hasattr(last, "_fields"):
        last = last[-1]  # the state of a chain of optax
    found = _fields(last)
    if found.keys() != {"learning_rate", "value", "grad", "info"}:
        return None
    return _Search(found["value"], found["grad"])


def _trials(state: Any) -> Any:
    """The evaluations in the last update, as the states of searches count them; 0 without one."""
    total: Any = 0
    if isinstance(state, (dict, tuple)):
        fields = _fields(state)
        for name in ("num_linesearch_steps", "evaluations"):
            if name in fields:
                return jnp.asarray(fields[name], jnp.int32)
        for part in fields.values() if fields else state:
            total = total + _trials(part)
    return total


def _fields(state: Any) -> dict[str, Any]:
    """A state's fields by name; none where they have no names."""
    if hasattr(state, "_asdict"):
        state = state._asdict()
    return state if isinstance(state, dict) else {}


# ---- scalars of the loop -----------------------------------------------------------------------


def _norm(grad: Any) -> Any:
    """The largest magnitude of an element."""
    dtype = numerics.scalar_dtype(grad)
    sizes = [jnp.max(jnp.abs(x), initial=0).astype(dtype) for x in jax.tree.leaves(grad)]
    return jnp.max(jnp.stack(sizes)) if sizes else jnp.zeros((), dtype)


def _same(a: Any, b: Any) -> Any:
    same = [jnp.all(x == y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    return jnp.all(jnp.stack(same)) if same else jnp.ones((), bool)


def _status(value: Any, norm: Any, tol: Any, stuck: Any) -> Any:
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
    going = jnp.where(stuck, NO_DESCENT, RUNNING)
    done = jnp.where(norm <= tol, CONVERGED, going)
    return jnp.where(finite, done, NON_FINITE).astype(jnp.int32)
