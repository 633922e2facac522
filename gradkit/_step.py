"""The doors of a training loop: a jitted step, and a look at the hyperparameters."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._link import Links, State
from gradkit._schedule import Schedule
from gradkit._transform import Transform, evaluation


class Step:
    """What `make_step` returns: ``step(params, state, *args, **kwargs) -> (params, state, loss[, aux])``."""

    def __init__(self, tx: Transform, run: Callable[..., Any]):
        self.tx = tx
        self._run = run
        # On the device once, not at every call.
        self._data = jax.tree.map(jnp.asarray, tx)

    def __call__(self, params: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
        return self._run(params, state, self._data, args, kwargs)

    def replace(self, changes: dict[str, Any] | None = None, /, **more: Any) -> "Step":
        """The step of ``tx.replace(...)``, which shares this one's compilations."""
        return Step(self.tx.replace(changes, **more), self._run)

    def __repr__(self) -> str:
        return f"<step of {self.tx!r}>"


def make_step(loss_fn: Callable[..., Any], tx: Transform, has_aux: bool = False) -> Step:
    """A jitted, donating training step.

    **Rule** ``value, grad = value_and_grad(loss_fn)(params, *args, **kwargs)``, then ``tx.apply(params, state, grad)``; ``value``, ``grad`` and
    ``value_fn`` are passed to the links that ask for them.

    Args:
      loss_fn: ``loss_fn(params, *args, **kwargs) -> loss``, or ``(loss, aux)`` with ``has_aux``.
      tx: the optimizer. Its floats are data of the compiled step: ``step.replace(learning_rate=...)`` does not compile again.
      has_aux: whether ``loss_fn`` returns a pair.

    Returns:
      a `Step`, called as ``step(params, state, *args, **kwargs)``, which returns ``(params, state, loss)``, or ``(params, state, loss, aux)``.
      ``params`` and ``state`` are donated: their buffers are reused, so keep only what the step returns.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> step = gk.make_step(lambda w, x: jnp.sum((w - x) ** 2), gk.sgd(0.25))
      >>> w, state = jnp.zeros(2), step.tx.init(jnp.zeros(2))
      >>> w, state, loss = step(w, state, jnp.array([1.0, 2.0]))
      >>> assert w.tolist() == [0.5, 1.0] and loss == 5.0 and state.step == 1
    """
    if not isinstance(tx, Transform):
        check.fail("make_step needs a gradkit transform", repr(tx), "An optax one becomes one by chain(tx)", path="tx", error=TypeError)

    @partial(jax.jit, donate_argnums=(0, 1))
    def run(params: Any, state: Any, tx: Transform, args: Any, kwargs: Any) -> Any:
        def value_fn(params: Any) -> Any:
            value = loss_fn(params, *args, **kwargs)
            return value[0] if has_aux else value

        value, grads = jax.value_and_grad(loss_fn, has_aux=has_aux)(params, *args, **kwargs)
        loss = value[0] if has_aux else value
        params, state = tx.apply(params, state, grads, value=loss, grad=grads, value_fn=value_fn)
        return (params, state, *value) if has_aux else (params, state, value)

    return Step(tx, run)


def hyperparameters(tx: Transform, state: Any) -> dict[str, Any]:
    """The current value of every number in a transform, by dotted path; schedules are evaluated at the state's step.

    This is how to log a learning rate: it is a dict of scalars, also under jit.

    Args:
      tx: the transform, and
      state: its state (from ``init`` or ``update``).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.clip_by_global_norm(1.0), gk.sgd(gk.linear_schedule(0.5, 0.0, 10), momentum=0.9))
      >>> {path: float(value) for path, value in gk.hyperparameters(tx, tx.init(jnp.zeros(2))).items()}
      {'clip_by_global_norm.max_norm': 1.0, 'sgd.learning_rate': 0.5, 'sgd.momentum': 0.9}
    """
    if not hasattr(state, "step"):
        check.fail(
            "hyperparameters needs the state of the transform", type(state).__name__, "Pass what tx.init or tx.update returned", path="state", error=TypeError
        )
    found: dict[str, Any] = {}

    def numbers(part: Transform, at: str, step: Any) -> None:
        for name, value in part.arguments.items():
            if isinstance(value, Schedule):
                found[at + name] = value(step)
            elif numerics.is_number(value):
                found[at + name] = value

    def look(part: Transform, at: str, step: Any, memory: Any, names: Iterator[str], seen: bool = True) -> None:
        """Follow the links in their order; what a recipe stands for is followed for its memory, but its own arguments are shown."""
        body = part.body
        if seen:
            numbers(part, at, step)
        if isinstance(body, Links):
            for name, (given, child) in zip(part.children(), body, strict=True):
                if given is None:
                    look(child, f"{at}{name}.", step, memory, names, seen)
                else:
                    kept = memory.get(next(names), {})
                    look(child, f"{at}{name}.", step, kept, iter([link.name for link in child.links]), seen)
        elif isinstance(body, Transform):
            look(body, at, step, memory, names, seen=False)
        else:
            kept = memory.get(next(names), ()) if isinstance(memory, dict) else ()
            clock = next((part for part in _states(kept)), None)
            for name, child in part.children().items():
                if isinstance(child, Transform) and seen:
                    inside = (step, {}) if clock is None else (clock.step, clock.memory)
                    look(child, f"{at}{name}.", *inside, iter([link.name for link in child.links]))

    look(tx, "", state.step, state.memory, iter([link.name for link in tx.links]))
    return found


def _states(memory: Any) -> list[State]:
    """The inner clocks in a link's memory."""
    return [part for part in jax.tree.leaves(memory, is_leaf=lambda x: isinstance(x, State)) if isinstance(part, State)]


def eval_params(tx: Transform, state: Any, params: Any) -> Any:
    """The weights to evaluate with, where the optimizer keeps other ones than those it trains.

    **Rule** what the one link that keeps evaluation weights makes of its memory and ``params``, through any nesting.

    Args:
      tx: the transform, and
      state: its state.
      params: the parameters in training.

    Raises:
      ValueError: no link keeps evaluation weights, or several do.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> @gk.transform
      ... def remember_first():
      ...     init = lambda params: {"first": params}
      ...     return gk.Rule(init, lambda updates, memory, params: (updates, memory), evaluate=lambda memory, params: memory["first"])
      >>> tx = gk.chain(gk.sgd(0.5), remember_first())
      >>> w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> w, state = tx.apply(w, state, jnp.ones(1))
      >>> assert w[0] == -0.5 and gk.eval_params(tx, state, w)[0] == 0.0
    """
    with check.inside("eval_params"):
        evaluate = evaluation(tx.links)
        if evaluate is None:
            check.fail("needs a transform that keeps evaluation weights", repr(tx), "Wrap it with an average of the weights, or use params as they are")
    weights = evaluate(state.memory, params)
    return jax.tree.map(lambda w, p: numerics.cast(w, jax.dtypes.result_type(p)), weights, params)
