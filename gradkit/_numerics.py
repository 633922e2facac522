"""Widening, safe roots, and the scalars of the clock."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check

Array = Any  # a jax.Array, a NumPy array, a tracer or a Python number: what jax.typing.ArrayLike says, and ShapeDtypeStruct


def wide(dtype: Any) -> Any:
    """The dtype to compute in: at least float32; float64 and complex stay."""
    dtype = jnp.dtype(dtype)
    return (
        dtype
        if dtype.itemsize >= 4 or not jnp.issubdtype(dtype, jnp.floating)
        else jnp.dtype(jnp.float32)
    )


def wider(*dtypes: Any) -> Any:
    """The common dtype of all, whatever promotion mode the user has set."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*dtypes)


def real(dtype: Any) -> Any:
    """The dtype of a magnitude: complex64 -> float32."""
    return jnp.finfo(dtype).dtype


def scalar_dtype(tree: Any) -> Any:
    """The dtype of a scalar that all leaves share: float64 when any leaf is."""
    return wider(
        jnp.float32, *(real(jax.dtypes.result_type(leaf)) for leaf in jax.tree.leaves(tree))
    )


def cast(x: Array, dtype: Any) -> Array:
    """``x`` in ``dtype``; no operation when it is so already."""
    return x if isinstance(x, jax.Array) and x.dtype == dtype else jnp.asarray(x, dtype)


def abs_sq(x: Array) -> Array:
    """|x|², real also for complex x, with a finite gradient at zero."""
    return x * x if not jnp.iscomplexobj(x) else jnp.real(x) ** 2 + jnp.imag(x) ** 2


def rms(x: Array) -> Array:
    """The root mean square √mean(|x|²) of an array; zero of an empty one."""
    return sqrt(jnp.sum(abs_sq(x)) / max(x.size, 1))


def sqrt(x: Array) -> Array:
    """√x whose derivative at zero is zero, not infinite."""
    zero = x == 0
    return jnp.where(zero, jnp.zeros_like(x), lax.sqrt(jnp.where(zero, jnp.ones_like(x), x)))


def cbrt(x: Array) -> Array:
    """∛x of x ≥ 0 to an ulp, whose derivative at zero is zero. By exp and log, which XLA vectorizes, where ``jnp.cbrt`` calls a library's root
    number by number; one step of Newton's makes up for what they round.
    """
    zero = x < jnp.finfo(x.dtype).tiny
    safe = jnp.where(zero, 1.0, x)
    root = jnp.exp(jnp.log(safe) / 3)
    root = root - (root - safe / (root * root)) / 3
    return jnp.where(zero, 0.0, jnp.where(jnp.isinf(x), x, root))


def divide(x: Array, by: Array) -> Array:
    """``x / by``, zero (with a finite derivative) where ``by_function`` is zero; NaN stays NaN."""
    zero = by == 0
    return jnp.where(
        zero, jnp.zeros_like(x), x / jnp.where(zero, jnp.ones_like(by), by).astype(x.dtype)
    )


def log(decay: Array) -> Array:
    """Log β; of 0 it is −inf with a derivative of zero. A Python number is taken in float64."""
    if isinstance(decay, (int, float)):
        return math.log(decay) if decay > 0 else -math.inf
    seen = decay > 0
    return jnp.where(seen, jnp.log(jnp.where(seen, decay, 1.0)), -jnp.inf)


def increment(step: Array) -> Array:
    """``step + 1``, which stops at the largest integer instead of wrapping round."""
    top = jnp.iinfo(jnp.result_type(step)).max
    return jnp.where(step < top, step + 1, top)


def run_if(wanted: Array, function: Callable[[Any, Any], Any], carry: Any, operands: Any) -> Any:
    """``function(carry, operands)`` if ``wanted``, else ``carry``, updated in place.

    Where XLA would copy what passes through a ``cond``, the carry of a loop of no or one turn keeps its buffers, so a call that does nothing
    costs nothing. ``function`` returns what it was given in type and closes over no tracer. (Derivatives go through the ``cond``.)
    """
    if not isinstance(wanted, jax.core.Tracer):
        jax.eval_shape(
            function, carry, operands
        )  # what it refuses is refused also where it is not wanted
        return function(carry, operands) if wanted else carry

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
            lambda carry, operands: lax.cond(wanted, function, lambda c, _: c, carry, operands),
            tuple(rest),
            tuple(tangents[1:]),
        )

    return run(wanted, carry, operands)


def after(x: Array, *scalars: Array) -> Array:
    """The number ``x``, known to XLA no sooner than the others. What is computed with it, it may then write over what they were read from; else it
    copies that first.
    """
    x = jnp.asarray(x, jnp.result_type(*scalars))
    for y in map(lax.stop_gradient, scalars):
        x = x + (0 * jnp.where(jnp.isfinite(y), y, 0)).astype(
            x.dtype
        )  # nothing, but not provably so
    return x


def as_key(key: Any) -> Any:
    """A random key from a seed, a typed key or the data of one."""
    if key is None:
        check.fail(
            "needs a seed or a random key",
            "None",
            "Such as key=0; noise that nobody chose cannot be drawn again",
            path="key",
            error=TypeError,
        )
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.wrap_key_data(jnp.asarray(key)) if jnp.ndim(key) else jax.random.key(key)


def key_data(key: Any) -> Any:
    """The raw data of a random key, for a state. A copy, because the state may be donated."""
    return jnp.array(jax.random.key_data(key), copy=True)


def split_key(data: Any, like: Any, number: int) -> tuple[Any, list[Any]]:
    """The key data to store next, and ``number`` keys to use; ``like`` is a key of the same implementation."""
    following, *keys = jax.random.split(
        jax.random.wrap_key_data(data, impl=jax.random.key_impl(like)), number + 1
    )
    return jax.random.key_data(following), keys


def is_number(x: Any) -> bool:
    """Whether ``x`` is a Python or array number (a tracer counts)."""
    return isinstance(
        x, (int, float, complex, np.generic, np.ndarray, jax.Array)
    ) and not isinstance(x, bool)
