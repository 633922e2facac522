"""Links that change single numbers: signs, means, NaN, noise, nothing at all."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform


@transform
def set_to_zero() -> Rule:
    """Replace every update by zero: parameters stay as they are.

    **Rule** u ← 0.

    **Remembers** nothing.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.set_to_zero()
      >>> assert tx.update(jnp.array([jnp.nan]), tx.init(jnp.zeros(1)))[0][0] == 0
    """
    return stateless(lambda updates, params: jax.tree.map(jnp.zeros_like, updates))._replace(takes_integers=True)


@transform
def scale_by_sign() -> Rule:
    """Keep the sign alone.

    **Rule** u ← sign(g); g / |g| for complex g; 0 for g = 0.

    **Remembers** nothing.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_sign()
      >>> assert tx.update(jnp.array([-3.0, 0.0, 0.1]), tx.init(jnp.zeros(3)))[0].tolist() == [-1.0, 0.0, 1.0]

    Reference: Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """
    return stateless(lambda updates, params: tree.map(jnp.sign, updates))


@transform
def centralize() -> Rule:
    """Take the mean out of every slice of a matrix or a higher array.

    **Rule** u ← g − mean(g over all axes but the first), for leaves of rank 2 and more; others pass.

    **Remembers** nothing.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.centralize()
      >>> assert tx.update(jnp.array([[1.0, 3.0]]), tx.init(jnp.zeros((1, 2))))[0].tolist() == [[-1.0, 1.0]]

    **Differs** from the paper, whose mean runs over all axes but the output channel: for Flax's kernels, whose last axis is the output,
    that is another slice. The slice here is optax's.

    Reference: Yong et al. 2020, https://arxiv.org/abs/2004.01461.
    """

    def leaf(u: Any) -> Any:
        if u.ndim < 2 or not u.size:
            return u
        return u - jnp.mean(u, axis=tuple(range(1, u.ndim)), keepdims=True)

    return stateless(lambda updates, params: tree.map(leaf, updates))


@transform
def zero_nans() -> Rule:
    """Replace NaN by zero, and say where it was.

    **Rule** u ← 0 where g is NaN, else g.

    **Remembers** ``found_nan``: for each leaf, whether its last update held a NaN (one bool).

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.zero_nans()
      >>> updates, state = tx.update(jnp.array([jnp.nan, 2.0]), tx.init(jnp.zeros(2)))
      >>> assert updates.tolist() == [0.0, 2.0] and state.memory["zero_nans"]["found_nan"]
    """

    def update(updates: Any, memory: Any, params: Any) -> Any:
        def leaf(u: Any) -> Any:
            found = jnp.isnan(u)
            return jnp.where(found, jnp.zeros_like(u), u), jnp.any(found)

        updates, found = tree.map(leaf, updates, outputs=2)
        return updates, {"found_nan": found}

    return Rule(lambda params: {"found_nan": jax.tree.map(lambda p: jnp.zeros((), bool), params)}, update)


@transform
def add_noise(eta: Any, gamma: Any, key: Any) -> Rule:
    """Add Gaussian noise that fades with the step.

    **Rule** u ← g + σ_t n, n ~ N(0, 1), σ_t² = η / t^γ, t = step + 1.

    **Remembers** ``key``: the data of the next random key.

    Args:
      eta: η ≥ 0, the variance at the first step.
      gamma: γ ≥ 0, how fast it fades; the paper uses 0.55.
      key: a seed or a random key.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.add_noise(4.0, 0.55, key=0)
      >>> updates, _ = tx.update(jnp.zeros(10_000), tx.init(jnp.zeros(10_000)))
      >>> assert abs(float(jnp.std(updates)) - 2.0) < 0.05

    **Differs** from optax: the key is required.

    Reference: Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807.
    """
    check.non_negative(eta=eta, gamma=gamma)
    first = numerics.as_key(key)

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        following, now = jax.random.split(jax.random.wrap_key_data(memory["key"], impl=jax.random.key_impl(first)))
        treedef: Any
        leaves, treedef = jax.tree.flatten(updates)
        dtype = numerics.scalar_dtype(updates)
        deviation = numerics.sqrt(tree.factor_like(eta, jnp.zeros((), dtype)) / (step + 1).astype(dtype) ** tree.factor_like(gamma, jnp.zeros((), dtype)))
        keys = jax.random.split(now, max(len(leaves), 1))
        noise = [tree.factor_like(deviation, u) * jax.random.normal(k, u.shape, u.dtype) for k, u in zip(keys, leaves)]
        return treedef.unflatten([u + n for u, n in zip(leaves, noise, strict=True)]), {"key": jax.random.key_data(following)}

    # A copy: donating the state must not take the user's key with it.
    return Rule(lambda params: {"key": jnp.array(jax.random.key_data(first), copy=True)}, update)
