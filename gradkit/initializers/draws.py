"""Initial weights of a fixed variance, orthogonal ones, and sparse ones."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.nn.initializers as of_jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit.initializers._wide import wide


def gaussian(
    mean: float = 0.0, stddev: float = 0.01, *, dtype: DTypeLike | None = None
) -> Initializer:
    """Initialize parameters from a Gaussian (normal) distribution of a fixed mean and variance.

    **Value** N(mean, stddev²).

    Args:
      mean: the mean.
      stddev: the standard deviation ≥ 0.
      dtype: of the parameters, where the call names none.

    Returns:
      an initializer, ``initializer(key, shape, dtype)``.

    Raises:
      ValueError: stddev < 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> w = gk.initializers.gaussian(1.0, 0.1)(0, (100, 100))
      >>> assert jnp.isclose(w.mean(), 1.0, atol=0.005) and jnp.isclose(w.std(), 0.1, rtol=0.05)

    **Differs from JAX**: ``normal`` has no mean; narrow parameters are drawn in float32 and rounded
    once.
    """
    with check.inside("gaussian"):
        check.finite(mean=mean)
        check.non_negative(stddev=stddev)
        normal = of_jax.normal(stddev)

        def draw(key: Any, shape: Any, dtype: Any, **sharding: Any) -> Any:
            return mean + normal(key, shape, dtype, **sharding)

        return wide("gaussian", draw, dtype)


def symmetric_uniform(bound: float, *, dtype: DTypeLike | None = None) -> Initializer:
    """Initialize parameters uniformly between −bound and bound.

    **Value** uniform in [−r, r), r = bound; the variance is r² / 3.

    Args:
      bound: the largest magnitude r ≥ 0.
      dtype: of the parameters, where the call names none.

    Returns:
      an initializer, ``initializer(key, shape, dtype)``.

    Raises:
      ValueError: bound < 0.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> w = gk.initializers.symmetric_uniform(0.3)(0, (100, 100))
      >>> assert -0.3 <= w.min() < -0.29 and 0.29 < w.max() <= 0.3

    **Differs from JAX**: ``uniform(scale)`` draws from [0, scale).
    """
    with check.inside("symmetric_uniform"):
        check.non_negative(bound=bound)
        uniform = of_jax.uniform(2.0)

        def draw(key: Any, shape: Any, dtype: Any, **sharding: Any) -> Any:
            return bound * (uniform(key, shape, dtype, **sharding) - 1)

        return wide("symmetric_uniform", draw, dtype)


def orthogonal(
    scale: float = 1.0, column_axis: int = -1, dtype: DTypeLike | None = None
) -> Initializer:
    """Initialize weights as a random orthogonal matrix: signals keep their norm.

    **Value** scale · Q, Q uniform among the matrices with orthonormal columns (or rows, where there
    are more columns than rows). A kernel of more axes is one matrix, columns along ``column_axis``.

    Args:
      scale: the singular values; ``gain("relu")`` before ReLU.
      column_axis: the axis of the columns, the output features.
      dtype: of the weights, where the call names none.

    Returns:
      an initializer, ``initializer(key, shape, dtype)``.

    Raises:
      ValueError: by the initializer, a shape of fewer than two axes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> q = gk.initializers.orthogonal()(0, (3, 2, 4), jnp.float32).reshape(6, 4)
      >>> assert jnp.allclose(q.T @ q, jnp.eye(4), atol=1e-5)

    **Differs from JAX**: bfloat16 and float16 work; they are drawn in float32 and rounded once.

    Reference: Saxe et al. 2014, https://arxiv.org/abs/1312.6120.
    """
    with check.inside("orthogonal"):
        check.finite(scale=scale)
        check.integer(None, column_axis=column_axis)
        draw = of_jax.orthogonal(scale, column_axis)
        return wide("orthogonal", draw, dtype, least_rank=2, sharded=False)


def sparse(
    connections: int = 15,
    stddev: float = 1.0,
    column_axis: int = -1,
    *,
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Initialize weights sparsely: each output has the same small number of nonzero inputs.

    **Value** in each column, ``connections`` random elements are N(0, stddev²) and the others zero,
    so the inputs of a unit do not grow with the number of units before it.

    Args:
      connections: the number of nonzero weights of each output, ≥ 1; all where there are fewer.
      stddev: the standard deviation ≥ 0 of the nonzero weights.
      column_axis: the axis of the output features.
      dtype: of the weights, where the call names none.

    Returns:
      an initializer, ``initializer(key, shape, dtype)``.

    Raises:
      ValueError: connections < 1 or stddev < 0; by the initializer, a shape of fewer than two axes.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> w = gk.initializers.sparse(3)(0, (10, 4))
      >>> assert (jnp.sum(w != 0, axis=0) == 3).all()

    **Differs from PyTorch**: ``sparse_`` takes the fraction of zeros.

    Reference: Martens 2010, https://icml.cc/Conferences/2010/papers/458.pdf.
    """
    with check.inside("sparse"):
        check.integer(1, connections=connections)
        check.non_negative(stddev=stddev)
        check.integer(None, column_axis=column_axis)
        normal = of_jax.normal(stddev)

        def draw(key: Any, shape: Sequence[int], dtype: Any) -> Any:
            if not -len(shape) <= column_axis < len(shape):
                check.refuse(f"column_axis={column_axis} is no axis of shape={tuple(shape)}")
            columns = shape[column_axis]
            rows = int(np.prod(shape)) // max(columns, 1)
            which, values = jax.random.split(key)
            order = jax.random.uniform(which, (rows, columns))
            rank = jnp.argsort(jnp.argsort(order, axis=0), axis=0)
            weights = normal(values, (rows, columns), dtype)
            weights = jnp.where(rank < connections, weights, jnp.zeros_like(weights))
            rest = [n for i, n in enumerate(shape) if i != column_axis % len(shape)]
            return jnp.moveaxis(weights.reshape(*rest, columns), -1, column_axis)

        return wide("sparse", draw, dtype, least_rank=2, sharded=False)
