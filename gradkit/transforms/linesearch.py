"""What line searches share: the loss along a line, and its value and gradient in the state.

A search looks for a step size η such that θ + η u has a lower loss than θ, with u the updates that
reach it. It evaluates the extra argument ``value_fn`` at θ + η u, rounded to the dtype of the
parameters.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._member import arguments_after_first
from gradkit.typing import Params, Updates


class Line:
    """The loss along the line θ + η u.

    Attributes:
      value: the loss at θ; inf where it is NaN.
      grad: the gradient at θ, as ``jax.grad`` returns it.
      slope: the derivative of the loss along u, at θ.
      dtype: that of the scalars: float32, or float64 where a parameter is.
    """

    def __init__(
        self,
        updates: Any,
        params: Any,
        leaves: Any,
        value: Any,
        grad: Any,
        value_fn: Any,
        extras: dict[str, Any],
    ):
        check.params(params)
        self.dtype = numerics.scalar_dtype(params)
        self.params, self.updates = lax.stop_gradient((params, updates))
        self.leaves = leaves
        value = lax.stop_gradient(numerics.loss_like(value, params))
        self.value = jnp.where(jnp.isnan(value), jnp.inf, value)
        self.grad = lax.stop_gradient(conjugate(_like_params(grad, params)))
        self.slope = self.along(self.grad)
        self._function = _objective(value_fn, extras)

    def at(self, size: Any) -> Any:
        """The parameters at a step size, in their own dtypes."""
        moved = tree.map(jnp.add, self.params, tree.scale(self.updates, size))
        return tree.map(
            lambda x, like: numerics.cast(x, jax.dtypes.result_type(like)), moved, self.leaves
        )

    def along(self, grad: Any) -> Any:
        """The derivative along u of a loss with this gradient."""
        return tree.inner(conjugate(grad), self.updates)

    def value_at(self, size: Any) -> Any:
        """The loss at a step size."""
        return lax.stop_gradient(self._function(self.at(size)).astype(self.dtype))

    def value_and_grad_at(self, size: Any) -> tuple[Any, Any]:
        """The loss and its gradient at a step size."""
        value, grad = jax.value_and_grad(self._function)(self.at(size))
        return lax.stop_gradient((value.astype(self.dtype), tree.widen(grad)))

    def value_and_pullback_at(self, size: Any) -> tuple[Any, Callable[[], Any]]:
        """The loss at a step size, and a function that computes the gradient there."""
        value, pullback = jax.vjp(self._function, self.at(size))
        one = jnp.ones_like(value)

        def grad() -> Any:
            return lax.stop_gradient(tree.widen(pullback(one)[0]))

        return lax.stop_gradient(value.astype(self.dtype)), grad


def conjugate(tree_: Any) -> Any:
    """The conjugate of complex leaves: from ``jax.grad``'s gradient to the direction of ascent."""
    return jax.tree.map(lambda x: jnp.conj(x) if jnp.iscomplexobj(x) else x, tree_)


def scaled(updates: Any, size: Any) -> Any:
    """η u, and 0 where η = 0, whatever u is."""
    still = size == 0
    return tree.map(lambda u: jnp.where(still, 0, u * tree.factor_like(size, u)), updates)


def _like_params(grad: Any, params: Any) -> Any:
    """The extra argument ``grad``, wide, after a check that it is like the parameters."""
    with check.inside("grad"):
        check.tree_of_arrays(grad, "grad")
        grad = tree.only_where(tree.arrays_only(grad), params)
        check.match(grad, params)
    return tree.widen(grad)


def _objective(function: Any, extras: dict[str, Any]) -> Callable[[Any], Any]:
    """``value_fn`` of the parameters alone, which refuses to return anything but one real number.

    The extra arguments that it takes by name are passed to it.
    """
    check.function(value_fn=function)
    if fix := check.uncalled(function):
        check.refuse(f"value_fn={check.shown(function)} is a factory", fix=fix, error=TypeError)
    taken = arguments_after_first(function)
    for parameter in taken:
        if parameter.default is parameter.empty and parameter.name not in extras:
            name = parameter.name
            problem = f"value_fn={check.shown(function)} takes {name!r}, which is missing"
            fix = f"Call update(updates, state, params, value_fn=..., {name}=...)"
            check.refuse(problem, fix=fix, error=TypeError)
    given = {p.name: extras[p.name] for p in taken if p.name in extras}

    def objective(params: Any) -> Any:
        value = function(params, **given)
        shape, kind = getattr(value, "shape", ()), None
        if numerics.is_number(value):
            kind = jax.dtypes.result_type(value)
        if kind is None or shape != () or not jnp.issubdtype(kind, jnp.floating):
            problem = f"value_fn={check.shown(function)} returned {check.kind_of(value)}"
            fix = "Reduce it, as with jnp.mean; of a pair (loss, aux) return the loss alone"
            check.refuse(problem, expected="one real number", fix=fix, error=TypeError)
        return jnp.asarray(value)

    return objective


def value_and_grad_from_state(
    value_fn: Callable[..., Any],
) -> Callable[..., tuple[jax.Array, Updates]]:
    """Take the loss and its gradient from the state of a line search, or compute them.

    A line search ends with the loss and the gradient at the next parameters. Where the loss is the
    same function at every step, they need not be computed again. Before the first step, and where
    the loss in the state is not finite, they are computed.

    Args:
      value_fn: ``value_fn(params, *args, **kwargs) -> loss``.

    Returns:
      ``f(params, *args, state, **kwargs) -> (value, grad)``, as ``jax.value_and_grad(value_fn)``
      returns them. ``state`` is any state with one line search in it, of gradkit or of optax.

    Raises:
      TypeError: ``value_fn`` is not a function.
      ValueError: when called: no line search in the state, several, one that stores no gradient, or
        one that sees other leaves than ``params``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = lambda w: jnp.sum((w - 1.0) ** 2)
      >>> tx, w = gk.lbfgs(), jnp.array([3.0, 4.0])
      >>> state, value_and_grad = tx.init(w), gk.value_and_grad_from_state(loss)
      >>> for _ in range(3):
      ...     value, grad = value_and_grad(w, state=state)
      ...     w, state = tx.apply(w, state, grad, value=value, grad=grad, value_fn=loss)
      >>> assert jnp.allclose(w, 1.0)

    **Differs from optax**: other transforms of the chain may keep fields named ``value`` or
    ``grad``.
    """
    with check.inside("value_and_grad_from_state"):
        check.function(value_fn=value_fn)
        if fix := check.uncalled(value_fn):
            check.refuse(f"value_fn={check.shown(value_fn)} is a factory", fix=fix, error=TypeError)

    def value_and_grad(
        params: Params, *args: Any, state: Any, **kwargs: Any
    ) -> tuple[jax.Array, Updates]:
        compute = jax.value_and_grad(value_fn)
        with check.inside("value_and_grad_from_state"):
            value, grad = _stored(state)
            like = jax.eval_shape(compute, params, *args, **kwargs)
            structure: Any = jax.tree.structure(grad)
            if structure != jax.tree.structure(like[1]):
                problem = f"the gradient in the state is {structure}"
                expected, fix = f"{jax.tree.structure(like[1])}", "Let the search see all leaves"
                check.refuse(problem, expected=expected, fix=fix)
        found = jax.tree.map(lambda x, to: numerics.cast(x, to.dtype), (value, grad), like)
        return lax.cond(
            jnp.isfinite(value),
            lambda params, args, kwargs: found,
            lambda params, args, kwargs: compute(params, *args, **kwargs),
            params,
            args,
            kwargs,
        )

    return value_and_grad


_FIELDS = {"learning_rate", "value", "grad", "info"}


def _stored(state: Any) -> tuple[Any, Any]:
    """The value and the gradient in the state of the only line search."""
    found = list(_searches(state))
    if not found:
        fix = "Put scale_by_zoom_linesearch(...) last in the chain, and pass its state"
        check.refuse("the state has no line search in it", fix=fix)
    if len(found) > 1:
        fix = "Pass the part of the state that holds one"
        check.refuse(f"the state has {len(found)} line searches in it", fix=fix)
    value, grad = found[0]["value"], found[0]["grad"]
    if grad is None:
        fix = "Pass store_grad=True to scale_by_backtracking_linesearch"
        check.refuse("the line search stores no gradient", fix=fix)
    return value, grad


def _searches(piece: Any) -> Iterator[dict[str, Any]]:
    """The states of line searches inside a state."""
    if isinstance(piece, tuple) and hasattr(piece, "_asdict"):
        piece = piece._asdict()
    if isinstance(piece, dict):
        if piece.keys() == _FIELDS:
            yield piece
            return
        piece = piece.values()
    elif not isinstance(piece, (tuple, list)):
        return
    for inner in piece:
        yield from _searches(inner)


def print_if(wanted: Any, text: str, **values: Any) -> None:
    """Print where ``wanted``, when the compiled program runs."""
    lax.cond(wanted, lambda: jax.debug.print(text, **values), lambda: None)
