"""Checks of trees: updates, parameters and their leaves, and the extra arguments beside them."""

from typing import Any, NoReturn

import jax
import numpy as np

from gradkit._checks.messages import dtype_of, keystr, refuse, shape_dtype, shown


def params(tree: Any) -> None:
    """Parameters, where a transform needs them."""
    if tree is None:
        fix = "Call update(updates, state, params)"
        refuse("params=None, but this transform needs the parameters", fix=fix)


def extra(extras: Any, name: str) -> None:
    """An extra argument that a transform needs only in some of its forms."""
    if name not in extras:
        missing_extra(name)


def missing_extra(name: str) -> NoReturn:
    """An extra argument that was not passed."""
    fix = f"Call update(updates, state, params, {name}=...)"
    if name == "residual_fn":  # which make_step does not have
        fix = f"Call least_squares(residuals, x0, tx). {fix}"
    else:
        fix += "; inside an optax wrapper or another library, pass as_optax(tx)"
    refuse(f"the extra argument {name!r} is missing", fix=fix, error=TypeError)


def tree_of_arrays(tree: Any, what: str) -> None:
    """A tree at all, and not a transform or a bare None."""
    if tree is None:
        refuse(f"{what} is None", expected="a tree of arrays", error=TypeError)
    if getattr(tree, "kind", None) or hasattr(tree, "makes"):
        refuse(f"{what} is {shown(tree)}", expected="a tree of arrays", error=TypeError)
    try:
        leaves = jax.tree.leaves(tree)
    except (ValueError, TypeError) as error:
        # JAX sorts the keys of a dict.
        fix = "Use keys of one type"
        problem = f"{what} cannot be flattened: {str(error).splitlines()[0]}"
        refuse(problem, fix=fix, error=TypeError)
    words = [leaf for leaf in leaves if isinstance(leaf, (str, bytes))]
    if words and len(words) == len(leaves):
        path = "" if tree is words[0] else keystr(jax.tree_util.tree_leaves_with_path(tree)[0][0])
        problem = f"this leaf of {what} is {shown(words[0])}" if path else f"{what} is {words[0]!r}"
        refuse(problem, expected="a tree of arrays", path=path, error=TypeError)


def inexact(tree: Any, what: str) -> None:
    """Every leaf is a real or complex floating number."""
    if all(
        jax.numpy.issubdtype(dtype_of(leaf), jax.numpy.inexact) for leaf in jax.tree.leaves(tree)
    ):
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        kind = dtype_of(leaf)
        if kind is None:
            problem = f"this {what} is {type(leaf).__name__}"
            fix = "Filter the tree to its arrays first"
            refuse(problem, expected="an array", fix=fix, path=keystr(path), error=TypeError)
        if not jax.numpy.issubdtype(kind, jax.numpy.inexact):
            problem = f"this {what} is {shape_dtype(leaf)}"
            fix = "Remove integer leaves from the tree, or wrap the optimizer in masked or where"
            refuse(
                problem, expected="a floating dtype", fix=fix, path=keystr(path), error=TypeError
            )


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf is an array or a number of a floating or complex dtype."""
    kind = dtype_of(leaf)
    return kind is not None and bool(jax.numpy.issubdtype(kind, jax.numpy.inexact))


def match(updates: Any, params: Any) -> None:
    """Updates have the tree, the shapes and the kind of numbers of params."""
    have: Any = jax.tree.structure(updates)
    if have != jax.tree.structure(params):
        _structures(updates, params)
    pairs = zip(jax.tree_util.tree_leaves_with_path(updates), jax.tree.leaves(params), strict=True)
    for (path, update), param in pairs:
        if np.shape(update) != np.shape(param):
            _unlike(path, update, param, "shape of its parameter", ValueError)
        if jax.numpy.iscomplexobj(update) != jax.numpy.iscomplexobj(param):
            _unlike(path, update, param, "complex or real kind of its parameter", TypeError)


def _unlike(path: Any, update: Any, param: Any, what: str, error: type[Exception]) -> None:
    problem = f"this update is {shape_dtype(update)}, but its parameter is {shape_dtype(param)}"
    refuse(problem, expected=f"the {what}", path=keystr(path), error=error)


def same_shapes(updates: Any, before: Any) -> None:
    """A transform keeps the tree and the shapes of the updates."""
    have: Any
    leaves, have = jax.tree.flatten(updates)
    wanted, want = jax.tree.flatten(before)
    if have != want:
        problem = f"update returned the tree {have}"
        refuse(problem, expected=f"{want}", fix="Return (updates, state) in this order")
    for i, (leaf, old) in enumerate(zip(leaves, wanted, strict=True)):
        if np.shape(leaf) != np.shape(old):
            path = keystr(jax.tree_util.tree_leaves_with_path(before)[i][0])
            problem = f"update returned {shape_dtype(leaf)} for {shape_dtype(old)}"
            fix = "A state belongs to the tree that init was given, and a transform keeps shapes"
            refuse(problem, fix=fix, path=path)


def _structures(updates: Any, params: Any) -> NoReturn:
    """Name the first leaf that one of two trees lacks."""
    have, want = (
        {keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (updates, params)
    )
    fix = "Take gradients with respect to the tree that init was given"
    for path in sorted(want - have):
        refuse("this parameter has no update", fix=fix, path=path)
    for path in sorted(have - want):
        refuse("this update has no parameter", fix=fix, path=path)
    problem = f"the updates are {jax.tree.structure(updates)}"
    refuse(problem, expected=f"{jax.tree.structure(params)}", fix=fix)


def flag(value: Any, what: str) -> None:
    """A scalar bool array."""
    if np.shape(value) != () or not np.issubdtype(jax.dtypes.result_type(value), np.bool_):
        problem = f"{what} returned {shape_dtype(value)}"
        refuse(problem, expected="one bool", error=TypeError)


def real(leaf: Any) -> None:
    """Real numbers, which have an order."""
    if jax.numpy.iscomplexobj(leaf):
        fix = "Split complex leaves into real and imaginary parts first"
        problem = f"the array is {shape_dtype(leaf)}"
        refuse(problem, expected="real numbers", fix=fix, error=TypeError)


def real_leaves(tree: Any) -> None:
    """Every leaf is real: for rules that use signs or inner products."""
    jax.tree.map(real, tree)
