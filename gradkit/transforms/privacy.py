"""Differential privacy: clip each example's gradient, add the examples up, add noise.

g = (Σ_i clip(g_i, C) + σ C n) / B        n ~ N(0, 1)

The gradients are per example, with a leading axis of examples, such as
``jax.vmap(jax.grad(loss), (None, 0))(params, batch)``. ``dpsgd`` is this mean followed by ``sgd``.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.typing import Key, PyTree, Rate, Scalar, Updates


def per_example_global_norm_clip(grads: Updates, l2_norm_clip: Scalar) -> tuple[Updates, jax.Array]:
    """Clip the joint norm of each example's gradient, and sum over the examples.

    **Update rule** Σ_i g_i min(1, C / ‖g_i‖), ‖g_i‖ over the whole tree.

    Args:
      grads: a tree whose leaves have a leading axis of examples. Integer leaves are converted to
        float32.
      l2_norm_clip: C ≥ 0. Infinity never clips.

    Returns:
      The sum, and the number of examples that were clipped.

    Raises:
      ValueError: leaves without a common leading axis, or a negative C.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> grads = {"a": jnp.array([[3.0], [0.3]]), "b": jnp.array([4.0, 0.4])}
      >>> total, clipped = gk.per_example_global_norm_clip(grads, 1.0)
      >>> assert jnp.allclose(total["a"], 0.9) and jnp.allclose(total["b"], 1.2) and clipped == 1

    Reference: Abadi et al. 2016, https://arxiv.org/abs/1607.00133.
    """
    with check.inside("per_example_global_norm_clip"):
        examples = _examples(grads)
        _check_bound("l2_norm_clip", l2_norm_clip)
    grads = _floating(grads)
    dtype = numerics.scalar_dtype(grads)
    squares = [
        jnp.sum(numerics.abs_sq(x).reshape(examples, -1), 1).astype(dtype)
        for x in jax.tree.leaves(tree.widen(grads))
    ]
    norms = numerics.sqrt(sum(squares, start=jnp.zeros(examples, dtype)))
    bound = jnp.asarray(l2_norm_clip, dtype)
    clipped = norms > bound
    one = jnp.ones_like(norms)
    factors = jnp.where(clipped, bound / jnp.where(clipped, norms, one), one)

    def leaf(g: Any) -> Any:
        wide = numerics.cast(g, numerics.wide(g.dtype))
        total = jnp.tensordot(factors.astype(wide.dtype), wide, axes=1, precision="highest")
        return numerics.cast(total, g.dtype)

    return tree.map(leaf, grads), jnp.sum(clipped)


def per_example_layer_norm_clip(
    grads: Updates, global_l2_norm_clip: Scalar, uniform: bool = True
) -> tuple[Updates, PyTree]:
    """Clip the norm of each leaf of each example's gradient, and sum over the examples.

    **Update rule** Σ_i g_i min(1, C_k / ‖g_i‖) in each leaf k, with C_k = C / √K for K leaves, or
    C √(n_k / n) by their numbers of elements.

    Args:
      grads: a tree whose leaves have a leading axis of examples. Integer leaves are converted to
        float32.
      global_l2_norm_clip: C ≥ 0, the bound on the joint norm. Infinity never clips.
      uniform: give each leaf the same share of C, rather than one by its size.

    Returns:
      The sum, and a tree of the number of examples that were clipped in each leaf.

    Raises:
      ValueError: leaves without a common leading axis, or a negative C.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> grads = [jnp.array([[3.0, 4.0]]), jnp.array([0.5])]
      >>> total, clipped = gk.per_example_layer_norm_clip(grads, 2.0**0.5)
      >>> assert jnp.allclose(total[0], jnp.array([0.6, 0.8])) and total[1] == 0.5
      >>> assert [int(n) for n in clipped] == [1, 0]

    Reference: McMahan et al. 2018, https://arxiv.org/abs/1710.06963.
    """
    with check.inside("per_example_layer_norm_clip"):
        _examples(grads)
        _check_bound("global_l2_norm_clip", global_l2_norm_clip)
    count = len(jax.tree.leaves(grads))
    sizes = jax.tree.map(lambda g: int(np.prod(np.shape(g)[1:])), grads)
    elements = max(sum(jax.tree.leaves(sizes)), 1)
    clip: Any = global_l2_norm_clip

    def leaf(g: Any, size: int) -> Any:
        share = 1 / count if uniform else size / elements
        return per_example_global_norm_clip(g, clip * share**0.5)

    return tree.map(leaf, grads, sizes, outputs=2)


def _floating(grads: Any) -> Any:
    """Convert integer leaves to float32: clipping makes fractions of integers."""

    def leaf(g: Any) -> Any:
        dtype = jax.dtypes.result_type(g)
        return jnp.asarray(g, dtype if jnp.issubdtype(dtype, jnp.inexact) else jnp.float32)

    return jax.tree.map(leaf, grads)


def _check_bound(name: str, bound: Any) -> None:
    """Refuse a bound that is known and negative or NaN."""
    if isinstance(bound, jax.core.Tracer):
        return
    if not numerics.is_number(bound) or np.ndim(bound) or np.iscomplexobj(bound):
        check.refuse(f"{name}={bound!r} is not a number", expected=f"{name} >= 0", error=TypeError)
    if not bound >= 0:
        check.refuse(f"{name}={bound!r} is out of range", expected=f"{name} >= 0")


def _examples(grads: Any) -> int:
    """Return the common length of the leading axes."""
    leaves = jax.tree_util.tree_leaves_with_path(grads)
    expected = "per-example gradients, with a leading axis of examples"
    fix = "Compute them as jax.vmap(jax.grad(loss), (None, 0))(params, batch)"
    if not leaves:
        check.refuse("the tree has no leaves", expected=expected, fix=fix)
    first = np.shape(leaves[0][1])[:1]
    for path, leaf in leaves:
        if np.ndim(leaf) == 0 or np.shape(leaf)[:1] != first:
            which = "another" if np.ndim(leaf) else "no"
            check.refuse(
                f"{check.shape_dtype(leaf)} has {which} leading axis",
                expected=expected + (f" of {first[0]}" if first else ""),
                fix=fix,
                path=check.keystr(path),
            )
    return int(first[0])


@transform
def differentially_private_aggregate(l2_norm_clip: Rate, noise_multiplier: Rate, key: Key) -> Rule:
    """Compute a differentially private mean of per-example gradients. Put it first in a chain.

    **Update rule** u = (Σ_i g_i min(1, C / ‖g_i‖) + σ C n) / B, n ~ N(0, 1), B examples.

    **State** ``key``: the data of the next random key.

    Args:
      l2_norm_clip: C ≥ 0, the bound on the joint norm of each example's gradient.
      noise_multiplier: σ ≥ 0, the standard deviation of the noise divided by C.
      key: a seed or a random key.

    Raises:
      ValueError: gradients without a common leading axis, or a negative C or σ.
      TypeError: ``key=None``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.differentially_private_aggregate(1.0, 0.0, key=0)
      >>> updates, _ = tx.update(jnp.array([[3.0, 4.0], [0.0, 0.0]]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(updates, jnp.array([0.3, 0.4]))

    **Differs from optax**: the key is required. Gradient accumulation around this transform would
    add noise to each micro-batch: accumulate inside the loss.

    Reference: Abadi et al. 2016, https://arxiv.org/abs/1607.00133.
    """
    check.non_negative(l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier)
    first = numerics.as_key(key)
    bound: Any = l2_norm_clip

    def update(updates: Any, state: Any, params: Any) -> Any:
        treedef: Any = jax.tree.structure(updates)
        if not treedef.num_leaves:  # an empty tree has no axis of examples
            return updates, state
        examples = _examples(updates)
        clipped, _ = per_example_global_norm_clip(updates, bound)
        following, keys = numerics.split_key(state["key"], first, treedef.num_leaves)

        def leaf(g: Any, now: Any) -> Any:
            deviation = tree.factor_like(l2_norm_clip, g) * tree.factor_like(noise_multiplier, g)
            return (g + deviation * jax.random.normal(now, g.shape, g.dtype)) / examples

        return jax.tree.map(leaf, clipped, treedef.unflatten(keys)), {"key": following}

    return Rule(lambda params: {"key": numerics.key_data(first)}, update, per_example=True)
