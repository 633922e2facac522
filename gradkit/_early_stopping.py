"""Early stopping: the best weights, and when to stop, as a pytree that runs under jit."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._rule import _Shown
from gradkit.typing import Params, PyTree, Scalar


class EarlyStoppingState(NamedTuple):
    """Keep the best weights so far, their score, and how long ago they were found.

    Attributes:
      best_score: the best score; the worst infinity before there is one.
      best_step: its step; −1 before there is one.
      best_params: the weights that had it; those of ``init`` before there is one.
      evaluations: the number of updates.
      wait: the number of updates since the last improvement.
      should_stop: whether to stop. The state does not change any more once it is True.
      has_improved: whether the last score became the best.
    """

    best_score: jax.Array
    best_step: jax.Array
    best_params: PyTree
    evaluations: jax.Array
    wait: jax.Array
    should_stop: jax.Array
    has_improved: jax.Array

    def __repr__(self) -> str:
        """Arrays by dtype and shape, scalars by value."""
        fields = jax.tree.map(_Shown, self)._asdict()
        return f"EarlyStoppingState({', '.join(f'{k}={v}' for k, v in fields.items())})"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Decide when to stop, with the rule that ``early_stopping`` makes.

    A pytree: its numbers are data, so that a compiled function takes it as an argument and ``vmap``
    maps over patiences.

    Attributes:
      patience: how many scores in a row may fail to improve; None for any number.
      min_delta: what counts as an improvement.
      baseline: a score that must be beaten, or None.
      start_from: how many scores at the beginning are ignored.
      mode: ``"min"`` or ``"max"``.
    """

    patience: Any
    min_delta: Any
    baseline: Any
    start_from: Any
    mode: str = dataclasses.field(metadata={"static": True})

    def init(self, params: Params = None) -> EarlyStoppingState:
        """Begin, with a copy of the parameters, so that a training step may donate them.

        Args:
          params: a tree of arrays like those that ``update`` is given: weights, or a tuple of
            weights and running statistics. None keeps none.

        Returns:
          the state before the first score.
        """
        with check.inside("EarlyStopping.init"):
            if params is not None:
                check.tree_of_arrays(params, "params")
            kept = jax.tree.map(_copied, params)
        worst = jnp.asarray(self._sign() * np.inf, float)
        zero, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
        return EarlyStoppingState(worst, zero - 1, kept, zero, zero, no, no)

    def update(
        self,
        state: EarlyStoppingState,
        score: Scalar,
        params: Params = None,
        *,
        step: Scalar | None = None,
    ) -> EarlyStoppingState:
        """Take the score of the current parameters into account.

        Args:
          state: the state.
          score: one real number. NaN is no improvement.
          params: the parameters that have the score; None where ``init`` had None.
          step: the number that ``best_step`` keeps, such as the training step; by default the
            number of earlier updates.

        Returns:
          the next state.

        Raises:
          ValueError: a score that is not one number, parameters that differ from those of ``init``
            in structure or shape.
          TypeError: a score that is not real, another dtype of a parameter.
        """
        with check.inside("EarlyStopping.update"):
            if not isinstance(state, EarlyStoppingState):
                fix = "The order is update(state, score, params)"
                problem = f"state={check.shown(state)} is not an EarlyStoppingState"
                check.refuse(problem, fix=fix, error=TypeError)
            found = one_score("score", score)
            if step is not None:
                _check_step(step)
            _like_init(state.best_params, params)
            return _update(self, state, found, params, step)

    def _sign(self) -> int:
        return 1 if self.mode == "min" else -1


@jax.jit
def _update(
    rule: EarlyStopping, state: EarlyStoppingState, score: Any, params: Any, step: Any
) -> EarlyStoppingState:
    sign, best = rule._sign(), state.best_score
    score = score.astype(best.dtype)
    min_delta = jnp.asarray(rule.min_delta, best.dtype)
    going = ~state.should_stop
    counts = going & (state.evaluations >= jnp.asarray(rule.start_from, jnp.int32))
    improved = counts & (sign * (best - score) > min_delta)
    restarts = improved
    if rule.baseline is not None:
        restarts &= sign * (jnp.asarray(rule.baseline, best.dtype) - score) > min_delta
    wait = jnp.where(restarts, 0, state.wait + counts.astype(jnp.int32))
    should_stop = state.should_stop
    if rule.patience is not None:
        patience = jnp.maximum(jnp.asarray(rule.patience, jnp.int32), 1)
        should_stop |= wait >= patience
    now = state.evaluations if step is None else jnp.asarray(step, jnp.int32)
    return EarlyStoppingState(
        best_score=jnp.where(improved, score, best),
        best_step=jnp.where(improved, now, state.best_step),
        best_params=jax.tree.map(
            lambda new, old: jnp.where(improved, new, old), params, state.best_params
        ),
        evaluations=state.evaluations + going.astype(jnp.int32),
        wait=wait,
        should_stop=should_stop,
        has_improved=jnp.where(going, improved, state.has_improved),
    )


def early_stopping(
    patience: int | None,
    *,
    min_delta: float = 0.0,
    mode: str = "min",
    baseline: float | None = None,
    start_from: int = 0,
) -> EarlyStopping:
    """Stop training when a score no longer improves, and keep the best weights, inside jit.

    **Update rule** the score s improves on the best s* if s* − s > ``min_delta`` (mode ``"min"``)
    or s − s* > ``min_delta`` (``"max"``); then s* ← s, θ* ← θ and ``wait`` ← 0, else ``wait`` ←
    ``wait`` + 1. Training should stop when ``wait`` ≥ ``patience``.

    **State** ``EarlyStoppingState``: a copy of the parameters (none with ``init(None)``) and six
    scalars. It is a pytree of fixed shapes, for the carry of ``lax.while_loop`` and ``scan``; under
    ``vmap`` each member of a population stops by itself. Once ``should_stop`` is True the state
    does not change, so a loop of fixed length ends with the result of one that stops.

    Args:
      patience: after how many scores in a row without improvement to stop, ≥ 0 (0 and 1 stop at the
        first). None never stops, and keeps the best weights.
      min_delta: the least improvement, ≥ 0, in the unit of the score.
      mode: ``"min"`` for losses and errors, ``"max"`` for accuracies.
      baseline: a score that must also be beaten, by ``min_delta``, for ``wait`` to become 0: a run
        that does not reach it within ``patience`` scores stops.
      start_from: how many scores at the beginning are ignored, ≥ 0.

    Returns:
      an ``EarlyStopping``, with ``init(params)`` and ``update(state, score, params)``.

    Raises:
      ValueError: ``patience``, ``min_delta`` or ``start_from`` < 0, an unknown mode, a
        ``min_delta`` or ``baseline`` that is not finite.
      TypeError: a ``patience`` or ``start_from`` that is not an integer.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> stopping = gk.early_stopping(patience=2)
      >>> state = stopping.init(jnp.array(0.0))
      >>> for w, loss in enumerate([3.0, 1.0, 2.0, float("nan"), 0.0]):
      ...     state = stopping.update(state, loss, jnp.array(float(w)))
      >>> bool(state.should_stop), int(state.best_step), float(state.best_score)
      (True, 1, 1.0)
      >>> assert state.best_params == 1.0

    **Differs from Flax**: a ``patience`` of p there stops one score later, as p + 1 does here. NaN
    as the first score becomes the best there, and is never replaced.
    **Differs from Keras**: with ``baseline``, training stops ``patience`` scores after the start
    also where each of them improved on the last, as its documentation says.

    Reference: Prechelt 1998, https://doi.org/10.1007/3-540-49430-8_3.
    """
    with check.inside("early_stopping"):
        if patience is not None:
            patience = _count(patience=patience)
        start_from = _count(start_from=start_from)
        check.one_of(("min", "max"), mode=mode)
        min_delta = _number("min_delta", min_delta)
        check.non_negative(min_delta=min_delta)
        if baseline is not None:
            baseline = _number("baseline", baseline)
            check.finite(baseline=baseline)
    return EarlyStopping(
        patience=patience,
        min_delta=min_delta,
        baseline=baseline,
        start_from=start_from,
        mode=mode,
    )


def _count(**given: Any) -> Any:
    """An integer ≥ 0, or a traced one."""
    ((name, value),) = given.items()
    if isinstance(value, jax.core.Tracer):
        if value.ndim or not jnp.issubdtype(value.dtype, jnp.integer):
            problem = f"{name} is {check.shape_dtype(value)}"
            check.refuse(problem, expected="one integer", error=TypeError)
        return value
    check.integer(0, **given)
    return int(value)


def _number(name: str, value: Any) -> Any:
    """One real number, or a traced one."""
    found = check.as_number(name, value)
    if np.ndim(found):
        check.refuse(f"{name} is {check.shape_dtype(found)}", expected="one number")
    return found


def one_score(name: str, value: Any) -> jax.Array:
    """A score as a floating scalar of at least float32."""
    kind = check.dtype_of(value)
    real = kind is not None and any(
        jnp.issubdtype(kind, each) for each in (jnp.floating, jnp.integer, jnp.bool_)
    )
    if not real:
        problem = f"{name}={check.shown(value)} is not a number"
        check.refuse(problem, expected="one real number", error=TypeError)
    if np.shape(value) != ():
        problem = f"{name} is {check.shape_dtype(value)}"
        check.refuse(problem, expected="one number", fix="Take the mean, or map with jax.vmap")
    floating = jnp.issubdtype(kind, jnp.floating)
    return jnp.asarray(value, numerics.wide(kind) if floating else float)


def _check_step(step: Any) -> None:
    """An integer, by its dtype: its value may still be on its way from the device."""
    kind = check.dtype_of(step)
    if kind is None or not jnp.issubdtype(kind, jnp.integer) or np.shape(step) != ():
        problem = f"step={check.shown(step)} is not an integer"
        check.refuse(problem, expected="one integer", error=TypeError)


def _copied(leaf: Any) -> Any:
    if check.dtype_of(leaf) is None:
        problem = f"params has the leaf {check.shown(leaf)}"
        fix = "Split the model, as with eqx.partition(model, eqx.is_array) or nnx.split"
        check.refuse(problem, expected="arrays", fix=fix, error=TypeError)
    return jnp.array(leaf, jax.dtypes.result_type(leaf), copy=True)


def _like_init(kept: Any, params: Any) -> None:
    """Refuse parameters that are not like those that are kept."""
    have: Any = jax.tree.structure(params)
    if have != jax.tree.structure(kept):
        if params is None:
            fix = "Call update(state, score, params), or begin with init(None)"
            check.refuse("params is missing", expected="a tree like that of init", fix=fix)
        if kept is None:
            fix = "Begin with init(params), or call update(state, score)"
            check.refuse("params is given, and init had none", fix=fix)
        paths, wanted = _paths(params), _paths(kept)
        for other in sorted(paths ^ wanted):
            problem = "params has no leaf here" if other in wanted else "init had no leaf here"
            check.refuse(problem, expected="a tree like that of init", path=other)
        check.refuse(f"params is {have}", expected=f"{jax.tree.structure(kept)}, as in init")
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for (path, new), old in zip(leaves, jax.tree.leaves(kept), strict=True):
        same = np.shape(new) == np.shape(old)
        if not same or jax.dtypes.result_type(new) != old.dtype:
            problem = f"this leaf of params is {check.shape_dtype(new)}"
            expected = f"{check.shape_dtype(old)}, as in init"
            kind = TypeError if same else ValueError
            check.refuse(problem, expected=expected, path=check.keystr(path), error=kind)


def _paths(tree: Any) -> set[str]:
    return {check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}
