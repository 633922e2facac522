"""Tensors in blocks, and products with a matrix along each of their axes.

A tensor is partitioned into B blocks of one shape, so that a stack of shape (B, s₁, ..., s_k) holds
it. The i-th unfolding X_(i) of a block has s_i rows. Shampoo and SOAP keep a matrix for each axis:
the average of X_(i) X_(i)ᴴ, whose functions are applied along that axis.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _xla as xla

PRECISION = lax.Precision.HIGHEST


def whole(x: Any) -> Any:
    """A replicated array, where shardings are part of the types: products and roots need it whole.

    Where they are not, the compiler decides.
    """
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec()) if _is_typed(x) else x


def placed(x: Any, like: Any) -> Any:
    """The array in the sharding of another one of its shape, where that is part of its type."""
    return jax.sharding.reshard(x, jax.typeof(like).sharding) if _is_typed(like) else x


def _is_typed(x: Any) -> bool:
    return jax.sharding.AxisType.Explicit in jax.typeof(x).sharding.mesh.axis_types


def merged(shape: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """The shape with neighbouring axes merged while their product is at most ``limit``."""
    result: list[int] = []
    for size in shape:
        if result and result[-1] * size <= limit:
            result[-1] *= size
        else:
            result.append(size)
    return tuple(result)


def blocking(shape: tuple[int, ...], limit: int) -> tuple[tuple[int, int], ...]:
    """For each axis the number of blocks, and their common length of at most ``limit``.

    The last block is filled up with zeros.
    """
    counts = [max(math.ceil(size / limit), 1) for size in shape]
    return tuple(
        (count, math.ceil(size / count)) for count, size in zip(counts, shape, strict=True)
    )


def to_blocks(x: Any, shape: tuple[int, ...], blocks: tuple[tuple[int, int], ...]) -> Any:
    """A leaf in the merged shape as a stack of its blocks."""
    x = whole(x)
    if all(count == 1 for count, _ in blocks):
        return x.reshape(1, *shape)
    pads = [(0, count * size - n) for (count, size), n in zip(blocks, shape, strict=True)]
    x = jnp.pad(x.reshape(shape), pads).reshape([n for pair in blocks for n in pair])
    rank = len(blocks)
    x = x.transpose(*range(0, 2 * rank, 2), *range(1, 2 * rank, 2))
    return x.reshape(-1, *(size for _, size in blocks))


def from_blocks(x: Any, shape: tuple[int, ...], blocks: tuple[tuple[int, int], ...]) -> Any:
    """The inverse of ``to_blocks``, in the merged shape."""
    if all(count == 1 for count, _ in blocks):
        return x.reshape(shape)
    rank = len(blocks)
    x = x.reshape(*(count for count, _ in blocks), *(size for _, size in blocks))
    x = x.transpose(*(axis for i in range(rank) for axis in (i, rank + i)))
    x = x.reshape([count * size for count, size in blocks])
    return x[tuple(slice(n) for n in shape)]


def gram(x: Any, axis: int) -> Any:
    """X_(i) X_(i)ᴴ of each block of a stack."""
    others = tuple(i for i in range(1, x.ndim) if i != axis + 1)
    return lax.dot_general(x, jnp.conj(x), ((others, others), ((0,), (0,))), precision=PRECISION)


def along(x: Any, matrices: Any, axis: int) -> Any:
    """Each block times its matrix along an axis: A X_(i), folded."""
    batch = ((0,), (0,))
    if axis == 0:
        dims = (((2,), (1,)), batch)
        return lax.dot_general(matrices, x, dims, precision=PRECISION)
    dims = (((axis + 1,), (2,)), batch)
    return jnp.moveaxis(lax.dot_general(x, matrices, dims, precision=PRECISION), -1, axis + 1)


def adjoint(matrices: Any) -> Any:
    """The conjugate transposes of a stack."""
    return jnp.conj(jnp.swapaxes(matrices, -1, -2))


def identity(like: Any) -> Any:
    """A stack of identity matrices."""
    return jnp.broadcast_to(jnp.eye(like.shape[-1], dtype=like.dtype), like.shape)


def each(function: Callable[[Any], Any], matrices: Any) -> Any:
    """A decomposition of each matrix of a stack of shape (..., m, n)."""
    single = xla.one_by_one(function)
    if matrices.ndim == 2:
        return single(matrices)
    if matrices.shape[0] == 1:  # without a loop
        return jax.tree.map(lambda x: x[None], each(function, matrices[0]))
    return jax.vmap(lambda one: each(function, one))(matrices)


def together(function: Callable[[Any], Any], stacks: list[Any]) -> list[Any]:
    """A function of stacks, called once for all stacks whose matrices have one shape.

    A model has few shapes, so that the function is compiled few times; accelerators run a batch.
    """
    groups: dict[Any, list[int]] = {}
    for i, stack in enumerate(stacks):
        groups.setdefault((stack.shape[1:], stack.dtype), []).append(i)
    results: dict[int, Any] = {}
    for members in groups.values():
        parts = [stacks[i] for i in members]
        found = function(parts[0] if len(parts) == 1 else jnp.concatenate(parts))
        ends = np.cumsum([len(part) for part in parts]).tolist()
        for i, part, end in zip(members, parts, ends, strict=True):
            results[i] = found[end - len(part) : end]
    return [results[i] for i in range(len(stacks))]


def eigh(matrices: Any) -> tuple[Any, Any]:
    """Eigenvalues in ascending order, and eigenvectors."""
    return each(lambda x: tuple(jnp.linalg.eigh(x)), matrices)


def qr(matrices: Any) -> Any:
    """The factor Q of the QR decomposition."""
    return each(lambda x: jnp.linalg.qr(x)[0], matrices)


def svd(matrices: Any) -> tuple[Any, Any, Any]:
    """U, S and Vᴴ, without the vectors of singular values that a rectangular matrix lacks."""
    return each(lambda x: tuple(jnp.linalg.svd(x, full_matrices=False)), matrices)
