"""The step that `plan` compiles: what XLA says of it, what it updates in place, and running it."""

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit._entry import extras_taken
from gradkit._step import explain, make_step
from gradkit._transform import Transform
from gradkit.inspect._accounts import leaves_of, nbytes
from gradkit.inspect._rates import kernels
from gradkit.inspect.planned import NotDonated

# What arrays are filled with of which only the shape is known.
_FILL = 0.01


class Found(NamedTuple):
    """What the compiled step says of itself."""

    compiled: Any
    temp_bytes: int | None
    peak_bytes: int | None
    flops: float
    traffic: float
    loops: int
    launches: int
    not_donated: tuple[NotDonated, ...]


class Program(NamedTuple):
    """``function(params, state, arguments, extras, data)``, and the shapes to compile it for."""

    function: Callable[..., Any]
    shapes: tuple[Any, ...]
    data: Any

    def compile(self) -> Found:
        """Compile, and read what XLA says."""
        # Unused arguments are kept, so that XLA numbers the arguments as JAX does.
        jitted = jax.jit(self.function, donate_argnums=(0, 1), keep_unused=True)
        with warnings.catch_warnings():  # reported in full, with the reason
            warnings.filterwarnings("ignore", "Some donated buffers were not usable")
            lowered = jitted.lower(*self.shapes, self.data)
            compiled = lowered.compile()
        memory, costs = compiled.memory_analysis(), compiled.cost_analysis() or {}
        cost = costs[0] if isinstance(costs, list) else costs
        text = compiled.as_text() or ""
        peak = memory and (
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            + memory.temp_size_in_bytes
            - memory.alias_size_in_bytes
        )
        return Found(
            compiled=compiled,
            temp_bytes=memory and memory.temp_size_in_bytes,
            peak_bytes=peak,
            flops=float(cost.get("flops", 0.0)),
            traffic=float(cost.get("bytes accessed", 0.0)),
            loops=len(re.findall(r"\swhile\(", text)),
            launches=kernels(text)
            + len(jax.tree.leaves((self.shapes, self.data, lowered.out_info))),
            not_donated=tuple(_not_donated(self.shapes[:2], lowered, compiled, text)),
        )

    def runner(self, tx: Transform, compiled: Any, values: Any) -> Callable[[int], None]:
        """A function that runs n steps and waits for them; ``values`` where they are known."""
        params, arguments, extras = values
        shapes = self.shapes
        carry = [jax.tree.map(_filled, shapes[0], params), None]
        carry[1] = jax.tree.map(_filled, shapes[1], tx.init(carry[0]))
        # Without a loss the arguments are the gradients.
        arguments = arguments or shapes[2]
        extras = {name: extras.get(name, shape) for name, shape in shapes[3].items()}
        rest = jax.tree.map(_filled, shapes[2:4], (arguments, extras))

        def run(count: int) -> None:
            for _ in range(count):
                carry[:] = compiled(*carry, *rest, self.data)[:2]
            jax.block_until_ready(carry)

        return run


def update(tx: Transform, params: Any, state: Any, extras: dict[str, Any]) -> Program:
    """``tx.apply`` with the gradients as an argument."""
    taken = extras_taken(tx)
    known = {"value": jax.ShapeDtypeStruct((), jnp.float32), "grad": params}
    arrays, functions = _apart({**{k: v for k, v in known.items() if k in taken}, **extras})

    def function(params: Any, state: Any, grads: Any, extras: Any, _: Any) -> Any:
        return tx.apply(params, state, grads[0], **functions, **extras)

    return Program(function, (params, state, (params,), arrays), None)


def step(
    tx: Transform,
    params: Any,
    state: Any,
    loss_fn: Callable[..., Any],
    has_aux: bool,
    batch: tuple[Any, ...],
    extras: dict[str, Any],
) -> Program:
    """The step of ``make_step``: loss, gradient, update."""
    fix = "Pass its arguments as batch; a tuple is spread over them"
    explain(loss_fn, has_aux, params, (batch, {}, {}), fix)
    made = make_step(loss_fn, tx, has_aux, extras=extras)
    run: Any = made._run
    arrays, functions = _apart(extras)

    def function(params: Any, state: Any, batch: Any, extras: Any, data: Any) -> Any:
        return run.__wrapped__(params, state, data, batch, {**functions, **extras}, ())

    return Program(function, (params, state, batch, arrays), made._data)


def _apart(extras: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The extra arguments that are trees of arrays, and those that are functions."""
    functions = {name: value for name, value in extras.items() if callable(value)}
    return {k: v for k, v in extras.items() if k not in functions}, functions


def _not_donated(donated: Any, lowered: Any, compiled: Any, text: str) -> Iterator[NotDonated]:
    """The donated leaves that share no buffer with a result."""
    header = text.partition("\n")[0]
    aliases = re.findall(r"\((\d+), \{([\d, ]*)\}, (?:may|must)-alias\)", header)
    kept = {int(inner or number) for number, inner in aliases}
    results = dict(leaves_of(lowered.out_info[:2]))
    placed = dict(leaves_of(compiled.output_shardings[:2]))
    for i, (path, leaf) in enumerate(leaves_of(donated)):
        sharding = leaf.sharding
        size = nbytes(leaf, sharding and sharding.shard_shape(leaf.shape))
        if i in kept or not size:
            continue
        result = results.get(path)
        if result is None:
            reason = "the step does not return it"
        elif (result.shape, result.dtype) != (leaf.shape, leaf.dtype):
            is_now = check.shape_dtype(result)
            reason = f"the step returns {is_now} in place of {check.shape_dtype(leaf)}"
        elif sharding and not placed[path].is_equivalent_to(sharding, len(leaf.shape)):
            reason = f"it is placed as {sharding.spec}, and returned as {placed[path].spec}"
        else:
            reason = "the compiler gave its result another buffer"
        name = ".".join((("params", "state")[int(path[0])], *path[1:]))
        yield NotDonated(name, size, reason)


def _filled(shape: Any, value: Any) -> Any:
    """An array of this shape and sharding: the value where it is known, else a constant."""
    if isinstance(value, (int, float, complex)):
        return value
    if not isinstance(value, jax.ShapeDtypeStruct):
        array = jnp.array(value, copy=True)
    elif jax.dtypes.issubdtype(shape.dtype, jax.dtypes.prng_key):
        array = jnp.broadcast_to(jax.random.key(0), shape.shape)
    else:
        fill = _FILL if jnp.issubdtype(shape.dtype, jnp.inexact) else 0
        array = jnp.full(shape.shape, fill, shape.dtype)
    return array if shape.sharding is None else jax.device_put(array, shape.sharding)
