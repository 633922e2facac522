"""The zoom line search: a step that satisfies the strong Wolfe conditions.

    f(θ + η u) ≤ f(θ) + c₁ η f'(0)        |f'(η)| ≤ c₂ |f'(0)|        f'(η) = ⟨∇f(θ + η u), u⟩

The step size grows until an interval holds such a step; cubic and quadratic interpolation and
bisection then shorten the interval. Each trial costs one value and gradient.
"""

import math
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


class _Point(NamedTuple):
    """A step size, and the loss and its derivative along the line there."""

    size: Any
    value: Any
    slope: Any


class _Best(NamedTuple):
    """The point that the search would return: 0 until one decreases the loss sufficiently."""

    size: Any
    value: Any
    grad: Any
    decrease_error: Any
    curvature_error: Any


class _Search(NamedTuple):
    """The state of a search.

    ``low`` is the end of the interval with the lower loss, ``third`` the point that was an end of
    it before. Until ``bracketed``, there is no interval, and ``last`` is the longest trial.
    """

    count: Any
    bracketed: Any
    finished: Any
    last: _Point
    low: _Point
    high: _Point
    third: _Point
    best: _Best


@transform
def scale_by_zoom_linesearch(
    max_linesearch_steps: int,
    max_learning_rate: Rate | None = None,
    tol: Rate = 0.0,
    increase_factor: Rate = 2.0,
    slope_rtol: Rate = 1e-4,
    curv_rtol: Rate = 0.9,
    approx_dec_rtol: Rate | None = 1e-6,
    stepsize_precision: Rate = 1e-5,
    initial_guess_strategy: str = "keep",
    verbose: bool = False,
) -> Rule:
    """Scale updates by a line search for a step that satisfies the strong Wolfe conditions.

    **Update rule** u ← η u, where, with f(η) the loss at θ + η u,
    f(η) ≤ f(0) + c₁ η f'(0) + τ (sufficient decrease) and |f'(η)| ≤ c₂ |f'(0)| + τ (curvature).
    The decrease also counts as sufficient where f'(η) ≤ (2c₁ − 1) f'(0) + τ and
    f(η) ≤ f(0) + ε |f(0)| + τ: near a minimum rounding errors hide the first condition. Where no
    trial satisfies both conditions, the one of lowest loss with sufficient decrease is taken;
    where none has it, η = 0.

    **State** ``learning_rate`` (η), ``value`` and ``grad`` (the loss and its gradient at θ + η u;
    ``grad`` like the parameters, at least float32, 4 bytes per parameter), and ``info``:
    ``num_linesearch_steps`` (trials, each one value and gradient), ``decrease_error`` and
    ``curvature_error`` (by how much each condition is missed; 0 where it holds). ``logged_values``
    reports η and ``info``. Needs params, and the extra arguments ``value``, ``grad`` and
    ``value_fn``.

    The updates that reach it must point downhill, so it comes after ``scale(-1.0)``, and last in
    the chain; for updates that do not, η = 0. Trials at which the loss or the slope is not finite
    are too long. ``value_fn(params, ...) -> loss`` is given the extra arguments that it takes by
    name. For complex leaves ``grad`` is, as the updates are, the conjugate of what ``jax.grad``
    returns; ``grad`` in the state is as ``jax.grad`` returns it.

    Args:
      max_linesearch_steps: the most trials in one search, ≥ 1.
      max_learning_rate: the longest step, > 0, or None for no bound.
      tol: τ ≥ 0, in units of the loss.
      increase_factor: by how much a trial is longer than the one before it until there is an
        interval, > 1.
      slope_rtol: c₁, in (0, 1).
      curv_rtol: c₂ > c₁; ``inf`` for sufficient decrease alone.
      approx_dec_rtol: ε ≥ 0, or None for the first condition alone.
      stepsize_precision: the length of an interval, ≥ 0, at which a step with sufficient decrease
        is taken without the other condition.
      initial_guess_strategy: the first trial: ``"keep"`` for the last η (1 where that was 0), or
        ``"one"`` for 1, as quasi-Newton methods need.
      verbose: print what a search that failed has found.

    Raises:
      ValueError: an argument out of range, no params, a ``value`` that is not a scalar.
      TypeError: no ``value``, ``grad`` or ``value_fn``; a ``value_fn`` that does not return one
        real number, or that takes an argument which is not passed.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> loss = lambda w: jnp.sum(3 * w**2)
      >>> tx = gk.chain(gk.scale(-1.0), gk.scale_by_zoom_linesearch(10, curv_rtol=0.1))
      >>> w, state = jnp.array([1.0, -2.0]), tx.init(jnp.zeros(2))
      >>> value, grad = jax.value_and_grad(loss)(w)
      >>> w, state = tx.apply(w, state, grad, value=value, grad=grad, value_fn=loss)
      >>> assert jnp.allclose(w, 0.0)  # a step of 1 is too long; the parabola ends at 1 / 6
      >>> info = state.inner["scale_by_zoom_linesearch"]["info"]
      >>> assert info["num_linesearch_steps"] == 2 and info["curvature_error"] == 0.0

    **Differs from optax**: where no trial decreases the loss sufficiently, θ stays, and the state
    keeps the value and the gradient at θ; optax takes the last trial. A search along updates that
    do not point downhill is not begun. Trials at which the gradient alone is not finite are too
    long. The slopes of complex leaves are derivatives along u at every trial, the first included.

    Reference: Nocedal and Wright 2006, algorithms 3.5 and 3.6; Hager and Zhang 2006,
    https://doi.org/10.1145/1132973.1132979.
    """
    check.integer(1, max_linesearch_steps=max_linesearch_steps)
    if max_learning_rate is not None:
        check.positive(max_learning_rate=max_learning_rate)
    if approx_dec_rtol is not None:
        check.non_negative(approx_dec_rtol=approx_dec_rtol)
    check.non_negative(tol=tol, stepsize_precision=stepsize_precision)
    check.number("1 < x < inf", lambda v: (v > 1) & (v < math.inf), increase_factor=increase_factor)
    check.number("0 < x < 1", lambda v: (v > 0) & (v < 1), slope_rtol=slope_rtol)
    check.positive(curv_rtol=curv_rtol)
    if _are_swapped(slope_rtol, curv_rtol):
        problem = f"curv_rtol={curv_rtol} is out of range"
        fix = "Otherwise there may be no step that satisfies both conditions"
        check.refuse(problem, expected=f"curv_rtol > slope_rtol={slope_rtol}", fix=fix)
    check.one_of(("keep", "one"), initial_guess_strategy=initial_guess_strategy)

    def init(params: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        return {
            "learning_rate": jnp.ones((), dtype),
            "value": jnp.full((), jnp.inf, dtype),
            "grad": tree.zeros_like(params),
            "info": {
                "num_linesearch_steps": jnp.zeros((), jnp.int32),
                "decrease_error": jnp.full((), jnp.inf, dtype),
                "curvature_error": jnp.full((), jnp.inf, dtype),
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

        tolerance, c1 = scalar(tol), scalar(slope_rtol)
        longest = scalar(jnp.inf if max_learning_rate is None else max_learning_rate)
        start = _Point(scalar(0.0), line.value, line.slope)

        def errors_at(point: _Point) -> tuple[Any, Any]:
            """By how much a point misses each of the two conditions."""
            decrease = point.value - start.value - c1 * point.size * start.slope
            if approx_dec_rtol is not None:
                slope = point.slope - (2 * c1 - 1.0) * start.slope
                rise = point.value - start.value - scalar(approx_dec_rtol) * jnp.abs(start.value)
                decrease = jnp.minimum(jnp.maximum(slope, rise), decrease)
            curvature = jnp.abs(point.slope) - scalar(curv_rtol) * jnp.abs(start.slope)
            finite = jnp.isfinite(point.value) & jnp.isfinite(point.slope)
            return _missed(decrease, finite), _missed(curvature, finite)

        def attempt(search: _Search) -> _Search:
            bracketed, first = search.bracketed, search.count == 0
            longer = jnp.where(first, guess, scalar(increase_factor) * search.last.size)
            inner = interpolate(search.low, search.high, search.third)
            size = jnp.where(bracketed, inner, jnp.minimum(longer, longest))
            value, gradient = line.value_and_grad_at(size)
            new = _Point(size, value, line.along(gradient))
            decrease, curvature = errors_at(new)
            enough = decrease <= tolerance
            converged = jnp.maximum(decrease, curvature) <= tolerance

            # The interval: from the lower of its ends the loss falls into it.
            low, high = search.low, search.high
            end = _choose(bracketed, low, search.last)
            worse = (decrease > 0) | ((new.value >= end.value) & (bracketed | ~first))
            outwards = jnp.where(bracketed, high.size - low.size, 1.0)
            turned = (new.slope * outwards >= 0) & ~worse
            new_low = _choose(worse, end, new)
            new_high = _choose(worse, new, _choose(turned, end, high))
            third = _choose(bracketed, _choose(worse | turned, high, low), new_low)
            found = bracketed | worse | turned | converged

            bounded = ~bracketed & (longer >= longest) & ~found
            short = bracketed & (jnp.abs(high.size - low.size) <= scalar(stepsize_precision))
            done = converged | bounded
            take = done | (enough & (~bracketed | (value < search.best.value)))
            best = _choose(take, _Best(size, value, gradient, decrease, curvature), search.best)
            given_up = (search.count + 1 >= max_linesearch_steps) | (short & (best.size > 0))
            if verbose:
                _report(given_up & ~done, line, best)
            # Until a trial is kept, the errors are those of the last one.
            missed = _choose(best.size > 0, best[3:], (decrease, curvature))
            best = _Best(*best[:3], *missed)
            finished = done | given_up
            return _Search(search.count + 1, found, finished, new, new_low, new_high, third, best)

        before = lax.stop_gradient(state["learning_rate"])
        keeps = initial_guess_strategy == "keep"
        guess = jnp.where(before > 0, before, 1.0) if keeps else scalar(1.0)
        downhill = (start.slope < 0) & jnp.isfinite(start.slope)
        uphill = jnp.where(start.slope == 0, 0.0, jnp.inf).astype(line.dtype)
        end = lax.while_loop(
            lambda search: ~search.finished,
            attempt,
            _Search(
                count=jnp.zeros((), jnp.int32),
                bracketed=jnp.zeros((), bool),
                finished=~downhill,
                last=start,
                low=start,
                high=start,
                third=start,
                best=_Best(start.size, line.value, line.grad, uphill, uphill),
            ),
        )
        best = end.best
        return scaled(updates, best.size), {
            "learning_rate": best.size,
            "value": best.value,
            "grad": best.grad,
            "info": {
                "num_linesearch_steps": end.count,
                "decrease_error": best.decrease_error,
                "curvature_error": best.curvature_error,
            },
        }

    return Rule(init, update, held_fixed="the step size")


def interpolate(low: _Point, high: _Point, third: _Point) -> Any:
    """The next trial inside an interval, from the two ends and one more point.

    The minimum of a cubic, where it is a fifth of the interval away from its ends; else that of a
    parabola, where it is a tenth away; else the middle.
    """
    length = jnp.abs(high.size - low.size)
    left, right = jnp.minimum(low.size, high.size), jnp.maximum(low.size, high.size)

    def inside(x: Any, margin: float) -> Any:
        return (x > left + margin * length) & (x < right - margin * length)

    cubic, parabola = cubic_minimum(low, high, third), parabola_minimum(low, high)
    middle = (low.size + high.size) / 2
    otherwise = jnp.where(inside(parabola, 0.1), parabola, middle)
    return jnp.where(inside(cubic, 0.2), cubic, otherwise)


def cubic_minimum(a: _Point, b: _Point, c: _Point) -> Any:
    """The minimum of the cubic through three points with the slope of the first; NaN if none."""
    db, dc = b.size - a.size, c.size - a.size
    rise_b, rise_c = b.value - a.value - a.slope * db, c.value - a.value - a.slope * dc
    determinant = (db * dc) ** 2 * (db - dc)
    third = (dc**2 * rise_b - db**2 * rise_c) / determinant
    second = (db**3 * rise_c - dc**3 * rise_b) / determinant
    return a.size + (-second + jnp.sqrt(second**2 - 3 * third * a.slope)) / (3 * third)


def parabola_minimum(a: _Point, b: _Point) -> Any:
    """The minimum of the parabola through two points with the slope of the first."""
    d = b.size - a.size
    return a.size - a.slope / (2 * ((b.value - a.value - a.slope * d) / d**2))


def _are_swapped(low: Any, high: Any) -> bool:
    """Whether two plain numbers are in the wrong order, or equal."""
    return isinstance(low, float) and isinstance(high, float) and high <= low


def _missed(error: Any, finite: Any) -> Any:
    return jnp.where(finite & ~jnp.isnan(error), jnp.maximum(error, 0.0), jnp.inf)


def _choose(condition: Any, one: Any, other: Any) -> Any:
    return tree.map(lambda x, y: jnp.where(condition, x, y), one, other)


def _report(failed: Any, line: Line, best: _Best) -> None:
    values = {"value": line.value, "slope": line.slope, **best._asdict()}
    del values["grad"]
    print_if(
        failed,
        "scale_by_zoom_linesearch: no step satisfies both conditions; at slope {slope} the step "
        "size {size} with the loss {value} misses them by {decrease_error} and {curvature_error}",
        **values,
    )
