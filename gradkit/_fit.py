"""Train with evaluations and early stopping, as one compiled loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._early_stopping import EarlyStopping, early_stopping, one_score
from gradkit._rule import _Shown
from gradkit._step import Step
from gradkit.typing import OptState, Params, PyTree


class FitResult(NamedTuple):
    """Report a training run: the best weights, the last ones, and the curves.

    Attributes:
      best_params: the weights with the best score; those of the start where no score is a number.
      best_score: their score.
      best_step: the number of updates that made them; −1 where no score is a number.
      params: the last weights.
      state: the last optimizer state.
      steps: the number of updates.
      stopped: whether early stopping ended the run.
      losses: the loss of each update, an array (steps,). NaN after the end.
      scores: what ``evaluate`` returned, with a leading axis of evaluations. NaN after the end.
      eval_steps: the number of updates before each evaluation, int32.
    """

    best_params: Params
    best_score: jax.Array
    best_step: jax.Array
    params: Params
    state: OptState
    steps: jax.Array
    stopped: jax.Array
    losses: jax.Array
    scores: PyTree
    eval_steps: jax.Array

    def __repr__(self) -> str:
        """Arrays by dtype and shape, scalars by value."""
        fields = jax.tree.map(_Shown, self)._asdict()
        return f"FitResult({', '.join(f'{k}={v}' for k, v in fields.items())})"


def fit(
    step: Step | Callable[..., Any],
    params: Params,
    batches: Callable[[jax.Array], PyTree],
    evaluate: Callable[[Params], PyTree],
    *,
    steps: int,
    eval_every: int = 1,
    stop: EarlyStopping | None = None,
    monitor: str | None = None,
    state: OptState | None = None,
    eval_params: Callable[[OptState, Params], Params] | None = None,
) -> FitResult:
    """Train with evaluations, early stopping and the best weights kept, as one compiled loop.

    **Update rule** ``params, state, loss = step(params, state, *batches(t))`` for t = 0, 1, ...;
    after every ``eval_every`` updates, and after the last, ``stop`` is given
    ``evaluate(params)``, and the loop ends where it says so. Nothing is sent to the host.

    Under ``vmap`` each member of a population stops by itself. The loop is compiled at every call:
    to train again with other data or hyperparameters, put the call into a function under ``jit``.

    Args:
      step: a ``Step`` of ``make_step``, or any function of ``(params, state, *batch)`` that returns
        ``(params, state, loss, ...)``; what follows the loss is left out.
      params: the weights at the start; they are not donated.
      batches: a function of the step, int32, that returns a batch. A tuple is spread over the
        arguments of ``step``. For random batches, fold the step into a key.
      evaluate: a function of the weights that returns a score, or a dict of them.
      steps: the most updates, ≥ 1.
      eval_every: the number of updates between evaluations, ≥ 1.
      stop: an ``early_stopping(...)``, whose patience counts evaluations; None keeps the weights of
        the lowest score and does not stop.
      monitor: the name of the score to judge by, where ``evaluate`` returns a dict.
      state: the optimizer state at the start; None begins with ``step.init(params)``.
      eval_params: a function of ``(state, params)`` that returns the weights to evaluate and to
        keep, such as ``functools.partial(gk.eval_params, tx)``; None takes ``params``.

    Returns:
      a ``FitResult``, whose arrays have fixed sizes.

    Raises:
      ValueError: ``steps`` or ``eval_every`` < 1, a score that is not one number, no ``monitor`` or
        an unknown one, no ``state`` for a ``step`` that is a function, a ``step`` that changes a
        structure, shape or dtype.
      TypeError: what is not a function or not an ``EarlyStopping``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> step = gk.make_step(lambda w, y: (w - y) ** 2, gk.sgd(0.05))
      >>> run = gk.fit(step, jnp.array(0.0), lambda t: 2.0, lambda w: (w - 1.0) ** 2,
      ...              steps=100, stop=gk.early_stopping(patience=3))
      >>> int(run.best_step), int(run.steps), bool(run.stopped)
      (7, 10, True)
      >>> assert run.best_score == jnp.nanmin(run.scores) and abs(run.best_params - 1.0) < 0.05
    """
    with check.inside("fit"):
        check.function(step=step)
        check.arity(1, "the step", batches=batches)
        check.arity(1, "params", evaluate=evaluate)
        if eval_params is not None:
            check.arity(2, "(state, params)", eval_params=eval_params)
        for name, count in {"steps": steps, "eval_every": eval_every}.items():
            if isinstance(count, jax.core.Tracer):
                fix = "Make it static: jax.jit(..., static_argnames=...)"
                check.refuse(f"{name} is traced", expected="an integer", fix=fix, error=TypeError)
            check.integer(1, **{name: count})
        if stop is not None and not isinstance(stop, EarlyStopping):
            fix = "Pass gk.early_stopping(patience)"
            problem = f"stop={check.shown(stop)} is not an EarlyStopping"
            check.refuse(problem, fix=fix, error=TypeError)
        check.tree_of_arrays(params, "params")
        if state is None:
            if not isinstance(step, Step):
                fix = "Pass state=tx.init(params), or a step of make_step"
                check.refuse("state=None, and step is a function", fix=fix)
            state = step.init(params)
    kept = eval_params or (lambda state, params: params)
    start = (numerics.strong(params), numerics.strong(state))
    run = _Run(step, batches, evaluate, kept, monitor, stop or early_stopping(None))
    return run(start, int(steps), int(eval_every))


class _Run(NamedTuple):
    """The functions of a run."""

    step: Callable[..., Any]
    batches: Callable[..., Any]
    evaluate: Callable[..., Any]
    kept: Callable[..., Any]
    monitor: str | None
    stop: EarlyStopping

    def __call__(self, start: Any, steps: int, every: int) -> FitResult:
        count = -(-steps // every)
        _, loss = jax.eval_shape(self._advance, start, jnp.zeros((), jnp.int32))
        scores = jax.eval_shape(lambda start: self._judge(start)[1], start)
        losses = jnp.full((steps,), jnp.nan, loss.dtype)
        curves = jax.tree.map(lambda x: jnp.full((count, *x.shape), jnp.nan, x.dtype), scores)

        def more(carry: Any) -> Any:
            i, _, best, *_ = carry
            return (i < count) & ~best.should_stop

        def one(t: Any, carry: Any) -> Any:
            now, losses = carry
            now, loss = self._advance(now, t)
            return now, losses.at[t].set(loss)

        def several(carry: Any) -> Any:
            i, now, best, losses, curves = carry
            begin = i * every
            # Of a known length where that is so: then vmap selects no weights inside.
            length = every if steps % every == 0 else jnp.minimum(every, steps - begin)
            body = lambda j, carry: one(begin + j, carry)
            now, losses = lax.fori_loop(0, length, body, (now, losses))
            weights, scores = self._judge(now)
            score = self._monitored(scores)
            best = self.stop.update(best, score, weights, step=begin + length)
            curves = jax.tree.map(lambda curve, x: curve.at[i].set(x), curves, scores)
            return i + 1, now, best, losses, curves

        best = self.stop.init(self.kept(start[1], start[0]))
        carry = (jnp.zeros((), jnp.int32), start, best, losses, curves)
        i, (params, state), best, losses, curves = lax.while_loop(more, several, carry)
        return FitResult(
            best_params=best.best_params,
            best_score=best.best_score,
            best_step=best.best_step,
            params=params,
            state=state,
            steps=jnp.minimum(i * every, steps),
            stopped=best.should_stop,
            losses=losses,
            scores=curves,
            eval_steps=jnp.asarray(np.minimum(np.arange(1, count + 1) * every, steps), jnp.int32),
        )

    def _advance(self, now: Any, t: Any) -> tuple[Any, jax.Array]:
        """Weights and state after a step, and its loss."""
        batch = self.batches(t)
        found = self.step(*now, *(batch if type(batch) is tuple else (batch,)))
        if not isinstance(found, tuple) or len(found) < 3:
            problem = f"step returned {check.kind_of(found)}"
            with check.inside("fit"):
                check.refuse(problem, expected="(params, state, loss, ...)", error=TypeError)
        params, state, loss = found[:3]
        for what, new, old in zip(("params", "state"), (params, state), now, strict=True):
            _like(what, new, old)
        with check.inside("fit"):
            return numerics.strong((params, state)), one_score("the loss that step returned", loss)

    def _judge(self, now: Any) -> tuple[Any, Any]:
        """The weights to keep, and their scores as floating arrays."""
        params, state = now
        weights = self.kept(state, params)
        scores = self.evaluate(weights)
        with check.inside("fit"):
            scores = jax.tree.map(_floating, scores, is_leaf=lambda x: x is None)
            self._monitored(scores)
        return weights, scores

    def _monitored(self, scores: Any) -> Any:
        if isinstance(scores, dict):
            if self.monitor not in scores:
                problem = f"monitor={check.shown(self.monitor)} is not a name that evaluate returns"
                check.refuse(problem, expected=f"one of {', '.join(map(repr, scores))}")
            scores = scores[self.monitor]
        elif self.monitor is not None:
            problem = f"monitor={check.shown(self.monitor)}, and evaluate returned no dict"
            check.refuse(problem, fix="Return {name: score, ...}, or leave monitor out")
        what = "what evaluate returned" if self.monitor is None else f"evaluate's {self.monitor!r}"
        return one_score(what, scores)


def _floating(x: Any) -> jax.Array:
    if check.dtype_of(x) is None:
        problem = f"evaluate returned {check.kind_of(x)}"
        check.refuse(problem, expected="a number, or a dict of numbers", error=TypeError)
    found = jnp.asarray(x)
    return found if jnp.issubdtype(found.dtype, jnp.inexact) else found.astype(float)


def _like(what: str, new: Any, old: Any) -> None:
    """Refuse a step that changes the structure, a shape or a dtype of what the loop carries."""
    have: Any = jax.tree.structure(new)
    with check.inside("fit"):
        if have != jax.tree.structure(old):
            expected = f"{jax.tree.structure(old)}, as at the start"
            check.refuse(f"step returned the {what} {have}", expected=expected)
        leaves = jax.tree_util.tree_leaves_with_path(new)
        for (path, leaf), before in zip(leaves, jax.tree.leaves(old), strict=True):
            if np.shape(leaf) != before.shape or jax.dtypes.result_type(leaf) != before.dtype:
                problem = f"step returned {check.shape_dtype(leaf)} for this leaf of {what}"
                expected = f"{check.shape_dtype(before)}, as at the start"
                check.refuse(problem, expected=expected, path=check.keystr(path))
