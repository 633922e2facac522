"""The doors of a training loop: a jitted step, and a look at the hyperparameters."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._call import Call
from gradkit._link import Links, State, evaluation, signature_of
from gradkit._schedule import Schedule
from gradkit._transform import Transform, asked_by


class Step:
    """What `make_step` returns: ``step(params, state, *args, **kwargs) -> (params, state, loss[, aux])``."""

    def __init__(self, tx: Transform, run: Callable[..., Any]):
        self.tx = tx
        self._run = run
        # On the device once, not at every call; every number as a Python number would be, so that its kind compiles nothing.
        self._data = jax.tree.map(lambda x: jnp.asarray(float(x) if _is_float(x) else x), tx)

    def __call__(self, params: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
        return self._run(params, state, self._data, args, kwargs)

    def replace(self, changes: dict[str, Any] | None = None, /, **more: Any) -> "Step":
        """The step of ``tx.replace(...)``, which shares this one's compilations."""
        return Step(self.tx.replace(changes, **more), self._run)

    def __repr__(self) -> str:
        return f"<step of {self.tx!r}>"


def _is_float(x: Any) -> bool:
    return (
        not isinstance(x, jax.core.Tracer)
        and np.ndim(x) == 0
        and jnp.issubdtype(jax.dtypes.result_type(x), jnp.floating)
    )


def make_step(
    loss_fn: Callable[..., Any], tx: Transform, has_aux: bool = False, *, donate: bool = True
) -> Step:
    """A jitted, donating training step.

    **Rule** ``value, grad = value_and_grad(loss_fn)(params, *args, **kwargs)``, then ``tx.apply(params, state, grad)``; ``value``, ``grad`` and
    ``value_fn`` are passed to the links that ask for them. A keyword argument that a link asks for goes to the link, and to ``loss_fn``
    only where that names it too.

    Args:
      loss_fn: ``loss_fn(params, *args, **kwargs) -> loss``, or ``(loss, aux)`` with ``has_aux``.
      tx: the optimizer. Its floats are data of the compiled step: ``step.replace(learning_rate=...)`` does not compile again.
      has_aux: whether ``loss_fn`` returns a pair.
      donate: whether ``params`` and ``state`` are donated, so that the step works in place. False keeps them, and is for states that hold a buffer twice.

    Returns:
      a `Step`, called as ``step(params, state, *args, **kwargs)``, which returns ``(params, state, loss)``, or ``(params, state, loss, aux)``.
      Donated buffers are reused: keep only what the step returns.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> step = gk.make_step(lambda w, x: jnp.sum((w - x) ** 2), gk.sgd(0.25))
      >>> w, state = jnp.zeros(2), step.tx.init(jnp.zeros(2))
      >>> w, state, loss = step(w, state, jnp.array([1.0, 2.0]))
      >>> assert w.tolist() == [0.5, 1.0] and loss == 5.0 and state.step == 1
    """
    if not isinstance(tx, Transform):
        check.fail(
            "make_step needs a gradkit transform",
            repr(tx),
            "An optax one becomes one by chain(tx)",
            path="tx",
            error=TypeError,
        )

    named = frozenset(parameter.name for parameter in signature_of(loss_fn))

    @partial(jax.jit, donate_argnums=(0, 1) if donate else ())
    def run(params: Any, state: Any, tx: Transform, args: Any, kwargs: Any) -> Any:
        asked = asked_by(tx)
        extras = {name: value for name, value in kwargs.items() if name in asked}
        kwargs = {
            name: value for name, value in kwargs.items() if name not in asked or name in named
        }

        def value_fn(params: Any) -> Any:
            value = loss_fn(params, *args, **kwargs)
            return value[0] if has_aux else value

        value, grads = jax.value_and_grad(loss_fn, has_aux=has_aux)(params, *args, **kwargs)
        loss = value[0] if has_aux else value
        params, state = tx.apply(
            params, state, grads, **{"value": loss, "grad": grads, "value_fn": value_fn, **extras}
        )
        return (params, state, *value) if has_aux else (params, state, value)

    return Step(tx, run)


def hyperparameters(tx: Transform, state: Any) -> dict[str, Any]:
    """The current value of every number in a transform, by dotted path; schedules are evaluated at the state's step.

    This is how to log a learning rate: it is a dict of scalars, also under jit.

    Args:
      tx: the transform, and
      state: its state (from ``init`` or ``update``, or an ``nnx.Optimizer``'s ``opt_state``).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.clip_by_global_norm(1.0), gk.sgd(gk.linear_schedule(0.5, 0.0, 10), momentum=0.9))
      >>> {path: float(value) for path, value in gk.hyperparameters(tx, tx.init(jnp.zeros(2))).items()}
      {'clip_by_global_norm.max_norm': 1.0, 'sgd.learning_rate': 0.5, 'sgd.momentum': 0.9}
    """
    if not hasattr(state, "step"):
        check.fail(
            "hyperparameters needs the state of the transform",
            type(state).__name__,
            "Pass what tx.init or tx.update returned",
            path="state",
            error=TypeError,
        )
    found: dict[str, Any] = {}
    state = tree.bare(state)

    def numbers(part: Transform, at: str, step: Any) -> None:
        for name, value in part.arguments.items():
            if isinstance(value, Schedule):
                found[at + name] = value(step)
            elif numerics.is_number(value):
                found[at + name] = value

    def look(part: Transform, at: str, step: Any, memory: Any, names: Iterator[str]) -> None:
        """Follow the parts as the user wrote them, and the links that hold their memory, in the same order."""
        body = part.body
        numbers(part, at, step)
        if isinstance(body, Links):
            for name, (given, child) in zip(part.children(), body, strict=True):
                inside = (
                    (memory, names)
                    if given is None
                    else (
                        _by_link(child, _kept(memory, next(names))),
                        iter([link.name for link in child.links]),
                    )
                )
                look(child, f"{at}{name}.", step, *inside)
            return
        links = [next(names) for _ in part.links]
        kept = _kept(memory, links[0]) if len(links) == 1 else memory
        children = {
            name: child
            for name, child in Call.children(part).items()
            if isinstance(child, Transform)
        }
        for name, child in children.items():
            clock, held = _clock(
                kept, name.rpartition(".")[2], step, child, only=len(children) == 1
            )
            look(child, f"{at}{name}.", clock, held, iter([link.name for link in child.links]))

    look(tx, "", state.step, state.inner, iter([link.name for link in tx.links]))
    return found


def _kept(memory: Any, name: str) -> Any:
    return memory.get(name, ()) if isinstance(memory, dict) else ()


def _clock(kept: Any, name: str, step: Any, child: Transform, only: bool) -> tuple[Any, Any]:
    """The clock and the memory of a part within a link's memory: a wrapper keeps it under the name of its argument, its label or ``inner``, or,
    the only one, as a `State` somewhere.
    """
    states = [
        part
        for part in jax.tree.leaves(kept, is_leaf=lambda x: isinstance(x, State))
        if isinstance(part, State)
    ]
    held = kept.get(name, kept.get("inner") if only else None) if isinstance(kept, dict) else None
    if held is None and only and len(states) == 1:
        held = states[0]
    return (
        (held.step, _by_link(child, held.inner))
        if isinstance(held, State)
        else (step, _by_link(child, held))
    )


def _by_link(part: Transform, memory: Any) -> Any:
    """The memory of a part by link name; that of a lone link may stand bare."""
    first = part.links[0].name if len(part.links) == 1 else None
    return (
        memory
        if first is None or (isinstance(memory, dict) and first in memory)
        else {first: memory}
    )


def eval_params(tx: Transform, state: Any, params: Any) -> Any:
    """The weights to evaluate with, where the optimizer keeps other ones than those it trains.

    **Rule** what the one link that keeps evaluation weights makes of its memory and ``params``, through any nesting.

    Args:
      tx: the transform, and
      state: its state, or an ``nnx.Optimizer``'s ``opt_state``.
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
            check.fail(
                "needs a transform that keeps evaluation weights",
                repr(tx),
                "Wrap it with an average of the weights, or use params as they are",
            )
    own = tree.bare(params)
    weights = jax.tree.map(
        lambda w, p: numerics.cast(w, jax.dtypes.result_type(p)),
        evaluate(tree.bare(state.inner), own),
        own,
    )
    return jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(weights))
