"""The class of a record, the tree that all share, and what several factories refuse alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk
from gradkit._tree import widen

Bad = tuple[Callable[[], Any], str]


@dataclass(frozen=True)
class Case:
    """A public factory and what is true of it."""

    name: str
    make: Callable[[], Any]
    bad: tuple[Bad, ...] = ()
    within: Callable[[Any], Any] = lambda tx: (
        tx
    )  # what the thing needs around it to run as an optimizer
    extras: Callable[[Any], dict[str, Any]] = lambda grads: {}  # the extra arguments it asks for
    fed: Callable[[Any], Any] = lambda grads: (
        grads
    )  # how gradients come in, where they come per example
    complex: bool = True  # takes complex leaves; otherwise it must refuse them in words
    needs_params: bool = False
    stochastic: bool = False
    passes_nan: bool | None = True  # NaN in, NaN out; otherwise finite out; None: leaf by leaf
    counts: bool = (
        False  # keeps a clock or a count of its own: it decides that time passes differently
    )
    from_start: bool = False  # keeps where training began: at init, or with the first step
    narrow: bool = False  # keeps parameters, or parts of them, in their own dtype
    rounds: bool = False  # its updates lead to numbers of the parameter's dtype
    reads_back: bool = True  # eval(repr(tx)) == tx

    def transform(self) -> Any:
        """The thing as an optimizer that runs."""
        return self.within(self.make())

    def __repr__(self) -> str:
        return self.name


# ---- the shared tree -----------------------------------------------------------------------------

SHAPES = {"matrix": (3, 2), "vector": (4,), "scalar": (), "empty": (0,)}


def tree_of(
    seed: int, dtype: Any = jnp.float32, shapes: dict[str, tuple[int, ...]] = SHAPES
) -> dict[str, jax.Array]:
    """A tree of normal numbers, of every kind of shape."""
    rng = np.random.default_rng(seed)

    def leaf(shape: tuple[int, ...]) -> jax.Array:
        x = rng.normal(size=shape)
        return jnp.asarray(
            x + 1j * rng.normal(size=shape) if jnp.issubdtype(dtype, jnp.complexfloating) else x,
            dtype,
        )

    return {name: leaf(shape) for name, shape in shapes.items()}


def zeros(dtype: Any = jnp.float32) -> dict[str, jax.Array]:
    """The shared tree, all zero."""
    return {name: jnp.zeros(shape, dtype) for name, shape in SHAPES.items()}


def shrunk(call: Any) -> Any:
    """The same call with every hyperparameter changed, in range."""
    return jax.tree.map(lambda leaf: leaf * 0.75 if isinstance(leaf, float) else leaf, call)


def matrices_only(params: Any) -> Any:
    """A mask as a function of the tree."""
    return jax.tree.map(lambda p: np.ndim(p) == 2, params)


def harmonic(step: Any) -> Any:
    """A plain function of the step."""
    return 0.5 / (jnp.asarray(step, float) + 1.0)


def is_vector(path: str, leaf: Any) -> bool:
    """A question about a leaf."""
    return np.ndim(leaf) == 1


def label(path: str, leaf: Any) -> str:
    """A name for a leaf's group."""
    return "vector" if path.endswith("vector") else "other"


def slope(params: Any, grads: Any) -> Any:
    """A loss whose gradient is ``grads`` everywhere."""
    products = jax.tree.map(lambda p, g: jnp.sum((p * g.astype(p.dtype)).real), params, grads)
    return sum(jax.tree.leaves(products), start=jnp.zeros(()))


def falling_loss(grads: Any) -> dict[str, Any]:
    """What a line search takes: a loss that is linear, with this gradient, and high at the start.

    It is computed wide, as the contracts look for narrow arithmetic of the transform.
    """

    def value_fn(params: Any) -> Any:
        products = jax.tree.map(
            lambda p, g: jnp.sum((p * jnp.conj(g)).real), widen(params), widen(grads)
        )
        return sum(jax.tree.leaves(products), start=jnp.zeros(()))

    return {"value": 1e3, "grad": grads, "value_fn": value_fn}


# ---- what several factories refuse in the same words ---------------------------------------------

DECAY = r"is out of range\. Expected 0 <= \w+(\[\d\])? < 1"
FRACTION = r"is out of range\. Expected 0 <= \w+ <= 1"
AT_LEAST_0 = r"is out of range\. Expected 0 <= \w+(\[\d\])? < inf"
ABOVE_0 = r"is out of range\. Expected \w+ > 0"
FINITE = r"is out of range\. Expected a finite \w+"
DTYPE = r"is not a (floating )?dtype|cannot store parameters"


def named(name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        rooms = (gk, gk.averages, gk.masks, gk.schedules, gk.stores)
        room = next(room for room in rooms if name in vars(room))
        return getattr(room, name)(*args, **kwargs)

    return call


def adam_like(name: str, *lead: Any) -> tuple[Bad, ...]:
    """What every relative of Adam refuses."""
    factory = named(name)
    return (
        (lambda: factory(*lead, b1=1.0), f"b1=.* {DECAY}"),
        (lambda: factory(*lead, b2=-0.1), f"b2=.* {DECAY}"),
        (lambda: factory(*lead, eps=-1e-8), f"eps=.* {AT_LEAST_0}"),
    )


def rate(name: str) -> tuple[Bad, ...]:
    """What every optimizer refuses for a rate."""
    factory = named(name)
    return (
        (lambda: factory(-0.1), AT_LEAST_0),
        (lambda: factory(float("inf")), AT_LEAST_0),
        (lambda: factory("fast"), "learning_rate='fast' is not a number"),
        (lambda: factory(0.1, nonsense=1), "nonsense"),
    )


def penalty(name: str) -> tuple[Bad, ...]:
    """What every penalty refuses."""
    factory = named(name)
    return (lambda: factory(-0.1), f"penalty=-0.1 {AT_LEAST_0}"), (
        lambda: factory(float("nan")),
        f"penalty=.* {AT_LEAST_0}",
    )


def loss_of(grads: Any) -> dict[str, Any]:
    """A loss to pass as ``value``."""
    return {
        "value": 2.0
        + sum(jnp.sum(jnp.real(g)).astype(jnp.float32) for g in jax.tree.leaves(grads)) * 0.01
    }
