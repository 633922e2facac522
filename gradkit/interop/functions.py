"""Functions beside an optimizer, by optax's names: target networks, the global norm, counters."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._explain import explained, judge
from gradkit._rule import Rule
from gradkit._transform import Transform, as_transform, stateless
from gradkit.typing import PyTree, Scalar, Updates


@explained(trees="updates")
def global_norm(updates: Updates) -> jax.Array:
    """Compute the global norm of gradients: the 2-norm of all leaves together.

    **Value** √Σ|g|².

    Args:
      updates: a tree of real or complex arrays.

    Returns:
      a scalar, float32 or wider.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.global_norm({"w": jnp.array([3.0]), "b": jnp.array([4.0])}) == 5.0

    **Differs from optax**: half-precision leaves are squared and added in float32; the derivative
    at zero is zero, not NaN.
    """
    return tree.norm(updates)


@explained(trees="new_tensors old_tensors", numbers="step_size")
def incremental_update(new_tensors: PyTree, old_tensors: PyTree, step_size: Scalar) -> PyTree:
    """Move a target network towards the online network: Polyak averaging of parameters.

    **Value** old + step_size · (new − old).

    Args:
      new_tensors: the online parameters.
      old_tensors: the average, or the target parameters.
      step_size: in [0, 1]; 1 copies.

    Returns:
      a tree like ``old_tensors``; None where ``new_tensors`` is None.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.incremental_update(jnp.array(3.0), jnp.array(1.0), 0.25) == 1.5

    **Differs from optax**: computed in float32 or wider; the result keeps the dtype of
    ``old_tensors``. In half precision a small ``step_size`` is still lost in the final rounding:
    keep the target in float32, or use ``weight_ema``.
    """

    def leaf(new: Any, old: Any) -> Any:
        if new is None:
            return None
        dtype = numerics.wide(
            numerics.wider(jax.dtypes.result_type(new), jax.dtypes.result_type(old))
        )
        wide_new, wide_old = numerics.cast(new, dtype), numerics.cast(old, dtype)
        share = tree.factor_like(step_size, wide_new)
        # The form with two products gives exactly new at step_size 1, and old at 0.
        return numerics.cast(share * wide_new + (1 - share) * wide_old, jax.dtypes.result_type(old))

    return jax.tree.map(leaf, new_tensors, old_tensors, is_leaf=lambda x: x is None)


@explained(trees="new_tensors old_tensors", numbers="steps update_period")
def periodic_update(
    new_tensors: PyTree, old_tensors: PyTree, steps: Any, update_period: Any
) -> PyTree:
    """Copy the online network to the target network every few steps.

    **Value** new if steps mod update_period = 0, else old.

    Args:
      new_tensors: the online parameters.
      old_tensors: the target parameters.
      steps: the number of completed steps.
      update_period: the period, at least 1.

    Returns:
      a tree like ``old_tensors``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.periodic_update(jnp.array(3.0), jnp.array(1.0), 4, 2) == 3.0
      >>> assert gk.periodic_update(jnp.array(3.0), jnp.array(1.0), 5, 2) == 1.0
    """
    return jax.lax.cond(
        jnp.mod(steps, update_period) == 0, lambda: new_tensors, lambda: old_tensors
    )


@explained(numbers="count")
def safe_increment(count: Any) -> jax.Array:
    """Add one to a counter, which stops at the largest value of its dtype instead of overflowing.

    Args:
      count: a number of an integer or floating dtype.

    Returns:
      ``count + 1``, or ``count`` at the largest value.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> assert gk.safe_increment(jnp.int32(2)) == 3
      >>> assert gk.safe_increment(jnp.int32(2**31 - 1)) == 2**31 - 1
    """
    count = jnp.asarray(count)
    if jnp.issubdtype(count.dtype, jnp.integer):
        return numerics.increment(count)
    top = jnp.asarray(jnp.finfo(count.dtype).max, count.dtype)
    return jnp.where(count < top, count + jnp.ones((), count.dtype), top)


@explained(trees="x", numbers="min_norm")
def safe_norm(
    x: Any, min_norm: Scalar, ord: Any = None, axis: Any = None, keepdims: bool = False
) -> jax.Array:
    """Compute a norm that is at least ``min_norm``, with a finite derivative at zero.

    **Value** max(‖x‖, min_norm).

    Args:
      x: an array.
      min_norm: the least value.
      ord: the order, as in ``jnp.linalg.norm``.
      axis: the axes, as in ``jnp.linalg.norm``.
      keepdims: keep the reduced axes with size 1.

    Returns:
      the norm; where it is ``min_norm`` its derivative is zero.

    Raises:
      ValueError: an axis that the array lacks, an order that the axes do not have.
      TypeError: not an array, or not axes.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> assert gk.safe_norm(jnp.array([3.0, 4.0]), 0.0) == 5.0
      >>> assert jax.grad(lambda x: gk.safe_norm(x, 1e-3))(jnp.zeros(2)).tolist() == [0.0, 0.0]
    """
    _check_axes(x, axis)
    size = _norm(x, ord, axis)
    least = tree.factor_like(min_norm, size)
    safe = jnp.where(size <= least, jnp.ones_like(x), x)
    norm = jnp.linalg.norm(safe, ord=ord, axis=axis, keepdims=keepdims)
    small = size <= least if keepdims else jnp.squeeze(size <= least, axis=axis)
    return jnp.where(small, jnp.full_like(norm, least), norm)


def _check_axes(x: Any, axis: Any) -> None:
    if not jax.tree_util.all_leaves([x]):
        problem = f"x is {check.kind_of(x)}"
        check.refuse(problem, expected="an array", fix="Of a tree: gk.tree.norm", error=TypeError)
    axes, rank = numerics.as_axes(axis), np.ndim(x)
    for one in axes or ():
        if not -rank <= one < rank:
            expected = f"{-rank} <= axis < {rank}" if rank else "axis=None for one number"
            problem = f"axis={axis!r} is not in the array {check.shape_dtype(x)}"
            check.refuse(problem, expected=expected)
    if axes is not None and len(axes) not in (1, 2):
        expected = "one axis for vectors, two for matrices"
        check.refuse(f"axis={axis!r} has {len(axes)} axes", expected=expected)


def _norm(x: Any, ord: Any, axis: Any) -> jax.Array:
    """The norm with its axes kept; JAX refuses an order that the axes do not have."""
    try:
        return jnp.linalg.norm(x, ord=ord, axis=axis, keepdims=True)
    except ValueError:
        problem = f"ord={ord!r} is not an order of norms of {check.shape_dtype(x)}"
        fix = "Pass axis=" if axis is None and np.ndim(x) > 2 else ""
        check.refuse(problem, expected="one of jnp.linalg.norm", fix=fix)


def scale_gradient(inputs: PyTree, scale: Scalar) -> PyTree:
    """Return the inputs as they are, and multiply gradients that pass back through them.

    Args:
      inputs: a tree of arrays.
      scale: the factor for gradients; 0 stops them.

    Returns:
      a tree equal to ``inputs``.

    Example:
      >>> import gradkit as gk, jax
      >>> assert jax.grad(lambda x: gk.scale_gradient(x, 0.5) ** 2)(3.0) == 3.0
    """
    with check.inside("scale_gradient"):
        judge({"scale": scale}, ["scale"], [], {})

    @jax.custom_vjp
    def passed(inputs: Any) -> Any:
        return inputs

    passed.defvjp(lambda inputs: (inputs, None), lambda _, grads: (tree.scale(grads, scale),))
    return passed(inputs)


def stateless_with_tree_map(f: Callable[..., Any]) -> Rule:
    """Make a rule without state from a function of one leaf.

    **Update rule** u ← f(g, θ), leaf by leaf.

    Args:
      f: ``f(update, param) -> update``; ``param`` is None when the caller passed no parameters.

    Returns:
      a `Rule`, for a chain or for the body of a factory.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.stateless_with_tree_map(lambda g, p: g + 0.5 * p))
      >>> assert tx.update(jnp.ones(1), tx.init(jnp.ones(1)), jnp.ones(1))[0][0] == 1.5
    """
    with check.inside("stateless_with_tree_map"):
        check.arity(2, "(update, param)", f=f)

    def update(updates: Any, params: Any) -> Any:
        if params is None:
            return tree.map(lambda u: f(u, None), updates)
        return tree.map(f, updates, params)

    return stateless(update)


def with_extra_args_support(tx: Any) -> Any:
    """Return a transform that accepts extra arguments it does not take.

    Args:
      tx: a transform of gradkit or of optax.

    Returns:
      a gradkit transform as it is, since it accepts the extra arguments that training loops pass
      (``value``, ``grad``, ``value_fn``, ...); an optax pair as a gradkit transform. For one that
      accepts any name see `as_optax`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.with_extra_args_support(gk.sgd(1.0))
      >>> assert tx.update(jnp.ones(1), tx.init(jnp.ones(1)), value=2.0)[0][0] == -1.0
    """
    with check.inside("with_extra_args_support"):
        tx = as_transform(tx)
        check.part(tx=tx)
    return cast(Transform, tx)
