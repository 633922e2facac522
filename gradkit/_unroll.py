"""Training as a pure function whose derivatives are those of the whole run."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._differentiable import forward_only, is_transposable, no_derivative
from gradkit._restore import conform
from gradkit._rule import Rule, _Shown
from gradkit._step import advance, check_loss_and_transform, explain
from gradkit._transform import Transform
from gradkit.typing import OptState, Params, PyTree


class UnrollResult(NamedTuple):
    """Report an unrolled training run.

    Attributes:
      params: the parameters after the last step.
      state: the optimizer state after the last step.
      losses: the loss of each step, before its update, an array (steps,).
      aux: what ``loss_fn`` returned besides, with a leading axis of steps; None without
        ``has_aux``.
    """

    params: Params
    state: OptState
    losses: jax.Array
    aux: PyTree

    def __repr__(self) -> str:
        """Arrays by dtype and shape, scalars by value."""
        fields = jax.tree.map(_Shown, self)._asdict()
        return f"UnrollResult({', '.join(f'{k}={v}' for k, v in fields.items())})"


def unroll(
    loss_fn: Callable[..., Any],
    tx: Transform,
    params: Params,
    batches: PyTree | Callable[[jax.Array], PyTree] = None,
    *,
    steps: int | None = None,
    state: OptState | None = None,
    has_aux: bool = False,
    extras: Callable[..., dict[str, Any]] | None = None,
    checkpoint_every: int | Literal["sqrt"] | None = "sqrt",
) -> UnrollResult:
    """Train as a pure function, for hypergradients: derivatives through the whole training run.

    **Update rule** for t = 0, 1, ...: ``grad = ∇loss_fn(params, *batches[t])``, then
    ``params, state = tx.apply(params, state, grad)``, in a ``lax.scan``.

    The result is differentiable with respect to every float of ``tx``, those of its schedules
    included, to ``params``, ``state``, ``batches``, and to what ``loss_fn`` closes over. A
    transform is a pytree, so ``jax.grad`` with respect to ``tx`` returns a transform that holds the
    derivatives: ``grads.learning_rate``. ``vmap`` trains populations.

    In reverse mode (``jax.grad``) the run keeps the parameters and the state at √n of n steps, and
    computes every step a second time. In forward mode (``jax.jvp``, ``jax.jacfwd``) it keeps
    nothing, and the time is in proportion to the number of hyperparameters.

    Args:
      loss_fn: ``loss_fn(params, *batch) -> loss``, or ``(loss, aux)`` with ``has_aux``.
      tx: the optimizer.
      params: the parameters at the start.
      batches: a tree of arrays with a leading axis of steps; or a function of the step, int32, that
        returns a batch, and ``steps``; or None for a loss without data, and ``steps``. A tuple is
        spread over the arguments of ``loss_fn``.
      steps: the number of updates, ≥ 1; by default the length of ``batches``.
      state: the optimizer state at the start; None begins with ``tx.init(params)``.
      has_aux: whether ``loss_fn`` returns a pair.
      extras: ``extras(params, *batch)`` returns a dict of extra arguments for the transforms.
        ``value``, ``grad`` and ``value_fn`` are passed without it.
      checkpoint_every: the number of steps between those that reverse mode keeps, ≥ 1; ``"sqrt"``
        for about √n; None keeps all that the derivative needs of every step.

    Returns:
      an ``UnrollResult``.

    Raises:
      ValueError: batches of different lengths, no steps, ``checkpoint_every`` < 1.
      TypeError: a loss that is not a function or not one number, an optimizer that is not a
        transform; when it is differentiated: a transform whose derivatives are not those of its
        updates (line searches, ``soap``, ``psgd_kron``, ``galore``, ``newton_cg``,
        ``levenberg_marquardt``, state in 8-bit integers), and in reverse mode a transform of your
        own with a ``while_loop``.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> def final_loss(tx):
      ...     run = gk.unroll(lambda w: w**2, tx, jnp.array(1.0), steps=3)
      ...     return run.params**2
      >>> grads = jax.grad(final_loss)(gk.sgd(0.25))  # w ← (1 − 2α) w, so w = (1 − 2α)³
      >>> assert jnp.isclose(grads.learning_rate, -12 * (1 - 2 * 0.25) ** 5)

    Reference: Maclaurin et al. 2015, "Gradient-based hyperparameter optimization through reversible
      learning"; Franceschi et al. 2017, "Forward and reverse gradient-based hyperparameter
      optimization".
    """
    with check.inside("unroll"):
        check_loss_and_transform(loss_fn, tx)
        check.boolean(has_aux=has_aux)
        check.tree_of_arrays(params, "params")
        if extras is not None:
            check.function(extras=extras)
        count = _count(batches, steps)
        every = _every(checkpoint_every, count)
    if callable(batches):
        batch_at, rows = batches, jnp.arange(count, dtype=jnp.int32)
    else:
        batch_at, rows = (lambda row: row), batches

    def step(now: Any, row: Any) -> tuple[Any, Any]:
        batch = batch_at(row)
        args = () if batch is None else batch if type(batch) is tuple else (batch,)
        given = _given(extras, now[0], args)
        try:
            new_params, new_state, value = advance(loss_fn, tx, has_aux, now, (args, {}), given)
        except (TypeError, ValueError) as error:
            if not check.is_ours(error):
                fix = "It is called as loss_fn(params, *batch); only a tuple is spread"
                with check.inside("unroll"):
                    explain(loss_fn, has_aux, now[0], (args, {}, {}), fix)
            raise
        return numerics.strong((new_params, new_state)), value

    start = numerics.strong((params, tx.init(params) if state is None else conform(state)))
    (last, final), values = _scan(step, start, rows, count, every)
    losses, aux = values if has_aux else (values, None)
    result = UnrollResult(last, final, losses, aux)
    if held := [*_held_fixed(tx), *_integers(final)]:
        return UnrollResult(*no_derivative(tuple(result), lambda: _refuse_derivative(held)))
    own = [path for path, rule in _rules(tx) if _is_unknown(rule)]
    if own and not is_transposable(lambda start: step(start, _first(rows))[0], start):
        return UnrollResult(*forward_only(tuple(result), lambda: _refuse_reverse(own)))
    return result


def _count(batches: Any, steps: Any) -> int:
    """The number of updates."""
    if steps is not None:
        check.integer(1, steps=steps)
    leaves = [] if callable(batches) else jax.tree_util.tree_leaves_with_path(batches)
    if not leaves:
        if steps is None:
            problem = "steps=None, and batches is a function" if batches else "steps=None"
            check.refuse(problem, expected="the number of updates, steps=...")
        return int(steps)
    length, first = int(steps or 0), "steps"
    for path, leaf in leaves:
        where = check.keystr(path) if path else "batches"
        if not np.ndim(leaf):
            problem = f"this leaf of batches is {check.kind_of(leaf)}"
            expected = "an array with a leading axis of steps"
            check.refuse(problem, expected=expected, path=where)
        size = np.shape(leaf)[0]
        if not size:
            problem = f"this leaf {check.shape_dtype(leaf)} has no steps"
            check.refuse(problem, path=where)
        if length and size != length:
            problem = f"this leaf of batches has {size} steps"
            check.refuse(problem, expected=f"{length}, as {first} has", path=where)
        length, first = size, first if length else where
    return length


def _given(extras: Any, params: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """The extra arguments of a step."""
    found = {} if extras is None else extras(params, *args)
    if not isinstance(found, dict):
        with check.inside("unroll"):
            problem = f"extras returned {check.kind_of(found)}"
            check.refuse(problem, expected="a dict of extra arguments by name", error=TypeError)
    return found


def _every(checkpoint_every: Any, count: int) -> int:
    """The number of steps in a segment; that of all where nothing is computed again."""
    if checkpoint_every is None:
        return count
    if isinstance(checkpoint_every, str):
        check.one_of(("sqrt",), checkpoint_every=checkpoint_every)
        root = math.sqrt(count)
        # A divisor, if one is near: the rest would be compiled as a second loop.
        near = [d for d in range(math.ceil(root / 2), int(2 * root) + 1) if count % d == 0]
        return min(near, key=lambda d: d + count // d, default=round(root))
    check.integer(1, checkpoint_every=checkpoint_every)
    return int(checkpoint_every)


def _scan(step: Any, start: Any, rows: Any, count: int, every: int) -> tuple[Any, Any]:
    """``lax.scan`` in segments, of which reverse mode keeps the beginnings."""
    if every >= count:
        return lax.scan(step, start, rows, length=count)

    def segment(now: Any, rows: Any, length: int = every) -> tuple[Any, Any]:
        return lax.scan(step, now, rows, length=length)

    number, rest = divmod(count, every)
    whole = jax.tree.map(
        lambda x: jnp.reshape(x[: number * every], (number, every, *np.shape(x)[1:])), rows
    )
    now, found = lax.scan(jax.checkpoint(segment, prevent_cse=False), start, whole, length=number)
    found = jax.tree.map(lambda x: jnp.reshape(x, (number * every, *x.shape[2:])), found)
    if not rest:
        return now, found
    last = jax.checkpoint(lambda now, rows: segment(now, rows, rest))
    now, more = last(now, jax.tree.map(lambda x: x[number * every :], rows))
    return now, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), found, more)


def _first(rows: Any) -> Any:
    return jax.tree.map(lambda x: x[0], rows)


# ---- what has no derivative, or not in reverse mode ---------------------------------------------


def _rules(tx: Transform, where: str = "") -> Iterator[tuple[str, Rule]]:
    """The rules of a transform and of every part inside them, by the path of names."""
    for member in tx.members:
        path = f"{where}.{member.path or tx.factory.__name__}".strip(".")
        yield path, member.rule
        for part in member.rule.parts:
            yield from _rules(part.transform, f"{path}.{part.name}".strip("."))


def _held_fixed(tx: Transform) -> Iterator[str]:
    for path, rule in _rules(tx):
        if rule.held_fixed:
            yield f"{path} holds {rule.held_fixed} fixed"


def _integers(state: Any) -> Iterator[str]:
    """State that is stored in a few bits, through which no derivative passes."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jnp.integer) and leaf.dtype.itemsize == 1 and leaf.size:
            yield f"{check.keystr(path)} is stored in {leaf.dtype}"
            return


def _refuse_derivative(held: list[str]) -> Any:
    with check.inside("unroll"):
        check.refuse(
            f"the derivatives would not be those of the run: {', '.join(held)}",
            fix="Take differences of two runs, choose another transform (such as a fixed "
            "learning_rate in place of a line search), or apply jax.lax.stop_gradient to what "
            "goes in",
            error=TypeError,
        )


def _is_unknown(rule: Any) -> bool:
    """Whether a rule is not gradkit's, so that nothing is known of its derivatives."""
    module = getattr(rule.update, "__module__", None) or ""
    return rule.foreign or not module.startswith("gradkit.")


def _refuse_reverse(names: list[str]) -> Any:
    with check.inside("unroll"):
        which = "" if len(names) == 1 else "one of "
        check.refuse(
            f"{which}{', '.join(names)} has a while_loop, which has no derivative in reverse mode",
            fix="Use forward mode: jax.jvp, jax.jacfwd",
            error=TypeError,
        )
