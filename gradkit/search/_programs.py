"""The compiled programs of a search: populations of trials, on one device or over a mesh.

The objective and the structure of the configurations are static arguments of one ``jit``, so that
searches of one objective share their compilations.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec

from gradkit import _checks as check
from gradkit.search._forms import Form
from gradkit.typing import PyTree


class Place(NamedTuple):
    """Where trials run: an axis of a mesh, over which they are spread, or one device."""

    mesh: Mesh | None = None
    axis: str | None = None

    @classmethod
    def of(cls, mesh: Any) -> "Place":
        if mesh is None:
            return cls()
        if not isinstance(mesh, Mesh):
            expected = "a jax.sharding.Mesh, whose first axis has the trials"
            check.refuse(f"mesh={check.shown(mesh)} is no mesh", expected=expected, error=TypeError)
        # With automatic axes, whatever those of the user are: the arrays come from the host.
        return cls(Mesh(mesh.devices, mesh.axis_names), mesh.axis_names[0])

    def padded(self, width: int) -> int:
        """The next width that the devices share evenly."""
        count = 1 if self.mesh is None else int(self.mesh.shape[self.axis])
        return -(-width // count) * count

    def spread(self, function: Callable[..., Any], specs: tuple[Any, ...]) -> Callable[..., Any]:
        """A function of arguments of which some (0) have an axis of trials, as each device runs it.

        The trials never communicate, so nothing is checked about what varies over the devices.
        """
        if self.mesh is None:
            return function
        inside = jax.tree.map(
            lambda axis: Spec(self.axis) if axis == 0 else Spec(), specs, is_leaf=_is_none
        )
        return jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=inside,
            out_specs=Spec(self.axis),
            check_vma=False,
        )


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _population(
    function: Callable[..., Any], form: Form, axes: tuple[int | None, ...], inner: Any
) -> Callable[..., Any]:
    """``function(config, x)`` over trials and their seeds: of leaves, and of x by seed.

    ``inner`` says whether x has the axis of trials too.
    """

    def one(leaves: Any, x: Any) -> Any:
        return function(form.config(leaves), x)

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(list(axes), inner))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def losses(
    objective: Any, form: Form, axes: tuple[int | None, ...], place: Place, leaves: Any, keys: Any
) -> jax.Array:
    """What an objective returns for each trial and seed."""
    run = _population(judged(objective), form, axes, None)
    return place.spread(run, (list(axes), None))(leaves, keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def start(
    task: Any, form: Form, axes: tuple[int | None, ...], place: Place, leaves: Any, keys: Any
) -> PyTree:
    """The carries of a task before the first step, by trial and seed."""
    run = _population(task.init, form, axes, None)
    return place.spread(run, (list(axes), None))(leaves, keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4), donate_argnums=(6,))
def advance(
    task: Any,
    form: Form,
    axes: tuple[int | None, ...],
    place: Place,
    length: int,
    leaves: Any,
    carries: PyTree,
    steps: jax.Array,
) -> tuple[PyTree, jax.Array, jax.Array]:
    """Train by some steps, at most ``length``: the carries, the losses of the steps, the scores.

    The number of steps is data: every rung of one width is one program.
    """

    def train(config: PyTree, given: Any) -> Any:
        carry, steps = given

        def body(i: jax.Array, now: Any) -> Any:
            carry, curve, _ = now
            carry, loss = task.step(config, carry)
            return carry, curve.at[i].set(loss.astype(curve.dtype)), loss.astype(curve.dtype)

        dtype = jnp.result_type(float)
        first = (carry, jnp.full((length,), jnp.nan, dtype), jnp.full((), jnp.nan, dtype))
        carry, curve, last = lax.fori_loop(0, steps, body, first)
        score = last if task.evaluate is None else task.evaluate(config, carry)
        return carry, curve, score

    def one(leaves: Any, carry: Any, steps: Any) -> Any:
        return train(form.config(leaves), (carry, steps))

    by_seed = jax.vmap(one, in_axes=(None, 0, None))
    run = jax.vmap(by_seed, in_axes=(list(axes), 0, None))
    result: tuple[PyTree, jax.Array, jax.Array] = place.spread(run, (list(axes), 0, None))(
        leaves, carries, steps
    )
    return result


@jax.jit
def taken(carries: PyTree, rows: jax.Array) -> PyTree:
    """The carries of some trials."""
    return jax.tree.map(lambda leaf: leaf[rows], carries)


def judged(objective: Any) -> Callable[..., Any]:
    """An objective that is refused, when it is traced, unless it returns one number or a curve."""

    def run(config: Any, key: Any) -> Any:
        made = objective(config, key)
        shape, dtype = np.shape(made), check.dtype_of(made)
        if dtype is None or len(shape) > 1 or not jnp.issubdtype(dtype, jnp.floating) or 0 in shape:
            problem = f"objective={check.shown(objective)} returned {check.kind_of(made)}"
            expected = "one real number, the loss, or a vector of them, its curve"
            check.refuse(problem, expected=expected, error=TypeError)
        return made

    return run


def rows_of(count: int, width: int) -> np.ndarray:
    """``width`` rows of ``count``, the last one repeated."""
    return np.minimum(np.arange(width), count - 1)
