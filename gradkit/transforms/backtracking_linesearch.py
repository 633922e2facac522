"""The backtracking line search: shorten the step until the loss decreases sufficiently.

    f(θ + η u) ≤ (1 + δ) f(θ) + c η ⟨∇f(θ), u⟩ + ε        (Armijo)

η is shortened by a factor until it holds. The first trial is a little longer than the last step.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.transforms.linesearch import Line, print_if, scaled
from gradkit.typing import Rate


class _Trial(NamedTuple):
    """Where the search is: the last step size that it has tried, and what it found there."""

    size: Any
    value: Any
    grad: Any
    error: Any
    count: Any


@transform
def scale_by_backtracking_linesearch(
    max_backtracking_steps: int,
    slope_rtol: Rate = 1e-4,
    decrease_factor: Rate = 0.8,
    increase_factor: Rate = 1.5,
    max_learning_rate: Rate = 1.0,
    atol: Rate = 0.0,
    rtol: Rate = 0.0,
    store_grad: bool = False,
    verbose: bool = False,
) -> Rule:
    """Scale updates by a backtracking line search, so that the loss decreases (Armijo).

    **Update rule** u ← η u, with η the first of η_0, r η_0, r² η_0, ... for which
    f(θ + η u) ≤ (1 + δ) f(θ) + c η ⟨∇f(θ), u⟩ + ε; η_0 = min(s η_last, η_max). After k + 1 trials
    the last one is taken. Trials at which f is not finite are too long; where the last one is,
    η = 0.

    **State** ``learning_rate`` (η), ``value`` and ``grad`` (the loss and its gradient at θ + η u;
    ``grad`` is None without ``store_grad``, else like the parameters, at least float32, 4 bytes per
    parameter), and ``info``: ``num_linesearch_steps`` (trials) and ``decrease_error`` (by how much
    the condition is missed; 0 where it holds). ``logged_values`` reports η and ``info``. Needs
    params, and the extra arguments ``value``, ``grad`` and ``value_fn``.

    The updates that reach it should point downhill, so it comes after ``sgd(1.0)`` or
    ``scale(-1.0)``, and last in the chain. ``value_fn(params, ...) -> loss`` is given the extra
    arguments that it takes by name. For complex leaves ``grad`` is, as the updates are, the
    conjugate of what ``jax.grad`` returns; ``grad`` in the state is as ``jax.grad`` returns it.

    Args:
      max_backtracking_steps: k ≥ 0, the most reductions in one search.
      slope_rtol: c, in [0, 1).
      decrease_factor: r, in (0, 1).
      increase_factor: s ≥ 1; ``inf`` begins every search with η_max.
      max_learning_rate: η_max > 0.
      atol: ε ≥ 0, in units of the loss.
      rtol: δ ≥ 0.
      store_grad: compute the gradient at the end of the search, for ``value_and_grad_from_state``.
      verbose: print what a search that failed has found.

    Raises:
      ValueError: an argument out of range, no params, a ``value`` that is not a scalar.
      TypeError: no ``value``, ``grad`` or ``value_fn``; a ``value_fn`` that does not return one
        real number, or that takes an argument which is not passed.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> loss = lambda w: jnp.sum(w**2)
      >>> tx = gk.chain(gk.sgd(1.0), gk.scale_by_backtracking_linesearch(9, decrease_factor=0.5))
      >>> w, state = jnp.array([1.0, -2.0]), tx.init(jnp.zeros(2))
      >>> value, grad = jax.value_and_grad(loss)(w)
      >>> w, state = tx.apply(w, state, grad, value=value, grad=grad, value_fn=loss)
      >>> assert w.tolist() == [0.0, 0.0]  # a step of 1 ends at −w, where the loss is the same
      >>> assert state.inner["scale_by_backtracking_linesearch"]["learning_rate"] == 0.5

    **Differs from optax**: where no trial is finite, the state keeps the value and the gradient at
    θ, and the next search begins with η_max; optax begins with 0 from then on. Updates that are not
    finite become 0. Where the updates point uphill, only f(θ + η u) ≤ (1 + δ) f(θ) + ε is required.

    Reference: Armijo 1966, https://doi.org/10.2140/pjm.1966.16.1; Nocedal and Wright 2006,
    algorithm 3.1; Vaswani et al. 2019, https://arxiv.org/abs/1905.09997.
    """
    check.integer(0, max_backtracking_steps=max_backtracking_steps)
    check.decay(slope_rtol=slope_rtol)
    check.number("0 < x < 1", lambda v: (v > 0) & (v < 1), decrease_factor=decrease_factor)
    check.number("x >= 1", lambda v: v >= 1, increase_factor=increase_factor)
    check.positive(max_learning_rate=max_learning_rate)
    check.non_negative(atol=atol, rtol=rtol)

    def init(params: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        return {
            "learning_rate": jnp.ones((), dtype),
            "value": jnp.full((), jnp.inf, dtype),
            "grad": tree.zeros_like(params) if store_grad else None,
            "info": {
                "num_linesearch_steps": jnp.zeros((), jnp.int32),
                "decrease_error": jnp.full((), jnp.inf, dtype),
            },
        }

    def update(
        updates: Any,
        state: Any,
        params: Any,
        *,
        leaves: Any,
        value: Any,
        grad: Any,
        value_fn: Any,
        **extras: Any,
    ) -> Any:
        line = Line(updates, params, leaves, value, grad, value_fn, extras)

        def scalar(rate: Any) -> Any:
            return lax.stop_gradient(jnp.asarray(rate, line.dtype))

        slope = jnp.minimum(line.slope, 0.0)
        bound, tolerance = (1 + scalar(rtol)) * line.value, scalar(atol)

        def error_of(size: Any, value: Any) -> Any:
            error = jnp.maximum(value - bound - size * scalar(slope_rtol) * slope, 0.0)
            return jnp.where(jnp.isfinite(value) & ~jnp.isnan(error), error, jnp.inf)

        def unfinished(trial: _Trial) -> Any:
            return ~(trial.error <= tolerance) & (trial.count <= max_backtracking_steps)

        def attempt(trial: _Trial) -> _Trial:
            shorter = scalar(decrease_factor) * trial.size
            size = jnp.where(trial.count > 0, shorter, trial.size)
            if not store_grad:
                value = line.value_at(size)
                return _Trial(size, value, None, error_of(size, value), trial.count + 1)
            value, gradient = line.value_and_pullback_at(size)
            error = error_of(size, value)
            last = (error <= tolerance) | (trial.count == max_backtracking_steps)
            found = lax.cond(last, gradient, lambda: trial.grad)
            return _Trial(size, value, found, error, trial.count + 1)

        before = lax.stop_gradient(state["learning_rate"])
        longest = scalar(max_learning_rate)
        first = jnp.minimum(scalar(increase_factor) * before, longest)
        first = jnp.where(before > 0, first, jnp.where(jnp.isfinite(longest), longest, 1.0))
        missed = jnp.full((), jnp.inf, line.dtype)
        start = line.grad if store_grad else None
        begin = _Trial(first, line.value, start, missed, jnp.zeros((), jnp.int32))
        end = lax.while_loop(unfinished, attempt, begin)

        moved = jnp.isfinite(end.error)
        size = jnp.where(moved, end.size, 0.0)
        if verbose:
            print_if(
                end.error > tolerance,
                "scale_by_backtracking_linesearch: no sufficient decrease; the loss {value} at "
                "slope {slope} misses it by {error} at step size {size}",
                value=line.value,
                slope=line.slope,
                error=end.error,
                size=end.size,
            )
        kept = None
        if store_grad:
            kept = tree.map(lambda new, old: jnp.where(moved, new, old), end.grad, line.grad)
        return scaled(updates, size), {
            "learning_rate": size,
            "value": jnp.where(moved, end.value, line.value),
            "grad": kept,
            "info": {"num_linesearch_steps": end.count, "decrease_error": end.error},
        }

    return Rule(init, update, held_fixed="the step size")
