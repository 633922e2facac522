"""Training that can be interrupted: what successive halving and its relatives run."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._explain import explained
from gradkit._transform import Transform
from gradkit.typing import PyTree


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss of a configuration trained by a task from start to end, for ``run``.

    Two of one task and number of steps are equal, and share their compilations.

    Args:
      task: the training.
      steps: how many.
    """

    task: "Task"
    steps: int

    def __call__(self, config: PyTree, key: jax.Array) -> jax.Array:
        """The losses of all steps; the evaluation after the last, where the task has one."""

        def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
            return self.task.step(config, carry)

        carry, losses = lax.scan(step, self.task.init(config, key), None, self.steps)
        return losses if self.task.evaluate is None else self.task.evaluate(config, carry)


class Task(NamedTuple):
    """Describe training that can stop after any step and go on: pure functions of a carry.

    Args:
      init: ``init(config, key) -> carry``: parameters, the optimizer's state, a key, all that
        changes. Every leaf is an array.
      step: ``step(config, carry) -> (carry, loss)``: one update. The carry keeps its structure,
        shapes and dtypes.
      evaluate: ``evaluate(config, carry) -> loss``, by which trials are compared, such as the loss
        on the development set; None for the loss of the last step.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> def step(tx, carry):
      ...     x, state = carry
      ...     return tx.apply(x, state, 2 * x), x**2
      >>> task = gk.search.Task(lambda tx, key: (jnp.float32(1), tx.init(jnp.float32(1))), step)
      >>> losses = task.objective(3)(gk.sgd(0.25), jax.random.key(0))
      >>> assert losses.tolist() == [1.0, 0.25, 0.0625]
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    evaluate: Callable[..., Any] | None = None

    def objective(self, steps: int) -> Objective:
        """The task as an objective of ``run``: trained from start to end.

        Args:
          steps: how many steps, ≥ 1.

        Returns:
          ``objective(config, key)``: the losses of the steps, or the evaluation after the last.
        """
        with check.inside("Task.objective"):
            check.integer(1, steps=steps)
        return Objective(self, int(steps))


@explained(functions={"loss_fn": 2, "init_params": 1})
def training(
    loss_fn: Callable[..., Any],
    init_params: Callable[..., Any],
    batches: PyTree | Callable[..., Any],
    *,
    optimizer: Callable[..., Any] | None = None,
    evaluate: Callable[..., Any] | None = None,
) -> Task:
    """Make a task from a loss function, initial parameters and batches.

    **Value** one step is ``params, state = tx.apply(params, state, grad)`` on the next batch. The
    optimizer gets the loss as the extra arguments ``value`` and ``value_fn``, and the gradient as
    ``grad``.

    Args:
      loss_fn: ``loss_fn(params, batch)``, one real number.
      init_params: ``init_params(key)``, the parameters before the first step.
      batches: ``batches(step)``, a batch for an integer step, or a tree of arrays with an axis of
        batches in front, which are taken in turn.
      optimizer: ``optimizer(config)``, the transform of a configuration; None where the space is a
        transform.
      evaluate: ``evaluate(params)``, the loss by which trials are compared; None for the loss of
        the last step.

    Returns:
      a ``Task``. Make it once: a new one is compiled anew.

    Raises:
      TypeError: what should be a function is none, ``optimizer`` returns no transform, batches
        without arrays.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> task = gk.search.training(
      ...     lambda w, batch: jnp.mean((w * batch - 1) ** 2),
      ...     lambda key: jnp.float32(0),
      ...     jnp.ones((1, 4)),
      ... )
      >>> losses = task.objective(3)(gk.sgd(0.25), jax.random.key(0))
      >>> assert losses.tolist() == [1.0, 0.25, 0.0625]
    """
    check.arity(2, "(params, batch)", loss_fn=loss_fn)
    check.arity(1, "a key", init_params=init_params)
    if callable(batches):
        batch_of = batches
    else:
        arrays = jax.tree.map(jnp.asarray, batches)
        counts = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(arrays)}
        if len(counts) != 1 or () in counts or (0,) in counts:
            problem = f"batches={check.shown(batches)} has no axis of batches"
            expected = "a function of the step, or arrays with one leading axis"
            check.refuse(problem, expected=expected, error=TypeError)
        ((count,),) = counts

        def batch_of(step: jax.Array) -> PyTree:
            return jax.tree.map(lambda leaf: leaf[step % count], arrays)

    for name, function in (("optimizer", optimizer), ("evaluate", evaluate)):
        if function is not None:
            check.arity(1, "a config" if name == "optimizer" else "params", **{name: function})

    def tx_of(config: Any) -> Transform:
        tx = config if optimizer is None else optimizer(config)
        if not isinstance(tx, Transform):
            with check.inside("training"):
                what = "the configuration" if optimizer is None else "optimizer(config)"
                fix = 'Pass optimizer=lambda config: config["optimizer"]' if not optimizer else ""
                problem = f"{what} is a {type(tx).__name__}, not a transform"
                check.refuse(problem, fix=fix, error=TypeError)
        return tx

    def init(config: Any, key: jax.Array) -> Any:
        params = init_params(key)
        return params, tx_of(config).init(params), jnp.zeros((), jnp.int32)

    def step(config: Any, carry: Any) -> tuple[Any, jax.Array]:
        params, state, count = carry
        batch = batch_of(count)
        value, grad = jax.value_and_grad(loss_fn)(params, batch)
        grad = jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, grad)
        params, state = tx_of(config).apply(
            params, state, grad, value=value, grad=grad, value_fn=lambda p: loss_fn(p, batch)
        )
        return (params, state, numerics.increment(count)), value

    judged = None if evaluate is None else (lambda config, carry: evaluate(carry[0]))
    return Task(init, step, judged)
