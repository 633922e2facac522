"""Sharpness-aware minimization: the gradient where the loss is worst nearby.

| | the ascent steps | a call of ``update`` |
|---|---|---|
| ``sam(opt, adv, k)`` | by the training loop: k − 1 calls ascend | is one gradient |
| ``sam(..., opaque_mode=True)`` | within the update, by a gradient function | is one whole step |

The ascent optimizer of the paper is ``chain(normalize(), sgd(rho))``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform


@transform
def sam(
    optimizer: Transform,
    adv_optimizer: Transform,
    sync_period: int = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> Rule:
    """Sharpness-aware minimization: take the gradient at a nearby point of higher loss.

    **Update rule** θ' = θ, then k − 1 times θ' ← θ' − adv(g(θ')); u = optimizer(g(θ')), added to θ.

    **State** ``optimizer`` and ``adv_optimizer`` (not opaque, ``optimizer`` is a ``State`` whose
    clock counts whole steps); and, not opaque, ``cache`` (θ, in the dtype of the parameter) and
    ``phase``. Requires params. Must be the last transform of the chain. Not opaque, ``eval_params``
    returns θ.

    Args:
      optimizer: makes the step.
      adv_optimizer: makes the ascent: its updates are applied with the opposite sign. A schedule in
        it advances with the whole steps.
      sync_period: k ≥ 1; 1 is the optimizer alone.
      reset_state: reset the state of ``adv_optimizer`` after every whole step.
      opaque_mode: compute all gradients of a step within one call of ``update``, which takes
        ``grad_fn(params, i)``, i = 0 … k − 2; without one, the ``value_fn`` that ``make_step``
        passes is differentiated. For models whose statistics should not include the ascent steps.
      batch_axis_name: the mapped axis over which those gradients are averaged, or None.

    Raises:
      ValueError: k < 1, no params.
      TypeError: opaque, and neither ``grad_fn`` nor ``value_fn``.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> ascent = gk.chain(gk.normalize(), gk.sgd(0.5))
      >>> grad = jax.grad(lambda w: jnp.sum(w**2))
      >>> tx, w = gk.sam(gk.sgd(0.25), ascent, opaque_mode=True), jnp.array([3.0, 4.0])
      >>> w, state = tx.apply(w, tx.init(w), grad(w), grad_fn=lambda w, i: grad(w))
      >>> expected = jnp.array([3.0, 4.0]) - 0.5 * jnp.array([3.3, 4.4])  # at w + (0.3, 0.4)
      >>> assert jnp.allclose(w, expected)

    **Differs from optax**: a zero gradient gives a zero ascent step rather than NaN
    (``normalize``); each optimizer runs only on its own calls, not on all behind a select;
    ``sync_period=1`` is the optimizer alone; a schedule in ``adv_optimizer`` is not reset with its
    state.

    Reference: Foret et al. 2021, https://arxiv.org/abs/2010.01412, algorithm 1.
    """
    check.integer(1, sync_period=sync_period)
    down = Part("optimizer", optimizer, clock=not opaque_mode)
    up = Part("adv_optimizer", adv_optimizer)

    def start(params: Any, *, context: Any) -> Any:
        return {
            "optimizer": down.init(params, context=context),
            "adv_optimizer": up.init(params, context=context),
        }

    def opaque(
        updates: Any,
        state: Any,
        params: Any,
        *,
        context: Any,
        grad_fn: Any = None,
        value_fn: Any = None,
    ) -> Any:
        check.params(params)
        if grad_fn is None and value_fn is None:
            check.missing_extra("grad_fn")
        if grad_fn is not None:
            check.arity(2, "(params, i)", grad_fn=grad_fn)
        else:
            check.function(value_fn=value_fn)
        gradient_at = grad_fn or (lambda params, i: jax.grad(value_fn)(params))
        adversary, at = state["adv_optimizer"], context.leaves
        for i in range(int(sync_period) - 1):
            here = context._replace(leaves=at)
            ascent, adversary = up.update(updates, adversary, tree.widen(at), context=here)
            at = tree.add_rounded(at, jax.tree.map(jnp.negative, ascent))
            gradient = gradient_at(at, i)
            check.match(gradient, at)
            if batch_axis_name is not None:
                gradient = lax.pmean(gradient, batch_axis_name)
            updates = tree.widen(gradient)
        updates, inner = down.update(updates, state["optimizer"], params, context=context)
        if reset_state:
            adversary = up.init(params, context=context)
        return updates, {"optimizer": inner, "adv_optimizer": adversary}

    if opaque_mode:
        return Rule(start, opaque, parts=(down, up))

    def init(params: Any, *, context: Any) -> Any:
        first = {"cache": tree.copy_like(context.leaves), "phase": jnp.zeros((), jnp.int32)}
        return {**start(params, context=context), **first}

    def home(state: Any, params: Any) -> Any:
        """The point of which the ascent starts: in the first phase, where the parameters are."""
        first = state["phase"] == 0
        return jax.tree.map(lambda c, p: jnp.where(first, p, c), state["cache"], params)

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        check.params(params)
        cache, last = home(state, context.leaves), state["phase"] == sync_period - 1
        start, at_home = tree.widen(cache), context._replace(leaves=cache)
        step, inner = down.update_if(last, updates, state["optimizer"], start, context=at_home)
        whole_steps = context._replace(step=state["optimizer"].step)
        ascent, adversary = up.update_if(
            ~last, updates, state["adv_optimizer"], params, context=whole_steps
        )

        def leaf(s: Any, a: Any, c: Any, p: Any) -> Any:
            return jnp.where(last, s + (c - p), -a)

        updates = tree.map(leaf, step, ascent, start, params)
        if reset_state:
            fresh = up.init(params, context=context)
            adversary = jax.tree.map(lambda f, a: jnp.where(last, f, a), fresh, adversary)
        phase = jnp.where(last, 0, state["phase"] + 1)
        state = {"optimizer": inner, "adv_optimizer": adversary, "cache": cache, "phase": phase}
        return updates, state

    return Rule(init, update, parts=(down, up), evaluate=home)
