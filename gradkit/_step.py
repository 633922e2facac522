"""The jitted training step."""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding

from gradkit import _checks as check
from gradkit._entry import check_extras, extras_taken
from gradkit._rule import State
from gradkit._transform import Transform
from gradkit.masks import called, resolve
from gradkit.tree import merge, split
from gradkit.typing import Mask, OptState, Params, PyTree


class Step:
    """The training step that `make_step` returns.

    ``step(params, state, *args, **kwargs) -> (params, state, loss[, aux])``

    Attributes:
      tx: the transform, whose hyperparameters the step uses.
    """

    def __init__(
        self,
        tx: Transform,
        run: Callable[..., Any],
        static: frozenset[str],
        loss_fn: Callable[..., Any] | None = None,
        has_aux: bool = False,
        trainable: Mask = True,
    ):
        self.tx = tx
        self._run = run
        self._trainable = trainable
        self._static = static
        self._loss, self._has_aux = loss_fn, has_aux
        # On the device once, not at every call; every number as a Python number would be, so that
        # its kind compiles nothing.
        self._data = jax.tree.map(lambda x: jnp.asarray(float(x) if _is_float(x) else x), tx)

    def init(self, params: Params) -> State:
        """The state before the first step: of the trainable parameters only.

        Args:
          params: all parameters, or their ``ShapeDtypeStruct``.

        Returns:
          ``tx.init`` of the parameters that ``make_step(trainable=...)`` selects.

        Example:
          >>> import gradkit as gk, jax.numpy as jnp
          >>> params = {"body": jnp.ones(2), "head": jnp.ones(2)}
          >>> loss_fn = lambda params: jnp.sum(params["body"] * params["head"])
          >>> step = gk.make_step(loss_fn, gk.sgd(0.5), trainable=gk.by_path("head"))
          >>> params, state, loss = step(params, step.init(params))
          >>> assert params["body"][0] == 1.0 and params["head"][0] == 0.5
        """
        return self.tx.init(_parts(params, self._trainable)[0])

    def lower(self, params: Params, state: OptState, *args: Any, **kwargs: Any) -> Any:
        """Lower the step for arguments or for their shapes, without running it.

        Args:
          params: arrays or ``ShapeDtypeStruct``, with their shardings.
          state: likewise, from ``init`` or ``jax.eval_shape(step.init, params)``.
          args: positional arguments of the loss.
          kwargs: keyword arguments of the loss.

        Returns:
          what ``jax.jit(...).lower(...)`` returns; ``.compile()`` compiles it.

        Example:
          >>> import gradkit as gk, jax, jax.numpy as jnp
          >>> step = gk.make_step(lambda w: jnp.sum(w**2), gk.sgd(0.1))
          >>> w = jax.ShapeDtypeStruct((8,), jnp.float32)
          >>> compiled = step.lower(w, jax.eval_shape(step.init, w)).compile()
          >>> assert compiled.cost_analysis()["flops"] > 0
        """
        static = tuple((name, kwargs.pop(name)) for name in sorted(self._static & kwargs.keys()))
        run: Any = self._run
        return run.lower(params, state, self._data, args, kwargs, static)

    def __call__(self, params: Params, state: OptState, *args: Any, **kwargs: Any) -> Any:
        static = tuple((name, kwargs.pop(name)) for name in sorted(self._static & kwargs.keys()))
        try:
            return self._run(params, state, self._data, args, kwargs, static)
        except (TypeError, ValueError) as error:
            if not check.is_ours(error):
                fix = "Pass its arguments after the state: step(params, state, *args, **kwargs)"
                if isinstance(params, State):
                    fix = "The order is step(params, state, *args)"
                with check.inside("make_step"):
                    arguments = (args, kwargs, dict(static))
                    loss, trained = self._of_trained(params)
                    explain(loss, self._has_aux, trained, arguments, fix)
            raise

    def _of_trained(self, params: Any) -> tuple[Any, Any]:
        """The loss as a function of the parameters that are trained, and those."""
        loss_fn = self._loss
        if self._trainable is True or isinstance(params, State):
            return loss_fn, params
        trained, rest = _parts(params, self._trainable)
        if loss_fn is None:
            return None, trained
        return lambda p, *args, **kwargs: loss_fn(merge(p, rest), *args, **kwargs), trained

    def replace(self, changes: dict[str, Any] | None = None, /, **more: Any) -> "Step":
        """The step of ``tx.replace(...)``, which shares this one's compilations.

        Args:
          changes: values by path, such as ``{"adamw.learning_rate": 3e-4}``.
          more: values by name.

        Returns:
          a new `Step`.

        Raises:
          ValueError: a name that matches no argument, or several.

        Example:
          >>> import gradkit as gk, jax.numpy as jnp
          >>> step = gk.make_step(lambda w: jnp.sum(w**2), gk.sgd(0.25))
          >>> w, _, _ = step.replace(learning_rate=0.5)(jnp.ones(1), step.tx.init(jnp.ones(1)))
          >>> assert w[0] == 0.0
        """
        tx = self.tx.replace(changes, **more)
        return Step(tx, self._run, self._static, self._loss, self._has_aux, self._trainable)

    def __repr__(self) -> str:
        return f"<step of {self.tx!r}>"


def _parts(params: Any, trainable: Any) -> tuple[Any, Any]:
    """The parameters that are trained, and those that are not; None if all are."""
    if trainable is True:
        return params, None
    with check.inside("make_step", {"trainable": trainable}):
        return split(params, resolve(trainable, params))


def explain(
    loss_fn: Any,
    has_aux: bool,
    params: Any,
    arguments: tuple[Any, dict[str, Any], dict[str, Any]],
    fix: str,
) -> None:
    """Refuse parameters and losses that JAX could not differentiate.

    Args:
      loss_fn: the loss; None where it cannot be called with these arguments alone.
      has_aux: whether it returns a pair.
      params: what it is differentiated by.
      arguments: its other arguments: by position, by name, and by name and static.
      fix: how to pass them.
    """
    args, kwargs, static = arguments
    if isinstance(params, State):
        check.refuse("the first argument is a state", fix=fix, error=TypeError)
    check.tree_of_arrays(params, "params")
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not check.is_inexact(leaf):
            check.refuse(
                f"this leaf of params is {check.kind_of(leaf)}",
                expected="an array of a floating or complex dtype",
                fix="Split the model: eqx.partition(model, eqx.is_inexact_array), or "
                "nnx.split(model, nnx.Param, ...), and pass the rest as another argument",
                path=check.keystr(path),
                error=TypeError,
            )
    if loss_fn is None:
        return
    try:
        inspect.signature(loss_fn).bind(params, *args, **kwargs, **static)
    except TypeError as error:
        problem = f"loss_fn={check.shown(loss_fn)} cannot be called: {error}"
        check.refuse(problem, fix=fix, error=TypeError)
    except ValueError:  # a builtin without a signature
        pass
    try:  # static arguments are kept from tracing
        returned: list[Any] = []
        jax.eval_shape(
            lambda p, a, k: returned.append(loss_fn(p, *a, **k, **static)), params, args, kwargs
        )
        (loss,) = returned
    except Exception:
        return  # an error in the loss itself, which has been raised
    _judge_loss(loss, has_aux)


def _judge_loss(loss: Any, has_aux: bool) -> None:
    what = "loss_fn returned"
    if has_aux:
        if not isinstance(loss, tuple) or len(loss) != 2:
            problem = f"{what} {check.kind_of(loss)}, with has_aux"
            check.refuse(problem, expected="the pair (loss, aux)", error=TypeError)
        loss = loss[0]
    real = getattr(loss, "shape", None) == () and jnp.issubdtype(loss.dtype, jnp.floating)
    if not real:
        fix = "Reduce it, as with jnp.mean; for a pair (loss, aux) pass has_aux=True"
        problem = f"{what} {check.kind_of(loss)}"
        check.refuse(problem, expected="one real number", fix=fix, error=TypeError)


def advance(
    loss_fn: Callable[..., Any],
    tx: Transform,
    has_aux: bool,
    now: tuple[Params, OptState],
    arguments: tuple[Any, dict[str, Any]],
    given: dict[str, Any],
    placed: Callable[[Any], Any] = lambda apply: apply,
) -> tuple[Params, OptState, Any]:
    """One update: the parameters and the state after it, and what the loss function returned.

    Args:
      loss_fn: the loss.
      tx: the optimizer.
      has_aux: whether the loss is the first of a pair.
      now: the parameters and the state.
      arguments: what the loss is given besides, by position and by name.
      given: extra arguments for the transforms, which have precedence.
      placed: returns the update of the transform with what the compiler is told of its shardings.
    """
    params, state = now
    args, kwargs = arguments

    def value_fn(params: Any) -> Any:
        value = loss_fn(params, *args, **kwargs)
        return value[0] if has_aux else value

    value, grads = jax.value_and_grad(loss_fn, has_aux=has_aux)(params, *args, **kwargs)
    loss = value[0] if has_aux else value
    grads = jax.tree.map(_descending, grads)
    arrays = {"value": loss, "grad": grads, **given}

    def apply(tx: Any, params: Any, state: Any, grads: Any, arrays: Any) -> Any:
        return tx.apply(params, state, grads, **{"value_fn": value_fn, **arrays})

    params, state = placed(apply)(tx, params, state, grads, arrays)
    return params, state, value


def check_loss_and_transform(loss_fn: Any, tx: Any) -> None:
    """Refuse a loss that is not a function, and an optimizer that is not a transform."""
    check.function(loss_fn=loss_fn)
    if fix := check.uncalled(loss_fn):
        check.refuse(f"loss_fn={check.shown(loss_fn)} is a factory", fix=fix, error=TypeError)
    if not isinstance(tx, Transform):
        fix = check.uncalled(tx) or "gk.chain(tx) makes a gradkit transform of an optax one"
        problem = f"tx={check.shown(tx)} is not a gradkit transform"
        check.refuse(problem, fix=fix, error=TypeError)


def _descending(grad: Any) -> Any:
    """The gradient whose negative descends: of complex parameters the conjugate of JAX's."""
    return jnp.conj(grad) if jnp.iscomplexobj(grad) else grad


def _is_float(x: Any) -> bool:
    if isinstance(x, jax.core.Tracer) or np.ndim(x):
        return False
    return bool(jnp.issubdtype(jax.dtypes.result_type(x), jnp.floating))


def make_step(
    loss_fn: Callable[..., Any],
    tx: Transform,
    has_aux: bool = False,
    *,
    extras: Iterable[str] = (),
    static_argnames: Iterable[str] = (),
    donate: bool = True,
    trainable: Mask = True,
    in_shardings: PyTree = None,
    out_shardings: PyTree = None,
) -> Step:
    """Make a jitted training step that updates parameters and state in place.

    **Update rule** ``value, grad = value_and_grad(loss_fn)(params, *args, **kwargs)``, then
    ``tx.apply(params, state, grad)``. ``value``, ``grad`` and ``value_fn`` are passed to the
    transforms that take them. The gradient of a complex parameter is the conjugate of that of
    ``jax.grad``, so that its negative descends.

    Args:
      loss_fn: ``loss_fn(params, *args, **kwargs) -> loss``, or ``(loss, aux)`` with ``has_aux``.
      tx: the optimizer. Its floats are data of the compiled step:
        ``step.replace(learning_rate=...)`` does not compile again.
      has_aux: whether ``loss_fn`` returns a pair.
      extras: names of keyword arguments that go to the transforms and not to ``loss_fn``.
      static_argnames: names of keyword arguments of ``loss_fn`` that are compiled in, such as
        ``train``; their values are hashable.
      donate: whether ``params`` and ``state`` are donated, so that the step works in place. False
        keeps them.
      trainable: a mask of the parameters that are trained. The gradient of the others is not
        computed, and they have no state: begin with ``step.init(params)``. They may have any dtype.
      in_shardings: shardings of ``(params, state, *args)``, as in ``jax.jit``; None follows the
        arguments. `state_sharding` returns those of a state.
      out_shardings: shardings of ``(params, state, loss)``, or ``(params, state, loss, aux)``; None
        lets the compiler choose. On a mesh with explicit axes the compiler then shards the update
        (``jax.sharding.auto_axes``), so that the state may be sharded otherwise than the
        parameters.

    Returns:
      a `Step`, called as ``step(params, state, *args, **kwargs)``. Donated buffers are reused: keep
      only what the step returns.

    Raises:
      TypeError: a loss that is not a function, an optimizer that is not a transform, an extra
        argument that no transform takes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> step = gk.make_step(lambda w, x: jnp.sum((w - x) ** 2), gk.sgd(0.25))
      >>> w, state = jnp.zeros(2), step.tx.init(jnp.zeros(2))
      >>> w, state, loss = step(w, state, jnp.array([1.0, 2.0]))
      >>> assert w.tolist() == [0.5, 1.0] and loss == 5.0 and state.step == 1
    """
    with check.inside("make_step"):
        check_loss_and_transform(loss_fn, tx)
        check.boolean(has_aux=has_aux, donate=donate)
        extra_names, static = _names("extras", extras), _names("static_argnames", static_argnames)
        check_extras(dict.fromkeys(extra_names), extras_taken(tx))
        called(trainable, "trainable")
    shardings: dict[str, Any] = {}
    if in_shardings is not None:
        if not isinstance(in_shardings, (tuple, list)) or len(in_shardings) < 2:
            with check.inside("make_step"):
                problem = f"in_shardings={check.shown(in_shardings)} is not a tuple"
                expected = "the shardings of (params, state, *args)"
                check.refuse(problem, expected=expected, error=TypeError)
        params_sharding, state_sharding, *rest = in_shardings
        arguments = tuple(rest) or None
        shardings["in_shardings"] = (params_sharding, state_sharding, None, arguments, None)
    if out_shardings is not None:
        shardings["out_shardings"] = out_shardings
    explicit = _is_explicit(out_shardings)

    @partial(jax.jit, donate_argnums=(0, 1) if donate else (), static_argnums=(5,), **shardings)
    def run(params: Any, state: Any, tx: Transform, args: Any, kwargs: Any, static: Any) -> Any:
        given = {name: value for name, value in kwargs.items() if name in extra_names}
        kwargs = {name: value for name, value in kwargs.items() if name not in extra_names}
        kwargs |= dict(static)

        trained, rest = _parts(params, trainable)

        def whole_loss(trained: Any, *args: Any, **kwargs: Any) -> Any:
            params = trained if trainable is True else merge(trained, rest)
            return loss_fn(params, *args, **kwargs)

        def placed(apply: Callable[..., Any]) -> Callable[..., Any]:
            if not explicit:
                return apply
            where = tuple(map(jax.tree.broadcast, out_shardings[:2], (params, state)))
            where = (_parts(where[0], resolve(trainable, params))[0], where[1])
            compiled: Callable[..., Any] = jax.sharding.auto_axes(apply, out_sharding=where)
            return compiled

        now, arguments = (trained, state), (args, kwargs)
        new, after, value = advance(whole_loss, tx, has_aux, now, arguments, given, placed)
        new = new if trainable is True else merge(new, rest)
        return (new, after, *value) if has_aux else (new, after, value)

    return Step(tx, run, static, None if extra_names else loss_fn, has_aux, trainable)


def _is_explicit(shardings: Any) -> bool:
    """Whether shardings of parameters and state are given, on a mesh where they are types."""
    if not isinstance(shardings, (tuple, list)):
        return False
    return any(
        isinstance(x, NamedSharding) and AxisType.Explicit in x.mesh.axis_types
        for x in jax.tree.leaves(shardings[:2])
    )


def _names(argument: str, names: Iterable[str]) -> frozenset[str]:
    if not isinstance(names, Iterable):
        problem = f"{argument}={check.shown(names)} is not a list of names"
        check.refuse(problem, error=TypeError)
    found = (names,) if isinstance(names, str) else tuple(names)
    check.string(**{f"{argument}[{i}]": name for i, name in enumerate(found)})
    return frozenset(found)
