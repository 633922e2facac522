"""Code that exists for XLA's sake: it changes what is kept in memory, never what is computed.

Each function works around what XLA for CPU does with the plain code. On other backends the plain
code runs. A row of ``python -m benchmarks.step`` shows the effect.

| function | XLA for CPU, given the plain code | row |
|---|---|---|
| ``run_if`` | copies what merely passes through a ``cond`` | accumulate 8, guard, dog |
| ``after`` | copies an old buffer that is both read and overwritten | dadapt_adamw |
| ``separate`` | writes to memory what two computations share | clip+adamw, adafactor |
| ``one_by_one`` | may wait for itself in batches of eigenvalue problems | (it does not end) |
| ``one_pass_pays`` | takes longer for a second pass than for a branch | ``benchmarks.nn`` |
| ``after_write`` | writes to a new buffer what two results share | schedule-free |
| ``sq_norm`` | copies a sum into every fusion that uses it | clip+adamw, in the column *compile* |
| ``stack``, ``unstack`` | compiles a kernel for each row | stacked adamw, in the column *compile* |
| ``map_rows`` | computes a batch of large products slowly | muon stacked |
| ``each_matrix`` | computes a batch of large products slowly | muon |

The choice is made while tracing, by ``jax.default_backend()``. (``lax.platform_dependent`` would
make it while lowering, but traces both forms, and with them a whole optimizer twice.) Where a
computation is placed on another backend than the default one, it is slower and as correct.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def on_cpu() -> bool:
    """Whether the default backend is the CPU."""
    return jax.default_backend() == "cpu"


def run_if(wanted: Any, function: Callable[[Any, Any], Any], carry: Any, operands: Any) -> Any:
    """Return ``function(carry, operands)`` if ``wanted``, else ``carry``, updated in place.

    A ``while_loop`` that runs zero or one iterations updates its carry in place, so a skipped call
    is free; XLA for CPU copies what passes through a ``cond``. On other backends, and under
    derivatives, this is a ``cond``.

    Args:
      wanted: one bool. A concrete one decides at once, without a branch in the trace.
      function: returns a tree of the structure, shapes and dtypes of ``carry``, and closes over no
        tracer.
      carry: the tree to update.
      operands: what else ``function`` reads.

    Returns:
      The next carry.
    """
    if not isinstance(wanted, jax.core.Tracer):
        # Errors of the function are raised also where it is skipped.
        jax.eval_shape(function, carry, operands)
        return function(carry, operands) if wanted else carry
    if not on_cpu():
        return _cond(wanted, function, carry, operands)

    @jax.custom_jvp
    def run(wanted: Any, carry: Any, operands: Any) -> Any:
        return lax.while_loop(
            lambda c: c[0],
            lambda c: (jnp.zeros_like(c[0]), function(c[1], operands)),
            (wanted, carry),
        )[1]

    @run.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        wanted, *rest = primals
        return jax.jvp(
            lambda carry, operands: _cond(wanted, function, carry, operands),
            tuple(rest),
            tuple(tangents[1:]),
        )

    return run(wanted, carry, operands)


def _cond(wanted: Any, function: Callable[[Any, Any], Any], carry: Any, operands: Any) -> Any:
    return lax.cond(wanted, function, lambda carry, _: carry, carry, operands)


def after(x: Any, *scalars: Any) -> Any:
    """Return ``x`` with a fake data dependency on ``scalars``, in their dtype.

    XLA for CPU overwrites an old buffer only if the data prove that every reader comes before the
    writer; otherwise it copies the buffer first. With ``x = after(x, y)`` what is computed with
    ``x`` comes after all that ``y`` was computed from, and may overwrite it.
    """
    x = jnp.asarray(x, jnp.result_type(*scalars))
    if not on_cpu():
        return x
    for y in map(lax.stop_gradient, scalars):
        # Always zero, which XLA cannot prove.
        x = x + (0 * jnp.where(jnp.isfinite(y), y, 0)).astype(x.dtype)
    return x


def separate(tree: Any) -> Any:
    """Return ``tree`` behind an optimization barrier, apart from its other uses.

    XLA for CPU computes what two results share once and writes it to memory: g², when the norm and
    the second moment both need it. Behind the barrier g is another array, so the square is computed
    twice and written never, which costs less.
    """
    if not on_cpu():
        return tree
    if jax.sharding.get_abstract_mesh().manual_axes:  # one barrier makes all vary over all axes
        return jax.tree.map(lax.optimization_barrier, tree)
    return lax.optimization_barrier(tree)


_LARGE = 1 << 16  # elements; what is smaller stays in the cache


def is_large(x: Any) -> bool:
    """Whether a pass over ``x`` takes longer than a few operations on it."""
    return jnp.size(x) >= _LARGE


def after_write(x: Any, written: Any) -> Any:
    """Return ``x``, apart from its other uses, to be read after ``written`` is in memory.

    What is computed from it a second time may then overwrite what ``written`` was computed from.
    XLA for CPU takes more than twice as long for a step that writes one more array, to a buffer
    that is new in every call, as for one that computes a few operations again. A small array is not
    worth the compile time, and of an array with an explicit sharding no element can be read: there
    ``x`` is returned as it is.
    """
    if not on_cpu() or not is_large(written) or any(jax.typeof(written).sharding.spec):
        return x
    first = jnp.real(written[(0,) * jnp.ndim(written)])
    return separate(x) * after(1, first).astype(x.dtype)


def sq_norm(x: Any) -> Any:
    """Return Σx² of a real vector.

    XLA for CPU copies a sum into every fusion that uses it: with n leaves n² reductions, and half a
    minute of compiling at 300. It computes a dot product once.
    """
    return jnp.dot(x, x, precision="highest") if on_cpu() else jnp.sum(x * x)


_LARGE_MATRIX = 1 << 15  # entries; batches of smaller matrices are faster than a loop


def each_matrix(function: Callable[[Any], Any], stack: Any) -> Any:
    """Return ``function`` of every matrix of a stack along leading axes.

    XLA for CPU computes a product of two large matrices on all cores, and a batch of such products
    slowly; there the matrices take turns. Otherwise the function is given the whole stack.

    Args:
      function: returns an array of the shape of its argument, a matrix or a stack.
      stack: an array of rank two or more.

    Returns:
      An array of the shape of the stack.
    """
    *leading, rows, columns = stack.shape
    count = math.prod(leading)
    if not leading or not on_cpu() or (count > 1 and rows * columns < _LARGE_MATRIX):
        return function(stack)
    if count == 1:
        return function(stack.reshape(rows, columns)).reshape(stack.shape)
    return lax.map(function, stack.reshape(-1, rows, columns)).reshape(stack.shape)


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of one matrix whose ``vmap`` is a loop over the matrices.

    jaxlib for CPU distributes a batch of LAPACK calls over the threads that run the program, and
    waits for them in one of these threads. Where as many batches as there are threads run at the
    same time, all of them wait, and the program never ends.

    Args:
      function: of arrays, such as ``jnp.linalg.eigh``, to be called without batch axes.

    Returns:
      The function, on other backends as it is.
    """
    return jax.custom_batching.sequential_vmap(function) if on_cpu() else function


def one_pass_pays(x: jax.Array, axis_name: Any) -> bool:
    """XLA on CPU only: whether `moments` first tries the one-pass variance Σ|x|²/n − |s|².

    Reason: XLA computes Σx and Σ|x|² in one pass over memory, and the exact formula needs a second
    one. For a large input on a CPU that pass takes longer than the branch (one ``lax.cond``) that
    decides whether it is needed. On accelerators the branch costs more than the pass; under a
    mapped axis the devices would have to agree on it. There the exact formula always runs.

    Benchmark: ``python -m benchmarks.nn --layers LayerNorm BatchNorm`` (forward).

    Backends: CPU; every other backend runs the plain code.
    """
    return axis_name is None and is_large(x) and on_cpu()


_PIECE = 8  # leaves; XLA for CPU fuses concatenations of up to eight operands
_MANY = 32  # leaves, from which on compiling costs more than the trick


def stack(leaves: list[Any], opaque: Any) -> Any:
    """``jnp.stack(leaves)``.

    XLA for CPU compiles a concatenation of n operands in a time in proportion to n: 1.5 s for a
    thousand. Equal fusions it compiles once. So many leaves are concatenated in pieces, each of
    which is one of many equal fusions, through a ``where`` on a condition that is always true
    (``step >= 0``), and then the pieces.
    """
    first = leaves[0]
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
        return jax.ShapeDtypeStruct((len(leaves), *first.shape), first.dtype)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    if not _many(leaves, opaque):
        return lax.concatenate([lax.expand_dims(leaf, (0,)) for leaf in leaves], 0)
    if not first.ndim:
        leaves = [leaf.reshape(1) for leaf in leaves]
    true = opaque >= 0
    pieces = [_joined(true, leaves[i : i + _PIECE]) for i in range(0, len(leaves), _PIECE)]
    return lax.concatenate(pieces, 0).reshape(len(leaves), *first.shape)


@jax.jit
def _joined(true: Any, leaves: list[Any]) -> Any:
    """One piece; a nested jit is traced and lowered once for all equal pieces."""
    piece = lax.concatenate(leaves, 0)
    return lax.select(jnp.broadcast_to(true, piece.shape), piece, jnp.zeros_like(piece))


def unstack(rows: Any, opaque: Any) -> list[Any]:
    """The rows of an array.

    XLA for CPU compiles a kernel for each slice at another constant place: 15 s for a thousand.
    Equal kernels it compiles once. So the places of pieces of eight rows come from a ``cond`` whose
    condition XLA does not know (``step >= 0``), and the rows are at one of eight places in a piece.
    """
    count, shape = rows.shape[0], rows.shape[1:]
    if not _many(rows, opaque) or count < _MANY:
        return [lax.index_in_dim(rows, i, keepdims=False) for i in range(count)]
    size = shape[0] if shape else 1
    flat = rows.reshape(count * size, *shape[1:])
    starts = [np.int32(i * size) for i in range(0, count, _PIECE)]

    def known(flat: Any) -> Any:
        return starts, flat

    def never(flat: Any) -> Any:
        return [np.int32(0)] * len(starts), jnp.zeros_like(flat)

    places, flat = lax.cond(opaque >= 0, known, never, flat)
    found: list[Any] = []
    for place in places:
        found += _parts(flat, place, size, min(_PIECE, count - len(found)))
    return found if shape else [x.reshape(()) for x in found]


@functools.partial(jax.jit, static_argnums=(2, 3))
def _parts(flat: Any, place: Any, size: int, count: int) -> list[Any]:
    piece = lax.dynamic_slice_in_dim(flat, place, count * size)
    return [lax.slice_in_dim(piece, i * size, (i + 1) * size) for i in range(count)]


def _many(arrays: Any, opaque: Any) -> bool:
    """Whether the pieces pay: many leaves, in a jit, and a condition that is not batched."""
    tracers = [opaque, *jax.tree.leaves(arrays)[:1]]
    return (
        on_cpu()
        and len(arrays) >= _MANY
        and all(isinstance(x, jax.core.Tracer) for x in tracers)
        and not any(hasattr(x, "batch_dim") for x in tracers)
        and not jax.typeof(tracers[1]).sharding.mesh.shape
    )


def map_rows(function: Callable[[Any, Any], Any], operands: Any, kept: Any) -> Any:
    """``jax.vmap(function)(operands, kept)``, over the first axis of every array.

    XLA for CPU multiplies a batch of large matrices on one thread, and one after the other by a
    faster routine on all of them. So large rows are computed one by one there, in a loop that is
    compiled once.
    """
    first = jax.tree.leaves(operands)[0]
    if first.shape[0] == 1:
        row = jax.tree.map(lambda x: lax.squeeze(x, (0,)), (operands, kept))
        return jax.tree.map(lambda x: jnp.expand_dims(x, 0), function(*row))
    if not on_cpu() or first.size // first.shape[0] < _LARGE_MATRIX:
        return jax.vmap(function)(operands, kept)
    return lax.map(lambda row: function(*row), (operands, kept))
