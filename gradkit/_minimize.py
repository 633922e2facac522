"""Minimize a function: the whole solve as one compiled loop.

``minimize`` runs any transform on a function of a tree until its gradient is small;
``least_squares`` does so for a sum of squared residuals.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._entry import extras_taken
from gradkit._result import MAX_STEPS, NON_FINITE, RUNNING, Result
from gradkit._solve import Carry, Problem, auxiliary, begin_alone, proceed_alone, solve
from gradkit._transform import Transform, as_transform
from gradkit.optimizers.lbfgs import lbfgs
from gradkit.optimizers.levenberg_marquardt import levenberg_marquardt
from gradkit.typing import Params, PyTree
from gradkit.wrappers.complex import join, split


def minimize(
    fun: Callable[..., jax.Array],
    x0: Params,
    tx: Transform = lbfgs(),  # noqa: B008  immutable
    *,
    args: tuple[Any, ...] = (),
    has_aux: bool = False,
    tol: float | None = None,
    max_steps: int = 1000,
    trace: bool = False,
    progress: bool | Callable[[int, float, float], None] = False,
) -> Result:
    """Minimize a function of a tree with any optimizer, as one compiled loop.

    The loop ends when the largest element of the gradient is at most ``tol``, after ``max_steps``
    steps, at a value or gradient that is not finite, or when the line search of ``tx`` finds no
    lower value. It runs under ``jit``, and under ``vmap`` over starts, arguments or transforms.
    Calls with the same ``fun`` (the same object) share their compilation, whatever ``args`` and the
    hyperparameters of ``tx`` are.

    Args:
      fun: ``fun(x, *args)`` returns one real number, or the pair (value, aux) with ``has_aux``.
      x0: the start, a tree of floating or complex arrays. The optimizer sees the real and the
        imaginary part of a complex array as two leaves.
      tx: a transform: ``lbfgs()``, ``bfgs()``, ``newton()``, ``adam(0.1)``, or one of optax.
      args: further arguments of ``fun``.
      has_aux: whether ``fun`` returns a pair. The auxiliary output at the solution is the result's
        ``aux``, for which ``fun`` is evaluated once more.
      tol: the largest element of the gradient at the solution: 0, or at least the rounding error of
        the dtype; None for its cube root (6e-6 in float64, 5e-3 in float32).
      max_steps: the most steps, at least 1.
      trace: return every point, in buffers for ``max_steps`` + 1 of them.
      progress: show a bar with tqdm, or call a function of (steps, value, grad_norm) about twice a
        second. Not under ``jit`` and ``vmap``.

    Returns:
      a `Result`: ``x``, ``value``, ``grad_norm``, ``steps``, ``evaluations``, ``converged``,
      ``reason``, ``trace``, ``aux``.

    Raises:
      ValueError: a value or gradient at ``x0`` that is not finite, ``tol`` out of range or below
        the rounding error, ``max_steps`` < 1.
      TypeError: ``fun`` is not a function or does not return one real number, ``x0`` has integer
        leaves, ``tx`` is not a transform, or it takes residuals; a derivative of the solve.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> def rosenbrock(x, b):
      ...     return b * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
      >>> result = gk.minimize(rosenbrock, jnp.array([-1.2, 1.0]), gk.bfgs(), args=(100.0,))
      >>> result.reason
      'converged'
      >>> solve = lambda x0: gk.minimize(rosenbrock, x0, gk.bfgs(), args=(10.0,))
      >>> many = jax.vmap(solve)(jnp.array([[2.0, 2.0], [-1.0, 0.0], [0.0, 3.0]]))
      >>> assert many.converged.all() and jnp.allclose(many.x, 1.0, atol=1e-2)

    **Differs from SciPy**: ``fun`` is differentiated by JAX, and compiled; its value at the start
    counts as an evaluation there and here; a value and its gradient are one evaluation.
    """
    with check.inside("minimize"):
        taken = _taken(tx)
        if "residual_fn" in taken:
            fix = "Call least_squares(residuals, x0, tx)"
            check.refuse(f"tx={check.shown(tx)} needs residuals", fix=fix, error=TypeError)
        return _run(Problem.of(fun, False, has_aux), x0, tx, args, tol, max_steps, trace, progress)


def least_squares(
    residuals: Callable[..., PyTree],
    x0: Params,
    tx: Transform = levenberg_marquardt(),  # noqa: B008  immutable
    *,
    args: tuple[Any, ...] = (),
    has_aux: bool = False,
    tol: float | None = None,
    max_steps: int = 1000,
    trace: bool = False,
    progress: bool | Callable[[int, float, float], None] = False,
) -> Result:
    """Minimize ½ Σ r² of residuals, to fit a model to data (nonlinear least squares).

    As ``minimize``, with the function ½ Σ r². Transforms that take ``residual_fn``,
    ``levenberg_marquardt`` and ``gauss_newton``, are given the residuals.

    Args:
      residuals: ``residuals(x, *args)`` returns a tree of real arrays.
      x0: the start, a tree of floating arrays.
      tx: a transform; any that ``minimize`` takes, too.
      args: further arguments of ``residuals``, such as data.
      has_aux: whether ``residuals`` returns a pair (residuals, aux), as in ``minimize``.
      tol: as in ``minimize``, for the gradient Jᵀ r.
      max_steps: the most steps, at least 1.
      trace: return every point.
      progress: as in ``minimize``.

    Returns:
      a `Result`; its ``value`` is ½ Σ r².

    Raises:
      ValueError: as ``minimize``.
      TypeError: as ``minimize``; residuals that are not real.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> def misfit(p, t, y):
      ...     return p["height"] * jnp.exp(-p["rate"] * t) - y
      >>> t = jnp.linspace(0.0, 4.0, 9)
      >>> start = {"height": jnp.array(1.0), "rate": jnp.array(1.0)}
      >>> fit = gk.least_squares(misfit, start, args=(t, 3 * jnp.exp(-0.5 * t)))
      >>> assert fit.converged and jnp.allclose(fit.x["rate"], 0.5, atol=1e-2)
    """
    with check.inside("least_squares"):
        _taken(tx)
        problem = Problem.of(residuals, True, has_aux)
        return _run(problem, x0, tx, args, tol, max_steps, trace, progress)


def _run(
    problem: Problem,
    x0: Any,
    tx: Any,
    args: Any,
    tol: Any,
    max_steps: int,
    trace: bool,
    progress: Any,
) -> Result:
    tx = as_transform(tx)
    check.integer(1, max_steps=max_steps)
    check.boolean(trace=trace)
    if not isinstance(args, (tuple, list)):
        problem_ = f"args={check.shown(args)} is not a tuple"
        check.refuse(problem_, fix="For one argument write args=(a,)", error=TypeError)
    _arrays(args)
    x, args = _without_derivative((_start(x0), tuple(args)))
    tol = _tolerance(tol, x)
    leaves = jax.tree.leaves((x, args, tx))
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(x)):
        problem, x = problem._replace(complex=True), split(x)
    problem.judge(x, args)
    size = max_steps if trace else None
    if not isinstance(progress, bool) and not callable(progress):
        expected = "True, False, or a function of (steps, value, grad_norm)"
        problem_ = f"progress={check.shown(progress)} is neither a bool nor a function"
        check.refuse(problem_, expected=expected, error=TypeError)
    if progress and traced:
        fix = "Call minimize outside jit and vmap, or leave progress out"
        check.refuse(f"progress={progress!r} under jit or vmap", fix=fix)
    if progress:
        carry = _watched(problem, tx, x, args, tol, max_steps, size, progress)
    else:
        carry = _solved(problem, tx, x, args, tol, max_steps, size)
    if not traced:
        _finite_start(problem, carry)
    status = jnp.where(carry.status == RUNNING, MAX_STEPS, carry.status)
    kept = carry.trace
    if kept is not None:
        if problem.complex:
            kept = kept._replace(x=join(kept.x))
        if not traced:
            kept = jax.tree.map(lambda leaf: np.asarray(leaf)[: int(carry.steps) + 1], kept)
    x = join(carry.x) if problem.complex else carry.x
    aux = auxiliary(problem, carry.x, args) if problem.has_aux else None
    return Result(x, carry.value, carry.norm, carry.steps, carry.evaluations, status, kept, aux)


def _solved(*operands: Any) -> Carry:
    try:
        carry = solve(*operands)
    except ValueError as error:  # JAX's, of a variable that the function closes over
        if "Reverse-mode differentiation" in str(error):
            _refuse_derivative((), ())
        raise
    found: Carry = _without_derivative(carry)
    return found


@jax.custom_jvp
def _without_derivative(tree: Any) -> Any:
    """The tree; its derivative, which a line search would make wrong, is refused."""
    return tree


@_without_derivative.defjvp
def _refuse_derivative(primals: Any, tangents: Any) -> Any:
    check.refuse(
        "the solve has no derivative",
        fix="Apply jax.lax.stop_gradient to what goes in; the solution's derivative is that of the "
        "implicit function theorem, -H⁻¹ ∂²f/∂x∂a",
        error=TypeError,
    )


def _watched(
    problem: Problem,
    tx: Any,
    x: Any,
    args: Any,
    tol: Any,
    max_steps: int,
    size: int | None,
    progress: Any,
) -> Carry:
    """The loop in pieces of about half a second, with a report after each."""
    report, close = progress, (lambda: None)
    if not callable(progress):
        report, close = _bar(max_steps)
    carry, chunk = begin_alone(problem, tx, x, args, tol, size), 1
    done = 0
    while int(carry.status) == RUNNING and done < max_steps:
        began = time.perf_counter()
        limit = min(done + chunk, max_steps)
        carry = proceed_alone(problem, tx, carry, args, tol, limit)
        done = int(carry.steps)
        report(done, float(carry.value), float(carry.norm))
        if time.perf_counter() - began < 0.25:
            chunk *= 2
    close()
    return carry


def _bar(total: int) -> tuple[Callable[..., None], Callable[[], None]]:
    try:
        from tqdm import tqdm  # noqa: PLC0415  not a dependency
    except ImportError:
        fix = "Install tqdm, or pass a function of (steps, value, grad_norm)"
        check.refuse("progress=True, but tqdm is not installed", fix=fix)
    bar = tqdm(total=total, unit="step")

    def report(steps: int, value: float, norm: float) -> None:
        bar.set_postfix_str(f"value={value:.6g}, gradient={norm:.2g}", refresh=False)
        bar.update(steps - bar.n)

    return report, bar.close


# ---- checks ------------------------------------------------------------------------------------


def _taken(tx: Any) -> frozenset[str]:
    tx = as_transform(tx)
    check.part(tx=tx)
    return extras_taken(tx)


def _start(x0: Any) -> Any:
    check.tree_of_arrays(x0, "x0")
    leaves = jax.tree.leaves(x0)
    if isinstance(x0, (list, tuple)) and x0 and all(isinstance(x, (int, float)) for x in leaves):
        problem = (
            f"x0 is a {type(x0).__name__} of {len(leaves)} numbers, which is a tree of scalars"
        )
        check.refuse(problem, fix="Pass an array: jnp.array(x0, float)", error=TypeError)
    for path, leaf in jax.tree_util.tree_leaves_with_path(x0):
        if not check.is_inexact(leaf):
            fix = "Convert it, as with x0.astype(float)"
            if check.dtype_of(leaf) is None:
                fix = "Split the model: eqx.partition(model, eqx.is_inexact_array), and pass the "
                fix += "arrays as x0"
            check.refuse(
                f"x0 is {check.kind_of(leaf)}",
                expected="floating numbers",
                fix=fix,
                path="" if leaf is x0 else check.keystr(path),
                error=TypeError,
            )
    return numerics.strong(x0)


def _arrays(args: Any) -> None:
    """Refuse further arguments that are no data of a compiled loop, such as strings."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(args):
        if check.dtype_of(leaf) is None:
            problem = f"args{jax.tree_util.keystr(path)} is {check.kind_of(leaf)}"
            fix = "Put it into the function: functools.partial(fun, name=value)"
            check.refuse(problem, expected="arrays and numbers", fix=fix, error=TypeError)


def _tolerance(tol: Any, x: Any) -> Any:
    dtype = numerics.scalar_dtype(x)
    eps = float(jnp.finfo(dtype).eps)
    if tol is None:
        return eps ** (1 / 3)
    check.as_number("tol", tol)
    if isinstance(tol, jax.Array) and not isinstance(tol, jax.core.Tracer) and not tol.ndim:
        tol = float(tol)
    check.non_negative(tol=tol)
    if np.ndim(tol):
        check.refuse(f"tol={check.shape_dtype(tol)} has rank {np.ndim(tol)}", expected="a number")
    if not isinstance(tol, jax.core.Tracer) and 0 < float(tol) < eps:
        fix = "Scale the function, or compute in float64: jax.config.update('jax_enable_x64', True)"
        check.refuse(
            f"tol={check.shown(tol)} is below the rounding error of {dtype}",
            expected=f"0, or tol >= {eps:.1e}",
            fix=fix,
        )
    return tol


def _finite_start(problem: Problem, carry: Carry) -> None:
    """Refuse a start at which nothing can be computed."""
    if int(carry.status) != NON_FINITE or int(carry.steps):
        return
    name = check.shown(problem.fun)
    if not np.isfinite(float(carry.value)):
        problem_ = f"{name}(x0) is {float(carry.value)}"
    else:
        problem_ = f"the gradient of {name} at x0 is not finite"
    check.refuse(problem_, expected="a start with a finite value and gradient")
