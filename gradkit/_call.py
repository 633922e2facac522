"""A factory call kept as data: a pytree of the function that made it and its arguments.

``adamw(1e-3)`` is not a closure but a `Call`: its factory, its bound arguments, and nothing else.
Floats, arrays and calls among the arguments are the leaves of the pytree; ints, bools, strings,
callables and the shapes of containers are its structure. Hence one compiled function serves every
learning rate, ``vmap`` runs a population, ``repr`` prints the code that made the object, and two
equal calls are equal, hash alike and share their compilations.

The split between leaf and structure is made once, when a call is bound, and kept in ``spec``. A
call that JAX unflattens may hold anything in its leaves (tracers, ``None``, ``vmap`` axes), so
nothing is judged or built there.
"""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Self, Union

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check

_LEAF = "leaf"  # marks, in a spec, a place filled by a pytree leaf


class Call:
    """A factory and its bound arguments."""

    kind = "call"  # which kind of call this is, for the checks below this module

    # Without __weakref__ jax.jit(schedule) fails, and jaxlib's caches crash the process at the
    # second call.
    __slots__ = ("__weakref__", "_body", "factory", "leaves", "spec")

    factory: Any
    spec: tuple[tuple[str, Any, tuple[Any, ...]], ...]
    leaves: tuple[Any, ...]
    _body: Any

    # ---- making --------------------------------------------------------------------------------------------------

    @classmethod
    def bind(cls, factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Call ``factory`` on the arguments: bind, split into leaves and structure, and build the body, which judges them."""
        parameters = factory.__signature__.parameters
        try:
            bound = factory.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            unknown = min(set(kwargs) - set(parameters), default=None)
            # What is misspelled first: what is missing for it is not missing.
            what = (
                str(error) if unknown is None else f"got an unexpected keyword argument {unknown!r}"
            )
            hint = (
                f"It is {factory.__name__}({', '.join(parameters)})"
                if unknown is None
                else check.nearest(unknown, parameters)
            )
            with check.inside(factory.__name__):
                check.refuse(what, fix=hint, error=TypeError)
        bound.apply_defaults()
        with check.inside(factory.__name__, bound.arguments):
            arguments = {n: factory.convert(n, v) for n, v in bound.arguments.items()}
        self = cls._of(factory, arguments)
        self._body = self._build()
        return self

    @classmethod
    def _of(cls, factory: Any, arguments: dict[str, Any]) -> Self:
        spec, leaves = [], []
        for name, value in arguments.items():
            parts, treedef = jax.tree.flatten(value, is_leaf=lambda x: isinstance(x, Call))
            parts = [_plain(part) for part in parts]
            spec.append(
                (
                    name,
                    treedef,
                    tuple(_LEAF if _is_leaf(part) else (type(part), part) for part in parts),
                )
            )
            leaves += [part for part in parts if _is_leaf(part)]
        return cls._filled(factory, tuple(spec), tuple(leaves))

    @classmethod
    def _filled(cls, factory: Any, spec: Any, leaves: tuple[Any, ...]) -> Self:
        self = object.__new__(cls)
        self.factory, self.spec, self.leaves, self._body = factory, spec, leaves, None
        return self

    def _build(self) -> Any:
        """Run the factory's own function on the arguments."""
        return self._run(self.arguments)

    def _run(self, arguments: dict[str, Any], *, named: bool = True) -> Any:
        bound = inspect.BoundArguments(self.factory.__signature__, dict(arguments))
        with check.inside(self.factory.__name__ if named else "", arguments):
            return self.factory.__wrapped__(*bound.args, **bound.kwargs)

    @property
    def body(self) -> Any:
        """What the factory's own function returned.

        Kept for calls made by their factory. Calls unflattened by JAX build it anew each time:
        kept, it could carry the tracers of one trace into the next.
        """
        return self._build() if self._body is None else self._body

    # ---- reading -------------------------------------------------------------------------------------------------

    @property
    def arguments(self) -> dict[str, Any]:
        """The bound arguments by name, defaults included."""
        leaves: Iterator[Any] = iter(self.leaves)
        return {
            name: treedef.unflatten([next(leaves) if slot is _LEAF else slot[1] for slot in slots])
            for name, treedef, slots in self.spec
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in Call.__slots__:
            raise AttributeError(name)
        arguments = self.arguments
        if name in arguments:
            return arguments[name]
        raise check.ours(
            AttributeError(
                f"{self.factory.__name__} has no argument {name!r}. "
                f"{check.nearest(name, arguments)}"
            )
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name in Call.__slots__:
            object.__setattr__(self, name, value)
            return
        with check.inside(self.factory.__name__):
            fix = f"Write new = old.replace({name}=...)"
            check.refuse(f"{name} cannot be assigned", fix=fix, error=AttributeError)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.arguments]

    def __repr__(self) -> str:
        parameters, parts, positional = self.factory.__signature__.parameters, [], True
        for name, value in self.arguments.items():
            kind, default = parameters[name].kind, parameters[name].default
            if kind is inspect.Parameter.VAR_POSITIONAL:
                parts += [_code(item) for item in value]
            elif kind is inspect.Parameter.VAR_KEYWORD:
                parts += [f"{key}={_code(item)}" for key, item in value.items()]
            elif (
                default is inspect.Parameter.empty
                and positional
                and kind is not inspect.Parameter.KEYWORD_ONLY
            ):
                parts.append(_code(value))
            elif default is inspect.Parameter.empty or not _same(_plain(default), value):
                parts.append(f"{name}={_code(value)}")
                positional = False
            else:
                positional = False
        return f"{_qualified(self.factory)}({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        if (
            not isinstance(other, Call)
            or self.factory is not other.factory
            or self.spec != other.spec
        ):
            return False
        return all(_same(a, b) for a, b in zip(self.leaves, other.leaves, strict=True))

    def __hash__(self) -> int:
        return hash((self.factory, self.spec, tuple(_key(leaf) for leaf in self.leaves)))

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.factory, self.arguments)

    def _populations(self) -> Iterator[tuple[str, Any]]:
        """The arrays of rank one and more in arguments that are one number, by path."""
        leaves = iter(self.leaves)
        for name, _, slots in self.spec:
            for leaf in [next(leaves) for slot in slots if slot is _LEAF]:
                if isinstance(leaf, Call):
                    yield from ((f"{name}.{path}", value) for path, value in leaf._populations())
                elif name in self.factory.scalars and np.ndim(leaf):
                    yield name, leaf

    # ---- changing ------------------------------------------------------------------------------------------------

    def children(self) -> dict[str, "Call"]:
        """The calls among the arguments, by the name under which a path finds them."""
        found: dict[str, Call] = {}
        for name, value in self.arguments.items():
            parts = jax.tree_util.tree_leaves_with_path(
                value, is_leaf=lambda x: isinstance(x, Call)
            )
            for path, part in parts:
                if isinstance(part, Call):
                    key = check.keystr(path) if path else ""
                    found[f"{name}.{key}" if key else name] = part
        return found

    def replace(self, changes: dict[str, Any] | None = None, /, **more: Any) -> Self:
        """A call with some arguments changed, here or in a part of it.

        Args:
          changes: values by path (``{"adamw.learning_rate": 3e-4}``), for names that are not
            unique.
          more: values by name. A name is looked for among this call's own arguments first, then in
            its parts, where it must be unique.
        """
        result = self
        if not isinstance(changes or {}, dict) or not all(
            isinstance(p, str) for p in changes or {}
        ):
            with check.inside(self.factory.__name__):
                problem = f"replace: changes={check.shown(changes)} is not a dict of values by path"
                fix = 'Write replace(learning_rate=...) or replace({"adam.learning_rate": ...})'
                check.refuse(problem, fix=fix, error=TypeError)
        for path, value in {**(changes or {}), **more}.items():
            places = result._places(path)
            if len(places) != 1:
                names = sorted({".".join((*at, last)) for at, last in result._all_places()})
                fix = check.nearest(path, names)
                if places:
                    fix = f"Use one of: {', '.join('.'.join((*at, last)) for at, last in places)}"
                matches = (
                    f"is ambiguous: {len(places)} arguments match"
                    if places
                    else "matches no argument"
                )
                with check.inside(self.factory.__name__):
                    check.refuse(f"replace: {path!r} {matches}", fix=fix)
            result = result._set(*places[0], value)
        return result

    def _all_places(self) -> list[tuple[tuple[str, ...], str]]:
        own = [
            ((), name)
            for name in self.arguments
            if self.factory.__signature__.parameters[name].kind
            is not inspect.Parameter.VAR_POSITIONAL
        ]
        return own + [
            ((key, *at), last)
            for key, child in self.children().items()
            for at, last in child._all_places()
        ]

    def _places(self, path: str) -> list[tuple[tuple[str, ...], str]]:
        places = self._all_places()
        if path in [last for at, last in places if not at]:
            return [((), path)]
        found = [
            (at, last) for at, last in places if f".{'.'.join((*at, last))}".endswith(f".{path}")
        ]
        if found:
            return found
        named = [(place, f".{'.'.join(self._named(*place))}") for place in places]
        return [place for place, name in named if name.endswith(f".{path}")]

    def _named(self, at: tuple[str, ...], last: str) -> tuple[str, ...]:
        """The path of an argument by the names of parts, which go before those of the arguments that hold them."""
        if not at:
            return (last,)
        name = self.part_names().get(at[0], at[0])
        inside = self.children()[at[0]]._named(at[1:], last)
        return (name, *inside) if name else inside

    def part_names(self) -> dict[str, str]:
        """The names of children in the paths of states, where they are not those of `children`."""
        return {}

    def _set(self, at: tuple[str, ...], name: str, value: Any) -> Self:
        if at:
            children, leaves = self.children(), list(self.leaves)
            calls = [
                i for i, leaf in enumerate(leaves) if isinstance(leaf, Call)
            ]  # in the order of the children; one call may stand in two places
            with check.inside(self.factory.__name__):
                part = children[at[0]]._set(at[1:], name, value)
            leaves[calls[list(children).index(at[0])]] = part
            changed = self._unflatten((self.factory, self.spec), leaves).arguments
        else:
            old = self.arguments[name]
            is_number = type(value) is int and _is_leaf(old) and not isinstance(old, Call)
            changed = {**self.arguments, name: float(value) if is_number else value}
        return _rebuild(type(self), self.factory, changed)

    # ---- the pytree ----------------------------------------------------------------------------------------------

    def __init_subclass__(cls) -> None:
        jax.tree_util.register_pytree_with_keys(
            cls,
            cls._flatten_with_keys,
            cls._unflatten,
            lambda self: (self.leaves, (self.factory, self.spec)),
        )

    def _flatten_with_keys(self) -> Any:
        keys = [
            name if len(slots) == 1 else f"{name}[{i}]"
            for name, _, slots in self.spec
            for i, slot in enumerate(slots)
            if slot is _LEAF
        ]
        return tuple(
            (jax.tree_util.GetAttrKey(key), leaf)
            for key, leaf in zip(keys, self.leaves, strict=True)
        ), (self.factory, self.spec)

    @classmethod
    def _unflatten(cls, aux: Any, leaves: Any) -> Self:
        return cls._filled(aux[0], aux[1], tuple(leaves))

    def vmap_axes(self) -> Self:
        """``vmap``'s ``in_axes`` for a population: 0 where an argument holds an array of rank one or more, None elsewhere."""
        return jax.tree.map(lambda leaf: 0 if np.ndim(leaf) else None, self)


def factory(function: Callable[..., Any], kind: type[Call]) -> Any:
    """Turn a function into a factory of calls of one kind."""
    with check.inside(kind.kind):
        check.function(function=function)
    signature = inspect.signature(function)
    for name in signature.parameters:
        if hasattr(kind, name) and not (function.__module__ or "").startswith("gradkit."):
            problem = (
                f"{function.__name__}: the parameter {name!r} would hide {kind.__name__}.{name}"
            )
            check.refuse(problem, fix="Choose another name", error=TypeError)

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Call:
        try:
            return kind.bind(make, args, kwargs)
        except (TypeError, ValueError) as error:
            if check.is_ours(error):  # the message says where; the frames in between do not help
                raise error.with_traceback(None)  # noqa: B904  it is the same error
            raise

    # What the body returns, a Rule or a chain, is not what the factory returns.
    make.__signature__ = signature.replace(return_annotation=kind)  # type: ignore[attr-defined]
    make.__annotations__ = {**function.__annotations__, "return": kind}
    make.makes = kind  # type: ignore[attr-defined]
    make.convert = _converter(function, signature)  # type: ignore[attr-defined]
    make.scalars = frozenset(  # type: ignore[attr-defined]
        n for n, p in signature.parameters.items() if _is_scalar(_resolved(p.annotation, function))
    )
    make.movable = frozenset(  # type: ignore[attr-defined]
        n for n, p in signature.parameters.items() if _is_movable(p.annotation)
    )
    return make


# How an argument is read, by its annotation: ``convert(name, value) -> value``, which refuses what
# cannot be read. Each module registers its own types.
CONVERTERS: dict[Any, Callable[[str, Any], Any]] = {}


def _is_movable(annotation: Any) -> bool:
    """Whether a schedule given for the argument is evaluated at each step: a ``Rate``, or an argument without a type."""
    if (
        annotation in (inspect.Parameter.empty, Any)
        or getattr(annotation, "__name__", "") == "Rate"
    ):
        return True
    if isinstance(annotation, str):
        return "Rate" in annotation or annotation == "Any"
    return any(_is_movable(a) for a in typing.get_args(annotation) if _is_union(annotation))


def _is_scalar(annotation: Any) -> bool:
    """Whether the argument is one number: a ``Rate``, a ``Scalar`` or a float, or None."""
    if _is_union(annotation):
        rest = [a for a in typing.get_args(annotation) if a is not type(None)]
        return all(map(_is_scalar, rest))
    return annotation is float or getattr(annotation, "__name__", "") in ("Rate", "Scalar")


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (Union, types.UnionType)


def _converter(function: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
    """``convert(name, value)`` for the arguments of a function."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    by_name: dict[str, Any] = {}

    def convert(name: str, value: Any) -> Any:
        parameter = signature.parameters[name]
        if parameter.kind in variadic:
            return value
        if name not in by_name:
            by_name[name] = _reader(_resolved(parameter.annotation, function))
        read = by_name[name]
        if read is not None:
            return read(name, _plain(value))
        # 0 where the default is 0.0 is a float too, and data like it.
        return float(value) if type(value) is int and type(parameter.default) is float else value

    return convert


def _resolved(annotation: Any, function: Callable[..., Any]) -> Any:
    """The annotation itself, where ``from __future__ import annotations`` left a string."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))
    except Exception:  # a name that exists for type checkers only
        return Any


def _reader(annotation: Any) -> Callable[[str, Any], Any] | None:
    """How a value is read by an annotation; None where anything may be passed."""
    if _is_union(annotation):
        return _union_reader(typing.get_args(annotation))
    origin = typing.get_origin(annotation)
    if annotation is Callable or origin in (Callable, typing.get_origin(Callable[[], None])):
        return _as_function
    try:
        return CONVERTERS.get(annotation)
    except TypeError:  # not hashable
        return None


def _union_reader(annotations: tuple[Any, ...]) -> Callable[[str, Any], Any] | None:
    optional = type(None) in annotations
    kept = [a for a in annotations if a is not type(None)]
    # Beside a number of another kind, a whole float is that number and no integer.
    exact = any(_is_scalar(a) for a in kept)
    readers = [_as_exact_integer if a is int and exact else _reader(a) for a in kept]
    if any(reader is None for reader in readers):
        return None

    # The last one words the refusal; "is not a function" would say nothing of the numbers allowed.
    ordered = sorted(
        typing.cast(list[Callable[[str, Any], Any]], readers), key=lambda r: r is not _as_function
    )

    def read(name: str, value: Any) -> Any:
        if optional and value is None:
            return None
        *others, last = ordered
        for reader in others:
            try:
                return reader(name, value)
            except (TypeError, ValueError):
                continue
        return last(name, value)

    return read


def _as_function(name: str, value: Any) -> Any:
    check.function(**{name: value})
    return value


def _as_bool(name: str, value: Any) -> Any:
    check.boolean(**{name: value})
    return value


def _as_string(name: str, value: Any) -> Any:
    check.string(**{name: value})
    return value


def _as_exact_integer(name: str, value: Any) -> Any:
    """An integer, where a float is another kind of argument."""
    check.integer(None, **{name: value})
    if not isinstance(value, (int, np.integer)):
        check.refuse(f"{name}={check.shown(value)} is not an integer", error=TypeError)
    return int(value)


def _as_integer(name: str, value: Any) -> Any:
    if isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)) or np.ndim(value):
        return value
    check.integer(None, **{name: value})
    return int(value)


CONVERTERS[float] = check.as_number
CONVERTERS[bool] = _as_bool
CONVERTERS[str] = _as_string
CONVERTERS[int] = _as_integer


def _qualified(factory: Any) -> str:
    """The name under which ``gradkit`` has the factory: ``adam``, ``masks.by_dtype``."""
    name, package = str(factory.__name__), sys.modules.get("gradkit")
    if package is None or vars(package).get(name) is factory:
        return name
    for room in ("averages", "masks", "schedules", "stores"):
        if vars(vars(package)[room]).get(name) is factory:
            return f"{room}.{name}"
    return name


def _rebuild(kind: type[Call], factory: Any, arguments: dict[str, Any]) -> Any:
    bound = inspect.BoundArguments(factory.__signature__, dict(arguments))
    return kind.bind(factory, bound.args, bound.kwargs)


def _plain(value: Any) -> Any:
    """NumPy scalars as Python's (they would promote), dtypes by name (they print and pickle), single bools as bools."""
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return value.item()
    if isinstance(value, np.dtype) or (
        isinstance(value, type) and isinstance(getattr(value, "dtype", None), np.dtype)
    ):
        return jnp.dtype(value).name
    if isinstance(value, type) and issubclass(value, np.generic) and not value.__subclasses__():
        return np.dtype(value).name  # not the kinds of dtypes, such as np.floating
    if (
        isinstance(value, (np.ndarray, jax.Array))
        and not isinstance(value, jax.core.Tracer)
        and value.dtype == bool
        and value.ndim == 0
    ):
        return bool(value)
    return value


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (float, complex, np.ndarray, jax.Array, jax.ShapeDtypeStruct, Call))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (jax.core.Tracer, jax.ShapeDtypeStruct)) or isinstance(
        b, (jax.core.Tracer, jax.ShapeDtypeStruct)
    ):
        return a is b
    if isinstance(a, (np.ndarray, jax.Array)) or isinstance(b, (np.ndarray, jax.Array)):
        return _key(a) == _key(b)
    return a is b or (type(a) is type(b) and bool(a == b))


def _key(leaf: Any) -> Any:
    """What a leaf hashes by."""
    if isinstance(leaf, (np.ndarray, jax.Array)) and not isinstance(leaf, jax.core.Tracer):
        data = (
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        )
        return leaf.shape, str(leaf.dtype), np.asarray(data).tobytes()
    return id(leaf) if isinstance(leaf, jax.core.Tracer) else leaf


def _code(value: Any) -> str:
    """``value`` as code that makes it, where there is such code."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return f"({', '.join(map(_code, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(_code, value))}]"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {_code(item)}" for key, item in value.items()) + "}"
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return (
            "key"
            if isinstance(value, jax.core.Tracer)
            else f"wrap_key_data({_code(jax.random.key_data(value))})"
        )
    if isinstance(value, (np.ndarray, jax.Array)) and not isinstance(value, jax.core.Tracer):
        return (
            repr(value.item())
            if value.ndim == 0 and value.dtype.kind in "fc"
            else f"array({np.array2string(np.asarray(value), separator=', ', threshold=8)})"
        )
    if inspect.isfunction(value):
        return value.__qualname__
    return repr(value)
