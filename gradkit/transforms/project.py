"""Constraints: parameters that stay in a set, and units whose weights have a bounded norm.

| | after every step |
|---|---|
| ``project(projection)`` | θ is the point of the set nearest to θ + u |
| ``max_norm(c)`` | the incoming weights of each unit have a norm ≤ c |
| ``unit_norm()`` | the incoming weights of each unit have the norm 1 |
| ``keep_params_nonnegative()`` | θ ≥ 0 |

Each must be the last transform of its chain: what follows would move the parameters again.
"""

import inspect
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit import masks, projections
from gradkit._arguments import CONVERTERS
from gradkit._rule import Context, Rule
from gradkit._schedule import Schedule
from gradkit._transform import transform
from gradkit.projections import _sets as sets
from gradkit.typing import Bound, Mask, Params, PyTree, Rate, Scalar

Axes = int | tuple[int, ...] | None


@transform
def project(
    projection: Callable[..., Params],
    mask: Mask | None = None,
    *,
    axis: Axes = None,
    **options: Bound,
) -> Rule:
    """Projected gradient descent: keep parameters in a set. Must come last in the chain.

    **Update rule** θ ← P(θ + u), so u ← P(θ + g) − θ, on the leaves that the mask selects.

    The projection is computed in float32 or wider. In ``tx.apply`` and ``make_step`` its result is
    rounded once, to the dtype of θ, and a bfloat16 or float16 parameter that this rounding moves
    out of the set is rounded inwards instead: it stays in boxes, balls and halfspaces exactly. A
    sphere, a simplex or a hyperplane may have no point with such elements; there the parameters are
    within rounding of the set. Where you add the updates yourself, θ + u is rounded again.

    **State** none. Needs params.

    Args:
      projection: ``projection(tree, **options) -> tree``: a function of ``gk.projections``, or any
        other that returns a tree like its first argument.
      mask: which leaves: a tree of bools, a function of params, a predicate, or None for all.
      axis: None takes all the leaves together as one vector; an axis or several take each slice of
        a leaf along these axes as a vector of its own, such as the columns of a matrix for
        ``axis=0``.
      options: keyword arguments of the projection: numbers, schedules, or trees like the
        parameters. Numbers are data of the transform, which ``tx.replace(options={...})`` changes.

    Raises:
      ValueError: no params, an empty set, options or a mask that do not fit, a leaf that lacks an
        axis.
      TypeError: ``projection`` is not a function that can be called in this way; complex leaves for
        sets of real numbers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> simplex = gk.projections.projection_simplex
      >>> tx = gk.chain(gk.sgd(0.5), gk.project(simplex, axis=1))  # a distribution in each row
      >>> w = jnp.array([[0.5, 0.5], [0.0, 1.0]])
      >>> w, _ = tx.apply(w, tx.init(w), jnp.array([[-1.0, 0.0], [-3.0, 3.0]]))
      >>> assert w.tolist() == [[0.75, 0.25], [1.0, 0.0]]

    Reference: Bertsekas 1976, https://doi.org/10.1109/TAC.1976.1101194.
    """
    _check_call(projection, options)
    _check_set(projection, options)
    units = numerics.as_axes(axis)

    def onto(trees: Any, step: Any) -> Any:
        current = jax.tree.map(
            lambda x: x(step) if isinstance(x, Schedule) else x,
            options,
            is_leaf=lambda x: isinstance(x, Schedule),
        )

        def run(part: Any) -> Any:
            return projection(part, **current)

        return run(trees) if units is None else _by_unit(run, lambda x: units)(trees)

    select = None if mask is None else _select(mask)
    return _constraint(onto, lambda x: units, select, projection)


@transform
def max_norm(max_value: Rate = 2.0, axis: Axes = None, mask: Mask | None = None) -> Rule:
    """Max-norm constraint: bound the norm of each unit's incoming weights. Must come last.

    **Update rule** θ ← w min(1, c / ‖w‖) for each unit, with w = θ + u.

    **State** none. Needs params.

    Args:
      max_value: c ≥ 0, a number or a schedule; 2 to 4 with dropout.
      axis: the axes that make up a unit. None: all but the last, of leaves of rank 2 and more, as
        in kernels (inputs, outputs) and (height, width, inputs, outputs); vectors and scalars, such
        as biases, stay free.
      mask: which leaves, as in ``project``.

    Raises:
      ValueError: c < 0, no params, a mask that does not fit, a leaf that lacks an axis.
      TypeError: ``axis`` is not an axis.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.sgd(1.0), gk.max_norm(1.0))
      >>> w = {"kernel": jnp.array([[0.0, 0.5], [0.0, 0.0]]), "bias": jnp.array([7.0, 7.0])}
      >>> g = {"kernel": jnp.array([[-3.0, 0.0], [-4.0, 0.0]]), "bias": jnp.zeros(2)}
      >>> w, _ = tx.apply(w, tx.init(w), g)
      >>> assert jnp.allclose(w["kernel"], jnp.array([[0.6, 0.5], [0.8, 0.0]]))
      >>> assert w["bias"].tolist() == [7.0, 7.0]

    **Differs from Keras**: ``MaxNorm`` has ``axis=0`` and no smallest rank.

    Reference: Srebro and Shraibman 2005, https://doi.org/10.1007/11503415_37; Srivastava et al.
    2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """
    check.number("x >= 0", lambda v: v >= 0, max_value=max_value)

    def run(part: Any) -> Any:
        return projections.projection_l2_ball(part, cast(Scalar, max_value))

    return _norms(run, axis, mask)


@transform
def unit_norm(axis: Axes = None, mask: Mask | None = None) -> Rule:
    """Unit-norm constraint: normalize each unit's incoming weights. Must come last in the chain.

    **Update rule** θ ← w / ‖w‖ for each unit, with w = θ + u; w = 0 goes to equal elements.

    **State** none. Needs params.

    Args:
      axis: the axes that make up a unit, as in ``max_norm``.
      mask: which leaves, as in ``project``.

    Raises:
      ValueError: no params, a mask that does not fit, a leaf that lacks an axis.
      TypeError: ``axis`` is not an axis.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.chain(gk.sgd(1.0), gk.unit_norm()), jnp.array([[1.0], [0.0]])
      >>> w, _ = tx.apply(w, tx.init(w), jnp.array([[-2.0], [-4.0]]))
      >>> assert jnp.allclose(w, jnp.array([[0.6], [0.8]]))

    **Differs from Keras**: ``UnitNorm`` has ``axis=0``, adds 1e-7 to the norm, and leaves zeros.
    """
    return _norms(projections.projection_l2_sphere, axis, mask)


# ---- the rule of a constraint -------------------------------------------------------------------


def _norms(run: Callable[[Any], Any], axis: Axes, mask: Mask | None) -> Rule:
    """A constraint on each unit of the leaves that have units."""
    units = numerics.as_axes(axis)

    def axes(x: Any) -> tuple[int, ...]:
        return tuple(range(jnp.ndim(x) - 1)) if units is None else units

    def select(context: Context) -> PyTree:
        on = (
            jax.tree.map(lambda _: True, context.leaves) if mask is None else _select(mask)(context)
        )
        if units is not None:
            return on
        return jax.tree.map(lambda yes, x: yes and jnp.ndim(x) > 1, on, context.leaves)

    return _constraint(lambda trees, step: _by_unit(run, axes)(trees), axes, select, run)


def _constraint(
    onto: Callable[[Any, Any], Any],
    axes: Callable[[Any], tuple[int, ...] | None],
    select: Callable[[Context], PyTree] | None,
    projection: Callable[..., Any],
) -> Rule:
    """Keep parameters where ``onto(tree, step)`` leads.

    Args:
      onto: the projection of a wide tree.
      axes: the axes of a leaf that make up a vector; None where all leaves are one vector.
      select: the leaves that are constrained, where not all.
      projection: the function to name in messages.
    """

    def seen(trees: Any, context: Context) -> Any:
        if select is None:
            return trees
        return jax.tree.map(lambda yes, x: x if yes else None, select(context), trees)

    def init(params: Any, *, context: Context) -> Any:
        constrained = seen(params, context)
        made = jax.eval_shape(lambda x: onto(x, jnp.zeros((), jnp.int32)), constrained)
        _check_like(made, constrained, projection)
        return ()

    def target(updates: Any, params: Any, context: Context) -> Any:
        """The new parameters, in their own dtypes; None where they are free."""
        check.params(params)
        sums = tree.map(tree.add_wide, seen(updates, context), seen(params, context))
        leaves = seen(context.leaves, context)
        return _into(lambda x: onto(x, context.step), axes, onto(sums, context.step), leaves)

    def update(updates: Any, state: Any, params: Any, *, context: Context) -> Any:
        new = target(updates, params, context)

        def leaf(n: Any, u: Any, p: Any) -> Any:
            if n is None:
                return u
            dtype = numerics.wider(u.dtype, p.dtype)
            return numerics.cast(n, dtype) - numerics.cast(p, dtype)

        return jax.tree.map(leaf, new, updates, params, is_leaf=lambda x: x is None), state

    def apply(updates: Any, state: Any, params: Any, *, context: Context) -> Any:
        new = target(updates, params, context)
        free = tree.add_rounded(context.leaves, updates)
        return tree.fill(new, free), state

    return Rule(init, update, apply=apply, mask=select)


def _into(
    onto: Callable[[Any], Any],
    axes: Callable[[Any], tuple[int, ...] | None],
    exact: Any,
    leaves: Any,
) -> Any:
    """A wide tree of the set, in the dtypes of ``leaves``, rounded inwards where that is needed."""
    kinds = jax.tree.map(jax.dtypes.result_type, leaves)
    nearest = jax.tree.map(numerics.cast, exact, kinds)
    if all(numerics.wide(kind) == kind for kind in jax.tree.leaves(kinds)):
        return nearest
    # An element that a second projection moves has been rounded outwards: take its neighbour on the
    # other side of where the projection leads.
    outside = tree.widen(nearest)
    again = onto(outside)
    inner = jax.tree.map(_beyond, outside, again, nearest)
    closer = tree.widen(inner)
    before = _distances(again, outside, axes)
    after = _distances(onto(closer), closer, axes)
    return jax.tree.map(lambda b, a, i, n: jnp.where(a < b, i, n), before, after, inner, nearest)


def _beyond(outside: Any, again: Any, nearest: Any) -> Any:
    """``again`` in the dtype of ``nearest``, rounded away from ``outside``."""
    if nearest.dtype == again.dtype:
        return again
    near = again.astype(nearest.dtype)
    rounded = near.astype(again.dtype)
    down, up = (again < outside) & (rounded > again), (again > outside) & (rounded < again)
    far = jnp.where(down, -jnp.inf, jnp.inf).astype(near.dtype)
    return jnp.where(down | up, jnp.nextafter(near, far), near)


def _distances(one: Any, other: Any, axes: Callable[[Any], tuple[int, ...] | None]) -> Any:
    """The distance of each vector of one tree from the other's, of a rank to compare by."""
    squares = jax.tree.map(lambda a, b: numerics.abs_sq(a - b), one, other)
    leaves = jax.tree.leaves(squares)
    if leaves and axes(leaves[0]) is not None:
        return jax.tree.map(lambda s: jnp.sum(s, axis=axes(s), keepdims=True), squares)
    whole = tree.total(jax.tree.map(jnp.sum, squares), squares)
    return jax.tree.map(lambda _: whole, squares)


def _by_unit(
    run: Callable[[Any], Any], axes: Callable[[Any], tuple[int, ...]]
) -> Callable[[Any], Any]:
    """``run`` for each slice of each leaf along the axes that make up a unit."""

    def leaf(path: Any, x: Any) -> Any:
        rank, unit = jnp.ndim(x), axes(x)
        if not all(-rank <= a < rank for a in unit):
            problem = f"axis={unit if len(unit) > 1 else unit[0]} is not in {check.shape_dtype(x)}"
            fix = "Pass a mask such as by_rank(2)"
            check.refuse(problem, fix=fix, path=check.keystr(path))
        mapped = run
        for other in sorted(set(range(rank)) - {a % rank for a in unit}):
            mapped = jax.vmap(mapped, in_axes=other, out_axes=other)
        return mapped(x)

    return lambda trees: jax.tree_util.tree_map_with_path(leaf, trees)


# ---- checks -------------------------------------------------------------------------------------


def _check_call(projection: Callable[..., Any], options: dict[str, Any]) -> None:
    """Refuse what cannot be called as ``projection(tree, **options)``, before it is."""
    check.function(projection=projection)
    name = check.shown(projection)
    if fix := check.uncalled(projection):
        check.refuse(f"projection={name} is a factory", fix=fix, error=TypeError)
    try:
        parameters = list(inspect.signature(projection).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature
        return
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if not parameters or parameters[0].kind not in (*positional, variadic[0]):
        problem = f"projection={name} takes no positional argument"
        check.refuse(problem, expected="a function of a tree", error=TypeError)
    named = {p.name: p for p in parameters[1:] if p.kind not in variadic}
    for option in sorted(options.keys() - named.keys()):
        if all(p.kind is not variadic[1] for p in parameters):
            problem = f"{name} has no argument {option!r}"
            check.refuse(problem, fix=check.nearest(option, named), error=TypeError)
    for option, parameter in named.items():
        if parameter.default is parameter.empty and option not in options:
            problem = f"the argument {option!r} of {name} is missing"
            check.refuse(problem, fix=f"Write project({name}, {option}=...)", error=TypeError)


_RADIUS = (
    projections.projection_hypercube,
    projections.projection_l1_ball,
    projections.projection_l2_ball,
    projections.projection_linf_ball,
)
_SUM = (
    projections.projection_l1_sphere,
    projections.projection_l2_sphere,
    projections.projection_simplex,
)


def _check_set(projection: Callable[..., Any], options: dict[str, Any]) -> None:
    """Refuse an empty set of ``gk.projections`` where its numbers say so; else ``init`` does."""
    if any(projection is each for each in _RADIUS):
        for edge in jax.tree.leaves(options.get("scale", ())):
            sets.refuse_no_radius(edge)
    elif any(projection is each for each in _SUM):
        sets.refuse_no_sum(options.get("scale", 1.0))
    elif projection is projections.projection_box:
        lower, upper = options["lower"], options["upper"]
        if jax.tree_util.all_leaves([lower, upper]):
            sets.refuse_empty_box(lower, upper)


def _check_like(made: Any, given: Any, projection: Callable[..., Any]) -> None:
    """A projection returns a tree of the structure and shapes it was given."""
    name = check.shown(projection)
    structure: Any = jax.tree.structure(given)
    if jax.tree.structure(made) != structure:
        problem = f"projection={name} returned the tree {jax.tree.structure(made)}"
        check.refuse(problem, expected=f"{structure}", error=TypeError)
    pairs = zip(jax.tree_util.tree_leaves_with_path(given), jax.tree.leaves(made), strict=True)
    for (path, x), y in pairs:
        if jnp.shape(x) != jnp.shape(y):
            problem = (
                f"projection={name} returned {check.shape_dtype(y)} for {check.shape_dtype(x)}"
            )
            check.refuse(problem, expected="the same shape", path=check.keystr(path))


def _select(mask: Mask) -> Callable[[Context], PyTree]:
    return lambda context: masks.resolve(mask, context.leaves, whole=context.whole)


def _as_bound(name: str, value: Any) -> Any:
    """An option of a projection: integers become floats, as data of the transform."""
    return jax.tree.map(
        lambda x: float(x) if type(x) is int else x,
        value,
        is_leaf=lambda x: isinstance(x, Schedule),
    )


CONVERTERS[Bound] = _as_bound
