"""The doors of a training loop: a jitted step, and a look at the hyperparameters."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import Schedule
from gradkit._transform import Transform


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

    def look(part: Any, at: str) -> None:
        children = part.children()
        for name, value in part.arguments.items():
            if isinstance(value, Schedule):
                found[at + name] = value(state.step)
            elif numerics.is_number(value):
                found[at + name] = value
        for name, child in children.items():
            if isinstance(child, Transform):
                look(child, f"{at}{name}.")

    look(tx, "")
    return found
