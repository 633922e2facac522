"""Sharpness-aware minimization: the gradient is taken where the loss is worst nearby, the step from where you stand.

| | the steps uphill | a call of ``update`` |
|---|---|---|
| ``sam(opt, adv, k)`` | are made by the training loop: k − 1 calls lead uphill, the k-th leads back and down | is one gradient |
| ``sam(opt, adv, k, opaque_mode=True)`` | are made within the update, which asks for a gradient function | is one whole step |

The uphill optimizer of the paper is ``chain(normalize(), sgd(rho))``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule, State
from gradkit._transform import apply_updates, transform
from gradkit.wrappers._inner import start


@transform
def sam(
    optimizer: Any,
    adv_optimizer: Any,
    sync_period: int = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> Rule:
    """Take the step of an optimizer with the gradient of a worse place nearby.

    **Rule** θ' = θ, then k − 1 times θ' ← θ' − adv(g(θ')); u = optimizer(g(θ')), added to θ.

    **Remembers** ``inner`` and ``adversary``, what the two optimizers remember (``inner`` a ``State``, whose clock counts whole steps); and, not opaque,
    ``cache`` (θ, in the dtype of the parameter) and ``phase``. Needs params. The last link of the chain. Not opaque, ``eval_params`` gives θ.

    Args:
      optimizer: takes the step.
      adv_optimizer: leads uphill: its updates are taken with the other sign. A schedule in it moves with the whole steps.
      sync_period: k ≥ 1; 1 is the optimizer alone.
      reset_state: let ``adv_optimizer`` forget after every whole step.
      opaque_mode: take all gradients of a step within one call of ``update``, which asks for ``grad_fn(params, i)``, i = 0 … k − 2; without one, the
        ``value_fn`` that ``make_step`` passes is differentiated. For models whose statistics should not see the steps uphill.
      batch_axis_name: the mapped axis over which those gradients are averaged, or None.

    Raises:
      ValueError: k < 1, no params.
      TypeError: opaque, and neither ``grad_fn`` nor ``value_fn``.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> uphill = gk.chain(gk.normalize(), gk.sgd(0.5))
      >>> grad = jax.grad(lambda w: jnp.sum(w**2))
      >>> tx, w = gk.sam(gk.sgd(0.25), uphill, opaque_mode=True), jnp.array([3.0, 4.0])
      >>> w, state = tx.apply(w, tx.init(w), grad(w), grad_fn=lambda w, i: grad(w))
      >>> assert jnp.allclose(w, jnp.array([3.0, 4.0]) - 0.5 * jnp.array([3.3, 4.4]))  # the gradient at w + (0.3, 0.4)

    **Differs** from optax: a zero gradient leads nowhere rather than to NaN (``normalize``); each optimizer runs only on the calls that are its own, not on
    all behind a select; ``sync_period=1`` is the optimizer alone; a schedule in ``adv_optimizer`` is not reset with its memory.

    Reference: Foret et al. 2021, https://arxiv.org/abs/2010.01412, algorithm 1.
    """
    check.part(optimizer=optimizer, adv_optimizer=adv_optimizer)
    check.integer(1, sync_period=sync_period)
    rule, adversary = optimizer.rule, adv_optimizer.rule

    def opaque(
        updates: Any,
        memory: Any,
        params: Any,
        *,
        leaves: Any,
        grad_fn: Any = None,
        value_fn: Any = None,
        **extras: Any,
    ) -> Any:
        check.params(params)
        if grad_fn is None and value_fn is None:
            check.extra({}, "grad_fn")
        gradient_at = grad_fn or (lambda params, i: jax.grad(value_fn)(params))
        if value_fn is not None:
            extras["value_fn"] = value_fn
        kept, at = memory["adversary"], leaves
        for i in range(int(sync_period) - 1):
            uphill, kept = adversary.update(updates, kept, tree.widen(at), leaves=at, **extras)
            at = apply_updates(at, jax.tree.map(jnp.negative, uphill))
            gradient = gradient_at(at, i)
            check.match(gradient, at)
            updates = tree.widen(
                gradient if batch_axis_name is None else lax.pmean(gradient, batch_axis_name)
            )
        updates, inner = rule.update(updates, memory["inner"], params, leaves=leaves, **extras)
        return updates, {
            "inner": inner,
            "adversary": adversary.init(params, leaves=leaves) if reset_state else kept,
        }

    if opaque_mode:
        evaluate = rule.evaluate and (lambda memory, params: rule.evaluate(memory["inner"], params))
        init_both = lambda params, *, leaves: {
            "inner": rule.init(params, leaves=leaves),
            "adversary": adversary.init(params, leaves=leaves),
        }
        return Rule(init_both, opaque, evaluate=evaluate)

    def init(params: Any, *, leaves: Any) -> Any:
        cache = jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), jax.dtypes.result_type(p)), leaves)
        return {
            "inner": start(optimizer, params, leaves),
            "adversary": adversary.init(params, leaves=leaves),
            "cache": cache,
            "phase": jnp.zeros((), jnp.int32),
        }

    def update(
        updates: Any,
        memory: Any,
        params: Any,
        *,
        step: Any,
        leaves: Any,
        grad_fn: Any = None,
        **extras: Any,
    ) -> Any:
        check.params(params)
        phase, state = memory["phase"], memory["inner"]
        cache = jax.tree.map(lambda c, p: jnp.where(phase == 0, p, c), memory["cache"], leaves)

        def down(operands: Any) -> Any:
            updates, state, kept = operands
            home = tree.widen(cache)
            new, inner = rule.update(
                updates, state.inner, home, step=state.step, leaves=cache, **extras
            )
            back = tree.map(
                lambda n, c, p, u: (n + (c - p)).astype(u.dtype), new, home, params, updates
            )
            return (
                back,
                State(numerics.increment(state.step), inner),
                adversary.init(params, leaves=leaves) if reset_state else kept,
            )

        def up(operands: Any) -> Any:
            updates, state, kept = operands
            new, kept = adversary.update(
                updates, kept, params, step=state.step, leaves=leaves, **extras
            )
            return jax.tree.map(lambda n, u: -n.astype(u.dtype), new, updates), state, kept

        last = phase == sync_period - 1
        updates, state, kept = lax.cond(last, down, up, (updates, state, memory["adversary"]))
        return updates, {
            "inner": state,
            "adversary": kept,
            "cache": cache,
            "phase": jnp.where(last, 0, phase + 1),
        }

    def evaluate_home(memory: Any, params: Any) -> Any:
        home = jax.tree.map(
            lambda c, p: jnp.where(memory["phase"] == 0, p, c), memory["cache"], params
        )
        return home if rule.evaluate is None else rule.evaluate(memory["inner"].inner, home)

    return Rule(init, update, evaluate=evaluate_home)
