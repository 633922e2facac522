"""Trees as real vectors, for methods that need matrices of all elements."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _numerics as numerics


class Flat:
    """The real vector of the elements of trees like one tree.

    A complex element is two numbers, its real and its imaginary part. The vector has the scalar
    dtype of the tree: float32 or wider.

    Attributes:
      dtype: the dtype of the vector.
      size: its length.
    """

    def __init__(self, like: Any):
        self._treedef: Any
        leaves, self._treedef = jax.tree.flatten(like)
        self._shapes = [jnp.shape(x) for x in leaves]
        self._kinds = [jax.dtypes.result_type(x) for x in leaves]
        self._complex = [jnp.issubdtype(kind, jnp.complexfloating) for kind in self._kinds]
        sizes = [math.prod(s) * (2 if c else 1) for s, c in zip(self._shapes, self._complex)]
        self._ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        self._starts = [end - size for end, size in zip(self._ends, sizes)]
        self.dtype = numerics.scalar_dtype(like)
        self.size = self._ends[-1] if sizes else 0

    def ravel(self, tree: Any) -> jax.Array:
        """The vector of a tree."""
        parts = []
        for leaf, is_complex in zip(self._treedef.flatten_up_to(tree), self._complex, strict=True):
            x = jnp.asarray(leaf)
            pieces = (x.real, x.imag) if is_complex else (x,)
            parts += [numerics.cast(jnp.ravel(piece), self.dtype) for piece in pieces]
        return jnp.concatenate(parts) if parts else jnp.zeros(0, self.dtype)

    def unravel(self, vector: jax.Array) -> Any:
        """The tree of a vector."""
        leaves = []
        rows = zip(self._starts, self._ends, self._shapes, self._kinds, self._complex)
        for start, end, shape, kind, is_complex in rows:
            part = vector[start:end]
            if is_complex:
                half = (end - start) // 2
                part = jax.lax.complex(part[:half], part[half:])
            leaves.append(numerics.cast(jnp.reshape(part, shape), kind))
        return self._treedef.unflatten(leaves)
