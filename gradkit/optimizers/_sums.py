"""What the parameter-free methods share: inner products, the point where training began, random keys."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree


def real(updates: Any) -> None:
    """Every leaf is real: these methods measure by signs and by inner products."""
    jax.tree.map(check.real, updates)


def dot(a: Any, b: Any) -> Any:
    """Σ a b over two trees of real leaves."""
    return total(tree.map(lambda x, y: jnp.sum(x * y), a, b), a)


def total(scalars: Any, like: Any) -> Any:
    """The sum of the leaves of a tree of scalars, in the scalar dtype of ``like``."""
    dtype = numerics.scalar_dtype(like)
    parts = [numerics.cast(x, dtype) for x in jax.tree.leaves(scalars)]
    if not parts:
        return jnp.zeros((), dtype)
    return jnp.sum(jnp.stack(parts))


def sq_norm(updates: Any) -> Any:
    """Σ|x|² over a tree."""
    return total(tree.map(lambda x: jnp.sum(numerics.abs_sq(x)), updates), updates)


def scalar(value: Any, like: Any) -> Any:
    """A number in the scalar dtype of a tree; a copy, for it may be kept in a state that is donated."""
    return jnp.array(value, numerics.scalar_dtype(like), copy=True)


def origin(params: Any) -> Any:
    """The parameters at init, copied: the state may be donated together with them. Zeros where there are no values yet."""

    def leaf(p: Any) -> Any:
        dtype = numerics.wide(jax.dtypes.result_type(p))
        return jnp.zeros(p.shape, dtype) if isinstance(p, jax.ShapeDtypeStruct) else jnp.array(p, dtype, copy=True)

    return jax.tree.map(leaf, params)


def start(kept: Any, params: Any, step: Any) -> Any:
    """Where training began."""
    check.params(params)
    return tree.from_start(step, kept, params)


def debias(decay: Any, step: Any, like: Any) -> Any:
    """1 − β^t, t = step + 1."""
    t = scalar(step, like) + 1
    return -jnp.expm1(t * tree.factor_like(numerics.log(decay), t))


def key_data(key: Any) -> Any:
    """What of a random key is kept in a memory; a copy, for the state may be donated and the key used again."""
    return jnp.array(jax.random.key_data(key), copy=True)


def split(data: Any, first: Any, number: int) -> tuple[Any, list[Any]]:
    """From the key in the memory what to keep there, and keys to use; ``first`` says of which kind."""
    following, *keys = jax.random.split(jax.random.wrap_key_data(data, impl=jax.random.key_impl(first)), number + 1)
    return jax.random.key_data(following), keys
