"""Hessians, Jacobians, and products with them that never form the matrix."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._flat import Flat
from gradkit.curvature._arguments import like, point, scalar_function
from gradkit.typing import Params, PyTree


def hessian_vector_product(
    fun: Callable[..., jax.Array], params: Params, vector: PyTree, *args: Any
) -> PyTree:
    """Compute a Hessian-vector product (hvp) on trees, without forming the Hessian.

    The derivative of the gradient along ``vector``: forward over reverse mode, at about four times
    the cost of ``fun``.

    Args:
      fun: ``fun(params, *args)`` returns one real number.
      params: the point, a tree of real arrays.
      vector: v, a tree like ``params``.
      args: further arguments of ``fun``.

    Returns:
      H v, a tree like ``params``.

    Raises:
      TypeError: complex parameters, or ``fun`` does not return one real number.
      ValueError: ``vector`` is not like ``params``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> fun = lambda p: p["a"] ** 3 * p["b"]
      >>> p, v = {"a": 2.0, "b": 5.0}, {"a": 1.0, "b": 0.0}
      >>> product = gk.curvature.hessian_vector_product(fun, p, v)
      >>> assert product == {"a": 60.0, "b": 12.0}  # 6 a b and 3 a²
    """
    with check.inside("hessian_vector_product"):
        params, vector = point(params), tree.widen(vector)
        check.match(vector, params)
        loss = scalar_function(fun, params, args)
        return jax.jvp(jax.grad(loss), (params,), (like(vector, params),))[1]


def gauss_newton_vector_product(
    residuals: Callable[..., PyTree],
    params: Params,
    vector: PyTree,
    *args: Any,
    loss: Callable[[PyTree], jax.Array] | None = None,
) -> PyTree:
    """Compute a Gauss–Newton (GGN) product Jᵀ H J v on trees, without forming a matrix.

    The Gauss–Newton matrix of loss(residuals(θ)) is the Hessian without the curvature of
    ``residuals``. It is positive semidefinite if ``loss`` is convex.

    Args:
      residuals: ``residuals(params, *args)`` returns a tree of real arrays, such as residuals or
        the outputs of a network.
      params: the point, a tree of real arrays.
      vector: v, a tree like ``params``.
      args: further arguments of ``residuals``.
      loss: the loss of what ``residuals`` returns; by default ½ Σ r², whose H is the identity.

    Returns:
      Jᵀ H J v, a tree like ``params``.

    Raises:
      TypeError: complex parameters, or ``loss`` does not return one real number.
      ValueError: ``vector`` is not like ``params``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> residuals = lambda w: jnp.array([w[0] ** 2, w[0] * w[1]])  # J = [[6, 0], [2, 3]]
      >>> w, v = jnp.array([3.0, 2.0]), jnp.array([1.0, 0.0])
      >>> product = gk.curvature.gauss_newton_vector_product(residuals, w, v)
      >>> assert product.tolist() == [40.0, 6.0]

    Reference: Schraudolph 2002, https://doi.org/10.1162/08997660260028683.
    """
    with check.inside("gauss_newton_vector_product"):
        check.function(residuals=residuals)
        params, vector = point(params), tree.widen(vector)
        check.match(vector, params)
        _real_numbers(jax.eval_shape(lambda p: residuals(p, *args), params))
        out, pushed = jax.jvp(lambda p: residuals(p, *args), (params,), (like(vector, params),))
        if loss is not None:
            outer = scalar_function(loss, out, (), "loss")
            pushed = jax.jvp(jax.grad(outer), (out,), (pushed,))[1]
        return jax.vjp(lambda p: residuals(p, *args), params)[1](pushed)[0]


def hessian_matrix(fun: Callable[..., jax.Array], params: Params, *args: Any) -> jax.Array:
    """Compute the Hessian of a function on a tree as one matrix.

    The rows and columns are the elements of ``jax.flatten_util.ravel_pytree(params)``.

    Args:
      fun: ``fun(params, *args)`` returns one real number.
      params: the point, a tree of real arrays of n elements.
      args: further arguments of ``fun``.

    Returns:
      H, n × n, symmetric.

    Raises:
      TypeError: complex parameters, or ``fun`` does not return one real number.

    Example:
      >>> import gradkit as gk
      >>> fun, p = lambda p: p["a"] ** 3 * p["b"], {"a": 2.0, "b": 5.0}
      >>> hessian = gk.curvature.hessian_matrix(fun, p)
      >>> assert hessian.tolist() == [[60.0, 12.0], [12.0, 0.0]]
    """
    with check.inside("hessian_matrix"):
        params = point(params)
        flat = Flat(params)
        loss = scalar_function(fun, params, args)
        matrix = jax.hessian(lambda x: loss(flat.unravel(x)))(flat.ravel(params))
        return (matrix + matrix.T) / 2


def jacobian_matrix(residuals: Callable[..., PyTree], params: Params, *args: Any) -> jax.Array:
    """Compute the Jacobian of a function from a tree to a tree as one matrix.

    Rows are the elements of what ``residuals`` returns, columns those of ``params``, both in the
    order of ``jax.flatten_util.ravel_pytree``. Forward mode where there are at least as many rows
    as columns, else reverse mode.

    Args:
      residuals: ``residuals(params, *args)`` returns a tree of m real elements.
      params: the point, a tree of real arrays of n elements.
      args: further arguments of ``residuals``.

    Returns:
      J, m × n.

    Raises:
      TypeError: complex parameters or residuals.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> residuals = lambda w: jnp.array([w[0] ** 2, w[0] * w[1]])
      >>> jacobian = gk.curvature.jacobian_matrix(residuals, jnp.array([3.0, 2.0]))
      >>> assert jacobian.tolist() == [[6.0, 0.0], [2.0, 3.0]]
    """
    with check.inside("jacobian_matrix"):
        check.function(residuals=residuals)
        params = point(params)
        out = jax.eval_shape(lambda p: residuals(p, *args), params)
        _real_numbers(out)
        rows, columns = Flat(out), Flat(params)
        mode = jax.jacfwd if rows.size >= columns.size else jax.jacrev
        flat = mode(lambda x: rows.ravel(residuals(columns.unravel(x), *args)))
        return jnp.asarray(flat(columns.ravel(params)))


def _real_numbers(out: Any) -> None:
    """Refuse what residuals returned unless it is a tree of real floating numbers."""
    check.tree_of_arrays(out, "what residuals returned")
    check.real_leaves(out)
    for leaf in jax.tree.leaves(out):
        if not check.is_inexact(leaf):
            problem = f"residuals returned {check.kind_of(leaf)}"
            check.refuse(problem, expected="floating numbers", error=TypeError)


def hvp(
    loss: Callable[..., jax.Array],
    v: jax.Array,
    params: Params,
    inputs: PyTree,
    targets: PyTree,
) -> PyTree:
    """Compute a Hessian-vector product (hvp) with a flat vector, with optax's signature.

    Args:
      loss: ``loss(params, inputs, targets)`` returns one real number.
      v: a vector of the size of ``ravel_pytree(params)``.
      params: the point, a tree of real arrays.
      inputs: passed to ``loss``.
      targets: passed to ``loss``.

    Returns:
      H v, a tree like ``params``.

    Raises:
      TypeError: complex parameters, or ``loss`` does not return one real number.
      ValueError: ``v`` is no vector of that size.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> loss = lambda w, x, y: jnp.sum((x @ w - y) ** 2) / 2
      >>> x, y = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.ones(2)
      >>> product = gk.curvature.hvp(loss, jnp.array([1.0, 0.0]), jnp.zeros(2), x, y)
      >>> assert product.tolist() == [1.0, 2.0]  # the first column of xᵀ x

    **Differs from optax**: bfloat16 and float16 parameters are computed in float32. For a v that
    is a tree, use ``hessian_vector_product``.
    """
    with check.inside("hvp"):
        params = point(params)
        flat = Flat(params)
        if jnp.shape(v) != (flat.size,):
            problem = f"v is {check.shape_dtype(v)}, but params have {flat.size} elements"
            check.refuse(problem, expected=f"a vector of {flat.size} elements")
        tangent = flat.unravel(jnp.asarray(v, flat.dtype))
        fun = scalar_function(loss, params, (inputs, targets), "loss")
        return jax.jvp(jax.grad(fun), (params,), (tangent,))[1]
