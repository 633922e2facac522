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
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, Self, cast

import jax
import numpy as np

from gradkit import _checks as check
from gradkit._arguments import converter, is_movable, is_scalar, plain, resolved
from gradkit._code import call_code, key_of, same
from gradkit._paths import replaced

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

    # ---- making ---------------------------------------------------------------------------------

    @classmethod
    def bind(cls, factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Bind the arguments, split them into leaves and structure, and build the body."""
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
        self._finish()
        return self

    def _finish(self) -> None:
        """Build the body; of a search space, at the ends of its ranges and within, to refuse both.

        What a distribution may give is judged like an argument of that value.
        """
        if not self.unfilled:
            self._body = self._build()
            return
        for u in (0.0, 1.0, 0.37):
            self._at_quantile(u)

    @classmethod
    def _of(cls, factory: Any, arguments: dict[str, Any]) -> Self:
        spec, leaves = [], []
        for name, value in arguments.items():
            parts, treedef = jax.tree.flatten(value, is_leaf=lambda x: isinstance(x, Call))
            parts = [plain(part) for part in parts]
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
        if self._body is not None:
            return self._body
        if self.unfilled:
            self._refuse_unfilled()
        return self._build()

    # ---- search spaces --------------------------------------------------------------------------

    @property
    def unfilled(self) -> bool:
        """Whether a distribution stands among the arguments, here or in a part: a search space."""
        return any(isinstance(leaf, Call) and leaf.unfilled for leaf in self.leaves)

    def _at_quantile(self, u: float) -> Any:
        """The call with each distribution replaced by its value at ``u`` in [0, 1]."""

        def at(leaf: Any) -> Any:
            return leaf._at_quantile(u) if isinstance(leaf, Call) and leaf.unfilled else leaf

        return self._with_leaves(map(at, self.leaves))

    def _distributions(self) -> Iterator[tuple[str, "Call"]]:
        """The distributions among the arguments, here or in a part, by path."""
        for name, child in self.children().items():
            if child.kind == "distribution":
                yield name, child
            else:
                yield from ((f"{name}.{path}", found) for path, found in child._distributions())

    def _refuse_unfilled(self) -> NoReturn:
        path, value = next(self._distributions())
        problem = f"{path}={check.shown(value)} is a distribution"
        fix = "Sample the space first: gradkit.search.sample(space, key, n)"
        check.refuse(problem, fix=fix, error=TypeError)

    # ---- reading --------------------------------------------------------------------------------

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
        return call_code(self)

    def __eq__(self, other: object) -> bool:
        if (
            not isinstance(other, Call)
            or self.factory is not other.factory
            or self.spec != other.spec
        ):
            return False
        return all(same(a, b) for a, b in zip(self.leaves, other.leaves, strict=True))

    def __hash__(self) -> int:
        return hash((self.factory, self.spec, tuple(key_of(leaf) for leaf in self.leaves)))

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

    # ---- changing -------------------------------------------------------------------------------

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
        return cast(Self, replaced(self, changes, more))

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
            return self._with_leaves(leaves)
        old = self.arguments[name]
        is_number = type(value) is int and _is_leaf(old) and not isinstance(old, Call)
        changed = {**self.arguments, name: float(value) if is_number else value}
        return cast(Self, _rebuild(type(self), self.factory, changed))

    def _with_leaves(self, leaves: Iterable[Any]) -> Self:
        """The call with other values in the places of its leaves, bound and judged anew."""
        changed = self._unflatten((self.factory, self.spec), leaves).arguments
        return cast(Self, _rebuild(type(self), self.factory, changed))

    # ---- the pytree -----------------------------------------------------------------------------

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
        """The ``in_axes`` of ``vmap`` for a population: 0 for arrays of rank ≥ 1, else None."""
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
    make.convert = converter(function, signature)  # type: ignore[attr-defined]
    make.scalars = frozenset(  # type: ignore[attr-defined]
        n for n, p in signature.parameters.items() if is_scalar(resolved(p.annotation, function))
    )
    make.movable = frozenset(  # type: ignore[attr-defined]
        n for n, p in signature.parameters.items() if is_movable(p.annotation)
    )
    return make


def _rebuild(kind: type[Call], factory: Any, arguments: dict[str, Any]) -> Any:
    bound = inspect.BoundArguments(factory.__signature__, dict(arguments))
    return kind.bind(factory, bound.args, bound.kwargs)


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (float, complex, np.ndarray, jax.Array, jax.ShapeDtypeStruct, Call))
