"""Check gradients against two-sided difference quotients.

d_i = (f(θ + h e_i) − f(θ − h e_i)) / 2h        ‖d − g‖ / (‖d‖ + ‖g‖) ≤ tol
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._gradient_check.quotients import SHORTER, Found, Probes, judge
from gradkit._gradient_check.report import GradientElement, GradientReport, GradientRow
from gradkit.typing import Key, Params, PyTree

_DIRECTIONS = "(directions)"


def check_gradient(
    loss_fn: Callable[..., Any],
    params: Params,
    *args: PyTree,
    samples: int | None = 16,
    directions: int | None = None,
    eps: float = 1e-5,
    tol: float = 1e-7,
    key: Key = 0,
    has_aux: bool = False,
    grad_fn: Callable[..., Any] | None = None,
) -> GradientReport:
    """Check the gradient of a loss against two-sided differences, custom derivatives included.

    Computed in float64, whatever the dtypes of ``params`` and ``args`` are and whether x64 is
    enabled or not. Of each leaf some elements are checked, and of the whole tree random directions,
    which see errors in all elements. Kinks (a ReLU at 0) are recognized: they pass where the
    gradient is one of the one-sided slopes or between them, and the report lists them.

    Use it in tests and for debugging: it evaluates the loss four times for each element checked.
    Include every term of the loss, such as regularization; fix the random keys, such as dropout's.

    Args:
      loss_fn: ``loss_fn(params, *args)`` returns one real number. It is compiled once, and must not
        cast to a lower precision.
      params: a tree of floating or complex arrays.
      args: further arguments of ``loss_fn``; floating arrays among them are widened.
      samples: how many elements of each leaf to check, ≥ 0; None for all.
      directions: how many random directions to check, ≥ 0. None: 4, or 0 where all elements are
        checked.
      eps: the step h > 0, for elements with |θ| > 1 relative to |θ|.
      tol: the relative tolerance > 0. Differences within the rounding error of the quotients pass.
      key: a seed or a random key, which chooses the elements and directions.
      has_aux: whether ``loss_fn`` returns ``(loss, aux)``.
      grad_fn: a gradient written by hand, ``grad_fn(params, *args)``, to check in place of JAX's; a
        tree like ``params``.

    Returns:
      a `GradientReport`: true when it passed, prints as a table, ``assert_passed()`` for tests.

    Raises:
      ValueError: a loss that is not finite or is computed in a lower precision; no parameters; a
        gradient of other shapes;
        ``samples``, ``directions``, ``eps`` or ``tol`` out of range, or nothing to check.
      TypeError: ``loss_fn`` is not a function or does not return one real number; leaves that are
        not floating.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> @jax.custom_vjp
      ... def square(x):
      ...     return x**2
      >>> square.defvjp(lambda x: (x**2, x), lambda x, g: (g * x,))  # the 2 is missing
      >>> report = gk.check_gradient(lambda p: square(p["w"]) + p["b"], {"w": 3.0, "b": 1.0})
      >>> print(report)
      check_gradient: wrong in w (loss 10, step 1e-05, tolerance 1e-07)
        leaf  shape  checked  relative error  kinks  verdict
        b     []     1 of 1   ...                    agrees
        w     []     1 of 1   3.3e-01                1 wrong
        w gradient 3, difference quotient 6
      >>> gk.check_gradient(lambda x: jax.nn.relu(x).sum(), jnp.array([0.0, 1.0])).rows[0].verdict
      'kink'
      >>> assert not report and gk.check_gradient(lambda w: jnp.sum(w**3), jnp.ones(4))

    **Differs from jax.test_util.check_grads**: elements are named; kinks are told from errors;
    float64 is used in any case. Forward mode and higher orders are not checked.

    Reference: Goodfellow et al. 2016, section 11.5.
    """
    with check.inside("check_gradient"):
        check.arity(1 + len(args), "the parameters and args", loss_fn=loss_fn)
        if grad_fn is not None:
            check.arity(1 + len(args), "the parameters and args", grad_fn=grad_fn)
        for name, count in (("samples", samples), ("directions", directions)):
            if count is not None:
                check.integer(0, **{name: count})
        check.number("0 < x < inf", lambda v: (v > 0) & np.isfinite(v), eps=eps, tol=tol)
        check.boolean(has_aux=has_aux)
        check.tree_of_arrays(params, "params")
        leaves = _floating(params)
        seed = np.asarray(jax.random.key_data(numerics.as_key(key))).ravel().tolist()
        draw = np.random.default_rng(seed)
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            flat = _Flat(params)
            chosen = [
                np.arange(size) if samples is None or samples >= size
                else np.sort(draw.choice(size, int(samples), replace=False))
                for size in flat.sizes
            ]  # fmt: skip
            count = sum(map(len, chosen))
            if directions is None:
                directions = 0 if count == sum(flat.sizes) else 4
            if not count + directions:
                problem = f"samples={samples} and directions={directions} leave nothing to check"
                check.refuse(problem, expected="one of them above 0")
            lines = draw.standard_normal((int(directions), len(flat.theta)))
            lines /= np.linalg.norm(lines, axis=1, keepdims=True) + 1e-300
            index = np.concatenate([c + start for c, start in zip(chosen, flat.starts)])
            index = index.astype(int)
            wide = _widen(args)
            value, probes = _probe(loss_fn, grad_fn, flat, wide, has_aux, index, lines, float(eps))
        found = judge(value, probes, float(tol))
        rows, at = [], 0
        for (path, leaf), picks, size in zip(leaves, chosen, flat.sizes):
            where = [_index(i, leaf) for i in picks]
            shape = np.shape(leaf)
            rows.append(_row(path, shape, size, where, found.part(at, len(picks)), float(tol)))
            at += len(picks)
        if directions:
            where = [(int(i),) for i in range(directions)]
            last = found.part(at, int(directions))
            rows.append(_row(_DIRECTIONS, (), int(directions), where, last, float(tol)))
        return GradientReport(tuple(rows), float(value), float(eps), float(tol))


def _floating(params: Any) -> list[tuple[str, Any]]:
    """The leaves with their paths, all of them floating or complex."""
    found = [
        (check.keystr(path) if path else "params", leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    if not found:
        check.refuse("params has no leaves", expected="a tree of arrays")
    for path, leaf in found:
        if not check.is_inexact(leaf):
            problem = f"this leaf of params is {check.kind_of(leaf)}"
            fix = "Pass integer leaves among args"
            expected = "floating or complex numbers"
            check.refuse(problem, expected=expected, fix=fix, path=path, error=TypeError)
        if isinstance(leaf, jax.core.Tracer):
            fix = "Call it outside jit, grad and vmap"
            check.refuse("this leaf of params is traced", fix=fix, path=path, error=TypeError)
    return found


def _widen(tree: Any) -> Any:
    """The floating arrays of a tree in double precision."""

    def leaf(x: Any) -> Any:
        if not isinstance(x, (jax.Array, np.ndarray, np.generic)) or not check.is_inexact(x):
            return x
        return jnp.asarray(x, jnp.complex128 if jnp.iscomplexobj(x) else jnp.float64)

    return jax.tree.map(leaf, tree)


class _Flat:
    """A tree as one float64 vector; complex leaves are their real parts, then the imaginary."""

    def __init__(self, tree: Any) -> None:
        leaves, self.treedef = jax.tree.flatten(tree)
        self.shapes = [np.shape(x) for x in leaves]
        self.complex = [bool(jnp.iscomplexobj(x)) for x in leaves]
        parts = [
            np.concatenate([np.ravel(x.real), np.ravel(x.imag)]).astype(np.float64)
            for x in (np.asarray(x, None if c else float) for x, c in zip(leaves, self.complex))
        ]  # fmt: skip
        parts = [x if c else x[: len(x) // 2] for x, c in zip(parts, self.complex)]
        self.sizes = [len(x) for x in parts]
        self.starts = [0, *np.cumsum(self.sizes)[:-1].tolist()]
        self.theta = np.concatenate(parts)

    def vector(self, tree: Any) -> Any:
        """The vector of a gradient; of a complex leaf JAX's is the conjugate of the slopes."""
        expected = jax.tree.unflatten(self.treedef, list(map(np.zeros, self.shapes)))
        treedef: Any
        leaves, treedef = jax.tree.flatten(tree)
        if treedef != self.treedef:
            problem = f"grad_fn returned the tree {treedef}"
            check.refuse(problem, expected=f"that of params, {self.treedef}")
        parts = []
        paths = jax.tree_util.tree_leaves_with_path(expected)
        for (path, _), x, shape, pair in zip(paths, leaves, self.shapes, self.complex):
            if np.shape(x) != shape:
                problem = f"grad_fn returned {check.shape_dtype(x)}"
                where = check.keystr(path)
                check.refuse(problem, expected=f"the shape {list(shape)}", path=where)
            flat = jnp.ravel(jnp.asarray(x))
            parts += [flat.real, -flat.imag] if pair else [flat.real]
        return jnp.concatenate([x.astype(jnp.float64) for x in parts])

    def tree(self, theta: Any) -> Any:
        """The tree of a vector."""
        leaves = []
        for start, size, shape, pair in zip(self.starts, self.sizes, self.shapes, self.complex):
            x = theta[start : start + size]
            x = lax.complex(x[: size // 2], x[size // 2 :]) if pair else x
            leaves.append(x.reshape(shape))
        return jax.tree.unflatten(self.treedef, leaves)


def _probe(
    loss_fn: Any,
    grad_fn: Any,
    flat: _Flat,
    args: Any,
    has_aux: bool,
    index: Any,
    lines: Any,
    eps: float,
) -> tuple[float, Probes]:
    """The loss, its derivatives and its values at the steps: one compilation."""
    leaves, treedef = jax.tree.flatten(args)
    is_array = [isinstance(x, (jax.Array, np.ndarray)) for x in leaves]

    def called(function: Any, theta: Any, arrays: Any) -> Any:
        following = iter(arrays)
        full = [next(following) if given else x for x, given in zip(leaves, is_array)]
        return function(flat.tree(theta), *jax.tree.unflatten(treedef, full))

    def loss(theta: Any, arrays: Any) -> Any:
        out = called(loss_fn, theta, arrays)
        return out[0] if has_aux else out

    def gradient_of(theta: Any, arrays: Any) -> Any:
        if grad_fn is None:
            return jax.grad(loss)(theta, arrays)
        return flat.vector(called(grad_fn, theta, arrays))

    theta = jnp.asarray(flat.theta)
    arrays = [x for x, given in zip(leaves, is_array) if given]
    _judge_loss(loss, theta, arrays, has_aux, loss_fn, flat, args)
    step = np.concatenate([
        eps * np.maximum(1.0, np.abs(flat.theta[index])),
        np.full(len(lines), eps * max(1.0, float(np.linalg.norm(flat.theta)))),
    ])  # fmt: skip
    offsets = (step[:, None] * np.array([1.0, -1.0, SHORTER, -SHORTER])).ravel()
    element = np.repeat([*index.tolist(), *[-1] * len(lines)], 4)
    line = np.repeat([*[0] * len(index), *range(len(lines))], 4)

    @jax.jit
    def run(theta: Any, arrays: Any, lines: Any, rows: Any) -> Any:
        def at(row: Any) -> Any:
            i, k, offset = row
            moved = lax.cond(
                i >= 0,
                lambda: theta.at[i].add(offset),
                lambda: theta + offset * lines[k],
            )
            return loss(moved, arrays)

        return gradient_of(theta, arrays), lax.map(at, rows)

    rows = (
        np.concatenate([[0], element]).astype(np.int32),
        np.concatenate([[0], line]).astype(np.int32),
        np.concatenate([[0.0], offsets]),
    )
    some = lines if len(lines) else np.zeros((1, len(flat.theta)))
    gradient, values = jax.device_get(run(theta, arrays, some, rows))
    if not np.isfinite(values[0]):
        fix = "Choose parameters at which it is finite"
        check.refuse(f"the loss is {float(values[0])} at params", expected="a finite loss", fix=fix)
    along = np.concatenate([gradient[index], lines @ gradient])
    return float(values[0]), Probes(along, step, values[1:].reshape(-1, 4))


def _judge_loss(
    loss: Any, theta: Any, arrays: Any, has_aux: bool, loss_fn: Any, flat: _Flat, args: Any
) -> None:
    """The loss is one real number, computed in float64."""
    out = jax.eval_shape(lambda t: loss_fn(flat.tree(t), *args), theta)
    name = check.shown(loss_fn)
    if has_aux:
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            problem = f"loss_fn={name} returns {check.kind_of(out)}"
            check.refuse(problem, expected="(loss, aux), with has_aux=True", error=TypeError)
        out = out[0]
    shape, kind = getattr(out, "shape", None), getattr(out, "dtype", None)
    if shape != () or kind is None or not jnp.issubdtype(kind, jnp.floating):
        problem = f"loss_fn={name} returns {check.kind_of(out)}"
        fix = "Pass has_aux=True" if isinstance(out, (tuple, list)) and len(out) == 2 else ""
        check.refuse(problem, expected="one real number", fix=fix, error=TypeError)
    narrow = "" if kind == jnp.float64 else str(kind)
    if not narrow:
        backward = jax.eval_shape(lambda t: jax.vjp(lambda t: loss(t, arrays), t)[1], theta)
        ones = jax.ShapeDtypeStruct((), jnp.float64)
        jaxpr = jax.make_jaxpr(lambda pull, seed: pull(seed))(backward, ones)
        narrow = next(_casts(jaxpr.jaxpr), "")
    if narrow:
        problem = f"loss_fn={name} casts to {narrow}"
        fix = "Remove the casts for the check, for example dtype= of the layers"
        check.refuse(problem, expected="a loss computed in float64", fix=fix)


_FLOATS = (np.dtype("float64"), np.dtype("complex128"))


def _casts(jaxpr: Any) -> Iterator[str]:
    """The narrow floating dtypes that a jaxpr casts to or from."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "convert_element_type":
            kinds = [equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype]
            floats = [k for k in kinds if jnp.issubdtype(k, jnp.inexact)]
            yield from (str(k) for k in floats if len(floats) == 2 and k not in _FLOATS)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(value):
                yield from _casts(getattr(value, "jaxpr", value))


def _is_jaxpr(value: Any) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")


def _row(
    path: str, shape: Any, size: int, where: list[Any], found: Found, tol: float
) -> GradientRow:
    smooth = np.isin(found.reason, ["", "differs"])
    g, d = found.gradient[smooth], found.difference[smooth]
    apart, scale = float(np.linalg.norm(d - g)), float(np.linalg.norm(d) + np.linalg.norm(g))
    error = apart / scale if scale > 0 else 0.0
    at_rounding = error > tol and apart <= float(np.linalg.norm(found.floor[smooth]))
    elements = [
        GradientElement(at, float(g), float(d), float(left), float(right), str(reason))
        for at, g, d, left, right, reason in zip(
            where, found.gradient, found.difference, found.left, found.right, found.reason
        )
    ]
    wrong = tuple(e for e, bad in zip(elements, found.bad) if bad)
    kinks = tuple(e for e, bad in zip(elements, found.bad) if e.reason == "kink" and not bad)
    return GradientRow(path, shape, size, len(where), error, at_rounding, kinks, wrong)


def _index(i: int, leaf: Any) -> tuple[int | str, ...]:
    """The index of a real number within its leaf."""
    if not jnp.iscomplexobj(leaf):
        return tuple(int(k) for k in np.unravel_index(i, np.shape(leaf))) if np.ndim(leaf) else ()
    size = np.size(leaf)
    at = np.unravel_index(i % size, np.shape(leaf)) if np.ndim(leaf) else ()
    return (*(int(k) for k in at), "real" if i < size else "imag")
