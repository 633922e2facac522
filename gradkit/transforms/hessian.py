"""Estimates of the Hessian's diagonal, for Sophia's ψ.

u = z ∘ (H z), z random signs: E[u] = diag H (Hutchinson 1989).
"""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.typing import Key


@transform
def hutchinson_estimator_diag_hessian(random_seed: Key | None = None) -> Rule:
    """Replace the updates by Hutchinson's estimate of the Hessian's diagonal.

    **Update rule** u = z ∘ (H z), z random signs: E[u] = diag H, exact for a diagonal Hessian.

    **State** ``key``: the data of the next random key. Needs params, and the loss as a function of
    params alone in the extra argument ``obj_fn`` or ``value_fn``.

    Args:
      random_seed: a seed, a random key, or None for the seed 0.

    Raises:
      ValueError: no params.
      TypeError: no loss function, or complex params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.hutchinson_estimator_diag_hessian(3), jnp.ones(2)
      >>> loss = lambda w: 2 * w[0] ** 2 + w[1] ** 3
      >>> assert tx.update(w, tx.init(w), w, obj_fn=loss)[0].tolist() == [4.0, 6.0]

    **Differs from optax**: the loss may also be passed as ``value_fn``, as ``make_step`` does.

    Reference: Hutchinson 1989, https://doi.org/10.1080/03610918908812806; Liu et al. 2023,
    https://arxiv.org/abs/2305.14342.
    """
    # The default is an argument of recipes, and made when gradkit is imported, before JAX's devices
    # exist: ``jax.distributed`` and a forked process need that.
    given = None if random_seed is None else numerics.as_key(random_seed)

    def first() -> Any:
        return numerics.as_key(0) if given is None else given

    def update(
        updates: Any, state: Any, params: Any, *, obj_fn: Any = None, value_fn: Any = None
    ) -> Any:
        check.params(params)
        check.real_leaves(params)
        loss = value_fn if obj_fn is None else obj_fn
        if loss is None:
            check.refuse(
                "obj_fn is missing",
                expected="the loss as a function of params",
                fix="Call update(grads, state, params, obj_fn=loss)",
                error=TypeError,
            )
        check.function(**{"value_fn" if obj_fn is None else "obj_fn": loss})
        following, (now,) = numerics.split_key(state["key"], first(), 1)
        treedef: Any = jax.tree.structure(params)
        count = treedef.num_leaves
        keys = treedef.unflatten(list(jax.random.split(now, max(count, 1)))[:count])
        signs = jax.tree.map(
            lambda p, key: jax.random.rademacher(key, p.shape, p.dtype), params, keys
        )
        product = jax.jvp(jax.grad(loss), (params,), (signs,))[1]
        return tree.map(jnp.multiply, product, signs), {"key": following}

    return Rule(lambda params: {"key": numerics.key_data(first())}, update)
