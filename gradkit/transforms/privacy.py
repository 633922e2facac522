"""Privacy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import transform


def per_example_global_norm_clip(grads: Any, l2_norm_clip: Any) -> tuple[Any, Any]:
    """Bound the joint norm of every example's gradient, and add the examples up.

    **Rule** Σ_i g_i min(1, C / ‖g_i‖), ‖g_i‖ over the whole tree.

    Args:
      grads: a tree whose leaves have a leading axis of examples.
      l2_norm_clip: C ≥ 0; infinity never clips.

    Returns:
      the sum, and how many examples were clipped.

    Raises:
      ValueError: leaves without a common leading axis.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> total, clipped = gk.per_example_global_norm_clip({"a": jnp.array([[3.0], [0.3]]), "b": jnp.array([4.0, 0.4])}, 1.0)
      >>> assert jnp.allclose(total["a"], 0.9) and jnp.allclose(total["b"], 1.2) and clipped == 1

    Reference: Abadi et al. 2016, https://arxiv.org/abs/1607.00133.
    """
    with check.inside("per_example_global_norm_clip"):
        examples = _examples(grads)
    dtype = numerics.scalar_dtype(grads)
    squares = [
        jnp.sum(numerics.abs_sq(x).reshape(examples, -1), 1).astype(dtype)
        for x in jax.tree.leaves(tree.widen(grads))
    ]
    norms = numerics.sqrt(sum(squares, start=jnp.zeros(examples, dtype)))
    bound = jnp.asarray(l2_norm_clip, dtype)
    clipped = norms > bound
    factors = jnp.where(
        clipped, bound / jnp.where(clipped, norms, jnp.ones_like(norms)), jnp.ones_like(norms)
    )

    def leaf(g: Any) -> Any:
        wide = numerics.cast(g, numerics.wide(g.dtype))
        return numerics.cast(
            jnp.tensordot(factors.astype(wide.dtype), wide, axes=1, precision="highest"), g.dtype
        )

    return tree.map(leaf, grads), jnp.sum(clipped)


def per_example_layer_norm_clip(
    grads: Any, global_l2_norm_clip: Any, uniform: bool = True
) -> tuple[Any, Any]:
    """Bound the norm of every leaf of every example's gradient by its share, and add the examples up.

    **Rule** Σ_i g_i min(1, C_k / ‖g_i‖) in each leaf k; C_k = C / √K with K leaves, or C √(n_k / n) by their numbers of parameters.

    Args:
      grads: a tree whose leaves have a leading axis of examples.
      global_l2_norm_clip: C ≥ 0, the bound of the whole.
      uniform: the same share for every leaf, or by size.

    Returns:
      the sum, and a tree of how many examples were clipped in each leaf.

    Raises:
      ValueError: leaves without a common leading axis.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> total, clipped = gk.per_example_layer_norm_clip([jnp.array([[3.0, 4.0]]), jnp.array([0.5])], 2.0**0.5)
      >>> assert jnp.allclose(total[0], jnp.array([0.6, 0.8])) and total[1] == 0.5 and [int(n) for n in clipped] == [1, 0]

    Reference: McMahan et al. 2018, https://arxiv.org/abs/1710.06963.
    """
    with check.inside("per_example_layer_norm_clip"):
        _examples(grads)
    leaves, sizes = jax.tree.leaves(grads), jax.tree.map(lambda g: max(g[0].size, 0), grads)
    shares = jax.tree.map(
        lambda n: 1 / len(leaves) if uniform else n / max(sum(jax.tree.leaves(sizes)), 1), sizes
    )
    return tree.map(
        lambda g, share: per_example_global_norm_clip(g, global_l2_norm_clip * share**0.5),
        grads,
        shares,
        outputs=2,
    )


def _examples(grads: Any) -> int:
    """The common length of the leading axes."""
    leaves = jax.tree_util.tree_leaves_with_path(grads)
    mend = "Take them as jax.vmap(jax.grad(loss), (None, 0))(params, batch)"
    if not leaves:
        check.fail("needs per-example gradients", "an empty tree", mend)
    first = np.shape(leaves[0][1])[:1]
    for path, leaf in leaves:
        if np.ndim(leaf) == 0 or np.shape(leaf)[:1] != first:
            needed = "needs per-example gradients, with a leading axis of examples" + (
                f" of {first[0]}" if first else ""
            )
            check.fail(needed, check.shape_dtype(leaf), mend, path=check.keystr(path))
    return int(first[0])


@transform
def differentially_private_aggregate(l2_norm_clip: Any, noise_multiplier: Any, key: Any) -> Rule:
    """From the gradients of the examples a private mean: clip each, add them up, add noise.

    **Rule** u = (Σ_i g_i min(1, C / ‖g_i‖) + σ C n) / B, n ~ N(0, 1), B examples. The first link of a chain.

    **Remembers** ``key``: the data of the next random key.

    Args:
      l2_norm_clip: C ≥ 0, the bound on the joint norm of an example's gradient.
      noise_multiplier: σ ≥ 0, the standard deviation of the noise over C.
      key: a seed or a random key.

    Raises:
      ValueError: gradients without a common leading axis, a negative C or σ.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.differentially_private_aggregate(1.0, 0.0, key=0)
      >>> updates, _ = tx.update(jnp.array([[3.0, 4.0], [0.0, 0.0]]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(updates, jnp.array([0.3, 0.4]))

    **Differs** from optax: the key is required. Accumulating micro-batches around this link would add noise to each of them: accumulate inside the loss.

    Reference: Abadi et al. 2016, https://arxiv.org/abs/1607.00133.
    """
    check.non_negative(l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier)
    first = numerics.as_key(key)

    def update(updates: Any, state: Any, params: Any) -> Any:
        treedef: Any = jax.tree.structure(updates)
        if not treedef.num_leaves:  # nothing to tell
            return updates, state
        examples = _examples(updates)
        clipped, _ = per_example_global_norm_clip(updates, l2_norm_clip)
        following, keys = numerics.split_key(state["key"], first, treedef.num_leaves)

        def leaf(g: Any, now: Any) -> Any:
            deviation = tree.factor_like(l2_norm_clip, g) * tree.factor_like(noise_multiplier, g)
            return (g + deviation * jax.random.normal(now, g.shape, g.dtype)) / examples

        return jax.tree.map(leaf, clipped, treedef.unflatten(keys)), {"key": following}

    return Rule(lambda params: {"key": numerics.key_data(first)}, update, examples=True)
