"""The pair of functions that is a store, and the conversion of arguments into one."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._arguments import CONVERTERS
from gradkit._stored import label as _label
from gradkit.typing import Params, PyTree, StoreLike

_DTYPES = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")


class Store(NamedTuple):
    """A pair of pure functions on one leaf, such that ``decode(encode(x), x)`` is close to ``x``.

    ``encode(leaf)`` returns what is kept: any tree of arrays. ``decode(stored, like)`` returns a
    leaf of the shape and dtype of ``like``. Give functions that are equal when they do the same
    (functions of a module, not lambdas), so that equal transforms share their compilations and
    pickle.

    Attributes:
      encode: ``encode(leaf) -> stored``; where ``keyed``, ``encode(leaf, key=None) -> stored``.
      decode: ``decode(stored, like) -> leaf``.
      keyed: ``encode`` rounds at random by a key, a uint32 scalar that is a hash of the step and of
        the place of the leaf. Without a key it rounds to nearest.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> def halve(leaf):
      ...     return leaf / 2
      >>> def double(stored, like):
      ...     return 2 * stored
      >>> tx = gk.ema(0.5, debias=False, accumulator_dtype=gk.stores.Store(halve, double))
      >>> updates, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert updates[0] == 0.5 and state.inner["ema"]["average"][0] == 0.25
    """

    encode: Callable[..., PyTree]
    decode: Callable[[PyTree, Any], Any]
    keyed: bool = False

    def __repr__(self) -> str:
        name = NAMES.get(getattr(self.encode, "func", self.encode))
        if name is None:
            return f"Store({self.encode!r}, {self.decode!r})"
        return f"stores.{name}({', '.join(map(repr, getattr(self.encode, 'args', ())))})"


class With(functools.partial[Any]):
    """A function with its first argument; two of the same are equal, also when one was pickled."""

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, With) and (self.func, self.args) == (other.func, other.args)

    def __hash__(self) -> int:
        return hash((self.func, self.args))


def _itself(leaf: Any) -> Any:
    return leaf


def _stored(stored: Any, like: Any) -> Any:
    return stored


IDENTITY = Store(_itself, _stored)


def store_in(dtype: Any) -> Store:
    """Keep state in a floating or complex dtype, rounded to nearest.

    A real leaf is kept in the real dtype and a complex leaf in the complex dtype of that width, a
    complex one at least in complex64: ``"bfloat16"`` keeps complex leaves in complex64,
    ``"complex64"`` keeps real leaves in float32.

    Args:
      dtype: a floating or complex dtype, or its name.

    Returns:
      The store.

    Raises:
      TypeError: not a dtype, or an integer dtype.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store = gk.stores.store_in("bfloat16")
      >>> x = jnp.float32(1 + 2**-9)
      >>> assert store.encode(x).dtype == jnp.bfloat16 and store.decode(store.encode(x), x) == 1.0
    """
    with check.inside("store_in"):
        return _store_in(dtype, "dtype", "a floating or complex dtype such as 'bfloat16'")


def as_store(value: StoreLike, argument: str = "", *, keyed: bool = True) -> Store:
    """Convert an argument that says how state is kept: None is the wide dtype of the leaf.

    Args:
      value: a dtype, a `Store`, or None.
      argument: the name of the argument, for messages.
      keyed: allow a store that rounds at random.

    Returns:
      The store.

    Raises:
      TypeError: anything else.
      ValueError: a store that rounds at random, where no step is known.
    """
    if value is None:
        return IDENTITY
    if isinstance(value, Store):
        if value.keyed and not keyed:
            problem = f"{argument}={value!r} rounds at random by the step"
            fix = "Pass rounding='nearest', or keep this state in a dtype"
            check.refuse(problem, expected="a store that rounds to nearest", fix=fix)
        return value
    return _store_in(value, argument, "a floating or complex dtype, a Store, or None")


def _store_in(dtype: Any, argument: str, expected: str) -> Store:
    shown = f"{argument}=" if argument else ""
    problem = f"{shown}{getattr(dtype, '__name__', None) or repr(dtype)} is not a dtype"
    try:
        if isinstance(dtype, (np.ndarray, np.generic, jax.Array)) or dtype is None:
            raise TypeError  # NumPy would read the array's dtype, and None as float64
        kind = jnp.dtype(dtype)
    except (TypeError, ValueError):
        fix = check.nearest(dtype, _DTYPES) if isinstance(dtype, str) else ""
        if inspect.isfunction(dtype):
            fix = f"Call it: {dtype.__name__}(...)"
        check.refuse(problem, expected=expected, fix=fix, error=TypeError)
    if not jnp.issubdtype(kind, jnp.inexact):
        problem = f"{shown}{kind.name!r} is not a floating dtype"
        check.refuse(problem, expected=expected, error=TypeError)
    return Store(With(_narrow, kind.name), _like)


def _narrow(name: str, leaf: Any) -> Any:
    kind = jnp.dtype(name)
    if jnp.iscomplexobj(leaf):
        return numerics.cast(leaf, numerics.wider(kind, jnp.complex64))
    return numerics.cast(leaf, numerics.real(kind))


def _like(stored: Any, like: Any) -> Any:
    return numerics.cast(stored, like.dtype)


def scope_of(store: Store) -> str:
    """The scope (see `Rule`) of an average that keeps its state through a store."""
    keeps_elements = store == IDENTITY or getattr(store.encode, "func", None) is _narrow
    return "element" if keeps_elements else "leaf"


def encoded(store: Store, params: Params, fill: Any = 0.0, real: bool = False) -> PyTree:
    """Encode ``fill`` for every leaf: the first state of an average.

    Args:
      store: how it is kept.
      params: the tree whose shapes it has.
      fill: the first value, a number.
      real: take real dtypes for complex params, for averages of magnitudes.

    Returns:
      A tree like ``params`` of what ``store`` keeps.
    """

    def first(leaf: Any) -> Any:
        leaf = leaf.real if real else leaf
        return _label(store.encode(leaf), store, leaf)

    return tree.map(first, tree.zeros_like(params, fill))


def averages(store: Store, *keys: str) -> dict[str, Any]:
    """The averages that a rule declares by their keys, all kept by the store of an argument."""
    return dict.fromkeys(keys, None if store == IDENTITY else store)


# The names by which stores print, by what encodes.
NAMES: dict[Any, str] = {_narrow: "store_in"}


def _as_store_like(name: str, value: Any) -> Any:
    """A store as an argument, as it was written: it prints and compares so."""
    as_store(value, name)
    return value


CONVERTERS[StoreLike] = _as_store_like
