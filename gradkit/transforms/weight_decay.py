"""Weight decay and penalties, which pull the parameters towards zero.

Each adds the gradient of λ R(θ) to the updates. Before the averages this is a *coupled* penalty:
the optimizer averages and scales it together with the gradient. After them it is *decoupled*
weight decay. For SGD the two agree, for Adam they do not.

| | R(θ) | adds |
|---|---|---|
| ``add_decayed_weights(λ)`` | ½‖θ‖² | λ θ |
| ``add_l2_penalty(λ)`` | ½‖θ‖² | λ θ |
| ``add_l1_penalty(λ)`` | ‖θ‖₁ | λ sign θ |
| ``add_elastic_net_penalty(λ₁, λ₂)`` | λ₁‖θ‖₁ + ½ λ₂‖θ‖² | λ₁ sign θ + λ₂ θ |
| ``add_smoothed_l1_penalty(λ, ε)`` | Σ √(θ² + ε) | λ θ / √(θ² + ε) |
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit import masks
from gradkit._chain import chain, identity
from gradkit._rule import Context, Rule
from gradkit._transform import Transform, stateless, transform
from gradkit.typing import Mask, PyTree, Rate


@transform
def add_decayed_weights(weight_decay: Rate = 0.0, mask: Mask | None = None) -> Rule:
    """Weight decay: add λ θ to the updates; decoupled (AdamW) when it comes after the averages.

    **Update rule** u ← g + λ θ on the leaves that the mask selects.

    **State** none. Needs params.

    Args:
      weight_decay: λ ≥ 0, a number, a schedule, or any function of the step.
      mask: which leaves: a tree of bools, a function of params, a predicate (``by_rank(2)``
        excludes biases and norms), or None for all.

    Raises:
      ValueError: λ < 0, no params, a mask that does not fit the parameters.
      TypeError: a mask of anything but bools.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.add_decayed_weights(0.5, mask=gk.by_rank(1))
      >>> params = {"w": jnp.full(1, 2.0), "b": jnp.full((), 2.0)}
      >>> updates, _ = tx.update({"w": jnp.ones(1), "b": jnp.ones(())}, tx.init(params), params)
      >>> assert updates["w"][0] == 2.0 and updates["b"] == 1.0

    Reference: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    check.non_negative(weight_decay=weight_decay)
    if isinstance(weight_decay, (int, float)) and weight_decay == 0:
        return _judged(mask, stateless(lambda updates, params: updates, scope="element"))
    return _penalty(mask, lambda p: tree.factor_like(weight_decay, p) * p)


@transform
def add_l2_penalty(penalty: Rate, mask: Mask | None = None) -> Transform:
    """L2 penalty: add its gradient λ θ, for use before the averages of an optimizer.

    **Update rule** u ← g + λ θ, the gradient of L + ½ λ‖θ‖².

    **State** none. Needs params.

    Args:
      penalty: λ ≥ 0, a number or a schedule.
      mask: which leaves, as in ``add_decayed_weights``.

    Raises:
      ValueError: λ < 0, no params, a mask that does not fit the parameters.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> w = jnp.full(1, 2.0)
      >>> coupled = gk.chain(gk.add_l2_penalty(0.1), gk.adam(0.01))  # Adam divides the penalty away
      >>> decoupled = gk.adamw(0.01, weight_decay=0.1)
      >>> a, b = (tx.update(jnp.ones(1), tx.init(w), w)[0][0] for tx in (coupled, decoupled))
      >>> assert abs(float(a) + 0.01) < 1e-7 and abs(float(b) + 0.012) < 1e-7
    """
    check.non_negative(penalty=penalty)
    # The same update; the place in the chain makes the difference.
    return add_decayed_weights(penalty, mask)


@transform
def add_l1_penalty(penalty: Rate, mask: Mask | None = None) -> Rule:
    """L1 penalty: add its (sub)gradient λ sign θ to the updates.

    **Update rule** u ← g + λ sign θ, the (sub)gradient of L + λ‖θ‖₁; sign 0 = 0.

    **State** none. Needs params.

    Args:
      penalty: λ ≥ 0, a number or a schedule.
      mask: which leaves, as in ``add_decayed_weights``.

    Raises:
      ValueError: λ < 0, no params, a mask that does not fit the parameters.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.add_l1_penalty(0.5)
      >>> w = jnp.array([-2.0, 0.0, 3.0])
      >>> assert tx.update(jnp.zeros(3), tx.init(w), w)[0].tolist() == [-0.5, 0.0, 0.5]

    Reference: Goodfellow et al. 2016, Deep Learning, section 7.1.2.
    """
    check.non_negative(penalty=penalty)
    return _penalty(mask, lambda p: tree.factor_like(penalty, p) * jnp.sign(p))


@transform
def add_elastic_net_penalty(l1: Rate, l2: Rate, mask: Mask | None = None) -> Rule:
    """Elastic net: add the gradients of an L1 and an L2 penalty to the updates.

    **Update rule** u ← g + λ₁ sign θ + λ₂ θ.

    **State** none. Needs params.

    Args:
      l1: λ₁ ≥ 0, a number or a schedule.
      l2: λ₂ ≥ 0, a number or a schedule.
      mask: which leaves, as in ``add_decayed_weights``.

    Raises:
      ValueError: λ₁ < 0, λ₂ < 0, no params, a mask that does not fit the parameters.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.add_elastic_net_penalty(0.5, 0.25)
      >>> w = jnp.array([-2.0, 4.0])
      >>> assert tx.update(jnp.zeros(2), tx.init(w), w)[0].tolist() == [-1.0, 1.5]

    Reference: Zou and Hastie 2005, https://doi.org/10.1111/j.1467-9868.2005.00503.x.
    """
    check.non_negative(l1=l1, l2=l2)
    return _penalty(
        mask, lambda p: tree.factor_like(l1, p) * jnp.sign(p) + tree.factor_like(l2, p) * p
    )


@transform
def add_smoothed_l1_penalty(penalty: Rate, eps: Rate = 1e-8, mask: Mask | None = None) -> Rule:
    """Smoothed L1 penalty: add its gradient, which exists also at zero, to the updates.

    **Update rule** u ← g + λ θ / √(|θ|² + ε), the gradient of L + λ Σ √(|θ|² + ε).

    **State** none. Needs params.

    Args:
      penalty: λ ≥ 0, a number or a schedule.
      eps: ε ≥ 0, a number or a schedule; √ε is the width of the rounded minimum.
      mask: which leaves, as in ``add_decayed_weights``.

    Raises:
      ValueError: λ < 0, ε < 0, no params, a mask that does not fit the parameters.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.add_smoothed_l1_penalty(1.0, eps=16.0)
      >>> w = jnp.array([0.0, 3.0])
      >>> updates, _ = tx.update(jnp.zeros(2), tx.init(w), w)
      >>> assert jnp.allclose(updates, jnp.array([0.0, 0.6]))

    Reference: Schmidt et al. 2007, https://doi.org/10.1007/978-3-540-74958-5_28.
    """
    check.non_negative(penalty=penalty, eps=eps)

    def pull(p: Any) -> Any:
        return tree.factor_like(penalty, p) * numerics.divide(
            p, numerics.sqrt(numerics.abs_sq(p) + tree.factor_like(eps, p))
        )

    return _penalty(mask, pull)


def _penalty(mask: Mask | None, pull: Callable[[Any], Any]) -> Rule:
    """Add ``pull(p)`` to the updates of the leaves that the mask selects."""

    def update(updates: Any, params: Any, *, context: Context) -> Any:
        check.params(params)
        if mask is None:
            return tree.map(lambda u, p: u + pull(p), updates, params)
        on = _select(mask)(context)
        return jax.tree.map(lambda yes, u, p: u + pull(p) if yes else u, on, updates, params)

    return _judged(mask, stateless(update, scope="element"))


def optional_decay(weight_decay: Rate | None, mask: Mask | None) -> Transform:
    """``add_decayed_weights`` or, without a decay, the identity that judges the mask alone."""
    if weight_decay is not None:
        return add_decayed_weights(weight_decay, mask)
    if mask is None:
        return identity()
    # Nothing decays, so the rule selects no leaves.
    rule = _judged(mask, stateless(lambda updates, params: updates, scope="element"))
    return chain(rule._replace(mask=None, name="add_decayed_weights"))


def _judged(mask: Mask | None, rule: Rule) -> Rule:
    """A rule without state whose ``init`` refuses a mask that does not fit the parameters."""
    if mask is None:
        return rule

    def init(params: Any, *, context: Context) -> Any:
        _select(mask)(context)
        return ()

    return rule._replace(init=init, mask=_select(mask))


def _select(mask: Mask) -> Callable[[Context], PyTree]:
    return lambda context: masks.selected(mask, context)
