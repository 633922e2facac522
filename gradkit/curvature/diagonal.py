"""Diagonals of Hessians and of the Fisher information: exact, and estimated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._flat import Flat
from gradkit.curvature._arguments import point, scalar_function
from gradkit.typing import Key, Params, PyTree


def hutchinson_diagonal(
    product: Callable[[PyTree], PyTree], params: Params, key: Key, samples: int = 1
) -> PyTree:
    """Estimate the diagonal of a matrix from products with random signs (Hutchinson).

    The mean of z ∘ (A z) over random signs z: its expectation is diag A, and it is exact for a
    diagonal A. The variance of element i is Σ A_ij² over j ≠ i, divided by ``samples``.

    Args:
      product: ``product(vector) -> A vector`` on trees like ``params``.
      params: a tree of real arrays, of which only shapes and dtypes are used.
      key: a seed or a random key.
      samples: the number of products, at least 1.

    Returns:
      the estimate, a tree like ``params``.

    Raises:
      TypeError: complex parameters, or a ``product`` that is not a function.
      ValueError: ``samples`` < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> fun = lambda w: 2 * w[0] ** 2 + w[1] ** 3
      >>> w = jnp.ones(2)
      >>> product = lambda v: gk.curvature.hessian_vector_product(fun, w, v)
      >>> assert gk.curvature.hutchinson_diagonal(product, w, 0).tolist() == [4.0, 6.0]

    Reference: Hutchinson 1989, https://doi.org/10.1080/03610918908812806; Bekas et al. 2007,
    https://doi.org/10.1016/j.apnum.2007.01.003.
    """
    with check.inside("hutchinson_diagonal"):
        check.function(product=product)
        check.integer(1, samples=samples)
        params = point(params)
        flat = Flat(params)

        def sample(total: Any, key: Any) -> Any:
            signs = flat.unravel(jax.random.rademacher(key, (flat.size,), flat.dtype))
            return tree.map(lambda t, z, h: t + z * h, total, signs, product(signs)), None

        keys = jax.random.split(numerics.as_key(key), samples)
        total, _ = jax.lax.scan(sample, tree.zeros_like(params), keys)
        return tree.scale(total, 1 / samples)


def hessian_diag(
    loss: Callable[..., jax.Array], params: Params, inputs: PyTree, targets: PyTree
) -> jax.Array:
    """Compute the exact diagonal of the Hessian as a vector, with optax's signature.

    By one Hessian-vector product for each of the n elements; for many elements estimate it with
    ``hutchinson_diagonal``.

    Args:
      loss: ``loss(params, inputs, targets)`` returns one real number.
      params: the point, a tree of real arrays.
      inputs: passed to ``loss``.
      targets: passed to ``loss``.

    Returns:
      diag H, a vector of the size of ``ravel_pytree(params)``.

    Raises:
      TypeError: complex parameters, or ``loss`` does not return one real number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = lambda w, x, y: jnp.sum(x * w**3) - y
      >>> diagonal = gk.curvature.hessian_diag(loss, jnp.array([1.0, 2.0]), jnp.ones(2), 0.0)
      >>> assert diagonal.tolist() == [6.0, 12.0]

    **Differs from optax**: bfloat16 and float16 parameters are computed in float32.
    """
    with check.inside("hessian_diag"):
        params = point(params)
        flat = Flat(params)
        fun = scalar_function(loss, params, (inputs, targets), "loss")
        slope = jax.grad(lambda x: fun(flat.unravel(x)))
        at = flat.ravel(params)

        def element(basis: Any) -> Any:
            return jnp.vdot(basis, jax.jvp(slope, (at,), (basis,))[1])

        return jax.vmap(element)(jnp.eye(flat.size, dtype=flat.dtype))


def fisher_diag(
    negative_log_likelihood: Callable[..., jax.Array],
    params: Params,
    inputs: PyTree,
    targets: PyTree,
) -> jax.Array:
    """Compute the squared gradient: the diagonal of the observed Fisher information.

    Args:
      negative_log_likelihood: ``f(params, inputs, targets)`` returns one real number.
      params: the point, a tree of real arrays.
      inputs: passed to the function.
      targets: passed to the function.

    Returns:
      g², a vector of the size of ``ravel_pytree(params)``.

    Raises:
      TypeError: complex parameters, or the function does not return one real number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = lambda w, x, y: jnp.sum(x * w) - y
      >>> diagonal = gk.curvature.fisher_diag(loss, jnp.ones(2), jnp.array([2.0, 3.0]), 0.0)
      >>> assert diagonal.tolist() == [4.0, 9.0]

    **Differs from optax**: bfloat16 and float16 parameters are computed in float32.
    """
    with check.inside("fisher_diag"):
        params = point(params)
        name = "negative_log_likelihood"
        fun = scalar_function(negative_log_likelihood, params, (inputs, targets), name)
        return jnp.square(Flat(params).ravel(jax.grad(fun)(params)))
