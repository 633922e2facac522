"""Rows of arrays, and vectors along their batch axis, on meshes where shardings are types."""

import jax
import numpy as np
from jax.sharding import AxisType, PartitionSpec


def rows_of(x: jax.Array, rows: jax.Array) -> jax.Array:
    """``x[rows]``, sharded like ``x`` where the rows can be divided."""
    sharding = jax.typeof(x).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return x[rows]
    first, *rest = sharding.spec
    axes = (first,) if isinstance(first, str) else (first or ())
    parts = np.prod([sharding.mesh.shape[axis] for axis in axes], dtype=int)
    batch = first if rows.shape[-1] % parts == 0 else None
    spec = PartitionSpec(*[None] * (rows.ndim - 1), batch, *rest)
    return x.at[rows].get(out_sharding=sharding.update(spec=spec))


def along_batch(vector: jax.Array, x: jax.Array) -> jax.Array:
    """A number for each sample, sharded like the batch axis of ``x``."""
    sharding = jax.typeof(x).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return vector
    spec = PartitionSpec(sharding.spec[0])
    return jax.sharding.reshard(vector, sharding.update(spec=spec))
