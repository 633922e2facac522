"""Every error message is born here, in one style.

``<link>, <path in the tree>: <what was needed>; got <what came>. <how to mend it>.``

The link is the part that speaks: the stack of calls being built or run, outermost first (``adamw.scale_by_adam``).
Only concrete values are judged; a traced one passes, for there is nothing to compare it with.
"""

import contextlib
import difflib
import math
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NoReturn

import jax
import numpy as np

_inside: ContextVar[tuple[str, ...]] = ContextVar("gradkit_link", default=())


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Let messages raised within name this link."""
    token = _inside.set((*_inside.get(), name))
    try:
        yield
    finally:
        _inside.reset(token)


def fail(
    needed: str, got: str, mend: str = "", *, path: str = "", error: type[Exception] = ValueError
) -> NoReturn:
    """Raise ``error`` in the style of the house."""
    where = ", ".join(part for part in (".".join(_inside.get()), path) if part)
    message = (
        f"{needed}; got {got}."
        + (f" {mend}" if mend else "")
        + ("." if mend and mend[-1] not in ".?" else "")
    )
    raise born(error(f"{where}: {message}" if where else message))


def refuse(
    problem: str,
    *,
    expected: str = "",
    fix: str = "",
    path: str = "",
    error: type[Exception] = ValueError,
) -> NoReturn:
    """Raise ``error`` with the message ``<where>: <problem>. Expected <expected>. <fix>.``

    Args:
      problem: the offending value and what is wrong with it, such as ``b1=1.5 is out of range``.
      expected: what would be accepted, such as ``0 <= b1 < 1``.
      fix: what to write instead.
      path: the path of a leaf, an argument's position, or whatever narrows the place down.
      error: ValueError for a wrong value, TypeError for a value of the wrong kind.
    """
    where = ", ".join(part for part in (".".join(_inside.get()), path) if part)
    sentences = [problem, expected and f"Expected {expected}", fix]
    message = " ".join(text + ("" if text[-1] in ".?!" else ".") for text in sentences if text)
    raise born(error(f"{where}: {message}" if where else message))


def born(error: Exception) -> Exception:
    """Mark an error as one of ours: complete in its message."""
    error.gradkit = True  # type: ignore[attr-defined]
    return error


def is_born(error: Exception) -> bool:
    return hasattr(error, "gradkit")


# What other libraries call it.
_ALIASES = {
    "lr": "learning_rate", "wd": "weight_decay", "beta1": "b1", "beta_1": "b1", "beta2": "b2", "beta_2": "b2", "epsilon": "eps", "alpha": "learning_rate",
    "weight_decay_mask": "mask", "rho": "decay", "mu": "momentum",
}  # fmt: skip


def nearest(name: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` or the list of what there is."""
    known = sorted(known)
    close = (
        [_ALIASES[name]]
        if _ALIASES.get(name) in known
        else difflib.get_close_matches(name, known, n=1)
    )
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(known)}" if known else "None is known"


def keystr(path: Any) -> str:
    """A leaf's dotted path; the root of the tree is ``params`` itself."""
    if len(path) > 1 and path[-1] == jax.tree_util.GetAttrKey("value"):
        path = path[
            :-1
        ]  # a Flax nnx Variable is a node of its own, whose only leaf is its value: that is no part of the name
    return jax.tree_util.keystr(path, simple=True, separator=".") or "the tree's only leaf"


def shape_dtype(leaf: Any) -> str:
    """``float32[2, 3]``."""
    return f"{jax.dtypes.result_type(leaf)}{list(np.shape(leaf))}"


# ---- hyperparameters ------------------------------------------------------------------------------------------------


def _concrete(value: Any) -> np.ndarray | None:
    """The value as a NumPy array, or None when it cannot be known yet (a tracer, a schedule, None, no number at all)."""
    if isinstance(value, jax.core.Tracer) or not isinstance(
        value, (bool, int, float, complex, np.ndarray, np.generic, jax.Array)
    ):
        return None
    return np.asarray(value)


def _number(needed: str, mend: str, is_right: Any, **values: Any) -> None:
    for name, value in values.items():
        known = _concrete(value)
        if known is None:
            if not isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)) and not (
                hasattr(value, "leaves") and not hasattr(value, "rule")
            ):  # a schedule
                kind = "None" if value is None else f"{type(value).__name__} {value!r}"
                fail(f"needs {needed}, or a schedule", kind, mend, path=name, error=TypeError)
            continue
        if known.dtype.kind not in "iuf" and known.dtype.kind != "V":
            fail(f"needs {needed}", repr(value), mend, path=name, error=TypeError)
        if not np.all(is_right(known.astype(np.float64))):
            fail(f"needs {needed}", repr(value), mend, path=name)


def positive(**values: Any) -> None:
    """Numbers > 0 (infinity allowed: a bound that never binds)."""
    _number("a number > 0", "", lambda v: v > 0, **values)


def non_negative(**values: Any) -> None:
    """Finite numbers >= 0: rates, epsilons, weight decays."""
    _number("a finite number >= 0", "", lambda v: (v >= 0) & np.isfinite(v), **values)


def finite(**values: Any) -> None:
    """Finite numbers of any sign."""
    _number("a finite number", "", np.isfinite, **values)


def decay(**values: Any) -> None:
    """Decays of an average, in [0, 1)."""
    _number(
        "a decay in [0, 1)",
        "A decay is the weight of the past, such as 0.9",
        lambda v: (v >= 0) & (v < 1),
        **values,
    )


def probability(**values: Any) -> None:
    """Numbers in [0, 1]."""
    _number("a number in [0, 1]", "", lambda v: (v >= 0) & (v <= 1), **values)


def integer(at_least: int, mend: str = "", /, **values: Any) -> None:
    """Whole numbers from ``at_least`` on (a float that is whole is taken, as optax does)."""
    for name, value in values.items():
        whole = isinstance(value, (int, np.integer)) or (
            isinstance(value, float) and math.isfinite(value) and value == int(value)
        )
        if isinstance(value, bool) or (not whole and not isinstance(value, jax.core.Tracer)):
            fail(
                f"needs a whole number >= {at_least}", repr(value), mend, path=name, error=TypeError
            )
        if whole and value < at_least:
            fail(f"needs a whole number >= {at_least}", repr(value), mend, path=name)


def ordered(**values: Any) -> None:
    """Two numbers, the first below the second."""
    (low_name, low), (high_name, high) = values.items()
    known_low, known_high = _concrete(low), _concrete(high)
    if known_low is not None and known_high is not None and not np.all(known_low < known_high):
        fail(f"needs {low_name} < {high_name}", f"{low!r} and {high!r}", path=low_name)


def real(leaf: Any) -> None:
    """Numbers that have an order."""
    if jax.numpy.iscomplexobj(leaf):
        fail(
            "needs real numbers",
            shape_dtype(leaf),
            "Split complex leaves into real and imaginary parts first",
            error=TypeError,
        )


def real_leaves(tree: Any) -> None:
    """Every leaf is real: for rules that use signs or inner products."""
    jax.tree.map(real, tree)


def one_of(options: Iterable[str], **values: Any) -> None:
    """A word out of a list."""
    for name, value in values.items():
        if value not in options:
            fail(f"needs one of {', '.join(map(repr, options))}", repr(value), path=name)


def part(**values: Any) -> None:
    """Transforms, where one is made of others."""
    for name, value in values.items():
        if not hasattr(value, "rule"):
            fail(
                "needs a transform",
                repr(value),
                uncalled(value) or "Such as ema(0.9)",
                path=name,
                error=TypeError,
            )


def uncalled(value: Any) -> str:
    """The mend for a factory that was passed where what it makes was wanted."""
    return f"Call the factory: {value.__name__}(...)" if hasattr(value, "makes") else ""


# ---- trees ----------------------------------------------------------------------------------------------------------


def params(tree: Any) -> None:
    """A link that needs the parameters has them."""
    if tree is None:
        fail("needs the parameters", "params=None", "Call update(updates, state, params)")


def extra(extras: Any, name: str) -> None:
    """An extra that a link needs only in some of its forms."""
    if name not in extras:
        fail(
            f"needs the extra argument {name!r}",
            "none",
            f"Call update(updates, state, params, {name}=...)",
            error=TypeError,
        )


def flag(value: Any, what: str) -> None:
    """A single bool, as an array."""
    if np.shape(value) != () or not np.issubdtype(jax.dtypes.result_type(value), np.bool_):
        fail(f"needs {what} to return one bool", shape_dtype(value), error=TypeError)


def inexact(tree: Any, what: str) -> None:
    """Every leaf is a real or complex floating number."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        try:
            kind = jax.dtypes.result_type(leaf)
        except TypeError:
            fail(
                f"needs {what} whose leaves are arrays",
                type(leaf).__name__,
                "Filter the tree to its arrays first",
                path=keystr(path),
                error=TypeError,
            )
        if not jax.numpy.issubdtype(kind, jax.numpy.inexact):
            mend = "Take integer leaves out of the tree, or put masked or where around the whole optimizer"
            fail(
                f"needs {what} of a floating dtype",
                shape_dtype(leaf),
                mend,
                path=keystr(path),
                error=TypeError,
            )


def match(updates: Any, params: Any) -> None:
    """Updates have the tree, the shapes and the kind of numbers of params."""
    have: Any = jax.tree.structure(updates)
    if have != jax.tree.structure(params):
        _structures(updates, params)
    pairs = zip(jax.tree_util.tree_leaves_with_path(updates), jax.tree.leaves(params), strict=True)
    for (path, update), param in pairs:
        if np.shape(update) != np.shape(param):
            mend = "Every update has the shape of its parameter"
            fail(
                f"needs an update like its parameter {shape_dtype(param)}",
                shape_dtype(update),
                mend,
                path=keystr(path),
            )
        if jax.numpy.iscomplexobj(update) != jax.numpy.iscomplexobj(param):
            mend = "A complex parameter takes complex updates, a real one real updates"
            fail(
                f"needs an update like its parameter {shape_dtype(param)}",
                shape_dtype(update),
                mend,
                path=keystr(path),
                error=TypeError,
            )


def same_shapes(updates: Any, before: Any) -> None:
    """What a link made of the updates has their tree and shapes."""
    have: Any
    leaves, have = jax.tree.flatten(updates)
    wanted, want = jax.tree.flatten(before)
    if have != want:
        fail(
            f"needs an update that returns the tree it was given, {want}",
            f"{have}",
            "Return (updates, memory) in this order",
        )
    for i, (leaf, old) in enumerate(zip(leaves, wanted, strict=True)):
        if np.shape(leaf) != np.shape(old):
            path = keystr(jax.tree_util.tree_leaves_with_path(before)[i][0])
            mend = "A state belongs to the tree that init was given, and a link keeps shapes"
            fail(
                f"needs an update that keeps the shape {shape_dtype(old)}",
                shape_dtype(leaf),
                mend,
                path=path,
            )


def _structures(updates: Any, params: Any) -> NoReturn:
    """Name the first leaf that one of two trees lacks."""
    have, want = (
        {keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (updates, params)
    )
    mend = "Take gradients with respect to the same tree that init was given"
    for path in sorted(want - have):
        fail("needs an update for this parameter", "none in the updates", mend, path=path)
    for path in sorted(have - want):
        fail("needs a parameter for this update", "none in params", mend, path=path)
    fail(
        f"needs updates of the tree {jax.tree.structure(params)}",
        str(jax.tree.structure(updates)),
        mend,
    )
