"""A draw in at least float32, rounded once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from gradkit import _checks as check
from gradkit import _numerics as numerics


def wide(
    name: str,
    draw: Callable[..., Any],
    dtype: Any,
    least_rank: int = 0,
    sharded: bool = True,
) -> Initializer:
    """The initializer that calls ``draw`` in a wide dtype; messages name the factory ``name``.

    A draw that is not ``sharded`` takes no ``out_sharding``: its result is resharded.
    """
    if dtype is not None:
        check.floating_dtype(dtype=dtype)
    default = dtype

    def initializer(
        key: Any, shape: Sequence[int], dtype: Any = None, out_sharding: Any = None
    ) -> jax.Array:
        with check.inside(name):
            chosen = default if dtype is None else dtype
            kind = jnp.result_type(float) if chosen is None else check.floating_dtype(dtype=chosen)
            if len(shape) < least_rank:
                problem = f"shape={tuple(shape)} is not that of a weight"
                fix = "Use constant(0.0) for biases, or gaussian"
                check.refuse(problem, expected=f"at least {least_rank} axes", fix=fix)
            given = out_sharding is not None
            sharding = {"out_sharding": out_sharding} if given and sharded else {}
            drawn = draw(numerics.as_key(key), tuple(shape), numerics.wide(kind), **sharding)
            result: jax.Array = numerics.cast(drawn, kind)
            return jax.sharding.reshard(result, out_sharding) if given and not sharded else result

    return initializer
