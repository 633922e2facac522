"""The types of gradkit's public signatures.

| | |
|---|---|
| ``PyTree``, ``Params``, ``Updates``, ``OptState`` | any pytree of arrays |
| ``Rate`` | a number, a scalar array, a ``Schedule``, or a function of the step |
| ``Mask`` | a tree of bools, a ``Predicate``, or a function of the parameters |
| ``StoreLike`` | a dtype, a ``Store``, or None for the leaf's dtype, at least float32 |
| ``Bound`` | an argument of a projection |
| ``Key`` | a seed, a typed random key, or the data of one |
| ``InitFn``, ``UpdateFn`` | the two functions of a ``Rule`` |
| ``TransformInitFn``, ``TransformUpdateFn``, ... | the functions of a pair in optax's style |
| ``ScalarOrSchedule``, ``MaskOrFn`` | ``Rate`` and ``Mask`` by optax's names |
| ``ShouldSkipUpdateFunction``, ``ConditionFn`` | functions that wrappers take |

An argument annotated ``Rate`` is converted once, when the factory is called: integers become floats
and functions become schedules.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import jax
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from typing_extensions import TypeAliasType

if TYPE_CHECKING:
    from gradkit._schedule import Schedule
    from gradkit.masks import Predicate
    from gradkit.stores import Store

PyTree: TypeAlias = Any
"""Any pytree of arrays."""

Params = TypeAliasType("Params", PyTree)
"""The parameters: any pytree of floating arrays."""

Updates = TypeAliasType("Updates", PyTree)
"""Gradients, or updates made from them: a pytree like the parameters."""

OptState = TypeAliasType("OptState", PyTree)
"""The state of a transform: any pytree of arrays."""

Scalar = TypeAliasType("Scalar", float | jax.Array | np.ndarray | np.generic)
"""A number or an array of rank zero."""

Rate = TypeAliasType("Rate", "Scalar | Schedule | Callable[[jax.Array], ArrayLike]")
"""A hyperparameter that may depend on the step."""

Bound = TypeAliasType("Bound", "Scalar | Schedule | PyTree")
"""An argument of a projection: a number, a schedule, or a tree like the parameters."""

Mask = TypeAliasType("Mask", "PyTree | Predicate | Callable[[Params], PyTree]")
"""Which leaves a transform sees."""

StoreLike = TypeAliasType("StoreLike", "DTypeLike | Store | None")
"""How an average keeps its state."""

ScalarOrSchedule = Rate
"""``Rate`` by optax's name."""

MaskOrFn = Mask
"""``Mask`` by optax's name."""

Key = TypeAliasType("Key", int | jax.Array | np.ndarray)
"""A seed, a typed random key, or the data of one."""


class InitFn(Protocol):
    """The state of a rule before the first step; ``()`` when it keeps none."""

    def __call__(self, params: Params, /) -> OptState: ...


class UpdateFn(Protocol):
    """New updates and the next state. Keyword-only parameters receive extra arguments by name."""

    def __call__(
        self, updates: Updates, state: OptState, params: Params | None, /, **extras: Any
    ) -> tuple[Updates, OptState]: ...


class TransformInitFn(Protocol):
    """The ``init`` of a pair in optax's style: the state before the first step."""

    def __call__(self, params: Params) -> OptState: ...


class TransformUpdateFn(Protocol):
    """The ``update`` of a pair in optax's style: new updates and the next state."""

    def __call__(
        self, updates: Updates, state: OptState, params: Params | None = None
    ) -> tuple[Updates, OptState]: ...


class TransformUpdateExtraArgsFn(Protocol):
    """An ``update`` in optax's style that takes extra arguments by keyword."""

    def __call__(
        self, updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any
    ) -> tuple[Updates, OptState]: ...


class ShouldSkipUpdateFunction(Protocol):
    """Whether ``MultiSteps`` leaves a micro-batch out, and a tree to keep in its state."""

    def __call__(
        self, updates: Updates, gradient_step: jax.Array, params: Params | None
    ) -> tuple[jax.Array, PyTree]: ...


class ConditionFn(Protocol):
    """Whether a conditional transform runs at this step."""

    def __call__(self, step: jax.Array, **extra_args: Any) -> jax.Array: ...
