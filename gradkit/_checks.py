"""The error messages, in one style.

``<where>: <problem>. Expected <expected>. <fix>.``

``<where>`` is the path of the calls being built or run, outermost first (``adamw.scale_by_adam``),
and of the leaf. Only concrete values are judged:
a traced one passes, and so does a concrete one where jit would trace it, so that eager and jit
never differ.
"""

import contextlib
import difflib
import inspect
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NoReturn

import jax
import numpy as np

from gradkit._flax import without_value

_inside: ContextVar[tuple[tuple[str, Any], ...]] = ContextVar("gradkit_where", default=())
_judging: ContextVar[bool] = ContextVar("gradkit_judging", default=True)


@contextlib.contextmanager
def inside(name: str, arguments: Any = None) -> Iterator[None]:
    """Let the messages raised within name this call; ``arguments`` are those it was made with."""
    token = _inside.set((*_inside.get(), (name, arguments)))
    try:
        yield
    finally:
        _inside.reset(token)


@contextlib.contextmanager
def unjudged() -> Iterator[None]:
    """Let the values of arrays pass, as under jit, where they are traced."""
    token = _judging.set(False)
    try:
        yield
    finally:
        _judging.reset(token)


def judging() -> bool:
    """Whether the values of arrays are judged."""
    return _judging.get()


def _where(count: int | None = None) -> str:
    """The path of the calls, or of the outermost ``count`` of them."""
    return ".".join(name for name, _ in _inside.get()[:count] if name)


def name_of(default: str, value: Any) -> str:
    """The name that the outermost call gave to a value.

    That of a recipe's argument ``weight_decay_mask``, not of the ``mask`` of its part.
    """
    return _given(default, value)[1]


def _given(argument: str, value: Any) -> tuple[int, str]:
    """The number of calls down to the outermost one given a value, and the value's name there."""
    calls = _inside.get()
    for i, (_, arguments) in enumerate(calls):
        names = [name for name, given in (arguments or {}).items() if _is_same(given, value)]
        if argument in names or (names and not _is_common(value)):
            return i + 1, argument if argument in names else names[0]
    return len(calls), argument


def _is_same(given: Any, value: Any) -> bool:
    if type(given) is type(value) and isinstance(value, (dict, list, tuple)):
        try:
            return bool(given == value)
        except (TypeError, ValueError):  # arrays have no truth value
            return False
    return given is value


def _is_common(value: Any) -> bool:
    """Whether Python has one object for all equal values, so that identity says nothing."""
    return value is None or (isinstance(value, int) and -6 < value < 257)


def refuse(
    problem: str,
    *,
    expected: str = "",
    fix: str = "",
    path: str = "",
    argument: tuple[str, Any] | None = None,
    error: type[Exception] = ValueError,
) -> NoReturn:
    """Raise an error in the style of this module.

    Args:
      problem: the offending value and what is wrong with it, such as ``b1=1.5 is out of range``.
      expected: what would be accepted, such as ``0 <= b1 < 1``.
      fix: what to write instead.
      path: the path of a leaf, an argument's position, or whatever narrows the place down.
      argument: the name and value of an argument, to name the outermost call that was given it.
      error: ValueError for a wrong value, TypeError for a value of the wrong kind.
    """
    count = None
    if argument is not None:
        name, value = argument
        count, known = _given(name, value)
        if known != name:  # as the user wrote it
            problem, expected = (
                re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w)", known, text)
                for text in (problem, expected)
            )
    where = ", ".join(part for part in (_where(count), path) if part)
    sentences = [problem, expected and f"Expected {expected}", fix]
    message = " ".join(text + ("" if text[-1] in ".?!" else ".") for text in sentences if text)
    if error is KeyError:
        error = _MissingError
    raise ours(error(f"{where}: {message}" if where else message))


class _MissingError(KeyError):
    """A KeyError whose message is printed as it is, not its repr."""

    __str__ = Exception.__str__


def ours(error: Exception) -> Exception:
    """Mark an error as one of ours: complete in its message."""
    error.gradkit = True  # type: ignore[attr-defined]
    return error


def is_ours(error: Exception) -> bool:
    return hasattr(error, "gradkit")


# Arguments by the names other libraries give them.
_ALIASES = {
    "lr": "learning_rate",
    "alpha": "learning_rate",
    "wd": "weight_decay",
    "weight_decay_mask": "mask",
    "beta1": "b1",
    "beta_1": "b1",
    "beta2": "b2",
    "beta_2": "b2",
    "epsilon": "eps",
    "rho": "decay",
    "mu": "momentum",
}


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
    """A leaf's dotted path; that of a tree which is a single array says so."""
    path = without_value(path)
    return jax.tree_util.keystr(path, simple=True, separator=".") or "the tree's only leaf"


def shape_dtype(leaf: Any) -> str:
    """``float32[2, 3]``."""
    kind = _kind(leaf)  # JAX has no strings and no objects
    return f"{np.asarray(leaf).dtype if kind is None else kind}{list(np.shape(leaf))}"


# ---- hyperparameters ---------------------------------------------------------------------------


def _concrete(value: Any) -> np.ndarray | None:
    """The value as a NumPy array, or None when it cannot be known yet (a tracer, a schedule)."""
    if isinstance(value, jax.core.Tracer) or not isinstance(value, _NUMBERS):
        return None
    if isinstance(value, (np.ndarray, jax.Array)) and not _judging.get():
        return None
    return np.asarray(value)


_NUMBERS = (bool, int, float, complex, np.ndarray, np.generic, jax.Array)


def shown(value: Any) -> str:
    """A value as it is named in a message, on one line."""
    if isinstance(value, (np.ndarray, jax.Array)) and not isinstance(value, jax.core.Tracer):
        return (
            repr(value.item())
            if value.ndim == 0 and getattr(value.dtype, "kind", "key") in "biufc"
            else shape_dtype(value)
        )
    text = getattr(value, "__name__", None) if callable(value) else None
    text = " ".join((text or repr(value)).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def number(expected: str, is_right: Any, /, **values: Any) -> None:
    """Numbers in a range, which is written with ``x`` for the number: ``"x >= 4"``."""
    for name, value in values.items():
        if isinstance(value, jax.Array) and not _is_real_dtype(value.dtype):
            as_number(name, value, schedule=True)
        known = _concrete(value)
        if known is None:
            pending = isinstance(value, (*_NUMBERS, jax.core.Tracer, jax.ShapeDtypeStruct))
            if not pending and getattr(value, "kind", None) != "schedule":
                as_number(name, value, schedule=True)
            continue
        as_number(name, value, schedule=True)
        if known.dtype.kind in "iuf" or known.dtype.name in ("bfloat16", "float16"):
            if np.all(is_right(known.astype(np.float64))):
                continue
        elif known.dtype.kind == "V":
            continue
        problem = f"{name}={shown(value)} is out of range"
        refuse(problem, expected=expected.replace("x", name, 1), argument=(name, value))


def as_number(name: str, value: Any, *, schedule: bool = False) -> Any:
    """A real number as it is, an integer as a float; anything else is refused."""
    if isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)):
        return value
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        is_real = _is_real_dtype(value.dtype)
    if not is_real:
        expected = "a number, a scalar array or a schedule" if schedule else "a real number"
        problem = f"{name}={shown(value)} is not a number"
        refuse(
            problem, expected=expected, fix=uncalled(value), argument=(name, value), error=TypeError
        )
    return float(value) if isinstance(value, int) else value


def _is_real_dtype(dtype: Any) -> bool:
    kinds = (jax.numpy.floating, jax.numpy.integer)
    return any(jax.numpy.issubdtype(dtype, kind) for kind in kinds)


def positive(**values: Any) -> None:
    """Numbers > 0 (infinity allowed: a bound that never binds)."""
    number("x > 0", lambda v: v > 0, **values)


def non_negative(**values: Any) -> None:
    """Finite numbers >= 0: rates, epsilons, weight decays."""
    number("0 <= x < inf", lambda v: (v >= 0) & np.isfinite(v), **values)


def finite(**values: Any) -> None:
    """Finite numbers of any sign."""
    number("a finite x", np.isfinite, **values)


def decay(**values: Any) -> None:
    """Decays of an average, in [0, 1)."""
    number("0 <= x < 1", lambda v: (v >= 0) & (v < 1), **values)


def probability(**values: Any) -> None:
    """Numbers in [0, 1]."""
    number("0 <= x <= 1", lambda v: (v >= 0) & (v <= 1), **values)


def integer(at_least: int | None, fix: str = "", /, **values: Any) -> None:
    """Integers from ``at_least`` on, None for any (a whole float is accepted, as in optax)."""
    for name, value in values.items():
        if isinstance(value, jax.core.Tracer):
            continue
        expected = "" if at_least is None else f"an integer >= {at_least}"
        known = value
        if isinstance(value, (np.ndarray, np.generic, jax.Array)) and np.ndim(value) == 0:
            known = value.item()
        whole = isinstance(known, int) or (isinstance(known, float) and known.is_integer())
        if isinstance(known, bool) or not whole:
            problem = f"{name}={shown(value)} is not an integer"
            refuse(problem, expected=expected, fix=fix, argument=(name, value), error=TypeError)
        if at_least is not None and known < at_least:
            problem = f"{name}={shown(value)} is out of range"
            refuse(problem, expected=expected, fix=fix, argument=(name, value))


def boolean(**values: Any) -> None:
    """True or False."""
    for name, value in values.items():
        if not isinstance(value, (bool, np.bool_, jax.core.Tracer)):
            problem = f"{name}={shown(value)} is not a bool"
            refuse(problem, expected="True or False", argument=(name, value), error=TypeError)


def string(**values: Any) -> None:
    """Strings."""
    for name, value in values.items():
        if not isinstance(value, str):
            problem = f"{name}={shown(value)} is not a string"
            refuse(problem, argument=(name, value), error=TypeError)


def function(**values: Any) -> None:
    """Functions."""
    for name, value in values.items():
        if not callable(value):
            problem = f"{name}={shown(value)} is not a function"
            refuse(problem, expected="a function", argument=(name, value), error=TypeError)


def arity(count: int, of: str, **values: Any) -> None:
    """Functions that can be called with ``count`` positional arguments."""
    for name, value in values.items():
        if not callable(value):
            problem = f"{name}={shown(value)} is not a function"
            refuse(problem, expected=f"a function of {of}", argument=(name, value), error=TypeError)
        if fix := uncalled(value):
            problem = f"{name}={shown(value)} is a factory"
            refuse(problem, fix=fix, argument=(name, value), error=TypeError)
        try:
            signature = inspect.signature(value)
            required = {  # extra arguments, which are passed by name
                p.name: None
                for p in signature.parameters.values()
                if p.kind is p.KEYWORD_ONLY and p.default is p.empty
            }
            signature.bind(*[None] * count, **required)
        except TypeError:
            problem = f"{name}={shown(value)} cannot be called with {count} positional argument"
            problem += "s" if count > 1 else ""
            refuse(problem, expected=f"a function of {of}", argument=(name, value), error=TypeError)
        except ValueError:  # a builtin without a signature
            continue


def ordered(**values: Any) -> None:
    """Two numbers, the first below the second."""
    (low_name, low), (high_name, high) = values.items()
    known_low, known_high = _concrete(low), _concrete(high)
    if known_low is None or known_high is None or np.all(known_low < known_high):
        return
    problem = f"{low_name}={shown(low)} is not below {high_name}={shown(high)}"
    refuse(problem, expected=f"{low_name} < {high_name}", argument=(low_name, low))


def real(leaf: Any) -> None:
    """Real numbers, which have an order."""
    if jax.numpy.iscomplexobj(leaf):
        fix = "Split complex leaves into real and imaginary parts first"
        problem = f"the array is {shape_dtype(leaf)}"
        refuse(problem, expected="real numbers", fix=fix, error=TypeError)


def real_leaves(tree: Any) -> None:
    """Every leaf is real: for rules that use signs or inner products."""
    jax.tree.map(real, tree)


def one_of(options: Iterable[str], **values: Any) -> None:
    """One of several strings."""
    for name, value in values.items():
        if not isinstance(value, str) or value not in options:
            problem = f"{name}={shown(value)} is not an option"
            expected = f"one of {', '.join(map(repr, options))}"
            refuse(problem, expected=expected, argument=(name, value))


def floating_dtype(**values: Any) -> Any:
    """The floating or complex dtype that an argument names."""
    ((name, value),) = values.items()
    try:
        kind = jax.numpy.dtype(value)
    except TypeError:
        kind = None
    if kind is None or value is None or not jax.numpy.issubdtype(kind, jax.numpy.inexact):
        words = nearest(value, _DTYPES) if isinstance(value, str) else ""
        problem = f"{name}={shown(value)} is not a floating dtype"
        refuse(problem, fix=words, argument=(name, value), error=TypeError)
    return kind


_DTYPES = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")


def part(**values: Any) -> None:
    """Transforms, where one is made of others."""
    for name, value in values.items():
        if getattr(value, "kind", None) != "transform":
            problem = f"{name}={shown(value)} is not a transform"
            fix = uncalled(value)
            expected = "" if fix else "a transform such as ema(0.9)"
            refuse(problem, expected=expected, fix=fix, argument=(name, value), error=TypeError)


def uncalled(value: Any) -> str:
    """The fix for a factory that was passed in place of what it returns."""
    return f"Call the factory: {value.__name__}(...)" if hasattr(value, "makes") else ""


# ---- trees -------------------------------------------------------------------------------------


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
    fix += "; inside an optax wrapper or another library, pass as_optax(tx)"
    refuse(f"the extra argument {name!r} is missing", fix=fix, error=TypeError)


def flag(value: Any, what: str) -> None:
    """A scalar bool array."""
    if np.shape(value) != () or not np.issubdtype(jax.dtypes.result_type(value), np.bool_):
        problem = f"{what} returned {shape_dtype(value)}"
        refuse(problem, expected="one bool", error=TypeError)


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
    if all(jax.numpy.issubdtype(_kind(leaf), jax.numpy.inexact) for leaf in jax.tree.leaves(tree)):
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        kind = _kind(leaf)
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
    kind = _kind(leaf)
    return kind is not None and bool(jax.numpy.issubdtype(kind, jax.numpy.inexact))


def kind_of(value: Any) -> str:
    """``float32[3]`` for an array, else the name of the type."""
    return shape_dtype(value) if hasattr(value, "dtype") else type(value).__name__


def _kind(leaf: Any) -> Any:
    try:
        return jax.dtypes.result_type(leaf)
    except TypeError:
        return None


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
