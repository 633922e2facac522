"""Updates in proportion to the norm of their parameter (a block is a leaf, as in optax)."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import stateless, transform
from gradkit.typing import Rate


def _norm(x: Any, least: Any = 0.0) -> Any:
    """The 2-norm of a leaf, at least ``least``."""
    size = numerics.norm(x)
    return jnp.maximum(size, tree.factor_like(least, size))


@transform
def scale_by_param_block_norm(min_scale: Rate = 1e-3) -> Rule:
    """Multiply each leaf of the updates by the norm of its parameter.

    **Update rule** u ← g · max(‖θ‖, c), the 2-norm of the whole leaf.

    **State** none. Needs params.

    Args:
      min_scale: c ≥ 0, a number or a schedule; lets a parameter of zero move.

    Raises:
      ValueError: c < 0, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_param_block_norm(), jnp.array([3.0, 4.0])
      >>> assert jnp.allclose(tx.update(jnp.ones(2), tx.init(w), w)[0], 5.0)
    """
    check.non_negative(min_scale=min_scale)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        return tree.map(lambda u, p: u * tree.factor_like(_norm(p, min_scale), u), updates, params)

    return stateless(update, scope="leaf", transposable=True, sharded=True)


@transform
def scale_by_param_block_rms(min_scale: Rate = 1e-3) -> Rule:
    """Multiply each leaf by the RMS of its parameter: the relative step of Adafactor.

    **Update rule** u ← g · max(rms θ, c), rms θ = √mean(|θ|²) of the leaf.

    **State** none. Needs params.

    Args:
      min_scale: c ≥ 0, a number or a schedule; lets a parameter of zero move.

    Raises:
      ValueError: c < 0, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_param_block_rms(), jnp.array([1.0, 7.0])
      >>> assert jnp.allclose(tx.update(jnp.ones(2), tx.init(w), w)[0], 5.0)

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235.
    """
    check.non_negative(min_scale=min_scale)

    def leaf(u: Any, p: Any) -> Any:
        size = numerics.rms(p)
        return u * tree.factor_like(jnp.maximum(size, tree.factor_like(min_scale, size)), u)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        return tree.map(leaf, updates, params)

    return stateless(update, scope="leaf", transposable=True, sharded=True)


@transform
def scale_by_trust_ratio(
    min_norm: Rate = 0.0, trust_coefficient: Rate = 1.0, eps: Rate = 0.0
) -> Rule:
    """Trust ratio: scale each leaf to the norm of its parameter (LARS, LAMB, Fromage).

    **Update rule** u ← g · κ ‖θ‖ / (‖g‖ + ε) per leaf, both norms at least ``min_norm``; u = g
    where either is zero.

    **State** none. Needs params.

    Args:
      min_norm: the lower bound of both norms, ≥ 0; a number or a schedule.
      trust_coefficient: κ > 0, a number or a schedule.
      eps: ε ≥ 0, a number or a schedule.

    Raises:
      ValueError: arguments out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_trust_ratio(trust_coefficient=0.5), jnp.array([3.0, 4.0])
      >>> updates, _ = tx.update(jnp.array([0.0, 100.0]), tx.init(w), w)
      >>> assert jnp.allclose(updates, jnp.array([0.0, 2.5]))

    Reference: You et al. 2017, https://arxiv.org/abs/1708.03888; You et al. 2020,
    https://arxiv.org/abs/1904.00962.
    """
    check.non_negative(min_norm=min_norm, eps=eps)
    check.positive(trust_coefficient=trust_coefficient)

    def leaf(u: Any, p: Any) -> Any:
        size, length = _norm(p, min_norm), _norm(u, min_norm)
        ratio = tree.factor_like(trust_coefficient, size) * numerics.divide(
            size, length + tree.factor_like(eps, length)
        )
        return u * tree.factor_like(jnp.where((size == 0) | (length == 0), 1.0, ratio), u)

    def update(updates: Any, params: Any) -> Any:
        check.params(params)
        return tree.map(leaf, updates, params)

    return stateless(update, scope="leaf", transposable=True, sharded=True)
